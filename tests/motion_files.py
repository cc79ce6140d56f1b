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
    """What the header says, the names of markers, and rows (T, 2 + 3 K) with NaN for empty fields."""
    lines = text.split("\n")
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    names = [name for name in lines[3].split("\t")[2:] if name]
    columns = lines[4].split("\t")
    assert columns == ["", "", *(f"{axis}{i}" for i in range(1, len(names) + 1) for axis in "XYZ")]
    assert lines[5] == "" and lines[-1] == ""
    rows = [[float(value) if value else np.nan for value in line.split("\t")] for line in lines[6:-1]]
    return header, names, np.array(rows)
