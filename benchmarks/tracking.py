"""How well identities hold: our tracker before and after each of its cues, and those of the package trackers, over 36
or 48 clips.

    python benchmarks/tracking.py [--write-docs] [--long] [--rendered] [--quick]

36 clips of 300 frames and 12 of 600, see `moving_people`; or 12 rendered ones of 600 frames, see `rendered_clips`. The
package trackers (`hfpose[tracking]`) is compared where it is installed, each of its trackers by itself and with the
buffer for lost people that suits it best. A false or missed box counts as one for all: the row "truth" is the best
that any tracker can reach.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from hfpose.evaluation.metrics import Metrics
from hfpose.evaluation.tracking import PairedFrame, TrackingCounts, count_tracking
from hfpose.ops.boxes import pairwise_iou
from hfpose.results import PoseOutput
from hfpose.tracking import identity_tracker
from hfpose.tracking.filters import fill_gaps
from hfpose.tracking.identity_tracker import IdentityTracker
from hfpose.tracking.relinking import relink_tracks
from hfpose.tracking.tracker import PoseTracker
from hfpose.tracking.trackers import Tracker, make_tracker
from measuring import ROOT
from moving_people import FRAME_RATE, Clip, clips, long_clips
from rendered_clips import CONDITIONS, FOLDER, RenderedClip, rendered_clips

PAGE = ROOT / "docs" / "tracking.md"
BUFFERS = (90,)  # frames, beside the default of 30
PACKAGE = ("bytetrack", "ocsort", "botsort")
NAMES = ("HOTA", "IDF1", "MOTA", "switches")


@dataclass(frozen=True)
class System:
    """A tracker, made again for each clip; `without` are constants of `identity_tracker` that switch a cue off."""

    make: Callable[[], Tracker] | None  # None: the true identities
    without: tuple[tuple[str, Any], ...] = ()
    sees: bool = False  # the images
    relinks: bool = False  # as whole clips are
    fill_gaps: float = 0.0  # seconds


def systems(appearance: bool = False) -> dict[str, System]:
    """What is compared. Cues are added one by one, from top to bottom; that of appearance where it is known."""
    no_oks, no_scores = ("_OKS_WEIGHT", 0.0), ("_CONFIRMED_SCORE", 0.0)
    no_motion = ("_FIRST_SPEED", np.zeros(2)), ("_ACCELERATION", np.full(2, 1e-3))
    no_lengths = ("_LENGTH_NOISE", 1e9)
    no_merged = ("_MERGED_GROWTH", 1e9), no_lengths
    late = ("_RETURN_GATE", -np.inf), ("_EXPECTED", 3.0), *no_merged
    one_step = {"high_score": 0.0}
    ours = partial(IdentityTracker, camera_motion=False)
    named = {
        "the truth": System(None),
        "greedy (before)": System(PoseTracker),
        "greedy, by OKS": System(partial(PoseTracker, "oks")),
        "places of boxes": System(partial(ours, confirm_frames=1, **one_step), (no_oks, no_scores, *no_motion, *late)),
        "+ Kalman motion": System(partial(ours, confirm_frames=1, **one_step), (no_oks, no_scores, *late)),
        "+ births over three frames": System(partial(ours, **one_step), (no_oks, no_scores, *late)),
        "+ scores, two steps": System(ours, (no_oks, *late)),
        "+ OKS": System(ours, late),
        "+ camera motion": System(IdentityTracker, late, sees=True),
        "+ returns": System(IdentityTracker, no_merged, sees=True),
        "+ merged boxes": System(IdentityTracker, (no_lengths,), sees=True),
        "+ body lengths (`track=True`)": System(IdentityTracker, sees=True),
        **({"+ appearance": System(partial(IdentityTracker, appearance=1.0), sees=True)} if appearance else {}),
        "+ links (whole clips)": System(IdentityTracker, sees=True, relinks=True),
        "+ `fill_gaps=0.3` (whole clips)": System(IdentityTracker, sees=True, relinks=True, fill_gaps=0.3),
        "the truth, `fill_gaps=0.3`": System(None, fill_gaps=0.3),
        '`track="oks"`': System(partial(IdentityTracker, "oks"), sees=True),
    }
    if importlib.util.find_spec("trackers") is not None:
        named |= {name: System(partial(make_tracker, name), sees=name == "botsort") for name in PACKAGE}
    return named


def identify(system: System, clip: Clip | RenderedClip) -> tuple[list[PoseOutput], float]:
    """What is found in each frame with its identities, and the seconds of the processor that it took."""
    if system.make is None:
        return finished([replace(seen.output, track_ids=seen.owners) for seen in clip.frames], system), 0.0
    found: list[PoseOutput] = []
    seconds = 0.0
    with mock.patch.multiple(identity_tracker, **dict(system.without)) if system.without else mock.MagicMock():
        tracker = system.make()
        for index, seen in enumerate(clip.frames):
            image = clip.image(index) if system.sees else None
            start = time.process_time()
            found.append(tracker.update(seen.output, image))
            seconds += time.process_time() - start
            for ago, row, identity in tracker.late_identities:
                found[-1 - ago]["track_ids"][row] = identity
    return finished(found, system), seconds


def finished(outputs: list[PoseOutput], system: System) -> list[PoseOutput]:
    times = np.arange(len(outputs)) / FRAME_RATE
    if system.relinks:
        relink_tracks(outputs, times)
    return fill_gaps(outputs, times, system.fill_gaps) if system.fill_gaps else outputs


def count(clip: Clip | RenderedClip, outputs: Sequence[PoseOutput]) -> TrackingCounts:
    people: dict[int, int] = {}
    tracks: dict[int, int] = {}
    frames = []
    for seen, output in zip(clip.frames, outputs, strict=True):
        assert output.track_ids is not None and output.boxes is not None
        of_hidden = pairwise_iou(output.boxes, seen.hidden).max(1, initial=0)
        is_ignored = (of_hidden > 0.5) & (of_hidden > pairwise_iou(output.boxes, seen.boxes).max(1, initial=0))
        is_tracked = (output.track_ids >= 0) & ~is_ignored
        ids = output.track_ids[is_tracked].tolist()
        frames.append(
            PairedFrame(
                np.array([people.setdefault(person, len(people)) for person in seen.people.tolist()], np.int64),
                np.array([tracks.setdefault(track, len(tracks)) for track in ids], np.int64),
                pairwise_iou(seen.boxes, output.boxes[is_tracked]),
            )
        )
    return count_tracking(frames)


def group_of(clip: Clip | RenderedClip) -> str:
    if isinstance(clip, RenderedClip):
        return clip.kind
    if len(clip.frames) > 300:
        return "12 long clips"
    return f"{clip.num_people} cross" if clip.kind == "cross" else clip.kind


def measure(system: System, some: Sequence[Clip | RenderedClip]) -> tuple[dict[str, Metrics], float]:
    """Metrics by group of clips and over all, and milliseconds a frame."""
    counts: dict[str, TrackingCounts] = {}
    seconds = 0.0
    for clip in some:
        identities, spent = identify(system, clip)
        seconds += spent
        counted = count(clip, identities)
        for group in (group_of(clip), "all"):
            counts[group] = counts[group] + counted if group in counts else counted
    milliseconds = 1000 * seconds / sum(len(clip.frames) for clip in some)
    return {group: each.metrics() for group, each in counts.items()}, milliseconds


def with_best_buffers(measured: dict[str, Any], some: Sequence[Clip | RenderedClip]) -> None:
    """Add the trackers of the package with the buffer that gives the best IDF1 over all clips."""
    for name in (name for name in PACKAGE if name in measured):
        system = systems()[name]
        trials = {
            buffer: measure(
                replace(system, make=partial(make_tracker, name, settings={"lost_track_buffer": buffer})), some
            )
            for buffer in BUFFERS
        }
        trials[30] = measured[name]
        best = max(trials, key=lambda buffer: trials[buffer][0]["all"]["IDF1"])
        measured[f"{name}, {best} frames"] = trials[best]


def tables(measured: dict[str, tuple[dict[str, Metrics], float]]) -> Iterator[str]:
    groups = [group for group in next(iter(measured.values()))[0] if group != "all"]
    yield f"| IDF1 | {' | '.join(groups)} |"
    yield "| --- |" + " --- |" * len(groups)
    for name, (metrics, _) in measured.items():
        values = [f"{metrics[group]['IDF1']:.3f}" for group in groups]
        yield f"| {name} | {' | '.join(values)} |"
    yield ""
    yield f"| all clips | {' | '.join(NAMES)} | identities a person | ms a frame |"
    yield "| --- |" + " --- |" * (len(NAMES) + 2)
    for name, (metrics, milliseconds) in measured.items():
        every = metrics["all"]
        values = [f"{every[each]:.3f}" if isinstance(every[each], float) else str(every[each]) for each in NAMES]
        identities = f"{every['identities'] / every['people']:.2f}"
        yield f"| {name} | {' | '.join(values)} | {identities} | {milliseconds:.2f} |"


def rendered_tables(folder: Path, conditions: Sequence[str], only: Sequence[str] = ()) -> Iterator[str]:
    """A table for each condition; what was measured is kept in the folder, so that a run that was stopped goes on."""
    for condition in conditions:
        path = folder / f"{condition}.json"
        measured = json.loads(path.read_text()) if path.exists() else {}
        some = list(rendered_clips(condition, folder))
        named = systems(appearance=some[0].frames[0].output.features is not None)
        rows = {name: system for name, system in named.items() if name not in PACKAGE}
        for name, buffer in itertools.product((name for name in PACKAGE if name in named), (30, *BUFFERS)):
            make = partial(make_tracker, name, settings={"lost_track_buffer": buffer})
            rows[f"{name}, {buffer} frames"] = replace(named[name], make=make)
        rows = {row: system for row, system in rows.items() if not only or row in only}
        for row, system in rows.items():
            if row not in measured:
                measured[row] = measure(system, some)
                path.write_text(json.dumps(measured, indent=1) + "\n")
        groups = list(next(iter(measured.values()))[0])
        groups.sort(key=lambda group: group == "all")
        yield f"| {condition}: IDF1 | {' | '.join((*groups, *NAMES[::2], *NAMES[3:]))} | identities a person | ms a frame |"
        yield "| --- |" + " --- |" * (len(groups) + 5)
        for row, (metrics, milliseconds) in _best({row: measured[row] for row in rows}):
            every = metrics["all"]
            values = [f"{metrics[group]['IDF1']:.3f}" for group in groups]
            values += [f"{every['HOTA']:.3f}", f"{every['MOTA']:.3f}", f"{every['switches']}"]
            values += [f"{every['identities'] / every['people']:.2f}", f"{milliseconds:.2f}"]
            yield f"| {row} | {' | '.join(values)} |"
        yield ""


def _best(measured: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The rows; of each tracker of the package the one with the best IDF1."""
    of_package = {name: [row for row in measured if row.startswith(f"{name}, ")] for name in PACKAGE}
    best = {max(rows, key=lambda row: measured[row][0]["all"]["IDF1"]) for rows in of_package.values() if rows}
    return ((row, value) for row, value in measured.items() if row.partition(",")[0] not in PACKAGE or row in best)


def write_page(name: str, text: str) -> None:
    before, begin, rest = PAGE.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    PAGE.write_text(f"{before}{begin}{text}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "benchmarks" / "tracking.json")
    parser.add_argument("--only", nargs="+", help="names of trackers")
    parser.add_argument("--long", action="store_true", help="the 12 long clips too")
    parser.add_argument(
        "--rendered", type=Path, nargs="?", const=FOLDER, help="the rendered clips instead, in a folder"
    )
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS, help="of rendered clips")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/tracking.md")
    parser.add_argument("--quick", action="store_true", help="one clip of each kind, no buffers")
    options = parser.parse_args()
    if options.rendered:
        text = "\n".join(rendered_tables(options.rendered, options.conditions, options.only or ()))
        print(text)
        if options.write_docs:
            write_page("rendered tables", text.rstrip())
        return
    some = clips(seeds=1) if options.quick else [*clips(), *(long_clips() if options.long else ())]
    measured = {
        name: measure(system, some) for name, system in systems().items() if not options.only or name in options.only
    }
    if not options.quick:
        with_best_buffers(measured, some)
    text = "\n".join(tables(measured))
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(measured, indent=2) + "\n")
    if options.write_docs:
        write_page("tables", text)


if __name__ == "__main__":
    main()
