"""The 3D pipeline for people: 2D poses, identities over time, and a lifter that sees whole clips."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hfpose.backends.torch_backend import Backend
from hfpose.errors import ConfigError, InputError
from hfpose.hub.resolve import child_path, resolve
from hfpose.keypoints import KeypointSchema
from hfpose.media.frames import Frame
from hfpose.media.sources import Source, open_source
from hfpose.pipelines.device_placement import DeviceMap, Memory, Placement, StagedPipeline
from hfpose.pipelines.index import read_index, write_index
from hfpose.pipelines.lifting import LiftedFrame, OnlineLifter, Temporal, TemporalLifter
from hfpose.pipelines.pose_estimation import (
    PoseEstimationPipeline,
    announcing_errors,
    keypoint_smoother,
    single_output,
)
from hfpose.pipelines.stage import Stage, load_stage
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import Association, KeypointSmoother, PoseTracker
from hfpose.visualization import AxisLimits, axis_limits_3d, draw_poses_side_by_side

Results = Iterable[tuple[Frame, PoseOutput]]


@dataclass(frozen=True)
class _Settings:
    """What a call asks for, see `PoseEstimation3DPipeline.stream`."""

    online: bool | None
    lookahead: int
    association: Association
    tracking_threshold: float
    smooth: bool
    drawing: Mapping[str, Any] | None


class PoseEstimation3DPipeline(StagedPipeline):
    """
    Finds people in images and videos, and their poses in meters.

    In a video the lifter sees each person's whole clip: people get identities, short gaps are interpolated, and long clips
    are lifted in windows that fade into each other. Webcams are lifted from the frames so far. Images are lifted alone.

    Args:
        pose: the 2D pipeline, with its detector.
        lifter: lifting model, or a `Stage` of it.
        lifter_processor: the lifter's image processor; None loads the one beside the model.
        device: where the lifter goes; None leaves it where it is.
        dtype: floating point type of the lifter; None leaves it as it is.

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation-3d", model="human3d")
    >>> for people in pipe("clip.mp4"):
    ...     people.keypoints  # (N, 17, 3) meters, root-relative, z up
    ```
    """

    def __init__(
        self,
        pose: PoseEstimationPipeline,
        lifter: PreTrainedModel | Stage,
        lifter_processor: Any = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        if not isinstance(lifter, Stage):
            lifter = load_stage(lifter, "lifter", lifter_processor, device=device, dtype=dtype)
        self.pose = pose
        self.lifter = lifter

    @property
    def schema(self) -> KeypointSchema:
        """What the keypoints of the results mean."""
        return TemporalLifter(self.lifter).schema

    @property
    def stages(self) -> dict[str, Stage]:
        """The detector, where there is one, the pose model, and the lifter."""
        return {**self.pose.stages, "lifter": self.lifter}

    @property
    def device(self) -> torch.device:
        """Where the lifter is."""
        return self.lifter.device

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
            return_visualization: draw the result: `visualization` of each output, the image with the 2D poses beside
                the 3D skeletons. Videos are read a second time for it.
            num_instances: how many people are drawn in 3D; None or a negative number draws all.
            options: as for `stream`.

        Returns:
            For one image a `PoseOutput`: `keypoints` (N, 17, 3) in meters, `keypoints_2d` (N, 17, 2) the pixels they were
            lifted from. For anything else an iterator of them in the order of the inputs. Of a video the first comes when
            the last frame has been read.

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
        boxes: Any = None,
        flip_test: bool = False,
        box_threshold: float | None = 0.3,
        nms_threshold: float | None = None,
        batch_size: int = 1,
        pose_batch_size: int | None = None,
        whole_image_fallback: bool = False,
        temporal: Temporal = "clip",
        online: bool | None = None,
        lookahead: int = 0,
        max_gap: int = 5,
        lifter_flip_test: bool = False,
        do_normalize_boxes: bool | None = None,
        do_root_relative: bool | None = None,
        do_swap_axes: bool | None = None,
        do_rebase_height: bool | None = None,
        association: Association = "iou",
        tracking_threshold: float = 0.3,
        smooth: bool = False,
        drawing: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[Frame, PoseOutput]]:
        """The frames of a source with their results, for callers that write or draw them.

        Args:
            source: what `hfpose.media.sources.open_source` makes of images, videos, webcams and collections of them.
            boxes, flip_test, box_threshold, nms_threshold, batch_size, pose_batch_size, whole_image_fallback: as for
                `PoseEstimationPipeline.stream`.
            temporal: `"clip"` to lift over time, `"frame"` to lift each frame alone, as the reference's inferencer does.
            online: True lifts all frames as one stream, each from those before it and `lookahead` after it, in constant
                memory. False waits for the end of a video, which is better. Default: True for webcams only. Images are
                lifted alone unless it is True.
            lookahead: how many frames late an online result may come.
            max_gap: a person who is not seen for up to so many frames is interpolated, with more a new clip begins.
            lifter_flip_test: average over the mirrored clip.
            do_normalize_boxes, do_root_relative, do_swap_axes, do_rebase_height: replace those of the lifter's image
                processor: scale and place poses as the data set the lifter was trained with; keypoints relative to the
                pelvis; z up instead of the camera's axes; lowest keypoint at height 0.
            association: `"iou"` of boxes or `"oks"` of keypoints, what identities are judged by.
            tracking_threshold: least such overlap.
            smooth: whether to smooth the 3D keypoints of each person with the One-Euro filter.
            drawing: options of `hfpose.visualization.draw_poses_side_by_side`, to fill in `visualization`. Axes stand still
                over a video. None draws nothing; frames of a video then come without their image.

        Returns:
            Pairs in the order of the source. What cannot be used has no people and says why in `error`.
        """
        lifter = TemporalLifter(
            self.lifter,
            temporal=temporal,
            max_gap=max_gap,
            flip_test=lifter_flip_test,
            do_normalize_boxes=do_normalize_boxes,
            do_root_relative=do_root_relative,
            do_swap_axes=do_swap_axes,
            do_rebase_height=do_rebase_height,
        )
        if lookahead and temporal == "frame":
            raise InputError("lookahead has no use with temporal='frame', which lifts each frame alone.")
        OnlineLifter(lifter, lookahead)  # tells now, not at the first frame, if the lookahead is too long
        results = self.pose.stream(
            source,
            boxes=boxes,
            flip_test=flip_test,
            box_threshold=box_threshold,
            nms_threshold=nms_threshold,
            batch_size=batch_size,
            pose_batch_size=pose_batch_size,
            whole_image_fallback=whole_image_fallback,
        )
        settings = _Settings(online, lookahead, association, tracking_threshold, smooth, drawing)
        return self._stream(results, lifter, settings)

    def _stream(
        self, results: Results, lifter: TemporalLifter, settings: _Settings
    ) -> Iterator[tuple[Frame, PoseOutput]]:
        if settings.online:
            yield from _follow_stream(results, lifter, settings)
            return
        for item, group in groupby(results, key=lambda pair: pair[0].item):
            if item.kind == "webcam" and settings.online is None:
                yield from _follow_stream(group, lifter, settings)
            elif item.kind in ("video", "webcam"):
                yield from _lift_clip(group, lifter, settings)
            else:
                for frame, output in group:
                    (lifted,) = lifter.lift([output])
                    yield frame, _drawn(frame, _output(lifted), settings.drawing)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the pipeline: an index file, and a folder for each part that its class loads alone."""
        self.lifter.save_pretrained(Path(folder) / "lifter")
        parts = self.pose.save_parts(Path(folder))
        write_index(folder, {"pipeline": type(self).__name__, **parts, "lifter": "lifter"})

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str | int | None = None,
        device_map: DeviceMap | None = None,
        max_memory: Memory | None = None,
        offload_folder: str | Path | None = None,
        dtype: torch.dtype | str | None = None,
        backend: Backend = "torch",
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> PoseEstimation3DPipeline:
        """The pipeline that `save_pretrained` wrote to a folder, or that was pushed to a repository.

        For where it goes (`device`, `device_map`, `max_memory`, `offload_folder`) and `backend` see `hfpose.pipeline`.

        Raises:
            ConfigError: if there is no index file, or it names no lifter.
            CheckpointError: if the index names a part outside of the folder.
        """
        root = resolve(folder, "pose", revision=revision, token=token)
        index = read_index(root)
        if not isinstance(index.get("lifter"), str):
            raise ConfigError(f"{root} is a pipeline without a lifter; load it with `PoseEstimationPipeline`.")
        placement = Placement(device, device_map, max_memory, offload_folder)
        target = placement.loading_device
        pose = PoseEstimationPipeline.from_parts(root, index, target, dtype, backend)
        place = child_path(root, index["lifter"])
        lifter = load_stage(place, "lifter", device=target, dtype=dtype, backend=backend)
        return placement.apply(cls(pose, lifter))


def _follow_stream(
    results: Results, lifter: TemporalLifter, settings: _Settings
) -> Iterator[tuple[Frame, PoseOutput]]:
    """Lift frames as they come; memory stays the same however many there are."""
    tracker = PoseTracker(settings.association, settings.tracking_threshold)
    online = OnlineLifter(lifter, settings.lookahead)
    waiting: deque[Frame] = deque()
    smoother: KeypointSmoother | None = None
    limits: AxisLimits | None = None
    panels: int | None = None

    def complete(lifted: LiftedFrame) -> tuple[Frame, PoseOutput]:
        nonlocal smoother, limits, panels
        frame, output = waiting.popleft(), _output(lifted)
        if settings.smooth:
            smoother = smoother or keypoint_smoother(frame)
            output = smoother.update(output)
        if settings.drawing is not None:
            limits = axis_limits_3d(output, previous=limits)
            panels = panels or max(output.num_instances, 1)
        return frame, _drawn(frame, output, settings.drawing, limits, panels)

    for frame, output in results:
        waiting.append(frame)
        lifted = online.push(tracker.update(output))
        if lifted is not None:
            yield complete(lifted)
    for lifted in online.finish():
        yield complete(lifted)


def _lift_clip(results: Results, lifter: TemporalLifter, settings: _Settings) -> Iterator[tuple[Frame, PoseOutput]]:
    """Lift a whole video. Only keypoints are kept of it, so its images are read anew where they are needed."""
    tracker = PoseTracker(settings.association, settings.tracking_threshold)
    frames, poses = [], []
    for frame, output in results:
        frames.append(replace(frame, image=None))
        poses.append(tracker.update(output))
    outputs = [_output(lifted) for lifted in lifter.lift(poses)]
    if settings.smooth:
        smoother = keypoint_smoother(frames[0])
        outputs = [smoother.update(output) for output in outputs]
    if settings.drawing is None:
        yield from zip(frames, outputs, strict=True)
        return
    limits = axis_limits_3d(outputs)
    panels = max([1, *(output.num_instances for output in outputs)])
    with open_source(frames[0].source) as again:
        for frame, second, output in zip(frames, again, outputs, strict=False):
            shown = replace(frame, image=second.image)
            yield shown, _drawn(shown, output, settings.drawing, limits, panels)


def _output(lifted: LiftedFrame) -> PoseOutput:
    return replace(lifted.output, interpolated=lifted.interpolated)


def _drawn(
    frame: Frame,
    output: PoseOutput,
    drawing: Mapping[str, Any] | None,
    limits: AxisLimits | None = None,
    panels: int | None = None,
) -> PoseOutput:
    """The result with its image. The frames of a video have `limits` and a number of `panels` in common."""
    if drawing is None or frame.image is None or output.error is not None:
        return output
    options = dict(drawing)
    wanted = options.pop("num_instances", None)
    count = panels if wanted is None or wanted < 0 else max(wanted, 1)
    image = draw_poses_side_by_side(frame.image, output, axis_limits=limits, num_instances=count, **options)
    return replace(output, visualization=image)
