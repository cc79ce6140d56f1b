"""Drawing people onto an image: skeletons, boxes and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import numpy as np

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import Color, KeypointSchema
from hfpose.results import PoseOutput
from hfpose.visualization.canvas import (
    TRACK_COLORS,
    check_image,
    check_sizes,
    dot_radius_for,
    draw_dots,
    draw_label,
    draw_lines,
    draw_text,
    fine_keypoints,
    line_width_for,
    points_within,
    resolve_schema,
)
from hfpose.visualization.controlnet import draw_controlnet_pose
from hfpose.visualization.openpose import blend_ellipses, to_openpose

SkeletonStyle = Literal["mmpose", "openpose"]
ColorBy = Literal["side", "instance", "track"]

_BOX_COLOR: Color = (255, 0, 255)  # none of the schemas paints a limb so
_MANY = 8


def draw_poses(
    image: np.ndarray,
    output: PoseOutput,
    *,
    schema: KeypointSchema | str | None = None,
    keypoint_threshold: float = 0.3,
    radius: int | None = None,
    thickness: int | None = None,
    draw_boxes: bool = False,
    draw_scores: bool = True,
    draw_track_ids: bool = True,
    draw_keypoint_indices: bool = False,
    labels: Sequence[str] | None = None,
    color_by: ColorBy | None = None,
    box_color: Color | None = None,
    skeleton_style: SkeletonStyle = "mmpose",
    black_background: bool = False,
    canvas_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Draws the people of `output` on a copy of `image`.

    A keypoint is drawn if its score is at least `keypoint_threshold`, a link if both its ends are and lie in the
    image, as in the reference (`mmpose.visualization.PoseLocalVisualizer`). A 3D result is drawn by its
    `keypoints_2d`.

    Args:
        image: RGB uint8 image (H, W, 3) that `output` belongs to. It is not changed.
        output: N people with K keypoints, in pixels of `image`.
        schema: Schema or name of one for skeleton and colors. Default: the output's own; without any, dots only.
        keypoint_threshold: Lowest keypoint score that is drawn.
        radius: Radius of keypoints in pixels, 0 for none. Default: grows with the image, 3 at 640x480.
        thickness: Width of links and boxes as OpenCV counts it, 0 for none (in OpenPose style: half the width of a
            limb). Default: grows with the image, 2 at 640x480. Faces and hands of whole-body schemas are drawn with
            half of both.
        draw_boxes: Draw the outline of `output.boxes`.
        draw_scores: Write the score at each box that is drawn.
        draw_track_ids: Write `output.track_ids` at each person; boxes then have one color for each id.
        draw_keypoint_indices: Write the index beside each keypoint.
        labels: N texts, one written at each person (after track id and score) of whom anything is drawn.
        color_by: "side" for the schema's colors, which tell left from right; "instance" for one color for each person;
            "track" for one that follows `output.track_ids`. Default: "instance" where a single image shows more than
            8, else "side".
        box_color: Color of all boxes and labels. Default: that of the person, and where people are colored by side
            magenta, which no limb has.
        skeleton_style: "mmpose", or "openpose" for OpenPose's colors, limbs and neck.
        black_background: Draw on black instead of the image. In OpenPose style that is what pose ControlNets are
            given, with hands and face as DWPose draws them, and nothing else; see `draw_controlnet_pose`.
        canvas_size: Width and height of that image. Default: those of the image.

    Returns:
        RGB uint8 image (H, W, 3), a new array.

    Raises:
        InputError: If `image` is not such an image, `labels` has not N texts, or a 3D result has no `keypoints_2d`.
        ConfigError: If the schema does not fit the result or the style, for a `canvas_size` of another image, or for
            colors by track without track ids.
    """
    check_image(image)
    check_sizes(radius, thickness)
    _check_options(output, labels, skeleton_style, color_by)
    schema = resolve_schema(schema, output)
    if skeleton_style == "openpose" and black_background:
        return draw_controlnet_pose(
            _keypoints_2d(output),
            output.keypoint_scores,
            schema,
            (image.shape[1], image.shape[0]),
            canvas_size=canvas_size,
            keypoint_threshold=keypoint_threshold,
            radius=radius,
            thickness=thickness,
        )
    if canvas_size is not None:
        raise ConfigError('canvas_size goes with skeleton_style="openpose" and black_background=True.')
    canvas = np.zeros_like(image, order="C") if black_background else np.array(image, order="C")
    if output.num_instances == 0:
        return canvas
    height, width = canvas.shape[:2]
    thickness = line_width_for(height, width) if thickness is None else int(thickness)
    radius = dot_radius_for(height, width) if radius is None else int(radius)

    # float64, so that fractions of a pixel survive in large coordinates
    keypoints, scores = _keypoints_2d(output).astype(np.float64), output.keypoint_scores
    if skeleton_style == "openpose":
        keypoints, scores, schema = to_openpose(keypoints, scores, schema, keypoint_threshold)
    confident = scores >= keypoint_threshold
    dots = confident & points_within(keypoints, height, width, margin=radius)
    colors = _person_colors(output, color_by)
    _draw_people(canvas, keypoints, confident, dots, schema, radius, thickness, skeleton_style, colors)
    if draw_keypoint_indices:
        for person, index in np.argwhere(dots):
            x, y = keypoints[person, index]
            draw_text(canvas, str(index), x + radius, y - radius, schema.keypoint_colors[index])
    if box_color is None and colors is None and draw_track_ids and output.track_ids is not None:
        colors = _person_colors(output, "track")
    if box_color is not None or colors is None:
        colors = [box_color or _BOX_COLOR] * output.num_instances
    boxed = np.zeros(output.num_instances, bool)
    if draw_boxes and output.boxes is not None and thickness > 0:
        boxed = _draw_boxes(canvas, output.boxes, colors, thickness)
    texts = label_texts(output, labels, draw_track_ids, draw_scores and bool(boxed.any()))
    for person in np.flatnonzero(boxed | dots.any(axis=1)).tolist():
        if texts[person]:
            corner = _label_corner(output, person, keypoints[person], dots[person], radius)
            draw_label(canvas, texts[person], *corner, colors[person])
    return canvas


