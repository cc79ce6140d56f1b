"""Options of a pipeline call, the same in 2D and in 3D."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import isnan
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np

from hfpose.errors import InputError
from hfpose.media.frames import ItemKind, MediaItem
from hfpose.media.live import Live
from hfpose.media.sources import Source
from hfpose.ops.axes import Axes, turn_axes
from hfpose.pipelines.foreign_arguments import OF_CALLS, suggestion
from hfpose.tracking.filters import ClipFilter, ClipFilterName, make_clip_filter
from hfpose.tracking.people_choice import People, check_people
from hfpose.tracking.placing import Ground, Placing, Root
from hfpose.tracking.tracker import Association
from hfpose.tracking.trackers import Tracker, TrackerName, make_tracker
from hfpose.visualization import draw_poses, draw_poses_side_by_side

Temporal = Literal["clip", "frame"]
Smooth = Literal["one-euro", ClipFilterName]
NMS_THRESHOLD = 0.3
"""Of two boxes of a detector with a greater IoU the one with the lower score is removed."""
_FILTERS = ("one-euro", *get_args(ClipFilterName))
_LIVE: tuple[ItemKind, ...] = ("webcam", "stream")

_LEAST = {
    **dict.fromkeys(("num_workers", "reconnect", "fill_gaps", "smooth_beta"), 0),
    **dict.fromkeys(("batch_size", "pose_batch_size", "detect_every"), 1),
}
_ABOVE_0 = ("smooth_cutoff", "smooth_window", "outlier_threshold", "smooth_min_cutoff")
_DRAWING = sorted(
    {name for draw in (draw_poses, draw_poses_side_by_side) for name in inspect.signature(draw).parameters}
    - {"image", "output", "options_2d"}
)

# By the annotation of an option: what its value must be, and what that is called.
_VALUE_KINDS: dict[str, tuple[Any, str]] = {
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "bool": ((bool, np.bool_, Integral), "True or False"),
}

OptionsT = TypeVar("OptionsT", bound="CallOptions")


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """Arguments of a call of any pipeline.

    Args:
        boxes: x1, y1, x2, y2 in pixels, one list per image (for a single image just its list); with them the detector
            is not run, but for images whose entry is None. May be an iterator that gives one list of boxes per frame.
            What detectors of supervision, Ultralytics and transformers give for an image stands for its boxes, too.
        flip_test: average over the flipped crops, for twice the cost.
        box_threshold: minimum score of a box; None for what the model's own image processor says.
        nms_threshold: of two boxes with a greater IoU the one with the lower score is removed. Default: 0.3; a
            one-stage model has its own.
        keypoint_threshold: minimum score of a keypoint that is drawn, also by `draw`, `save` and `show` of results.
        batch_size: images that are read and go through the detector at once.
        detect_every: the detector looks at every so many frames of a video, one by one. Between them boxes are the
            extent of the keypoints of the frame before, times 1.25, and go on as the person moved; a person who is
            lost (a mean keypoint score below 0.3) has the detector look at once. New people are seen when it looks.
        pose_batch_size: crops that go through the pose model at once, whichever images they are of; default 8 on a
            CPU, 64 on an accelerator.
        num_workers: threads that decode images ahead; with 0 they are decoded when they are needed, and nothing is
            dropped.
        live: of webcams and network streams take the `"latest"` frame and drop what came before it, or `"all"` frames.
        reconnect: seconds for which it is tried to open a webcam or network stream again that was lost.
        track: give instances identities over the frames of a video (`track_ids`): True or `"iou"` has boxes of frames
            in a row overlap, `"oks"` keypoints; `"bytetrack"`, `"ocsort"` and `"botsort"` are of the package trackers
            (`hfpose[tracking]`); or a tracker, see `hfpose.tracking.trackers.make_tracker`. Several images count as
            frames of one video. Default: False in 2D; in 3D a lifter needs identities, so there videos are tracked
            unless it is False. A new instance has the identity -1 until it was seen in three frames; in files those
            before have it then too.
        tracking_threshold: minimum IoU or OKS.
        tracking: further settings of the tracker, such as `max_gap` (seconds), see
            `hfpose.tracking.identity_tracker.IdentityTracker`.
        link_tracks: look at the identities of video files and tracked images again from their end, which sets right
            what was mixed up where people hide each other; results wait for it. Default: where results wait for the
            end of a video anyway and the tracker is ours.
        smooth: smooth the keypoints of each identity over time; needs `track`. One filter or several in their order:
            `"one-euro"` works frame by frame; `"butterworth"`, `"gaussian"`, `"median"` and `"hampel"` (which replaces
            single errors and leaves the rest) have no lag and wait for the end of a video, see
            `hfpose.tracking.filters`. True is `"butterworth"` for video files and clips that are lifted, `"one-euro"`
            otherwise.
        smooth_cutoff: in Hz, of `"butterworth"` and `"gaussian"`.
        smooth_window: in seconds, of `"median"` and `"hampel"`.
        outlier_threshold: standard deviations beyond which `"hampel"` replaces a coordinate.
        smooth_min_cutoff, smooth_beta: of `"one-euro"`, see `hfpose.tracking.tracker.KeypointSmoother`: the cutoff in
            Hz of still keypoints, and what it gains for each length of the pose per second.
        fill_gaps: seconds for which people who are not seen in frames of a clip are interpolated and marked so
            (`interpolated`); needs `track`.
        people: keep some people only: `"largest"`, `"center"`, `"longest"` (seen in the most frames), a number (that
            many of the largest), or a list of identities. Judged over whole clips, of live sources and `online=True`
            over the frames so far, of images that are not tracked by each image; videos are tracked unless `track` is
            False.
        return_heatmaps: keep `heatmaps` and `heatmap_boxes` of each output; not with a lifter.
        return_visualization: draw the result, with `return_heatmaps` in 2D the heatmaps below: `visualization` of each
            output, in 3D with the skeletons beside the image.
        drawing: options of `hfpose.visualization.draw_poses`, in 3D of `draw_poses_side_by_side`, for it.
        whole_image_fallback: where there is no box, take the image as one, as MMPose does.

    Raises:
        InputError: for values out of range.
    """

    boxes: Any = None
    flip_test: bool = False
    box_threshold: float | None = 0.3
    nms_threshold: float | None = None
    keypoint_threshold: float = 0.3
    batch_size: int = 1
    detect_every: int = 1
    pose_batch_size: int | None = None
    num_workers: int = 1
    live: Live = "latest"
    reconnect: float = 30.0
    track: bool | TrackerName | Tracker | Any = None
    tracking_threshold: float = 0.3
    tracking: Mapping[str, Any] | None = None
    link_tracks: bool | None = None
    smooth: bool | Smooth | Sequence[Smooth] = False
    smooth_cutoff: float = 6.0
    smooth_window: float = 0.2
    outlier_threshold: float = 3.0
    smooth_min_cutoff: float = 1.0
    smooth_beta: float = 20.0
    fill_gaps: float = 0.0
    people: People | None = None
    return_heatmaps: bool = False
    return_visualization: bool = False
    drawing: Mapping[str, Any] | None = None
    whole_image_fallback: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        if (self.box_threshold or 0.0) > 1:
            raise InputError(f"box_threshold is {self.box_threshold}, but scores of boxes are at most 1.")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}, it must be {least} or more.")
        for name in _ABOVE_0:
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}, it must be above 0.")
        if self.tracks:
            self.make_tracker()  # checks the settings
        check_people(self.people)
        unknown = [name for name in self.filters if name not in _FILTERS]
        if unknown:
            raise InputError(f"smooth is {unknown[0]!r}; expected True, False or {', '.join(map(repr, _FILTERS))}.")
        if not isinstance(self.drawing, Mapping | None):
            raise InputError(f"drawing is {self.drawing!r}; expected options of draw_poses by their names.")
        for name in self.drawing or ():
            if name not in _DRAWING:
                raise TypeError(f"drawing has no option {name!r}. {suggestion(name, _DRAWING, {})}")

    def _check_types(self) -> None:
        for field in fields(self):
            name, _, rest = str(field.type).partition(" | ")
            value = getattr(self, field.name)
            if rest not in ("", "None") or (rest and value is None):
                continue
            expected, what = _VALUE_KINDS.get(name, (object, ""))
            if not isinstance(value, expected) or (name == "float" and isnan(value)):
                raise InputError(f"{field.name} is {value!r}; expected {what}.")

    def check_effects(self, given: Iterable[str]) -> None:
        """Check that each of the options `given` has an effect beside the others.

        Raises:
            InputError: for one that has none, unless it has its default value.
        """
        for names, has_effect, needed in self._needs():
            for name in names:
                if not has_effect and name in given and self._is_set(name):
                    raise InputError(f"{name}={getattr(self, name)!r} has no effect here: it needs {needed}.")

    def _needs(self) -> list[tuple[tuple[str, ...], object, str]]:
        """Names of options that need others, whether these are there, and what they are."""
        filters: set[Any] = {*self.filters, *(("one-euro",) if self.smooth is True else ())}
        return [
            (("smooth", "fill_gaps", "link_tracks"), self.tracks, "track=True: it works along each identity"),
            (("tracking",), self.tracks, "track=True, or the name of a tracker"),
            (
                ("tracking_threshold",),
                self.tracks and self._is_ours,
                "track=True, 'iou' or 'oks'; others have own thresholds",
            ),
            (("smooth_cutoff",), filters & {"butterworth", "gaussian"}, "smooth='butterworth' or 'gaussian'"),
            (("smooth_window",), filters & {"median", "hampel"}, "smooth='median' or 'hampel'"),
            (("outlier_threshold",), "hampel" in filters, "smooth='hampel'"),
            (("smooth_min_cutoff", "smooth_beta"), "one-euro" in filters, "smooth='one-euro'"),
            (("detect_every",), self.boxes is None, "a detector; leave it or boxes out"),
        ]

    def check_source(self, source: Source, given: Iterable[str]) -> None:
        """The same for options that need a certain kind of input."""
        for names, kinds, remedy in self._needed_inputs():
            for name in names:
                if name in given and self._is_set(name) and source.count_items(*kinds) == 0:
                    raise InputError(
                        f"{name}={getattr(self, name)!r} has no effect here: none of the inputs is a "
                        f"{' or a '.join(kinds)}.{remedy}"
                    )

    def _needed_inputs(self) -> list[tuple[tuple[str, ...], tuple[ItemKind, ...], str]]:
        """Names of options, the kinds of inputs of which one has to be there, and what else helps."""
        return [(("detect_every",), (*_LIVE, "video"), ""), (("live", "reconnect"), _LIVE, "")]

    def _is_set(self, name: str) -> bool:
        """Whether an option has another value than by default."""
        value, default = getattr(self, name), type(self).__dataclass_fields__[name].default
        return value is not default and value != default

    @property
    def least_box_score(self) -> float:
        """Boxes with a lower score are not kept."""
        return self.box_threshold or 0.0

    @property
    def detector_nms_threshold(self) -> float:
        """IoU above which the detector's NMS drops a box."""
        return NMS_THRESHOLD if self.nms_threshold is None else self.nms_threshold

    @property
    def tracks(self) -> bool:
        """Whether instances of a video get identities."""
        return bool(self.track) or (self.track is None and self.people is not None)

    @property
    def wants_features(self) -> bool:
        """Whether the tracker looks at what the pose network sees of each instance."""
        return self.tracks and bool((self.tracking or {}).get("appearance"))

    @property
    def filters(self) -> tuple[Smooth, ...]:
        """Filters of keypoints in their order, for whole clips where none is named."""
        if isinstance(self.smooth, bool):
            return ("butterworth",) if self.smooth else ()
        return tuple(self.smooth) if isinstance(self.smooth, (list, tuple)) else (cast(Smooth, self.smooth),)

    def clip_filter(self, name: ClipFilterName) -> ClipFilter:
        """The filter of that name, with the settings of the call."""
        return make_clip_filter(
            name, cutoff=self.smooth_cutoff, window=self.smooth_window, threshold=self.outlier_threshold
        )

    def smooths_by_frame(self, source: str) -> bool:
        """Whether keypoints are smoothed frame by frame, where that is the only way.

        Args:
            source: what has no end, for the error message.

        Raises:
            InputError: if another filter is asked for, or gaps are to be filled.
        """
        if self.fill_gaps:
            raise InputError(
                f"fill_gaps={self.fill_gaps} has to see where people come back, but {source} is worked on frame by "
                "frame."
            )
        if self.smooth is True or self.filters in ((), ("one-euro",)):
            return bool(self.smooth)
        raise InputError(
            f"smooth={self.smooth!r} has to see all of a motion, but {source} is worked on frame by frame: choose "
            "'one-euro'."
        )

    def waits_for_clip(self, item: MediaItem | None) -> bool:
        """Whether the options need all frames of a video, or of tracked images (None), before the first result."""
        if item is not None and item.kind != "video":
            return False
        is_zero_phase = item is not None if self.smooth is True else self.filters not in ((), ("one-euro",))
        is_ranked = isinstance(self.people, (str, Integral))
        return bool(self.link_tracks) or is_zero_phase or self.fill_gaps > 0 or is_ranked

    @property
    def _is_ours(self) -> bool:
        """Whether the tracker is ours, by its name."""
        return any(self.track is each for each in (None, True)) or self.track in get_args(Association)

    def make_tracker(self, links: bool = False) -> Tracker:
        """A tracker for a video; if its `links` are made at the end, it does not look at identities again itself."""
        settings = {"relink": False, **(self.tracking or {})} if links and self._is_ours else self.tracking
        return make_tracker(True if self.track is None else self.track, self.tracking_threshold, settings)

    @property
    def draws(self) -> bool:
        """Whether results are drawn."""
        return self.return_visualization or self.drawing is not None

    @property
    def drawing_options(self) -> dict[str, Any]:
        """Options of the function that draws."""
        return {"keypoint_threshold": self.keypoint_threshold, **(self.drawing or {})}


