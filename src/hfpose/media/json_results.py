"""Results as JSON: documents that say what they hold, MMPose's bare lists, and reading both back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index as as_int
from pathlib import Path
from typing import Any, NamedTuple

from hfpose.media.files import write_text
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.json_lists import JsonListFile, write_json_list
from hfpose.media.per_video import InputWriter
from hfpose.results import PoseOutput

_OF_A_FRAME = ("frame_index", "timestamp", "error", "predictions")


class JsonWriter(InputWriter[JsonListFile]):
    """`name.json` for each image and for each video, a document that says what it holds.

    An image's file is `PoseOutput.to_json`. In a video's file each entry of `frames` has `frame_index`, `timestamp`
    (seconds), `predictions`, `error` where there is one, and `image_size` where the video changes it; beside `frames`
    is what `to_dict` says of all. The file of a video grows with every frame and is valid JSON all the time; it takes
    its name at the end (see `JsonListFile`).
    """

    def write(self, frame: Frame, output: PoseOutput) -> None:
        path = self._path(frame.item)
        self._videos.enter(frame.item)
        if frame.frame_index is not None:
            self._videos.file(frame.item, lambda: self._open_video(path, output)).append([self._frame(frame, output)])
        elif output.error is None:
            self._write_image(path, output)

    def _path(self, item: MediaItem) -> Path:
        return self._folder / f"{item.name}.json"

    def _write_image(self, path: Path, output: PoseOutput) -> None:
        write_text(path, f"{output.to_json()}\n")

    def _open_video(self, path: Path, first: PoseOutput) -> JsonListFile:
        about = {key: value for key, value in first.to_dict().items() if key not in _OF_A_FRAME}
        return JsonListFile(path, about, "frames")

    def _frame(self, frame: Frame, output: PoseOutput) -> dict[str, Any]:
        error = {} if output.error is None else {"error": output.error}
        is_resized = frame.video and output.image_size not in (None, (frame.video.width, frame.video.height))
        size = {"image_size": output.image_size} if is_resized else {}
        about = {"frame_index": frame.frame_index, "timestamp": frame.timestamp, **size, **error}
        return {**about, "predictions": output.predictions}


class MMPoseWriter(JsonWriter):
    """`name.json` as MMPose's `pred_out_dir` has it: of an image the list of its instances (see `mmpose_instances`),
    of a video the list of its frames, each with `frame_id`, `timestamp` and `instances`."""

    def _write_image(self, path: Path, output: PoseOutput) -> None:
        write_json_list(path, mmpose_instances(output))

    def _open_video(self, path: Path, first: PoseOutput) -> JsonListFile:
        return JsonListFile(path)

    def _frame(self, frame: Frame, output: PoseOutput) -> dict[str, Any]:
        about = {"frame_id": frame.frame_index, "timestamp": frame.timestamp}
        return {**about, "instances": mmpose_instances(output)}


def mmpose_instances(output: PoseOutput) -> list[dict[str, Any]]:
    """The instances of a result as MMPose writes them: `keypoints`, `keypoint_scores`, and where known `bbox` (in a
    tuple) and `bbox_score`."""
    keys = ("keypoints", "keypoint_scores", "bbox", "bbox_score")
    return [
        {key: (one[key],) if key == "bbox" else one[key] for key in keys if key in one} for one in output.predictions
    ]


class VideoFrame(NamedTuple):
    """What a file with the results of a video says of a frame; instances are dicts as in `PoseOutput.predictions`."""

    frame_index: int
    timestamp: float | None
    instances: Sequence[Mapping[str, Any]]


def frames_of_video(content: Any) -> list[VideoFrame]:
    """The frames of a video, from the content of a file that `JsonWriter` or `MMPoseWriter` wrote.

    Raises:
        KeyError, TypeError, ValueError: if it is no such file.
    """
    frames, index, instances = content, "frame_id", "instances"
    if isinstance(content, dict):
        frames, index, instances = content["frames"], "frame_index", "predictions"
    return [VideoFrame(as_int(each[index]), each.get("timestamp"), [*map(dict, each[instances])]) for each in frames]
