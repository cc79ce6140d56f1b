"""SimCC estimators: a map for each keypoint, from which one distribution over x and one over y are read.

Source: Li et al., 2022, https://arxiv.org/abs/2107.03332; `mmpose.models.heads.SimCCHead`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor, nn

from hfpose.models.rtmpose.modeling_rtmpose import RTMPoseForPoseEstimation, RTMPoseOutput
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.heatmap_head import HeatmapHead
from hfpose.models.simcc.configuration_simcc import SimCCConfig


@dataclass
class SimCCOutput(RTMPoseOutput):
    """Output of [`SimCCForPoseEstimation`]; see [`RTMPoseOutput`]."""


class SimCCHead(nn.Module):
    """From a feature map (B, C, h, w) to SimCC outputs (B, K, bins) along x and y."""

    def __init__(self, config: SimCCConfig, in_channels: int) -> None:
        super().__init__()
        height, width = config.image_size
        # Each transposed convolution doubles height and width.
        cells = prod(config.feature_map_size) * 4 ** len(config.deconv_channels)
        self.maps = HeatmapHead(config, in_channels, label_count(config))
        self.classifier_x = nn.Linear(cells, int(width * config.simcc_split_ratio))
        self.classifier_y = nn.Linear(cells, int(height * config.simcc_split_ratio))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.maps(features).flatten(2)
        return self.classifier_x(maps), self.classifier_y(maps)


class SimCCForPoseEstimation(RTMPoseForPoseEstimation):
    """A backbone with a SimCC head. Arguments and outputs are those of [`RTMPoseForPoseEstimation`]."""

    config: SimCCConfig  # type: ignore[assignment]
    base_model_prefix = "simcc"
    output_class = SimCCOutput
    _no_split_modules = ["SimCCHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.head: nn.Module = SimCCHead(self.config, channels[-1])
