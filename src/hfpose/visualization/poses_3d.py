"""Drawing 3D skeletons: each person on a ground plane of its own, seen by one camera, with OpenCV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import Color, KeypointSchema
from hfpose.ops.axes import turn_axes
from hfpose.results import PoseOutput
from hfpose.visualization.canvas import (
    WHITE,
    check_image,
    check_sizes,
    draw_dots,
    draw_label,
    draw_lines,
    fill_polygon,
    fine_keypoints,
    line_width_for,
    points_within,
    resolve_schema,
)
from hfpose.visualization.poses import draw_poses, label_texts

Range = tuple[float, float]

_GROUND_COLOR: Color = (243, 243, 243)
_GRID_COLOR: Color = (205, 205, 205)
_TAG_COLOR: Color = (225, 225, 225)
_GRAY: Color = (110, 110, 110)
_GRID_CELLS = 8
# Below this score a keypoint is hidden rather than seen, and is drawn pale.
_UNSURE, _PALE = 0.5, 0.35
_FINE_SIZE = 1 / 4
_LABEL_SIZE = 1.4  # of one panel, relative to that of an image which is as small; it shrinks less than panels do
ELEVATION = 15.0
# Azimuths from which the reference looks, by schema: near the view of the camera that took the image.
_AZIMUTH = {"interhand3d": -115.0}
_DEFAULT_AZIMUTH = 70.0
_ROUND_SIZES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0)


class AxisLimits(NamedTuple):
    """The part of space that is shown, in the unit of the keypoints (meters, for people). The ground is at `z[0]`."""

    x: Range
    y: Range
    z: Range


def axis_limits_3d(
    outputs: PoseOutput | Iterable[PoseOutput],
    *,
    previous: AxisLimits | None = None,
    keypoint_threshold: float = 0.3,
    follow: bool = False,
) -> AxisLimits:
    """Limits that hold all people of one or more results, with round sizes.

    For a clip, pass all its results and draw every frame with these limits, so that axes stand still. For a stream,
    pass the next result and the `previous` limits: they are kept until a person leaves them.

    Args:
        outputs: Results with 3D keypoints.
        previous: Limits that the new ones must hold too.
        keypoint_threshold: Keypoints with a lower score are not looked at.
        follow: For drawing with `follow`: limits of each person around their own place.
    """
    outputs = [_upright(output) for output in ([outputs] if isinstance(outputs, PoseOutput) else outputs)]
    chosen = [
        (output.keypoints - _places(output, follow)[:, None])[_is_shown(output, keypoint_threshold)]
        for output in outputs
        if _has_depth(output)
    ]
    points = np.concatenate([np.zeros((0, 3)), *chosen]).astype(np.float64)
    if previous is not None:
        low, high = np.array(previous).T
        if ((points >= low) & (points <= high)).all():
            return previous
        points = np.concatenate([points, [low, high]])
    if len(points) == 0:
        return AxisLimits((-0.5, 0.5), (-0.5, 0.5), (0.0, 2.0))
    low, high = points.min(axis=0), points.max(axis=0)
    # People stand on height 0 where they can, else on their lowest keypoint.
    floor = 0.0 if 0 <= low[2] <= high[2] - low[2] else float(low[2])
    height = _round_up(float(high[2]) - floor)
    side = max(_round_up(max(_reach(low[0], high[0]), _reach(low[1], high[1]))), height / 2)
    return AxisLimits(_around(low[0], high[0], side), _around(low[1], high[1], side), (floor, floor + height))


def draw_poses_3d(
    output: PoseOutput,
    *,
    size: int = 512,
    schema: KeypointSchema | str | None = None,
    keypoint_threshold: float = 0.3,
    radius: int | None = None,
    thickness: int | None = None,
    num_instances: int | None = None,
    panels: Sequence[int | None] | None = None,
    azimuth: float | None = None,
    elevation: float = ELEVATION,
    axis_limits: AxisLimits | None = None,
    follow: bool = False,
    labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Draws the 3D skeletons of `output`, each in a panel of its own since each is relative to its own root.

    Panels are in the order of identities where there are some, so that over a clip people keep their places.

    Args:
        output: N people with 3D keypoints (N, K, 3); those in the axes `"camera"` are turned upright.
        size: Height of the image in pixels. Panels fill it in rows and columns: one for one person, 2 x 2 for four; a
            last row of fewer stands in the middle.
        schema: Schema or name of one for skeleton and colors. Default: the output's own.
        keypoint_threshold: Lowest keypoint score that is drawn.
        radius, thickness: Of keypoints and links, in pixels. Default: grow with the panel.
        num_instances: Number of panels; people beyond it are not drawn, the place of missing ones stays white. Fix it
            for a clip, whose frames must have one size. Default: one for each person of whom anything is shown, at
            least one.
        panels: Instead of it for each panel the number of the person in it, None for an empty one; see `Panels` for
            videos.
        azimuth: Where the viewer stands, degrees from the x axis towards the y axis. Default: 70, and -115 for hands,
            from where the reference looks.
        elevation: Degrees of the viewer above the ground.
        axis_limits: The part of space to show. Default: what this output needs; for a clip see `axis_limits_3d`.
        follow: Each panel goes along with its person, and the ground passes below them; for people who move through
            space.
        labels: N texts, one written in each person's panel (after the track id).

    Returns:
        RGB uint8 image (size, W, 3).

    Raises:
        InputError: If the keypoints have no third dimension, or a size is not positive.
        ConfigError: If the schema does not fit the result.
    """
    if output.num_instances and not _has_depth(output):
        raise InputError(
            "draw_poses_3d needs 3D keypoints (N, K, 3), but the result has 2D ones; draw_poses draws them."
        )
    if size < 16 or (num_instances is not None and num_instances < 1):
        raise InputError(f"size must be at least 16 and num_instances at least 1; got {size} and {num_instances}.")
    check_sizes(radius, thickness)
    output = _upright(output)
    schema = resolve_schema(schema, output)
    limits = axis_limits or axis_limits_3d(output, keypoint_threshold=keypoint_threshold, follow=follow)
    shown = _is_shown(output, keypoint_threshold)
    if panels is None:
        people = _by_identity(output, np.flatnonzero(shown.any(axis=1)))[:num_instances]
        panels = [*people, *[None] * ((num_instances or 1) - len(people))]
    rows = math.ceil(math.sqrt(len(panels)))
    columns = math.ceil(len(panels) / rows)
    panel_size = size // rows
    azimuth = default_azimuth(schema) if azimuth is None else azimuth
    view = _View.fit(limits, panel_size, azimuth, elevation)
    empty = _draw_ground(limits, view, panel_size)
    thickness = line_width_for(panel_size, panel_size) + 1 if thickness is None else int(thickness)
    radius = thickness if radius is None else int(radius)

    image = np.full((size, columns * panel_size, 3), 255, np.uint8)
    if all(index is None for index in panels):
        image[:panel_size, :panel_size] = empty
    texts = label_texts(output, labels)
    places = _places(output, follow)
    for place, index in enumerate(panels):
        if index is None:
            continue
        row, column = divmod(place, columns)
        left = column * panel_size + (columns - min(columns, len(panels) - row * columns)) * panel_size // 2
        panel = image[row * panel_size : (row + 1) * panel_size, left : left + panel_size]
        panel[:] = _draw_ground(limits, view, panel_size, places[index]) if follow else empty
        strengths = np.where(output.keypoint_scores[index] < _UNSURE, _PALE, 1.0)
        if output.interpolated is not None and output.interpolated[index]:
            strengths[:] = _PALE
        _draw_skeleton(
            panel, output.keypoints[index] - places[index], shown[index], strengths, schema, view, radius, thickness
        )
        if texts[index]:
            draw_label(panel, texts[index], 0, 0, _TAG_COLOR, enlarged=_LABEL_SIZE * rows**0.5)
    return image


