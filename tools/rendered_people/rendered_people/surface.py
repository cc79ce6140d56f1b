"""The skin of figures: a mesh of rings around chains of bones, bent with the bones.

All bodies of one detail level share one `Template`, so everything here is computed for N bodies at once. Lengths,
positions and frames are those of `tubes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from rendered_people.anatomy import BONE_INDEX, BONES, Body
from rendered_people.tubes import HEAD, HEAD_SQUARENESS, Tube, tubes_of

# Finest detail level, and how many times the rings and sides of a level the next one has.
MAX_DETAIL, _FINER_LEVEL = 3, 1.65
_REFERENCE_STATURE = 1.74
# How much weight 1 widens the belly, and how slim children are where adults have muscles and fat.
_WEIGHT_WIDENS, _CHILDHOOD_SLIMS = 0.42, 0.12


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
    tubes = tubes_of(detail)
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


def _build_tube(tube: Tube, part: int, detail: int) -> tuple[dict[str, np.ndarray], ...]:
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


def _bone_weights(tube: Tube, position: np.ndarray, cosine: np.ndarray) -> np.ndarray:
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
    table = np.array(HEAD)
    half_width, half_depth, back, by_weight = (np.interp(z, table[:, 0], table[:, i]) for i in (1, 2, 3, 4))
    widen = 1 + by_weight * (_WEIGHT_WIDENS * body.weight - _CHILDHOOD_SLIMS * body.childhood)
    sideways = np.minimum(np.abs(x) / (half_width * widen), 0.999)
    return back - half_depth * widen * (1 - sideways**HEAD_SQUARENESS) ** (1 / HEAD_SQUARENESS)


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
