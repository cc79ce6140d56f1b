"""The 3D pipeline for whole bodies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hfpose.errors import InputError
from hfpose.models.rtmw3d.image_processing_rtmw3d import ReferenceMode
from hfpose.pipelines.direct_3d import Direct3DPipeline
from hfpose.pipelines.options import CallOptions3D
from hfpose.results import PoseOutput


@dataclass(frozen=True, kw_only=True)
class WholeBodyOptions(CallOptions3D):
    """Arguments of a call of a pipeline for whole bodies.

    Args:
        focal_length: of the camera, in pixels of the image. Default: that of the training data.
        field_of_view: instead of it the angle in degrees that the image's width spans.
        root_depth: distance of the hips from the camera in meters. Default: the mean of the training data, 5.14.
        do_root_relative: keypoints relative to the hips, else to the camera; None for what the image processor says.
        reference_mode: keypoints as the reference gives them in its mode `"3d"` (meters relative to a camera whose
            axis it takes to go through (height / 2, width / 2)), `"vis"` (pixels of the crop) or `"2d"` (pixels of the
            image). The other options of this class have no use then.

    Raises:
        InputError: for options that have no use with `reference_mode`.
    """

    focal_length: float | None = None
    field_of_view: float | None = None
    root_depth: float | None = None
    do_root_relative: bool | None = None
    reference_mode: ReferenceMode | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        unused = ("focal_length", "field_of_view", "root_depth", "do_root_relative", "axes")
        given = [name for name in unused if getattr(self, name) is not None]
        if self.reference_mode is not None and given:
            raise InputError(
                f"reference_mode={self.reference_mode!r} gives the reference's numbers as they are; leave out "
                f"{', '.join(given)}."
            )


class WholeBody3DPipeline(Direct3DPipeline):
    """
    Finds people in images, and their 133 keypoints in meters: body, feet, face and hands.

    Depth relative to the hips is what the model finds, in meters. Across the view meters follow from pixels, the
    camera's focal length and the distance of the person: without these they are as true as the training data's camera
    (1145 pixels, 5.14 m) is like yours, so proportions hold but the size of a person does not. Each image is taken by
    itself.

    Args:
        See [`PosePipeline`]; `model` is an [`RTMW3DForPoseEstimation`].

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation-3d", model="wholebody3d")
    >>> people = pipe("photo.jpg", field_of_view=65)
    >>> people.keypoints  # (N, 133, 3) meters, relative to the hips, x left, y toward the camera, z up
    >>> people.keypoints_2d  # (N, 133, 2) pixels
    ```
    """

    options_class = WholeBodyOptions

    def assemble(self, decoded: PoseOutput, options: WholeBodyOptions) -> dict[str, np.ndarray]:
        processor, size = self.image_processor, decoded.image_size
        if options.reference_mode is not None:
            return {
                "keypoints": processor.as_reference(decoded.keypoints, decoded.boxes, size, options.reference_mode)
            }
        keypoints = processor.to_meters(
            decoded.keypoints,
            size,
            focal_length=options.focal_length,
            field_of_view=options.field_of_view,
            root_depth=options.root_depth,
            do_root_relative=options.do_root_relative,
            axes=options.axes,
            do_rebase_height=options.ground is not None,
        )
        return {"keypoints": keypoints}

    def space(self, options: WholeBodyOptions) -> tuple[str | None, str | None]:
        if options.reference_mode is not None:
            return None, None
        return options.axes or self.image_processor.axes, "meters"
