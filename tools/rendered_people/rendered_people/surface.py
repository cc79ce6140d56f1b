"""The skin of figures: a mesh of rings around chains of bones, bent with the bones.

All bodies of one detail level share one `Template`, so everything here is computed for N bodies at once. Lengths in
tables are meters for an adult of 1.74 m; positions along a chain count its joints (0.5 is half way from the first to
the second). Frames are those of `anatomy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from rendered_people.anatomy import BONE_INDEX, BONES, SIDES, Body

# Finest detail level, and how many times the rings and sides of a level the next one has.
MAX_DETAIL, _FINER_LEVEL = 3, 1.65
_REFERENCE_STATURE = 1.74
# How much weight 1 widens the belly, and how slim children are where adults have muscles and fat.
_WEIGHT_WIDENS, _CHILDHOOD_SLIMS = 0.42, 0.12
_HEAD_SQUARENESS = 2.15

# Columns: position along the chain, half width, half depth (m), shift to the back (m), how much weight widens it,
# how much femininity widens it, how much femininity deepens it.
_TORSO = (
    (-0.215, 0.030, 0.030, 0.010, 0.2, 0.00, 0.00),
    (-0.18, 0.100, 0.080, 0.012, 0.3, 0.05, 0.03),
    (-0.11, 0.155, 0.108, 0.014, 0.4, 0.09, 0.06),
    (0.00, 0.170, 0.118, 0.014, 0.5, 0.07, 0.05),
    (0.12, 0.163, 0.111, 0.006, 0.7, 0.00, 0.00),
    (0.25, 0.150, 0.104, -0.002, 1.0, -0.09, -0.06),
    (0.40, 0.142, 0.100, -0.003, 1.0, -0.14, -0.11),
    (0.55, 0.147, 0.104, 0.002, 0.8, -0.11, -0.10),
    (0.70, 0.159, 0.113, 0.010, 0.6, -0.07, -0.06),
    (0.80, 0.169, 0.113, 0.014, 0.4, -0.06, -0.07),
    (0.88, 0.173, 0.104, 0.018, 0.35, -0.06, -0.07),
    (0.94, 0.168, 0.090, 0.021, 0.3, -0.07, -0.08),
    (0.98, 0.150, 0.078, 0.023, 0.3, -0.08, -0.10),
    (1.06, 0.116, 0.068, 0.023, 0.3, -0.09, -0.10),
    (1.22, 0.081, 0.061, 0.020, 0.3, -0.12, -0.10),
    (1.36, 0.066, 0.059, 0.016, 0.3, -0.13, -0.11),
    (1.50, 0.0590, 0.0585, 0.013, 0.35, -0.14, -0.12),
    (1.75, 0.0550, 0.0570, 0.006, 0.35, -0.15, -0.13),
    (2.10, 0.0530, 0.0570, 0.003, 0.3, -0.15, -0.13),
)
_ARM = (
    (-0.150, 0.0005, 0.0005, -0.002, 0.2, 0.0, 0.0),
    (-0.135, 0.022, 0.026, -0.002, 0.3, -0.1, -0.1),
    (-0.095, 0.041, 0.046, -0.001, 0.3, -0.12, -0.12),
    (-0.030, 0.0525, 0.0575, 0.000, 0.35, -0.14, -0.14),
    (0.05, 0.0550, 0.0600, 0.000, 0.35, -0.15, -0.15),
    (0.17, 0.0535, 0.0585, 0.000, 0.4, -0.16, -0.16),
    (0.32, 0.049, 0.053, -0.002, 0.45, -0.16, -0.16),
    (0.50, 0.0455, 0.0495, -0.004, 0.45, -0.16, -0.16),
    (0.70, 0.0425, 0.0445, -0.002, 0.4, -0.14, -0.14),
    (0.88, 0.0395, 0.0395, 0.001, 0.3, -0.12, -0.12),
    (1.00, 0.0395, 0.0385, 0.002, 0.25, -0.12, -0.12),
    (1.12, 0.0425, 0.0410, -0.001, 0.3, -0.14, -0.14),
    (1.28, 0.0420, 0.0405, -0.003, 0.3, -0.14, -0.14),
    (1.50, 0.0365, 0.0365, -0.003, 0.25, -0.14, -0.14),
    (1.75, 0.0285, 0.0310, -0.002, 0.2, -0.12, -0.12),
    (1.93, 0.0235, 0.0290, -0.002, 0.15, -0.12, -0.12),
    (2.02, 0.0225, 0.0290, -0.002, 0.1, -0.12, -0.12),
)
_LEG = (
    (-0.13, 0.040, 0.050, 0.012, 0.3, 0.0, 0.0),
    (-0.06, 0.074, 0.088, 0.012, 0.4, 0.05, 0.05),
    (0.02, 0.087, 0.098, 0.012, 0.5, 0.06, 0.05),
    (0.12, 0.0895, 0.097, 0.008, 0.55, 0.06, 0.04),
    (0.25, 0.085, 0.092, 0.004, 0.5, 0.04, 0.02),
    (0.45, 0.0755, 0.081, 0.000, 0.45, 0.0, 0.0),
    (0.65, 0.0655, 0.070, -0.002, 0.4, -0.04, -0.04),
    (0.85, 0.0565, 0.0605, -0.004, 0.3, -0.05, -0.05),
    (1.00, 0.0535, 0.0580, -0.006, 0.2, -0.06, -0.06),
    (1.10, 0.0510, 0.0550, 0.004, 0.25, -0.06, -0.06),
    (1.24, 0.0550, 0.0590, 0.014, 0.3, -0.05, -0.05),
    (1.38, 0.0530, 0.0560, 0.015, 0.3, -0.06, -0.06),
    (1.55, 0.0440, 0.0460, 0.011, 0.25, -0.08, -0.08),
    (1.75, 0.0350, 0.0370, 0.008, 0.2, -0.1, -0.1),
    (1.90, 0.0315, 0.0365, 0.006, 0.15, -0.1, -0.1),
    (2.02, 0.0330, 0.0410, 0.004, 0.1, -0.1, -0.1),
    (2.08, 0.0200, 0.0250, 0.004, 0.1, -0.1, -0.1),
)
# Height over the head's joint.
_HEAD = (
    (-0.0800, 0.008, 0.008, -0.070, 0.1, 0.0, 0.0),
    (-0.0760, 0.024, 0.025, -0.066, 0.2, -0.10, 0.0),
    (-0.0660, 0.0395, 0.046, -0.050, 0.25, -0.10, -0.02),
    (-0.0460, 0.0540, 0.070, -0.030, 0.25, -0.09, -0.02),
    (-0.0190, 0.0635, 0.086, -0.018, 0.2, -0.06, -0.02),
    (0.0110, 0.0705, 0.0945, -0.012, 0.1, -0.02, -0.02),
    (0.0410, 0.0745, 0.0990, -0.008, 0.05, -0.02, -0.02),
    (0.0770, 0.0770, 0.1015, -0.003, 0.0, -0.02, -0.02),
    (0.1090, 0.0725, 0.0950, 0.002, 0.0, -0.02, -0.02),
    (0.1330, 0.0560, 0.0750, 0.005, 0.0, -0.02, -0.02),
    (0.1490, 0.0320, 0.0430, 0.006, 0.0, 0.0, 0.0),
    (0.1550, 0.0003, 0.0004, 0.006, 0.0, 0.0, 0.0),
)
# Distance before the ankle; half width, half height, height over the ankle.
_FOOT = (
    (-0.066, 0.010, 0.014, -0.044, 0.0, -0.1, -0.05),
    (-0.056, 0.029, 0.032, -0.040, 0.0, -0.1, -0.05),
    (-0.020, 0.0350, 0.0490, -0.024, 0.0, -0.1, -0.05),
    (0.030, 0.0375, 0.0440, -0.029, 0.0, -0.1, -0.05),
    (0.080, 0.0430, 0.0315, -0.0415, 0.0, -0.1, -0.05),
    (0.130, 0.0480, 0.0250, -0.048, 0.0, -0.1, -0.05),
    (0.172, 0.0410, 0.0190, -0.054, 0.0, -0.1, -0.05),
    (0.192, 0.0240, 0.0130, -0.060, 0.0, -0.1, -0.05),
    (0.199, 0.0060, 0.0050, -0.064, 0.0, -0.1, -0.05),
)
_HAND = (
    (-0.05, 0.0215, 0.0280, 0.000, 0.1, -0.1, -0.12),
    (0.25, 0.0190, 0.0340, -0.001, 0.1, -0.1, -0.12),
    (0.60, 0.0165, 0.0400, -0.001, 0.1, -0.1, -0.12),
    (1.00, 0.0135, 0.0410, 0.000, 0.1, -0.1, -0.12),
    (1.06, 0.0060, 0.0360, 0.000, 0.1, -0.1, -0.12),
)
# Along a finger; its width and thickness are the same.
_FINGER = (
    (-0.10, 0.0088, 0.0088, 0.0, 0.1, -0.12, -0.12),
    (0.40, 0.0082, 0.0082, 0.0, 0.1, -0.12, -0.12),
    (0.85, 0.0070, 0.0070, 0.0, 0.1, -0.12, -0.12),
    (1.00, 0.0030, 0.0030, 0.0, 0.1, -0.12, -0.12),
)
_MITTEN = (
    (-0.05, 0.0135, 0.0405, 0.000, 0.1, -0.1, -0.12),
    (0.45, 0.0110, 0.0375, 0.002, 0.1, -0.1, -0.12),
    (0.80, 0.0090, 0.0290, 0.003, 0.1, -0.1, -0.12),
    (1.00, 0.0040, 0.0120, 0.004, 0.1, -0.1, -0.12),
)
_THUMB = (
    (-0.10, 0.0100, 0.0100, 0.0, 0.1, -0.12, -0.12),
    (0.20, 0.0125, 0.0125, 0.0, 0.1, -0.12, -0.12),
    (0.60, 0.0100, 0.0100, 0.0, 0.1, -0.12, -0.12),
    (0.90, 0.0080, 0.0080, 0.0, 0.1, -0.12, -0.12),
    (1.00, 0.0030, 0.0030, 0.0, 0.1, -0.12, -0.12),
)
_FINGERS = ((-0.030, 0.072), (-0.010, 0.082), (0.010, 0.077), (0.029, 0.060))
# Parts that hang from 0 at their top to 1; half width and half depth of the first and last come from clothes.
_SKIRT = tuple((c, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) for c in (0.0, 0.25, 0.5, 0.75, 1.0))
_CURTAIN = (
    (0.00, 0.0880, 0.1100, 0.000, 0.0, 0.0, 0.0),
    (0.20, 0.0990, 0.1150, 0.002, 0.0, 0.0, 0.0),
    (0.50, 0.1010, 0.1060, 0.014, 0.0, 0.0, 0.0),
    (0.80, 0.1000, 0.0900, 0.034, 0.0, 0.0, 0.0),
    (1.00, 0.0850, 0.0800, 0.044, 0.0, 0.0, 0.0),
)
_TAIL = (
    (0.00, 0.014, 0.014, 0.000, 0.0, 0.0, 0.0),
    (0.15, 0.026, 0.026, 0.030, 0.0, 0.0, 0.0),
    (0.50, 0.030, 0.026, 0.042, 0.0, 0.0, 0.0),
    (0.85, 0.022, 0.018, 0.036, 0.0, 0.0, 0.0),
    (1.00, 0.004, 0.004, 0.030, 0.0, 0.0, 0.0),
)
_BALL = tuple(
    (0.5 - 0.5 * np.cos(a), 0.045 * np.sin(a) + 0.001, 0.045 * np.sin(a) + 0.001, 0.0, 0.0, 0.0, 0.0)
    for a in np.linspace(0, np.pi, 7)
)
_BRIM = tuple((c, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) for c in (0.0, 1.0))


@dataclass(frozen=True)
class _Tube:
    """One part of the mesh: rings around a chain of joints, or around a line from one joint.

    Args:
        part: name of the part.
        table: rows as described above.
        anchors: joints of the chain; or one joint that the line starts from.
        bones: (bone, position along the chain where it takes over, half width of the passage).
        rings, sides: how many, at detail 1.
        axis: direction of the line from a single anchor (positions count meters along it, or `length`s), or roughly
            of the chain.
        depth: direction that "depth" and "back" of the table mean.
        offset: start of the line relative to its joint (m).
        length: what positions are multiplied by.
        arc: part of the circle in degrees that is covered, counted from the left over the back. Default: closed.
        squareness: exponent of the superellipse that rings are; 2 is an ellipse.
        grows_with_head: sizes follow the head rather than the stature.
    """

    part: str
    table: tuple[tuple[float, ...], ...]
    anchors: tuple[str, ...]
    bones: tuple[tuple[str, float, float], ...]
    rings: int
    sides: int
    axis: tuple[float, float, float] = (0, 0, -1)
    depth: tuple[float, float, float] = (0, 1, 0)
    offset: tuple[float, float, float] = (0, 0, 0)
    length: float = 1.0
    arc: tuple[float, float] | None = None
    squareness: float = 2.0
    grows_with_head: bool = False


def _tubes(detail: int) -> list[_Tube]:
    head = (("head", -9.0, 0.1),)
    tubes = [
        _Tube(
            "torso",
            _TORSO,
            ("pelvis", "neck", "head"),
            (
                ("pelvis", -9.0, 0.1),
                ("lumbar", 0.08, 0.14),
                ("chest", 0.5, 0.16),
                ("neck", 1.3, 0.3),
                ("head", 2.1, 0.3),
            ),
            18,
            18,
            axis=(0, 0, 1),
            squareness=2.25,
        ),
        _Tube(
            "head", _HEAD, ("head",), head, 14, 18, axis=(0, 0, 1), grows_with_head=True, squareness=_HEAD_SQUARENESS
        ),
        _Tube(
            "skirt",
            _SKIRT,
            ("pelvis",),
            (("lumbar", -9.0, 0.1), ("pelvis", 0.1, 0.15), ("thighs", 0.36, 0.3)),
            8,
            18,
            offset=(0, 0.006, 0.1),
        ),
        _Tube(
            "hair_curtain",
            _CURTAIN,
            ("head",),
            (*head, ("chest", 0.8, 0.45)),
            8,
            14,
            arc=(-28, 208),
            offset=(0, 0.002, 0.06),
            grows_with_head=True,
        ),
        _Tube(
            "hair_tail",
            _TAIL,
            ("head",),
            (*head, ("chest", 1.1, 0.6)),
            8,
            8,
            offset=(0, 0.085, 0.1),
            grows_with_head=True,
        ),
        _Tube("hair_bun", _BALL, ("head",), head, 7, 10, offset=(0, 0.085, 0.15), length=0.09, grows_with_head=True),
        _Tube(
            "hat_brim", _BRIM, ("head",), head, 3, 20, axis=(0, 0, 1), offset=(0, -0.002, 0.092), grows_with_head=True
        ),
    ]
    for side in SIDES:
        hand, fingers = f"{side}_hand", f"{side}_fingers"
        tubes += [
            _Tube(
                f"{side}_arm",
                _ARM,
                (f"{side}_upper_arm", f"{side}_forearm", hand),
                ((f"{side}_upper_arm", -9.0, 0.1), (f"{side}_forearm", 1.0, 0.13), (hand, 2.0, 0.08)),
                16,
                10,
            ),
            _Tube(
                f"{side}_leg",
                _LEG,
                (f"{side}_thigh", f"{side}_shank", f"{side}_foot"),
                ((f"{side}_thigh", -9.0, 0.1), (f"{side}_shank", 1.0, 0.13), (f"{side}_foot", 2.06, 0.1)),
                16,
                10,
            ),
            _Tube(
                f"{side}_foot",
                _FOOT,
                (f"{side}_foot",),
                ((f"{side}_foot", -9.0, 0.1), (f"{side}_toes", 0.128, 0.03)),
                9,
                8,
                axis=(0, -1, 0),
                depth=(0, 0, 1),
                squareness=2.4,
            ),
            _Tube(
                f"{side}_hand",
                _HAND,
                (hand, fingers),
                ((hand, -9.0, 0.1),),
                5,
                8,
                squareness=2.4,
            ),
            _Tube(
                f"{side}_thumb",
                _THUMB,
                (hand,),
                ((hand, -9.0, 0.1),),
                4,
                5,
                axis=(-0.2, -0.42, -0.88),
                offset=(-0.004, -0.026, -0.022),
                length=0.078,
            ),
        ]
        bent = ((hand, -9.0, 0.1), (fingers, 0.1, 0.3))
        if detail == 1:
            tubes.append(_Tube(f"{side}_fingers", _MITTEN, (fingers,), bent, 5, 7, length=0.08, squareness=2.4))
        else:
            tubes += [
                _Tube(f"{side}_fingers", _FINGER, (fingers,), bent, 5, 5, length=length, offset=(0, y, 0))
                for y, length in _FINGERS
            ]
    return tubes


@dataclass(frozen=True, eq=False)
class Template:
    """What the meshes of all bodies share at one detail level: R rings, V vertices, Q quads of P parts.

    Args:
        detail: its level.
        parts: names of parts.
        ring_part: (R,) index of each ring's part.
        ring_position: (R,) position along the part, as in the tables.
        ring_anchors: (R, 2) joints that the ring lies between, and `ring_share` (R,) how far from the first to the
            second (below 0 or above 1: beyond them).
        ring_offset: (R, 3) shift of the center (m), and `ring_line` (R, 3) direction that `lengths` of the part
            stretch it along.
        ring_table: (R, 5) half width, half depth, weight, femininity of width and of depth.
        ring_on_head: (R,) whether sizes follow the head.
        vertex_ring: (V,) ring of each vertex.
        vertex_width, vertex_depth: (V, 3) directions that half width and half depth push a vertex.
        vertex_outward: (V, 3) direction that padding pushes a vertex.
        vertex_angle: (V,) degrees around the ring: 0 to the left, 90 to the back, 270 to the front.
        weights: (U, B) how much each bone moves a vertex: the U different rows, and `vertex_weights` (V,) which it is.
        quads: (Q, 4) vertices, counterclockwise seen from outside.
        quad_part, quad_position, quad_angle: (Q,) part, and means over the quad.
        part_length: (P,) lengths that stretch `ring_line` where a person has none of their own.
        bumps: (3, V) shift of vertices to the back (m): by femininity, by weight above average, for everyone.
    """

    detail: int
    parts: tuple[str, ...]
    ring_part: np.ndarray
    ring_position: np.ndarray
    ring_anchors: np.ndarray
    ring_share: np.ndarray
    ring_offset: np.ndarray
    ring_line: np.ndarray
    ring_table: np.ndarray
    ring_on_head: np.ndarray
    vertex_ring: np.ndarray
    vertex_width: np.ndarray
    vertex_depth: np.ndarray
    vertex_outward: np.ndarray
    vertex_angle: np.ndarray
    weights: np.ndarray
    vertex_weights: np.ndarray
    quads: np.ndarray
    quad_part: np.ndarray
    quad_position: np.ndarray
    quad_angle: np.ndarray
    part_length: np.ndarray
    bumps: np.ndarray

    def part(self, name: str) -> int:
        """Index of a part."""
        return self.parts.index(name)


@cache
def template(detail: int) -> Template:
    """The mesh of detail level 1 (fast), 2 or 3 (for large images)."""
    tubes = _tubes(detail)
    parts = tuple(dict.fromkeys(tube.part for tube in tubes))
    rings: list[dict[str, np.ndarray]] = []
    vertices: list[dict[str, np.ndarray]] = []
    quads: list[dict[str, np.ndarray]] = []
    first_ring = first_vertex = 0
    for tube in tubes:
        ring, vertex, quad = _build_tube(tube, parts.index(tube.part), detail)
        vertex["vertex_ring"] = vertex["vertex_ring"] + first_ring
        quad["quads"] = quad["quads"] + first_vertex
        first_ring += len(ring["ring_part"])
        first_vertex += len(vertex["vertex_ring"])
        rings.append(ring)
        vertices.append(vertex)
        quads.append(quad)
    arrays = {
        name: np.concatenate([group[name] for group in groups])
        for groups in (rings, vertices, quads)
        for name in groups[0]
    }
    lengths = np.ones(len(parts))
    for tube in tubes:
        lengths[parts.index(tube.part)] = tube.length
    position = arrays["ring_position"][arrays["vertex_ring"]]
    torso = arrays["ring_part"][arrays["vertex_ring"]] == parts.index("torso")
    bumps = torso * _torso_bumps(position, arrays["vertex_angle"])
    for name in ("vertex_width", "vertex_depth", "vertex_outward"):
        arrays[name] = arrays[name].astype(np.float32)
    arrays["weights"], arrays["vertex_weights"] = np.unique(arrays["weights"], axis=0, return_inverse=True)
    return Template(detail=detail, parts=parts, part_length=lengths, bumps=bumps, **arrays)


def _build_tube(tube: _Tube, part: int, detail: int) -> tuple[dict[str, np.ndarray], ...]:
    """Arrays of one tube's rings, vertices and quads, numbered from 0."""
    scale = _FINER_LEVEL ** (detail - 1)
    count, sides = round((tube.rings - 1) * scale) + 1, 2 * round(tube.sides * scale / 2)
    position, table = _resample(np.array(tube.table), count)
    mirror = np.array([-1.0 if tube.part.startswith("right") else 1.0, 1, 1])
    depth = np.array(tube.depth, float)
    line = np.array(tube.axis, float) * mirror
    line /= np.linalg.norm(line)
    depth -= line * (depth @ line)
    depth /= np.linalg.norm(depth)
    width = np.cross(depth, line)
    width *= np.sign(width[0])
    anchors = np.array([BONE_INDEX[bone] for bone in tube.anchors])
    if len(anchors) == 1:
        ring_anchors = np.repeat(anchors, 2)[None].repeat(count, 0)
        share, lines = np.zeros(count), position[:, None] * line
    else:
        segment = np.clip(np.floor(position), 0, len(anchors) - 2).astype(int)
        ring_anchors = np.stack((anchors[segment], anchors[segment + 1]), axis=1)
        share, lines = position - segment, np.zeros((count, 3))
    rings = {
        "ring_part": np.full(count, part),
        "ring_position": position,
        "ring_anchors": ring_anchors,
        "ring_share": share,
        "ring_offset": np.array(tube.offset) * mirror + table[:, 2:3] * depth,
        "ring_line": lines,
        "ring_table": table[:, [0, 1, 3, 4, 5]],
        "ring_on_head": np.full(count, tube.grows_with_head),
    }
    closed = tube.arc is None
    start, stop = (0.0, 360.0) if tube.arc is None else tube.arc
    degrees = np.linspace(start, stop, sides, endpoint=not closed)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    radius = (np.abs(cosine) ** tube.squareness + np.abs(sine) ** tube.squareness) ** (-1 / tube.squareness)
    angle = np.tile(degrees % 360, count)
    outward = np.tile(cosine[:, None] * width + sine[:, None] * depth, (count, 1))
    if tube.part == "head":  # a dome: up at the crown
        half = np.repeat(table[:, :2], sides, axis=0) * np.stack(
            (np.tile(cosine, count), np.tile(sine, count)), axis=1
        )
        outward = half[:, :1] * width + half[:, 1:] * depth + (np.repeat(position, sides) - 0.05)[:, None] * line
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    vertices = {
        "vertex_outward": outward,
        "vertex_ring": np.repeat(np.arange(count), sides),
        "vertex_width": np.tile((cosine * radius)[:, None] * width, (count, 1)),
        "vertex_depth": np.tile((sine * radius)[:, None] * depth, (count, 1)),
        "vertex_angle": angle,
        "weights": _bone_weights(tube, np.repeat(position, sides), np.tile(cosine, count)),
    }
    column = np.arange(sides if closed else sides - 1)
    after = (column + 1) % sides
    row = np.arange(count - 1)[:, None] * sides
    corners = np.stack((row + column, row + after, row + sides + after, row + sides + column), axis=-1).reshape(-1, 4)
    if np.dot(np.cross(width, depth), line) < 0:
        corners = corners[:, ::-1]
    step = (stop - start) / len(column) / 2
    quads = {
        "quads": corners,
        "quad_part": np.full(len(corners), part),
        "quad_position": np.repeat((position[1:] + position[:-1]) / 2, len(column)),
        "quad_angle": np.tile((degrees[column] + step) % 360, count - 1),
    }
    return rings, vertices, quads


