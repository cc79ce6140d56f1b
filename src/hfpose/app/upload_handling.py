"""What the app does with an upload; knows nothing of Gradio."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfpose.distributed.job import PredictJob
from hfpose.errors import InputError
from hfpose.keypoints.human36m import has_h36m
from hfpose.media.frames import Frame
from hfpose.media.images import image_size
from hfpose.media.sources import open_source
from hfpose.media.video import stated_seconds
from hfpose.pipelines.stage import task_of
from hfpose.results import PoseOutput

if TYPE_CHECKING:
    import plotly.graph_objects

MODES = ("default", "lightweight", "balanced", "performance")
STYLES: dict[str, dict[str, Any]] = {
    "left and right": {"color_by": "side"},
    "person by person": {"color_by": "instance"},
    "OpenPose": {"skeleton_style": "openpose"},
    "ControlNet": {"skeleton_style": "openpose", "black_background": True},
}

# Pipelines that are kept in memory; another one takes the place of the one that was least recently used.
KEPT_PIPELINES = 2
BATCH_SIZE = 4


@dataclass(frozen=True)
class AppLimits:
    """What the app takes.

    Args:
        megabytes: of a file.
        megapixels: of an image or a frame.
        seconds: of a video.
        queue: uploads that wait; a further one is told to come back later.
    """

    megabytes: int = 100
    megapixels: float = 50.0
    seconds: float = 60.0
    queue: int = 32


@dataclass(frozen=True)
class Choice:
    """What a visitor has chosen; the fields are those of `PredictJob` in simpler words."""

    model: str
    mode: str = MODES[0]
    box_threshold: float = 0.3
    keypoint_threshold: float = 0.3
    style: str = next(iter(STYLES))
    heatmaps: bool = False

    @property
    def drawing(self) -> dict[str, Any]:
        """Options of `draw_poses`."""
        return {"keypoint_threshold": self.keypoint_threshold, **STYLES[self.style]}

    def job(self, device: str | None) -> PredictJob:
        """The task to do with an image or a video."""
        is_3d = task_of(self.model) == "lifter"
        task, mode = "pose-estimation-3d" if is_3d else "pose-estimation", None if self.mode == MODES[0] else self.mode
        return PredictJob(
            models={"task": task, "model": self.model, "mode": mode, "device": device},
            finding={"box_threshold": self.box_threshold, "batch_size": BATCH_SIZE},
            tracking={},
            lifting={},
            drawing=self.drawing,
            draw_heatmaps=self.heatmaps and not is_3d,
            suppress_similar=False,
            num_instances=None,
            formats=("json", "csv"),
            shows_frames=True,
        )


@dataclass
class Runner:
    """Runs models, and keeps those that were used last."""

    limits: AppLimits = field(default_factory=AppLimits)
    device: str | None = None
    _pipelines: dict[tuple[str, str], Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pipeline(self, choice: Choice) -> Any:
        """The pipeline of a choice, loaded once."""
        with self._lock:
            key = choice.model, choice.mode
            pipe = self._pipelines.pop(key, None) or choice.job(self.device).load_pipeline()
            self._pipelines[key] = pipe
            for oldest in list(self._pipelines)[:-KEPT_PIPELINES]:
                del self._pipelines[oldest]
            return pipe

    def result(self, path: Path, choice: Choice, folder: Path) -> PoseOutput:
        """The drawn result of an image, see `results`.

        Raises:
            InputError: if the upload is no image, such as an animation, or is over a limit.
        """
        if not open_source(str(path)).is_single:
            raise InputError(f"{path.name} holds several images. Save the one that is meant as a file of its own.")
        ((output, _),) = self.results(path, choice, folder)
        return output

    def results(self, path: Path, choice: Choice, folder: Path) -> Iterator[tuple[PoseOutput, int | None]]:
        """The drawn results of an image or of the frames of a video, each with the number of all frames where it is
        known. The files to download are in `folder`, complete at the end.

        Raises:
            InputError: if the upload cannot be read or is over a limit.
        """
        source = open_source(str(path))
        is_image = source.is_single
        _check_size(path, is_image, self.limits)
        pipe, job = self.pipeline(choice), choice.job(self.device)
        if not job.is_2d(pipe) and has_h36m(pipe.schema):
            job = replace(job, formats=(*job.formats, "trc", "bvh"))
        over_time = {"track": not is_image}
        job = replace(job, tracking=over_time, lifting={} if is_image else over_time)
        with job.open_writers(out_dir=folder, source=source) as writers:
            for frame, output in job.results(pipe, source, draws=True):
                if output.error is not None:
                    raise InputError(output.error)
                _check_time(frame, self.limits)
                writers.write(frame, output)
                yield output, source.num_frames

    def drawn(self, image: np.ndarray, choice: Choice) -> np.ndarray:
        """A frame (H, W, 3) of a webcam with what was found in it."""
        output: PoseOutput = self.pipeline(choice)(image, box_threshold=choice.box_threshold, drawing=choice.drawing)
        return image if output.visualization is None else output.visualization


def _check_size(path: Path, is_image: bool, limits: AppLimits) -> None:
    size = path.stat().st_size / 1e6
    if size > limits.megabytes:
        raise InputError(f"{path.name} has {size:.0f} MB; this app takes {limits.megabytes}. Make it smaller.")
    if is_image:
        width, height = image_size(path)
        if width * height > limits.megapixels * 1e6:
            raise InputError(
                f"{path.name} has {width}x{height} pixels; this app takes {limits.megapixels:g} million. Scale it "
                "down."
            )
        return
    seconds = stated_seconds(path, timeout=30.0)
    if seconds > limits.seconds:
        raise InputError(f"{path.name} lasts {seconds:.0f} s; this app takes {limits.seconds:g} s. Cut it.")


def _check_time(frame: Frame, limits: AppLimits) -> None:
    if (frame.timestamp or 0.0) > limits.seconds:  # of a file that did not say
        raise InputError(f"The video lasts longer than the {limits.seconds:g} s that this app takes. Cut it.")
    if frame.image is not None and frame.image.shape[0] * frame.image.shape[1] > limits.megapixels * 1e6:
        raise InputError(f"The frames have more than {limits.megapixels:g} million pixels. Scale the video down.")


def without_images(output: PoseOutput) -> PoseOutput:
    """A result as it is kept for plots."""
    return replace(output, image=None, visualization=None, heatmaps=None, heatmap_boxes=None)


def track_rows(outputs: Sequence[PoseOutput]) -> list[list[Any]]:
    """Of each identity: its number, first and last second, frames, and the mean score of its keypoints."""
    seen: dict[int, list[tuple[float, float]]] = {}
    for seconds, identity, output, row in _instances(outputs):
        seen.setdefault(identity, []).append((seconds, float(output.keypoint_scores[row].mean())))
    return [
        [
            identity,
            round(of[0][0], 2),
            round(of[-1][0], 2),
            len(of),
            round(float(np.mean([score for _, score in of])), 3),
        ]
        for identity, of in sorted(seen.items())
    ]


def plot_keypoint(outputs: Sequence[PoseOutput], keypoint: str) -> plotly.graph_objects.Figure:
    """The coordinates of a keypoint over time, a line for each identity and axis."""
    from plotly import graph_objects

    lines: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for seconds, identity, output, row in _instances(outputs):
        assert output.schema is not None  # of every pipeline
        for axis, value in zip("xyz", output.keypoints[row, output.schema.index(keypoint)].tolist(), strict=False):
            lines.setdefault((identity, axis), []).append((seconds, value))
    figure = graph_objects.Figure()
    for (identity, axis), points in sorted(lines.items()):
        times, values = zip(*points, strict=True)
        figure.add_scatter(x=times, y=values, mode="lines+markers", marker={"size": 3}, name=f"#{identity} {axis}")
    units = outputs[0].units if outputs and outputs[0].keypoints.shape[2] == 3 else "pixels"
    legend = {"orientation": "h", "y": -0.3}  # as narrow windows need it
    return figure.update_layout(title=keypoint, xaxis_title="seconds", yaxis_title=units, legend=legend)


def _instances(outputs: Sequence[PoseOutput]) -> Iterator[tuple[float, int, PoseOutput, int]]:
    """Time, identity, output and row of every instance that has an identity; frames without a time are a second
    apart."""
    for index, output in enumerate(outputs):
        seconds = float(index) if output.timestamp is None else output.timestamp
        ids = range(len(output)) if output.track_ids is None else output.track_ids.tolist()
        yield from ((seconds, identity, output, row) for row, identity in enumerate(ids) if identity >= 0)
