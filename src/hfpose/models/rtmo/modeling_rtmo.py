"""RTMO: CSPDarknet features, a hybrid encoder, boxes and pose vectors at every anchor point, keypoints by
classification.

Source: Lu et al., 2023, https://arxiv.org/abs/2312.07526; `mmpose.models.heads.RTMOHead`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.output_capturing import capture_outputs

from hfpose.models.rtmo.configuration_rtmo import RTMOConfig
from hfpose.models.rtmo.encoder_rtmo import ExactBuffers, RTMOEncoder, RTMOSelfAttention
from hfpose.models.rtmo.head_rtmo import DynamicCoordinateClassifier, RTMOAnchors, RTMOHead
from hfpose.models.rtmo.loss_rtmo import rtmo_loss
from hfpose.models.shared.dense_prediction import (
    DensePredictionModel,
    anchor_points,
    decode_center_boxes,
    flatten_levels,
)
from hfpose.models.shared.detection_losses import pairwise_iou
from hfpose.models.shared.gated_attention import init_gated_attention
from hfpose.models.shared.image_model import EstimatorModel

# Rounds of suppression before candidates are chosen; an even number never drops one that exact suppression would keep.
_SUPPRESSION_ROUNDS = 4


@dataclass
class RTMOOutput(ModelOutput):
    """Output of [`RTMOForPoseEstimation`]: the candidates for instances, N of them, at most `config.max_instances`.
    Those that no better one overlaps come first, best first, then the others.

    Args:
        loss: scalar, where `labels` were given.
        logits: (B, N) score of an instance before the sigmoid.
        pred_boxes: (B, N, 4) x1, y1, x2, y2 in pixels of `pixel_values`; they may reach beyond its borders.
        pred_keypoints: (B, N, K, 2) x and y in these pixels.
        keypoint_logits: (B, N, K) score of each keypoint before the sigmoid.
        places: (B, N) index of each candidate among the anchor points of all levels, level by level, row by row.
        hidden_states: outputs of the encoder, where asked for.
        attentions: weights (B, heads, L, L) between the L places of the coarsest feature map, layer by layer, where
            asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    pred_keypoints: Tensor | None = None
    keypoint_logits: Tensor | None = None
    places: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def choose_candidates(logits: Tensor, boxes: Tensor, count: int, num_candidates: int, iou_threshold: float) -> Tensor:
    """Indices (B, N) of anchor points that may be instances, N at most `count`.

    Those of the best `num_candidates` that no better one suppresses come first, best first, then the others. A few
    rounds of suppression, instead of one box after the other, suppress a little less than exact suppression would,
    never more.

    Args:
        logits: (B, P).
        boxes: (B, P, 4) x1, y1, x2, y2.
        num_candidates: how many to compare with each other.
        iou_threshold: a box is suppressed when it overlaps a better one by more than this.
    """
    num_candidates = min(num_candidates, logits.shape[1])
    candidates = logits.topk(num_candidates, dim=1).indices
    chosen = take(boxes, candidates)
    better = torch.ones(num_candidates, num_candidates, dtype=torch.bool, device=boxes.device).triu(1)
    suppresses = (pairwise_iou(chosen, chosen) > iou_threshold) & better
    stays = torch.ones_like(candidates, dtype=torch.bool)
    for _ in range(_SUPPRESSION_ROUNDS):
        stays = ~(suppresses & stays[:, :, None]).any(1)
    ranks = torch.arange(num_candidates, device=boxes.device)
    order = (stays * num_candidates - ranks).topk(min(count, num_candidates), dim=1).indices
    return candidates.gather(1, order)


