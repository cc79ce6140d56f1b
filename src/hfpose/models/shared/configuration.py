"""What every configuration has."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, ClassVar

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.backbone_utils import BackboneConfigMixin

from hfpose.errors import ConfigError
from hfpose.hub.push_mixin import PushWithCode
from hfpose.keypoints import load_schema, schema_for_config

Numbers = list[int] | tuple[int, ...]

# The largest layer size, and the most layers or entries of a list of sizes, that a configuration may ask for.
MAX_SIZE = 16384
MAX_LAYERS = 256
# The backbone of the bottom-up estimators that names none: HRNet-W32 with all its branches.
ALL_BRANCHES = {"model_type": "hrnet_backbone", "multiscale_output": True, "out_indices": [1, 2, 3, 4]}
_COUNTS_LAYERS = re.compile(r"(depths|layers|blocks|modules|stacks|networks|stages|steps|levels|multiplier)$")


class LimitedConfig(PushWithCode, PreTrainedConfig):
    """Configuration of which no number asks for a network that no memory could hold.

    Attributes:
        odd_sizes: names of fields whose numbers have to be odd, as those of kernels with a middle.
    """

    odd_sizes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self, **kwargs: Any) -> None:
        """
        Raises:
            ConfigError: names the field, its value and the limit.
        """
        for name in _own_fields(type(self)):
            numbers = list(_numbers(getattr(self, name)))
            limit = MAX_LAYERS if _COUNTS_LAYERS.search(name) else MAX_SIZE
            whole_numbers = sum(isinstance(number, int) for number in numbers)
            if whole_numbers > MAX_LAYERS or not all(0 <= number <= limit for number in numbers):
                raise ConfigError(
                    f"{type(self).__name__} with {name}={str(getattr(self, name))[:200]} is not supported. Give "
                    f"numbers from 0 to {limit}, at most {MAX_LAYERS} of them."
                )
            if name in self.odd_sizes and not (numbers and all(number % 2 for number in numbers)):
                raise ConfigError(f"{type(self).__name__} with {name}={getattr(self, name)}; expected odd numbers.")
        super().__post_init__(**kwargs)


def _own_fields(config_class: Any) -> list[str]:
    """Names of the fields that transformers' configurations do not have already."""
    common = {field.name for field in fields(PreTrainedConfig)}
    return [field.name for field in fields(config_class) if field.name not in common and field.name[0] != "_"]


