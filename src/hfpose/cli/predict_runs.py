"""Doing what `hfpose predict` was asked to do, in this process or on a cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hfpose.cli.run_report import RunReport, frame_line

if TYPE_CHECKING:
    from hfpose.distributed.job import PredictJob
    from hfpose.distributed.ray_run import Cluster
    from hfpose.media.frames import MediaItem
    from hfpose.media.run import Run
    from hfpose.media.sources import Source

    MakeSource = Callable[[Callable[[MediaItem], bool]], Source]


def predict_here(
    job: PredictJob,
    make_source: MakeSource,
    folders: Mapping[str, Path | None],
    resume: bool,
    report: RunReport,
    show_progress: bool,
    show: bool,
    wait_time: float,
) -> tuple[Run, Source]:
    """Do everything in this process: write, show and report the results.

    Raises:
        typer.Exit: if the user ends the run at the window.
    """
    from hfpose.media.live import LiveMeter
    from hfpose.media.run import Run
    from hfpose.visualization.windows import VIDEO_WAIT, Window

    meter = LiveMeter()
    with Run(folders["out_dir"], resume) as run:
        source = make_source(run.skip)
        writers = job.open_writers(**folders, resume=resume, source=source)
        run.begin(writers.outputs, writers.is_complete)
        window = Window("hfpose") if show else None
        pipe = job.load_pipeline()
        writers.check(pipe.schema, is_3d=not job.is_2d(pipe))
        results = job.results(pipe, source, draws=writers.wants_visualization or show)
        with writers, window or nullcontext(), _bar(source.num_frames, show_progress) as progress:
            source.on_frame = lambda _: progress.update()
            for frame, output in results:
                if output.error is not None:
                    progress.write(f"hfpose: {frame.source or frame.name}: {output.error}", file=sys.stderr)
                writers.write(frame, output)
                run.note(frame, output)
                report.add(frame, output)
                if frame.received is not None:
                    meter.add(frame)
                    progress.set_postfix_str(str(meter), refresh=False)
                if not writers.writers and output.error is None:
                    progress.write(frame_line(frame, output), file=sys.stdout)
                if window is not None and output.visualization is not None:
                    seconds = wait_time if frame.frame_index is None else VIDEO_WAIT
                    if not window.show(output.visualization, seconds):
                        raise typer.Exit(1 if run.failures else 0)
    return run, source


def predict_on_cluster(
    job: PredictJob,
    make_source: MakeSource,
    out: str,
    resume: bool,
    cluster: Cluster,
    report: RunReport,
    show_progress: bool,
    options: Mapping[str, Any],
) -> tuple[Run, Source]:
    """Let workers do everything, and take down what they have done."""
    from hfpose.distributed.ray_run import predict_on_ray
    from hfpose.distributed.shared_run import open_shared_run

    connected = cluster.connect()
    with (
        open_shared_run(out, job.formats, resume, make_source) as (run, source),
        closing(predict_on_ray(job, source, out, connected, **options)) as entries,
        _bar(None, show_progress) as progress,
    ):
        for entry in entries:
            if entry["error"] is not None:
                progress.write(f"hfpose: {entry['input'] or entry['name']}: {entry['error']}", file=sys.stderr)
            run.add(entry)
            report.add_entry(entry)
            progress.update(entry["frames"])
    return run, source


def _bar(total: int | None, show_progress: bool) -> Any:
    from tqdm import tqdm

    # `disable=None`: no bar where stderr is no terminal; `delay`: none for what is done in a second.
    shown = False if show_progress else None
    return tqdm(total=total, unit="frame", disable=shown, delay=0 if show_progress else 1)
