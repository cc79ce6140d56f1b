"""3D pipelines for models that find 3D keypoints by themselves, without a lifter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from hfpose.media.frames import Frame
from hfpose.media.sources import Source, open_source
from hfpose.pipelines.pose_estimation import (
    PoseEstimationPipeline,
    announcing_errors,
    single_output,
    track_people,
)
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import Association, PoseTracker
from hfpose.visualization import draw_poses_side_by_side


@dataclass(frozen=True, kw_only=True)
class DirectOptions:
    """Arguments of a call of these pipelines, besides those of `PoseEstimationPipeline.stream`.

    Args:
        do_swap_axes: z up instead of the camera's axes; None for what the image processor says.
        do_rebase_height: lowest keypoint at height 0; None for what the image processor says.
    """

    do_swap_axes: bool | None = None
    do_rebase_height: bool | None = None


class Direct3DPipeline(PoseEstimationPipeline):
    """Base of these pipelines. What a subclass makes of what the pose model decodes is `assemble`.

    Args:
        See [`PoseEstimationPipeline`].
    """

    options_class: ClassVar[type[DirectOptions]] = DirectOptions

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
            return_visualization: draw the result: `visualization` of each output, the image with the 2D keypoints beside
                the 3D skeletons.
            num_instances: how many instances are drawn in 3D; None or a negative number draws all.
            options: as for `stream`.

        Returns:
            For one image a `PoseOutput`: `keypoints` (N, K, 3), `keypoints_2d` (N, K, 2). For anything else an iterator of
            them.

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
        track: bool | Association = False,
        tracking_threshold: float = 0.3,
        smooth: bool = False,
        drawing: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Iterator[tuple[Frame, PoseOutput]]:
        """The frames of a source with their results, for callers that write or draw them.

        Args:
            source: what `hfpose.media.sources.open_source` makes of images, videos, webcams and collections of them.
            track, tracking_threshold, smooth: as for `PoseEstimationPipeline`; keypoints are smoothed in 3D.
            drawing: options of `hfpose.visualization.draw_poses_side_by_side`, to fill in `visualization`.
            options: fields of `options_class`, others as for `PoseEstimationPipeline.stream`.
        """
        own = {field.name for field in fields(self.options_class)} & options.keys()
        chosen = self.options_class(**{name: options.pop(name) for name in own})
        # Smoothing without identities is refused there.
        results = self._assembled(super().stream(source, smooth=smooth and not track, **options), chosen)
        if track:
            results = track_people(results, PoseTracker("iou" if track is True else track, tracking_threshold), smooth)
        return results if drawing is None else _drawn(results, drawing)

    def assemble(self, decoded: PoseOutput, options: Any) -> PoseOutput:
        """The result in 3D for what the pose model decoded, N > 0 instances with `keypoints` (N, K, 3)."""
        raise NotImplementedError

    def _assembled(
        self, results: Iterator[tuple[Frame, PoseOutput]], options: DirectOptions
    ) -> Iterator[tuple[Frame, PoseOutput]]:
        for frame, decoded in results:
            if decoded.num_instances:
                yield frame, self.assemble(decoded, options)
            else:
                empty = np.zeros((0, self.schema.num_keypoints, 3), np.float32)
                yield frame, replace(decoded, keypoints=empty, keypoints_2d=empty[..., :2])


def _drawn(
    results: Iterator[tuple[Frame, PoseOutput]], drawing: Mapping[str, Any]
) -> Iterator[tuple[Frame, PoseOutput]]:
    """The results with the image beside the skeletons."""
    for frame, output in results:
        if frame.image is not None and output.error is None:
            wanted = drawing.get("num_instances")
            count = max(output.num_instances if wanted is None or wanted < 0 else wanted, 1)
            image = draw_poses_side_by_side(frame.image, output, **{**drawing, "num_instances": count})
            output = replace(output, visualization=image)
        yield frame, output
