"""Models for other keypoints or classes than those that they were trained for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from hfpose.models.shared.configuration import label_count


def with_labels(
    model: PreTrainedModel, labels: Sequence[str], seed: int = 0, **changes: Any
) -> tuple[PreTrainedModel, list[str]]:
    """A model that finds other keypoints or classes, with the weights of `model` wherever they do not depend on these.
    `seed` is that of new weights, `changes` are of the configuration.

    Returns:
        The model, and the names of its new tensors.
    """
    new_tensors = label_tensors(model)
    torch.manual_seed(seed)
    changed = type(model)(_relabeled(model, labels, **changes))
    kept = {name: tensor for name, tensor in model.state_dict().items() if name not in new_tensors}
    changed.load_state_dict(kept, strict=False)
    return changed, new_tensors


def label_tensors(model: PreTrainedModel) -> list[str]:
    """Names of the tensors whose shape depends on the number of keypoints or classes."""
    with torch.device("meta"):
        larger = type(model)(_relabeled(model, [str(index) for index in range(label_count(model.config) + 1)]))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return [name for name, tensor in larger.state_dict().items() if tensor.shape != shapes[name]]


def _relabeled(model: PreTrainedModel, labels: Sequence[str], **changes: Any) -> Any:
    config = copy.deepcopy(model.config)
    if hasattr(config, "keypoint_schema"):
        config.keypoint_schema = None  # that of the labels before
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    for name, value in changes.items():
        setattr(config, name, value)
    return config
