"""How long drawing takes: ten people on a 1920 x 1080 frame, one thread, best of 50 runs.

python benchmarks/draw_poses.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from hfpose.keypoints import load_schema
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses
from measuring import seconds

PEOPLE, HEIGHT, WIDTH, RUNS = 10, 1080, 1920, 50

# A standing person in COCO's order, as parts of its box.
PERSON = np.array(
    [
        *[(0.50, 0.08), (0.54, 0.05), (0.46, 0.05), (0.60, 0.07), (0.40, 0.07), (0.72, 0.21), (0.28, 0.21)],
        *[(0.85, 0.37), (0.15, 0.37), (0.95, 0.51), (0.05, 0.51), (0.64, 0.52), (0.36, 0.52)],
        *[(0.65, 0.74), (0.35, 0.74), (0.66, 0.96), (0.34, 0.96)],
    ]
)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    print(f"{'people':>12} {'style':>22} {'ms':>8}")
    for height in (200, 500, 900):
        size = np.array([0.4 * height, height])
        corners = rng.uniform([0, 0], [WIDTH, HEIGHT] - size, (PEOPLE, 2))
        output = PoseOutput(
            corners[:, None] + PERSON * size,
            np.ones((PEOPLE, 17)),
            boxes=np.concatenate([corners, corners + size], axis=1),
            track_ids=np.arange(PEOPLE),
            schema=load_schema("coco"),
        )
        draw = partial(draw_poses, frame, output)
        report(height, "skeleton", partial(draw, draw_track_ids=False))
        report(height, "skeleton, boxes, ids", partial(draw, draw_boxes=True))
        report(height, "openpose", partial(draw, skeleton_style="openpose"))


def report(person_height: int, style: str, run: Callable[[], object]) -> None:
    best = min(seconds(run) for _ in range(RUNS))
    print(f"{person_height:>9} px {style:>22} {best * 1e3:>8.2f}")


if __name__ == "__main__":
    main()
