"""RTMO: CSPDarknet features, a hybrid encoder, boxes and pose vectors at every anchor point, keypoints by
classification.

Source: Lu et al., 2023, https://arxiv.org/abs/2312.07526; `mmpose.models.heads.RTMOHead`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoBackbone
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.output_capturing import capture_outputs

from hfpose.models.rtmo.configuration_rtmo import RTMOConfig
from hfpose.models.rtmo.encoder_rtmo import ExactBuffers, RTMOEncoder, RTMOSelfAttention, SinePositions
from hfpose.models.rtmo.loss_rtmo import rtmo_loss
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import conv_layer, conv_stack
from hfpose.models.shared.dense_prediction import (
    DensePredictionModel,
    ScorePrediction,
    anchor_points,
    by_level,
    decode_center_boxes,
    flatten_levels,
)
from hfpose.models.shared.gated_attention import GatedAttentionUnit, init_gated_attention
from hfpose.models.shared.losses import pairwise_iou

# Rounds of suppression before candidates are chosen; an even number never drops one that exact suppression would keep.
_SUPPRESSION_ROUNDS = 4
# Logits beyond these are all the same to a softmax in half precision.
_LARGEST_LOGIT = 5e4


@dataclass
class RTMOOutput(ModelOutput):
    """
    Output of [`RTMOForPoseEstimation`]: the candidates for instances, N of them, at most `config.max_instances`.
    Those that no better one overlaps come first, best first, then the others.

    Args:
        loss: scalar, where `labels` were given.
        logits: (B, N) score of an instance before the sigmoid.
        pred_boxes: (B, N, 4) x1, y1, x2, y2 in pixels of `pixel_values`; they may reach beyond its borders.
        pred_keypoints: (B, N, K, 2) x and y in these pixels.
        keypoint_logits: (B, N, K) score of each keypoint before the sigmoid.
        places: (B, N) index of each candidate among the anchor points of all levels, level by level, row by row.
        hidden_states: outputs of the encoder, where asked for.
        attentions: weights (B, heads, L, L) between the L places of the coarsest feature map, layer by layer, where asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    pred_keypoints: Tensor | None = None
    keypoint_logits: Tensor | None = None
    places: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class RTMOAnchors(NamedTuple):
    """What the head says of all P anchor points of all levels, level by level, row by row.

    `logits` (B, P); `boxes` (B, P, 4) x1, y1, x2, y2 and `regressions` (B, P, 4) that they were made of;
    `keypoint_logits` (B, P, K); `pose_vectors` (B, P, C); for training alone `keypoints` (B, P, K, 2); `points` (P,
    2) and `strides` (P,).
    """

    logits: Tensor
    boxes: Tensor
    regressions: Tensor
    keypoint_logits: Tensor
    pose_vectors: Tensor
    keypoints: Tensor | None
    points: Tensor
    strides: Tensor


class RTMOHead(nn.Module):
    """Scores, boxes, visibilities and pose vectors at every anchor point of every level."""

    def __init__(self, config: RTMOConfig) -> None:
        super().__init__()
        keypoints, levels = label_count(config), range(len(config.strides))
        conv = conv_layer(config)
        size, pose_size = config.head_size, config.pose_branch_size
        self.score_branch = nn.ModuleList(conv_stack(config, [size] * (config.num_head_layers + 1)) for _ in levels)
        groups = [1, *[config.num_pose_groups] * (2 * config.num_head_layers - 1)]
        widths = [size, *[pose_size] * len(groups)]
        self.pose_branch = nn.ModuleList(
            nn.Sequential(
                *(conv(width, pose_size, 3, groups=count) for width, count in zip(widths, groups, strict=False))
            )
            for _ in levels
        )
        self.score_predictions = nn.ModuleList(ScorePrediction(size, 1, 1) for _ in levels)
        self.box_predictions = nn.ModuleList(nn.Conv2d(pose_size, 4, 1) for _ in levels)
        self.visibility_predictions = nn.ModuleList(nn.Conv2d(pose_size, keypoints, 1) for _ in levels)
        self.pose_predictions = nn.ModuleList(nn.Conv2d(pose_size, config.pose_size, 1) for _ in levels)
        # For training alone: poses that tell which anchor points an instance is assigned to.
        self.offset_predictions = nn.ModuleList(nn.Conv2d(pose_size, 2 * keypoints, 1) for _ in levels)

    def forward(self, feature_maps: Sequence[Tensor], with_offsets: bool = False) -> dict[str, list[Tensor]]:
        """
        Args:
            feature_maps: of the encoder, each (B, 2 * head_size, h, w): half for scores, half for poses.
            with_offsets: whether to predict `offsets`.

        Returns:
            By level `logits` (B, 1, h, w), `boxes` (B, 4, h, w) as `decode_center_boxes` takes them, `visibilities`
            (B, K, h, w), `poses` (B, C, h, w), and `offsets` (B, 2 * K, h, w) in units of the level's stride.
        """
        for_scores, for_poses = zip(*(features.chunk(2, dim=1) for features in feature_maps), strict=True)
        scores, poses = by_level(self.score_branch, for_scores), by_level(self.pose_branch, for_poses)
        return {
            "logits": by_level(self.score_predictions, scores),
            "boxes": by_level(self.box_predictions, poses),
            "visibilities": by_level(self.visibility_predictions, poses),
            "poses": by_level(self.pose_predictions, poses),
            "offsets": by_level(self.offset_predictions, poses) if with_offsets else [],
        }


