"""RTMDet: CSPNeXt features, a path aggregation neck, a head with normalizations per level.

Source: Lyu et al., 2022, https://arxiv.org/abs/2212.07784; `mmdet.models.necks.CSPNeXtPAFPN`,
`mmdet.models.dense_heads.RTMDetSepBNHead`.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN

from hfpose.models.backbones.cspnext import CSPNeXtBackbone, CSPNeXtBackboneConfig, CSPNeXtBlock
from hfpose.models.rtmdet.configuration_rtmdet import RTMDetConfig
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import conv_layer, conv_stack
from hfpose.models.shared.csp import PathAggregationNeck, csp_backbone_arguments
from hfpose.models.shared.dense_prediction import DenseDetector, ScorePrediction, anchor_points, flatten_levels
from hfpose.models.shared.detection import ObjectDetectionOutput
from hfpose.models.shared.detection_losses import detection_loss


class RTMDetObjectDetectionOutput(ObjectDetectionOutput):
    """Output of [`RTMDetForObjectDetection`]; see [`ObjectDetectionOutput`]."""


class SeparateConvBranch(nn.Module):
    """The feature map (B, C, h, w) of each level with layers of its own."""

    def __init__(self, levels: Iterable[nn.Module]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(self, hidden_state: Tensor, level: int) -> Tensor:
        return self.levels[level](hidden_state)


class SharedConvBranch(nn.Module):
    """The same convolutions for the feature maps (B, C, h, w) of all levels, with normalizations of their own."""

    def __init__(self, config: RTMDetConfig) -> None:
        super().__init__()
        size, depth = config.neck_size, config.num_head_layers
        self.convs = nn.ModuleList(nn.Conv2d(size, size, 3, padding=1, bias=False) for _ in range(depth))
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(size, eps=config.batch_norm_eps) for _ in range(depth))
            for _ in config.strides
        )
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_state: Tensor, level: int) -> Tensor:
        for conv, norm in zip(self.convs, self.norms[level].children(), strict=True):
            hidden_state = self.activation(norm(conv(hidden_state)))
        return hidden_state

    def without_sharing(self) -> SeparateConvBranch:
        """The same layers level by level, so that each level's normalizations can be folded into its convolutions."""
        return SeparateConvBranch(
            nn.Sequential(
                *(
                    layer
                    for pair in zip(self.convs, norms.children(), strict=True)
                    for layer in (*pair, self.activation)
                )
            )
            for norms in self.norms
        )


def _branch(config: RTMDetConfig) -> SharedConvBranch | SeparateConvBranch:
    if config.share_head_convolutions:
        return SharedConvBranch(config)
    sizes = [config.neck_size] * (config.num_head_layers + 1)
    return SeparateConvBranch(conv_stack(config, sizes, config.use_depthwise) for _ in config.strides)


class BoxPrediction(nn.Conv2d):
    """Predicts distances; a class of its own as `ScorePrediction` is."""


class RTMDetHead(nn.Module):
    """Class logits and distances to the four sides at every anchor point of every level."""

    def __init__(self, config: RTMDetConfig) -> None:
        super().__init__()
        self.class_branch = _branch(config)
        self.box_branch = _branch(config)

        size, kernel = config.neck_size, config.prediction_kernel_size
        self.class_predictions = nn.ModuleList(
            ScorePrediction(size, label_count(config), kernel, padding=kernel // 2) for _ in config.strides
        )
        self.box_predictions = nn.ModuleList(
            BoxPrediction(size, 4, kernel, padding=kernel // 2) for _ in config.strides
        )
        self.strides = config.strides
        self.exponential_distances = config.exponential_distances

    def forward(self, feature_maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """By level class logits (B, C, h, w), and distances (B, 4, h, w) in pixels from an anchor point to the left,
        upper, right and lower side of its box."""
        logits, distances = [], []
        for level, (features, stride) in enumerate(zip(feature_maps, self.strides, strict=True)):
            logits.append(self.class_predictions[level](self.class_branch(features, level)))
            sides = self.box_predictions[level](self.box_branch(features, level))
            distances.append((sides.exp() if self.exponential_distances else sides) * stride)
        return logits, distances


class RTMDetForObjectDetection(DenseDetector):
    """RTMDet with its detection head.

    Example:

    ```python
    >>> import hfpose, transformers

    >>> detector = transformers.pipeline("object-detection", model=folder)
    >>> detector("photo.jpg")
    ```
    """

    config: RTMDetConfig
    base_model_prefix = "rtmdet"
    output_class = RTMDetObjectDetectionOutput
    _no_split_modules = ["PathAggregationNeck", "RTMDetHead"]

    def __init__(self, config: RTMDetConfig) -> None:
        super().__init__(config)
        backbone_config = CSPNeXtBackboneConfig(
            use_channel_attention=config.use_channel_attention, **csp_backbone_arguments(config)
        )
        self.backbone = CSPNeXtBackbone(backbone_config)
        conv = conv_layer(config, config.use_depthwise)
        self.neck = PathAggregationNeck(
            config, self.backbone.channels, CSPNeXtBlock, lambda width: conv(width, config.neck_size, 3)
        )
        self.head = RTMDetHead(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, (ScorePrediction, BoxPrediction)):
            init.normal_(module.weight, std=0.01)

    def find(
        self, features: Sequence[Tensor], labels: Sequence[Mapping[str, Tensor]] | None
    ) -> dict[str, Tensor | None]:
        levels, distances = self.head(features)
        logits, sides = flatten_levels(levels), flatten_levels(distances)
        points, strides = anchor_points(levels, self.config.strides)
        boxes = torch.cat((points - sides[..., :2], points + sides[..., 2:]), dim=-1)
        loss = None if labels is None else detection_loss(logits, boxes, points, strides, labels)
        return {"loss": loss, "logits": logits, "pred_boxes": boxes}
