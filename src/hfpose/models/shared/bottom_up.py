"""What the bottom-up estimators share: an image at its own aspect ratio, all keypoints at once, people out of them.

Source: `mmpose.datasets.transforms.BottomupResize`, `mmpose.models.pose_estimators.BottomupPoseEstimator`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.errors import ConfigError
from hfpose.models.shared.conversion import (
    bottom_up_resize,
    expect_settings,
    expect_whole_inputs,
    normalization_arguments,
)
from hfpose.models.shared.one_stage import Instances, OneStageProcessing
from hfpose.models.shared.pixels import WholeImageProcessor
from hfpose.models.shared.settings import Count
from hfpose.ops.affine import warp_affine
from hfpose.ops.boxes import extents

EXPAND: Final = "expand"
FIT: Final = "fit"

# With "expand" the long side of a network input is at most this many times as long as it is for a square image, so
# that memory stays bounded for an image of one row of pixels; an image that is longer still is shrunk to it.
MAX_EXPANSION = 16


class BottomUpImageProcessor(OneStageProcessing, WholeImageProcessor):
    """Resizes images by one factor, centers them in an input whose sides are multiples of a number, and goes back.

    A family adds `image_instances`.

    Args:
        size: `{"height", "width"}` that the network was trained with.
        size_divisor: both sides of the input are rounded up to multiples of it.
        resize_mode: `"expand"`: the image covers `size`, so the input is larger along one side; `"fit"`: the image
            lies within `size`, which is the size of every input.
        max_instances: most instances of an image; None for no limit.

    Raises:
        ConfigError: for `"fit"` with a `size` that is no multiple of `size_divisor`.
    """

    size: dict[str, Count] = {"height": 512, "width": 512}
    size_divisor: Count = 32
    resize_mode: Literal["expand", "fit"] = EXPAND
    flip_test: bool = True
    max_instances: int | None = 30

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.resize_mode == FIT and any(side % self.size_divisor for side in self.size.values()):
            raise ConfigError(
                f"resize_mode='fit' needs sides that are multiples of size_divisor={self.size_divisor}, got "
                f"{self.size}."
            )

    @property
    def varies_in_size(self) -> bool:
        """Whether network inputs have another size for images of another shape."""
        return self.resize_mode == EXPAND

    def pixel_values(self, images: Sequence[np.ndarray], memory_format: torch.memory_format) -> Tensor:
        """See [`WholeImageProcessor`].

        Inputs of different sizes are padded at the right and bottom to the largest, with black. As the padding may
        change results a little, batch images whose `input_size` is the same.
        """
        import cv2

        sizes = [self.input_size(*image.shape[:2]) for image in images]
        batch = np.zeros((len(images), *np.max(sizes or [self.input_size(1, 1)], axis=0), 3), dtype=np.uint8)
        for image, (height, width), fitted in zip(images, sizes, batch, strict=True):
            matrix = self.fit_matrix(*image.shape[:2])
            fitted[:height, :width] = warp_affine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        return self.normalize_pixels(batch, memory_format)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        if self.resize_mode == FIT:
            return self.size["height"], self.size["width"]
        fitted_height, fitted_width = self._fitted_size(height, width)
        return self._round_up(fitted_height), self._round_up(fitted_width)

    def _fitted_size(self, height: int, width: int) -> tuple[float, float]:
        """Height and width of an image in the network input, not rounded."""
        high, wide = (self._round_up(self.size[side]) for side in ("height", "width"))
        ratio = width / height
        if self.resize_mode == FIT:
            return min(high, wide / ratio), min(wide, high * ratio)
        fitted = max(high, wide / ratio), max(wide, high * ratio)
        limit = min(1.0, MAX_EXPANSION * high / fitted[0], MAX_EXPANSION * wide / fitted[1])
        return fitted[0] * limit, fitted[1] * limit

    def _round_up(self, side: float) -> int:
        return math.ceil(side / self.size_divisor) * self.size_divisor

    def _factor(self, height: int, width: int) -> float:
        """From pixels of an image to those of the network input."""
        return self._fitted_size(height, width)[1] / width

    def fit_matrix(self, height: int, width: int) -> np.ndarray:
        factor, (input_height, input_width) = self._factor(height, width), self.input_size(height, width)
        shifts = input_width / 2 - factor * width / 2, input_height / 2 - factor * height / 2
        return np.array([[factor, 0, shifts[0]], [0, factor, shifts[1]]])

    def to_image(self, keypoints: np.ndarray, target_size: Tensor | Sequence[int]) -> np.ndarray:
        """Keypoints (N, K, 2) from pixels of the network input to pixels of an image of `target_size`, height and
        width."""
        height, width = (int(side) for side in target_size)
        input_height, input_width = self.input_size(height, width)
        centered = keypoints - np.array([input_width / 2, input_height / 2])
        return (centered / self._factor(height, width) + np.array([width / 2, height / 2])).astype(np.float32)

    def best_instances(
        self,
        keypoints: np.ndarray,
        keypoint_scores: np.ndarray,
        box_scores: np.ndarray,
        target_size: Tensor | Sequence[int],
        threshold: float | None,
    ) -> Instances:
        """The instances of one image, best first, in pixels of the image; each box is the extent of the keypoints.

        Args:
            keypoints: (N, K, 2) in pixels of the network input.
            keypoint_scores: (N, K).
            box_scores: (N,).
            target_size: height and width of the image.
            threshold: least box score; None for all.
        """
        order = np.argsort(-box_scores, kind="stable")[: self.max_instances]
        if threshold is not None:
            order = order[box_scores[order] >= threshold]
        found = self.to_image(keypoints[order], target_size)
        return Instances(extents(found), box_scores[order], found, keypoint_scores[order])


def best_cells(peaks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The greatest responses (B, N) of maps (B, 1, h, w), best first, and the indices (B, N) of their cells.

    N is `count` or the number of cells. Where no response is left it is 0 and the index that of the first cell.
    """
    flat = peaks.flatten(1)
    responses, cells = flat.topk(min(count, flat.shape[1]))
    return responses, cells * (responses > 0)


