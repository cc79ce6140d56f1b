"""The 2D pipeline: images to instances with keypoints."""

from __future__ import annotations

import numpy as np

from hfpose.media.frames import Frame
from hfpose.pipelines.base_pipeline import PosePipeline
from hfpose.pipelines.options import CallOptions
from hfpose.results import PoseOutput
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

    def _draw(self, frame: Frame, output: PoseOutput, options: CallOptions) -> np.ndarray:
        assert frame.image is not None
        draw = draw_poses_and_heatmaps if options.return_heatmaps else draw_poses
        return draw(frame.image, output, **options.drawing_options)
