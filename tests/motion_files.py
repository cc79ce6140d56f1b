"""Reads motion files back, by the rules of their formats and with nothing of hfpose."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Node:
    """A joint of a BVH file, or the tip of a bone (`name` None)."""

    name: str | None
    offset: np.ndarray
    channels: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)


@dataclass
class BvhFile:
    roots: list[Node]
    frame_time: float
    frames: np.ndarray  # (T, all channels)

    @property
    def root(self) -> Node:
        return self.roots[0]

    def joints(self) -> dict[str, np.ndarray]:
        """Places (T, 3) of all joints, by going down from the root."""
        places: dict[str, np.ndarray] = {}
        columns = iter(self.frames.T)

        def place(node: Node, parent: np.ndarray, turned: np.ndarray) -> None:
            here = parent + turned @ node.offset
            for channel in node.channels:
                value = next(columns)
                axis = "XYZ".index(channel[0])
                if channel.endswith("position"):
                    here = here + value[:, None] * np.eye(3)[axis]
                else:
                    turned = turned @ np.stack([about(axis, angle) for angle in np.deg2rad(value)])
            if node.name is not None:
                places[node.name] = here
            for child in node.children:
                place(child, here, turned)

        for root in self.roots:
            place(root, np.zeros((len(self.frames), 3)), np.broadcast_to(np.eye(3), (len(self.frames), 3, 3)))
        return places


def about(axis: int, angle: float) -> np.ndarray:
    """Right-handed rotation about x (0), y (1) or z (2) by radians."""
    matrix = np.eye(3)
    i, j = [other for other in range(3) if other != axis]
    matrix[[i, j], [i, j]] = np.cos(angle)
    sign = 1 if axis == 1 else -1
    matrix[i, j], matrix[j, i] = sign * np.sin(angle), -sign * np.sin(angle)
    return matrix


def read_bvh(text: str) -> BvhFile:
    words = iter(text.split())

    def expect(word: str) -> None:
        found = next(words)
        assert found == word, f"{found} in the place of {word}"

    def node(name: str | None) -> Node:
        expect("{")
        expect("OFFSET")
        made = Node(name, np.array([float(next(words)) for _ in range(3)]))
        while (word := next(words)) != "}":
            if word == "CHANNELS":
                made.channels = [next(words) for _ in range(int(next(words)))]
            elif word == "End":
                expect("Site")
                made.children.append(node(None))
            else:
                assert word == "JOINT"
                made.children.append(node(next(words)))
        return made

    expect("HIERARCHY")
    roots = []
    while (word := next(words)) == "ROOT":
        roots.append(node(next(words)))
    assert roots and word == "MOTION"
    expect("Frames:")
    number = int(next(words))
    expect("Frame")
    expect("Time:")
    frame_time = float(next(words))
    values = np.array([float(word) for word in words])
    return BvhFile(roots, frame_time, values.reshape(number, -1))


def read_trc(text: str) -> tuple[dict[str, str], list[str], np.ndarray]:
    """What the header says, the names of markers, and rows (T, 2 + 3 K) with NaN for empty fields.

    As strict as OpenSim 4 and Mokka: a tab ends a field, what follows the last tab of a line counts only where it is
    not empty, and every row has three fields for each marker.
    """
    lines = text.split("\n")
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    keys, values = _fields(lines[1]), _fields(lines[2])
    expected = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames"
    assert keys == expected.split() and len(values) == len(keys)
    header = dict(zip(keys, values, strict=True))
    labels = [label for label in _fields(lines[3]) if label]
    assert labels[:2] == ["Frame#", "Time"]
    names = labels[2:]
    assert len(names) == int(header["NumMarkers"])
    assert _fields(lines[4]) == ["", "", *(f"{axis}{i}" for i in range(1, len(names) + 1) for axis in "XYZ")]
    assert lines[5] == "" and lines[-1] == ""
    rows = [_fields(line) for line in lines[6:-1]]
    assert len(rows) == int(header["NumFrames"])
    assert {len(row) for row in rows} == {2 + 3 * len(names)}
    points = np.array([[float(value) if value else np.nan for value in row] for row in rows])
    assert (np.isnan(points[:, 2:]).reshape(len(rows), -1, 3).sum(-1) % 3 == 0).all()
    return header, names, points


def _fields(line: str) -> list[str]:
    fields = line.split("\t")
    return fields if fields[-1] else fields[:-1]


def read_glb(content: bytes) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """Times (T,) of the animation, and of each person of the scene the places (T, 3) of their joints."""
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    chunks, start = {}, 12
    while start < length:
        size, kind = struct.unpack_from("<I4s", content, start)
        assert size % 4 == 0
        chunks[kind] = content[start + 8 : start + 8 + size]
        start += 8 + size
    gltf, data = json.loads(chunks[b"JSON"]), chunks[b"BIN\0"]

    def values(number: int) -> np.ndarray:
        accessor = gltf["accessors"][number]
        view = gltf["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
        kind = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}[accessor["componentType"]]
        found = np.frombuffer(data, kind, accessor["count"] * width, view["byteOffset"])
        assert found.nbytes == view["byteLength"] and view["byteOffset"] % 4 == 0
        return found.reshape(-1, width) if width > 1 else found

    animation = gltf["animations"][0]
    samplers = [(values(each["input"]), values(each["output"])) for each in animation["samplers"]]
    times = samplers[0][0]
    moves: dict[tuple[int, str], np.ndarray] = {}
    for channel in animation["channels"]:
        moves[channel["target"]["node"], channel["target"]["path"]] = samplers[channel["sampler"]][1]

    def place(number: int, parent: np.ndarray, turned: np.ndarray, places: dict[str, np.ndarray]) -> None:
        node = gltf["nodes"][number]
        shift = moves.get((number, "translation"), np.array(node.get("translation", (0, 0, 0)))[None])
        here = parent + (turned @ shift[..., None])[..., 0]
        places[node["name"]] = here
        if (turns := moves.get((number, "rotation"))) is not None:
            assert np.abs(np.linalg.norm(turns, axis=1) - 1).max() < 1e-5
            turned = turned @ np.stack([_matrix(*turn) for turn in turns.tolist()])
        for child in node.get("children", []):
            place(child, here, turned, places)

    people: dict[str, dict[str, np.ndarray]] = {}
    for number in gltf["scenes"][0]["nodes"]:
        if "mesh" in gltf["nodes"][number]:
            continue
        joints = people.setdefault(gltf["nodes"][number]["name"], {})
        place(number, np.zeros((len(times), 3)), np.broadcast_to(np.eye(3), (len(times), 3, 3)), joints)
    return times, people


def _matrix(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Rotation of a unit quaternion."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
