"""What `hfpose predict` is asked to do with every input, in one process or on many workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from hfpose.errors import InputError
from hfpose.media.frames import Frame
from hfpose.media.motions import MOTION_FORMATS, MotionOptions
from hfpose.media.sources import Source
from hfpose.media.writers import WriterGroup, open_writers
from hfpose.ops.pose_nms import suppress_similar_poses
from hfpose.pipelines import PoseEstimation3DPipeline, PoseEstimationPipeline, pipeline
from hfpose.pipelines.direct_3d import Direct3DPipeline
from hfpose.pipelines.options import LiftingOptions, make_options
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import Association

Results = Iterator[tuple[Frame, PoseOutput]]


@dataclass(frozen=True, kw_only=True)
class PredictJob:
    """Plain values, so that a worker elsewhere can do a part of it.

    Args:
        models: arguments of `hfpose.pipeline`; with `task` "pose-estimation-3d" for 3D.
        finding: options of a call that concern single images.
        tracking: those that concern frames in their order, for 2D.
        lifting: the same for 3D.
        drawing: options of `draw_poses`.
        draw_heatmaps: whether heatmaps are drawn too, in 2D.
        suppress_similar: whether similar poses are suppressed, in 2D.
        num_instances: how many skeletons are drawn in 3D; None for all.
        formats: of the predictions, see `open_writers`.
        motion: see `MotionOptions`.
        canvas_size: of OpenPose's JSON, see `openpose_json`.
        shows_frames: whether frames are shown as they come.
    """

    models: Mapping[str, Any]
    finding: Mapping[str, Any]
    tracking: Mapping[str, Any]
    lifting: Mapping[str, Any]
    drawing: Mapping[str, Any]
    draw_heatmaps: bool
    suppress_similar: bool
    num_instances: int | None
    formats: tuple[str, ...]
    motion: Mapping[str, Any] = field(default_factory=dict)
    canvas_size: tuple[int, int] | None = None
    shows_frames: bool = False

    def load_pipeline(self, **options: Any) -> Any:
        """The pipeline; options replace those of `models`."""
        return pipeline(**{**self.models, **options})

    def open_writers(self, **options: Any) -> WriterGroup:
        """The writers of a run, see `hfpose.media.writers.open_writers`."""
        motion = MotionOptions(**self.motion)
        return open_writers(formats=self.formats, canvas_size=self.canvas_size, motion=motion, **options)

    def can_be_split(self, pipe: Any) -> bool:
        """Whether segments of a video give what the whole one gives: not for hands in 3D, nor with heatmaps or
        features of people, which segments do not keep, nor where boxes follow from frame to frame.
        """
        over_time = self.tracking if self.is_2d(pipe) else self.lifting
        if self.finding.get("detect_every", 1) > 1 or (over_time.get("tracking") or {}).get("appearance"):
            return False
        return type(pipe) is PoseEstimation3DPipeline or (self.is_2d(pipe) and not self.draw_heatmaps)

    def follows_camera(self, pipe: Any) -> bool:
        """Whether identities need the images of the frames too."""
        over_time = self.tracking if self.is_2d(pipe) else self.lifting
        options = {**self.finding, **over_time, **self._identities(over_time, is_video=True)}
        chosen = make_options(pipe.options_class, {}, {**pipe.call_defaults, **options})
        return chosen.tracks and (chosen.tracking or {}).get("camera_motion", True)

    def results(self, pipe: Any, source: Source, draws: bool) -> Results:
        """The frames with their results, drawn if `draws`.

        Raises:
            InputError: for options that have no effect with this pipeline or on the inputs.
        """
        known, lifting = pipe.options_class.__dataclass_fields__, LiftingOptions.__dataclass_fields__
        for name in ("root", "height", "field_of_view", "constant_bones", "online", "lookahead", "stride", "window"):
            value = self.lifting.get(name)
            if name not in known and value not in (None, lifting[name].default):
                raise InputError(
                    f"{name}={value!r} has no effect here: it needs a model that lifts people to 3D (human3d)."
                )
        return self._results_2d(pipe, source, draws) if self.is_2d(pipe) else self._results_3d(pipe, source, draws)

    @staticmethod
    def is_2d(pipe: Any) -> bool:
        """Whether a pipeline gives 2D keypoints."""
        return type(pipe) is PoseEstimationPipeline

    def _results_2d(self, pipe: Any, source: Source, draws: bool) -> Results:
        options = {**self.finding, **self.tracking, "return_heatmaps": self.draw_heatmaps and draws}
        options |= {"drawing": self.drawing if draws else None, **self._identities(self.tracking, source.is_video)}
        chosen = make_options(pipe.options_class, options, pipe.call_defaults)
        chosen.check_source(source, options)
        results = pipe.find_poses(source, chosen)
        if self.suppress_similar:
            results = ((frame, suppress_similar_poses(output)) for frame, output in results)
        return pipe.complete(results, chosen)

    def _results_3d(self, pipe: Any, source: Source, draws: bool) -> Results:
        options = dict(self.lifting)
        if isinstance(pipe, Direct3DPipeline):  # without a lifter there are heights and identities alone
            known = {each.name for each in fields(pipe.options_class)}
            is_over_time = set() if source.is_video else {*self.lifting} - {"people", "ground"}
            options = {name: value for name, value in self.lifting.items() if name in known - is_over_time}
            options |= self._identities(self.lifting, True) if source.is_video else {"track": False}
        drawing = {**self.drawing, "num_instances": self.num_instances} if draws else None
        return pipe.stream(source, **self.finding, **options, drawing=drawing)

    def _identities(self, over_time: Mapping[str, Any], is_video: bool) -> dict[str, Any]:
        """The tracker that is asked for, which files of motions need, and whether its tracks are linked: by default if
        it is ours, since files are complete at the end of a video anyway, but not where frames are shown or heatmaps
        would be kept until then.
        """
        has_motions = not {*self.formats}.isdisjoint(MOTION_FORMATS)
        track = over_time.get("track") or (True if is_video and has_motions else None)
        links = over_time.get("link_tracks")
        if links is None and track in (True, *get_args(Association)) and not (self.shows_frames or self.draw_heatmaps):
            links = True
        return {"track": track, "link_tracks": links}
