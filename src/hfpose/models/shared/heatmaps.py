"""Heatmaps: a keypoint as one map of responses, or a map of responses and two of offsets.

All decoding works on whole batches (N, K, H, W), wherever the tensors are. Source: `mmpose.codecs.MSRAHeatmap`,
`UDPHeatmap` and `MegviiHeatmap`, `mmpose.codecs.utils`; DARK is Zhang et al., 2020, https://arxiv.org/abs/1910.06278;
UDP is Huang et al., 2020, https://arxiv.org/abs/1911.07524; `"megvii"` is that of MSPN (Li et al., 2019,
https://arxiv.org/abs/1901.00148).
"""

from collections.abc import Sequence
from functools import cache
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.ops.maxima import greatest

Decoding = Literal["quarter", "dark", "udp", "udp_combined", "megvii"]
DECODINGS = get_args(Decoding)
QUARTER: Final = "quarter"
DARK: Final = "dark"
UDP: Final = "udp"
UDP_COMBINED: Final = "udp_combined"
MEGVII: Final = "megvii"

# Radius of the disk around a keypoint, relative to the longer side of its heatmap, in which `"udp_combined"` learns
# offsets.
RADIUS_FACTOR = 0.0546875
# What `"megvii"` draws at a keypoint; and the score of a keypoint without any response.
MEGVII_PEAK, MEGVII_MIN_SCORE = 255.0, 0.5

# Responses that the logarithm is taken of are kept above these, and with UDP below 50.
_DARK_FLOOR = 1e-10
_UDP_RANGE = (1e-3, 50.0)
# Added to the diagonal of UDP's Hessian, so that it can be inverted: float32's machine epsilon.
_UDP_RIDGE = 2.0**-23

Offsets = Sequence[tuple[int, int]]  # (x, y) relative to a cell


def decode_heatmaps(
    heatmaps: Tensor, decoding: str = QUARTER, blur_kernel_size: int = 11, radius_factor: float = RADIUS_FACTOR
) -> tuple[Tensor, Tensor]:
    """Most likely position of every keypoint.

    Args:
        heatmaps: (N, K, H, W) responses; for `"udp_combined"` (N, 3 * K, H, W), for each keypoint responses and the x
            and y offsets to it.
        decoding: `"quarter"`: the greatest response, moved by a quarter cell towards the greater neighbor; `"dark"`:
            the peak of a Gaussian fitted around it; `"udp"`: the same from closer neighbors, as UDP does it;
            `"udp_combined"`: the greatest smoothed response, moved by the offsets there; `"megvii"`: the greatest
            smoothed response, moved by a quarter cell, of maps that peak at 255.
        blur_kernel_size: cells of the Gaussian that all but `"quarter"` smooth with; `"udp_combined"` with one twice
            as wide.
        radius_factor: unit of the offsets relative to the longer side of a heatmap.

    Returns:
        Keypoints (N, K, 2) in cells of the heatmaps, and scores (N, K), the greatest responses; on the CPU. A keypoint
        without any positive response lies outside, at or near (-1, -1), as in the reference.

    Raises:
        ConfigError: for another `decoding`.
    """
    if decoding not in DECODINGS:
        raise ConfigError(f"Unknown heatmap decoding {decoding!r}; expected one of {', '.join(map(repr, DECODINGS))}.")
    heatmaps = heatmaps.detach().float()
    if decoding == UDP_COMBINED:
        return _decode_combined(heatmaps, 2 * blur_kernel_size + 1, radius_factor)
    if decoding == MEGVII:
        return _decode_megvii(blur_heatmaps(heatmaps, blur_kernel_size))
    cells, scores = heatmap_maxima(heatmaps)
    if decoding == QUARTER:
        offsets = quarter_offsets(heatmaps, cells)
    elif decoding == DARK:
        offsets = _dark_offsets(blur_heatmaps(heatmaps, blur_kernel_size), cells)
    else:
        offsets = _udp_offsets(blur_heatmaps(heatmaps, blur_kernel_size), cells)
    return (cells.cpu() + offsets).float(), scores.cpu()


