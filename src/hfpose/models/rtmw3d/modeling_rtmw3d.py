"""RTMW3D: RTMW with SimCC outputs along depth too.

Source: Jiang et al., 2024, https://arxiv.org/abs/2407.08634; `projects/rtmpose3d` of MMPose, `RTMW3DHead`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hfpose.models.rtmpose.modeling_rtmpose import RTMPoseOutput
from hfpose.models.rtmw.modeling_rtmw import RTMWForPoseEstimation
from hfpose.models.rtmw3d.configuration_rtmw3d import RTMW3DConfig
from hfpose.models.shared.losses import simcc_divergence


@dataclass
class RTMW3DOutput(RTMPoseOutput):
    """Output of [`RTMW3DForPoseEstimation`].

    Args:
        simcc_z: (B, K, depth_size * simcc_split_ratio) response of each bin along depth, near ones first.
    """

    simcc_z: Tensor | None = None


class RTMW3DForPoseEstimation(RTMWForPoseEstimation):
    """
    RTMW3D; called as [`RTMPoseForPoseEstimation`], but that `labels` have a third value: the depth in meters relative
    to the hips, NaN where it is not known.

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation-3d", model="wholebody3d")
    >>> pipe("photo.jpg").keypoints  # (N, 133, 3) meters
    ```
    """

    config: RTMW3DConfig
    base_model_prefix = "rtmw3d"
    output_class = RTMW3DOutput
    output_names = ("simcc_x", "simcc_y", "simcc_z")
    num_dimensions = 3

    def num_bins(self) -> dict[str, int]:
        return {**super().num_bins(), "z": int(self.config.depth_size * self.config.simcc_split_ratio)}

    def loss(self, responses: Mapping[str, Tensor], labels: Tensor, keypoint_weights: Tensor) -> Tensor:
        """The divergence along depth is added to that along x and y; the reference adds a loss of bones to both."""
        config = self.config
        cells = (labels[..., 2] / config.depth_range + 1) * (config.depth_size / 2)
        is_known = cells.isfinite()
        along_z, is_inside = simcc_divergence(
            responses["simcc_z"],
            torch.where(is_known, cells, 0) * config.simcc_split_ratio,
            config.simcc_sigma[2],
            beta=config.simcc_beta,
            label_softmax=config.simcc_label_softmax,
            label_beta=config.simcc_label_beta,
            label_normalize=config.simcc_label_normalize,
        )
        weights = (is_known & is_inside) * keypoint_weights
        return super().loss(responses, labels[..., :2], keypoint_weights) + (along_z * weights).sum() / labels.shape[1]
