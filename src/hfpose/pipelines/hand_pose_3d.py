"""The 3D pipeline for hands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hfpose.media.frames import Frame
from hfpose.media.sources import Source, open_source
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline, announcing_errors, single_output
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses_side_by_side


class HandPose3DPipeline(PoseEstimationPipeline):
    """
    Finds pairs of hands in images and the place of their joints in space.

    Every image is taken as one box with a pair of hands in it, unless there is a detector or boxes are given.

    Args:
        See [`PoseEstimationPipeline`]; `model` is an [`InterNetForHandPose`].

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation-3d", model="hand3d")
    >>> hands = pipe("hands.jpg")
    >>> hands.keypoints  # (N, 42, 3): pixels across the image, millimeters along depth; z up
    >>> hands.hand_types  # (N, 2): is there a right hand, is there a left one
    ```
    """

    def __call__(
        self,
        inputs: Any,
        *,
        keypoint_threshold: float = 0.3,
        return_visualization: bool = False,
        num_instances: int | None = None,
        **options: Any,
    ) -> PoseOutput | Iterator[PoseOutput]:
        """
        Args:
            inputs: an image, or several: a list, a folder, a video, a webcam, a generator, a data set.
            keypoint_threshold: least score of a keypoint that is drawn.
            return_visualization: draw the result: `visualization` of each output, the image with the 2D joints beside
                the 3D skeletons.
            num_instances: how many pairs of hands are drawn in 3D; None or a negative number draws all.
            options: as for `stream`.

        Returns:
            For one image a `PoseOutput`: `keypoints` (N, 42, 3), `keypoints_2d` (N, 42, 2), `hand_types`, `root_depths`.
            Joints of a hand that is not there have score 0. For anything else an iterator of them.

        Raises:
            InputError: if the one image or its boxes cannot be used. Among several a bad one does not stop the others.
        """
        source = open_source(inputs)
        drawing = {"keypoint_threshold": keypoint_threshold, "num_instances": num_instances}
        results = self.stream(source, drawing=drawing if return_visualization else None, **options)
        return single_output(results) if source.is_single else announcing_errors(results)

    def stream(
        self,
        source: Source,
        *,
        do_swap_axes: bool | None = None,
        do_rebase_height: bool | None = None,
        drawing: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[tuple[Frame, PoseOutput]]:
        """The frames of a source with their results, for callers that write or draw them.

        Args:
            source: what `hfpose.media.sources.open_source` makes of images, videos, webcams and collections of them.
            do_swap_axes, do_rebase_height: replace those of the image processor: z up instead of the camera's axes;
                lowest joint at height 0.
            drawing: options of `hfpose.visualization.draw_poses_side_by_side`, to fill in `visualization`.
            options: as for `PoseEstimationPipeline.stream`.
        """
        for frame, decoded in super().stream(source, **options):
            output = self._assemble(decoded, do_swap_axes, do_rebase_height)
            if drawing is not None and frame.image is not None and output.error is None:
                wanted = drawing.get("num_instances")
                count = 1 if wanted is None or wanted < 1 else wanted
                shown = {**drawing, "num_instances": max(output.num_instances, 1) if wanted is None else count}
                output.visualization = draw_poses_side_by_side(frame.image, output, **shown)
            yield frame, output

    def _assemble(self, decoded: PoseOutput, do_swap_axes: bool | None, do_rebase_height: bool | None) -> PoseOutput:
        """Both hands of each pair in one space."""
        if decoded.num_instances == 0:
            empty = np.zeros((0, self.schema.num_keypoints, 3), np.float32)
            return replace(decoded, keypoints=empty, keypoints_2d=empty[..., :2])
        assert decoded.hand_types is not None and decoded.root_depths is not None
        keypoints, scores = self.estimator.stage.image_processor.assemble_hands(
            decoded.keypoints,
            decoded.keypoint_scores,
            decoded.hand_types,
            decoded.root_depths,
            do_swap_axes,
            do_rebase_height,
        )
        return replace(decoded, keypoints=keypoints, keypoint_scores=scores, keypoints_2d=decoded.keypoints[..., :2])