def _decode_combined(heatmaps: Tensor, blur_kernel_size: int, radius_factor: float) -> tuple[Tensor, Tensor]:
    """See `decode_heatmaps`."""
    responses, *offsets = heatmaps.unflatten(1, (-1, 3)).unbind(2)
    height, width = responses.shape[-2:]
    along_y, along_x = (
        blur_matrix(size, blur_kernel_size, reflects=True).to(heatmaps.device) for size in (height, width)
    )
    cells, scores = heatmap_maxima(along_y @ responses @ along_x.T)
    steps = torch.stack([_values_around(maps, cells, [(0, 0)])[0] for maps in offsets], -1)
    return (cells.cpu() + steps * (radius_factor * max(width, height))).float(), scores.cpu()


def _decode_megvii(blurred: Tensor) -> tuple[Tensor, Tensor]:
    """See `decode_heatmaps`. A cell's center lies half a cell beyond its index, except near the border."""
    height, width = blurred.shape[-2:]
    cells, scores = heatmap_maxima(blurred)
    x, y = cells.cpu().unbind(-1)
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    steps = torch.where(inside[..., None], quarter_offsets(blurred, cells) + 0.5, 0.0)
    return (cells.cpu() + steps).float(), scores.cpu() / MEGVII_PEAK + MEGVII_MIN_SCORE