class CoordinateDistributions(NamedTuple):
    """Where the K keypoints of N instances are.

    `keypoints` (N, K, 2), the expected positions in pixels; `x` (N, K, bins) and `y` (N, K, bins), the probabilities
    of the bins; `x_bins` (N, bins) and `y_bins` (N, bins), their positions in pixels.
    """

    keypoints: Tensor
    x: Tensor
    y: Tensor
    x_bins: Tensor
    y_bins: Tensor


class DynamicCoordinateClassifier(ExactBuffers):
    """Divides the padded box of an instance into bins along x and y, and tells in which one each keypoint is."""

    x_bins: Tensor
    y_bins: Tensor

    def __init__(self, config: RTMOConfig) -> None:
        super().__init__()
        self.num_tokens, self.token_size = label_count(config), config.token_size
        self.box_padding = config.box_padding
        self.num_bins = config.num_bins
        self.register_buffers()
        self.positions = SinePositions(config.bin_size, float(config.bin_temperature))
        tokens = self.num_tokens
        self.tokens = nn.Linear(config.pose_size, tokens * config.token_size)
        self.token_norm = nn.BatchNorm1d(tokens * config.token_size)
        self.attention = GatedAttentionUnit(config, config.token_size, num_tokens=tokens)
        self.x_encoding = nn.Linear(config.bin_size, config.token_size)
        self.y_encoding = nn.Linear(config.bin_size, config.token_size)
        # For training alone: how far a keypoint may be from where it is annotated.
        self.spread = nn.Linear(config.pose_size, tokens)
        self.spread_scale = nn.Parameter(torch.tensor(0.1))

    def fresh_buffers(self) -> dict[str, Tensor]:
        names = ("x_bins", "y_bins")
        return {name: torch.linspace(-0.5, 0.5, count) for name, count in zip(names, self.num_bins, strict=True)}

    def forward(self, pose_vectors: Tensor, boxes: Tensor, points: Tensor) -> CoordinateDistributions:
        """
        Args:
            pose_vectors: (N, C).
            boxes: (N, 4) x1, y1, x2, y2 in pixels.
            points: (N, 2) of the anchor points that the vectors are of; bins are encoded relative to them.
        """
        tokens = self._normalized(self.tokens(pose_vectors)).reshape(-1, self.num_tokens, self.token_size)
        tokens = self.attention(tokens)
        centers, sizes = (boxes[:, :2] + boxes[:, 2:]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * self.box_padding
        axes = []
        for axis, bins, encoding in ((0, self.x_bins, self.x_encoding), (1, self.y_bins, self.y_encoding)):
            offsets = bins * sizes[:, axis, None]
            relative = self.positions(offsets + (centers - points)[:, axis, None])
            # The projection of a few tokens instead of that of many bins; the sums are the same.
            logits = (tokens @ encoding.weight).float() @ relative.transpose(1, 2)
            logits = logits + (tokens @ encoding.bias).float()[..., None]
            probabilities = logits.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT).softmax(-1)
            axes.append((probabilities, offsets + centers[:, axis, None]))
        (x, x_places), (y, y_places) = axes
        expected = [(x * x_places[:, None]).sum(-1), (y * y_places[:, None]).sum(-1)]
        return CoordinateDistributions(torch.stack(expected, dim=-1), x, y, x_places, y_places)

    def _normalized(self, tokens: Tensor) -> Tensor:
        norm = self.token_norm
        if self.training and len(tokens) < 2:  # too few to have statistics of their own
            return F.batch_norm(tokens, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        return norm(tokens)

    def spreads(self, pose_vectors: Tensor) -> Tensor:
        """How uncertain each keypoint is (N, K), relative to the size of the instance."""
        return self.spread(pose_vectors).sigmoid() * self.spread_scale


def choose_candidates(logits: Tensor, boxes: Tensor, count: int, num_candidates: int, iou_threshold: float) -> Tensor:
    """Indices (B, N) of anchor points that may be instances, N at most `count`.

    Those of the best `num_candidates` that no better one suppresses come first, best first, then the others. A few
    rounds of suppression, instead of one box after the other, suppress a little less than exact suppression would,
    never more.

    Args:
        logits: (B, P).
        boxes: (B, P, 4) x1, y1, x2, y2.
        count: how many to choose.
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


class RTMOForPoseEstimation(DensePredictionModel):
    """
    RTMO, which finds people and their keypoints in one pass.

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

    def __init__(self, config: RTMOConfig) -> None:
        super().__init__(config)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
        self.encoder = RTMOEncoder(config, self.backbone.channels)
        self.head = RTMOHead(config)
        self.classifier = DynamicCoordinateClassifier(config)
        self.post_init()

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
            output_hidden_states: whether to return the outputs of the encoder.
        """
        features = self.encoder(self.backbone(pixel_values).feature_maps)
        anchors = self.anchors(features, for_training=labels is not None)
        # Candidates for instances would spoil the statistics that training collects of true ones.
        return RTMOOutput(
            loss=None if labels is None else rtmo_loss(self, anchors, labels),
            **({} if self.training and labels is not None else self._instances(anchors)),
            hidden_states=self.states_if_asked(features, output_hidden_states),
            attentions=None,  # what is asked for comes in when `forward` has ended
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