@dataclass(frozen=True, kw_only=True)
class CallOptions3D(CallOptions):
    """Arguments of a call of a 3D pipeline.

    Args:
        axes: `"world"` (x left, y toward the camera, z up), `"camera"` (x right, y down, z away from it), or
            `"mmpose"`, where people are mirror images as in the reference's results; None for what the image processor
            says.
        ground: what has height 0. `"clip"`: the plane that the feet of each identity stand on, over a video that is
            lifted as a whole, and on which they are upright; a jump leaves it. `"frame"`: the lowest keypoint of each
            pose, as in the reference; it is used too where each frame is by itself (images, streams,
            `temporal="frame"`). None: the root.
        num_instances: how many instances are drawn in 3D; None or a negative number draws all.
    """

    axes: Axes | None = None
    ground: Ground | None = "clip"
    num_instances: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        Placing(self.ground)  # checks it
        if self.axes is not None:
            turn_axes(np.zeros((0, 3)), self.axes)  # checks them

    def _needs(self) -> list[tuple[tuple[str, ...], object, str]]:
        drawn = (("num_instances",), self.draws, "return_visualization=True: it is how many are drawn")
        return [*super()._needs(), drawn]

    @property
    def drawing_options(self) -> dict[str, Any]:
        """Those of 3D too; a `num_instances` of None draws all."""
        options = {"num_instances": self.num_instances, **super().drawing_options}
        wanted = options["num_instances"]
        return options | {"num_instances": None if wanted is None or wanted < 0 else wanted}


