"""How well identities hold: our tracker before and after each of its cues, and those of the package trackers.

    python benchmarks/tracking.py --write-docs                     # and the table in docs/tracking.md
    python benchmarks/tracking.py --sets "short clips" --clips 0   # some of it

36 clips of 300 frames, see `moving_people`, and 12 rendered ones of 600 frames, see `rendered_clips`, which are made
where they are not there yet. The package trackers (`hfpose[tracking]`) is compared where it is installed, with that of
some buffers for lost people that suits each of its trackers best. A false or missed box counts as one for all: the row
"the truth" is the best that any tracker can reach. What is measured of a clip is kept in the folder, so that a run that
was stopped goes on; `--again` measures all again.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import measuring
from hfpose.evaluation.metrics import Metrics
from hfpose.evaluation.tracking import PairedFrame, TrackingCounts, count_tracking
from hfpose.media.files import write_json
from hfpose.ops.boxes import pairwise_iou
from hfpose.results import PoseOutput
from hfpose.tracking import identity_tracker
from hfpose.tracking.filters import fill_gaps
from hfpose.tracking.identity_tracker import IdentityTracker
from hfpose.tracking.relinking import relink_tracks
from hfpose.tracking.tracker import PoseTracker
from hfpose.tracking.trackers import Tracker, make_tracker
from measuring import ROOT, table, write_report
from moving_people import FRAME_RATE, Clip, clips, make_clip
from rendered_clips import CONDITIONS, FOLDER, RenderedClip, clip_names, rendered_clip

PAGE = ROOT / "docs" / "tracking.md"
PACKAGE = ("bytetrack", "ocsort", "botsort")
BUFFERS = (30, 90)  # frames
SETS = (*CONDITIONS, "short clips")
COLUMNS = ("2 cross", "4 cross", "6 cross", "8 cross", "exits", "pan and shake", "merged", "all")

_AnyClip = Clip | RenderedClip


@dataclass(frozen=True)
class System:
    """A tracker, made again for each clip; `without` are constants of `identity_tracker` that switch a cue off."""

    make: Callable[[], Tracker] | None  # None: the true identities
    without: tuple[tuple[str, Any], ...] = ()
    sees: bool = False  # the images
    relinks: bool = False  # as whole clips are
    fill_gaps: float = 0.0  # seconds


@dataclass
class _KnownMotion:
    """Stands in for `CameraMotion` with what is known of a clip."""

    motions: Iterator[np.ndarray]

    def update(self, image: np.ndarray | None, boxes: np.ndarray | None) -> np.ndarray | None:
        motion = next(self.motions)
        return motion if np.isfinite(motion).all() else None

    def reset(self) -> None:
        pass


def systems() -> dict[str, System]:
    """What is compared. Cues are added one by one, from top to bottom; that of appearance by itself."""
    no_oks, no_scores = ("_OKS_WEIGHT", 0.0), ("_CONFIRMED_SCORE", 0.0)
    no_motion = ("_FIRST_SPEED", np.zeros(2)), ("_ACCELERATION", np.full(2, 1e-3))
    no_lengths = ("_LENGTH_NOISE", 1e9)
    no_merged = ("_MERGED_GROWTH", 1e9), no_lengths
    late = ("_RETURN_GATE", -np.inf), ("_EXPECTED", 3.0), *no_merged
    one_step = {"high_score": 0.0}
    alone = partial(IdentityTracker, relink=False)
    ours = partial(alone, camera_motion=False)
    named = {
        "the truth": System(None),
        "greedy": System(PoseTracker),
        "greedy, by OKS": System(partial(PoseTracker, "oks")),
        "places of boxes": System(partial(ours, confirm_frames=1, **one_step), (no_oks, no_scores, *no_motion, *late)),
        "+ Kalman motion": System(partial(ours, confirm_frames=1, **one_step), (no_oks, no_scores, *late)),
        "+ births over three frames": System(partial(ours, **one_step), (no_oks, no_scores, *late)),
        "+ scores, two steps": System(ours, (no_oks, *late)),
        "+ OKS": System(ours, late),
        "+ camera motion": System(alone, late),
        "+ returns": System(alone, no_merged),
        "+ merged boxes": System(alone, (no_lengths,)),
        "+ body lengths": System(alone),
        "+ links of the last seconds (`track=True`)": System(IdentityTracker),
        "`track=True`, `appearance=1`": System(partial(IdentityTracker, appearance=1.0)),
        "+ links (whole clips)": System(alone, relinks=True),
        "+ links, `appearance=1`": System(partial(alone, appearance=1.0), relinks=True),
        "+ `fill_gaps=0.3` (whole clips)": System(alone, relinks=True, fill_gaps=0.3),
        "the truth, `fill_gaps=0.3`": System(None, fill_gaps=0.3),
        '`track="oks"`': System(partial(IdentityTracker, "oks")),
    }
    if importlib.util.find_spec("trackers") is not None:
        for name in PACKAGE:
            for buffer in BUFFERS:
                make = partial(make_tracker, name, settings={"lost_track_buffer": buffer})
                named[f"{name}, {buffer} frames"] = System(make, sees=name == "botsort")
    return named


@cache
def short_clips(seed: int) -> list[Clip]:
    return clips(first_seed=100 * seed)


@cache
def clip_of(name: str, condition: str, folder: Path, seed: int) -> _AnyClip:
    """A clip of one of `SETS`; rendered ones are made where they are not there yet."""
    if condition in CONDITIONS:
        return rendered_clip(name, condition, folder, seed)
    return short_clips(seed)[int(name)]


def identify(system: System, clip: _AnyClip) -> tuple[list[PoseOutput], float]:
    """What is found in each frame with its identities, and the seconds of the processor that it took, without the
    motion of the camera."""
    if system.make is None:
        return finished([replace(seen.output, track_ids=seen.owners) for seen in clip.frames], system), 0.0
    found: list[PoseOutput] = []
    seconds = 0.0
    camera = partial(_KnownMotion, iter(clip.motions))
    with mock.patch.multiple(identity_tracker, CameraMotion=camera, **dict(system.without)):
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


def count(clip: _AnyClip, outputs: Sequence[PoseOutput]) -> TrackingCounts:
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


def group_of(clip: _AnyClip) -> str:
    return f"{clip.num_people} cross" if clip.kind in ("cross", "crowd") else clip.kind


def measure(system: System, clip: _AnyClip) -> dict[str, Any]:
    """What is counted in a clip, ready for JSON, with the group that it belongs to and the seconds that it took."""
    identities, seconds = identify(system, clip)
    counts = {name: np.asarray(value).tolist() for name, value in vars(count(clip, identities)).items()}
    return {"group": group_of(clip), "seconds": seconds, "frames": len(clip.frames), "counts": counts}


def measured_sets(options: argparse.Namespace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What `measure` says of each system and each clip of the sets."""
    stop = time.monotonic() + 60 * options.minutes
    path = options.folder / f"tracking_{options.seed}.json"
    kept = {} if options.again or not path.exists() else json.loads(path.read_text())
    wanted = {name: system for name, system in systems().items() if not options.only or name in options.only}
    measured: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in options.sets:
        names = options.clips or (clip_names(options.seed) if name in CONDITIONS else map(str, range(36)))
        rows = [row for row in wanted if "appearance" not in row or name == "demo models"]
        for row, clip in itertools.product(rows, names):
            of_clips = kept.setdefault(name, {}).setdefault(row, {})
            if clip not in of_clips:
                of_clips[clip] = measure(wanted[row], clip_of(clip, name, options.folder, options.seed))
                write_json(path, kept, indent=None)
                if time.monotonic() > stop:
                    raise SystemExit("Not complete: run it again, without --again, to go on.")
        measured[name] = {row: list(kept[name][row].values()) for row in rows}
    return measured


