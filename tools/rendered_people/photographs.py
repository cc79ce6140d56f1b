"""What a pipeline finds on annotated photographs: `python -m photographs FOLDER`.

The folder has `annotations.json` in COCO's format. Images with `"complete": true` have all people annotated: in them
people are counted that the detector finds, and false boxes. Keypoints are measured in annotated boxes of all images.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import hfpose
from hfpose.ops.boxes import pairwise_iou
from hfpose.pipelines.base_pipeline import PosePipeline

ANNOTATIONS = "annotations.json"

# Pixels of a box's longer side from which on people have to be found; smaller ones may be.
LEAST_SIDE = 96.0
LEAST_IOU = 0.5
# Of the box's longer side: a keypoint nearer than this to the annotated one is right.
LARGEST_ERROR = 0.2


@dataclass(frozen=True)
class Photograph:
    """A photograph with N annotated people.

    Args:
        path: of the image.
        is_complete: whether all people are annotated.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        keypoints: (N, 17, 3) x, y in pixels and COCO's visibility, 0 where a point is not annotated.
    """

    path: Path
    is_complete: bool
    boxes: np.ndarray
    keypoints: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """(N,) longer sides of the boxes."""
        return (self.boxes[:, 2:] - self.boxes[:, :2]).max(1)


@dataclass(frozen=True)
class Figures:
    """People that were to be found and that were, false boxes, complete images; keypoints that are annotated and
    right."""

    people: int
    found: int
    false_boxes: int
    images: int
    keypoints: int
    right: int

    def __str__(self) -> str:
        return (
            f"found {self.found} of {self.people} people over {LEAST_SIDE:g} pixels; {self.false_boxes} false boxes "
            f"in {self.images} images; {self.right} of {self.keypoints} keypoints ({self.right / self.keypoints:.1%}) "
            f"within {LARGEST_ERROR:g} of the box"
        )


def read_photographs(folder: Path) -> list[Photograph]:
    """The annotated photographs of a folder."""
    content = json.loads((folder / ANNOTATIONS).read_text(encoding="utf-8"))
    return [_photograph(folder, image, content["annotations"]) for image in content["images"]]


def _photograph(folder: Path, image: Mapping[str, Any], annotations: list[dict[str, Any]]) -> Photograph:
    people = [annotation for annotation in annotations if annotation["image_id"] == image["id"]]
    boxes = np.array([annotation["bbox"] for annotation in people], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    keypoints = np.array([annotation["keypoints"] for annotation in people], float).reshape(-1, 17, 3)
    return Photograph(folder / image["file_name"], bool(image.get("complete")), boxes, keypoints)


def measure(
    pipe: PosePipeline, photographs: list[Photograph], threshold: float = 0.3, nms_threshold: float = 0.3
) -> Figures:
    """Figures of a pipeline.

    Args:
        pipe: with a detector, and COCO's keypoints.
        photographs: to measure on.
        threshold: least score of a box.
        nms_threshold: IoU from which on the worse of two boxes goes.
    """
    complete = [photograph for photograph in photographs if photograph.is_complete]
    paths = [str(photograph.path) for photograph in complete]
    detected = pipe(paths, box_threshold=threshold, nms_threshold=nms_threshold)
    counts = [
        count_boxes(photograph, output["boxes"], output["box_scores"])
        for photograph, output in zip(complete, detected, strict=True)
    ]
    posed = pipe([str(photograph.path) for photograph in photographs], boxes=[p.boxes for p in photographs])
    keypoints = [count_keypoints(p, output.keypoints) for p, output in zip(photographs, posed, strict=True)]
    people, found, false_boxes = np.sum(counts, axis=0).tolist()
    return Figures(people, found, false_boxes, len(complete), *np.sum(keypoints, axis=0).tolist())


def count_boxes(photograph: Photograph, boxes: np.ndarray, scores: np.ndarray) -> tuple[int, int, int]:
    """People over `LEAST_SIDE`, those of them that are found, and false boxes.

    The best boxes come first, each takes the person that it overlaps most, and no person is taken twice.
    """
    overlaps = pairwise_iou(boxes[np.argsort(-scores)], photograph.boxes)
    is_found = np.zeros(len(photograph.boxes), bool)
    false_boxes = 0
    for row in overlaps:
        free = np.where(is_found, 0.0, row)
        if free.size and free.max() >= LEAST_IOU:
            is_found[free.argmax()] = True
        else:
            false_boxes += 1
    is_large = photograph.sides > LEAST_SIDE
    return int(is_large.sum()), int((is_large & is_found).sum()), false_boxes


def count_keypoints(photograph: Photograph, keypoints: np.ndarray) -> tuple[int, int]:
    """Annotated keypoints, and those of them that `keypoints` (N, 17, 2) has within `LARGEST_ERROR`."""
    annotated = photograph.keypoints[..., 2] > 0
    errors = np.linalg.norm(keypoints - photograph.keypoints[..., :2], axis=-1)
    right = errors <= LARGEST_ERROR * photograph.sides[:, None]
    return int(annotated.sum()), int((annotated & right).sum())


def main(
    folder: Annotated[Path, typer.Argument(help=f"Photographs and {ANNOTATIONS}.")],
    model: Annotated[str, typer.Option(help="The pipeline: a name, a repository or a folder.")] = "demo",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Minimum score of a box.")] = 0.3,
    nms_threshold: Annotated[float, typer.Option(min=0, max=1, help="IoU that two boxes may have.")] = 0.3,
) -> None:
    """Measure a pipeline on annotated photographs."""
    pipe = hfpose.pipeline("pose-estimation", model=model)
    print(measure(pipe, read_photographs(folder), threshold, nms_threshold))


if __name__ == "__main__":
    typer.run(main)
