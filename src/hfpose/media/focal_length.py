"""The focal length that a camera has written into an image or a video."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image

from hfpose.media.video import open_video

_DIAGONAL_35MM = math.hypot(36, 24)  # millimeters of a frame of 35 mm film
_EXIF_BLOCK, _FOCAL_LENGTH_35MM = 0x8769, 0xA405  # EXIF 2.3
_VIDEO_KEY = "com.apple.quicktime.camera.focal_length.35mm_equivalent"


def recorded_focal_length(source: str | None, image_size: tuple[int, int]) -> float | None:
    """Focal length in pixels by the equivalent for 35 mm film in an image's EXIF block or a video's metadata.

    Args:
        source: path of an image or a video. Nothing is known of URLs, cameras and arrays.
        image_size: width and height in pixels; of a part of an image the length would be another.
    """
    if source is None or "://" in source or not Path(source).is_file():
        return None
    length = _of_image(source)
    length = _of_video(source) if length is None else length
    return length / _DIAGONAL_35MM * math.hypot(*image_size) if length else None


def _of_image(path: str) -> float | None:
    """Millimeters; None for what is no image, 0 where it says nothing."""
    try:
        with Image.open(path) as image:
            return float(image.getexif().get_ifd(_EXIF_BLOCK).get(_FOCAL_LENGTH_35MM, 0))
    except Exception:  # no image, or a broken block: Pillow raises whatever its plugins do
        return None


def _of_video(path: str) -> float | None:
    try:
        with open_video(path, timeout=0) as container:
            known = [container.metadata, *(stream.metadata for stream in container.streams)]
            return next((float(each[_VIDEO_KEY]) for each in known if _VIDEO_KEY in each), None)
    except (OSError, ValueError):
        return None
