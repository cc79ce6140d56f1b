"""Drawing a model's heatmaps over the image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from hfpose.errors import InputError
from hfpose.results import PoseOutput
from hfpose.visualization.canvas import check_image
from hfpose.visualization.poses import draw_poses


def draw_heatmaps(image: np.ndarray, output: PoseOutput, *, alpha: float = 0.5) -> np.ndarray:
    """Overlays the highest of all people's heatmaps, from blue (low) to red (high), on a copy of `image`.

    As in the reference (`mmengine.visualization.Visualizer.draw_featmap`) the lowest value in the image is blue and
    the highest red, and the colors cover the whole image.

    Args:
        image: RGB uint8 image (H, W, 3). It is not changed.
        output: Its `heatmaps` are (N, K, h, w) over `heatmap_boxes`, or (K, H', W') over the whole image.
        alpha: Weight of the colors, 0 to 1; the rest is the image.

    Returns:
        RGB uint8 image (H, W, 3), a new array.

    Raises:
        InputError: If `image` is not such an image, or `output` has no heatmaps or no boxes for them.
    """
    check_image(image)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be 0 to 1, but {alpha} was given.")
    peaks = _image_sized(output, *image.shape[:2])
    levels = np.empty(peaks.shape, np.uint8)
    cv2.normalize(peaks, levels, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    return cv2.addWeighted(colors, alpha, np.ascontiguousarray(image), 1 - alpha, 0, dst=colors)


def draw_poses_and_heatmaps(
    image: np.ndarray, output: PoseOutput, *, black_background: bool = False, **options: Any
) -> np.ndarray:
    """Draws the poses and, below them, the heatmaps, on an RGB uint8 image (H, W, 3) or on black, as MMPose shows the
    two.

    Other options are those of `draw_poses`.

    Returns:
        RGB uint8 image (2 H, W, 3).

    Raises:
        InputError, ConfigError: As `draw_poses` and `draw_heatmaps` do.
    """
    check_image(image)
    if black_background:
        image = np.zeros_like(image)
    return np.concatenate([draw_poses(image, output, **options), draw_heatmaps(image, output)])


def _image_sized(output: PoseOutput, height: int, width: int) -> np.ndarray:
    """The highest heatmap value at each pixel, (height, width) float32."""
    heatmaps = output.heatmaps
    if heatmaps is None:
        raise InputError("This result has no heatmaps to draw; ask the pipeline for them.")
    if heatmaps.ndim not in (3, 4) or (heatmaps.ndim == 4 and output.heatmap_boxes is None):
        raise InputError(
            f"Heatmaps must be (K, H, W) over the image or (N, K, h, w) with heatmap_boxes, but {heatmaps.shape} "
            f"with{'out' if output.heatmap_boxes is None else ''} heatmap_boxes was given."
        )
    heatmaps = np.nan_to_num(heatmaps, nan=0.0, posinf=0.0, neginf=0.0)
    if heatmaps.ndim == 3:
        if heatmaps.size == 0:
            return np.zeros((height, width), np.float32)
        return cv2.resize(heatmaps.max(axis=0), (width, height), interpolation=cv2.INTER_LINEAR)
    assert output.heatmap_boxes is not None
    peaks = np.zeros((height, width), np.float32)
    if heatmaps.size:
        for person, box in zip(heatmaps.max(axis=1), output.heatmap_boxes, strict=True):
            _paste_highest(peaks, person, box)
    return peaks


def _paste_highest(peaks: np.ndarray, heatmap: np.ndarray, box: np.ndarray) -> None:
    """Keeps the higher of `peaks` and `heatmap` (h, w), stretched over `box` (x1, y1, x2, y2), at each pixel."""
    height, width = peaks.shape
    if not np.isfinite(box).all():
        return
    x1, y1, x2, y2 = (float(value) for value in box)
    left, top = max(0, int(np.floor(np.clip(x1, 0, width)))), max(0, int(np.floor(np.clip(y1, 0, height))))
    right, bottom = int(np.ceil(np.clip(x2, 0, width))), int(np.ceil(np.clip(y2, 0, height)))
    if x2 <= x1 or y2 <= y1 or right <= left or bottom <= top:
        return
    stretch_x, stretch_y = (x2 - x1) / heatmap.shape[1], (y2 - y1) / heatmap.shape[0]
    matrix = np.array([[stretch_x, 0, x1 - left], [0, stretch_y, y1 - top]])
    warped = cv2.warpAffine(heatmap, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    region = peaks[top:bottom, left:right]
    np.maximum(region, warped, out=region)
