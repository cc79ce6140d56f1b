"""Trackers by their names, and trackers of other packages in the place of ours."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, get_args

import numpy as np

from hfpose.errors import HFPoseError, InputError
from hfpose.results import PoseOutput
from hfpose.tracking.identity_tracker import IdentityTracker
from hfpose.tracking.tracker import UNTRACKED, Association, PoseTracker, instance_boxes, instance_scores

TrackerName = Literal["iou", "oks", "bytetrack", "ocsort", "botsort"]

_OF_PACKAGE = {"bytetrack": "ByteTrackTracker", "ocsort": "OCSORTTracker", "botsort": "BoTSORTTracker"}
_OURS = inspect.signature(IdentityTracker).parameters


class Tracker(Protocol):
    """What gives the instances of successive frames identities, see `IdentityTracker`."""

    @property
    def late_identities(self) -> Sequence[tuple[int, int, int]]:
        """What the last `update` found out: how many frames ago, the row of an instance in that output, its
        identity."""

    def reset(self) -> None:
        """Forget all identities: another video begins."""

    def update(self, output: PoseOutput, image: np.ndarray | None = None) -> PoseOutput:
        """The result of the next frame with `track_ids`; `image` is the frame (H, W, 3), uint8, RGB."""


def make_tracker(track: Any, threshold: float = 0.3, settings: Mapping[str, Any] | None = None) -> Tracker:
    """A tracker for a video.

    Args:
        track: True or `"iou"`, `"oks"`: an `IdentityTracker`; `"bytetrack"`, `"ocsort"` or `"botsort"` of the package
            trackers; a tracker of ours, or an object whose `update` takes `supervision.Detections`, which begins
            again.
        threshold: of an `IdentityTracker`.
        settings: further ones, of the tracker that is named.

    Raises:
        InputError: for another `track`, or settings that the tracker does not have.
        HFPoseError: if the package that it is of is not installed.
    """
    if isinstance(track, (bool, str)) and track not in (True, *get_args(TrackerName)):
        raise InputError(
            f"track is {track!r}; expected True, False, {', '.join(map(repr, get_args(TrackerName)))}, or a tracker."
        )
    if isinstance(track, (bool, str)):
        kind = _class_of_package(_OF_PACKAGE[track]) if track in _OF_PACKAGE else IdentityTracker
        known = list(inspect.signature(kind).parameters)
        for name in settings or {}:
            if name not in known:
                ours = " It is one of track=True, 'iou' and 'oks'." if name in _OURS else ""
                raise InputError(f"track={track!r} has no setting {name!r}, only {', '.join(known)}.{ours}")
        if kind is not IdentityTracker:
            return DetectionTracker(kind(**(settings or {})))
        association: Association = "oks" if track == "oks" else "iou"
        return IdentityTracker(**{"association": association, "threshold": threshold, **(settings or {})})
    if settings:
        raise InputError("tracking has settings of a tracker that is named; give this one its own when it is made.")
    tracker = track if isinstance(track, (IdentityTracker, PoseTracker)) else DetectionTracker(track)
    tracker.reset()
    return tracker


def _class_of_package(name: str) -> Any:
    try:
        import trackers
    except ModuleNotFoundError as error:
        raise HFPoseError(
            "ByteTrack, OC-SORT and BoT-SORT are of the package trackers: pip install 'hfpose[tracking]'."
        ) from error
    return getattr(trackers, name)


class DetectionTracker:
    """Puts a tracker of boxes in the place of ours.

    Args:
        tracker: an object whose `update` takes `supervision.Detections` and returns some of them with `tracker_id`,
            such as those of the package trackers; one that follows the camera (`enable_cmc`) is given the image (BGR)
            too.

    Raises:
        InputError: for another object.
        HFPoseError: if supervision is not installed.
    """

    late_identities: Sequence[tuple[int, int, int]] = ()

    def __init__(self, tracker: Any) -> None:
        if not callable(getattr(tracker, "update", None)):
            raise InputError(f"A tracker is an object with update(detections), but {tracker!r} has no such method.")
        try:
            from supervision import Detections
        except ModuleNotFoundError as error:
            raise HFPoseError(
                "A tracker of boxes is given supervision's Detections: pip install 'hfpose[tracking]'."
            ) from error
        self._make_detections = Detections
        self._tracker = tracker

    def reset(self) -> None:
        """Begin a new video, as far as the tracker can."""
        if callable(getattr(self._tracker, "reset", None)):
            self._tracker.reset()

    def update(self, output: PoseOutput, image: np.ndarray | None = None) -> PoseOutput:
        """The instances of the next frame with `track_ids`; -1 for those to which the tracker gives none."""
        boxes, scores = instance_boxes(output), instance_scores(output)
        rows = np.arange(len(boxes))
        found = self._make_detections(boxes, confidence=scores, class_id=np.zeros(len(rows), int), data={"row": rows})
        follows_camera = image is not None and getattr(self._tracker, "enable_cmc", False)
        tracked = self._tracker.update(found, **({"frame": image[..., ::-1]} if follows_camera else {}))  # type: ignore[index]
        ids = np.full(len(rows), UNTRACKED, np.int64)
        if len(tracked):
            ids[tracked.data["row"]] = tracked.tracker_id
        return replace(output, track_ids=ids)
