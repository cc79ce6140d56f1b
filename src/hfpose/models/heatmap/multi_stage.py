"""Heads of networks of several stages, each of which gives heatmaps; those of the last one are the model's.

Source: `mmpose.models.heads.CPMHead` and `MSPNHead`.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.shared.convolution import ConvNormAct
from hfpose.models.shared.heatmap_head import HeatmapHead


class StagewiseHeatmapHead(nn.Module):
    """A head for each feature map of the backbone.

    Args:
        channels: of the feature maps.
        num_maps: number of heatmaps of a stage.
    """

    def __init__(self, config: HeatmapConfig, channels: Sequence[int], num_maps: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(self.make_stage(config, count, num_maps) for count in channels)

    def make_stage(self, config: HeatmapConfig, channels: int, num_maps: int) -> nn.Module:
        """The head of one feature map."""
        return HeatmapHead(config, channels, num_maps)

    def forward(self, feature_maps: Sequence[Tensor], only_last: bool = False) -> list[Tensor]:
        """Heatmaps (B, num_maps, h, w) of each stage, or a list of those of the last one."""
        first = len(feature_maps) - 1 if only_last else 0
        return [head(each) for head, each in zip(list(self.stages)[first:], feature_maps[first:], strict=True)]


class MSPNHead(StagewiseHeatmapHead):
    """For each feature map two convolutions, whose result is brought to the size of the last feature map."""

    def make_stage(self, config: HeatmapConfig, channels: int, num_maps: int) -> nn.Module:
        return nn.Sequential(
            ConvNormAct(channels, channels, 1, hidden_act=config.hidden_act),
            ConvNormAct(channels, num_maps, 3, hidden_act=None),
        )

    def forward(self, feature_maps: Sequence[Tensor], only_last: bool = False) -> list[Tensor]:
        size, stages = feature_maps[-1].shape[2:], super().forward(feature_maps, only_last)
        return [F.interpolate(maps, size=size, mode="bilinear", align_corners=True) for maps in stages]
