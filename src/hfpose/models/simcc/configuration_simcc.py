from huggingface_hub.dataclasses import strict

from hfpose.models.shared.heatmap_head import HeatmapHeadConfig


@strict
class SimCCConfig(HeatmapHeadConfig):
    """Configuration of [`SimCCForPoseEstimation`]. The defaults are those of ResNet-50 at 256x192.

    Backbone, crops and the layers between the feature map and the distributions are those of [`HeatmapHeadConfig`].

    Args:
        feature_map_size: height and width of the backbone's feature map in cells.
        simcc_split_ratio, simcc_sigma, simcc_beta, simcc_label_softmax, simcc_label_beta, simcc_label_normalize,
            simcc_label_smoothing, keypoint_loss_weights: see [`RTMPoseConfig`].
    """

    model_type = "simcc"

    feature_map_size: list[int] | tuple[int, int] = (8, 6)
    simcc_split_ratio: float | int = 2.0
    simcc_sigma: list[float | int] | tuple[float | int, float | int] = (6.0, 6.0)
    simcc_beta: float | int = 1.0
    simcc_label_softmax: bool = False
    simcc_label_beta: float | int = 10.0
    simcc_label_normalize: bool = True
    simcc_label_smoothing: float | int | None = None
    keypoint_loss_weights: list[float | int] | tuple[float | int, ...] | None = None
