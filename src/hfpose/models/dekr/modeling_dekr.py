"""DEKR: a heatmap of people's centers, and from each place the displacements to all keypoints of its person.

Source: Geng et al., 2021, https://arxiv.org/abs/2104.02300; `mmpose.models.heads.DEKRHead`, `mmpose.codecs.SPR`,
`mmcv.ops.DeformConv2d`, `mmpose.models.losses.KeypointMSELoss` and `SoftWeightSmoothL1Loss`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from hfpose.keypoints import schema_for_config
from hfpose.models.dekr.configuration_dekr import DEKRConfig
from hfpose.models.shared.bottom_up import best_cells, cell_grid, heatmap_peaks
from hfpose.models.shared.bottom_up_model import BottomUpModel, TrueInstances, merged_gaussians
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import MLP, ConvNormAct, ResidualBlock
from hfpose.models.shared.heatmaps import flip_maps

KERNEL_SIZE = 3
TAPS = KERNEL_SIZE**2


@dataclass
class DEKROutput(ModelOutput):
    """Output of [`DEKRForPoseEstimation`]. N counts the best centers of an image, best first.

    Args:
        loss: scalar, where `labels` were given; see `dekr_loss`.
        pred_keypoints: (B, N, K, 2) x and y in pixels of `pixel_values`.
        keypoint_scores: (B, N, K) response of the keypoint's heatmap there.
        center_scores: (B, N) response of the center's heatmap, 0 where there are no more centers.
        pose_scores: (B, N) rating of each pose, 1 for a model without rescoring network.
        places: (B, N) index of each center's cell, row by row.
        heatmaps: (B, K + 1, h, w) responses of keypoints and, last, of centers.
        displacements: (B, 2K, h, w) x and y from each cell to each keypoint of its person, in cells.
        hidden_states: feature maps of the backbone, where asked for.
    """

    loss: Tensor | None = None
    pred_keypoints: Tensor | None = None
    keypoint_scores: Tensor | None = None
    center_scores: Tensor | None = None
    pose_scores: Tensor | None = None
    places: Tensor | None = None
    heatmaps: Tensor | None = None
    displacements: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class DEKRAdaptiveConv(nn.Module):
    """A 3x3 convolution that looks at places of its own choice, group by group, with a residual connection.

    At each cell an affine matrix, predicted by a convolution, moves the nine places that the convolution looks at.

    Args:
        groups: of channels that do not mix; one for each keypoint.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.transform = nn.Conv2d(channels, 6 * groups, KERNEL_SIZE, padding=1, groups=groups)
        self.conv = nn.Conv2d(channels, channels, KERNEL_SIZE, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, hidden_state: Tensor) -> Tensor:
        batch, channels, height, width = hidden_state.shape
        places = self._places(self.transform(hidden_state).float())
        # In half precision a place would be off by half a cell.
        values = F.grid_sample(
            hidden_state.float().reshape(batch * self.groups, -1, height, width),
            places.reshape(batch * self.groups, TAPS * height, width, 2),
            align_corners=False,
        ).to(hidden_state.dtype)
        values = values.reshape(batch, self.groups, channels // self.groups * TAPS, height * width)
        weight = self.conv.weight.reshape(self.groups, channels // self.groups, -1)
        moved = (weight @ values).reshape(batch, channels, height, width)
        return (self.norm(moved) + hidden_state).relu()

    def _places(self, transforms: Tensor) -> Tensor:
        """Where each cell looks, as `grid_sample` takes it.

        Args:
            transforms: (B, 6 * groups, h, w) matrices of two rows (y, x) and three columns (y, x, 1).

        Returns:
            (B, groups, 9, h, w, 2) x and y, -1 to 1 from one border of the map to the other.
        """
        batch, _, height, width = transforms.shape
        steps = torch.arange(KERNEL_SIZE, dtype=transforms.dtype, device=transforms.device) - KERNEL_SIZE // 2
        taps = torch.stack((steps.repeat_interleave(KERNEL_SIZE), steps.repeat(KERNEL_SIZE)))  # (2, 9) y and x
        matrices = transforms.reshape(batch, self.groups, 2, 3, height * width)
        offsets = taps.t() @ matrices[:, :, :, :2] + matrices[:, :, :, 2:]  # (B, groups, 2, 9, h * w)
        offsets = (offsets + taps[:, :, None]).reshape(batch, self.groups, 2, TAPS, height, width)
        x, y = cell_grid(height, width, transforms.device).unbind(-1)
        x, y = x + offsets[:, :, 1], y + offsets[:, :, 0]
        return torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)


class DEKRRescoring(MLP):
    """Rates a pose by the lengths and directions of its links and the scores of its keypoints."""

    def __init__(self, config: DEKRConfig) -> None:
        links, size = schema_for_config(config).skeleton, config.rescoring_size
        super().__init__(3 * len(links) + label_count(config), size, size, 1)
        self.links, self.unit_links = links, list(config.rescoring_links)

    def forward(self, keypoints: Tensor, keypoint_scores: Tensor) -> Tensor:  # type: ignore[override]
        """Rating (B, N) of poses (B, N, K, 2) in pixels of the network input with scores (B, N, K)."""
        starts, ends = ([link[end] for link in self.links] for end in (0, 1))
        links = keypoints[:, :, starts] - keypoints[:, :, ends]
        lengths = links.norm(dim=-1)
        unit = lengths[:, :, self.unit_links].mean(-1, keepdim=True).clamp(min=1)
        features = torch.cat((links.flatten(2) / unit, lengths / unit, keypoint_scores), dim=-1)
        features = features.to(next(self.parameters()).dtype)
        return super().forward(features).squeeze(-1).nan_to_num(0.0)


class DEKRHead(nn.Module):
    """From the features (B, C, h, w) to heatmaps (B, K + 1, h, w) and displacements (B, 2K, h, w)."""

    def __init__(self, config: DEKRConfig, in_channels: int) -> None:
        super().__init__()
        keypoints, channels = label_count(config), config.heatmap_channels
        self.heatmaps = nn.Sequential(
            ConvNormAct(in_channels, channels, 1, hidden_act="relu"),
            ResidualBlock(channels, channels),
            nn.Conv2d(channels, keypoints + 1, 1),
        )
        channels = keypoints * config.displacement_channels
        self.displacements = nn.Sequential(
            ConvNormAct(in_channels, channels, 1, hidden_act="relu"),
            *(DEKRAdaptiveConv(channels, keypoints) for _ in range(config.num_adaptive_layers)),
            nn.Conv2d(channels, 2 * keypoints, 1, groups=keypoints),
        )
        self.rescoring = DEKRRescoring(config) if config.rescoring_size else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.heatmaps(features), self.displacements(features)


class DEKRForPoseEstimation(BottomUpModel):
    """DEKR with its heads for heatmaps and displacements, and its rescoring network; used as
    [`RTMOForPoseEstimation`]."""

    config: DEKRConfig
    base_model_prefix = "dekr"
    output_class = DEKROutput
    _no_split_modules = ["HRNetStage", "DEKRHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.head = DEKRHead(self.config, sum(channels))

    def find(
        self, features: Tensor, stride: float, true: TrueInstances | None, flip_test: bool
    ) -> dict[str, Tensor | None]:
        heatmaps, displacements = self.head(features)
        if flip_test:
            heatmaps, displacements = self._merge_flipped(heatmaps, displacements, stride)
        keypoints, keypoint_scores, center_scores, places = self._poses(heatmaps.float(), displacements.float())
        keypoints = keypoints * stride
        rescoring = self.head.rescoring
        return {
            "loss": None if true is None else dekr_loss(self.config, heatmaps, displacements, true),
            "pred_keypoints": keypoints,
            "keypoint_scores": keypoint_scores,
            "center_scores": center_scores,
            "pose_scores": rescoring(keypoints, keypoint_scores) if rescoring else torch.ones_like(center_scores),
            "places": places,
            "heatmaps": heatmaps,
            "displacements": displacements,
        }

    def _merge_flipped(self, heatmaps: Tensor, displacements: Tensor, stride: float) -> tuple[Tensor, Tensor]:
        """Means of the maps (2B, ...) of images and of flipped images.

        The heatmaps are moved by a cell, and displacements along x lengthened by what that leaves.
        """
        flip_indices = self.flip_indices
        heatmaps, flipped = heatmaps.chunk(2)
        flipped = flip_maps(flipped, [*flip_indices, len(flip_indices)], shift=True)
        displacements, others = (part.unflatten(1, (-1, 2)) for part in displacements.chunk(2))
        others = others[:, flip_indices].flip(-1)
        others = torch.stack(((stride - 1) / stride - others[:, :, 0], others[:, :, 1]), dim=2)
        return (heatmaps + flipped) / 2, (displacements + others).flatten(1, 2) / 2

    def _poses(self, heatmaps: Tensor, displacements: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Poses (B, N, K, 2) in cells around the best centers, scores (B, N, K) of keypoints and (B, N) of centers,
        and the indices (B, N) of the centers' cells."""
        height, width = heatmaps.shape[-2:]
        centers = heatmap_peaks(heatmaps[:, -1:], self.config.center_kernel_size)
        center_scores, cells = best_cells(centers, self.config.num_queries)
        moves = displacements.flatten(2).gather(2, cells[:, None].expand(-1, displacements.shape[1], -1))
        moves = moves.transpose(1, 2).unflatten(2, (-1, 2))  # (B, N, K, 2)
        keypoints = moves + cell_grid(height, width, cells.device).flatten(0, 1)[cells][:, :, None]
        return keypoints, _responses(heatmaps[:, :-1], keypoints), center_scores, cells


def _responses(heatmaps: Tensor, keypoints: Tensor) -> Tensor:
    """Responses (B, N, K) of the heatmaps (B, K, h, w) at keypoints (B, N, K, 2) in cells.

    As in the reference, the outermost cells are taken to lie on the borders, which moves places by up to half a cell.
    """
    height, width = heatmaps.shape[-2:]
    x, y = keypoints.transpose(1, 2).unbind(-1)
    places = torch.stack((x / (width - 1) * 2 - 1, y / (height - 1) * 2 - 1), dim=-1)  # (B, K, N, 2)
    values = F.grid_sample(
        heatmaps.flatten(0, 1)[:, None], places.flatten(0, 1)[:, None], padding_mode="border", align_corners=False
    )
    return values.reshape(*places.shape[:3]).transpose(1, 2)


# Loss


def dekr_loss(config: DEKRConfig, heatmaps: Tensor, displacements: Tensor, true: TrueInstances) -> Tensor:
    """Mean squared difference of heatmaps from Gaussians, and smooth L1 loss of the displacements around centers.

    Args:
        heatmaps: (B, K + 1, h, w) of keypoints and centers.
        displacements: (B, 2K, h, w).
    """
    heatmaps, displacements = heatmaps.float(), displacements.float()
    size, (center_sigma, keypoint_sigma) = (heatmaps.shape[2], heatmaps.shape[3]), config.heatmap_sigma
    has_center = true.is_real & (true.diagonals >= config.min_diagonal)
    targets = torch.cat(
        (
            merged_gaussians(true.keypoints, true.is_labeled, size, keypoint_sigma),
            merged_gaussians(true.centers[:, :, None], has_center[..., None], size, center_sigma),
        ),
        dim=1,
    )
    weights = torch.where(targets > 0, 1.0, config.background_weight)
    heatmap_loss = ((heatmaps - targets).square() * weights).mean()
    moves, weights = _displacement_targets(true, has_center, size, center_sigma)
    displacements = displacements.unflatten(1, (-1, 2))
    errors = F.smooth_l1_loss(displacements, moves, beta=config.displacement_beta, reduction="none")
    displacement_loss = (errors * weights[:, :, None]).sum() / (2 * (weights > 0).sum()).clamp(min=1)
    return heatmap_loss + config.displacement_loss_weight * displacement_loss


def _displacement_targets(
    true: TrueInstances, has_center: Tensor, size: tuple[int, int], radius: float
) -> tuple[Tensor, Tensor]:
    """Displacements (B, K, 2, h, w) from the cells around each center to its keypoints, and weights (B, K, h, w).

    Where regions overlap the smaller instance counts. The weight is one over the instance's diagonal.
    """
    height, width = size
    limits = torch.tensor([width, height], device=true.keypoints.device)
    grid = cell_grid(height, width, limits.device)
    inside = ((true.keypoints >= 0) & (true.keypoints < limits)).all(-1) & true.is_labeled
    has_center = has_center & ((true.centers >= 0) & (true.centers < limits)).all(-1)
    weights = grid.new_zeros(len(true.keypoints), true.keypoints.shape[2], height, width)
    moves = torch.stack((weights, weights), dim=2)
    batch = torch.arange(len(moves), device=limits.device)
    for instance in true.diagonals.argsort(dim=1, descending=True).unbind(1):  # (B,), larger instances first
        center, keypoints = true.centers[batch, instance], true.keypoints[batch, instance]
        first, end = (center - radius).trunc().clamp(min=0), (center + radius).trunc()
        is_near = ((grid >= first[:, None, None]) & (grid < end[:, None, None])).all(-1)  # (B, h, w)
        is_near = is_near[:, None] & (inside & has_center[..., None])[batch, instance][:, :, None, None]
        to_keypoints = (keypoints[:, :, None, None] - grid).movedim(-1, 2)
        moves = torch.where(is_near[:, :, None], to_keypoints, moves)
        weight = 1 / true.diagonals[batch, instance].clamp(min=1e-6)
        weights = torch.where(is_near, weight[:, None, None, None], weights)
    return moves, weights
