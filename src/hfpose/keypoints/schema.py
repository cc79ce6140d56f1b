"""What the keypoints of a model mean: names, skeleton, flip pairs, evaluation constants and drawing colors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from hfpose.errors import ConfigError

Color = tuple[int, int, int]

# What MMPose's `parse_pose_metainfo` paints keypoints and links that name no color of their own.
DEFAULT_KEYPOINT_COLOR: Color = (255, 128, 0)
DEFAULT_SKELETON_COLOR: Color = (96, 96, 255)


@dataclass(frozen=True)
class KeypointSchema:
    """The K keypoints of a model or data set.

    Args:
        name: Name of the schema, for instance `"coco"`.
        keypoint_names: K names, all different.
        skeleton: Links to draw, pairs of keypoint indices.
        flip_indices: For each keypoint the index of its flip partner (its own where it has none). None: unknown, so
            nothing is flipped.
        sigmas: K per-keypoint standard deviations of the object keypoint similarity (OKS), or None if they were never
            published.
        joint_weights: K training weights. Default: all 1.
        keypoint_colors: K colors (red, green, blue), 0 to 255. `(0, 0, 0)` means "do not draw" in OpenPose style.
        skeleton_colors: One color for each link.
        upper_body_ids, lower_body_ids: Indices of the keypoints of either half of the body.
        groups: Names of parts, such as `"left_hand"`, and the indices of their keypoints; empty where none are told.
        stats_info: Statistics that a lifter normalizes with (`bbox_center` and `bbox_scale` for Human3.6M), or None.

    Raises:
        ConfigError: If lengths disagree, an index is out of range or `flip_indices` does not undo itself.
    """

    name: str
    keypoint_names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...] = ()
    flip_indices: tuple[int, ...] | None = None
    sigmas: tuple[float, ...] | None = None
    joint_weights: tuple[float, ...] = ()
    keypoint_colors: tuple[Color, ...] = ()
    skeleton_colors: tuple[Color, ...] = ()
    upper_body_ids: tuple[int, ...] = ()
    lower_body_ids: tuple[int, ...] = ()
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    stats_info: Mapping[str, tuple[float, ...]] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        size = len(self.keypoint_names)
        defaults: dict[str, tuple] = {
            "joint_weights": (1.0,) * size,
            "keypoint_colors": (DEFAULT_KEYPOINT_COLOR,) * size,
            "skeleton_colors": (DEFAULT_SKELETON_COLOR,) * len(self.skeleton),
        }
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        self._validate()

    @property
    def num_keypoints(self) -> int:
        """K, the number of keypoints."""
        return len(self.keypoint_names)

    def required_flip_indices(self) -> tuple[int, ...]:
        """`flip_indices`, for what cannot do without them.

        Raises:
            ConfigError: If they are unknown.
        """
        if self.flip_indices is None:
            raise ConfigError(
                f"The flip pairs of the schema {self.name!r} ({', '.join(self.keypoint_names[:4])}, ...) are unknown, "
                "so there is no flip test. Set `flip_indices` in the model's `keypoint_schema`, or leave flip_test "
                "out."
            )
        return self.flip_indices

    def index(self, keypoint_name: str) -> int:
        """Index of the keypoint called `keypoint_name`.

        Raises:
            ConfigError: If the schema has no such keypoint.
        """
        try:
            return self.keypoint_names.index(keypoint_name)
        except ValueError:
            raise ConfigError(
                f"Keypoint schema {self.name!r} has no keypoint {keypoint_name!r}; it has "
                f"{', '.join(self.keypoint_names)}."
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `KeypointSchema.from_dict` reads them back. Fields that tell nothing are left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _to_json(value) for name, value in values.items() if value not in (None, {})}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KeypointSchema:
        """Builds a schema from `to_dict()`'s values, where everything but `name` and `keypoint_names` may be missing.

        Raises:
            ConfigError: If a field is missing, unknown, of the wrong type, or does not fit the others.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"A keypoint schema is read from a dict, but {type(values).__name__} was given.")
        known = {f.name for f in fields(cls)} | {"num_keypoints"}
        name = values.get("name", "unnamed")
        if unknown := sorted(set(values) - known):
            raise ConfigError(
                f"Keypoint schema {name!r} has unknown fields {unknown}; known ones are {', '.join(sorted(known))}."
            )
        names = values.get("keypoint_names")
        if not isinstance(names, (list, tuple)) or not names:
            raise ConfigError(f"Keypoint schema {name!r} needs 'keypoint_names': a list of at least one name.")
        count = values.get("num_keypoints", len(names))
        if count != len(names):
            raise ConfigError(
                f"Keypoint schema {name!r} says num_keypoints={count!r} but names {len(names)} keypoints."
            )
        try:
            return cls(**_parse_fields(values), name=str(name))
        except ConfigError:
            raise
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ConfigError(f"Keypoint schema {name!r} holds a value of the wrong type: {error}.") from error

    @classmethod
    def from_reference(cls, dataset_info: Mapping[str, Any]) -> KeypointSchema:
        """Builds a schema from MMPose's `dataset_info` (`keypoint_info`, `skeleton_info`, `joint_weights`, `sigmas`).

        The rules are those of `mmpose.datasets.datasets.utils.parse_pose_metainfo`: `swap` names the mirror image,
        `type` is "upper", "lower" or empty, links are pairs of names.

        Raises:
            ConfigError: If `keypoint_info` is missing, or a link or `swap` names a keypoint that does not exist.
        """
        name = str(dataset_info.get("dataset_name", "unnamed"))
        if not dataset_info.get("keypoint_info"):
            raise ConfigError(
                f"dataset_info {name!r} has no 'keypoint_info'; expected a dict of keypoint index to "
                "{'name', 'swap', 'type', 'color'}."
            )
        points = _ordered_entries(dataset_info["keypoint_info"])
        links = _ordered_entries(dataset_info.get("skeleton_info") or {})
        names = [point["name"] for point in points]

        def index(keypoint_name: str, where: str) -> int:
            if keypoint_name not in names:
                raise ConfigError(
                    f"dataset_info {name!r}: {where} names keypoint {keypoint_name!r}, which does not exist."
                )
            return names.index(keypoint_name)

        return cls.from_dict(
            {
                "name": name,
                "keypoint_names": names,
                "flip_indices": [index(p.get("swap") or p["name"], f"swap of {p['name']!r}") for p in points]
                if any("swap" in point for point in points)
                else None,
                "skeleton": [[index(end, "a link of skeleton_info") for end in link["link"]] for link in links],
                "keypoint_colors": [point.get("color", DEFAULT_KEYPOINT_COLOR) for point in points],
                "skeleton_colors": [link.get("color", DEFAULT_SKELETON_COLOR) for link in links],
                "upper_body_ids": [i for i, point in enumerate(points) if point.get("type") == "upper"],
                "lower_body_ids": [i for i, point in enumerate(points) if point.get("type") == "lower"],
                "joint_weights": dataset_info.get("joint_weights"),
                "sigmas": dataset_info.get("sigmas"),
                "stats_info": dataset_info.get("stats_info"),
            }
        )

    def _validate(self) -> None:
        size = self.num_keypoints
        if len(set(self.keypoint_names)) != size:
            repeated = sorted({n for n in self.keypoint_names if self.keypoint_names.count(n) > 1})
            self._fail(f"keypoint_names must differ, but these repeat: {', '.join(repeated)}")
        flip_indices = tuple(range(size)) if self.flip_indices is None else self.flip_indices
        for name in ("flip_indices", "joint_weights", "keypoint_colors", "sigmas"):
            if getattr(self, name) is not None:
                self._check_length(name, size, "one for each keypoint")
        self._check_length("skeleton_colors", len(self.skeleton), "one for each link of skeleton")
        if any(len(link) != 2 for link in self.skeleton):
            self._fail("skeleton must hold pairs of keypoint indices")
        self._check_range("skeleton", (end for link in self.skeleton for end in link))
        self._check_range("flip_indices", flip_indices)
        self._check_range("upper_body_ids", self.upper_body_ids)
        self._check_range("lower_body_ids", self.lower_body_ids)
        self._check_range("groups", (i for ids in self.groups.values() for i in ids))
        for i, mirror in enumerate(flip_indices):
            # DeepFashion2 has one keypoint whose mirror image is its own: the reference's numbers come of it.
            if flip_indices[mirror] not in (i, mirror):
                self._fail(
                    f"flip_indices must undo itself, but keypoint {i} mirrors to {mirror} and {mirror} to "
                    f"{flip_indices[mirror]}"
                )
        for color in (*self.keypoint_colors, *self.skeleton_colors):
            if len(color) != 3 or not all(0 <= value <= 255 for value in color):
                self._fail(f"a color is three values 0 to 255 (red, green, blue), but {color} was given")

    def _check_length(self, field_name: str, expected: int, meaning: str) -> None:
        given = len(getattr(self, field_name))
        if given != expected:
            self._fail(f"{field_name} must have {expected} entries ({meaning}), but {given} were given")

    def _check_range(self, field_name: str, indices: Iterable[int]) -> None:
        if outside := sorted({i for i in indices if not 0 <= i < self.num_keypoints}):
            self._fail(
                f"{field_name} holds keypoint indices {outside}, but there are {self.num_keypoints} keypoints "
                f"(0 to {self.num_keypoints - 1})"
            )

    def _fail(self, message: str) -> None:
        raise ConfigError(f"Keypoint schema {self.name!r}: {message}.")


