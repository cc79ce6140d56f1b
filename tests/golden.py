"""Outputs of the reference implementations with seeded weights, and our models with the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.custom import family_of_model
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import ModelEntry, Task, find_entry, get_entry
from hfpose.keypoints import list_schemas, load_schema
from hfpose.media.images import load_image
from seedweights import array_for, tensor_for

SHARED = Path(__file__).resolve().parents[2] / "shared"
FOLDERS = (Path(__file__).with_name("goldens"), SHARED / "golden")
TASKS: dict[str, Task | None] = {"pose2d": "pose", "one_stage": "pose", "detect": "detector", "pose3d": None}


@dataclass(frozen=True)
class Golden:
    """One spec of the reference: `kind` is the folder it lies in."""

    kind: str
    name: str

    @cached_property
    def path(self) -> Path:
        """The spec, in the tests or in ../shared, else the test is skipped."""
        for folder in FOLDERS:
            path = folder / self.kind / f"{self.name}.json"
            if path.is_file():
                return path
        pytest.skip(f"needs the golden {self.kind}/{self.name} in ../shared, which is not beside this checkout")

    @cached_property
    def spec(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.path.with_suffix(".npz")) as file:
            return dict(file)

    @property
    def entry(self) -> ModelEntry:
        return get_entry(self.name, TASKS[self.kind])

    @property
    def source(self) -> ModelSource:
        entry = find_entry(self.name, TASKS[self.kind])
        return source_from_facts(self.name) if entry is None else ModelSource.from_entry(entry)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The reference's tensors, each a function of its name and shape."""
        return {
            name: torch.tensor(_small_tensor(name, tuple(shape)))
            if np.prod(shape) < 3e6
            else torch.from_numpy(tensor_for(name, shape))
            for name, shape in self.spec["state_dict"].items()
        }

    def model(self) -> PreTrainedModel:
        """Our model with the reference's tensors."""
        return build_model(self.source, self.state_dict(), self.name)

    def check_places(self) -> None:
        """Every tensor of the reference becomes one of our model's, of its shape, and none of these is missing."""
        source = self.source
        config = source.conversion.config_from_reference(source.reference, source.schema)
        with torch.device("meta"):
            expected = source.conversion.MODEL_CLASS(config).state_dict()
            tensors = {name: torch.empty(shape) for name, shape in self.spec["state_dict"].items()}
        converted = source.conversion.convert_state_dict(tensors, config)
        assert {name: tensor.shape for name, tensor in converted.items()} == {
            name: tensor.shape for name, tensor in expected.items()
        }

    def image_processor(self) -> Any:
        return self.source.conversion.image_processor_from_reference(self.source.reference)

    def write_checkpoint(self, path: Path, legacy: bool = False) -> Path:
        """A checkpoint as the reference publishes it, with numpy values in its metadata."""
        meta = {"epoch": 420, "dataset_meta": {"sigmas": np.ones(3, np.float32)}}
        content = {"meta": meta, "state_dict": self.state_dict()}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        return path

    def raw_error(self, given: torch.Tensor, kind: str = "out") -> float:
        """Relative error of an output (B, ...) for the first B of the inputs."""
        expected = self.arrays.get(f"raw/{kind}")
        if expected is None:  # kept at every fourth row and column, for its size
            given, expected = given[..., ::4, ::4], self.arrays[f"raw_stride4/{kind}"]
        return relative_error(given, expected[: len(given)])

    def level_error(self, kind: str, levels: Sequence[torch.Tensor]) -> float:
        """Greatest relative error of the outputs `kind` ("out.0", ...) of a detector's levels (B, C, h, w)."""
        errors = []
        for index, given in enumerate(levels):
            expected = self.arrays.get(f"raw/{kind}.{index}")
            if expected is None:  # kept at every fourth row and column, for its size
                given, expected = given[..., ::4, ::4], self.arrays[f"raw_stride4/{kind}.{index}"]
            errors.append(relative_error(given, expected))
        return max(errors)

    def head_error(self) -> float:
        """Greatest relative error of what the head of a detector gives, of any level."""
        model: Any = self.model()
        width, height = self.spec["resize_wh"]
        with torch.inference_mode():
            features = model.neck(model.backbone(self.network_input(1, 3, height, width)).feature_maps)
            outputs = model.head(features)
        return max(self.level_error(f"out.{index}", levels) for index, levels in enumerate(outputs))

    def found_boxes(self, shared: Path) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """What a detector finds in the spec's image, and height and width of this."""
        model, processor = self.model(), self.image_processor()
        image = load_image(shared / "images" / self.spec["image"])
        with torch.inference_mode():
            outputs = model(**processor(image, return_tensors="pt"))
        return processor.post_process_object_detection(outputs, target_sizes=[image.shape[:2]])[0], image.shape[:2]

    @staticmethod
    def network_input(*shape: int) -> torch.Tensor:
        return torch.from_numpy(array_for("x", shape))


