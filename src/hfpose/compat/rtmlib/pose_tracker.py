"""Poses over the frames of a video, with the detector asked for some of them only.

Source: `rtmlib.tools.solution.pose_tracker`; reimplemented.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hfpose.compat.rtmlib.solutions import Solution
from hfpose.hub.modes import Mode
from hfpose.ops.boxes import are_on_image
from hfpose.pipelines.box_following import BOX_SCALE
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import PoseTracker as Identities
from hfpose.tracking.tracker import boxes_around


class PoseTracker:
    """Runs a solution on one frame after the other.

    Args:
        solution: a class of solutions, or a `functools.partial` of one.
        det_frequency: the detector looks at every so many frames; between them boxes follow from the keypoints before.
        tracking: give people identities, see `track_ids_last_frame`.
        tracking_thr: least IoU of boxes of one person in two frames.
        mode: of the solution. Default: its own.
        to_openpose, backend, device: of the solution.

    Attributes:
        track_ids_last_frame: identities of the people of the last result, in its order; empty without `tracking`.
        frame_cnt: frames so far.
    """

    def __init__(
        self,
        solution: Callable[..., Solution],
        det_frequency: int = 1,
        tracking: bool = True,
        tracking_thr: float = 0.3,
        mode: Mode | None = None,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        given = {} if mode is None else {"mode": mode}
        self.solution = solution(to_openpose=to_openpose, backend=backend, device=device, **given)
        self.det_frequency = det_frequency
        self.tracking = tracking
        self._identities = Identities(threshold=tracking_thr)
        self.reset()

    def reset(self) -> None:
        """Begin a new video."""
        self.frame_cnt = 0
        self.track_ids_last_frame: list[int] = []
        self._boxes: np.ndarray | None = None
        self._identities.reset()

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the solution returns for the next frame, a BGR image; with `tracking` those alone that have an
        identity."""
        detects = self.frame_cnt % self.det_frequency == 0
        output = self.solution.estimate(image, None if detects else self._boxes)
        self.frame_cnt += 1
        if self.tracking:
            output = self._identities.update(replace(output, boxes=_boxes_around(output)))
            assert output.track_ids is not None
            identities = output.track_ids[output.track_ids >= 0]
            output = output[output.track_ids >= 0]
            self.track_ids_last_frame = identities.tolist()
        boxes = _boxes_around(output)
        self._boxes = boxes[are_on_image(boxes, image.shape[1::-1])]
        return self.solution.arrays(output)


def _boxes_around(output: PoseOutput) -> np.ndarray:
    """Boxes (N, 4) around the keypoints of the people, with some room."""
    keypoints = output.keypoints if output.keypoints_2d is None else output.keypoints_2d
    return boxes_around(keypoints, np.ones(keypoints.shape[:2], bool), BOX_SCALE)
