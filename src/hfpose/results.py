"""What a pipeline returns for one image or frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema

# Fields with one row for each of the N people.
_PER_INSTANCE = (
    "keypoints",
    "keypoint_scores",
    "keypoints_visible",
    "boxes",
    "box_scores",
    "track_ids",
    "keypoints_2d",
    "interpolated",
    "hand_types",
    "root_depths",
)
_ABOUT_THE_INPUT = ("source", "frame_index", "image_size", "error")


@dataclass(repr=False, eq=False)
class PoseOutput(Mapping[str, Any]):
    """The N people (hands, faces, animals) of one image, each with K keypoints.

    Its fields are attributes (`output.keypoints`) and, where they are not None, dict entries (`output["keypoints"]`).
    As with any dict `len(output)` counts entries; the people are counted by `output.num_instances`. N may be 0.

    Coordinates are pixels of the image as shown (EXIF rotation applied), x right, y down, pixel centers at integers.

    Args:
        keypoints: (N, K, 2) float32 pixels, or for 3D pipelines (N, K, 3) in meters.
        keypoint_scores: (N, K) float32.
        keypoints_visible: (N, K) float32 from 0 to 1, how likely each keypoint is to be visible, or None.
        boxes: (N, 4) float32 `x1, y1, x2, y2`, or None.
        box_scores: (N,) float32, or None.
        track_ids: (N,) int64, or None.
        keypoints_2d: (N, K, 2) float32 pixels that 3D keypoints were lifted from, or None.
        interpolated: (N,) bool, whether a person was not seen in this frame but in frames around it, or None.
        hand_types: (N, 2) bool, whether there is a right and a left hand, or None.
        root_depths: (N,) float32 millimeters from the right wrist to the left one along depth, or None.
        is_mirrored: whether people in 3D are mirror images of those in the image, as the reference's lifters make them,
            since their depth grows away from the camera; None where that is not known.
        heatmaps: (N, K, h, w) float32, each over the region of the image in `heatmap_boxes`; or (K, H, W) over
            the whole image; or None.
        heatmap_boxes: (N, 4) float32 `x1, y1, x2, y2`, or None.
        visualization: RGB uint8 image with the results drawn, or None.
        schema: What the K keypoints mean, or None.
        image_size: `(width, height)` in pixels, or None.
        source: Path or URL that the image came from, or None.
        frame_index: Number of the frame in a video, from 0, or None.
        error: Why there is no result for this input, or None.

    Raises:
        InputError: If shapes do not fit each other.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    boxes: np.ndarray | None = None
    box_scores: np.ndarray | None = None
    track_ids: np.ndarray | None = None
    keypoints_visible: np.ndarray | None = None
    keypoints_2d: np.ndarray | None = None
    interpolated: np.ndarray | None = None
    hand_types: np.ndarray | None = None
    root_depths: np.ndarray | None = None
    is_mirrored: bool | None = None
    heatmaps: np.ndarray | None = None
    heatmap_boxes: np.ndarray | None = None
    visualization: np.ndarray | None = None
    schema: KeypointSchema | None = None
    image_size: tuple[int, int] | None = None
    source: str | None = None
    frame_index: int | None = None
    error: str | None = None

    # Mapping compares contents, which arrays cannot do in one truth value.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        keypoints = np.asarray(self.keypoints, dtype=np.float32)
        if keypoints.size == 0 and keypoints.ndim != 3:
            keypoints = keypoints.reshape(0, self.schema.num_keypoints if self.schema else 0, 2)
        if keypoints.ndim != 3 or keypoints.shape[2] not in (2, 3):
            raise InputError(f"keypoints must have shape (N, K, 2) or (N, K, 3), but {keypoints.shape} was given.")
        self.keypoints = keypoints
        people, count, _ = keypoints.shape
        self.keypoint_scores = _as_array("keypoint_scores", self.keypoint_scores, (people, count))
        optional: dict[str, tuple[int, ...]] = {
            "keypoints_visible": (people, count),
            "boxes": (people, 4),
            "box_scores": (people,),
            "keypoints_2d": (people, count, 2),
            "root_depths": (people,),
            "heatmap_boxes": (people, 4),
        }
        for name, shape in optional.items():
            if getattr(self, name) is not None:
                setattr(self, name, _as_array(name, getattr(self, name), shape))
        if self.track_ids is not None:
            self.track_ids = _as_array("track_ids", self.track_ids, (people,), np.int64)
        if self.interpolated is not None:
            self.interpolated = _as_array("interpolated", self.interpolated, (people,), np.bool_)
        if self.hand_types is not None:
            self.hand_types = _as_array("hand_types", self.hand_types, (people, 2), np.bool_)
        if self.heatmaps is not None:
            self.heatmaps = np.asarray(self.heatmaps, dtype=np.float32)
        if self.schema is not None and self.schema.num_keypoints != count:
            raise InputError(
                f"keypoints has {count} points for each person, but schema {self.schema.name!r} has "
                f"{self.schema.num_keypoints}."
            )

    @classmethod
    def failed(
        cls,
        message: str,
        *,
        source: str | None = None,
        schema: KeypointSchema | None = None,
        frame_index: int | None = None,
    ) -> PoseOutput:
        """The result of an input that could not be used: no people, and `error` says why."""
        count = schema.num_keypoints if schema else 0
        return cls(
            keypoints=np.zeros((0, count, 2), np.float32),
            keypoint_scores=np.zeros((0, count), np.float32),
            schema=schema,
            source=source,
            frame_index=frame_index,
            error=message,
        )

    @property
    def num_instances(self) -> int:
        """Number of people, N."""
        return len(self.keypoints)

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """N plain dicts of Python numbers, ready for JSON (a number that is not finite is None there).

        Keys: `keypoints` (K lists of 2 or 3), `keypoint_scores`, and where known `keypoints_visible`, `bbox` (`[x1, y1, x2, y2]`),
        `bbox_score`, `track_id`, `keypoints_2d`, `interpolated`, `hand_type`, `rel_root_depth`.
        """
        columns = {
            "keypoints": self.keypoints,
            "keypoint_scores": self.keypoint_scores,
            "keypoints_visible": self.keypoints_visible,
            "bbox": self.boxes,
            "bbox_score": self.box_scores,
            "track_id": self.track_ids,
            "keypoints_2d": self.keypoints_2d,
            "interpolated": self.interpolated,
            "hand_type": self.hand_types,
            "rel_root_depth": self.root_depths,
        }
        lists = {name: _to_plain(array) for name, array in columns.items() if array is not None}
        return [{name: rows[i] for name, rows in lists.items()} for i in range(self.num_instances)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: where the image came from, its size, the schema's name and `predictions`."""
        about = {name: getattr(self, name) for name in _ABOUT_THE_INPUT if getattr(self, name) is not None}
        if self.image_size is not None:
            about["image_size"] = [int(size) for size in self.image_size]
        if self.schema is not None:
            about["schema"] = self.schema.name
        return {**about, "predictions": self.predictions}

    def select(self, index: Any) -> PoseOutput:
        """The same image with some of its people: `index` is a slice, indices or a mask of N booleans."""
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.size else index.astype(np.int64)  # numpy takes an empty list for floats
        rows = [*_PER_INSTANCE, "heatmap_boxes"]
        if self.heatmaps is not None and self.heatmaps.ndim == 4:
            rows.append("heatmaps")
        return replace(self, **{name: getattr(self, name)[index] for name in rows if getattr(self, name) is not None})

    def __getitem__(self, key: str) -> Any:
        value = getattr(self, key) if key in _FIELDS else None
        if value is None:
            raise KeyError(f"{key!r} is not among the entries {list(self)} of this PoseOutput.")
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in _FIELDS if getattr(self, name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        about: dict[str, Any] = {"num_instances": self.num_instances, "num_keypoints": self.keypoints.shape[1]}
        about["schema"] = self.schema.name if self.schema else None
        about.update((name, getattr(self, name)) for name in _ABOUT_THE_INPUT)
        shown = ", ".join(f"{name}={value!r}" for name, value in about.items() if value is not None)
        return f"PoseOutput({shown})"


_FIELDS = tuple(f.name for f in fields(PoseOutput))


def _as_array(name: str, value: Any, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    array: np.ndarray = np.asarray(value, dtype=dtype)
    if array.size == 0 and 0 in shape:
        return array.reshape(shape)
    if array.shape != shape:
        raise InputError(f"{name} must have shape {shape} to fit keypoints, but {array.shape} was given.")
    return array


def _to_plain(array: np.ndarray) -> list[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        plain = array.astype(object)
        plain[~np.isfinite(array)] = None
        return plain.tolist()
    return array.tolist()
