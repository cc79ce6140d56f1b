"""The 2D pipeline: images to instances with keypoints."""

from __future__ import annotations

from dataclasses import replace

from hfpose.pipelines.base_pipeline import PosePipeline, Results
from hfpose.pipelines.identities import follow_people
from hfpose.pipelines.options import CallOptions
from hfpose.visualization import draw_poses, draw_poses_and_heatmaps


class PoseEstimationPipeline(PosePipeline):
    """
    Finds instances (people, hands, faces, animals) in images and the keypoints of each.

    Where the detector finds none the result has no instances. (MMPose takes the whole image for a person then, as
    `hfpose.compat.mmpose` does; `detector="whole_image"` does so for every image.)

    Args:
        See [`PosePipeline`].

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation", model="human")
    >>> people = pipe("photo.jpg")
    >>> people.keypoints.shape
    (2, 17, 2)
    ```
    """

    def complete(self, results: Results, options: CallOptions) -> Results:
        if options.tracks or options.people is not None:
            results = follow_people(results, options)
        return _drawn(results, options) if options.draws else results


def _drawn(results: Results, options: CallOptions) -> Results:
    draw = draw_poses_and_heatmaps if options.return_heatmaps else draw_poses
    for frame, output in results:
        if frame.image is not None and output.error is None:
            output = replace(output, visualization=draw(frame.image, output, **options.drawing_options))
        yield frame, output
