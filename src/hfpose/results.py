"""What a pipeline returns for one image or frame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, overload

import numpy as np

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema, load_schema

# Keys of one instance, as in `predictions`, and the array over all of them.
_INSTANCE_KEYS = {
    "keypoints": "keypoints", "keypoint_scores": "keypoint_scores", "keypoints_visible": "keypoints_visible",
    "bbox": "boxes", "bbox_score": "box_scores", "track_id": "track_ids", "keypoints_2d": "keypoints_2d",
    "interpolated": "interpolated", "hand_type": "hand_types", "rel_root_depth": "root_depths",
}  # fmt: skip
# Fields with one row for each of the N instances.
_PER_INSTANCE = (*_INSTANCE_KEYS.values(), "features")
JSON_VERSION = 1
"""Version of the keys of `PoseOutput.to_dict`; it grows when one of them changes its meaning."""
_AXES = {
    "image": "x right, y down",
    "world": "x left, y toward the camera, z up",
    "camera": "x right, y down, z away from the camera",
    "mmpose": "x left, y away from the camera, z up (mirrored)",
}
_ABOUT_THE_INPUT = ("source", "frame_index", "timestamp", "image_size", "error")


class PoseInstance(Mapping[str, Any]):
    """One instance (person, hand, face, animal) of a result.

    Its entries are those of `PoseOutput.predictions` as arrays and numbers: `keypoints` (K, 2) or (K, 3),
    `keypoint_scores` (K,), and where known `bbox` (4,), `bbox_score`, `track_id`, ...; by the name of a keypoint, such
    as `instance["nose"]`, its coordinates (2,) or (3,). Entries are attributes too.

    Args:
        entries: see above.
        names: of the K keypoints, where known.
    """

    def __init__(self, entries: Mapping[str, Any], names: Sequence[str] = ()) -> None:
        self._entries = dict(entries)
        self._places = {name: index for index, name in enumerate(names)}

    def __getitem__(self, key: str) -> Any:
        if key in self._entries:
            return self._entries[key]
        if key in self._places:
            return self._entries["keypoints"][self._places[key]]
        known = ", ".join([*self._entries, *list(self._places)[:5]])
        raise KeyError(f"An instance of this result has no {key!r}; it has {known}{', ...' if self._places else ''}")

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._entries:
            return self._entries[name]
        hint = f" Write person[{name!r}]." if name in vars(self).get("_places", ()) else ""
        raise AttributeError(f"A PoseInstance has no attribute {name!r}.{hint}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries or key in self._places

    def __eq__(self, other: object) -> bool:
        """Whether all entries are equal, by which `person in people` and `people.index(person)` look."""
        if not isinstance(other, PoseInstance):
            return NotImplemented
        mine, others = self._entries, other._entries
        return mine.keys() == others.keys() and all(
            np.array_equal(mine[name], others[name], equal_nan=True) for name in mine
        )

    def __repr__(self) -> str:
        about = {name: self._entries[name] for name in ("track_id", "bbox", "bbox_score") if name in self._entries}
        shown = "".join(f", {name}={np.round(value, 3).tolist()}" for name, value in about.items())
        return f"PoseInstance(num_keypoints={len(self.keypoints)}{shown})"


@dataclass(repr=False, eq=False)
class PoseOutput(Sequence[PoseInstance]):
    """The N instances (people, hands, faces, animals) of one image, each with K keypoints.

    It is a sequence of them: `len(output)`, `for person in output`, `output[0]` (a `PoseInstance`), and slices,
    indices or boolean masks for some of them (a `PoseOutput`). Arrays over all are attributes (`output.keypoints`)
    and, where they are not None, string keys (`output["keypoints"]`). N may be 0.

    Coordinates are pixels of the image as shown (EXIF rotation applied), x right, y down, pixel centers at integers.

    Args:
        keypoints: (N, K, 2) float32 pixels, or for 3D pipelines (N, K, 3) in meters, x left, y toward the camera, z up
            unless other `axes` were asked for.
        keypoint_scores: (N, K) float32.
        keypoints_visible: (N, K) float32 from 0 to 1, how likely each keypoint is to be visible, or None.
        boxes: (N, 4) float32 `x1, y1, x2, y2`, or None.
        box_scores: (N,) float32, or None.
        track_ids: (N,) int64, or None.
        keypoints_2d: (N, K, 2) float32 pixels that 3D keypoints were lifted from, or None.
        interpolated: (N,) bool, whether a person was not seen in this frame but in frames around it, or None.
        hand_types: (N, 2) bool, whether there is a right and a left hand, or None.
        root_depths: (N,) float32 millimeters from the right wrist to the left one along depth, or None.
        features: (N, C) float32, what the pose network's last feature map says of each instance, for trackers; or
            None. It is not written to files.
        heatmaps: (N, K, h, w) float32, each over the region of the image in `heatmap_boxes`; or (K, H, W) over
            the whole image; or None.
        heatmap_boxes: (N, 4) float32 `x1, y1, x2, y2`, or None.
        visualization: RGB uint8 image with the results drawn, or None.
        image: RGB uint8 image that the result is of, where it is kept, or None.
        schema: What the K keypoints mean, or None.
        image_size: `(width, height)` in pixels, or None.
        source: Path or URL that the image came from, or None.
        frame_index: Number of the frame in a video, from 0, or None.
        timestamp: Seconds from the beginning of the video to the frame, as its container says, or None.
        error: Why there is no result for this input, or None.
        axes: Of 3D keypoints: "world", "camera" or "mmpose" (`hfpose.ops.axes.Axes`), or None where not known.
        units: Of 3D keypoints, such as "meters", or None where not known.
        keypoint_threshold: Minimum score of a keypoint that `draw` draws where it is not told; None for its default.
            It is not written to files.

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
    features: np.ndarray | None = None
    heatmaps: np.ndarray | None = None
    heatmap_boxes: np.ndarray | None = None
    visualization: np.ndarray | None = None
    image: np.ndarray | None = None
    schema: KeypointSchema | None = None
    image_size: tuple[int, int] | None = None
    source: str | None = None
    frame_index: int | None = None
    timestamp: float | None = None
    error: str | None = None
    axes: str | None = None
    units: str | None = None
    keypoint_threshold: float | None = None

    # Arrays cannot be compared in one truth value.
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
        optional: dict[str, tuple[tuple[int, ...], type]] = {
            "keypoints_visible": ((people, count), np.float32),
            "boxes": ((people, 4), np.float32),
            "box_scores": ((people,), np.float32),
            "keypoints_2d": ((people, count, 2), np.float32),
            "root_depths": ((people,), np.float32),
            "heatmap_boxes": ((people, 4), np.float32),
            "track_ids": ((people,), np.int64),
            "interpolated": ((people,), np.bool_),
            "hand_types": ((people, 2), np.bool_),
        }
        for name, (shape, dtype) in optional.items():
            if getattr(self, name) is not None:
                setattr(self, name, _as_array(name, getattr(self, name), shape, dtype))
        if self.features is not None:
            features = np.asarray(self.features, dtype=np.float32)
            self.features = features.reshape(people, math.prod(features.shape[1:]))
        if self.heatmaps is not None:
            self.heatmaps = np.asarray(self.heatmaps, dtype=np.float32)
        if self.schema is not None and self.schema.num_keypoints != count:
            raise InputError(
                f"keypoints has {count} points for each person, but schema {self.schema.name!r} has "
                f"{self.schema.num_keypoints}."
            )

    @classmethod
    def failed(cls, message: str, *, schema: KeypointSchema | None = None, **about: Any) -> PoseOutput:
        """The result of an input that could not be used: no instances, and `error` says why; `about` are fields of the
        input, such as `source` and `frame_index`.
        """
        count = schema.num_keypoints if schema else 0
        return cls(np.zeros((0, count, 2)), np.zeros((0, count)), schema=schema, error=message, **about)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PoseOutput:
        """The result that `to_dict` wrote; of a frame of a video's file `from_dict({**content, **frame})`.

        Raises:
            InputError: if the values are of something else.
        """
        try:
            names, rows = tuple(values.get("keypoint_names", ())), list(values["predictions"])
            axes = {text: name for name, text in _AXES.items() if name != "image"}.get(values.get("axes", ""))
            empty = {"keypoints": np.zeros((0, len(names), 2 if axes is None else 3)), "keypoint_scores": []}
            found = {
                name: [row[key] for row in rows] for key, name in _INSTANCE_KEYS.items() if rows and key in rows[0]
            }
            about = {name: values[name] for name in _ABOUT_THE_INPUT if values.get(name) is not None}
            if "image_size" in about:
                about["image_size"] = tuple(about["image_size"])
            schema = _schema_of(values.get("schema"), names) if names else None
            units = None if axes is None else values.get("units")
            return cls(**(found or empty), **about, axes=axes, units=units, schema=schema)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"These are not the values of a result: {type(error).__name__} {error}. Expected what "
                "PoseOutput.to_dict gives, or `hfpose predict --format json` writes for an image."
            ) from error

    @classmethod
    def from_json(cls, text: str) -> PoseOutput:
        """The result that `to_json` wrote; of a file that was saved `from_json(Path("people.json").read_text())`.

        Raises:
            InputError: if the text is of something else.
        """
        try:
            return cls.from_dict(json.loads(text))
        except (json.JSONDecodeError, TypeError) as error:
            raise InputError(f"The text is no JSON: {error}. For a file, give what is in it.") from error

    @property
    def num_instances(self) -> int:
        """Number of people, N."""
        return len(self.keypoints)

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """N plain dicts of Python numbers, ready for JSON (a number that is not finite is None there).

        Keys: `keypoints` (K lists of 2 or 3), `keypoint_scores`, and where known `keypoints_visible`, `bbox`
        (`[x1, y1, x2, y2]`), `bbox_score`, `track_id`, `keypoints_2d`, `interpolated`, `hand_type`, `rel_root_depth`.
        """
        columns = {key: getattr(self, name) for key, name in _INSTANCE_KEYS.items()}
        lists = {name: to_plain(array) for name, array in columns.items() if array is not None}
        return [{name: rows[i] for name, rows in lists.items()} for i in range(self.num_instances)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which say what they are; docs/formats.md has every key.

        Keys: `schema_version`, what is known of the input (`source`, `frame_index`, `image_size`, `error`), `schema`
        and `keypoint_names`, `units` and `axes` of the keypoints, and `predictions`.
        """
        about: dict[str, Any] = {"schema_version": JSON_VERSION}
        about |= {name: getattr(self, name) for name in _ABOUT_THE_INPUT if getattr(self, name) is not None}
        if self.image_size is not None:
            about["image_size"] = [int(size) for size in self.image_size]
        if self.schema is not None:
            about["schema"] = self.schema.name
            about["keypoint_names"] = list(self.schema.keypoint_names)
        is_3d = self.keypoints.shape[2] == 3
        units, axes = (self.units, self.axes) if is_3d else ("pixels", "image")
        about |= {"units": units, "axes": None if axes is None else _AXES[axes]}
        return {**about, "predictions": self.predictions}

    def select(self, index: Any) -> PoseOutput:
        """The same image with some of its people: `index` is a slice, indices or a mask of N booleans."""
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.size else index.astype(np.int64)  # numpy takes an empty list for floats
        return replace(self, **{name: getattr(self, name)[index] for name in self.instance_fields})

    def extend(self, others: Sequence[PoseOutput]) -> PoseOutput:
        """The same image with more people; fields that these do not have are left out."""
        names = self.instance_fields
        rows: dict[str, Any] = {name: np.concatenate([each[name] for each in (self, *others)]) for name in names}
        return replace(self, **rows)

    @property
    def instance_fields(self) -> list[str]:
        """Names of the arrays with one row for each person, of those that this result has."""
        maps = ["heatmaps"] if self.heatmaps is not None and self.heatmaps.ndim == 4 else []
        names = (*_PER_INSTANCE, "heatmap_boxes", *maps)
        return [name for name in names if getattr(self, name) is not None]

    @overload
    def __getitem__(self, key: int) -> PoseInstance: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | Sequence[bool] | np.ndarray) -> PoseOutput: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            value = getattr(self, key) if key in _FIELDS else None
            if value is None:
                raise KeyError(f"{key!r} is not among the entries {self.keys()} of this PoseOutput.")
            return value
        if not isinstance(key, (int, np.integer)):
            return self.select(key)
        if not -len(self) <= key < len(self):
            raise IndexError(f"Instance {key} was asked for, but this result has {len(self)}.")
        arrays = {name: getattr(self, field) for name, field in _INSTANCE_KEYS.items()}
        entries = {name: array[key] for name, array in arrays.items() if array is not None}
        return PoseInstance(entries, () if self.schema is None else self.schema.keypoint_names)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __iter__(self) -> Iterator[PoseInstance]:
        return (self[index] for index in range(len(self)))

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return key in self.keys()
        return isinstance(key, PoseInstance) and any(key == instance for instance in self)

    def keys(self) -> list[str]:
        """Names of the arrays and other fields that this result has."""
        return [name for name in _FIELDS if getattr(self, name) is not None]

    def get(self, key: str, default: Any = None) -> Any:
        """The field of that name, or `default` where it is None."""
        return self[key] if key in self.keys() else default

    def to_json(self, indent: int | None = None) -> str:
        """`to_dict` as JSON text.

        Raises:
            InputError: for an indent that is no number, such as a path.
        """
        if not isinstance(indent, int | None):
            raise InputError(
                f"to_json gives text, and indent is {indent!r}; to write a file: people.save('NAME.json')."
            )
        text = json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace").decode()  # half characters of file names that are no UTF-8

    def to_dataframe(self) -> Any:
        """A pandas `DataFrame` with a row for each keypoint of each instance.

        Columns: `instance`, `keypoint`, `x`, `y` (and `z`), `score`, and where known `track_id`, `interpolated`,
        `box_score`, `x1` to `y2`, `frame_index`, `timestamp`, `source`.

        Raises:
            ConfigError: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigError("to_dataframe needs pandas: `pip install pandas`.") from error
        count, size = self.keypoint_scores.shape
        names = [str(index) for index in range(size)] if self.schema is None else self.schema.keypoint_names
        columns: dict[str, Any] = {"instance": np.repeat(np.arange(count), size), "keypoint": [*names] * count}
        columns |= {
            axis: self.keypoints[..., place].ravel() for place, axis in enumerate("xyz"[: self.keypoints.shape[2]])
        }
        columns["score"] = self.keypoint_scores.ravel()
        per_instance = {"track_id": self.track_ids, "interpolated": self.interpolated, "box_score": self.box_scores}
        if self.boxes is not None:
            per_instance |= dict(zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True))
        columns |= {name: np.repeat(array, size) for name, array in per_instance.items() if array is not None}
        columns |= {name: self[name] for name in ("frame_index", "timestamp", "source") if name in self}
        return pandas.DataFrame(columns)

    def to_supervision(self) -> Any:
        """A `supervision.KeyPoints` with the 2D keypoints, their scores and those of the boxes, and in its `data` the
        `tracker_id` where people are tracked.

        Raises:
            ConfigError: if supervision is not installed.
            InputError: if the result has no 2D keypoints.
        """
        supervision = _supervision("to_supervision")
        keypoints = self.keypoints if self.keypoints.shape[2] == 2 else self.keypoints_2d
        if keypoints is None:
            raise InputError("supervision draws 2D keypoints, but this result has 3D ones and no keypoints_2d.")
        known = signature(supervision.KeyPoints).parameters
        name = "keypoint_confidence" if "keypoint_confidence" in known else "confidence"  # before 0.29
        fields: dict[str, Any] = {name: self.keypoint_scores, "class_id": np.zeros(len(self), int)}
        if "detection_confidence" in known:
            fields["detection_confidence"] = self.box_scores
        if self.track_ids is not None:
            fields["data"] = {"tracker_id": self.track_ids}
        return supervision.KeyPoints(xy=keypoints, **fields)

    def to_detections(self) -> Any:
        """A `supervision.Detections` with the boxes, their scores and identities, for its zones, trackers and
        annotators.

        Raises:
            ConfigError: if supervision is not installed.
            InputError: if the result has no boxes.
        """
        supervision = _supervision("to_detections")
        if self.boxes is None:
            raise InputError("This result has no boxes.")
        class_ids = np.zeros(len(self), int)
        return supervision.Detections(self.boxes, None, self.box_scores, class_ids, self.track_ids)

    def draw(self, image: Any = None, **options: Any) -> np.ndarray:
        """The result drawn on its image: (H, W, 3), uint8, RGB; see
        `hfpose.visualization.drawn_results.draw_result`."""
        from hfpose.visualization.drawn_results import draw_result

        return draw_result(self, image, **options)

    def save(self, path: str | Path, **options: Any) -> None:
        """Write the drawn result as an image (`.jpg`, `.png`, ...), or the result as `.json`; `options` are of
        `draw`."""
        from hfpose.visualization.drawn_results import save_result

        save_result(self, path, **options)

    def show(self, **options: Any) -> None:
        """Show the drawn result, in a notebook or in the system's image viewer; `options` are of `draw`."""
        from hfpose.visualization.drawn_results import show_result

        show_result(self, **options)

    def _repr_png_(self) -> bytes | None:
        """What notebooks show of the result."""
        from hfpose.visualization.drawn_results import result_png

        return result_png(self)

    def __repr__(self) -> str:
        about: dict[str, Any] = {"num_instances": self.num_instances, "num_keypoints": self.keypoints.shape[1]}
        about["schema"] = self.schema.name if self.schema else None
        about.update((name, getattr(self, name)) for name in _ABOUT_THE_INPUT)
        shown = ", ".join(f"{name}={value!r}" for name, value in about.items() if value is not None)
        return f"PoseOutput({shown})"


_FIELDS = tuple(f.name for f in fields(PoseOutput))


def _supervision(method: str) -> Any:
    try:
        import supervision
    except ImportError as error:
        raise ConfigError(f"{method} needs supervision: `pip install supervision`.") from error
    return supervision


def _schema_of(name: Any, keypoint_names: tuple[str, ...]) -> KeypointSchema:
    """The schema of a name, if it has these keypoints, or one that knows no more than their names."""
    with suppress(ConfigError):
        known = load_schema(str(name))
        if known.keypoint_names == keypoint_names:
            return known
    return KeypointSchema(str(name), keypoint_names)


def _as_array(name: str, value: Any, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    array: np.ndarray = np.asarray(value, dtype=dtype)
    if array.size == 0 and 0 in shape:
        return array.reshape(shape)
    if array.shape != shape:
        raise InputError(f"{name} must have shape {shape} to fit keypoints, but {array.shape} was given.")
    return array


def to_plain(array: np.ndarray) -> list[Any]:
    """An array (N, ...) as nested lists of Python numbers, those that are not finite as None."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        plain = array.astype(object)
        plain[~np.isfinite(array)] = None
        return plain.tolist()
    return array.tolist()
