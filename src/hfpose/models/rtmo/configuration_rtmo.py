from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import Numbers
from hfpose.models.shared.gated_attention import GatedAttentionConfig


@strict
class RTMOConfig(GatedAttentionConfig):
    """Configuration of [`RTMOForPoseEstimation`], see [`GatedAttentionConfig`]. The defaults are those of RTMO-s.

    Args:
        backbone_config: gives feature maps at strides 8, 16 and 32; default CSPDarknet-s.
        hidden_size: channels of the encoder.
        num_encoder_layers: transformer layers on the coarsest feature map.
        num_attention_heads: heads of their attention.
        intermediate_size: hidden channels of their feed-forward networks.
        encoder_act: activation of these.
        position_temperature: of the sines that tell the transformer layers where a token is.
        fusion_size: channels inside of the layers that fuse feature maps.
        num_fusion_blocks: blocks in each of them.
        fusion_act: activation of the convolutions of the encoder.
        head_size: channels of the score branch, and half of those that the encoder gives the head.
        pose_branch_size: channels of the pose branch.
        num_pose_groups: groups of its convolutions.
        num_head_layers: convolutions of the score branch; the pose branch has twice as many.
        hidden_act: activation of the head.
        batch_norm_eps: epsilon of the head's batch normalizations.
        strides: strides of the feature maps that the head takes, in pixels.
        pose_size: channels of the vector that describes a pose.
        token_size: channels of a keypoint's token.
        num_bins: bins of the padded box along x and y.
        bin_size: channels of the sines that tell where a bin is.
        bin_temperature: of these sines.
        box_padding: factor on the sides of a box before it is divided into bins.
        num_candidates: anchor points with the best scores that may become instances.
        max_instances: instances of an image, at most.
        nms_threshold: of the candidates those come first that no better one overlaps by more than this.
        assigns_by_keypoints: whether, in training, anchor points near the mean of the keypoints learn an instance,
            instead of those near the middle of its box.
        uses_pose_targets: whether, in training, scores and offsets learn what the coordinate classifier finds instead
            of the annotated keypoints, as in the second half of the reference's training.
        class_loss_weight, box_loss_weight, box_l1_loss_weight, oks_loss_weight, visibility_loss_weight,
            coordinate_loss_weight: weights of the losses; the defaults are those at the end of the reference's
                training.
        overlap_power: exponent on the similarity that a score has to learn.
        initializer_range: standard deviation of fresh linear layers.
    """

    model_type = "rtmo"
    default_backbone = {"model_type": "csp_darknet_backbone", "out_indices": [2, 3, 4]}

    hidden_size: int = 256
    num_encoder_layers: int = 1
    num_attention_heads: int = 8
    intermediate_size: int = 1024
    encoder_act: str = "gelu"
    position_temperature: float | int = 10000.0
    fusion_size: int = 128
    num_fusion_blocks: int = 1
    fusion_act: str = "silu"
    head_size: int = 128
    pose_branch_size: int = 144
    num_pose_groups: int = 8
    num_head_layers: int = 2
    hidden_act: str = "swish"
    batch_norm_eps: float = 1e-3
    strides: Numbers = (16, 32)
    pose_size: int = 256
    token_size: int = 128
    num_bins: list[int] | tuple[int, int] = (192, 256)
    bin_size: int = 128
    bin_temperature: float | int = 300.0
    box_padding: float = 1.25
    num_candidates: int = 300
    max_instances: int = 100
    nms_threshold: float = 0.65
    assigns_by_keypoints: bool = True
    uses_pose_targets: bool = True
    class_loss_weight: float = 1.0
    box_loss_weight: float = 5.0
    box_l1_loss_weight: float = 1.0
    oks_loss_weight: float = 10.0
    visibility_loss_weight: float = 1.0
    coordinate_loss_weight: float = 5.0
    overlap_power: float = 0.5
    initializer_range: float = 0.01
