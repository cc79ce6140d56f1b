"""Configuration of the SimCC estimators."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from hfpose.models.shared.configuration import KeypointConfig, Numbers


@strict
class SimCCConfig(KeypointConfig):
    r"""
    Configuration of [`SimCCForPoseEstimation`]. The defaults are those of ResNet-50 at 256x192.

    Keypoints are those of [`KeypointConfig`].

    Args:
        backbone_config: the backbone, ours or one of transformers; default ResNet-50.
        image_size: height and width of a crop in pixels.
        feature_map_size: height and width of the backbone's feature map in cells.
        deconv_channels, deconv_kernel_sizes, deconv_groups, conv_channels, conv_kernel_sizes, final_kernel_size,
            hidden_act: layers between the feature map and the distributions; see [`HeatmapConfig`].
        simcc_split_ratio: bins per pixel of the SimCC outputs.
        simcc_sigma: standard deviations, in bins along x and y, of the targets in training.
        simcc_beta: factor on the outputs before the softmax of the loss.
        simcc_label_softmax: whether a softmax makes distributions of the targets.
        simcc_label_beta: factor on the targets before that softmax.
        keypoint_loss_weights: weight of each keypoint in the loss; None weighs all 1.
    """

    model_type = "simcc"
    default_backbone = {"model_type": "resnet_backbone"}

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None
    image_size: list[int] | tuple[int, int] = (256, 192)
    feature_map_size: list[int] | tuple[int, int] = (8, 6)
    deconv_channels: Numbers = (256, 256, 256)
    deconv_kernel_sizes: Numbers = (4, 4, 4)
    deconv_groups: Numbers = ()
    conv_channels: Numbers = ()
    conv_kernel_sizes: Numbers = ()
    final_kernel_size: int = 1
    hidden_act: str = "relu"
    simcc_split_ratio: float | int = 2.0
    simcc_sigma: list[float | int] | tuple[float | int, float | int] = (6.0, 6.0)
    simcc_beta: float | int = 1.0
    simcc_label_softmax: bool = False
    simcc_label_beta: float | int = 10.0
    keypoint_loss_weights: list[float | int] | tuple[float | int, ...] | None = None
