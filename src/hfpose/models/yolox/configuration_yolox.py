"""YOLOX configuration."""

from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import LabeledConfig


@strict
class YOLOXConfig(LabeledConfig):
    r"""
    Configuration of [`YOLOXForObjectDetection`]. The defaults are those of YOLOX-s.

    Args:
        num_channels: channels of an image.
        depth_multiplier: factor on the number of blocks of the backbone's stages.
        width_multiplier: factor on the channels of the backbone.
        expand_ratio: share of a CSP layer's channels that goes through its blocks, in backbone and neck.
        use_depthwise: whether backbone, neck and head are made of depthwise separable convolutions.
        hidden_act: activation everywhere.
        batch_norm_eps: epsilon of batch normalizations.
        neck_size: channels of the neck's outputs and of the head.
        num_neck_blocks: blocks in each CSP layer of the neck.
        num_head_layers: convolutions before the predictions.
        strides: strides of the feature levels in pixels.
    """

    model_type = "yolox"
    default_num_labels = 80

    num_channels: int = 3
    depth_multiplier: float | int = 0.33
    width_multiplier: float | int = 0.5
    expand_ratio: float = 0.5
    use_depthwise: bool = False
    hidden_act: str = "swish"
    batch_norm_eps: float = 1e-3
    neck_size: int = 128
    num_neck_blocks: int = 1
    num_head_layers: int = 2
    strides: list[int] | tuple[int, ...] = (8, 16, 32)
