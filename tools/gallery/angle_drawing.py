"""What the angles of `hfpose.keypoints.angles` are and which way they grow, as a drawing."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

_BODY, _AXIS, _ANGLE = "#3c3c3c", "#b4b4b4", "#1e6ec8"
Point = tuple[float, float]


def angle_image() -> np.ndarray:
    """The drawing (H, W, 3), uint8 RGB: a figure from the side, from the front and from above."""
    figure = Figure(figsize=(13, 5.4), dpi=100, layout="tight")
    canvas = FigureCanvasAgg(figure)
    views = (_side, "from the side (faces right)"), (_front, "from the front (faces you)"), (_above, "from above")
    for axes, (draw, title) in zip(figure.subplots(1, 3), views, strict=True):
        draw(axes)
        axes.set_title(title)
        axes.set_aspect("equal")
        axes.axis("off")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _side(axes: Axes) -> None:
    hip, chest, elbow, hand, knee, foot = (0, 0), (0.08, 0.6), (0.3, 0.36), (0.56, 0.41), (0.18, -0.32), (0.02, -0.66)
    toe, head = (0.22, -0.65), (0.19, 0.82)
    _limbs(axes, [head, chest, hip, knee, foot, toe], [chest, elbow, hand])
    _head(axes, head)
    _angle(axes, hip, 90, _degrees(hip, chest), 0.42, "trunk_flexion +\npelvis_tilt +", (-0.56, 0.4))
    _angle(axes, chest, _degrees(hip, chest), _degrees(chest, head), 0.2, "neck_flexion", (0.32, 0.8))
    _angle(axes, chest, _degrees(chest, hip), _degrees(chest, elbow), 0.2, "shoulder_flexion", (0.3, 0.5))
    _angle(axes, elbow, _degrees(chest, elbow), _degrees(elbow, hand), 0.14, "elbow_flexion", (0.5, 0.27))
    _angle(axes, hip, _degrees(chest, hip), _degrees(hip, knee), 0.22, "hip_flexion", (-0.48, -0.2))
    _angle(axes, knee, _degrees(hip, knee), _degrees(knee, foot), 0.14, "knee_flexion", (0.34, -0.42))
    _angle(
        axes,
        foot,
        _degrees(knee, foot) + 90,
        _degrees(foot, toe),
        0.16,
        "ankle_flexion +\n(dorsiflexion)",
        (0.3, -0.72),
    )
    axes.set(xlim=(-0.6, 1.0), ylim=(-0.85, 1.0))


def _front(axes: Axes) -> None:
    root, chest, head = (0, 0), (-0.08, 0.58), (-0.18, 0.8)
    right, left, right_hip, left_hip = (-0.26, 0.57), (0.1, 0.59), (-0.13, -0.03), (0.13, 0.03)
    elbow, knee = (0.42, 0.36), (0.42, -0.58)
    _limbs(axes, [head, chest, root], [(-0.3, 0.18), right, left, elbow], [(-0.13, -0.65), right_hip, left_hip, knee])
    _head(axes, head)
    _angle(axes, root, 90, _degrees(root, chest), 0.4, "trunk_side", (-0.72, 0.42))
    _angle(axes, chest, _degrees(root, chest), _degrees(chest, head), 0.18, "neck_side", (-0.66, 0.8))
    _angle(axes, left, -90, _degrees(left, elbow), 0.2, "shoulder_abduction", (0.3, 0.16))
    _angle(axes, left_hip, -90, _degrees(left_hip, knee), 0.3, "hip_abduction", (0.36, -0.3))
    _angle(axes, root, 180, _degrees(left_hip, right_hip), 0.24, "pelvis_side +\n(right hip low)", (-0.8, -0.14))
    axes.text(-0.13, -0.75, "right", ha="center")
    axes.text(0.42, -0.75, "left", ha="center")
    axes.set(xlim=(-0.85, 0.9), ylim=(-0.85, 1.0))


def _above(axes: Axes) -> None:
    for length, color, turn in ((0.22, "#8c8c8c", 25.0), (0.3, _BODY, 50.0)):  # hips, shoulders
        way = length * np.array([np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))])
        axes.plot([-way[0], way[0]], [-way[1], way[1]], color=color, linewidth=4, solid_capstyle="round")
    _head(axes, (0, 0))
    _angle(axes, (0, 0), -90, -65, 0.42, "pelvis_turn +\n(to the left)", (0.3, -0.6))
    _angle(axes, (0, 0), -65, -40, 0.52, "trunk_turn +\n(of the chest)", (0.42, -0.42))
    axes.text(0, -0.72, "camera", ha="center")
    axes.set(xlim=(-0.6, 0.95), ylim=(-0.85, 0.6))


def _limbs(axes: Axes, *chains: list[Point]) -> None:
    for chain in chains:
        axes.plot(*zip(*chain, strict=True), color=_BODY, linewidth=4, solid_capstyle="round", solid_joinstyle="round")


def _head(axes: Axes, center: Point) -> None:
    axes.add_patch(Circle(center, 0.07, fill=False, edgecolor=_BODY, linewidth=3))


def _degrees(start: Point, end: Point) -> float:
    """Direction of a segment, counterclockwise from the right."""
    return float(np.rad2deg(np.arctan2(end[1] - start[1], end[0] - start[0])))


def _angle(axes: Axes, center: Point, zero: float, now: float, radius: float, name: str, place: Point) -> None:
    """An arrow from the direction of 0 (dashed) to where the segment points, and the name of the angle."""
    turn = (now - zero + 180) % 360 - 180
    arc = np.deg2rad(np.linspace(zero, zero + turn, 30))
    x, y = center[0] + radius * np.cos(arc), center[1] + radius * np.sin(arc)
    ray = np.deg2rad(zero)
    axes.plot(
        [center[0], center[0] + 1.25 * radius * np.cos(ray)], [center[1], center[1] + 1.25 * radius * np.sin(ray)],
        color=_AXIS, linestyle="--", linewidth=1.2,
    )  # fmt: skip
    axes.plot(x[:-3], y[:-3], color=_ANGLE, linewidth=1.8)
    axes.annotate("", (x[-1], y[-1]), (x[-4], y[-4]), arrowprops={"arrowstyle": "-|>", "color": _ANGLE})
    axes.text(*place, name if "+" in name else f"{name} +", color=_ANGLE)
