"""Heatmaps: a keypoint as one map of responses, and the image processor of the estimators that predict them.

All decoding works on whole batches (N, K, H, W), wherever the tensors are. Source: `mmpose.codecs.MSRAHeatmap`,
`mmpose.codecs.UDPHeatmap` and `mmpose.codecs.utils`; DARK is Zhang et al., 2020, https://arxiv.org/abs/1910.06278; UDP
is Huang et al., 2020, https://arxiv.org/abs/1911.07524.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.errors import ConfigError
from hfpose.models.shared.conversion import crop_arguments, expect_settings, normalization_arguments
from hfpose.models.shared.top_down import TopDownImageProcessor

QUARTER, DARK, UDP = DECODINGS = ("quarter", "dark", "udp")

# Responses that the logarithm is taken of are kept above these, and with UDP below 50.
_DARK_FLOOR = 1e-10
_UDP_RANGE = (1e-3, 50.0)
# Added to the diagonal of UDP's Hessian, so that it can be inverted: float32's machine epsilon.
_UDP_RIDGE = 2.0**-23

Offsets = Sequence[tuple[int, int]]  # (x, y) relative to a cell


def decode_heatmaps(heatmaps: Tensor, decoding: str = QUARTER, blur_kernel_size: int = 11) -> tuple[Tensor, Tensor]:
    """Most likely place of every keypoint.

    Args:
        heatmaps: (N, K, H, W) responses.
        decoding: `"quarter"`: the greatest response, moved by a quarter cell towards the greater neighbor; `"dark"`:
            the peak of a Gaussian fitted around it; `"udp"`: the same from closer neighbors, as UDP does it.
        blur_kernel_size: cells of the Gaussian that `"dark"` and `"udp"` smooth with.

    Returns:
        Keypoints (N, K, 2) in cells of the heatmaps, and scores (N, K), the greatest responses; on the CPU. A keypoint
        without any positive response lies outside, at or near (-1, -1), as in the reference.

    Raises:
        ConfigError: for another `decoding`.
    """
    if decoding not in DECODINGS:
        raise ConfigError(f"Unknown heatmap decoding {decoding!r}; expected one of {', '.join(map(repr, DECODINGS))}.")
    heatmaps = heatmaps.detach().float()
    cells, scores = heatmap_maxima(heatmaps)
    if decoding == QUARTER:
        offsets = _quarter_offsets(heatmaps, cells)
    elif decoding == DARK:
        offsets = _dark_offsets(blur_heatmaps(heatmaps, blur_kernel_size), cells)
    else:
        offsets = _udp_offsets(blur_heatmaps(heatmaps, blur_kernel_size), cells)
    return (cells.cpu() + offsets).float(), scores.cpu()


def heatmap_maxima(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (N, K, 2), x and y, of the greatest responses, and these (N, K); (-1, -1) where none is positive."""
    scores, index = heatmaps.flatten(2).max(-1)
    width = heatmaps.shape[-1]
    cells = torch.stack((index % width, index // width), -1)
    return torch.where(scores[..., None] > 0, cells, -1), scores


def blur_heatmaps(heatmaps: Tensor, kernel_size: int) -> Tensor:
    """Heatmaps (N, K, H, W) smoothed with a Gaussian, zero around them, each scaled back to its maximum."""
    height, width = heatmaps.shape[-2:]
    # Smoothing is linear along each axis, and a product of matrices is faster than a convolution of single channels.
    along_y, along_x = (_blur_matrix(size, kernel_size).to(heatmaps.device) for size in (height, width))
    blurred = along_y @ (heatmaps @ along_x)
    return blurred * (heatmaps.amax((2, 3), keepdim=True) / blurred.amax((2, 3), keepdim=True))


@cache
def _blur_matrix(size: int, kernel_size: int) -> Tensor:
    """Matrix (size, size), symmetric, that smooths a column of `size` values."""
    import cv2

    kernel = torch.from_numpy(cv2.getGaussianKernel(kernel_size, 0)).float().flatten()
    distance = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    half = kernel_size // 2
    return torch.where(distance <= half, kernel[half + distance.clamp(max=half)], 0.0)


def _quarter_offsets(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """(N, K, 2): a quarter cell towards the greater neighbor along x and along y, none at the border."""
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
    values = heatmaps.flatten(1).expand(len(offsets), -1, -1).gather(2, index)
    # A handful of values for each keypoint from here on, and not every accelerator has float64.
    return values.to("cpu", torch.float64)


def merge_flipped_heatmaps(heatmaps: Tensor, flipped: Tensor, flip_indices: Sequence[int], shift: bool) -> Tensor:
    """Mean of the heatmaps (N, K, H, W) for crops and for mirrored crops.

    Args:
        heatmaps: for the crops.
        flipped: for the mirrored crops.
        flip_indices: for each keypoint the index of its mirror image.
        shift: whether to move the mirrored ones by one cell to the right, which aligns them where a crop's width
            maps onto its number of pixels (no UDP).
    """
    mirrored = flipped[:, list(flip_indices)].flip(-1)
    if shift:
        mirrored = torch.cat((mirrored[..., :1], mirrored[..., :-1]), -1)
    return (heatmaps + mirrored) * 0.5


class HeatmapImageProcessor(TopDownImageProcessor):
    """Crops for the estimators that predict heatmaps, and keypoints from these.

    Args:
        heatmap_decoding: see `decode_heatmaps`. With `"udp"` the outermost cells lie on the outermost pixels of the
            crop, otherwise a cell covers a square of pixels.
        blur_kernel_size: see `decode_heatmaps`.
        shift_flipped_heatmaps: see `merge_flipped_heatmaps`.
        kwargs: see [`TopDownImageProcessor`].
    """

    def __init__(
        self,
        heatmap_decoding: str = QUARTER,
        blur_kernel_size: int = 11,
        shift_flipped_heatmaps: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heatmap_decoding = heatmap_decoding
        self.blur_kernel_size = blur_kernel_size
        self.shift_flipped_heatmaps = shift_flipped_heatmaps

    def decode_crops(self, outputs: ModelOutput) -> tuple[Tensor, Tensor]:
        heatmaps = outputs["heatmaps"]
        keypoints, scores = decode_heatmaps(heatmaps, self.heatmap_decoding, self.blur_kernel_size)
        border = 1 if self.heatmap_decoding == UDP else 0
        height, width = heatmaps.shape[-2:]
        pixels = torch.tensor(self._crop_size) - border
        return keypoints * (pixels / (torch.tensor((width, height)) - border)), scores

    def merge_flipped(self, outputs: ModelOutput, flipped: ModelOutput, flip_indices: Sequence[int]) -> ModelOutput:
        heatmaps = merge_flipped_heatmaps(
            outputs["heatmaps"], flipped["heatmaps"], flip_indices, self.shift_flipped_heatmaps
        )
        return type(outputs)(heatmaps=heatmaps)


def heatmap_processor_arguments(reference: Mapping[str, Any]) -> dict[str, Any]:
    """`HeatmapImageProcessor` arguments for the reference's settings of a top-down model with a `HeatmapHead`.

    Raises:
        ConfigError: for a setting that is not supported.
    """
    decoder = reference["head"]["decoder"]
    test_cfg = reference.get("test_cfg") or {}
    expect_settings("test_cfg", test_cfg, {"flip_mode": "heatmap"})
    width, height = decoder["input_size"]
    decoding = reference_decoding(decoder)
    return {
        "size": {"height": height, "width": width},
        "heatmap_decoding": decoding,
        "blur_kernel_size": decoder.get("blur_kernel_size", 11),
        "shift_flipped_heatmaps": bool(test_cfg.get("shift_heatmap", False)),
        "flip_test": bool(test_cfg.get("flip_test", False)),
        "use_udp": decoding == UDP,
        **crop_arguments(reference),
        **normalization_arguments(reference["data_preprocessor"]),
    }


def reference_decoding(decoder: Mapping[str, Any]) -> str:
    """How the heatmaps of the reference's codec are decoded, see `decode_heatmaps`.

    Raises:
        ConfigError: for a codec that is not supported.
    """
    if decoder["type"] == "UDPHeatmap":
        expect_settings("UDPHeatmap", decoder, {"heatmap_type": "gaussian"})
        return UDP
    expect_settings("HeatmapHead.decoder", decoder, {"type": "MSRAHeatmap"})
    return DARK if decoder.get("unbiased") else QUARTER


def final_layer_settings(head: Mapping[str, Any]) -> dict[str, Any]:
    """`kernel_size` and `padding` of the last convolution of the reference's `HeatmapHead`.

    Raises:
        ConfigError: if the head ends without one.
    """
    final_layer = head.get("final_layer", {})
    if final_layer is None:
        raise ConfigError(
            "A HeatmapHead with final_layer=None is not supported; expected {'kernel_size': 1} or the like."
        )
    return {"kernel_size": 1, "padding": 0} | dict(final_layer)


__all__ = ["HeatmapImageProcessor"]