def _by_identity(output: PoseOutput, people: np.ndarray) -> list[int]:
    """Those people, given by their indices, in the order of their identities, those without one last."""
    if output.track_ids is None:
        return people.tolist()
    ids = output.track_ids[people]
    return people[np.lexsort((ids, ids < 0))].tolist()


def draw_poses_side_by_side(
    image: np.ndarray,
    output: PoseOutput,
    *,
    schema: KeypointSchema | str | None = None,
    keypoint_threshold: float = 0.3,
    num_instances: int | None = None,
    panels: Sequence[int | None] | None = None,
    azimuth: float | None = None,
    elevation: float = ELEVATION,
    axis_limits: AxisLimits | None = None,
    follow: bool = False,
    labels: Sequence[str] | None = None,
    **options_2d: Any,
) -> np.ndarray:
    """Draws the 2D poses on the image and, to its right at the same height, the 3D skeletons.

    A panel carries what is written at its person in the image. Several people without track ids are numbered from 0,
    as they are in `output`. Where no person is shown and `num_instances` asks for no panel, the image stands alone.

    Args:
        image: RGB uint8 image (H, W, 3). It is not changed.
        output: Result with 3D `keypoints` and `keypoints_2d`.
        schema, keypoint_threshold: As in `draw_poses`, for both halves.
        num_instances, panels, azimuth, elevation, axis_limits, follow: As in `draw_poses_3d`.
        labels: N texts, written at each person in both halves.
        options_2d: Other options of `draw_poses`, for the left half.

    Returns:
        RGB uint8 image (H, W + width of the panels, 3).

    Raises:
        InputError, ConfigError: As `draw_poses` and `draw_poses_3d` do.
    """
    check_image(image)
    if labels is None and output.track_ids is None and output.num_instances > 1:
        labels = [str(index) for index in range(output.num_instances)]
    both: dict[str, Any] = {"schema": schema, "keypoint_threshold": keypoint_threshold, "labels": labels}
    left = draw_poses(image, output, **both, **options_2d)
    if num_instances is None and panels is None and not _is_shown(output, keypoint_threshold).any():
        return left
    right = draw_poses_3d(
        output,
        size=len(image),
        num_instances=num_instances,
        panels=panels,
        azimuth=azimuth,
        elevation=elevation,
        axis_limits=axis_limits,
        follow=follow,
        **both,
    )
    return np.concatenate([left, right], axis=1)


