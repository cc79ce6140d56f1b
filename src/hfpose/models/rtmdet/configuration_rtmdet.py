from huggingface_hub.dataclasses import strict

from hfpose.models.shared.csp import CSPDetectorConfig


@strict
class RTMDetConfig(CSPDetectorConfig):
    """Configuration of [`RTMDetForObjectDetection`], see [`CSPDetectorConfig`]. The defaults are those of RTMDet-m.

    Args:
        use_channel_attention: whether the backbone's CSP layers scale their channels.
        share_head_convolutions: whether the levels share the head's convolutions, with normalizations of their own.
        exponential_distances: whether the head predicts the logarithm of the distances to the sides of a box.
        prediction_kernel_size: size of the convolutions that predict.
    """

    model_type = "rtmdet"
    odd_sizes = ("prediction_kernel_size",)

    depth_multiplier: float | int = 0.67
    width_multiplier: float | int = 0.75
    neck_size: int = 192
    num_neck_blocks: int = 2
    use_channel_attention: bool = True
    share_head_convolutions: bool = True
    exponential_distances: bool = True
    prediction_kernel_size: int = 1
