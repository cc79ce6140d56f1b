"""Small videos of given images, and cameras that show them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def write_frames(path: Path | str, images: Iterable[np.ndarray], codec: str = "mp4v", fps: float = 25.0) -> Path:
    """Write RGB images (H, W, 3), uint8, all of one size, as a video."""
    writer: cv2.VideoWriter | None = None
    for image in images:
        if writer is None:
            size = (image.shape[1], image.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
            assert writer.isOpened()
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    if writer is not None:
        writer.release()
    return Path(path)


class Camera:
    """A camera as `cv2.VideoCapture` opens it: it shows RGB images, and then fails.

    Args:
        images: (H, W, 3), uint8; without any it cannot be opened.
        fps: what it says of its rate.
        failure: what reading raises in the end; None for what OpenCV does.
    """

    def __init__(self, images: Iterable[np.ndarray] = (), fps: float = 0.0, failure: Exception | None = None) -> None:
        self._images = iter(images)
        self._next = next(self._images, None)
        self._opens = self._next is not None
        self._fps = fps
        self._failure = failure
        self.is_released = False

    def isOpened(self) -> bool:
        return self._opens

    def get(self, prop: int) -> float:
        return self._fps if prop == cv2.CAP_PROP_FPS else -1.0

    def read(self) -> tuple[bool, Any]:
        image, self._next = self._next, next(self._images, None)
        if image is None and self._failure is not None:
            raise self._failure
        return (False, None) if image is None else (True, np.ascontiguousarray(image[..., ::-1]))

    def release(self) -> None:
        self.is_released = True
