"""SimCC: a keypoint as one distribution over x and one over y.

Source: Li et al., 2022, https://arxiv.org/abs/2107.03332; `mmpose.codecs.SimCCLabel`.
"""

import torch
from torch import Tensor

from hfpose.ops.maxima import greatest


def decode_simcc(
    simcc_x: Tensor, simcc_y: Tensor, split_ratio: float, mean_scores: bool = False
) -> tuple[Tensor, Tensor]:
    """Most likely position of every keypoint.

    Args:
        simcc_x: (N, K, W * split_ratio) responses over x.
        simcc_y: (N, K, H * split_ratio) responses over y.
        split_ratio: bins per pixel.
        mean_scores: a score is the mean of the greatest response over x and that over y, as in rtmlib, else the lower
            one, as in the reference.

    Returns:
        Keypoints (N, K, 2) in pixels of the crop, and scores (N, K). A keypoint without a positive score lies at one
        bin before the origin, as in the reference.
    """
    best_x, bin_x = greatest(simcc_x.float())
    best_y, bin_y = greatest(simcc_y.float())
    scores = (best_x + best_y) / 2 if mean_scores else torch.minimum(best_x, best_y)
    bins = torch.stack((bin_x, bin_y), -1)
    return torch.where((scores > 0)[..., None], bins.float() / split_ratio, -1 / split_ratio), scores


def simcc_heatmaps(simcc_x: Tensor, simcc_y: Tensor) -> Tensor:
    """Heatmaps (N, K, H, W) with a cell for each bin, for looking at: products of responses (N, K, bins) over x and
    over y.

    Negative responses count as 0, and responses that go beyond 1 are scaled back to it, as in the reference
    (`mmpose.codecs.utils.get_simcc_normalized`).
    """
    x, y = (responses.float().clamp(min=0) for responses in (simcc_x, simcc_y))
    x, y = (responses / responses.amax(-1, keepdim=True).clamp(min=1) for responses in (x, y))
    return y[..., :, None] * x[..., None, :]