def _parse_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns lists into tuples of the right Python types. Empty or missing lists take the schema's defaults."""
    stats = values.get("stats_info")
    return {
        "keypoint_names": tuple(str(name) for name in values["keypoint_names"]),
        "skeleton": tuple(_integers(link) for link in values.get("skeleton") or ()),
        "flip_indices": _integers(values["flip_indices"]) if values.get("flip_indices") else None,
        "sigmas": _floats(values["sigmas"]) if values.get("sigmas") else None,
        "joint_weights": _floats(values.get("joint_weights") or ()),
        "keypoint_colors": tuple(_integers(color) for color in values.get("keypoint_colors") or ()),
        "skeleton_colors": tuple(_integers(color) for color in values.get("skeleton_colors") or ()),
        "upper_body_ids": _integers(values.get("upper_body_ids") or ()),
        "lower_body_ids": _integers(values.get("lower_body_ids") or ()),
        "groups": {str(name): _integers(ids) for name, ids in (values.get("groups") or {}).items()},
        "stats_info": {str(k): _floats(v if isinstance(v, Sequence) else [v]) for k, v in stats.items()}
        if stats
        else None,
    }


def _integers(values: Iterable[Any]) -> Any:
    result = tuple(int(value) for value in values)
    if any(given != value for given, value in zip(values, result, strict=True)):
        raise ValueError(f"expected whole numbers, got {list(values)}")
    return result


def _floats(values: Iterable[Any]) -> tuple[float, ...]:
    result = tuple(float(value) for value in values)
    if not all(math.isfinite(value) for value in result):
        raise ValueError(f"expected finite numbers, got {list(values)}")
    return result


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


def _ordered_entries(info: Mapping[Any, Any] | Sequence[Any]) -> list[Any]:
    """Entries of a `keypoint_info` or `skeleton_info` by index; JSON turns their integer keys into strings."""
    if not isinstance(info, Mapping):
        return list(info)
    return [info[key] for key in sorted(info, key=int)]
