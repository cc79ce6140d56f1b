from typing import Literal

from huggingface_hub.dataclasses import strict

from hfpose.models.shared.heatmap_head import HeatmapHeadConfig


@strict
class RegressionConfig(HeatmapHeadConfig):
    """Configuration of [`RegressionForPoseEstimation`]. The defaults are those of DeepPose with ResNet-50 at 256x192.

    Backbone and crops are those of [`HeatmapHeadConfig`], and so are the layers between the feature map and the
    heatmaps of `"integral"` and `"dsnt"`.

    Args:
        head_type: `"coordinates"`: a fully connected layer (DeepPose); `"rle"`: one that gives a deviation for each
            coordinate too, trained by residual log-likelihood estimation; `"integral"`: means over heatmaps; `"dsnt"`:
            the same, whose heatmaps are trained as well.
        use_average_pooling: whether the fully connected layer sees the mean of the feature map, else all of its cells.
        feature_map_size: height and width of the backbone's feature map in cells.
        softmax_beta: factor on the heatmaps before their softmax.
        use_debiasing: whether what the softmax leaves at cells far off is taken out of the means.
        heatmap_sigma: standard deviation, in cells, of the targets of `"dsnt"`.
        heatmap_loss_type: `"divergence"`: heatmaps of `"dsnt"` are compared with these as distributions; `"mse"`: cell
            by cell.
    """

    model_type = "regression"

    head_type: Literal["coordinates", "rle", "integral", "dsnt"] = "coordinates"
    use_average_pooling: bool = True
    feature_map_size: list[int] | tuple[int, int] = (8, 6)
    softmax_beta: float | int = 1.0
    use_debiasing: bool = False
    heatmap_sigma: float | int = 2.0
    heatmap_loss_type: Literal["divergence", "mse"] = "divergence"
