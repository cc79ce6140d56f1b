"""Reads motion files back, by the rules of their formats and with nothing of hfpose."""

from __future__ import annotations

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
    root: Node
    frame_time: float
    frames: np.ndarray  # (T, all channels)

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

        place(self.root, np.zeros((len(self.frames), 3)), np.broadcast_to(np.eye(3), (len(self.frames), 3, 3)))
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
    expect("ROOT")
    root = node(next(words))
    expect("MOTION")
    expect("Frames:")
    number = int(next(words))
    expect("Frame")
    expect("Time:")
    frame_time = float(next(words))
    values = np.array([float(word) for word in words])
    return BvhFile(root, frame_time, values.reshape(number, -1))


def read_trc(text: str) -> tuple[dict[str, str], list[str], np.ndarray]:
    """What the header says, the names of markers, and rows (T, 2 + 3 K) with NaN for empty fields.

    As strict as OpenSim 4 and Mokka: a tab ends a field, what follows the last tab of a line counts only where it is not
    empty, and every row has three fields for each marker.
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
