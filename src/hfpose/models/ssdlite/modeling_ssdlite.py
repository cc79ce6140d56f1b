"""SSDLite with MobileNetV2: inverted residuals, extra coarse levels, anchors of several shapes at every anchor point.

Source: SSD (Liu et al., 2015, https://arxiv.org/abs/1512.02325) and MobileNetV2 (Sandler et al., 2018,
https://arxiv.org/abs/1801.04381); `mmdet.models.backbones.MobileNetV2`, `mmdet.models.necks.SSDNeck`,
`mmdet.models.dense_heads.SSDHead`, `SSDAnchorGenerator`, `DeltaXYWHBBoxCoder`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from hfpose.models.backbones.mobilenet_v2 import (
    MobileNetV2Backbone,
    MobileNetV2BackboneConfig,
    stage_channels,
    stage_strides,
)
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import conv_layer
from hfpose.models.shared.dense_prediction import anchor_points, by_level, flatten_levels
from hfpose.models.shared.detection import ObjectDetectionOutput
from hfpose.models.shared.image_model import Untrainable
from hfpose.models.ssdlite.configuration_ssdlite import SSDLiteConfig

# A box is at most this many times as wide or high as its anchor, and at least one over it.
MAX_SIZE_RATIO = 1000 / 16


class SSDLiteObjectDetectionOutput(ObjectDetectionOutput):
    """Output of [`SSDLiteForObjectDetection`]; see [`ObjectDetectionOutput`]. P counts anchors, those of one anchor
    point next to each other.

    Args:
        logits: (B, P, num_labels + 1) score of each class and, last, of the background, before the softmax.
    """


class SSDLiteNeck(nn.Module):
    """Adds levels (B, C, h, w), each made from the one before."""

    def __init__(self, config: SSDLiteConfig) -> None:
        super().__init__()
        conv, depthwise = conv_layer(config), conv_layer(config, use_depthwise=True)
        self.extra_layers = nn.ModuleList()
        channels = level_channels(config)[len(config.backbone_stages) - 1]
        for size, stride in zip(config.extra_level_sizes, config.extra_level_strides, strict=True):
            layers = conv(channels, size // 2, 1), depthwise(size // 2, size, 3, stride)
            self.extra_layers.append(nn.Sequential(*layers))
            channels = size

    def forward(self, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        levels = list(feature_maps)
        for layer in self.extra_layers:
            levels.append(layer(levels[-1]))
        return levels


def level_channels(config: SSDLiteConfig) -> list[int]:
    """Channels of the feature levels, finest first."""
    widths = stage_channels(config.width_multiplier)
    return [*(widths[index] for index in config.backbone_stages), *config.extra_level_sizes]


def level_strides(config: SSDLiteConfig) -> list[int]:
    """Strides in pixels of the feature levels, which need not be the distances between their anchors."""
    strides = [stage_strides()[index] for index in config.backbone_stages]
    for stride in config.extra_level_strides:
        strides.append(strides[-1] * stride)
    return strides


class AnchorPrediction(nn.Conv2d):
    """Predicts values of anchors. A class of its own because transformers initializes only modules with parameters."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)


