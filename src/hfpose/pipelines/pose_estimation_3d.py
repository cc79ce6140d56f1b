"""The 3D pipeline for people: 2D poses, identities over time, and a lifter that sees whole clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from hfpose.errors import ConfigError
from hfpose.hub.model_folders import child_path
from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.media.focal_length import recorded_focal_length
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.image_spool import ImageSpool
from hfpose.ops.axes import turn_axes
from hfpose.pipelines.base_pipeline import PosePipeline, Results
from hfpose.pipelines.identities import (
    PeopleFollower,
    clip_of,
    frame_times,
    keypoint_smoother,
    read_clip,
    smooth_outputs,
)
from hfpose.pipelines.lifting_stage import TemporalLifter
from hfpose.pipelines.online_lifting import OnlineLifter
from hfpose.pipelines.options import CallOptions, LiftingOptions
from hfpose.pipelines.stage import Stage, load_stage
from hfpose.results import PoseOutput
from hfpose.tracking.bones import with_constant_bones
from hfpose.tracking.placing import place_clip, place_frame
from hfpose.tracking.tracker import KeypointSmoother
from hfpose.visualization import AxisLimits, Panels, axis_limits_3d, draw_poses_side_by_side


class PoseEstimation3DPipeline(PosePipeline):
    """
    Finds people in images and videos, and their poses in meters.

    In a video the lifter sees each person's whole clip: people get identities, short gaps are interpolated, and long
    clips are lifted in windows that fade into each other. Webcams are lifted from the frames so far. Images are lifted
    alone. Its outputs have `keypoints` (N, 17, 3) in meters and `keypoints_2d` (N, 17, 2), the pixels they were lifted
    from.

    Args:
        model: 2D pose model, or a `Stage` of it.
        lifter: lifting model, or a `Stage` of it.
        lifter_processor: the lifter's image processor; None loads the one beside the model.
        image_processor, detector, detector_labels, device, dtype: see [`PosePipeline`].

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation-3d", model="human3d")
    >>> for people in pipe("clip.mp4"):
    ...     people.keypoints  # (N, 17, 3) meters, root-relative, z up
    ```
    """

    options_class = LiftingOptions

    def __init__(
        self,
        model: PreTrainedModel | Stage,
        lifter: PreTrainedModel | Stage,
        image_processor: Any = None,
        lifter_processor: Any = None,
        detector: PreTrainedModel | Stage | str | None = None,
        detector_labels: Iterable[int | str] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        super().__init__(model, image_processor, detector, detector_labels, device, dtype)
        if not isinstance(lifter, Stage):
            lifter = load_stage(lifter, "lifter", lifter_processor, device=device, dtype=dtype)
        self.lifter = lifter

    @property
    def schema(self) -> KeypointSchema:
        """What the keypoints of the results mean."""
        return schema_for_config(self.lifter.model.config)

    @property
    def stages(self) -> dict[str, Stage]:
        """The detector, where there is one, the pose model, and the lifter."""
        return {**super().stages, "lifter": self.lifter}

    @property
    def parts(self) -> dict[str, Any]:
        return {**super().parts, "lifter": self.lifter}

    @classmethod
    def _load_parts(cls, root: Path, index: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(index.get("lifter"), str):
            raise ConfigError(f"{root} is a pipeline without a lifter; load it with `PoseEstimationPipeline`.")
        lifter = load_stage(child_path(root, index["lifter"]), "lifter", **options)
        return {**super()._load_parts(root, index, options), "lifter": lifter}

    def complete(self, results: Results, options: CallOptions) -> Results:
        chosen = cast(LiftingOptions, options)
        lifter = TemporalLifter(
            self.lifter,
            temporal=chosen.temporal,
            window=chosen.window,
            max_gap=chosen.max_gap,
            flip_test=chosen.lifter_flip_test,
            do_normalize_boxes=chosen.do_normalize_boxes,
            do_root_relative=chosen.do_root_relative,
            axes="world",
        )
        chosen = replace(chosen, axes=chosen.axes or self.lifter.image_processor.axes)
        OnlineLifter(lifter, chosen.lookahead, chosen.stride)  # tells now if the lookahead is too long
        return _lift(results, lifter, chosen)


def _lift(results: Results, lifter: TemporalLifter, options: LiftingOptions) -> Results:
    streams: dict[MediaItem | None, _Stream] = {}  # which take turns; None is all frames as one
    for item, group in groupby(results, key=lambda pair: clip_of(pair[0], options)):
        if options.online or (item is not None and item.is_live and options.online is None):
            key = None if options.online else item
            if key not in streams:
                streams[key] = _Stream(lifter, options)
            for frame, output in group:
                yield from streams[key].push(frame, output)
        elif item is None or item.kind != "image":
            yield from _lift_clip(group, lifter, options)
        else:
            for frame, output in group:
                (lifted,) = lifter.lift([PeopleFollower(options, is_image=True).update(frame, output)])
                yield frame, _drawn(frame.image, _placed([lifted], None, options)[0], options)
    for stream in streams.values():
        yield from stream.finish()


class _Stream:
    """Lifts the frames of a stream as they come; memory stays the same however many there are."""

    def __init__(self, lifter: TemporalLifter, options: LiftingOptions) -> None:
        self._options = options
        self._smooths = options.smooths_by_frame("this source")
        self._followed = PeopleFollower(options)
        self._online = OnlineLifter(lifter, options.lookahead, options.stride)
        self._waiting: deque[Frame] = deque()
        self._smoother: KeypointSmoother | None = None
        self._limits: AxisLimits | None = None
        self._panels: Panels | None = None

    def push(self, frame: Frame, output: PoseOutput) -> Results:
        """Take the next frame; gives the one that is complete, if one is."""
        self._waiting.append(frame)
        lifted = self._online.push(self._followed.update(frame, output))
        if lifted is not None:
            yield self._complete(lifted)

    def finish(self) -> Results:
        """The frames that still wait, when the stream is over."""
        for lifted in self._online.finish():
            yield self._complete(lifted)

    def _complete(self, output: PoseOutput) -> tuple[Frame, PoseOutput]:
        frame, options = self._waiting.popleft(), self._options
        if self._smooths:
            self._smoother = self._smoother or keypoint_smoother(frame, options)
            output = self._smoother.update(output, frame.timestamp)
        (output,) = _placed([output], None, options)
        if options.draws:
            self._limits = _limits([output], options, self._limits)
            self._panels = self._panels or _panels([output], options, is_stream=True)
        return frame, _drawn(frame.image, output, options, self._limits, self._panels)


def _lift_clip(
    results: Iterable[tuple[Frame, PoseOutput]], lifter: TemporalLifter, options: LiftingOptions
) -> Results:
    """Lift a whole video. Of its frames the keypoints are kept, and the images where they are drawn."""
    with ImageSpool() as images:
        frames, poses = read_clip(results, images, options)
        outputs = smooth_outputs(lifter.lift(poses), frames, options)
        if options.constant_bones:
            outputs = with_constant_bones(outputs)
        options = _with_known_camera(options, frames[0].source, outputs)
        outputs = _placed(outputs, None if options.temporal == "frame" else frame_times(frames), options)
        limits = _limits(outputs, options) if options.draws else None
        panels = _panels(outputs, options) if options.draws else None
        for frame, image, output in zip(frames, images, outputs, strict=True):
            yield replace(frame, image=image), _drawn(image, output, options, limits, panels)


def _with_known_camera(options: LiftingOptions, source: str | None, outputs: Iterable[PoseOutput]) -> LiftingOptions:
    """The options with the focal length that the camera has written into the file, where it is needed and not
    given."""
    size = next((output.image_size for output in outputs if output.image_size is not None), None)
    if options.root == "none" or options.focal_length or options.field_of_view or size is None:
        return options
    return replace(options, focal_length=recorded_focal_length(source, size))


def _placed(outputs: list[PoseOutput], times: np.ndarray | None, options: LiftingOptions) -> list[PoseOutput]:
    """The frames on the ground and in the axes that are asked for; without `times` each frame is by itself."""
    axes = options.axes or "world"
    # Up is no axis of the camera's.
    placing = replace(options.placing, ground=None) if axes == "camera" and options.root == "none" else options.placing
    if times is None:
        outputs = [place_frame(output, placing) for output in outputs]
    else:
        outputs = place_clip(outputs, times, placing)
    if axes == "world":
        return outputs
    # The way from the world's axes to the camera's is the way back.
    return [
        replace(output, keypoints=turn_axes(turn_axes(output.keypoints, "world"), axes), axes=axes)
        for output in outputs
    ]


def _limits(outputs: Iterable[PoseOutput], options: LiftingOptions, previous: AxisLimits | None = None) -> AxisLimits:
    """The part of space that frames of a video are drawn with."""
    threshold = options.drawing_options["keypoint_threshold"]
    return axis_limits_3d(outputs, previous=previous, keypoint_threshold=threshold, follow=options.root != "none")


def _panels(outputs: Iterable[PoseOutput], options: LiftingOptions, is_stream: bool = False) -> Panels:
    """As many panels as are asked for, else as there are people at once."""
    wanted = options.drawing_options["num_instances"]
    count = max(output.num_instances for output in outputs) if wanted is None else wanted
    return Panels(max(count, 1), grows=wanted is None and is_stream)


def _drawn(
    image: np.ndarray | None,
    output: PoseOutput,
    options: LiftingOptions,
    limits: AxisLimits | None = None,
    panels: Panels | None = None,
) -> PoseOutput:
    """The result with its image. The frames of a video have `limits` and `panels` in common."""
    if not options.draws or image is None or output.error is not None:
        return output
    drawing = options.drawing_options
    wanted = drawing.pop("num_instances")
    if panels is not None:
        drawn = draw_poses_side_by_side(
            image, output, axis_limits=limits, panels=panels.update(output), follow=options.root != "none", **drawing
        )
        if panels.grows:  # any number of them is at most as wide as high
            missing = image.shape[0] + image.shape[1] - drawn.shape[1]
            drawn = np.pad(drawn, ((0, 0), (0, missing), (0, 0)), constant_values=255)
    else:  # a single image has no panels without a person
        count = None if wanted is None else min(max(wanted, 1), output.num_instances) or None
        drawn = draw_poses_side_by_side(image, output, num_instances=count, **drawing)
    return replace(output, visualization=drawn)
