"""The frames of a run of `hfpose predict` with their results, in 2D and in 3D."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfpose.media.frames import Frame
    from hfpose.media.sources import Source
    from hfpose.results import PoseOutput

    Results = Iterator[tuple[Frame, PoseOutput]]


def results_2d(
    pipe: Any,
    source: Source,
    finding: Mapping[str, Any],
    drawing: Mapping[str, Any] | None,
    draw_heatmap: bool,
    pose_based_nms: bool,
) -> Results:
    """The frames with their results, drawn unless `drawing` is None."""
    from hfpose.ops.pose_nms import suppress_similar_poses
    from hfpose.visualization import draw_poses, draw_poses_and_heatmaps

    draw = draw_poses_and_heatmaps if draw_heatmap else draw_poses
    for frame, output in pipe.stream(source, **finding, return_heatmaps=draw_heatmap and drawing is not None):
        if pose_based_nms:
            output = suppress_similar_poses(output)
        if drawing is not None and frame.image is not None and output.error is None:
            output.visualization = draw(frame.image, output, **drawing)
        yield frame, output


def results_3d(
    pipe: Any,
    source: Source,
    finding: Mapping[str, Any],
    lifting: Mapping[str, Any],
    drawing: Mapping[str, Any] | None,
    num_instances: int,
) -> Results:
    """The same in 3D; without a lifter `lifting` says of heights and identities alone."""
    from hfpose.pipelines.direct_3d import Direct3DPipeline

    options = dict(lifting)
    if isinstance(pipe, Direct3DPipeline):
        known = {field.name for field in fields(pipe.options_class)}
        options = {name: value for name, value in lifting.items() if name in known}
        if not source.is_video:
            options |= {"track": False, "smooth": False}
    if drawing is not None:
        drawing = {**drawing, "num_instances": None if num_instances < 0 else num_instances}
    return pipe.stream(source, **finding, **options, drawing=drawing)
