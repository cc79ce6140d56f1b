"""What every configuration has."""

from __future__ import annotations

from transformers import PreTrainedConfig


def label_count(config: PreTrainedConfig) -> int:
    """Number of classes or keypoints that a model tells apart."""
    assert config.num_labels is not None  # transformers fills it in when a configuration is made
    return config.num_labels
