"""Reading webcams, by OpenCV."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hfpose.media.frames import Frame, MediaItem, VideoInfo


def read_webcam(item: MediaItem, number: int, factory: Callable[[int], Any] | None) -> Iterator[Frame]:
    """Frames of a camera until it is lost, which is reported by a last frame with an error."""
    import cv2

    with quiet_opencv():
        capture = (factory or cv2.VideoCapture)(number)
    try:
        if not capture.isOpened():
            yield Frame(
                item,
                error=f"Camera {number} cannot be opened: it is not connected, in use by another program, or locked.",
            )
            return
        fps = capture.get(cv2.CAP_PROP_FPS)
        rate = fps if math.isfinite(fps) and 0 < fps < 1000 else None
        info: VideoInfo | None = None
        count, began = 0, 0.0
        while True:
            try:
                ok, bgr = capture.read()
            except (cv2.error, OSError, RuntimeError):
                ok, bgr = False, None
            if not ok or bgr is None:
                break
            began = began or time.monotonic()
            info = info or VideoInfo(rate, bgr.shape[1], bgr.shape[0], None)
            image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            yield Frame(item, image, frame_index=count, video=info, timestamp=time.monotonic() - began)
            count += 1
        yield Frame(item, error=f"Camera {number} stopped after {count} frames: was it unplugged?", video=info)
    finally:
        capture.release()


_log_level_lock = threading.Lock()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing, on failure to open, what is reported as an error here."""
    from cv2.utils import logging

    with _log_level_lock:
        level = logging.getLogLevel()
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            logging.setLogLevel(level)
