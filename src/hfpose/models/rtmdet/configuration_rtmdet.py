"""RTMDet configuration."""

from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import LabeledConfig


@strict
class RTMDetConfig(LabeledConfig):
    r"""
    Configuration of [`RTMDetForObjectDetection`]. The defaults are those of RTMDet-m.

    Args:
        num_channels: channels of an image.
        depth_multiplier: factor on the number of blocks of the backbone's stages.
        width_multiplier: factor on the channels of the backbone.
        expand_ratio: share of a CSP layer's channels that goes through its blocks, in backbone and neck.
        use_channel_attention: whether the backbone's CSP layers scale their channels.
        use_depthwise: whether backbone, neck and head are made of depthwise separable convolutions.
        hidden_act: activation everywhere.
        batch_norm_eps: epsilon of batch normalizations.
        neck_size: channels of the neck's outputs and of the head.
        num_neck_blocks: blocks in each CSP layer of the neck.
        num_head_layers: convolutions before the predictions.
        share_head_convolutions: whether the levels share the head's convolutions, with normalizations of their own.
        exponential_distances: whether the head predicts the logarithm of the distances to the sides of a box.
        prediction_kernel_size: size of the convolutions that predict.
        strides: strides of the feature levels in pixels; four of them make the backbone a P6, up to stride 64.
    """

    model_type = "rtmdet"
    default_num_labels = 80

    num_channels: int = 3
    depth_multiplier: float | int = 0.67
    width_multiplier: float | int = 0.75
    expand_ratio: float = 0.5
    use_channel_attention: bool = True
    use_depthwise: bool = False
    hidden_act: str = "silu"
    batch_norm_eps: float = 1e-5
    neck_size: int = 192
    num_neck_blocks: int = 2
    num_head_layers: int = 2
    share_head_convolutions: bool = True
    exponential_distances: bool = True
    prediction_kernel_size: int = 1
    strides: list[int] | tuple[int, ...] = (8, 16, 32)
