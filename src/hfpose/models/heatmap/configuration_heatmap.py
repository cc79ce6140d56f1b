from typing import Literal

from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import Numbers
from hfpose.models.shared.heatmap_head import HeatmapHeadConfig
from hfpose.models.shared.heatmaps import QUARTER, RADIUS_FACTOR, Decoding


@strict
class HeatmapConfig(HeatmapHeadConfig):
    """
    Configuration of [`HeatmapForPoseEstimation`]. The defaults are those of SimpleBaseline with ResNet-50 at 256x192.

    Backbone, crops and the layers of the head are those of [`HeatmapHeadConfig`].

    Args:
        feature_map_indices: which feature maps of the backbone to use; None for all. Without
            `concatenate_feature_maps` the last of them goes to the head.
        concatenate_feature_maps: whether to resize all to the first one and to put their channels side by side.
        feature_map_relu: whether a ReLU follows.
        feature_map_scale: factor by which the feature map is then resized.
        head_type: `"single"`: one head for the selected feature map; `"stagewise"`: one such head for each feature map
            of the backbone, as convolutional pose machines and hourglasses have it; `"mspn"`: two convolutions for
            each. The last one's heatmaps are the model's, those of all make the loss.
        stage_kernel_sizes: cells of the Gaussian of `"megvii"` for each feature map in the loss; empty for
            `heatmap_kernel_size`.
        stage_loss_weights: weight of each feature map in the loss; empty for 1.
        stage_hard_keypoints: how many keypoints of each feature map count in the loss, those with the largest; 0 for
            all.
        predicts_visibility: whether a layer over the mean of the last feature map tells how likely each keypoint is
            visible.
        visibility_loss_weight: weight of its cross entropy in the loss.
        heatmap_sigma: standard deviation, in cells, of the targets in training.
        heatmap_encoding: how they are drawn, see `heatmap_targets`. It is the image processor's `heatmap_decoding`.
            With `"udp_combined"` each keypoint has three maps.
        heatmap_kernel_size: cells of the Gaussian of `"megvii"`.
        heatmap_radius_factor: radius of the disks of `"udp_combined"` relative to the longer side of the heatmaps.
    """

    model_type = "heatmap"

    feature_map_indices: Numbers | None = None
    concatenate_feature_maps: bool = False
    feature_map_relu: bool = False
    feature_map_scale: float | int = 1.0
    head_type: Literal["single", "stagewise", "mspn"] = "single"
    stage_kernel_sizes: Numbers = ()
    stage_loss_weights: list[float | int] | tuple[float | int, ...] = ()
    stage_hard_keypoints: Numbers = ()
    predicts_visibility: bool = False
    visibility_loss_weight: float = 1e-3
    heatmap_sigma: float | int = 2.0
    heatmap_encoding: Decoding = QUARTER
    heatmap_kernel_size: int = 11
    heatmap_radius_factor: float = RADIUS_FACTOR
