"""Associative embedding learns heatmaps, and tags that tell instances apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.models.associative_embedding.configuration_associative_embedding import AssociativeEmbeddingConfig
from hfpose.models.associative_embedding.modeling_associative_embedding import associative_embedding_loss
from hfpose.models.shared.bottom_up_model import merged_gaussians, true_instances

NO_DEVICE = torch.device("cpu")
CONFIG = AssociativeEmbeddingConfig(heatmap_sigma=2.0, tag_loss_weight=2.0, push_factor=0.5)


def naive_tag_loss(tags: Tensor, keypoints: Tensor, push_factor: float) -> float:
    """Instance by instance, for maps (K, h, w) and keypoints (n, K, 2) in whole cells."""
    found = torch.stack([torch.stack([tags[k, y, x] for k, (x, y) in enumerate(some)]) for some in keypoints.long()])
    means = found.mean(1)
    pull = sum(F.mse_loss(some, mean.expand_as(some)) for some, mean in zip(found, means, strict=True)) / len(found)
    push = torch.exp(-((means[:, None] - means[None]) ** 2)).sum() / (len(found) * (len(found) - 1))
    return float(pull + push_factor * push)


def test_tags_of_one_instance_are_pulled_together_and_of_two_pushed_apart() -> None:
    keypoints, tags = torch.randint(0, 8, (3, 2, 2)), torch.randn(1, 2, 8, 8)
    true = true_instances([{"keypoints": keypoints}], 2, 1, NO_DEVICE)
    heatmaps = merged_gaussians(true.keypoints, true.is_labeled, (8, 8), 2.0)
    loss = associative_embedding_loss(CONFIG, heatmaps, tags, true)
    assert float(loss) == pytest.approx(2 * naive_tag_loss(tags[0], keypoints, 0.5), rel=1e-4)
    lonely = true_instances([{"keypoints": keypoints[:1]}], 2, 1, NO_DEVICE)
    heatmaps = merged_gaussians(lonely.keypoints, lonely.is_labeled, (8, 8), 2.0)
    same = torch.ones(1, 2, 8, 8)
    assert associative_embedding_loss(CONFIG, heatmaps, same, lonely) == 0
