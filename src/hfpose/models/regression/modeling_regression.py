"""Regression estimators: from a feature map to coordinates, straight or as means over heatmaps.

Source: DeepPose (Toshev & Szegedy, 2014, https://arxiv.org/abs/1312.4659), residual log-likelihood estimation (Li et
al., 2021, https://arxiv.org/abs/2107.11291), integral regression (Sun et al., 2018, https://arxiv.org/abs/1711.08229),
DSNT (Nibali et al., 2018, https://arxiv.org/abs/1801.07372); `mmpose.models.heads.RegressionHead`, `RLEHead`,
`IntegralRegressionHead` and `DSNTHead`, `mmpose.models.utils.RealNVP` (Dinh et al., 2016,
https://arxiv.org/abs/1605.08803), `mmpose.models.losses.RLELoss`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from hfpose.models.regression.configuration_regression import RegressionConfig
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.heatmap_head import HeatmapHead
from hfpose.models.shared.image_model import TopDownModel
from hfpose.models.shared.losses import coordinate_loss, distribution_loss, visible_coordinates


@dataclass
class RegressionOutput(ModelOutput):
    """Output of [`RegressionForPoseEstimation`].

    Args:
        loss: scalar, where `labels` were given.
        coordinates: (B, K, 2) x and y of the keypoints as shares of the crop's width and height.
        sigmas: (B, K, 2) with `head_type="rle"` their deviations, from 0 to 1.
        heatmaps: (B, K, h, w) with `head_type="integral"` and `"dsnt"` the distributions whose means the coordinates
            are.
        hidden_states: feature maps of the backbone, where asked for.
    """

    loss: Tensor | None = None
    coordinates: Tensor | None = None
    sigmas: Tensor | None = None
    heatmaps: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class RegressionHead(nn.Module):
    """From a feature map (B, C, h, w) to coordinates (B, K, 2), with `head_type="rle"` and their deviations
    (B, K, 2)."""

    def __init__(self, config: RegressionConfig, in_channels: int) -> None:
        super().__init__()
        self.has_sigmas = config.head_type == "rle"
        self.use_average_pooling = config.use_average_pooling
        in_features = in_channels * (1 if config.use_average_pooling else prod(config.feature_map_size))
        self.projection = nn.Linear(in_features, label_count(config) * (4 if self.has_sigmas else 2))
        self.flow = ErrorFlow() if self.has_sigmas else None  # for training

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        pooled = features.mean((2, 3)) if self.use_average_pooling else features.flatten(1)
        values = self.projection(pooled).unflatten(1, (-1, 4 if self.has_sigmas else 2))
        if not self.has_sigmas:
            return {"coordinates": values}
        return {"coordinates": values[..., :2], "sigmas": values[..., 2:].sigmoid()}


class IntegralHead(nn.Module):
    """From a feature map (B, C, h, w) to heatmaps (B, K, h, w), and to their means (B, K, 2)."""

    places_x: Tensor
    places_y: Tensor

    def __init__(self, config: RegressionConfig, in_channels: int) -> None:
        super().__init__()
        self.maps = HeatmapHead(config, in_channels, label_count(config))
        self.beta, self.use_debiasing = float(config.softmax_beta), config.use_debiasing
        # Each transposed convolution doubles height and width. Checkpoints have these numbers among their tensors.
        height, width = (side * 2 ** len(config.deconv_channels) for side in config.feature_map_size)
        self.register_buffer("places_x", _places(width).view(1, 1, 1, width))
        self.register_buffer("places_y", _places(height).view(1, 1, height, 1))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        maps = self.maps(features)
        heatmaps = (maps * self.beta).flatten(2).softmax(-1).unflatten(2, maps.shape[2:])
        means = [(heatmaps * places).flatten(2).sum(-1) for places in (self.places_x, self.places_y)]
        if self.use_debiasing:
            total = maps.flatten(2).exp().sum(-1)
            means = [total / (total - 1) * (mean - 1 / (2 * total)) for mean in means]
        return {"coordinates": torch.stack(means, -1), "heatmaps": heatmaps}


def _places(count: int) -> Tensor:
    """Places of cells as shares of their number (count,)."""
    return torch.arange(count, dtype=torch.float32) / count


class RegressionForPoseEstimation(TopDownModel):
    """A backbone with a head that regresses coordinates; used as [`RTMPoseForPoseEstimation`]."""

    config: RegressionConfig
    base_model_prefix = "regression"
    output_class = RegressionOutput
    _no_split_modules = ["RegressionHead", "IntegralHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        head = RegressionHead if self.config.head_type in ("coordinates", "rle") else IntegralHead
        self.head = head(self.config, channels[-1])

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.01)
        elif isinstance(module, IntegralHead):
            for places in (module.places_x, module.places_y):
                init.copy_(places, _places(places.numel()).view(places.shape))
        elif isinstance(module, ErrorFlow):
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    init.xavier_uniform_(layer.weight, gain=0.01)

    def responses(self, feature_maps: Sequence[Tensor]) -> dict[str, Tensor]:
        return self.head(feature_maps[-1])

    def loss(self, responses: Mapping[str, Tensor], labels: Tensor, keypoint_weights: Tensor) -> Tensor:
        config, coordinates = self.config, responses["coordinates"].float()
        targets, weights = visible_coordinates(labels, keypoint_weights, config.image_size)
        if config.head_type == "rle":
            assert isinstance(self.head.flow, ErrorFlow)
            return rle_loss(self.head.flow, coordinates, responses["sigmas"].float(), targets, weights)
        loss = coordinate_loss(coordinates, targets, weights)
        if config.head_type == "dsnt":
            loss = loss + distribution_loss(
                responses["heatmaps"],
                labels,
                weights,
                image_size=config.image_size,
                sigma=config.heatmap_sigma,
                loss_type=config.heatmap_loss_type,
            )
        return loss


NUM_STEPS = 6
HIDDEN_SIZE = 64
_SIGMA_EPS = 1e-9


class ErrorFlow(nn.Module):
    """Maps errors in x and y to a normal distribution, one coordinate after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList(nn.Sequential(*_layers(), nn.Tanh()) for _ in range(NUM_STEPS))
        self.translations = nn.ModuleList(nn.Sequential(*_layers()) for _ in range(NUM_STEPS))

    def forward(self, errors: Tensor) -> Tensor:
        """Logarithm of the density (N,) of errors (N, 2)."""
        log_determinant = errors.new_zeros(len(errors))
        for step in reversed(range(NUM_STEPS)):
            kept = errors.new_tensor([0.0, 1.0] if step % 2 == 0 else [1.0, 0.0])
            scale = self.scales[step](kept * errors) * (1 - kept)
            translation = self.translations[step](kept * errors) * (1 - kept)
            errors = (1 - kept) * (errors - translation) * torch.exp(-scale) + kept * errors
            log_determinant = log_determinant - scale.sum(1)
        return log_determinant - 0.5 * errors.square().sum(1) - math.log(2 * math.pi)


def _layers() -> list[nn.Module]:
    return [
        nn.Linear(2, HIDDEN_SIZE),
        nn.LeakyReLU(),
        nn.Linear(HIDDEN_SIZE, HIDDEN_SIZE),
        nn.LeakyReLU(),
        nn.Linear(HIDDEN_SIZE, 2),
    ]


def rle_loss(flow: ErrorFlow, coordinates: Tensor, sigmas: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihood of the true coordinates, summed over keypoints, averaged over samples.

    Args:
        coordinates: (B, K, 2) predicted.
        sigmas: (B, K, 2) their deviations, from 0 to 1.
        targets: (B, K, 2) true coordinates.
        weights: (B, K) of the keypoints.
    """
    errors = (coordinates - targets) / (sigmas + _SIGMA_EPS)
    weight_type = next(flow.parameters()).dtype
    log_density = flow(errors.flatten(0, 1).to(weight_type)).float().unflatten(0, errors.shape[:2])[..., None]
    # Beside the flow a Laplace distribution, of which the flow learns the rest.
    losses = sigmas.log() - log_density + (2 * sigmas).log() + errors.abs()
    return (losses * weights[..., None]).sum() / max(len(losses), 1)