def _check_options(
    output: PoseOutput, labels: Sequence[str] | None, skeleton_style: str, color_by: str | None
) -> None:
    if skeleton_style not in get_args(SkeletonStyle):
        raise ConfigError(f"skeleton_style must be 'mmpose' or 'openpose', but {skeleton_style!r} was given.")
    if color_by is not None and color_by not in get_args(ColorBy):
        raise ConfigError(f"color_by must be 'side', 'instance' or 'track', but {color_by!r} was given.")
    if color_by == "track" and output.track_ids is None and output.num_instances:
        raise ConfigError(
            "color_by='track' needs track ids, which this result has not: call the pipeline with track=True."
        )
    if labels is not None and len(labels) != output.num_instances:
        raise InputError(
            f"labels must hold one text for each of {output.num_instances} people, but {len(labels)} were given."
        )


def _keypoints_2d(output: PoseOutput) -> np.ndarray:
    if output.keypoints_2d is not None:
        return output.keypoints_2d
    if output.keypoints.shape[2] == 3:
        raise InputError(
            "A 3D result without keypoints_2d cannot be drawn onto its image; draw_poses_3d draws it in space."
        )
    return output.keypoints


def _draw_people(
    canvas: np.ndarray,
    keypoints: np.ndarray,
    confident: np.ndarray,
    dots: np.ndarray,
    schema: KeypointSchema,
    radius: int,
    thickness: int,
    style: SkeletonStyle,
    colors: Sequence[Color] | None,
) -> None:
    """Draws people one over the other, each with links first and dots on top.

    Args:
        keypoints: (N, K, 2) pixels.
        confident: (N, K) booleans: the score is high enough.
        dots: (N, K) booleans: confident, and in or near the image.
        colors: One for each person, or None for those of the schema.
    """
    links = np.array(schema.skeleton, dtype=int).reshape(-1, 2)
    fine = fine_keypoints(schema)
    fine_links = fine[links].any(axis=1)
    usable = confident & points_within(keypoints, *canvas.shape[:2])
    linked = usable[:, links].all(axis=2)
    if style == "openpose":
        dots = dots & np.any(schema.keypoint_colors, axis=1)  # black stands for "no dot" there
    draw_limbs = blend_ellipses if style == "openpose" else _draw_links
    for person, points in enumerate(keypoints):
        own = None if colors is None else colors[person]
        link_colors = schema.skeleton_colors if own is None else [own] * len(links)
        dot_colors = schema.keypoint_colors if own is None else [own] * len(points)
        for part, draw, width in (
            (~fine_links, draw_limbs, thickness),
            (fine_links, _draw_links, math.ceil(thickness / 2)),
        ):
            chosen = np.flatnonzero(linked[person] & part)
            draw(canvas, points[links[chosen]], [link_colors[i] for i in chosen], width)
        for part, size in ((~fine, radius), (fine, math.ceil(radius / 2))):
            chosen = np.flatnonzero(dots[person] & part)
            draw_dots(canvas, points[chosen], [dot_colors[i] for i in chosen], size)


