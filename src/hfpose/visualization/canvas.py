"""Lines, dots and labels on an RGB image: what 2D and 3D drawing share.

Everything here changes the canvas it is given. Coordinates are float pixels with pixel centers at integers, drawn with
anti-aliasing at a fraction of a pixel, so that a skeleton does not jitter in a video.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import Color, KeypointSchema, load_schema
from hfpose.keypoints.library import numbered_schema
from hfpose.results import PoseOutput

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)

# Distinct colors for track ids, one after the other.
TRACK_COLORS: tuple[Color, ...] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (170, 110, 40),
)  # fmt: skip

_SHIFT = 3  # OpenCV draws at 1 / 2**3 pixel
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def check_image(image: np.ndarray) -> None:
    """Raises InputError unless `image` is an RGB image, uint8 of shape (H, W, 3)."""
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"Drawing needs a numpy array, but {type(image).__name__} was given; hfpose.media.load_image makes one."
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"Drawing needs an RGB image of dtype uint8 and shape (H, W, 3), but {image.dtype} of shape "
            f"{image.shape} was given."
        )


def check_sizes(radius: int | None, thickness: int | None) -> None:
    """Raises InputError unless both are None or 0 to 1000 pixels."""
    for name, value in (("radius", radius), ("thickness", thickness)):
        if value is not None and not 0 <= value <= 1000:
            raise InputError(f"{name} must be 0 to 1000 pixels, but {value} was given.")


def resolve_schema(schema: KeypointSchema | str | None, output: PoseOutput) -> KeypointSchema:
    """The schema to draw `output` with: the one given (or its name), else the output's own, else one without links.

    Raises:
        ConfigError: If the schema is unknown or has another number of keypoints than `output`.
    """
    count = output.keypoints.shape[1]
    if isinstance(schema, str):
        schema = load_schema(schema)
    schema = schema or output.schema
    if schema is None:
        return numbered_schema(count)
    if schema.num_keypoints != count and output.num_instances:
        raise ConfigError(
            f"Schema {schema.name!r} has {schema.num_keypoints} keypoints, but the result has {count}; "
            "give the schema that the model was trained with."
        )
    return schema


def line_width_for(height: int, width: int) -> int:
    """Line width that looks the same in a small and a large image: 2 at 640x480, 4 at 1920x1080."""
    return max(1, round((height * width) ** 0.5 / 320))


def dot_radius_for(height: int, width: int) -> int:
    """Radius of keypoints that goes with `line_width_for`: 3 at 640x480, 6 at 1920x1080."""
    return round(1.5 * line_width_for(height, width) + 0.1)


def draw_lines(
    canvas: np.ndarray, starts: np.ndarray, ends: np.ndarray, colors: Sequence[Color], thickness: int
) -> None:
    """Draws M lines from `starts` (M, 2) to `ends` (M, 2), which must be finite and near the canvas; none at width
    0."""
    if thickness == 0:
        return
    for start, end, color in zip(_fixed_point(starts).tolist(), _fixed_point(ends).tolist(), colors, strict=True):
        cv2.line(canvas, start, end, color, thickness, cv2.LINE_AA, _SHIFT)


def draw_dots(canvas: np.ndarray, centers: np.ndarray, colors: Sequence[Color], radius: int) -> None:
    """Draws M discs around `centers` (M, 2), which must be finite and near the canvas; none at radius 0."""
    if radius == 0:
        return
    for center, color in zip(_fixed_point(centers).tolist(), colors, strict=True):
        cv2.circle(canvas, center, radius << _SHIFT, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def fill_polygon(canvas: np.ndarray, corners: np.ndarray, color: Color) -> None:
    """Fills the convex polygon with `corners` (M, 2), which must be finite and near the canvas."""
    cv2.fillConvexPoly(canvas, _fixed_point(corners), color, cv2.LINE_AA, _SHIFT)


def draw_label(canvas: np.ndarray, text: str, x: float, y: float, color: Color, enlarged: float = 1.0) -> None:
    """Writes `text` into an image (H, W, 3) on a filled tag whose bottom left corner is at (x, y), moved so that it
    lies in the image; `enlarged` for small ones."""
    height, width = canvas.shape[:2]
    scale, thickness = _text_size(height, width, enlarged)
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(1, baseline // 2)
    left = int(np.clip(x, 0, max(0, width - text_width - 2 * pad)))
    bottom = int(np.clip(y, text_height + 2 * pad, height - 1))
    cv2.rectangle(canvas, (left, bottom - text_height - 2 * pad), (left + text_width + 2 * pad, bottom), color, -1)
    # ITU-R BT.601 luma tells whether black or white is easier to read on the tag.
    ink = BLACK if 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 128 else WHITE
    cv2.putText(canvas, text, (left + pad, bottom - pad), _FONT, scale, ink, thickness, cv2.LINE_AA)


def draw_text(canvas: np.ndarray, text: str, x: float, y: float, color: Color) -> None:
    """Writes `text` into an image (H, W, 3) with its bottom left corner at (x, y), which must be finite and near the
    canvas."""
    scale, thickness = _text_size(*canvas.shape[:2])
    cv2.putText(canvas, text, (round(x), round(y)), _FONT, scale, color, thickness, cv2.LINE_AA)


def points_within(points: np.ndarray, height: int, width: int, margin: float = 0.0) -> np.ndarray:
    """Which of `points` (..., 2) are finite and at most `margin` pixels off the image: booleans (...)."""
    with np.errstate(invalid="ignore"):
        inside = (points >= -0.5 - margin) & (points < np.array([width, height]) - 0.5 + margin)
    return np.asarray(inside.all(axis=-1))


def _text_size(height: int, width: int, enlarged: float = 1.0) -> tuple[float, int]:
    """Font scale and line width of text in an image of this size."""
    scale = max(0.35, enlarged * (height * width) ** 0.5 / 1400)
    return scale, max(1, round(scale * 1.5))


def _fixed_point(points: np.ndarray) -> np.ndarray:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def fine_keypoints(schema: KeypointSchema) -> np.ndarray:
    """Which keypoints (K,) are the small faces and hands of a schema that has bodies too."""
    body = np.zeros(schema.num_keypoints, dtype=bool)
    body[list(schema.upper_body_ids + schema.lower_body_ids)] = True
    return ~body if body.any() else body
