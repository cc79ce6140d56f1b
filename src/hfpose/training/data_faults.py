"""Faults of annotation files that would pass unseen: each entry is valid, what it says is not what is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hfpose.annotations import CocoFile, annotation_name, finite_numbers
from hfpose.errors import InputError
from hfpose.media.left_out import LeftOut

NORMALIZED = "box or keypoints from 0 to 1, not in pixels"
_CORNERS = "bbox that looks like x1, y1, x2, y2, not x, y, width, height"
# Share of the annotations that has to look so before all of a file is called so.
SEVERE_SHARES = {NORMALIZED: 0.9, _CORNERS: 0.05}

# How far a box may reach out of its image, relative to the image.
MARGIN = 0.05


@dataclass
class DataFaults:
    """What is wrong with a file.

    Attributes:
        severe: with these nothing useful can be learned.
        others: what is odd, and does no harm to the rest.
    """

    severe: LeftOut = field(default_factory=LeftOut)
    others: LeftOut = field(default_factory=LeftOut)

    def lines(self) -> list[str]:
        """One line for each kind of fault, with its count and three examples."""
        return [*self.severe.lines(), *self.others.lines()]

    def refuse(self, path: object) -> None:
        """
        Raises:
            InputError: if a fault is severe.
        """
        if self.severe.total:
            raise InputError(
                f"{path} cannot be learned from: {self.severe}. Put the file right; `hfpose "
                "check-data` draws what a network would see. If the file is right as it is, say so with "
                "--allow-faults."
            )


def find_faults(coco: CocoFile) -> DataFaults:
    """Look for duplicate ids, missing names, skeletons and visibilities out of range, normalized coordinates, corners
    instead of sizes, and keypoints that lie outside of image or box. What `read_coco` leaves out is not looked at
    again.
    """
    faults = DataFaults()
    _find_duplicates(coco, faults.others)
    for category in coco.categories:
        if not isinstance(category.get("name"), str) or not category["name"].strip():
            faults.others.add("category without a name", f"category {category.get('id')}")
        if not _has_sound_skeleton(category):
            faults.others.add(
                "skeleton that is not of pairs from 1 to the number of keypoints, so it is not drawn",
                f"category {category.get('id')}",
            )
    sizes = {image.id: image.size for image in coco.images}
    annotated = list(_with_boxes(coco))
    found: dict[str, list[str]] = {}
    for annotation in coco.annotations:
        values = finite_numbers(annotation.get("keypoints")) or []
        if set(values[2::3]) - {0, 1, 2}:
            faults.others.add("visibility that is not 0, 1 or 2", annotation_name(annotation))
    for annotation, box in annotated:
        for reason in _odd_looks(box, _labeled(annotation), sizes[annotation["image_id"]]):
            found.setdefault(reason, []).append(annotation_name(annotation))
    if not all((box[2:] > box[:2]).all() for _, box in annotated):
        found.pop(_CORNERS, None)  # not each of them can be corners
    for reason, names in found.items():
        is_severe = len(names) >= SEVERE_SHARES.get(reason, np.inf) * len(annotated)
        for name in names:
            (faults.severe if is_severe else faults.others).add(reason, name)
    return faults


def _has_sound_skeleton(category: Mapping[str, Any]) -> bool:
    links, names = category.get("skeleton"), category.get("keypoints")
    if not links or not names:
        return True
    pairs = [finite_numbers(link, 2) for link in links] if isinstance(links, list) else [None]
    return all(pair is not None and min(pair) >= 1 and max(pair) <= len(names) for pair in pairs)


def _odd_looks(box: np.ndarray, points: np.ndarray, size: tuple[int, int] | None) -> Iterator[str]:
    """What is odd about an annotation with labeled keypoints `points` in an image of that size."""
    if is_normalized(box, points):
        yield NORMALIZED
        return
    if size is not None and _is_corners(box, size):
        yield _CORNERS
    if size is not None and ((points < 0) | (points > size)).any():
        yield "labeled keypoint outside of its image"
    if ((points < box[:2]) | (points > box[:2] + box[2:])).any(1).sum() > len(points) / 2:
        yield "instance of which most labeled keypoints lie outside of its box"
    if (points == 0).all(1).any():
        yield "keypoint at 0, 0 that is called labeled"


def is_normalized(box: np.ndarray, points: np.ndarray) -> bool:
    """Whether a box (4,) or labeled keypoints (n, 2) look like shares of the image."""
    return bool(box.max() <= 1 or (len(points) > 1 and 0 < points.max() <= 1))


def _find_duplicates(coco: CocoFile, faults: LeftOut) -> None:
    for kind, entries in (("annotation", coco.annotations), ("category", coco.categories)):
        seen: set[str] = set()
        for entry in entries:
            own = str(entry.get("id"))
            if own in seen:
                faults.add(
                    f"{kind} with the id of another one", annotation_name(entry) if kind == "annotation" else own
                )
            seen.add(own)


def _with_boxes(coco: CocoFile) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    for annotation in coco.annotations:
        box = finite_numbers(annotation.get("bbox"), 4)
        if box is not None and min(box[2:]) > 0:
            yield annotation, np.array(box)


def _labeled(annotation: Mapping[str, Any]) -> np.ndarray:
    """Labeled keypoints (n, 2) of an annotation."""
    values = finite_numbers(annotation.get("keypoints")) or []
    rows = np.array(values if len(values) % 3 == 0 else []).reshape(-1, 3)
    return rows[rows[:, 2] > 0, :2]


def _is_corners(box: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether x, y, width, height reach out of the image, and would not as corners."""
    whole = np.array(size)
    return bool((box[:2] + box[2:] > whole * (1 + MARGIN)).any() and (box[2:] <= whole).all())