def all_goldens() -> list[Golden]:
    """Every spec in the tests and in ../shared."""
    paths = {(kind, path.stem) for kind in TASKS for folder in FOLDERS for path in folder.glob(f"{kind}/*.json")}
    return [Golden(*each) for each in sorted(paths)]


_small_tensor = lru_cache(maxsize=2000)(tensor_for)
"""Networks with the same backbone follow each other in the tests, and making its tensors takes as long as using
them."""


@cache
def facts() -> dict[str, dict[str, Any]]:
    """The reference's description of each pose model that it published, by name, else the test is skipped."""
    path = SHARED / "facts" / "pose_zoo.json"
    if not path.is_file():
        pytest.skip("needs the facts of the reference's models in ../shared, which is not beside this checkout")
    return {row["name"]: row for row in json.loads(path.read_text())}


def source_from_facts(name: str) -> ModelSource:
    """What to convert into, for a model that the zoo does not list."""
    row = facts()[name]
    schema = load_schema(row["schema"]) if row["schema"] in list_schemas() else None
    return ModelSource(name, family_of_model(row, Path(name)), row, schema)


def relative_error(given: torch.Tensor, expected: np.ndarray) -> float:
    """Greatest difference in units of the expected values' standard deviation."""
    return float(np.abs(given.numpy() - expected).max() / expected.std())


def share_within(given: np.ndarray, expected: np.ndarray, pixels: float = 0.05) -> float:
    """Share of keypoints (N, K, 2) that lie within a distance of the expected ones."""
    return float((np.linalg.norm(given - expected, axis=-1) <= pixels).mean())


def unmatched_boxes(given: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> int:
    """Boxes of the reference without a counterpart: 0.05 px, 1e-3 in score, same label, same rank but for ties."""
    boxes, scores, labels = (given[key].numpy() for key in ("boxes", "scores", "labels"))
    missing = 0
    for rank, (box, score, label) in enumerate(
        zip(expected["e2e/boxes"], expected["e2e/scores"], expected["e2e/labels"], strict=True)
    ):
        same = (np.abs(boxes - box).max(1) < 0.05) & (np.abs(scores - score) < 1e-3) & (labels == label)
        tied = np.abs(expected["e2e/scores"] - score) < 1e-5
        allowed = np.flatnonzero(tied) if tied.sum() > 1 else [rank]
        missing += not same[allowed].any()
    return missing


def allowed_errors(golden: Golden) -> np.ndarray:
    """Limits (2, N, K) of the distances that `pose_errors` gives: 0.05 px, and a part of how far out a keypoint
    lies."""
    expected = [golden.arrays[f"e2e/flip_{flip}/keypoints"] for flip in ("false", "true")]
    return 0.05 + 1e-4 * np.linalg.norm(np.stack(expected), axis=-1)


def pose_errors(golden: Golden, model: Callable[..., Any], processor: Any, shared: Path) -> tuple[np.ndarray, float]:
    """How far a top-down model's keypoints in the spec's image are from the reference's.

    Returns:
        Distances in pixels (2, N, K), without and with flip test, and the greatest error of a score in units of the
        scores' standard deviation.
    """
    flip_indices = load_schema(golden.spec["dataset"]).flip_indices
    image, boxes = load_image(shared / "images" / golden.spec["image"]), golden.arrays["e2e/boxes"]
    with torch.inference_mode():
        pixel_values = processor(image, boxes=[boxes], return_tensors="pt")["pixel_values"]
        plain, flipped = model(pixel_values), model(pixel_values.flip(-1))
    distances, score_errors = [], []
    for key, outputs in (
        ("e2e/flip_false", plain),
        ("e2e/flip_true", processor.merge_flipped(plain, flipped, flip_indices)),
    ):
        keypoints, scores = processor.decode(outputs, boxes)
        distances.append(np.linalg.norm(keypoints - golden.arrays[f"{key}/keypoints"], axis=-1))
        score_errors.append(relative_error(torch.from_numpy(scores), golden.arrays[f"{key}/scores"]))
    return np.stack(distances), max(score_errors)
