"""Convert the official checkpoints of the zoo's models into hfpose's cache, several at a time.

    python conversion/convert_all.py                                 # everything, fetched where it is not at hand
    python conversion/convert_all.py --checkpoints DIR --no-download # only what lies in DIR, by its published file name
    python conversion/convert_all.py human wholebody rtmdet-m --jobs 2 --report report.json

Models that are in the cache already are not converted again, so a run that was stopped goes on where it was. The cache
is HFPOSE_CACHE, or `hfpose` below HF_HOME. Exit code 1 if a model failed.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from hfpose.errors import HFPoseError
from hfpose.hub.cache import list_cached
from hfpose.hub.downloads import file_name
from hfpose.hub.resolve import convert_entry
from hfpose.hub.zoo import TASKS, ModelEntry, find_entry, get_entry, list_entries
from hfpose.media.files import write_json


@dataclass(frozen=True)
class Row:
    """What became of one model: "converted", "cached" (it was there), "skipped" (no checkpoint at hand) or
    "failed"."""

    name: str
    status: str
    seconds: float = 0.0
    folder: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()  # what conversion said of the checkpoint, such as entries that were left out


def chosen_entries(names: list[str]) -> list[ModelEntry]:
    """The named models, a name of several stages being all of them; without names every model that can be loaded."""
    if not names:
        return [entry for entry in list_entries() if entry.supported]
    found: dict[str, ModelEntry] = {}
    for name in names:
        entries = [entry for task in TASKS if (entry := find_entry(name, task))]
        for entry in entries or [get_entry(name)]:
            found[entry.name] = entry
    return list(found.values())


def convert(name: str, checkpoints: Path | None, download: bool) -> Row:
    """Convert one model; runs in a process of its own."""
    entry = get_entry(name)
    if any(model.name == name for model in list_cached()):
        return Row(name, "cached", folder=str(convert_entry(entry)))
    checkpoint = checkpoints / file_name(str(entry.checkpoint_url)) if checkpoints else None
    if checkpoint is not None and not checkpoint.is_file():
        checkpoint = None
    if checkpoint is None and not download:
        return Row(name, "skipped", error=f"{file_name(str(entry.checkpoint_url))} is not in {checkpoints}")
    start = time.monotonic()
    with _warnings() as notes:
        try:
            folder = convert_entry(entry, checkpoint=checkpoint)
        except HFPoseError as error:
            return Row(name, "failed", time.monotonic() - start, error=str(error), notes=tuple(notes))
    return Row(name, "converted", time.monotonic() - start, str(folder), notes=tuple(notes))


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects what hfpose warns of, which is then not printed: the report has it."""
    notes: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: notes.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("hfpose")
    logger.addHandler(handler)
    try:
        yield notes
    finally:
        logger.removeHandler(handler)


def convert_all(entries: list[ModelEntry], checkpoints: Path | None, download: bool, jobs: int) -> Iterator[Row]:
    """Convert the models in `jobs` processes; gives each one's row as it is done."""
    # Spawned, not forked: torch's threads do not survive a fork. One thread each, or they are in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(convert, entry.name, checkpoints, download): entry.name for entry in entries}
        for future in as_completed(waiting):
            error = future.exception()
            yield Row(waiting[future], "failed", error=repr(error)) if error else future.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names or aliases; default: every model that can be loaded")
    parser.add_argument("--checkpoints", type=Path, help="folder with checkpoints under their published file names")
    parser.add_argument("--no-download", action="store_true", help="skip what is not in --checkpoints")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="models at a time")
    parser.add_argument("--report", type=Path, help="JSON file with a row for each model")
    arguments = parser.parse_args()
    try:
        entries = chosen_entries(arguments.names)
    except HFPoseError as error:
        parser.error(str(error))
    rows: list[Row] = []
    results = convert_all(entries, arguments.checkpoints, not arguments.no_download, max(1, arguments.jobs))
    for row in tqdm(results, total=len(entries), unit="model", disable=None):
        rows.append(row)
        tqdm.write(f"{row.status:9} {row.name}" + (f": {row.error}" if row.error else f" ({row.seconds:.1f} s)"))
        for note in row.notes:
            tqdm.write(f"{'':9} {note}")
        if arguments.report:
            write_json(arguments.report, [asdict(row) for row in rows])
    sys.exit(any(row.status == "failed" for row in rows))


if __name__ == "__main__":
    main()
