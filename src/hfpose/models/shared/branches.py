"""All branches of an HRNet as one feature map."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.models.shared.conversion import expect_settings

# The default backbone of configurations: HRNet-W32 with all its branches.
ALL_BRANCHES = {"model_type": "hrnet_backbone", "multiscale_output": True, "out_indices": [1, 2, 3, 4]}


def concatenate_branches(feature_maps: Sequence[Tensor]) -> Tensor:
    """Feature maps [(B, C, h, w), ...] as one (B, sum of C, h, w), all at the resolution of the first.

    Source: `mmpose.models.necks.FeatureMapProcessor` with `concat=True`.
    """
    size = feature_maps[0].shape[-2:]
    resized = (F.interpolate(feature_map, size=size, mode="bilinear") for feature_map in feature_maps[1:])
    return torch.cat((feature_maps[0], *resized), dim=1)


def expect_concatenation(reference: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the model's neck concatenates the branches of the backbone."""
    neck = reference.get("neck") or {}
    expect_settings("The neck", {"type": neck.get("type")}, {"type": "FeatureMapProcessor"})
    expected = {"select_index": None, "concat": True, "scale_factor": 1.0, "apply_relu": False, "align_corners": False}
    expect_settings("FeatureMapProcessor", {"concat": False, **neck}, expected)
