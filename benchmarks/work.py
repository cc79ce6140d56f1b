"""What the benchmarks run on, as names of files: for processes that must not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BOX_THRESHOLD, NMS_THRESHOLD = 0.3, 0.3


@dataclass(frozen=True)
class Image:
    """An image file with so many people in `people_boxes` (N, 4); `boxes` are the same where no detector finds
    them."""

    path: Path
    people_boxes: list[list[float]]
    boxes: list[list[float]] | None

    @property
    def people(self) -> int:
        return len(self.people_boxes)


@dataclass(frozen=True)
class Workload:
    """Everything that is measured on; what it names lies in a folder, so that several processes can read it.

    Models are calibrated for 8 bits with the images of `calibration`; None: with rendered scenes, as `hfpose export`
    does. `one_stage` are models that need no detector, by name; `rtmlib_files` all models, by stage or name, as ONNX
    files for rtmlib.
    """

    pose_name: str
    pose: Path
    detector: Path | None
    images: tuple[Image, ...]
    clip: Path
    clip_frames: int
    clip_boxes: list[list[float]] | None
    calibration: Path | None = None
    one_stage: Mapping[str, Path] | None = None
    rtmlib_files: Mapping[str, Path] | None = None

    @property
    def where_people_come_from(self) -> str:
        if self.detector is None:
            return "Rendered people in given boxes; there is no detector."
        return "Photographs; RTMDet-nano finds the people."