def cell_grid(height: int, width: int, device: torch.device) -> Tensor:
    """(height, width, 2): x and y of each cell, float32."""
    rows, columns = (torch.arange(side, dtype=torch.float32, device=device) for side in (height, width))
    return torch.stack((columns.expand(height, -1), rows[:, None].expand(-1, width)), dim=-1)


def heatmap_peaks(heatmaps: Tensor, kernel_size: int) -> Tensor:
    """Heatmaps (..., h, w) with 0 wherever a neighbor within the kernel is greater.

    Source: `mmpose.codecs.utils.batch_heatmap_nms`.
    """
    greatest = F.max_pool2d(heatmaps, kernel_size, stride=1, padding=kernel_size // 2)
    return heatmaps * (heatmaps == greatest)


def smooth_maps(heatmaps: Tensor, kernel_size: int) -> Tensor:
    """Means of heatmaps (N, K, h, w) and of their local averages, zero around them."""
    return (heatmaps + F.avg_pool2d(heatmaps, kernel_size, 1, kernel_size // 2)) / 2


def bottom_up_processor_arguments(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Image processor arguments for the reference's settings of a bottom-up model."""
    resize = bottom_up_resize(reference)
    expect_settings("BottomupResize", resize, {"pad_val": (0, 0, 0)})
    test_cfg = reference.get("test_cfg") or {}
    expect_settings("test_cfg", test_cfg, {"multiscale_test": False, "align_corners": False})
    width, height = resize["input_size"]
    divisor = resize.get("size_factor", 32)
    expect_whole_inputs(reference["data_preprocessor"], divisor)
    return {
        "size": {"height": height, "width": width},
        "size_divisor": divisor,
        "resize_mode": resize.get("resize_mode", FIT),
        "flip_test": bool(test_cfg.get("flip_test", False)),
        **normalization_arguments(reference["data_preprocessor"]),
    }
