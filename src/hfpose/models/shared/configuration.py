"""What every configuration has."""

from collections.abc import Iterator
from typing import Any, ClassVar

from transformers import PreTrainedConfig
from transformers.backbone_utils import BackboneConfigMixin

from hfpose.errors import ConfigError
from hfpose.keypoints import load_schema, schema_for_config

Numbers = list[int] | tuple[int, ...]

# The largest layer size, and the most entries of a list of them, that a configuration may ask for.
MAX_SIZE = 16384
MAX_LAYERS = 256


class LabeledConfig(PreTrainedConfig):
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
    """Configuration of a model of keypoints: `num_labels` of them, which `id2label` names and `keypoint_schema` describes.

    The three agree at any time: labels that are set, be it by `from_pretrained(..., num_labels=5)`, give a schema that is
    of other keypoints up, see [`schema_for_config`].

    Args:
        keypoint_schema: names, skeleton, flip pairs and colors of the keypoints, see [`KeypointSchema`].
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
        super().__setattr__(name, value)
        if name == "id2label" and value is not None and self.keypoint_schema is not None:
            self.keypoint_schema = schema_for_config(self).to_dict()


def label_count(config: PreTrainedConfig) -> int:
    """Number of classes or keypoints that a model tells apart."""
    assert config.num_labels is not None  # transformers fills it in when a configuration is made
    return config.num_labels


def check_sizes(config: PreTrainedConfig, *names: str, limit: int = MAX_SIZE) -> None:
    """Check that these fields, whole numbers or lists of them, ask for nothing that no memory could hold.

    Raises:
        ConfigError: names the field, its value and the limit.
    """
    for name in names:
        numbers = list(_numbers(getattr(config, name)))
        if len(numbers) > MAX_LAYERS or any(not 0 <= number <= limit for number in numbers):
            raise ConfigError(
                f"{type(config).__name__} with {name}={str(getattr(config, name))[:200]} is not supported. Give numbers "
                f"from 0 to {limit}, at most {MAX_LAYERS} of them."
            )


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
    elif value is not None:
        yield value


class StagedBackboneConfig(BackboneConfigMixin, PreTrainedConfig):
    """Configuration of a backbone of ours: a stem, then stages, each of which gives a feature map.

    Args:
        num_channels: channels of an image.
        hidden_act: activation of the convolutions.
        batch_norm_eps: epsilon of batch normalizations.
        out_features, out_indices: which feature maps are given, by their names in `stage_names` or their indices there;
            the stem has index 0. Default: the last one.
    """

    # Fields of sizes and of numbers of layers, for their limits.
    size_fields: ClassVar[tuple[str, ...]] = ()
    depth_fields: ClassVar[tuple[str, ...]] = ("depths",)

    num_channels: int = 3
    hidden_act: str = "relu"
    batch_norm_eps: float = 1e-5
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    @property
    def num_stages(self) -> int:
        """Number of stages after the stem."""
        raise NotImplementedError

    def __post_init__(self, **kwargs: Any) -> None:
        check_sizes(self, "num_channels", *self.size_fields)
        check_sizes(self, *self.depth_fields, limit=MAX_LAYERS)
        kwargs.pop("stage_names", None)  # a file states what follows from the other fields
        self.stage_names = ["stem", *(f"stage{index}" for index in range(1, self.num_stages + 1))]
        self.set_output_features_output_indices(
            out_features=kwargs.pop("out_features", None), out_indices=kwargs.pop("out_indices", None)
        )
        super().__post_init__(**kwargs)