def _numbers(value: Any) -> Iterator[float]:
    """All numbers in a value."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float)):
        yield value


class LabeledConfig(LimitedConfig):
    """Configuration of a model that tells a number of classes or keypoints apart, `num_labels`.

    transformers takes two for granted and leaves them out of files; here a family has a number of its own, so a file
    always names its labels.
    """

    default_num_labels: ClassVar[int]

    def __post_init__(self, **kwargs: Any) -> None:
        if self.id2label is None:
            kwargs.setdefault("num_labels", self.default_num_labels)
        super().__post_init__(**kwargs)

    def to_diff_dict(self) -> dict[str, Any]:
        """What a file says: all that differs from the defaults, and the labels."""
        return {**super().to_diff_dict(), "id2label": self.id2label, "label2id": self.label2id}


class KeypointConfig(LabeledConfig):
    """Configuration of a model of keypoints: `num_labels` of them, which `id2label` names and `keypoint_schema`
    describes.

    The three agree at any time: labels that are set, be it by `from_pretrained(..., num_labels=5)`, give a schema that
    is of other keypoints up, see [`schema_for_config`], and weights of other keypoints in the loss.

    Args:
        keypoint_schema: names, skeleton, flip pairs and colors of the keypoints, see [`KeypointSchema`]. A flip test
            needs its flip pairs.
    """

    default_num_labels = 17
    default_schema: ClassVar[str | None] = None  # name of the schema of models that say nothing of theirs

    keypoint_schema: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.keypoint_schema is None and self.default_schema is not None:
            self.keypoint_schema = load_schema(self.default_schema).to_dict()
        if self.id2label is None and self.keypoint_schema is not None:
            names = schema_for_config(self).keypoint_names
            if kwargs.get("num_labels") in (None, len(names)):
                self.id2label = dict(enumerate(names))
        super().__post_init__(**kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.id2label if name == "id2label" else None
        super().__setattr__(name, value)
        if name != "id2label" or value is None:
            return
        if self.keypoint_schema is not None:
            self.keypoint_schema = schema_for_config(self).to_dict()
        if before and [*before.values()] != [*value.values()] and hasattr(self, "keypoint_loss_weights"):
            super().__setattr__("keypoint_loss_weights", None)


class EstimatorConfig(KeypointConfig):
    """Configuration of a pose estimator: a backbone with a head. Keypoints are those of [`KeypointConfig`].

    Args:
        backbone_config: the backbone, ours or one of transformers, as a configuration or its fields.
    """

    sub_configs = {"backbone_config": AutoConfig}
    default_backbone: ClassVar[dict[str, Any]]  # fields of `backbone_config` where none is given
    merged_strides: ClassVar[tuple[int, int]] = (1, 1)  # see `check_image_size`

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.backbone_config, PreTrainedConfig):
            values = self.backbone_config or self.default_backbone
            config_class = CONFIG_MAPPING[values.get("model_type", self.default_backbone["model_type"])]
            self.backbone_config = config_class.from_dict(values)
        super().__post_init__(**kwargs)
        for part in (self, self.backbone_config):
            check_image_size(
                type(part).__name__, getattr(self, "image_size", ()), getattr(part, "merged_strides", (1, 1))
            )


def feature_map_size(image_size: Sequence[int], stride: int = 32) -> tuple[int, ...]:
    """Cells of a backbone's feature map along each side of an image; every layer that halves a map rounds up."""
    return tuple(-(-side // stride) for side in image_size)


def check_image_size(part: str, image_size: Sequence[int], merged_strides: tuple[int, int]) -> None:
    """Raise ConfigError for an image size of whose feature maps at these strides and between one cannot be enlarged
    onto the next finer one.

    Args:
        part: name of what merges them.
        merged_strides: of the finest and the coarsest feature map.
    """
    finest, coarsest = merged_strides
    if any(cells % (coarsest // finest) for cells in feature_map_size(image_size, finest)):
        raise ConfigError(
            f"{part} cannot compute images of {' x '.join(map(str, image_size))} pixels, "
            f"for it merges feature maps at strides {finest} to {coarsest}. Give multiples of {coarsest} pixels."
        )


def label_count(config: PreTrainedConfig) -> int:
    """Number of classes or keypoints that a model tells apart."""
    assert config.num_labels is not None  # transformers fills it in when a configuration is made
    return config.num_labels


class StagedBackboneConfig(BackboneConfigMixin, LimitedConfig):
    """Configuration of a backbone of ours: a stem, then stages, each of which gives a feature map.

    Args:
        num_channels: channels of an image.
        hidden_act: activation of the convolutions.
        batch_norm_eps: epsilon of batch normalizations.
        out_features, out_indices: which feature maps are given, by their names in `stage_names` or their indices
            there; the stem has index 0. Default: the last one.
    """

    num_channels: int = 3
    hidden_act: str = "relu"
    batch_norm_eps: float = 1e-5
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    @property
    def num_stages(self) -> int:
        """Number of stages after the stem; by default those that `depths` lists."""
        return len(self.depths)

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("stage_names", None)  # a file states what follows from the other fields
        out_features, out_indices = kwargs.pop("out_features", None), kwargs.pop("out_indices", None)
        super().__post_init__(**kwargs)  # checks the number of stages
        self.stage_names = ["stem", *(f"stage{index}" for index in range(1, self.num_stages + 1))]
        self.set_output_features_output_indices(out_features=out_features, out_indices=out_indices)
