"""What `hfpose predict` says of a run when it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hfpose.media.frames import Frame
    from hfpose.media.left_out import LeftOut
    from hfpose.results import PoseOutput


class RunReport:
    """Counts the results of a run for the lines at its end.

    Args:
        folders: where results are written to; those that are None are passed over.
    """

    def __init__(self, *folders: Path | str | None) -> None:
        self._places = " and ".join(str(folder) for folder in folders if folder is not None)
        self._start = time.perf_counter()
        self._images = self._frames = self._instances = self._failed = 0
        self._is_live = False

    def add(self, frame: Frame, output: PoseOutput) -> None:
        """Count the result of an image or of a frame."""
        self._is_live = frame.item.is_live
        if output.error is not None:
            self._failed += 1
            return
        self._frames += frame.frame_index is not None
        self._images += frame.frame_index is None
        self._instances += output.num_instances

    def add_entry(self, entry: Mapping[str, Any]) -> None:
        """Count an input that a worker has done, by its line of the manifest."""
        self._failed += entry["error"] is not None
        if entry["kind"] == "image":
            self._images += entry["frames"]
        else:
            self._frames += entry["frames"]
        self._instances += entry["instances"]

    def lines(self, skipped: int, left_out: LeftOut | None) -> list[str]:
        """What was done; `skipped` inputs were complete already."""
        counts = [_count(self._images, "image")] if self._images or not self._frames else []
        counts += [_count(self._frames, "video frame")] if self._frames else []
        counts += [_count(self._instances, "instance")]
        where = f"; results in {self._places}" if self._places else ""
        lines = [f"{', '.join(counts)} in {time.perf_counter() - self._start:.1f} s{where}"]
        if self._failed:
            lines.append(f"{_count(self._failed, 'error')}, see above")
        if skipped:
            lines.append(f"{_count(skipped, 'input')} skipped: complete since an earlier run")
        lines += [f"left out: {line}" for line in (left_out.lines() if left_out else [])]
        return [f"hfpose: {line}" for line in lines]

    @property
    def has_results(self) -> bool:
        """Whether anything was done whose results are written to a folder."""
        return bool(self._places) and self._images + self._frames > 0

    def interrupted(self) -> str:
        """What to do after a run that broke off."""
        done = _count(self._images + self._frames, "frame" if self._frames else "image")
        text = f"hfpose: Interrupted after {done}"
        if not self._places:
            return f"{text}."
        if self._is_live:
            return f"{text}; results in {self._places}."
        return f"{text}; what is complete is in {self._places}. To go on, run the same command with --resume."


@contextmanager
def naming_resume(report: RunReport) -> Iterator[None]:
    """After an interrupt tell how to go on, and end with the exit code that shells expect; after an error of the
    system, such as a full disk, tell how to go on where something was done."""
    try:
        yield
    except KeyboardInterrupt:
        print(report.interrupted(), file=sys.stderr)
        raise typer.Exit(130) from None
    except OSError:
        if report.has_results:
            print(report.interrupted(), file=sys.stderr)
        raise


def frame_line(frame: Frame, output: PoseOutput) -> str:
    """What was found in a frame, for a run that writes no files."""
    where = frame.source or frame.name
    if output.frame_index is not None:
        where = f"{where} frame {output.frame_index}"
    scores = output.box_scores if output.box_scores is not None else ()
    return f"{where}: {output.num_instances} found" + "".join(f", {score:.2f}" for score in scores)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