def _draw_links(canvas: np.ndarray, ends: np.ndarray, colors: Sequence[Color], thickness: int) -> None:
    draw_lines(canvas, ends[:, 0], ends[:, 1], colors, thickness)


def _draw_boxes(canvas: np.ndarray, boxes: np.ndarray, colors: Sequence[Color], thickness: int) -> np.ndarray:
    """Draws boxes (N, 4), and tells which were (N,)."""
    height, width = canvas.shape[:2]
    # An edge off the image stays off it, but comes near enough for OpenCV's integers.
    margin = 2 * thickness
    finite = np.isfinite(boxes).all(axis=1)
    boxes = np.clip(boxes, -margin, np.array([width, height] * 2) + margin)
    for person in np.flatnonzero(finite).tolist():
        x1, y1, x2, y2 = np.rint(boxes[person]).astype(int).tolist()
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colors[person], thickness)
    return finite


def _person_colors(output: PoseOutput, color_by: ColorBy | None) -> list[Color] | None:
    """A color for each person, or None where limbs have those of the schema."""
    if color_by is None:  # frames of a video do not change their colors with the number of people
        color_by = "instance" if output.num_instances > _MANY and output.frame_index is None else "side"
    if color_by == "side":
        return None
    ids = output.track_ids if color_by == "track" else None
    return [
        TRACK_COLORS[i % len(TRACK_COLORS)] for i in (range(output.num_instances) if ids is None else ids.tolist())
    ]


def label_texts(
    output: PoseOutput, labels: Sequence[str] | None, with_ids: bool = True, with_scores: bool = False
) -> list[str]:
    """What is written at each person: track id, box score and label, as far as there are any."""
    columns: list[list[str]] = []
    if with_ids and output.track_ids is not None:
        columns.append([f"#{track_id}" if track_id >= 0 else "" for track_id in output.track_ids.tolist()])
    if with_scores and output.box_scores is not None:
        columns.append([f"{score:.2f}" for score in output.box_scores.tolist()])
    if labels is not None:
        columns.append(list(labels))
    return [" ".join(filter(None, texts)) for texts in zip(*columns, strict=True)] or [""] * output.num_instances


def _label_corner(
    output: PoseOutput, person: int, points: np.ndarray, visible: np.ndarray, radius: int
) -> tuple[float, float]:
    """Where a person's label goes: on the box's upper left corner, else over the highest keypoint drawn."""
    if output.boxes is not None and np.isfinite(output.boxes[person]).all():
        x, y = output.boxes[person, :2].tolist()
        return x, y
    x, y = points[visible][points[visible, 1].argmin()].tolist()
    return x, y - 2 * radius
