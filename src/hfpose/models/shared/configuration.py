"""What every configuration has."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedConfig


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


def label_count(config: PreTrainedConfig) -> int:
    """Number of classes or keypoints that a model tells apart."""
    assert config.num_labels is not None  # transformers fills it in when a configuration is made
    return config.num_labels
