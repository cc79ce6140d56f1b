"""RTMO's head: what it says of every anchor point, and where the keypoints of the chosen ones are.

Source: `mmpose.models.heads.RTMOHead`, `mmpose.models.heads.hybrid_heads.rtmo_head.DCC`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfpose.models.rtmo.configuration_rtmo import RTMOConfig
from hfpose.models.rtmo.encoder_rtmo import ExactBuffers, SinePositions
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import conv_layer, conv_stack
from hfpose.models.shared.dense_prediction import ScorePrediction, by_level
from hfpose.models.shared.gated_attention import GatedAttentionUnit

# Logits beyond these are all the same to a softmax in half precision.
_LARGEST_LOGIT = 5e4


class RTMOAnchors(NamedTuple):
    """What the head says of all P anchor points of all levels, level by level, row by row.

    `logits` (B, P); `boxes` (B, P, 4) x1, y1, x2, y2 and `regressions` (B, P, 4) that they were made of;
    `keypoint_logits` (B, P, K); `pose_vectors` (B, P, C); for training alone `keypoints` (B, P, K, 2); `points`
    (P, 2) and `strides` (P,).
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
