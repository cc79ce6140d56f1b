from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import ALL_BRANCHES, EstimatorConfig


@strict
class CIDConfig(EstimatorConfig):
    """Configuration of [`CIDForPoseEstimation`], see [`EstimatorConfig`]. The defaults are those of
    CID with HRNet-W32 for COCO.

    Args:
        backbone_config: the backbone, whose feature maps are concatenated; default HRNet-W32 with all its branches.
        instance_channels: channels of the features of which each instance gets a share.
        num_queries: best centers of an image that become instances.
        smoothing_kernel_size: cells over which the heatmap of centers is smoothed; odd.
        min_probability: probabilities are kept this far from 0 and 1.
        prior_probability: what a new model answers everywhere.
        heatmap_min_overlap: IoU that an instance's box keeps when a corner moves by three standard deviations of the
            Gaussians that are its targets in training.
        max_training_instances: most instances of an image that the loss of the instances' heatmaps looks at.
        instance_loss_weight: weight of that loss.
        contrastive_temperature: the features of the centers of an image are told apart by a softmax of their cosines
            over this.
    """

    model_type = "cid"
    odd_sizes = ("smoothing_kernel_size",)
    default_backbone = ALL_BRANCHES

    instance_channels: int = 32
    num_queries: int = 30
    smoothing_kernel_size: int = 3
    min_probability: float = 1e-4
    prior_probability: float = 0.01
    heatmap_min_overlap: float = 0.7
    max_training_instances: int = 30
    instance_loss_weight: float | int = 4.0
    contrastive_temperature: float = 0.05
