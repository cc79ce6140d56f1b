"""What the losses of the bottom-up estimators share: the true instances of a batch, and Gaussians around their keypoints."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hfpose.errors import InputError
from hfpose.models.shared.heatmaps import QUARTER
from hfpose.models.shared.losses import heatmap_targets

# The true instances of one image, coordinates in pixels of `pixel_values`: `keypoints` (n, K, 2) x and y, and where
# known `keypoint_weights` (n, K), 0 where a keypoint is not labeled, else all are, and `boxes` (n, 4) x1, y1, x2, y2,
# else those are the extents of the labeled keypoints.
InstanceLabels = Mapping[str, Tensor]


class TrueInstances(NamedTuple):
    """The true instances of a batch of images, padded to the same number G, in cells of the feature maps.

    Args:
        keypoints: (B, G, K, 2) x and y.
        is_labeled: (B, G, K); False for padding.
        centers: (B, G, 2) means of the labeled keypoints.
        diagonals: (B, G) diagonals of their extents.
        boxes: (B, G, 4) x1, y1, x2, y2.
        is_real: (B, G) whether an instance has a labeled keypoint at all.
    """

    keypoints: Tensor
    is_labeled: Tensor
    centers: Tensor
    diagonals: Tensor
    boxes: Tensor
    is_real: Tensor


def true_instances(
    labels: Sequence[InstanceLabels], num_keypoints: int, stride: float, device: torch.device
) -> TrueInstances:
    """The instances of the images' labels.

    Args:
        labels: for each image, see `InstanceLabels`.
        num_keypoints: K.
        stride: pixels of a cell.
        device: where to put them.

    Raises:
        InputError: for labels without `keypoints`, or of another number of them.
    """
    for index, label in enumerate(labels):
        if "keypoints" not in label or label["keypoints"].shape[1:] != (num_keypoints, 2):
            shape = tuple(label["keypoints"].shape) if "keypoints" in label else None
            raise InputError(
                f"The labels of image {index} have keypoints of shape {shape}; expected (n, {num_keypoints}, 2), with "
                "n = 0 where there is no instance."
            )
    count = max([1, *(len(label["keypoints"]) for label in labels)])
    keypoints = torch.zeros(len(labels), count, num_keypoints, 2, device=device)
    is_labeled = torch.zeros(keypoints.shape[:3], dtype=torch.bool, device=device)
    boxes = torch.full((len(labels), count, 4), torch.nan, device=device)
    for index, label in enumerate(labels):
        given = label["keypoints"].to(keypoints)
        keypoints[index, : len(given)] = given / stride
        weights = label.get("keypoint_weights")
        is_labeled[index, : len(given)] = True if weights is None else weights.to(device) > 0
        if "boxes" in label:
            boxes[index, : len(given)] = label["boxes"].to(boxes).reshape(-1, 4) / stride
    counts = is_labeled[..., None].float()
    centers = (keypoints * counts).sum(2) / counts.sum(2).clamp(min=1)
    is_real = is_labeled.any(2)
    lows = keypoints.masked_fill(~is_labeled[..., None], torch.inf).amin(2).where(is_real[..., None], 0)
    highs = keypoints.masked_fill(~is_labeled[..., None], -torch.inf).amax(2).where(is_real[..., None], 0)
    boxes = torch.where(boxes.isnan(), torch.cat((lows, highs), -1), boxes)
    return TrueInstances(keypoints, is_labeled, centers, (highs - lows).norm(dim=-1), boxes, is_real)


def merged_gaussians(points: Tensor, is_labeled: Tensor, size: tuple[int, int], sigma: float | Tensor) -> Tensor:
    """For each image and keypoint the greatest of the Gaussians of its instances.

    Args:
        points: (B, G, K, 2) centers in cells.
        is_labeled: (B, G, K) which of them count.
        size: height and width of the maps in cells.
        sigma: standard deviation in cells, or (B, G) one for each instance.

    Returns:
        (B, K, h, w)
    """
    merged = points.new_zeros(len(points), points.shape[2], *size)
    for instance in range(points.shape[1]):  # maps of all instances at once would take gigabytes
        spread = sigma[:, instance, None] if isinstance(sigma, Tensor) else sigma
        gaussians, _ = heatmap_targets(points[:, instance], size, size, spread, QUARTER)
        merged = torch.maximum(merged, gaussians * is_labeled[:, instance, :, None, None])
    return merged