class SSDLiteHead(nn.Module):
    """Class logits and boxes for every anchor of every anchor point of every level."""

    def __init__(self, config: SSDLiteConfig) -> None:
        super().__init__()
        conv = conv_layer(config)

        def predictions(values_per_anchor: int) -> nn.ModuleList:
            return nn.ModuleList(
                nn.Sequential(
                    conv(channels, channels, 3, groups=channels),
                    AnchorPrediction(channels, num_anchors * values_per_anchor),
                )
                for channels, num_anchors in zip(level_channels(config), config.anchors_per_place, strict=True)
            )

        self.class_predictions = predictions(label_count(config) + 1)
        self.box_predictions = predictions(4)

    def forward(self, feature_maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """By level class logits (B, A * (num_labels + 1), h, w) and boxes (B, A * 4, h, w) as `decode_boxes` takes
        them, of the A anchors of each anchor point."""
        return by_level(self.class_predictions, feature_maps), by_level(self.box_predictions, feature_maps)


def anchor_shapes(min_size: float, max_size: float, ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Width and height in pixels of the anchors of one anchor point, in the order of the outputs."""
    between = math.sqrt(min_size * max_size)
    shapes = [(float(min_size), float(min_size)), (between, between)]
    for ratio in ratios:
        longer, shorter = min_size * math.sqrt(ratio), min_size / math.sqrt(ratio)
        shapes += [(longer, shorter), (shorter, longer)]
    return shapes


def make_anchors(config: SSDLiteConfig, levels: Sequence[Tensor]) -> Tensor:
    """Anchors (P, 4) as center x, center y, width, height in pixels, for feature maps [(B, C, h, w), ...]."""
    anchors = []
    for level, stride, min_size, max_size, ratios in zip(
        levels, config.strides, config.anchor_min_sizes, config.anchor_max_sizes, config.anchor_ratios, strict=True
    ):
        centers = anchor_points([level], [stride])[0] + stride / 2
        shapes = anchor_shapes(min_size, max_size, ratios)
        sizes = torch.tensor(shapes, dtype=centers.dtype, device=level.device)
        pairs = (centers[:, None].expand(-1, len(sizes), 2), sizes[None].expand(centers.shape[0], -1, 2))
        anchors.append(torch.cat(pairs, dim=-1).flatten(0, 1))
    return torch.cat(anchors)


def decode_boxes(regressions: Tensor, anchors: Tensor, scales: Sequence[float]) -> Tensor:
    """Boxes (B, P, 4) x1, y1, x2, y2 in pixels.

    Args:
        regressions: (B, P, 4) offset of a box's center from that of its anchor in units of the anchor's width and
            height, and the logarithm of its width and height in the same units; all divided by `scales`.
        anchors: (P, 4), see `make_anchors`.
        scales: factors on the four values.
    """
    offsets, log_sizes = (regressions.float() * torch.tensor(scales, device=regressions.device)).chunk(2, dim=-1)
    anchor_centers, anchor_sizes = anchors.chunk(2, dim=-1)
    limit = math.log(MAX_SIZE_RATIO)
    centers = anchor_centers + offsets * anchor_sizes
    sizes = anchor_sizes * log_sizes.clamp(-limit, limit).exp()
    return torch.cat((centers - sizes / 2, centers + sizes / 2), dim=-1)


class SSDLiteForObjectDetection(Untrainable):
    """SSDLite with its detection head; used as [`RTMDetForObjectDetection`]."""

    config: SSDLiteConfig
    base_model_prefix = "ssdlite"
    _no_split_modules = ["InvertedResidual", "SSDLiteNeck", "SSDLiteHead"]

    def __init__(self, config: SSDLiteConfig) -> None:
        super().__init__(config)
        names = ("num_channels", "hidden_act", "batch_norm_eps", "width_multiplier")
        arguments = {name: getattr(config, name) for name in names}
        arguments["out_indices"] = [index + 1 for index in config.backbone_stages]  # index 0 is the stem
        self.backbone = MobileNetV2Backbone(MobileNetV2BackboneConfig(**arguments))
        self.neck = SSDLiteNeck(config)
        self.head = SSDLiteHead(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AnchorPrediction):
            init.normal_(module.weight, std=0.001)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @can_return_tuple
    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool | None = None, **kwargs: object
    ) -> SSDLiteObjectDetectionOutput:
        """
        Args:
            pixel_values: (B, C, H, W) normalized images.
        """
        features = self.neck(self.backbone(pixel_values, return_dict=True).feature_maps)
        logits, regressions = self.head(features)
        anchors = make_anchors(self.config, regressions)
        return SSDLiteObjectDetectionOutput(
            logits=flatten_levels(logits, label_count(self.config) + 1),
            pred_boxes=decode_boxes(flatten_levels(regressions, 4), anchors, self.config.box_scales),
            hidden_states=self.states_if_asked(features, output_hidden_states),
        )
