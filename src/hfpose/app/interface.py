"""The pages of the app, made of Gradio's components."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from hfpose.app.example_clip import write_example_clip
from hfpose.app.upload_handling import (
    MODES,
    STYLES,
    AppLimits,
    Choice,
    Runner,
    plot_keypoint,
    track_rows,
    without_images,
)
from hfpose.errors import HFPoseError
from hfpose.hub.resolve import PACKAGED_SCENES
from hfpose.results import PoseOutput
from hfpose.visualization.interactive import plot_poses_3d

MODELS = ("demo", "demo3d", "human", "human3d", "wholebody", "hand", "animal", "rtmo")
TRACK_HEADERS = ["identity", "first second", "last second", "frames", "mean score"]

# Of images; Gradio's default has one that sends the image to a service.
BUTTONS: list[Any] = ["download", "fullscreen"]

# Of videos, in pixels; a small clip would be made as wide as the page.
VIDEO_HEIGHT = 420

# Frames of a video between two previews: a run is cancelled at the next one.
PREVIEW_FRAMES = 10

# Seconds between two frames of a webcam, and after which a stream is stopped for the next visitor.
WEBCAM_INTERVAL, WEBCAM_SECONDS = 0.15, 120

# Seconds between two looks for files of visitors to delete, and their age then.
DELETE_FILES = (600, 3600)

_INTRODUCTION = """# hfpose
Poses of people, hands and animals, in 2D and 3D. `demo` and `demo3d` come with the package and know rendered scenes
only; photographs need another model, which is loaded from the network at its first use."""


def build_app(models: Sequence[str] = MODELS, limits: AppLimits | None = None, device: str | None = None) -> gr.Blocks:
    """The app, ready for `launch`.

    Args:
        models: names to choose from, no others are loaded; the first one is chosen at first.
        limits: of uploads and of the queue.
        device: where models go; None for the best there is.
    """
    runner = Runner(limits or AppLimits(), device)
    with gr.Blocks(title="hfpose", analytics_enabled=False, delete_cache=DELETE_FILES) as app:
        gr.Markdown(_INTRODUCTION)
        with gr.Accordion("Settings", open=True), gr.Row():
            choices = [
                gr.Dropdown(list(models), value=models[0], label="Model", min_width=140),
                gr.Dropdown(list(MODES), value=MODES[0], label="Mode", min_width=140),
                gr.Slider(0, 1, 0.3, step=0.05, label="Box score", min_width=140, buttons=[]),
                gr.Slider(0, 1, 0.3, step=0.05, label="Keypoint score", min_width=140, buttons=[]),
                gr.Dropdown(list(STYLES), value=next(iter(STYLES)), label="Style", min_width=180),
                gr.Checkbox(label="Heatmaps (2D)", min_width=140),
            ]
        with gr.Tab("Image"):
            _image_tab(runner, choices, models)
        with gr.Tab("Video"):
            _video_tab(runner, choices)
        with gr.Tab("Webcam"):
            _webcam_tab(runner, choices)
    return app.queue(max_size=runner.limits.queue, default_concurrency_limit=1)


def launch(
    app: gr.Blocks,
    limits: AppLimits | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    **options: Any,
) -> Any:
    """Serve the app, on this machine alone unless `host` or `share` say otherwise.

    Args:
        app: what `build_app` made.
        limits: the same as for `build_app`.
        host, port: where to listen; a port of None takes the first free one from 7860 on.
        options: others of Gradio's `launch`, such as `share`, `inbrowser` and `prevent_thread_lock`.
    """
    theme = gr.themes.Default(font="system-ui", font_mono="monospace")  # the others are loaded from the network
    return app.launch(
        server_name=host,
        server_port=port,
        max_file_size=f"{(limits or AppLimits()).megabytes}mb",
        theme=theme,
        ssr_mode=False,
        **options,
    )


@contextmanager
def _told(path: str | None) -> Iterator[Path]:
    """The upload; what is wrong with it is shown to the visitor, by its name alone."""
    if path is None:
        raise gr.Error("Upload something first, or take an example.", print_exception=False)
    try:
        yield Path(path)
    except HFPoseError as error:
        raise gr.Error(str(error).replace(path, Path(path).name), print_exception=False) from error


def _figure_3d(output: PoseOutput) -> Any:
    return plot_poses_3d(output).update_layout(legend={"orientation": "h"}, height=420)  # as narrow windows need it


def _drawn_file(folder: Path) -> str:
    (path,) = (folder / "visualizations").iterdir()
    return str(path)


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in (folder / "predictions").rglob("*") if path.is_file())


# Image


def _image_tab(runner: Runner, choices: Sequence[Any], models: Sequence[str]) -> None:
    with gr.Row():
        with gr.Column(min_width=280):
            image: Any = gr.Image(type="filepath", sources=["upload", "clipboard"], label="Image")
            # Gradio would open the file first, with errors of its own.
            image.preprocess = lambda payload: payload and payload.path
            button, cancel = gr.Button("Find poses", variant="primary"), gr.Button("Cancel")
            if models[0] == "demo":
                gr.Examples([str(path) for path in sorted(PACKAGED_SCENES.glob("*.jpg"))[:4]], image, label="Examples")
        with gr.Column(min_width=280, scale=2):
            drawn = gr.Image(label="Result", interactive=False, buttons=BUTTONS)
            figure = gr.Plot(label="3D", visible=False)
            told, files = gr.Markdown(), gr.Files(label="Download")
    event = button.click(
        partial(_find_in_image, runner),
        [image, *choices],
        [drawn, figure, told, files],
        api_name="image",
        concurrency_id="image",  # beside a video, for whose end it need not wait
    )
    cancel.click(None, cancels=event)


def _find_in_image(runner: Runner, path: str | None, *chosen: Any) -> Iterator[tuple[Any, ...]]:
    with _told(path) as upload, tempfile.TemporaryDirectory() as folder:
        output = runner.result(upload, Choice(*chosen), Path(folder))
        is_3d = output.keypoints.shape[2] == 3
        plot = gr.update(value=_figure_3d(output) if is_3d else None, visible=is_3d)
        told = f"{len(output)} found, {output.keypoints.shape[1]} keypoints each."
        # Files, which Gradio copies before it comes back: an array it writes into a file that is named by its content,
        # which a visitor with the same image may be downloading.
        yield _drawn_file(Path(folder)), plot, told, _files(Path(folder))


# Video


def _video_tab(runner: Runner, choices: Sequence[Any]) -> None:
    outputs = gr.State([])
    with gr.Row():
        with gr.Column(min_width=280):
            video = gr.Video(
                sources=["upload"], label=f"Video of at most {runner.limits.seconds:g} s", height=VIDEO_HEIGHT
            )
            # Gradio says "Video not playable", as if it were of no use.
            gr.Markdown("A video that the browser does not play, as many AVI and MKV, is read all the same.")
            button, cancel = gr.Button("Find poses", variant="primary"), gr.Button("Cancel")
            gr.Examples([str(write_example_clip())], video, label="Example")
        with gr.Column(min_width=280, scale=2):
            preview, drawn = (
                gr.Image(label="Preview", interactive=False, buttons=BUTTONS),
                gr.Video(label="Result", interactive=False, height=VIDEO_HEIGHT),
            )
            told, tracks = gr.Markdown(), gr.Dataframe(headers=TRACK_HEADERS, label="Identities", interactive=False)
            with gr.Row():
                keypoint = gr.Dropdown([], label="Keypoint", visible=False)
                frame = gr.Slider(0, 1, 0, step=1, label="Frame in 3D", visible=False)
            plot, figure = gr.Plot(label="Over time"), gr.Plot(label="3D", visible=False)
            files = gr.Files(label="Download")

    # Gradio gives the progress bar in the place of an argument that has one as its default.
    def find(path: str | None, progress: Any = gr.Progress(), *chosen: Any) -> Iterator[tuple[Any, ...]]:  # noqa: B008
        yield from _find_in_video(runner, progress, path, Choice(*chosen))

    event = button.click(
        find,
        [video, *choices],
        [preview, drawn, told, tracks, outputs, keypoint, frame, plot, figure, files],
        api_name="video",
        concurrency_id="pose",
    )
    cancel.click(None, cancels=event)
    keypoint.input(plot_keypoint, [outputs, keypoint], plot, api_visibility="private")
    frame.input(lambda found, index: _figure_3d(found[index]), [outputs, frame], figure, api_visibility="private")


def _find_in_video(runner: Runner, progress: Any, path: str | None, choice: Choice) -> Iterator[tuple[Any, ...]]:
    found: list[PoseOutput] = []
    with _told(path) as upload, tempfile.TemporaryDirectory() as folder:
        progress(0, desc="Loading the model")
        for output, total in runner.results(upload, choice, Path(folder)):
            found.append(without_images(output))
            progress((len(found), total), desc="Finding poses", unit="frames")
            if len(found) % PREVIEW_FRAMES == 1:
                yield output.visualization, *[gr.skip()] * 9
        yield gr.skip(), *_video_results(found, Path(folder))


def _video_results(found: list[PoseOutput], folder: Path) -> tuple[Any, ...]:
    first = next((output for output in found if len(output)), None)
    names = [] if first is None or first.schema is None else list(first.schema.keypoint_names)
    is_3d = first is not None and first.keypoints.shape[2] == 3
    video = _drawn_file(folder)
    return (
        video,
        f"{len(found)} frames.",
        track_rows(found),
        found,
        gr.update(choices=names, value=names[-1] if names else None, visible=bool(names)),
        gr.update(maximum=max(len(found) - 1, 1), value=0, visible=is_3d and len(found) > 1),
        plot_keypoint(found, names[-1]) if names else None,
        gr.update(value=_figure_3d(found[0]) if is_3d else None, visible=is_3d),
        [*_files(folder), video],
    )


# Webcam


def _webcam_tab(runner: Runner, choices: Sequence[Any]) -> None:
    with gr.Row():
        with gr.Column(min_width=280):
            camera = gr.Image(sources=["webcam"], streaming=True, label="Webcam")
        with gr.Column(min_width=280):
            drawn = gr.Image(label="Result", interactive=False, buttons=BUTTONS)

    def draw(image: np.ndarray | None, *chosen: Any) -> np.ndarray | None:
        with _told("the webcam"):
            return None if image is None else runner.drawn(image, Choice(*chosen))

    camera.stream(
        draw, [camera, *choices], drawn, stream_every=WEBCAM_INTERVAL, time_limit=WEBCAM_SECONDS,
        concurrency_id="pose", api_visibility="private",
    )  # fmt: skip
