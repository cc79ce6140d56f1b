"""3D pipelines for models that find 3D keypoints by themselves, without a lifter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from hfpose.media.frames import Frame
from hfpose.pipelines.base_pipeline import PosePipeline, Results
from hfpose.pipelines.options import CallOptions, CallOptions3D
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses_side_by_side


class Direct3DPipeline(PosePipeline):
    """Base of these pipelines. What a subclass makes of what the pose model decodes is `assemble`.

    Its outputs have `keypoints` (N, K, 3) and `keypoints_2d` (N, K, 2); keypoints are tracked in 2D and smoothed in
    3D.

    Args:
        See [`PosePipeline`].
    """

    options_class = CallOptions3D

    def complete(self, results: Results, options: CallOptions) -> Results:
        return super().complete(self._assembled(results, cast(CallOptions3D, options)), options)

    def assemble(self, decoded: PoseOutput, options: Any) -> dict[str, np.ndarray]:
        """What in 3D differs from what the pose model decoded: N > 0 instances with `keypoints` (N, K, 3)."""
        raise NotImplementedError

    def space(self, options: Any) -> tuple[str | None, str | None]:
        """Axes and units of the keypoints in 3D."""
        raise NotImplementedError

    def _assembled(self, results: Results, options: CallOptions3D) -> Results:
        axes, units = self.space(options)
        for frame, decoded in results:
            fields: dict[str, Any] = {"keypoints": np.zeros((0, self.schema.num_keypoints, 3), np.float32)}
            if decoded.num_instances:
                fields = self.assemble(decoded, options)
            flat = decoded.keypoints[..., :2]
            yield frame, replace(decoded, keypoints_2d=flat, axes=axes, units=units, **fields)

    def _draw(self, frame: Frame, output: PoseOutput, options: CallOptions) -> np.ndarray:
        """The image of a frame beside the skeletons."""
        assert frame.image is not None
        drawing = options.drawing_options
        wanted, people = drawing.pop("num_instances"), output.num_instances
        count = people if wanted is None else wanted
        # A single image has no panels without a person, the frames of a video have one size.
        count = max(count, 1) if frame.frame_index is not None else min(count, people) or None
        return draw_poses_side_by_side(frame.image, output, num_instances=count, **drawing)
