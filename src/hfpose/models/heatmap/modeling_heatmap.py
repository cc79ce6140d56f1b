"""Heatmap estimators: the feature map of a backbone, enlarged by transposed convolutions, to a heatmap for each
keypoint.

Source: Xiao et al., 2018, https://arxiv.org/abs/1804.06208; `mmpose.models.heads.HeatmapHead`, `ViPNASHead`,
`CPMHead`, `MSPNHead` and `VisPredictHead`, `mmpose.models.necks.FeatureMapProcessor`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import ConvNormAct, concatenate_branches
from hfpose.models.shared.heatmap_head import HeatmapHead
from hfpose.models.shared.heatmaps import UDP_COMBINED
from hfpose.models.shared.image_model import EstimatorModel
from hfpose.models.shared.losses import combined_heatmap_loss, crop_labels, heatmap_loss, visibility_loss


@dataclass
class HeatmapOutput(ModelOutput):
    """Output of [`HeatmapForPoseEstimation`].

    Args:
        loss: scalar, where `labels` were given; see `heatmap_loss`.
        heatmaps: (B, K, h, w) responses; with `heatmap_encoding="udp_combined"` (B, 3 * K, h, w), for each keypoint a
            map of responses and the x and y offsets to it.
        visibilities: (B, K) with `predicts_visibility` how likely each keypoint is visible.
        hidden_states: feature maps of the backbone, where asked for.
        attentions: weights of the backbone's attention, where asked for.
    """

    loss: Tensor | None = None
    heatmaps: Tensor | None = None
    visibilities: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class FeatureMapSelection(nn.Module):
    """Chooses, joins and resizes feature maps [(B, C, h, w), ...] of the backbone for the head."""

    def __init__(self, config: HeatmapConfig) -> None:
        super().__init__()
        self.indices = config.feature_map_indices
        self.concatenates = config.concatenate_feature_maps
        self.has_relu = config.feature_map_relu
        self.scale = float(config.feature_map_scale)

    def out_channels(self, channels: Sequence[int]) -> int:
        """Channels of the result, from those of the backbone's feature maps."""
        selected = self._selected(channels)
        return sum(selected) if self.concatenates else selected[-1]

    def forward(self, feature_maps: Sequence[Tensor]) -> Tensor:
        feature_maps = self._selected(feature_maps)
        feature_map = concatenate_branches(feature_maps) if self.concatenates else feature_maps[-1]
        if self.has_relu:
            feature_map = feature_map.relu()
        if self.scale != 1:
            feature_map = F.interpolate(feature_map, scale_factor=self.scale, mode="bilinear")
        return feature_map

    def _selected(self, items: Sequence) -> Sequence:
        return items if self.indices is None else [items[index] for index in self.indices]


class StagewiseHeatmapHead(nn.Module):
    """A head for each feature map of the backbone.

    Args:
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


class HeatmapForPoseEstimation(EstimatorModel):
    """A backbone with a heatmap head; used as [`RTMPoseForPoseEstimation`]."""

    config: HeatmapConfig
    base_model_prefix = "heatmap"
    conv_std = 0.001
    _no_split_modules = ["HeatmapHead", "MSPNHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        config = self.config
        self.neck = FeatureMapSelection(config)
        num_maps = label_count(config) * (3 if config.heatmap_encoding == UDP_COMBINED else 1)
        if config.head_type == "single":
            self.head: nn.Module = HeatmapHead(config, self.neck.out_channels(channels), num_maps)
        else:
            multi_stage_head = StagewiseHeatmapHead if config.head_type == "stagewise" else MSPNHead
            self.head = multi_stage_head(config, channels, num_maps)
        self.visibility = nn.Linear(channels[-1], label_count(config)) if config.predicts_visibility else None

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        keypoint_weights: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: object,
    ) -> HeatmapOutput:
        """See `TopDownModel.forward`; `output_attentions` asks for the weights of the backbone's attention."""
        wants_states = self.wants_states(output_hidden_states)
        wants_weights = self.config.output_attentions if output_attentions is None else output_attentions
        features = self.backbone(
            pixel_values, output_hidden_states=wants_states, output_attentions=wants_weights, return_dict=True
        )
        if self.config.head_type == "single":
            stages = [self.head(self.neck(features.feature_maps))]
        else:
            stages = self.head(features.feature_maps, only_last=labels is None)
        visibility_logits = None
        if self.visibility is not None:
            visibility_logits = self.visibility(features.feature_maps[-1].mean((2, 3)))
        loss = None
        if labels is not None:
            shape = (len(pixel_values), label_count(self.config), 2)
            labels, keypoint_weights = crop_labels(labels, keypoint_weights, shape)
            loss = self._loss(stages, labels, keypoint_weights, pixel_values.shape[2:])
            if visibility_logits is not None:
                visible = (keypoint_weights > 0).float()
                loss = loss + self.config.visibility_loss_weight * visibility_loss(visibility_logits.float(), visible)
        return HeatmapOutput(
            loss=loss,
            heatmaps=stages[-1],
            visibilities=None if visibility_logits is None else visibility_logits.sigmoid(),
            hidden_states=features.hidden_states,
            attentions=features.attentions,
        )

    def _loss(
        self, stages: Sequence[Tensor], labels: Tensor, keypoint_weights: Tensor, image_size: Sequence[int]
    ) -> Tensor:
        """Of the heatmaps of all stages, the last of which are the model's."""
        config = self.config
        if config.heatmap_encoding == UDP_COMBINED:
            return combined_heatmap_loss(
                stages[-1], labels, keypoint_weights, image_size=image_size, radius_factor=config.heatmap_radius_factor
            )
        kernel_sizes = config.stage_kernel_sizes or [config.heatmap_kernel_size] * len(stages)
        weights = config.stage_loss_weights or [1.0] * len(stages)
        counts = config.stage_hard_keypoints or [0] * len(stages)
        total = labels.new_zeros(())
        for heatmaps, kernel_size, weight, count in zip(stages, kernel_sizes, weights, counts, strict=True):
            total = total + weight * heatmap_loss(
                heatmaps,
                labels,
                keypoint_weights,
                image_size=image_size,
                sigma=config.heatmap_sigma,
                encoding=config.heatmap_encoding,
                kernel_size=kernel_size,
                hard_keypoints=count,
            )
        return total