def default_azimuth(schema: KeypointSchema) -> float:
    """Degrees from which skeletons of `schema` are looked at unless told otherwise."""
    return _AZIMUTH.get(schema.name, _DEFAULT_AZIMUTH)


def viewing_axes(azimuth: float, elevation: float) -> np.ndarray:
    """The viewer's right, up and the direction towards the viewer, (3, 3) rows, for angles in degrees."""
    phi, theta = math.radians(azimuth), math.radians(elevation)
    return np.array(
        [
            [-math.sin(phi), math.cos(phi), 0.0],
            [-math.sin(theta) * math.cos(phi), -math.sin(theta) * math.sin(phi), math.cos(theta)],
            [math.cos(theta) * math.cos(phi), math.cos(theta) * math.sin(phi), math.sin(theta)],
        ]
    )


@dataclass(frozen=True)
class _View:
    """A camera that looks at the middle of the axes' limits and sees all of them.

    `axes` are the rows of `viewing_axes`.
    """

    center: np.ndarray
    axes: np.ndarray
    distance: float
    scale: float
    offset: np.ndarray

    @classmethod
    def fit(cls, limits: AxisLimits, size: int, azimuth: float, elevation: float) -> _View:
        low, high = np.array(limits).T
        far = 4 * float(np.linalg.norm(high - low))
        view = cls((low + high) / 2, viewing_axes(azimuth, elevation), far, 1.0, np.zeros(2))
        projected, _ = view.project(np.array([[x, y, z] for x in limits.x for y in limits.y for z in limits.z]))
        span = projected.max(axis=0) - projected.min(axis=0)
        scale = 0.96 * size / float(span.max())
        middle = (projected.max(axis=0) + projected.min(axis=0)) / 2
        return cls(view.center, view.axes, far, scale, size / 2 - scale * middle)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) and nearness (...) of `points` (..., 3). What is behind the camera becomes NaN."""
        right, up, nearness = np.moveaxis((points - self.center) @ self.axes.T, -1, 0)
        ahead = self.distance - nearness
        perspective = self.distance / np.where(ahead > 0.1 * self.distance, ahead, np.nan)
        pixels = np.stack([right, -up], axis=-1) * perspective[..., None]
        return pixels * self.scale + self.offset, nearness


def _draw_ground(limits: AxisLimits, view: _View, size: int, place: Sequence[float] = (0.0, 0.0)) -> np.ndarray:
    """An empty panel: the ground as a square grid, which stands still in space when limits move with `place`."""
    panel = np.full((size, size, 3), WHITE, np.uint8)
    (x1, x2), (y1, y2), (floor, _) = limits
    outline, _ = view.project(np.array([[x1, y1, floor], [x2, y1, floor], [x2, y2, floor], [x1, y2, floor]]))
    fill_polygon(panel, outline, _GROUND_COLOR)
    xs, ys = (
        np.unique([low, high, *low + (np.linspace(0, high - low, _GRID_CELLS + 1)[:-1] - moved) % (high - low)])
        for (low, high), moved in zip(limits[:2], place, strict=False)
    )
    starts = np.array([[x, y1, floor] for x in xs] + [[x1, y, floor] for y in ys])
    ends = np.array([[x, y2, floor] for x in xs] + [[x2, y, floor] for y in ys])
    draw_lines(panel, view.project(starts)[0], view.project(ends)[0], [_GRID_COLOR] * len(starts), 1)
    return panel


def _draw_skeleton(
    panel: np.ndarray,
    keypoints: np.ndarray,
    shown: np.ndarray,
    strengths: np.ndarray,
    schema: KeypointSchema,
    view: _View,
    radius: int,
    thickness: int,
) -> None:
    """Draws one person's keypoints (K, 3) whose entry in `shown` (K,) is True, far parts first; `strengths` (K,) of
    colors."""
    # What is not shown may be NaN, which is no number to compute with.
    pixels, nearness = view.project(np.where(shown[:, None], keypoints, view.center))
    # A keypoint out of the axes may lie outside of the panel; OpenCV cuts what is reasonably near.
    shown = shown & points_within(pixels, len(panel), len(panel), margin=10 * len(panel))
    links = np.array(schema.skeleton, dtype=int).reshape(-1, 2)
    drawn = np.flatnonzero(shown[links].all(axis=1))
    drawn = drawn[np.argsort(nearness[links[drawn]].mean(axis=1))]
    dots = np.flatnonzero(shown)
    dots = dots[np.argsort(nearness[dots])]
    fine = fine_keypoints(schema)
    fine_links = fine[links].any(axis=1)
    for is_fine, share in ((False, 1.0), (True, _FINE_SIZE)):  # faces and hands are small, and lie on the body
        chosen = drawn[fine_links[drawn] == is_fine]
        ends = pixels[links[chosen]]
        colors = [_on_white(schema.skeleton_colors[i], strengths[links[i]].min()) for i in chosen]
        draw_lines(panel, ends[:, 0], ends[:, 1], colors, math.ceil(thickness * share))
        chosen = dots[fine[dots] == is_fine]
        colors = [_on_white(schema.keypoint_colors[i], strengths[i]) for i in chosen]
        draw_dots(panel, pixels[chosen], colors, math.ceil(radius * share))


def _on_white(color: Color, strength: float) -> Color:
    """The color, mixed with white to be of a strength up to 1; gray for the white of faces, which would not be
    seen."""
    red, green, blue = (round(255 - strength * (255 - part)) for part in (_GRAY if color == WHITE else color))
    return red, green, blue


def _places(output: PoseOutput, follow: bool) -> np.ndarray:
    """Where on the ground (N, 3) people are whom panels follow: the middle of what is known of them; else the
    origin."""
    places = np.zeros((output.num_instances, 3))
    if follow:
        known = np.isfinite(output.keypoints).all(-1, keepdims=True)
        places[:, :2] = (np.where(known, output.keypoints, 0).sum(1) / np.maximum(known.sum(1), 1))[:, :2]
    return places


def _upright(output: PoseOutput) -> PoseOutput:
    """The result with z up."""
    if output.axes != "camera":
        return output
    return replace(output, keypoints=turn_axes(output.keypoints, "world"), axes="world")


def _has_depth(output: PoseOutput) -> bool:
    return output.keypoints.shape[2] == 3


def _is_shown(output: PoseOutput, keypoint_threshold: float) -> np.ndarray:
    return (output.keypoint_scores >= keypoint_threshold) & np.isfinite(output.keypoints).all(axis=-1)


def _round_up(size: float) -> float:
    """The next round number, such as 1.5, 2 or 300, so that axes do not change with every frame."""
    if size <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(size))
    return next(step * power for step in (*_ROUND_SIZES, 12.5) if step * power >= size)


def _reach(low: float, high: float) -> float:
    """Length of the range that holds low..high, with 0 in its middle if it lies between them, as a root does."""
    return float(2 * max(-low, high) if low <= 0 <= high else high - low)


def _around(low: float, high: float, side: float) -> Range:
    middle = 0.0 if low <= 0 <= high else float(low + high) / 2
    return middle - side / 2, middle + side / 2