@dataclass(frozen=True, kw_only=True)
class LiftingOptions(CallOptions3D):
    """Arguments of a call of a pipeline with a lifter.

    Args:
        temporal: `"clip"` to lift over time, `"frame"` to lift each frame alone, as the reference's inferencer does.
        online: True lifts all frames as one stream, each from those before it and `lookahead` after it, in constant
            memory. False waits for the end of a video, which is better. Default: True for webcams only. Images are
            lifted alone unless it is True or they are tracked.
        lookahead: how many frames late an online result may come; it is better the later it comes.
        stride: frames that are lifted at a time online, 1 to `lookahead` + 1; default half of it, see `OnlineLifter`.
        window: most frames that the lifter sees at once; default the most that the model takes.
        max_gap: an instance that is not seen for up to so many frames is interpolated, with more a new clip begins.
        lifter_flip_test: average over the flipped clip.
        do_normalize_boxes: scale and place poses as the data set the lifter was trained with; None for what the image
            processor says.
        do_root_relative: keypoints relative to the pelvis; None for what the image processor says.
        constant_bones: bones keep their directions and have their median length over the clip, left as right; for a
            video that is lifted as a whole. BVH and GLB have such bones anyway.
        root: where the pelvis is in a video that is lifted as a whole. `"none"`: over the origin. `"planar"`: where
            the person goes, x and y in meters from a point below the camera, upright on their ground. `"camera"`:
            relative to the camera. In both feet that stand do not slide.
            Places are as true as the size of people and the focal length are.
        height: of the people in meters, for `root`; default as tall as the lifter takes them.
        focal_length: of the camera in pixels, for `root`. Default: from `field_of_view`, or as the file tells it
            (EXIF).
        field_of_view: degrees that the image's width spans. Default: 55 for the longer side, where the file tells
            nothing.
    """

    temporal: Temporal = "clip"
    online: bool | None = None
    lookahead: int = 0
    stride: int | None = None
    window: int | None = None
    max_gap: int = 5
    lifter_flip_test: bool = False
    do_normalize_boxes: bool | None = None
    do_root_relative: bool | None = None
    constant_bones: bool = False
    root: Root = "none"
    height: float | None = None
    focal_length: float | None = None
    field_of_view: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.placing  # checks it
        if (self.root != "none" or self.constant_bones) and (self.online or self.temporal == "frame"):
            raise InputError(
                "root and constant_bones need a clip that is lifted as a whole: leave out online=True and "
                "temporal='frame'."
            )
        if self.online:
            self.smooths_by_frame("online=True")
        if self.lookahead and self.temporal == "frame":
            raise InputError("lookahead has no use with temporal='frame', which lifts each frame alone.")

    def _needs(self) -> list[tuple[tuple[str, ...], object, str]]:
        is_whole = not self.online and self.temporal == "clip"
        is_placed = is_whole and (self.root != "none" or self.ground == "clip")
        return [
            *super()._needs(),
            (("return_heatmaps",), False, "a pipeline without a lifter"),
            (("lookahead", "stride"), self.online is not False, "online=True"),
            (("window", "max_gap"), self.temporal == "clip", "temporal='clip'"),
            (("link_tracks",), not self.online, "a clip that is lifted as a whole; leave online=True out"),
            (("root", "constant_bones"), self.tracks, "track=True: it works along each identity"),
            (
                ("height", "focal_length", "field_of_view"),
                is_placed,
                "root='planar' or 'camera', or ground='clip', and a clip that is lifted as a whole",
            ),
        ]

    def _needed_inputs(self) -> list[tuple[tuple[str, ...], tuple[ItemKind, ...], str]]:
        clips: tuple[ItemKind, ...] = ("video", "image") if self.track else ("video",)
        needed = [*super()._needed_inputs(), (("root", "constant_bones"), clips, "")]
        if not self.online:
            needed.append((("lookahead", "stride"), _LIVE, " Files are lifted as streams with online=True."))
        return needed

    @cached_property
    def placing(self) -> Placing:
        """How lifted people are placed in space."""
        return Placing(self.ground, self.root, self.height, self.focal_length, self.field_of_view)

    @property
    def tracks(self) -> bool:
        return self.track is None or bool(self.track)


def make_options(
    kind: type[OptionsT], given: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> OptionsT:
    """The options of a call: those that are given, else those of `defaults`, which need not have an effect.

    Raises:
        InputError: for values out of range, and options that have no effect beside the others.
        TypeError: for an unknown option; it suggests a near one.
    """
    names = [field.name for field in fields(kind)]
    for name in (*given, *(defaults or ())):
        if name not in names:
            hint = suggestion(name, names, OF_CALLS)
            if name in LiftingOptions.__dataclass_fields__:
                hint = "It is one of pipelines that lift people to 3D, such as 'human3d'."
            raise TypeError(f"This pipeline has no option {name!r}. {hint}")
    made = kind(**{**(defaults or {}), **given})
    made.check_effects(given)
    return made


def call_signature(kind: type[CallOptions]) -> inspect.Signature:
    """What `help` and `inspect.signature` say of a call that takes inputs and options."""
    positional = (inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", "inputs"))
    return inspect.Signature([*positional, *inspect.signature(kind).parameters.values()])
