from huggingface_hub.dataclasses import strict

from hfpose.models.rtmpose.configuration_rtmpose import RTMPoseConfig


@strict
class RTMWConfig(RTMPoseConfig):
    """Configuration of [`RTMWForPoseEstimation`]. The defaults are those of RTMW-m at 256x192.

    The settings of backbone, head and loss are those of [`RTMPoseConfig`]; the backbone gives feature maps at strides
    8, 16 and 32.

    Args:
        num_neck_blocks: blocks in each CSP layer of the neck.
        expand_ratio: share of a CSP layer's channels that goes through its blocks.
        use_depthwise: whether the neck is made of depthwise separable convolutions.
        hidden_act: activation of the neck.
        batch_norm_eps: epsilon of the neck's and the head's batch normalizations.
    """

    model_type = "rtmw"
    default_num_labels = 133
    merged_strides = (8, 32)

    num_neck_blocks: int = 2
    expand_ratio: float = 0.5
    use_depthwise: bool = False
    hidden_act: str = "silu"
    batch_norm_eps: float = 1e-5
    simcc_beta: float = 1.0
