"""MMPose's containers of results: `InstanceData`, `PixelData` and `PoseDataSample`.

Source: `mmengine.structures` and `mmpose.structures`; reimplemented on plain dicts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from hfpose.errors import InputError

ElementT = TypeVar("ElementT", bound="DataElement")
InstancesT = TypeVar("InstancesT", bound="InstanceData")

_OWN = ("_fields", "_metainfo")


class DataElement:
    """Named values, and beside them information about the image (`metainfo`); both read as attributes.

    Setting an attribute sets a field. Two elements are equal only if they are the same object.
    """

    _fields: dict[str, Any]
    _metainfo: dict[str, Any]

    def __init__(self, *, metainfo: Mapping[str, Any] | None = None, **fields: Any) -> None:
        for name in _OWN:
            object.__setattr__(self, name, {})
        self.set_metainfo(metainfo or {})
        self.set_data(fields)

    @property
    def metainfo(self) -> dict[str, Any]:
        """A copy of the information about the image."""
        return copy.deepcopy(self._metainfo)

    def set_metainfo(self, metainfo: Mapping[str, Any]) -> None:
        """Add information about the image."""
        for name, value in metainfo.items():
            self.set_field(copy.deepcopy(value), name, field_type="metainfo")

    def set_data(self, data: Mapping[str, Any]) -> None:
        """Add fields."""
        for name, value in data.items():
            self.set_field(value, name)

    def set_field(self, value: Any, name: str, dtype: Any = None, field_type: str = "data") -> None:
        """Set a field, or with `field_type="metainfo"` information about the image.

        Args:
            value: what.
            name: under which name; it may be in use only for the same type of field.
            dtype: class, or tuple of classes, that `value` must be of.
            field_type: "data" or "metainfo".

        Raises:
            AttributeError: if the name is in use for the other type, or cannot be set.
            TypeError: if `value` is of another class.
        """
        if field_type not in ("data", "metainfo"):
            raise AttributeError(f"field_type must be 'data' or 'metainfo', got {field_type!r}.")
        if name in _OWN or isinstance(getattr(type(self), name, None), property) or hasattr(DataElement, name):
            raise AttributeError(f"{type(self).__name__} uses the name {name!r} itself; choose another.")
        if dtype is not None and not isinstance(value, dtype):
            raise TypeError(f"{name} must be of {dtype}, got {type(value).__name__}.")
        mine, other = (self._fields, self._metainfo) if field_type == "data" else (self._metainfo, self._fields)
        if name in other:
            raise AttributeError(f"{name!r} is set already, as {'metainfo' if field_type == 'data' else 'data'}.")
        mine[name] = self._checked(name, value) if field_type == "data" else value

    def _checked(self, name: str, value: Any) -> Any:
        """The value of a field, if it may be set."""
        return value

    def keys(self) -> list[str]:
        """Names of the fields."""
        return list(self._fields)

    def values(self) -> list[Any]:
        """The fields."""
        return list(self._fields.values())

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and fields."""
        return iter(list(self._fields.items()))

    def metainfo_keys(self) -> list[str]:
        """Names of the meta information."""
        return list(self._metainfo)

    def metainfo_values(self) -> list[Any]:
        """Values of the meta information."""
        return list(self._metainfo.values())

    def metainfo_items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the meta information."""
        return iter(list(self._metainfo.items()))

    def all_keys(self) -> list[str]:
        """Names of metainfo and fields."""
        return [*self._metainfo, *self._fields]

    def all_values(self) -> list[Any]:
        """Values of the meta information, then of the fields."""
        return [*self._metainfo.values(), *self._fields.values()]

    def all_items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the meta information, then of the fields."""
        return iter([*self._metainfo.items(), *self._fields.items()])

    def get(self, name: str, default: Any = None) -> Any:
        """A field or metainfo, or `default` if there is none of that name."""
        return self._fields.get(name, self._metainfo.get(name, default))

    def pop(self, name: str, *default: Any) -> Any:
        """Take out a field."""
        return self._fields.pop(name, *default)

    def new(self: ElementT, *, metainfo: Mapping[str, Any] | None = None, **fields: Any) -> ElementT:
        """Another element with the same contents, or those given."""
        return type(self)(
            metainfo=self._metainfo if metainfo is None else metainfo, **(fields if fields else self._fields)
        )

    def clone(self: ElementT) -> ElementT:
        """A copy that shares nothing."""
        return copy.deepcopy(self)

    def cpu(self: ElementT) -> ElementT:
        """The same with all tensors in main memory."""
        return self._converted(torch.Tensor, lambda tensor: tensor.cpu())

    def to(self: ElementT, *arguments: Any, **options: Any) -> ElementT:
        """The same with all tensors moved or cast, as by `torch.Tensor.to`."""
        return self._converted(torch.Tensor, lambda tensor: tensor.to(*arguments, **options))

    def to_dict(self) -> dict[str, Any]:
        """Meta information and fields by name, with elements inside as dicts too."""
        return {name: value.to_dict() if isinstance(value, DataElement) else value for name, value in self.all_items()}

    def numpy(self: ElementT) -> ElementT:
        """The same with all tensors as arrays."""
        return self._converted(torch.Tensor, lambda tensor: tensor.detach().cpu().numpy())

    def to_tensor(self: ElementT) -> ElementT:
        """The same with all arrays as tensors."""
        return self._converted(np.ndarray, torch.from_numpy)

    def _converted(self: ElementT, kind: type, convert: Callable[[Any], Any]) -> ElementT:
        """The same with all values of a type converted, also those inside."""

        def converted(value: Any) -> Any:
            if isinstance(value, DataElement):
                return value._converted(kind, convert)
            return convert(value) if isinstance(value, kind) else value

        return type(self)(metainfo=self._metainfo, **{name: converted(value) for name, value in self._fields.items()})

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:  # not there yet, as while unpickling
            raise AttributeError(name)
        if name in self._fields:
            return self._fields[name]
        if name in self._metainfo:
            return self._metainfo[name]
        raise AttributeError(
            f"{type(self).__name__} has no {name!r}; it has {', '.join(self.all_keys()) or 'nothing'}."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        self.set_field(value, name)

    def __delattr__(self, name: str) -> None:
        if name not in self._fields and name not in self._metainfo:
            raise AttributeError(f"{type(self).__name__} has no {name!r}.")
        self._fields.pop(name, None)
        self._metainfo.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._fields or name in self._metainfo

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self._metainfo, self._fields)

    def __repr__(self) -> str:
        lines = [f"{name}: {value!r}" for name, value in self.all_items()]
        body = "".join(f"\n{line}" for line in lines).replace("\n", "\n    ")
        return f"<{type(self).__name__}({body}\n)>"


