"""From the reference's HRNet settings and checkpoints to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.heatmap.convert_heatmap import (
    heatmap_processor_arguments,
    last_convolution,
    reference_decoding,
)
from hfpose.models.hrnet.configuration_hrnet import HRNetConfig
from hfpose.models.hrnet.image_processing_hrnet import HRNetImageProcessor
from hfpose.models.hrnet.modeling_hrnet import DECONV_PADDINGS, EXPANSIONS, HRNetForPoseEstimation
from hfpose.models.shared.conversion import (
    RenameRules,
    batch_norm_eps,
    expect_settings,
    keypoint_arguments,
    rename_state_dict,
)

MODEL_CLASS = HRNetForPoseEstimation


def _layer(match: re.Match[str]) -> str:
    """`.0.` and `.1.` of a convolution and its normalization."""
    return f"{match[1]}.{('conv', 'norm')[int(match[2])]}."


def _head_layer(match: re.Match[str]) -> str:
    """The head counts convolutions, normalizations and activations in one row."""
    layer, part = divmod(int(match[2]), 3)
    return f"head.{match[1]}olutions.{layer}.{('conv', 'norm')[part]}."


RENAMES: RenameRules = (
    (r"^backbone\.(conv|bn)([12])\.", lambda match: f"backbone.stem.{int(match[2]) - 1}.{match[1]}."),
    (r"^backbone\.layer1\.", "backbone.stages.0.units.0.branches.0."),
    (r"^backbone\.stage(\d)\.(\d+)\.", lambda match: f"backbone.stages.{int(match[1]) - 1}.units.{match[2]}."),
    (r"^backbone\.transition(\d)\.", r"backbone.stages.\1.transition."),
    (r"\.fuse_layers\.", ".fusions."),
    # A branch that is only adapted, or resized in one step, has its layers one level higher than the others.
    (r"(\.transition\.\d+|\.fusions\.\d+\.\d+)\.([01])\.(?=[a-z])", r"\1.0.\2."),
    (r"(\.transition\.\d+\.\d+|\.fusions\.\d+\.\d+\.\d+)\.([01])\.(?=[a-z])", _layer),
    (
        r"(\.branches\.\d+\.\d+)\.(conv|bn)([123])\.",
        lambda match: f"{match[1]}.layers.{int(match[3]) - 1}.{match[2]}.",
    ),
    (r"\.downsample\.", ".shortcut."),
    (r"(\.shortcut)\.([01])\.", _layer),
    (r"\.bn\.", ".norm."),
    (r"^head\.((?:de)?conv)_layers\.(\d+)\.", _head_layer),
    (r"^head\.final_layer\.", "head.heatmaps."),
)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> HRNetConfig:
    """Configuration for the reference's settings of a top-down model of an `HRNet` and a `HeatmapHead`.

    Raises:
        ConfigError: for a setting that is not supported, or a schema with another number of keypoints.
    """
    head = reference["head"]
    expect_settings("The model", {"neck": reference.get("neck")}, {"neck": None})
    expect_settings("The head", head, {"type": "HeatmapHead"})
    width, height = head["decoder"]["input_size"]
    return HRNetConfig(
        image_size=(height, width),
        heatmap_sigma=head["decoder"].get("sigma", 2.0),
        heatmap_encoding=reference_decoding(head["decoder"]),
        **_backbone_arguments(reference["backbone"]),
        **_head_arguments(head),
        **keypoint_arguments(head["out_channels"], schema),
    )


def _backbone_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    expect_settings("The backbone", {"type": backbone["type"].rsplit(".")[-1]}, {"type": "HRNet"})
    expect_settings("HRNet", backbone, {"conv_cfg": None})
    extra = backbone["extra"]
    expect_settings("HRNet.extra.upsample", extra.get("upsample", {}), {"mode": "nearest"})
    stages = [extra[f"stage{i}"] for i in range(1, 5)]
    expect_settings("HRNet.extra.stage1", stages[0], {"num_modules": 1, "num_branches": 1})
    expect_settings("HRNet.extra.stage4", stages[3], {"multiscale_output": False})
    block_types = [stage["block"].lower() for stage in stages]
    if unknown := set(block_types) - set(EXPANSIONS):
        raise ConfigError(f"HRNet blocks {sorted(unknown)} are not supported; known ones are {', '.join(EXPANSIONS)}.")
    return {
        "num_channels": backbone.get("in_channels", 3),
        "stage_modules": [stage["num_modules"] for stage in stages],
        "stage_blocks": [list(stage["num_blocks"]) for stage in stages],
        "stage_channels": [list(stage["num_channels"]) for stage in stages],
        "stage_block_types": block_types,
        "batch_norm_eps": batch_norm_eps(backbone.get("norm_cfg", {"type": "BN"})),
    }


def _head_arguments(head: Mapping[str, Any]) -> dict[str, Any]:
    final_layer = last_convolution(head)
    kernel = final_layer["kernel_size"]
    expect_settings("HeatmapHead.final_layer", final_layer, {"padding": (kernel - 1) // 2 if kernel else None})
    arguments: dict[str, Any] = {"final_kernel_size": kernel}
    defaults = {"deconv": ((256, 256, 256), (4, 4, 4)), "conv": ((), ())}  # the reference's
    for kind, (default_channels, default_kernels) in defaults.items():
        channels = head.get(f"{kind}_out_channels", default_channels) or ()
        kernels = (head.get(f"{kind}_kernel_sizes", default_kernels) or ()) if channels else ()
        if len(channels) != len(kernels):
            raise ConfigError(
                f"HeatmapHead has {len(channels)} {kind}_out_channels but {len(kernels)} {kind}_kernel_sizes; "
                "expected one kernel size for each layer."
            )
        arguments |= {f"{kind}_channels": list(channels), f"{kind}_kernel_sizes": list(kernels)}
    if unknown := set(arguments["deconv_kernel_sizes"]) - set(DECONV_PADDINGS):
        raise ConfigError(f"HeatmapHead.deconv_kernel_sizes holds {sorted(unknown)}; only 2, 3 and 4 are supported.")
    return arguments


def image_processor_from_reference(reference: Mapping[str, Any]) -> HRNetImageProcessor:
    """Image processor for the reference's settings."""
    return HRNetImageProcessor(**heatmap_processor_arguments(reference))


def convert_state_dict(state_dict: Mapping[str, Tensor], config: HRNetConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names."""
    return rename_state_dict(state_dict, RENAMES)
