"""Outfits on bodies: padding and colors of the mesh of `surface`, garment by garment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from rendered_people.anatomy import SIDES, Body
from rendered_people.outfits import Color, Outfit, Pattern
from rendered_people.surface import Padding, Template, template


def dress(
    mesh: Template, bodies: Sequence[Body], outfits: Sequence[Outfit], rng: np.random.Generator
) -> tuple[Padding, np.ndarray, np.ndarray]:
    """Clothes N bodies.

    Returns:
        The padding of the mesh, colors (N, Q, 3) float32 0 to 255, and which quads are there (N, Q).
    """
    looks = [_Dresser(mesh, body, outfit) for body, outfit in zip(bodies, outfits, strict=True)]
    padding = Padding(
        np.stack([look.rings for look in looks]),
        np.stack([look.vertices for look in looks]),
        np.stack([look.lengths for look in looks]),
    )
    colors = np.stack([look.colors for look in looks])
    # folds and weave: every patch a little lighter or darker, skin less so
    rough = np.where(mesh.quad_part == mesh.part("head"), 0.01, 0.025).astype(np.float32)
    colors *= 1 + (rough * (2 * rng.random(colors.shape[:2], np.float32) - 1))[..., None]
    return padding, colors, np.stack([look.shown for look in looks])


@dataclass(frozen=True)
class _Region:
    """The quads, rings and vertices of a part of the mesh, of both sides where there are two, by index.

    Args:
        quads, position, angle: (q,) index in the mesh; position along the part and degrees around it.
        front, sine: (q,) degrees away from the front, and sine of the angle (1 behind, -1 before).
        rings, ring_position: (r,)
        vertices, vertex_position, vertex_angle: (v,)
    """

    quads: np.ndarray
    position: np.ndarray
    angle: np.ndarray
    front: np.ndarray
    sine: np.ndarray
    rings: np.ndarray
    ring_position: np.ndarray
    vertices: np.ndarray
    vertex_position: np.ndarray
    vertex_angle: np.ndarray


@cache
def _regions(detail: int) -> dict[str, _Region]:
    """Regions of the mesh of a detail level: its parts, those of both sides as one."""
    mesh = template(detail)
    vertex_part = mesh.ring_part[mesh.vertex_ring]
    regions = {}
    for name in dict.fromkeys(part.removeprefix("left_").removeprefix("right_") for part in mesh.parts):
        parts = [index for index, part in enumerate(mesh.parts) if part in (name, *(f"{s}_{name}" for s in SIDES))]
        quads, rings, vertices = (
            np.flatnonzero(np.isin(which, parts)) for which in (mesh.quad_part, mesh.ring_part, vertex_part)
        )
        angle = mesh.quad_angle[quads]
        regions[name] = _Region(
            quads,
            mesh.quad_position[quads],
            angle,
            np.abs(angle - 270),
            np.sin(np.deg2rad(angle)),
            rings,
            mesh.ring_position[rings],
            vertices,
            mesh.ring_position[mesh.vertex_ring[vertices]],
            mesh.vertex_angle[vertices],
        )
    return regions


class _Dresser:
    """Padding and colors of one person, built up garment by garment."""

    def __init__(self, mesh: Template, body: Body, outfit: Outfit) -> None:
        self.mesh, self.body, self.outfit = mesh, body, outfit
        self.regions = _regions(mesh.detail)
        self.size = body.stature / 1.74
        self.rings = np.zeros((len(mesh.ring_part), 2))
        self.vertices = np.zeros(len(mesh.vertex_ring))
        self.lengths = mesh.part_length.copy()
        self.colors = np.empty((len(mesh.quads), 3), np.float32)
        self.colors[:] = outfit.skin
        self.shown = np.ones(len(mesh.quads), bool)
        self._wear_shoes()
        self._wear_bottom()
        self._wear_top()
        self._wear_skirt()
        self._grow_hair()
        self._wear_hat()

    def _pad(self, region: _Region, low: float, high: float, meters: float | tuple[float, ...]) -> None:
        """Widens rings at positions from `low` to `high` by `meters`: constant, or a polynomial of the position."""
        inside = (region.ring_position > low) & (region.ring_position < high)
        factors = meters if isinstance(meters, tuple) else (meters,)
        widening = sum(factor * region.ring_position[inside] ** power for power, factor in enumerate(factors))
        self.rings[region.rings[inside]] += (np.clip(widening, 0, None) * self.size)[:, None]

    def _paint(self, region: _Region, share: np.ndarray, color: Color) -> None:
        """Colors the quads of a region, each by its share (q,); 1 and above hides what was there."""
        chosen = share > 0
        part = np.minimum(share[chosen], 1)[:, None]
        quads = region.quads[chosen]
        self.colors[quads] += part * (np.array(color) - self.colors[quads])

    def _cloth(self, region: _Region, chosen: np.ndarray, cloth: Pattern) -> None:
        """Covers the chosen quads (q,) of a region with cloth."""
        quads = region.quads[chosen]
        self.colors[quads] = cloth.first
        if cloth.kind == "plain":
            return
        # meters down the part and around it; a limb of 0.36 m per joint is near enough for cloth
        torso = region is self.regions["torso"]
        position, angle = region.position[chosen], region.angle[chosen]
        down, around = position * (0.55 if torso else 0.36), np.deg2rad(angle) * 0.12
        if cloth.kind == "fade":
            share = np.clip(down / 0.7, 0, 1)[:, None]
            self.colors[quads] = (1 - share) * np.array(cloth.first) + share * np.array(cloth.second)
            return
        second = {
            "stripes": lambda: (down / cloth.size) % 1 < 0.45,
            "pinstripes": lambda: (angle // (360 / 20)) % 2 == 1,
            "checks": lambda: ((down / cloth.size) % 1 < 0.5) ^ ((around / cloth.size) % 1 < 0.5),
            "spots": lambda: np.sin(down * 6 / cloth.size) * np.sin(around * 6 / cloth.size) > 0.35,
            "block": lambda: position > 0.62 if torso else np.ones(len(quads), bool),
        }[cloth.kind]()
        self.colors[quads[second]] = cloth.second

    def _wear_shoes(self) -> None:
        outfit, foot, leg = self.outfit, self.regions["foot"], self.regions["leg"]
        self.colors[foot.quads] = outfit.shoes
        self.colors[foot.quads[foot.front < 62]] = outfit.soles
        if outfit.socks is not None and outfit.trouser < 1.6:
            self.colors[leg.quads[leg.position > 1.62]] = outfit.socks
        if outfit.shoes == outfit.skin:
            return
        self._pad(foot, -9, 9, 0.006)
        self._pad(leg, outfit.boot, 9, 0.008)
        self.colors[leg.quads[leg.position > outfit.boot]] = outfit.shoes

    def _wear_bottom(self) -> None:
        outfit, torso, leg = self.outfit, self.regions["torso"], self.regions["leg"]
        cloth = outfit.top if outfit.dress else outfit.bottom
        self._cloth(torso, torso.position < outfit.waist, cloth)
        self._pad(torso, -9, outfit.waist, outfit.ease_bottom * 0.6)
        if outfit.belt is not None:
            self.colors[torso.quads[np.abs(torso.position - outfit.waist + 0.03) < 0.035]] = outfit.belt
        if outfit.skirt > 0:
            self._cloth(leg, leg.position < 0.12, cloth)
            return
        self._cloth(leg, leg.position < outfit.trouser, cloth)
        self._pad(leg, -9, outfit.trouser, outfit.ease_bottom)
        self._pad(leg, 0.3, outfit.trouser, (-0.3 * outfit.trouser_flare, outfit.trouser_flare))

    def _wear_top(self) -> None:
        outfit, torso, arm = self.outfit, self.regions["torso"], self.regions["arm"]
        position, angle, front = torso.position, torso.angle, torso.front
        # the neckline is lower before the throat than behind the neck
        neckline = outfit.neckline - 0.12 * np.exp(-((front / 35) ** 2))
        # under a tail the cloth ends a little above the tail's edge, which hides that
        below_tail = (0.13 - outfit.tail) / 0.55
        hem = below_tail if outfit.tail else outfit.hem
        worn = (position > hem) & (position < neckline)
        self._cloth(torso, worn, outfit.top)
        if outfit.sleeve < 0:  # shoulder straps
            bare = worn & (position > 0.86) & (np.minimum(np.abs(angle), np.abs(angle - 180)) < 26)
            self.colors[torso.quads[bare]] = outfit.skin
        if outfit.print_color is not None:
            printed = worn & (front < 32) & (np.abs(position - 0.68) < 0.11)
            self.colors[torso.quads[printed]] = outfit.print_color
        self._cloth(arm, arm.position < outfit.sleeve, outfit.top)
        # cloth stands off more at the belly and the cuffs than at the shoulders
        self._pad(torso, outfit.hem, outfit.neckline, (1.2 * outfit.ease_top, -0.85 * outfit.ease_top))
        self._pad(arm, -9, outfit.sleeve, (0.3 * outfit.ease_top, 0.35 * outfit.ease_top))
        if outfit.jacket is not None:
            opening = 9 + 14 * np.clip(position - 0.2, 0, 1)
            self._cloth(torso, (position > hem) & (position < 1.3) & (front > opening), outfit.jacket)
            self._cloth(arm, arm.position < min(outfit.sleeve, 1.9), outfit.jacket)
            self._pad(torso, 0.1, 1.3, 0.012)
            self._pad(arm, -9, outfit.sleeve, 0.008)
        if outfit.straps is not None:
            strap = (np.abs(front - 38) < 9) & (position > 0.45) & (position < 1.15)
            pack = (np.abs(angle - 90) < 50) & (position > 0.2) & (position < 0.98)
            self.colors[torso.quads[strap | pack]] = outfit.straps
            along = torso.vertex_position
            bulge = (np.abs(torso.vertex_angle - 90) < 52) & (along > 0.2) & (along < 0.98)
            self.vertices[torso.vertices[bulge]] += 0.1 * self.size

    def _wear_skirt(self) -> None:
        """A skirt, or what hangs of a shirt or jacket that is not tucked in."""
        outfit, skirt = self.outfit, self.regions["skirt"]
        part = self.mesh.part("skirt")
        everywhere = np.ones(len(skirt.quads), bool)
        if outfit.skirt > 0:
            self._cloth(skirt, everywhere, outfit.top if outfit.dress else outfit.bottom)
            self.lengths[part] = outfit.skirt * self.body.hip_height / self.size
        elif outfit.tail > 0:
            self._cloth(skirt, everywhere, outfit.jacket or outfit.top)
            self.lengths[part] = outfit.tail
            if outfit.jacket is not None:
                self.shown[skirt.quads[skirt.front < 10]] = False
        else:
            self.shown[skirt.quads] = False
            return
        below = skirt.ring_position * self.lengths[part]
        wide = 1 + 0.26 * self.body.weight + 0.03 * self.body.femininity - 0.08 * self.body.childhood
        if outfit.skirt == 0:  # shirts lie closer than skirts
            wide *= 0.95
        width = np.interp(below, (0, 0.05, 0.1, 0.2, 0.3), (0.158, 0.166, 0.176, 0.188, 0.19)) * wide
        depth = np.interp(below, (0, 0.05, 0.1, 0.2, 0.3), (0.112, 0.120, 0.128, 0.134, 0.136)) * wide
        depth += 0.045 * max(self.body.weight, 0)
        ease = outfit.ease_top + 0.006
        if outfit.skirt > 0:
            ease = ease + outfit.flare * np.clip(below / 0.5, 0, 2)
        self.rings[skirt.rings] = (np.stack((width + ease, depth + ease), axis=1)) * self.size

    def _grow_hair(self) -> None:
        outfit, head = self.outfit, self.regions["head"]
        for style, name in (("long", "hair_curtain"), ("tail", "hair_tail"), ("bun", "hair_bun")):
            strand = self.regions[name]
            if outfit.hair_style == style:
                self.colors[strand.quads] = outfit.hair
                if style != "bun":
                    self.lengths[self.mesh.part(name)] = outfit.hair_length + 0.06
            else:
                self.shown[strand.quads] = False
        if outfit.beard:
            # from the chin up to the ears, and over the lips if it is dense
            edge = np.interp(head.front, (0, 25, 60, 90), (-0.047, -0.035, -0.022, 0.005))
            share = np.where(head.front < 92, (edge - head.position) / 0.016 + 0.5, 0)
            if outfit.beard > 0.6:
                share = np.maximum(share, 1.2 - np.abs(head.position + 0.021) / 0.009 - head.front / 40)
            self._paint(head, np.clip(share, 0, 1) * outfit.beard, outfit.hair)
        if outfit.hair_style == "bald":
            return
        receding = 0.035 if outfit.hair_style == "receding" else 0.0
        over = head.position - _hairline(head.sine, receding)
        self._paint(head, over / 0.014 + 0.4, outfit.hair)
        # strands: darker and lighter streaks from the crown down
        hairy = over > 0
        streak = 1 + 0.10 * np.sin(np.deg2rad(head.angle[hairy]) * 9 + head.position[hairy] * 40)
        self.colors[head.quads[hairy]] *= streak[:, None]
        sine = np.sin(np.deg2rad(head.vertex_angle))
        height = head.vertex_position - _hairline(sine, receding)
        # thicker behind than before, but as thick all around at the crown
        crown = np.clip((head.vertex_position - 0.10) / 0.045, 0, 1)
        grown = 0.65 + 0.35 * (1 - crown) * sine + 0.2 * crown
        grown *= np.clip(height / 0.02 + 0.3, 0, 1)
        if outfit.hair_style == "curly":
            grown *= 1 + 0.1 * np.sin(np.deg2rad(head.vertex_angle) * 8) * np.sin(head.vertex_position * 150)
        self.vertices[head.vertices] += grown * outfit.hair_volume * self.body.head_scale

    def _wear_hat(self) -> None:
        outfit, head, brim = self.outfit, self.regions["head"], self.regions["hat_brim"]
        if outfit.hat_style in ("none", "beanie", "helmet"):
            self.shown[brim.quads] = False
        if outfit.hat_style == "none":
            return
        edge = {"cap": 0.078, "beanie": 0.066, "brim": 0.082, "helmet": 0.06}[outfit.hat_style]
        thick = {"cap": 0.012, "beanie": 0.014, "brim": 0.012, "helmet": 0.03}[outfit.hat_style]
        # lower behind
        self.colors[head.quads[head.position > edge - 0.03 * np.clip(head.sine, 0, 1)]] = outfit.hat
        sine = np.sin(np.deg2rad(head.vertex_angle))
        over = head.vertices[head.vertex_position > edge - 0.006 - 0.03 * np.clip(sine, 0, 1)]
        self.vertices[over] = np.maximum(self.vertices[over], thick * self.body.head_scale)
        self.shown[self.regions["hair_bun"].quads] = False
        self.colors[brim.quads] = np.array(outfit.hat) * 0.86
        outward = brim.ring_position
        self.lengths[self.mesh.part("hat_brim")] = -0.02
        if outfit.hat_style == "brim":
            width = np.stack((0.086 + 0.085 * outward, 0.11 + 0.085 * outward), axis=1)
        else:
            width = np.stack((0.086 - 0.006 * outward, 0.11 + 0.085 * outward), axis=1)
            self.shown[brim.quads[brim.front > 68]] = False
        self.rings[brim.rings] = width * self.body.head_scale


def _hairline(sine: np.ndarray, receding: float) -> np.ndarray:
    """Height over the head's joint where hair begins, by the sine of the angle around the head."""
    forward = -sine
    line = np.interp(forward, (-1, -0.45, 0.0, 0.3, 0.5, 0.75, 1), (-0.062, -0.05, -0.008, 0.022, 0.058, 0.088, 0.09))
    return line + receding * np.clip(forward * 1.5, 0, 1)
