"""GLB, binary glTF 2.0: skeletons with their animation for web viewers, Blender and game engines.

Source: the specification of glTF 2.0, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
"""

from __future__ import annotations

import colorsys
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from hfpose.media.skeleton import SkeletonMotion

_FLOAT, _UNSIGNED_BYTE, _UNSIGNED_SHORT = 5126, 5121, 5123
_VERTICES, _INDICES = 34962, 34963
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_NUMBERS = {np.dtype(np.float32): _FLOAT, np.dtype(np.uint8): _UNSIGNED_BYTE, np.dtype(np.uint16): _UNSIGNED_SHORT}
# Bones are drawn as double pyramids: so thick and so far from their beginning, in shares of their length.
_THICKNESS, _WIDEST = 0.09, 0.15
_FACES = [(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 1), (5, 2, 1), (5, 3, 2), (5, 4, 3), (5, 1, 4)]


def glb_bytes(people: Mapping[str, SkeletonMotion], times: np.ndarray) -> bytes:
    """The contents of a GLB file: for each person a skeleton, a mesh of its bones and its motion; meters, y up, z
    forward.

    Args:
        people: motions of T frames by name.
        times: (T,) seconds, growing.
    """
    data = _Buffer()
    gltf: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "hfpose"},
        "scene": 0,
        "scenes": [{"nodes": []}],
        **{name: [] for name in ("nodes", "skins", "meshes", "materials")},
        "animations": [{"name": "motion", "channels": [], "samplers": []}],
    }
    seconds = data.add((times - times[0]).astype(np.float32), has_range=True)
    for number, (name, motion) in enumerate(people.items()):
        _add_person(gltf, data, name, motion, seconds, colorsys.hsv_to_rgb(0.58 + 0.618 * number, 0.6, 0.8))
    gltf |= {"accessors": data.accessors, "bufferViews": data.views, "buffers": [{"byteLength": len(data.content)}]}
    text = json.dumps(gltf, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = [(text, b"JSON"), (bytes(data.content), b"BIN\0")]
    body = b"".join(struct.pack("<I4s", len(chunk), kind) + chunk for chunk, kind in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


class _Buffer:
    """The binary part of a file, and what describes it."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.accessors: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, has_range: bool = False, target: int | None = None) -> int:
        """Append values (N,) or (N, C), for a mesh with what they are a target of; the number of their accessor."""
        columns = values.reshape(len(values), -1)
        accessor = {
            "bufferView": len(self.views),
            "componentType": _NUMBERS[values.dtype],
            "count": len(values),
            "type": _TYPES[columns.shape[1]],
        }
        if has_range:
            accessor |= {"min": columns.min(0).tolist(), "max": columns.max(0).tolist()}
        content = values.tobytes()
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content)}
        self.views.append(view if target is None else view | {"target": target})
        self.content += content + b"\0" * (-len(content) % 4)
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _add_person(
    gltf: dict[str, Any],
    data: _Buffer,
    name: str,
    motion: SkeletonMotion,
    times: int,
    color: tuple[float, float, float],
) -> None:
    first = len(gltf["nodes"])
    rest = _rest_places(motion)
    for joint, offset in enumerate(motion.offsets.tolist()):
        node: dict[str, Any] = {"name": motion.names[joint], "translation": offset}
        if children := motion.children(joint):
            node["children"] = [first + child for child in children]
        gltf["nodes"].append(node)
    gltf["nodes"][first]["translation"] = rest[0].tolist()
    count = len(motion.names)
    inverse = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    inverse[:, 3, :3] = -rest  # matrices lie in the file column by column
    gltf["skins"].append(
        {
            "joints": list(range(first, first + count)),
            "skeleton": first,
            "inverseBindMatrices": data.add(inverse.reshape(count, 16)),
        }
    )
    gltf["meshes"].append({"name": name, "primitives": [_bones(data, motion, rest, len(gltf["materials"]))]})
    surface = {"baseColorFactor": [*color, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
    gltf["materials"].append({"pbrMetallicRoughness": surface, "doubleSided": True})
    skinned = {"name": f"{name}_mesh", "mesh": len(gltf["meshes"]) - 1, "skin": len(gltf["skins"]) - 1}
    gltf["nodes"] += [skinned, {"name": name, "children": [first]}]
    gltf["scenes"][0]["nodes"] += [first + count, first + count + 1]
    curves = [(first, "translation", motion.root)]
    curves += [(first + j, "rotation", _quaternions(motion.rotations[:, j])) for j in range(count)]
    animation = gltf["animations"][0]
    for node_number, path, values in curves:
        target = {"node": node_number, "path": path}
        animation["channels"].append({"sampler": len(animation["samplers"]), "target": target})
        animation["samplers"].append(
            {"input": times, "output": data.add(values.astype(np.float32)), "interpolation": "LINEAR"}
        )


def _rest_places(motion: SkeletonMotion) -> np.ndarray:
    """Where the joints (J, 3) are in rest pose, the lowest on the ground."""
    places = motion.offsets.copy()
    for joint, parent in enumerate(motion.parents):
        if parent >= 0:
            places[joint] += places[parent]
    return places - (0, places[:, 1].min(), 0)


def _bones(data: _Buffer, motion: SkeletonMotion, rest: np.ndarray, material: int) -> dict[str, Any]:
    """A mesh of all bones in rest pose, each fixed to the joint at its beginning."""
    ends = [(parent, rest[joint]) for joint, parent in enumerate(motion.parents) if parent >= 0]
    ends += [(joint, rest[joint] + tip) for joint, tip in enumerate(motion.tips) if tip.any()]
    bones = [(joint, rest[joint], end) for joint, end in ends if np.linalg.norm(end - rest[joint]) > 1e-6]
    points = np.concatenate([_double_pyramid(start, end) for _, start, end in bones]).astype(np.float32)
    owners = np.zeros((len(points), 4), np.uint8)
    owners[:, 0] = np.repeat([joint for joint, _, _ in bones], 6)
    weights = np.tile(np.array([1, 0, 0, 0], np.float32), (len(points), 1))
    faces = (np.array(_FACES)[None] + 6 * np.arange(len(bones))[:, None, None]).astype(np.uint16)
    attributes = {
        "POSITION": data.add(points, has_range=True, target=_VERTICES),
        "JOINTS_0": data.add(owners, target=_VERTICES),
        "WEIGHTS_0": data.add(weights, target=_VERTICES),
    }
    return {"attributes": attributes, "indices": data.add(faces.ravel(), target=_INDICES), "material": material}


def _double_pyramid(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Corners (6, 3): the start, four around the widest place, and the end."""
    along = end - start
    length = np.linalg.norm(along)
    side = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    side *= _THICKNESS * length / np.linalg.norm(side)
    other = np.cross(along, side) / length
    ring = start + _WIDEST * along + np.stack((side, other, -side, -other))
    return np.concatenate((start[None], ring, end[None]))


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """Unit quaternions (T, 4) x, y, z, w of rotations (T, 3, 3), each near the one before it.

    Source: Shepperd, "Quaternion from rotation matrix", 1978.
    """
    diagonal = rotations[:, [0, 1, 2], [0, 1, 2]]
    trace = diagonal.sum(1)
    # Four times w^2, x^2, ... and the products of each pair, as a matrix q q^T; its greatest column is precise.
    squares = np.empty((len(rotations), 4, 4))
    squares[:, range(3), range(3)] = 1 + 2 * diagonal - trace[:, None]
    squares[:, 3, 3] = 1 + trace
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        squares[:, i, j] = squares[:, j, i] = rotations[:, i, j] + rotations[:, j, i]
        squares[:, k, 3] = squares[:, 3, k] = rotations[:, j, i] - rotations[:, i, j]
    greatest = squares[:, range(4), range(4)].argmax(1)
    found = squares[np.arange(len(rotations)), greatest]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    turned = np.where((found[1:] * found[:-1]).sum(1) < 0, -1.0, 1.0)
    found[1:] *= np.cumprod(turned)[:, None]
    return found