def heatmap_maxima(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (N, K, 2), x and y, of the greatest responses, and these (N, K); (-1, -1) where none is positive."""
    scores, index = greatest(heatmaps.flatten(2))
    width = heatmaps.shape[-1]
    cells = torch.stack((index % width, index // width), -1)
    return torch.where(scores[..., None] > 0, cells, -1), scores


def blur_heatmaps(heatmaps: Tensor, kernel_size: int) -> Tensor:
    """Heatmaps (N, K, H, W) smoothed with a Gaussian, zero around them, each scaled back to its maximum."""
    height, width = heatmaps.shape[-2:]
    # Smoothing is linear along each axis, and a product of matrices is faster than a convolution of single channels.
    along_y, along_x = (blur_matrix(size, kernel_size).to(heatmaps.device) for size in (height, width))
    blurred = along_y @ (heatmaps @ along_x)
    return blurred * (heatmaps.amax((2, 3), keepdim=True) / blurred.amax((2, 3), keepdim=True))


@cache
def blur_matrix(size: int, kernel_size: int, reflects: bool = False) -> Tensor:
    """Matrix (size, size) that smooths a column of `size` values with a Gaussian.

    Args:
        size, kernel_size: in cells.
        reflects: whether values beyond the ends are their reflections, else zero.
    """
    import cv2

    kernel = torch.from_numpy(cv2.getGaussianKernel(kernel_size, 0)).float().flatten()
    rows = torch.arange(size, device="cpu")[:, None].expand(-1, kernel_size)
    columns = rows + torch.arange(kernel_size, device="cpu") - kernel_size // 2
    values = torch.where((columns >= 0) & (columns < size), 1.0, float(reflects)) * kernel
    period = max(2 * (size - 1), 1)
    columns = (columns % period).minimum(-columns % period)
    return torch.zeros(size, size, device="cpu").index_put_((rows, columns), values, accumulate=True)


def quarter_offsets(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """(N, K, 2): from cells (N, K, 2) of heatmaps (N or 1, K, H, W) a quarter cell towards the greater neighbor along
    x and along y, none at the border; on the CPU."""
    height, width = heatmaps.shape[-2:]
    left, right, above, below = _values_around(heatmaps, cells, [(-1, 0), (1, 0), (0, -1), (0, 1)]).unbind()
    x, y = cells.cpu().unbind(-1)
    # The two conditions are the reference's, uneven as they are.
    inside_x = (x > 1) & (x < width - 1) & (y > 0)
    inside_y = (y > 1) & (y < height - 1) & (x > 0)
    steps = torch.stack(((right - left).sign() * inside_x, (below - above).sign() * inside_y), -1)
    return steps * 0.25


def _dark_offsets(blurred: Tensor, cells: Tensor) -> Tensor:
    """(N, K, 2): from the greatest responses to the peaks of Gaussians fitted over five cells each way."""
    height, width = blurred.shape[-2:]
    straight = [(0, 0), (-2, 0), (-1, 0), (1, 0), (2, 0), (0, -2), (0, -1), (0, 1), (0, 2)]
    values = _values_around(blurred, cells, [*straight, (-1, -1), (1, -1), (-1, 1), (1, 1)])
    center, left2, left, right, right2, above2, above, below, below2, *corners = (
        values.clamp(min=_DARK_FLOOR).log().unbind()
    )
    above_left, above_right, below_left, below_right = corners
    offsets = _newton_step(
        dx=0.5 * (right - left),
        dy=0.5 * (below - above),
        dxx=0.25 * (right2 - 2 * center + left2),
        dxy=0.25 * (below_right - above_right - below_left + above_left),
        dyy=0.25 * (below2 - 2 * center + above2),
    )
    x, y = cells.cpu().unbind(-1)
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return torch.where(inside[..., None], offsets, 0.0)


def _udp_offsets(blurred: Tensor, cells: Tensor) -> Tensor:
    """(N, K, 2): from the greatest responses to the peaks of Gaussians fitted over three cells each way."""
    neighbors = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1)]
    values = _values_around(blurred, cells, neighbors, margin=1)
    center, left, right, above, below, above_left, below_right = values.clamp(*_UDP_RANGE).log().unbind()
    return _newton_step(
        dx=0.5 * (right - left),
        dy=0.5 * (below - above),
        dxx=right - 2 * center + left + _UDP_RIDGE,
        dxy=0.5 * (below_right - right - below + 2 * center - left - above + above_left),
        dyy=below - 2 * center + above + _UDP_RIDGE,
    )


def _newton_step(dx: Tensor, dy: Tensor, dxx: Tensor, dxy: Tensor, dyy: Tensor) -> Tensor:
    """Steps (N, K, 2) to the extrema of parabolas with these derivatives (N, K); zero where there is none."""
    determinant = dxx * dyy - dxy * dxy
    step = -torch.stack((dyy * dx - dxy * dy, dxx * dy - dxy * dx), -1) / determinant[..., None]
    return torch.where(step.isfinite(), step, 0.0)


def _values_around(heatmaps: Tensor, cells: Tensor, offsets: Offsets, margin: int = 0) -> Tensor:
    """Responses (len(offsets), N, K), float64 on the CPU, of the cells at `offsets` from `cells` (N, K, 2).

    With a `margin` the outermost cells are repeated that often. A place beyond that reads on in the neighboring row,
    or the neighboring keypoint's heatmap, as the reference does for the keypoints at (-1, -1).
    """
    count, (height, width) = heatmaps.shape[1], heatmaps.shape[-2:]
    rows, columns = height + 2 * margin, width + 2 * margin
    device = heatmaps.device
    steps = torch.tensor([x + y * columns for x, y in offsets], device=device).view(-1, 1, 1)
    places = cells[..., 0] + margin + (cells[..., 1] + margin) * columns
    places = places + torch.arange(count, device=device) * (rows * columns) + steps
    places = places % (count * rows * columns)
    y = (places // columns % rows - margin).clamp(0, height - 1)
    x = (places % columns - margin).clamp(0, width - 1)
    index = (places // (rows * columns) * height + y) * width + x
    values = heatmaps.flatten(1).expand(len(offsets), len(cells), -1).gather(2, index)
    # A handful of values for each keypoint from here on, and not every accelerator has float64.
    return values.to("cpu", torch.float64)


def flip_maps(maps: Tensor, indices: Sequence[int], shift: bool = False) -> Tensor:
    """Maps (B, K, ..., h, w) of flipped images as those of the images.

    Args:
        maps: one for each keypoint.
        indices: for each keypoint the index of its flip partner.
        shift: whether to move the maps by one cell to the right, which aligns them where a crop's width maps onto its
            number of pixels (no UDP).
    """
    flipped = maps[:, list(indices)].flip(-1)
    return torch.cat((flipped[..., :1], flipped[..., :-1]), -1) if shift else flipped


def flip_heatmaps(flipped: Tensor, flip_indices: Sequence[int], shift: bool, combined: bool = False) -> Tensor:
    """Heatmaps (N, K, H, W) of flipped crops as those of the crops.

    Args:
        shift: see `flip_maps`.
        combined: whether each keypoint has maps of offsets too (N, 3 * K, H, W), see `decode_heatmaps`.
    """
    if not combined:
        return flip_maps(flipped, flip_indices, shift)
    signs = torch.tensor([1, -1, 1], device=flipped.device).view(3, 1, 1)  # x offsets point the other way
    return (flip_maps(flipped.unflatten(1, (-1, 3)), flip_indices, shift) * signs).flatten(1, 2)
