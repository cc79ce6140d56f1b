"""HRNet configuration."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import LabeledConfig

Numbers = list[int] | tuple[int, ...]
NumbersByStage = list[Numbers] | tuple[Numbers, ...]


@strict
class HRNetConfig(LabeledConfig):
    r"""
    Configuration of [`HRNetForPoseEstimation`]. The defaults are those of HRNet-W32 at 256x192.

    The number of keypoints is `num_labels`; their names are `id2label`.

    Args:
        image_size: height and width of a crop in pixels.
        num_channels: channels of a crop.
        stem_channels: channels of the two convolutions that halve the resolution.
        stage_modules: number of modules of each stage, that is how often its branches are merged.
        stage_blocks: for each stage the number of residual blocks of each branch of a module.
        stage_channels: for each stage the channels of the blocks of each branch, from the highest resolution down.
        stage_block_types: for each stage `"basic"` or `"bottleneck"`; bottleneck blocks have four times as many output
            channels.
        hidden_act: activation.
        batch_norm_eps: epsilon of batch normalizations of the backbone.
        deconv_channels: channels of the head's transposed convolutions, each of which doubles the resolution.
        deconv_kernel_sizes: their sizes: 2, 3 or 4.
        conv_channels: channels of the head's convolutions after them.
        conv_kernel_sizes: their sizes.
        final_kernel_size: size of the convolution that gives each keypoint its heatmap.
        heatmap_sigma: standard deviation, in cells, of the targets in training.
        heatmap_encoding: how they are drawn, `"quarter"`, `"dark"` or `"udp"`; see `heatmap_targets`. It is the image
            processor's `heatmap_decoding`.
        keypoint_schema: names, skeleton, flip pairs and colors of the keypoints, see [`KeypointSchema`].
    """

    model_type = "hrnet"
    default_num_labels = 17

    image_size: list[int] | tuple[int, int] = (256, 192)
    num_channels: int = 3
    stem_channels: int = 64
    stage_modules: Numbers = (1, 1, 4, 3)
    stage_blocks: NumbersByStage = ((4,), (4, 4), (4, 4, 4), (4, 4, 4, 4))
    stage_channels: NumbersByStage = ((64,), (32, 64), (32, 64, 128), (32, 64, 128, 256))
    stage_block_types: list[str] | tuple[str, ...] = ("bottleneck", "basic", "basic", "basic")
    hidden_act: str = "relu"
    batch_norm_eps: float = 1e-5
    deconv_channels: Numbers = ()
    deconv_kernel_sizes: Numbers = ()
    conv_channels: Numbers = ()
    conv_kernel_sizes: Numbers = ()
    final_kernel_size: int = 1
    heatmap_sigma: float | int = 2.0
    heatmap_encoding: str = "quarter"
    keypoint_schema: dict[str, Any] | None = None


__all__ = ["HRNetConfig"]
