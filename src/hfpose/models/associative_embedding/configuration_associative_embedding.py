from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import EstimatorConfig


@strict
class AssociativeEmbeddingConfig(EstimatorConfig):
    """Configuration of [`AssociativeEmbeddingForPoseEstimation`], see [`EstimatorConfig`]. The defaults are those
    with HRNet-W32 for COCO.

    Args:
        backbone_config: the backbone, whose last feature map is used; default HRNet-W32 with its first branch.
        tag_size: numbers that make a tag.
        final_kernel_size: size of the convolution that gives heatmaps and tags.
        heatmap_sigma: standard deviation, in cells, of the targets in training.
        tag_loss_weight: weight of the loss of the tags.
        push_factor: weight in it of the distance between the tags of different instances.
    """

    model_type = "associative_embedding"
    odd_sizes = ("final_kernel_size",)
    default_backbone = {"model_type": "hrnet_backbone"}

    tag_size: int = 1
    final_kernel_size: int = 1
    heatmap_sigma: float | int = 2.0
    tag_loss_weight: float = 0.001
    push_factor: float = 0.5