def _rebuild(kind: type[ElementT], metainfo: dict[str, Any], fields: dict[str, Any]) -> ElementT:
    return kind(metainfo=metainfo, **fields)


class InstanceData(DataElement):
    """N instances: every field has N rows. Indexing with a number, a slice, indices or a mask gives some of them."""

    def _checked(self, name: str, value: Any) -> Any:
        if not hasattr(value, "__len__"):
            raise TypeError(f"{name} needs one row for each instance, got {type(value).__name__}.")
        others = {key: field for key, field in self._fields.items() if key != name}
        if others and len(value) != len(next(iter(others.values()))):
            raise ValueError(f"{name} has {len(value)} rows, but there are {len(self)} instances.")
        return value

    def __len__(self) -> int:
        return len(next(iter(self._fields.values()))) if self._fields else 0

    def __getitem__(self: InstancesT, index: Any) -> Any:
        if isinstance(index, str):
            return getattr(self, index)
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"There are {len(self)} instances, and number {index} was asked for.")
            index = slice(int(index), None if index == -1 else int(index) + 1)
        return type(self)(
            metainfo=self._metainfo, **{name: _rows(value, index) for name, value in self._fields.items()}
        )

    @staticmethod
    def cat(instances: Sequence[InstancesT]) -> InstancesT:
        """All instances of several elements, one after the other, with the metainfo of the first.

        Raises:
            InputError: if there is no element, or fields differ.
        """
        if not instances:
            raise InputError("There is nothing to concatenate: give at least one InstanceData.")
        first = instances[0]
        for other in instances[1:]:
            if set(other.keys()) != set(first.keys()):
                raise InputError(
                    f"Instances with the fields {first.keys()} and {other.keys()} cannot be concatenated."
                )
        fields = {name: _concatenate([getattr(each, name) for each in instances]) for name, _ in first.items()}
        return type(first)(metainfo=first.metainfo, **fields)


