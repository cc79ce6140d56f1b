"""rtmlib's solutions over hfpose's pipelines: change the import line, keep the rest.

    from hfpose.compat.rtmlib import Body, PoseTracker, draw_skeleton

    body = Body(mode="lightweight", backend="onnxruntime", device="cpu")
    keypoints, scores = body(cv2.imread("photo.jpg"))

Arguments and results are those of rtmlib 0.0.16: BGR images in, arrays out. Where it differs on purpose is said in
docs/rtmlib.md.
"""

from __future__ import annotations

from hfpose.compat.rtmlib.drawing import draw_bbox, draw_skeleton
from hfpose.compat.rtmlib.pose_tracker import PoseTracker
from hfpose.compat.rtmlib.solutions import Animal, Body, BodyWithFeet, Custom, Hand, Wholebody, Wholebody3d, nms

__all__ = [
    "Animal",
    "Body",
    "BodyWithFeet",
    "Custom",
    "Hand",
    "PoseTracker",
    "Wholebody",
    "Wholebody3d",
    "draw_bbox",
    "draw_skeleton",
    "nms",
]
