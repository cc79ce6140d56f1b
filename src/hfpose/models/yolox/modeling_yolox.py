"""YOLOX: CSPDarknet features, a path aggregation neck, a decoupled head with objectness.

Source: Ge et al., 2021, https://arxiv.org/abs/2107.08430; `mmdet.models.backbones.CSPDarknet`,
`mmdet.models.necks.YOLOXPAFPN`, `mmdet.models.dense_heads.YOLOXHead`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from hfpose.models.backbones.csp_darknet import CSPDarknetBackbone, CSPDarknetBackboneConfig, YOLOXNeck
from hfpose.models.shared.coco_labels import labels_in_pixels
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import conv_stack
from hfpose.models.shared.csp import csp_backbone_arguments
from hfpose.models.shared.dense_prediction import (
    DensePredictionModel,
    ScorePrediction,
    anchor_points,
    by_level,
    decode_center_boxes,
    flatten_levels,
)
from hfpose.models.yolox.configuration_yolox import YOLOXConfig
from hfpose.models.yolox.loss_yolox import yolox_loss


@dataclass
class YOLOXObjectDetectionOutput(ModelOutput):
    """
    Output of [`YOLOXForObjectDetection`]; see [`ObjectDetectionOutput`].

    Args:
        logits: (B, P, num_labels) score of each class before the sigmoid, given that there is an object.
        objectness: (B, P) score of there being an object, before the sigmoid.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    objectness: Tensor | None = None
    pred_boxes: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class YOLOXHead(nn.Module):
    """Class logits, boxes and objectness at every anchor point of every level."""

    def __init__(self, config: YOLOXConfig) -> None:
        super().__init__()
        size, levels = config.neck_size, range(len(config.strides))
        sizes = [size] * (config.num_head_layers + 1)

        def branch() -> nn.ModuleList:
            return nn.ModuleList(conv_stack(config, sizes, config.use_depthwise) for _ in levels)

        self.class_branch = branch()
        self.box_branch = branch()
        self.class_predictions = nn.ModuleList(ScorePrediction(size, label_count(config), 1) for _ in levels)
        self.box_predictions = nn.ModuleList(nn.Conv2d(size, 4, 1) for _ in levels)
        self.objectness_predictions = nn.ModuleList(ScorePrediction(size, 1, 1) for _ in levels)

    def forward(self, feature_maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """
        Args:
            feature_maps: of the neck.

        Returns:
            By level class logits (B, C, h, w), boxes (B, 4, h, w) as `decode_center_boxes` takes them, and objectness
            logits (B, 1, h, w).
        """
        classes, boxes = by_level(self.class_branch, feature_maps), by_level(self.box_branch, feature_maps)
        return (
            by_level(self.class_predictions, classes),
            by_level(self.box_predictions, boxes),
            by_level(self.objectness_predictions, boxes),
        )


class YOLOXForObjectDetection(DensePredictionModel):
    """YOLOX with its detection head; used as [`RTMDetForObjectDetection`]."""

    config: YOLOXConfig
    base_model_prefix = "yolox"
    _no_split_modules = ["YOLOXNeck", "YOLOXHead"]

    def __init__(self, config: YOLOXConfig) -> None:
        super().__init__(config)
        self.backbone = CSPDarknetBackbone(CSPDarknetBackboneConfig(**csp_backbone_arguments(config)))
        self.neck = YOLOXNeck(config, self.backbone.channels)
        self.head = YOLOXHead(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Sequence[Mapping[str, Tensor]] | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> YOLOXObjectDetectionOutput:
        """
        Args:
            pixel_values: (B, C, H, W) images, values from 0 to 255, H and W multiples of the coarsest stride.
            labels: for each image a dict of `class_labels` (n,) and `boxes` (n, 4), center x, center y, width and
                height in shares of the image, as transformers' object detection has them; n may be 0. Asks for the
                loss.
            output_hidden_states: whether to return the outputs of the neck.
        """
        features = self.neck(self.backbone(pixel_values).feature_maps)
        class_levels, box_levels, objectness_levels = self.head(features)
        points, strides = anchor_points(box_levels, self.config.strides)
        logits, objectness = flatten_levels(class_levels), flatten_levels(objectness_levels)[..., 0]
        regressions = flatten_levels(box_levels).float()
        boxes, loss = decode_center_boxes(regressions, points, strides), None
        if labels is not None:
            labels = labels_in_pixels(labels, pixel_values.shape[-2:])
            loss = yolox_loss(logits, objectness, boxes, regressions, points, strides, labels)
        return YOLOXObjectDetectionOutput(
            loss=loss,
            logits=logits,
            objectness=objectness,
            pred_boxes=boxes,
            hidden_states=self.states_if_asked(features, output_hidden_states),
        )
