from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import EstimatorConfig, Numbers


@strict
class YOLOXPoseConfig(EstimatorConfig):
    """
    Configuration of [`YOLOXPoseForPoseEstimation`], see [`EstimatorConfig`]. The defaults are those of YOLOX-Pose-s.

    Args:
        backbone_config: gives feature maps at strides 8, 16 and 32; default CSPDarknet-s.
        neck_size: channels of the neck's outputs.
        num_neck_blocks: blocks in each CSP layer of the neck.
        expand_ratio: share of a CSP layer's channels that goes through its blocks.
        use_depthwise: whether the neck is made of depthwise separable convolutions.
        head_size: channels of the head.
        num_head_layers: convolutions before scores and boxes; there are twice as many before keypoints.
        hidden_act: activation of neck and head.
        batch_norm_eps: epsilon of their batch normalizations.
        strides: strides of the feature maps in pixels.
        class_loss_weight, objectness_loss_weight, box_loss_weight, box_l1_loss_weight, oks_loss_weight,
            visibility_loss_weight: weights of the losses; the defaults are those at the end of the reference's
            training.
        overlap_power: exponent on the similarity that a score has to learn.
        initializer_range: standard deviation of fresh linear layers.
    """

    model_type = "yolox_pose"
    default_backbone = {"model_type": "csp_darknet_backbone", "out_indices": [2, 3, 4]}

    neck_size: int = 128
    num_neck_blocks: int = 1
    expand_ratio: float = 0.5
    use_depthwise: bool = False
    head_size: int = 128
    num_head_layers: int = 2
    hidden_act: str = "swish"
    batch_norm_eps: float = 1e-3
    strides: Numbers = (8, 16, 32)
    class_loss_weight: float = 1.0
    objectness_loss_weight: float = 1.0
    box_loss_weight: float = 5.0
    box_l1_loss_weight: float = 1.0
    oks_loss_weight: float = 30.0
    visibility_loss_weight: float = 1.0
    overlap_power: float = 0.5
    initializer_range: float = 0.02
