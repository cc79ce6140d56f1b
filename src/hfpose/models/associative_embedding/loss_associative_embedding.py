"""The loss of associative embedding.

Source: `mmpose.codecs.AssociativeEmbedding`, `mmpose.models.losses.AssociativeEmbeddingLoss`.
"""

import torch
from torch import Tensor

from hfpose.models.associative_embedding.configuration_associative_embedding import AssociativeEmbeddingConfig
from hfpose.models.shared.bottom_up_losses import TrueInstances, merged_gaussians


def associative_embedding_loss(
    config: AssociativeEmbeddingConfig, heatmaps: Tensor, tags: Tensor, true: TrueInstances
) -> Tensor:
    """Mean squared difference of heatmaps from Gaussians, and the loss of the tags.

    Tags of one instance are pulled to their mean, means of different instances pushed apart; summed over the images.

    Args:
        config: of the model.
        heatmaps: (B, K, h, w).
        tags: (B, L * K, h, w).
        true: the instances.
    """
    heatmaps, tags = heatmaps.float(), tags.float()
    height, width = heatmaps.shape[-2:]
    targets = merged_gaussians(true.keypoints, true.is_labeled, (height, width), config.heatmap_sigma)
    x, y = (true.keypoints + 0.5).trunc().long().unbind(-1)
    is_inside = true.is_labeled & (x >= 0) & (x < width) & (y >= 0) & (y < height)  # (B, G, K)
    index = (x + y * width).where(is_inside, 0)
    maps = tags.unflatten(1, (-1, heatmaps.shape[1])).flatten(3)  # (B, L, K, h * w)
    index = index.transpose(1, 2)[:, None].expand(-1, maps.shape[1], -1, -1)  # (B, L, K, G)
    found = maps.gather(3, index).permute(0, 3, 2, 1) * is_inside[..., None]  # (B, G, K, L)
    counts = is_inside.sum(2)
    means = found.sum(2) / counts.clamp(min=1)[..., None]
    deviations = ((found - means[:, :, None]) * is_inside[..., None]).square().mean(3).sum(2)
    is_real = counts > 0
    num_real = is_real.sum(1)
    pull = (deviations / counts.clamp(min=1)).sum(1) / num_real.clamp(min=1)
    closeness = torch.exp(-(means[:, :, None] - means[:, None]).square()).sum(-1)
    is_pair = is_real[:, :, None] & is_real[:, None] & (num_real > 1)[:, None, None]
    push = (closeness * is_pair).sum((1, 2)) / (num_real * (num_real - 1)).clamp(min=1)
    tag_loss = (pull + config.push_factor * push).sum()
    return (heatmaps - targets).square().mean() + config.tag_loss_weight * tag_loss
