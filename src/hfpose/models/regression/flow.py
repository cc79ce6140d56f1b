"""The distribution of errors that residual log-likelihood estimation learns beside the coordinates.

Source: Li et al., 2021, https://arxiv.org/abs/2107.11291; the flow is Dinh et al., 2016, https://arxiv.org/abs/1605.08803;
`mmpose.models.utils.RealNVP`, `mmpose.models.losses.RLELoss`.
"""

import math

import torch
from torch import Tensor, nn

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
        flow: the distribution of errors.
        coordinates: (B, K, 2) predicted.
        sigmas: (B, K, 2) their deviations, from 0 to 1.
        targets: (B, K, 2) true coordinates.
        weights: (B, K) of the keypoints.
    """
    errors = (coordinates - targets) / (sigmas + _SIGMA_EPS)
    log_density = flow(errors.flatten(0, 1)).unflatten(0, errors.shape[:2])[..., None]
    # Beside the flow a Laplace distribution, of which the flow learns the rest.
    losses = sigmas.log() - log_density + (2 * sigmas).log() + errors.abs()
    return (losses * weights[..., None]).sum() / len(losses)