def _rows(value: Any, index: Any) -> Any:
    """Rows of an array, a tensor, a list or a string."""
    if isinstance(value, torch.Tensor):
        return value[torch.as_tensor(index) if isinstance(index, (list, np.ndarray)) else index]
    if isinstance(value, np.ndarray) or isinstance(index, slice):
        return value[index.cpu().numpy() if isinstance(index, torch.Tensor) else index]
    chosen = np.arange(len(value))[np.asarray(index)]
    return type(value)(value[row] for row in chosen)


def _concatenate(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(values))
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    return type(first)(row for value in values for row in value)


class PixelData(DataElement):
    """Maps over the image, each field (C, H, W) and of the same H and W; (H, W) becomes (1, H, W)."""

    def _checked(self, name: str, value: Any) -> Any:
        if not isinstance(value, (np.ndarray, torch.Tensor)) or value.ndim not in (2, 3):
            raise TypeError(f"{name} must be an array or tensor of shape (C, H, W) or (H, W).")
        value = value[None] if value.ndim == 2 else value
        if self.shape is not None and name not in self._fields and tuple(value.shape[-2:]) != self.shape:
            raise ValueError(f"{name} covers {tuple(value.shape[-2:])} pixels, the others {self.shape}.")
        return value

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width."""
        return tuple(next(iter(self._fields.values())).shape[-2:]) if self._fields else None


class PoseDataSample(DataElement):
    """What is known of an image: `pred_instances`, `gt_instances`, `pred_fields`, `gt_fields` and more.

    Information about the image (`metainfo`) are among others `img_path`, `ori_shape` (height, width), `input_size`
    (width, height), `input_center`, `input_scale`, `flip_indices`.
    """

    _TYPES = {
        "gt_instances": InstanceData,
        "gt_instance_labels": InstanceData,
        "pred_instances": InstanceData,
        "gt_fields": PixelData,
        "pred_fields": PixelData,
    }

    def _checked(self, name: str, value: Any) -> Any:
        expected = self._TYPES.get(name)
        if expected is not None and not isinstance(value, expected):
            raise TypeError(f"{name} must be of type {expected.__name__}, got {type(value).__name__}.")
        return value


def merge_data_samples(data_samples: Sequence[PoseDataSample]) -> PoseDataSample:
    """The instances of several boxes of one image in one sample, with the metainfo of the first.

    Heatmaps of the crops are brought to the whole image, and the highest of them kept at each pixel.

    Raises:
        ValueError: if something else than a list of data samples is given.
    """
    if not isinstance(data_samples, Sequence) or not all(isinstance(each, PoseDataSample) for each in data_samples):
        raise ValueError(f"merge_data_samples needs a list of PoseDataSample, got {type(data_samples).__name__}.")
    if not data_samples:
        return PoseDataSample()
    first = data_samples[0]
    merged = PoseDataSample(metainfo=first.metainfo)
    for name in ("gt_instances", "pred_instances"):
        if name in first:
            merged.set_field(InstanceData.cat([getattr(each, name) for each in data_samples]), name)
    for name in ("gt_fields", "pred_fields"):
        if name in first and "heatmaps" in getattr(first, name):
            maps = [
                revert_heatmap(getattr(each, name).heatmaps, each.input_center, each.input_scale, each.ori_shape)
                for each in data_samples
            ]
            merged.set_field(PixelData(heatmaps=np.max(maps, axis=0)), name)
    return merged


def revert_heatmap(
    heatmap: np.ndarray | torch.Tensor, input_center: ArrayLike, input_scale: ArrayLike, img_shape: Sequence[int]
) -> np.ndarray:
    """Heatmaps (K, h, w), or one (h, w), of a crop as (K, H, W) or (H, W) over its image, zero beside the crop.

    Args:
        heatmap: of the crop.
        input_center: (2,) x, y of the middle of the crop in pixels.
        input_scale: (2,) its width and height in pixels.
        img_shape: height H and width W of the image.
    """
    import cv2

    maps = heatmap.detach().cpu().numpy() if isinstance(heatmap, torch.Tensor) else np.asarray(heatmap)
    height, width = img_shape
    center, scale = np.reshape(input_center, 2), np.reshape(input_scale, 2)
    stretch = scale / maps.shape[:-3:-1]
    matrix = np.array([[stretch[0], 0, center[0] - scale[0] / 2], [0, stretch[1], center[1] - scale[1] / 2]])
    rows = maps.reshape(-1, *maps.shape[-2:])
    whole = [cv2.warpAffine(each, matrix, (width, height), flags=cv2.INTER_LINEAR) for each in rows]
    return np.reshape(whole, (*maps.shape[:-2], height, width))