def take(values: Tensor, indices: Tensor) -> Tensor:
    """The rows of values (B, P, ...) at indices (B, N): (B, N, ...)."""
    index = indices.view(*indices.shape, *[1] * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


class RTMOForPoseEstimation(DensePredictionModel, EstimatorModel):
    """RTMO, which finds people and their keypoints in one pass.

    Example:

    ```python
    >>> from hfpose import RTMOForPoseEstimation, RTMOImageProcessor

    >>> model = RTMOForPoseEstimation.from_pretrained(folder)
    >>> processor = RTMOImageProcessor.from_pretrained(folder)
    >>> inputs = processor(image, return_tensors="pt")
    >>> people = processor.post_process_pose_estimation(model(**inputs), target_sizes=[(height, width)])
    ```
    """

    config: RTMOConfig
    base_model_prefix = "rtmo"
    _can_record_outputs = {"attentions": RTMOSelfAttention}
    _no_split_modules = ["CSPStage", "RTMOEncoder", "RTMOHead", "DynamicCoordinateClassifier"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.encoder = RTMOEncoder(self.config, channels)
        self.head = RTMOHead(self.config)
        self.classifier = DynamicCoordinateClassifier(self.config)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        init_gated_attention(module)
        if isinstance(module, ExactBuffers):
            for name, value in module.fresh_buffers().items():
                init.copy_(module.get_buffer(name), value)
        if isinstance(module, DynamicCoordinateClassifier):
            init.constant_(module.spread_scale, 0.1)

    @capture_outputs
    def forward(
        self,
        pixel_values: Tensor,
        labels: Sequence[Mapping[str, Tensor]] | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> RTMOOutput:
        """
        Args:
            pixel_values: (B, C, H, W) images, values from 0 to 255, H and W multiples of 32.
            labels: for each image the instances in it, in pixels of `pixel_values`: `boxes` (n, 4) x1, y1, x2, y2,
                `keypoints` (n, K, 2), `keypoint_weights` (n, K), 0 for those that are not labeled, and `areas` (n,),
                the area of each. They ask for the loss.
        """
        features = self.encoder(self.backbone(pixel_values).feature_maps)
        anchors = self.anchors(features, for_training=labels is not None)
        # Candidates for instances would spoil the statistics that training collects of true ones.
        instances: dict[str, Any] = {} if self.training and labels is not None else self._instances(anchors)
        return RTMOOutput(
            loss=None if labels is None else rtmo_loss(self.config, self.classifier, anchors, labels),
            **instances,
            hidden_states=self.states_if_asked(features, output_hidden_states),
        )

    def anchors(self, features: Sequence[Tensor], for_training: bool = False) -> RTMOAnchors:
        """What the head says of all anchor points of the encoder's outputs."""
        levels = self.head(features, with_offsets=for_training)
        points, scales = anchor_points(levels["logits"], self.config.strides)
        points = points + (scales[:, None] - 1) / 2  # the middle of the pixels that a cell stands for
        keypoints = None
        if for_training:
            offsets = flatten_levels(levels["offsets"]).float().unflatten(-1, (-1, 2))
            keypoints = offsets * scales[:, None, None] + points[:, None]
        regressions = flatten_levels(levels["boxes"]).float()
        return RTMOAnchors(
            logits=flatten_levels(levels["logits"])[..., 0],
            boxes=decode_center_boxes(regressions, points, scales),
            regressions=regressions,
            keypoint_logits=flatten_levels(levels["visibilities"]),
            pose_vectors=flatten_levels(levels["poses"]),
            keypoints=keypoints,
            points=points,
            strides=scales,
        )

    def _instances(self, anchors: RTMOAnchors) -> dict[str, Tensor]:
        """The fields of the output for the anchor points that may be instances."""
        config = self.config
        chosen = choose_candidates(
            anchors.logits, anchors.boxes, config.max_instances, config.num_candidates, config.nms_threshold
        )
        boxes, vectors = take(anchors.boxes, chosen), take(anchors.pose_vectors, chosen)
        found = self.classifier(vectors.flatten(0, 1), boxes.flatten(0, 1), anchors.points[chosen].flatten(0, 1))
        return {
            "logits": anchors.logits.gather(1, chosen),
            "pred_boxes": boxes,
            "pred_keypoints": found.keypoints.reshape(*chosen.shape, -1, 2),
            "keypoint_logits": take(anchors.keypoint_logits, chosen),
            "places": chosen,
        }