def metrics_of(measured: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Metrics], float]:
    """Metrics by group of clips and over all, and milliseconds a frame."""
    sums: dict[str, TrackingCounts] = {}
    for each in measured:
        counts: dict[str, Any] = {
            name: np.array(value) if isinstance(value, list) else value for name, value in each["counts"].items()
        }
        for group in (each["group"], "all"):
            counted = TrackingCounts(**counts)
            sums[group] = sums[group] + counted if group in sums else counted
    milliseconds = 1000 * sum(each["seconds"] for each in measured) / sum(each["frames"] for each in measured)
    return {group: each.metrics() for group, each in sums.items()}, milliseconds


def report(measured: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> str:
    """A table of all sets, one below the other."""
    header = ("IDF1", *COLUMNS, "HOTA", "MOTA", "switches", "identities a person", "ms a frame")
    lines: list[list[str]] = []
    for name, rows in measured.items():
        num_clips = len(next(iter(rows.values())))
        lines.append([f"**{name}** ({num_clips} clips)", *[""] * (len(header) - 1)])
        for row, (metrics, milliseconds) in _best({row: metrics_of(each) for row, each in rows.items()}):
            every = metrics["all"]
            values = [f"{metrics[group]['IDF1']:.3f}" if group in metrics else "" for group in COLUMNS]
            values += [f"{every['HOTA']:.3f}", f"{every['MOTA']:.3f}", f"{every['switches']}"]
            values += [f"{every['identities'] / every['people']:.2f}", f"{milliseconds:.2f}"]
            lines.append([row, *values])
    return table(header, lines)


def _best(measured: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The rows; of each tracker of the package the one with the best IDF1."""
    of_package = {name: [row for row in measured if row.startswith(f"{name}, ")] for name in PACKAGE}
    best = {max(rows, key=lambda row: measured[row][0]["all"]["IDF1"]) for rows in of_package.values() if rows}
    return ((row, value) for row, value in measured.items() if row.partition(",")[0] not in PACKAGE or row in best)


def ten_people() -> dict[str, float]:
    """Milliseconds a frame of the processor for ten people without images, the median of seven turns."""
    clip = make_clip("cross", 10, 300, 0, ["walk"])
    systems = {
        "`track=True`": System(IdentityTracker),
        "links of whole clips": System(partial(IdentityTracker, relink=False), relinks=True, fill_gaps=0.3),
    }
    turns = [[metrics_of([measure(system, clip)])[1] for system in systems.values()] for _ in range(7)]
    return dict(zip(systems, np.median(turns, axis=0).tolist(), strict=True))


def main() -> None:
    parser = measuring.parser(__doc__, page=PAGE)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the rendered clips, and of what is measured")
    parser.add_argument("--seed", type=int, default=0, help="of the clips")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--clips", nargs="+", help="names of clips, as exits_4_1")
    parser.add_argument("--only", nargs="+", help="names of trackers")
    parser.add_argument("--again", action="store_true", help="measure again what was measured")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many, to go on later")
    options = parser.parse_args()
    measured, costs = measured_sets(options), ten_people()
    named = ", ".join(f"{name} {cost:.2f} ms a frame" for name, cost in costs.items())
    text = f"{report(measured)}\n\nTen people without images: {named}."
    write_report("tracking", options.output, text, {**measured, "ten people": costs}, options.write_docs, PAGE)


if __name__ == "__main__":
    main()