def _resample(table: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (count,) spread like those of `table` (K, 1 + C), and its other columns there (count, C).

    Between rows the columns follow a monotone cubic (Fritsch and Butland, 1984), which never overshoots.
    """
    position, values = table[:, 0], table[:, 1:]
    wanted = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(position)), position)
    step = np.diff(position)[:, None]
    slope = np.diff(values, axis=0) / step
    product = slope[:-1] * slope[1:]
    inner = np.where(product > 0, 2 * product / np.where(product > 0, slope[:-1] + slope[1:], 1), 0)
    tangent = np.concatenate((slope[:1], inner, slope[-1:]))
    index = np.clip(np.searchsorted(position, wanted, "right") - 1, 0, len(position) - 2)
    t = ((wanted - position[index]) / step[index, 0])[:, None]
    square, cube = t * t, t * t * t
    return wanted, (
        (2 * cube - 3 * square + 1) * values[index]
        + (cube - 2 * square + t) * step[index] * tangent[index]
        + (3 * square - 2 * cube) * values[index + 1]
        + (cube - square) * step[index] * tangent[index + 1]
    )


def _bone_weights(tube: _Tube, position: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """(V, B) weights of bones at vertices: each bone takes over from the one before it; of `thighs` the nearer."""
    weights = np.zeros((len(position), len(BONES)))
    taken = np.ones(len(position))
    for bone, start, half in reversed(tube.bones):
        share = np.clip((position - start) / (2 * half) + 0.5, 0, 1)
        share = share * share * (3 - 2 * share)
        if bone == "thighs":
            left = np.clip(0.5 + 1.4 * cosine, 0, 1)
            weights[:, BONE_INDEX["left_thigh"]] += taken * share * left
            weights[:, BONE_INDEX["right_thigh"]] += taken * share * (1 - left)
        else:
            weights[:, BONE_INDEX[bone]] += taken * share
        taken = taken * (1 - share)
    return weights


@dataclass(frozen=True)
class Padding:
    """What clothes and hair add to the bodies of N people.

    Args:
        rings: (N, R, 2) added to half width and half depth (m).
        vertices: (N, V) added outward (m).
        lengths: (N, P) of parts that have a length.
    """

    rings: np.ndarray
    vertices: np.ndarray
    lengths: np.ndarray


def rest_vertices(mesh: Template, bodies: Sequence[Body], joints: np.ndarray, padding: Padding) -> np.ndarray:
    """(N, V, 3) float32 vertices of N bodies in rest pose; `joints` (N, B, 3) as in `anatomy.joints_of`."""
    size = np.array([body.stature for body in bodies]) / _REFERENCE_STATURE
    head = np.array([body.head_scale for body in bodies])
    weight = np.array([body.weight for body in bodies])[:, None]
    femininity = np.array([body.femininity for body in bodies])
    childhood = np.array([body.childhood for body in bodies])[:, None]
    scale = np.where(mesh.ring_on_head, head[:, None], size[:, None])  # (N, R)
    lengths = padding.lengths[:, mesh.ring_part] * scale
    anchors = joints[:, mesh.ring_anchors]
    centers = (
        anchors[:, :, 0]
        + mesh.ring_share[:, None] * (anchors[:, :, 1] - anchors[:, :, 0])
        + scale[..., None] * mesh.ring_offset
        + lengths[..., None] * mesh.ring_line
    )
    half_width, half_depth, by_weight, by_width, by_depth = mesh.ring_table.T
    widen = 1 + by_weight * (_WEIGHT_WIDENS * weight - _CHILDHOOD_SLIMS * childhood)
    width = half_width * widen * (1 + by_width * femininity[:, None]) * scale + padding.rings[..., 0]
    depth = half_depth * widen * (1 + by_depth * femininity[:, None]) * scale + padding.rings[..., 1]
    centers, width, depth = (values.astype(np.float32) for values in (centers, width, depth))
    ring = mesh.vertex_ring
    vertices = (
        centers[:, ring]
        + width[:, ring, None] * mesh.vertex_width
        + depth[:, ring, None] * mesh.vertex_depth
        + padding.vertices[..., None].astype(np.float32) * mesh.vertex_outward
    )
    figure = np.stack((femininity, np.maximum(weight[:, 0], 0), np.ones_like(femininity)), axis=1)
    vertices[..., 1] += size[:, None] * (figure @ mesh.bumps)
    return vertices


def _torso_bumps(position: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(3, V) shift to the back of vertices at `position` of the torso and `angle` around it, as in
    `Template.bumps`."""

    def bump(center: float, half: float, degrees: float, spread: float) -> np.ndarray:
        along = np.exp(-(((position - center) / half) ** 2))
        around = np.exp(-((((angle - degrees + 180) % 360 - 180) / spread) ** 2))
        return along * around

    breasts = bump(0.74, 0.11, 270 - 32, 24) + bump(0.74, 0.11, 270 + 32, 24)
    buttocks = bump(-0.06, 0.13, 90 - 35, 30) + bump(-0.06, 0.13, 90 + 35, 30)
    belly = bump(0.3, 0.25, 270, 55)
    chest = bump(0.78, 0.1, 270 - 30, 26) + bump(0.78, 0.1, 270 + 30, 26)
    return np.stack((-0.034 * breasts + 0.014 * buttocks, -0.075 * belly, -0.008 * chest + 0.016 * buttocks))


def head_front(body: Body, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(n,) y of the front of an adult-sized head's skin at x and z in the frame of its bone (m)."""
    table = np.array(_HEAD)
    half_width, half_depth, back, by_weight = (np.interp(z, table[:, 0], table[:, i]) for i in (1, 2, 3, 4))
    widen = 1 + by_weight * (_WEIGHT_WIDENS * body.weight - _CHILDHOOD_SLIMS * body.childhood)
    sideways = np.minimum(np.abs(x) / (half_width * widen), 0.999)
    return back - half_depth * widen * (1 - sideways**_HEAD_SQUARENESS) ** (1 / _HEAD_SQUARENESS)


def bend(
    mesh: Template, rest: np.ndarray, joints: np.ndarray, rotations: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """(N, V, 3) float32 vertices moved along with the bones (linear blend skinning).

    Args:
        rest: (N, V, 3) vertices in rest pose.
        joints: (N, B, 3) joints in rest pose.
        rotations, positions: (N, B, 3, 3) and (N, B, 3) frames of the bones.
    """
    people = len(rest)
    shift = positions - (rotations @ joints[..., None])[..., 0]
    transforms = np.concatenate((rotations, shift[..., None]), axis=-1).reshape(people, len(BONES), 12)
    blended = (mesh.weights @ transforms).astype(np.float32)[:, mesh.vertex_weights].reshape(people, -1, 3, 4)
    # as sums of columns: several times faster than a product of many small matrices
    turned = sum(blended[..., axis] * rest[..., axis, None] for axis in range(3))
    return turned + blended[..., 3]
