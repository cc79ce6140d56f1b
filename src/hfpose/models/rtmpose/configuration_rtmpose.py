from huggingface_hub.dataclasses import strict

from hfpose.models.shared.gated_attention import GatedAttentionConfig


@strict
class RTMPoseConfig(GatedAttentionConfig):
    """
    Configuration of [`RTMPoseForPoseEstimation`], see [`GatedAttentionConfig`]. The defaults are those of RTMPose-m at
    256x192.

    Args:
        backbone_config: the backbone, whose last feature map has stride 32; default CSPNeXt-m.
        image_size: height and width of a crop in pixels.
        final_kernel_size: size of the convolution that gives each keypoint its feature map.
        hidden_size: size of a keypoint's token.
        simcc_split_ratio: bins per pixel of the SimCC outputs.
        simcc_sigma: standard deviations, in bins along x and y, of the targets in training.
        simcc_beta: factor on the outputs before the softmax of the loss.
        simcc_label_softmax: whether a softmax makes distributions of the targets.
        simcc_label_beta: factor on the targets before that softmax.
        simcc_label_normalize: whether the Gaussians of the targets are divided by their integral before that.
        simcc_label_smoothing: share of a target that lies outside of the keypoint's bin, evenly, where targets are no
            Gaussians; None for Gaussians.
        keypoint_loss_weights: weight of each keypoint in the loss. None: all 1.
        initializer_range: standard deviation of fresh linear layers.
    """

    model_type = "rtmpose"
    odd_sizes = ("final_kernel_size",)
    default_backbone = {"model_type": "cspnext_backbone"}

    image_size: list[int] | tuple[int, int] = (256, 192)
    final_kernel_size: int = 7
    hidden_size: int = 256
    simcc_split_ratio: float = 2.0
    simcc_sigma: list[float] | tuple[float, ...] = (4.9, 5.66)
    simcc_beta: float = 10.0
    simcc_label_softmax: bool = True
    simcc_label_beta: float = 10.0
    simcc_label_normalize: bool = False
    simcc_label_smoothing: float | None = None
    keypoint_loss_weights: list[float] | None = None
    initializer_range: float = 0.01
