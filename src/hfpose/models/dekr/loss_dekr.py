"""DEKR's loss.

Source: `mmpose.codecs.SPR`, `mmpose.models.losses.KeypointMSELoss` and `SoftWeightSmoothL1Loss`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.models.dekr.configuration_dekr import DEKRConfig
from hfpose.models.shared.bottom_up import cell_grid
from hfpose.models.shared.bottom_up_losses import TrueInstances, merged_gaussians


def dekr_loss(config: DEKRConfig, heatmaps: Tensor, displacements: Tensor, true: TrueInstances) -> Tensor:
    """Mean squared difference of heatmaps from Gaussians, and smooth L1 loss of the displacements around centers.

    Args:
        config: of the model.
        heatmaps: (B, K + 1, h, w) of keypoints and centers.
        displacements: (B, 2K, h, w).
        true: the instances.
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
