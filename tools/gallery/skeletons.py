"""An image of each keypoint schema: its skeleton in its colors, with the number and name of each keypoint."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hfpose.keypoints import KeypointSchema
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses
from layouts import layout

_BACKGROUND = (27, 30, 38)
_INK = (226, 230, 238)
_DRAWING, _MARGIN, _ROW, _COLUMN = 640, 46, 19, 190
_MOST_NUMBERS = 45  # more would cover each other at the usual size


def schema_image(schema: KeypointSchema) -> np.ndarray:
    """The skeleton of `schema` with the numbers of its keypoints and, beside it, their names; RGB uint8."""
    points, height, many = _fitted(layout(schema)), _DRAWING, schema.num_keypoints > _MOST_NUMBERS
    names = _legend(schema)
    rows = (height - 2 * _MARGIN) // _ROW
    columns = -(-len(names) // rows)
    canvas = np.full((height, _DRAWING + columns * _COLUMN, 3), _BACKGROUND, np.uint8)
    pose = PoseOutput(points[None], np.ones((1, len(points))), schema=schema)
    canvas = draw_poses(canvas, pose, radius=3 if many else 6, thickness=2 if many else 4)
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(14), ImageFont.load_default(9 if many else 13)
    title = f"{schema.name}: {schema.num_keypoints} keypoints"
    pen.text((_MARGIN // 2, 12), title, _INK, ImageFont.load_default(18))
    for index, (x, y) in enumerate(points):
        if schema.num_keypoints <= 140:
            pen.text((x + 5, y - 5), str(index), _INK, small, anchor="ls", stroke_width=1, stroke_fill=_BACKGROUND)
    for place, (text, color) in enumerate(names):
        column, row = divmod(place, rows)
        left, top = _DRAWING + column * _COLUMN, _MARGIN + row * _ROW
        pen.ellipse((left, top + 3, left + 9, top + 12), fill=color)
        pen.text((left + 16, top), text, _INK, font)
    return np.asarray(image)


def _fitted(points: np.ndarray) -> np.ndarray:
    """The points (K, 2) as pixels of the drawing, as large as it allows."""
    low, high = points.min(0), points.max(0)
    room = _DRAWING - 2 * _MARGIN
    scale = room / (high - low).max()
    return (points - (low + high) / 2) * scale + _DRAWING / 2


def _legend(schema: KeypointSchema) -> list[tuple[str, tuple[int, int, int]]]:
    """Lines such as `3 left_ear` with a color; numbered names that follow each other are one line."""
    lines: list[tuple[str, tuple[int, int, int]]] = []
    begun, last = 0, ""
    for index, name in enumerate(schema.keypoint_names):
        stem = re.sub(r"[-_]?(kpt)?\d+$", "", name)
        is_numbered = stem != name and schema.num_keypoints > _MOST_NUMBERS and not _is_finger(name)
        if is_numbered and stem == last:
            lines[-1] = (f"{begun}-{index} {schema.keypoint_names[begun]} to {name}", lines[-1][1])
            continue
        begun, last = index, stem if is_numbered else ""
        color = schema.keypoint_colors[index]
        lines.append((f"{index} {name}", color if any(color) else (90, 94, 104)))
    return lines


def _is_finger(name: str) -> bool:
    return "finger" in name or "thumb" in name
