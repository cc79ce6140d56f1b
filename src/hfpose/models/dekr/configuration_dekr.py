from typing import Any

from huggingface_hub.dataclasses import strict

from hfpose.errors import ConfigError
from hfpose.keypoints import schema_for_config
from hfpose.models.shared.configuration import ALL_BRANCHES, EstimatorConfig


@strict
class DEKRConfig(EstimatorConfig):
    """Configuration of [`DEKRForPoseEstimation`], see [`EstimatorConfig`]. The defaults are those of
    DEKR with HRNet-W32 for COCO.

    Args:
        backbone_config: the backbone, whose feature maps are concatenated; default HRNet-W32 with all its branches.
        heatmap_channels: channels of the branch that gives the heatmaps.
        displacement_channels: channels for each keypoint of the branch that gives the displacements.
        num_adaptive_layers: adaptive convolutions of that branch.
        num_queries: best centers of an image that become instances.
        center_kernel_size: a center has no greater response within this many cells; odd.
        rescoring_size: hidden units of the network that rates poses; 0 for a model without it.
        rescoring_links: two links of the skeleton, by index, whose mean length is the unit of length of that network.
        heatmap_sigma: standard deviations in cells of the targets of centers and of keypoints in training.
        background_weight: weight of cells that no target reaches.
        min_diagonal: instances whose keypoints span less than this many cells have no center in training.
        displacement_beta: error in cells from which the loss of displacements is linear.
        displacement_loss_weight: its weight.
    """

    model_type = "dekr"
    odd_sizes = ("center_kernel_size",)
    default_backbone = ALL_BRANCHES

    heatmap_channels: int = 32
    displacement_channels: int = 15
    num_adaptive_layers: int = 2
    num_queries: int = 30
    center_kernel_size: int = 5
    rescoring_size: int = 0
    rescoring_links: list[int] | tuple[int, int] = (5, 6)
    heatmap_sigma: list[float | int] | tuple[float | int, float | int] = (4.0, 2.0)
    background_weight: float | int = 0.1
    min_diagonal: float | int = 32**0.5
    displacement_beta: float = 1 / 9
    displacement_loss_weight: float = 0.002

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        num_links = len(schema_for_config(self).skeleton)
        if self.rescoring_size and max(self.rescoring_links) >= num_links:
            raise ConfigError(
                f"The rescoring network measures links {tuple(self.rescoring_links)} of the skeleton, but the "
                f"keypoint_schema has {num_links} links. Give the keypoint_schema that the model was trained with, or "
                "rescoring_size=0 for a model without that network."
            )
