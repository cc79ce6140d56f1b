"""A run whose inputs are done by workers: what is skipped of it, and its manifest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec

from hfpose.distributed.worker import SEGMENTS, copy_files, is_remote
from hfpose.media.files import PARTIALS
from hfpose.media.frames import MediaItem
from hfpose.media.manifest import MANIFEST, WORK_FOLDER
from hfpose.media.run import Run
from hfpose.media.sources import Source
from hfpose.media.writers import open_writers

_SAVE_SECONDS = 300.0  # between copies of the list of what is done


@contextmanager
def open_shared_run(
    out: str, formats: tuple[str, ...], resume: bool, make_source: Callable[[Callable[[MediaItem], bool]], Source]
) -> Iterator[tuple[Run, Source]]:
    """A run that workers write the results of, in a folder or at a URL; `make_source` opens the inputs, given what to
    skip.

    Raises:
        InputError: if nothing can be written there, or it would be written over inputs.
    """
    if is_remote(out):
        with TemporaryDirectory(prefix="hfpose-") as name, _RemoteRun(out, Path(name), resume) as run:
            yield run, make_source(run.skip)
        return
    with Run(Path(out), resume) as run:
        source = make_source(run.skip)
        with open_writers(out_dir=out, formats=formats, resume=resume, source=source) as writers:
            run.begin(writers.outputs, writers.is_complete)
            try:
                yield run, source
            finally:
                for path in (Path(out) / WORK_FOLDER).glob(f"{PARTIALS}*"):  # of workers that died
                    shutil.rmtree(path, ignore_errors=True)
                with suppress(OSError):  # where results are for a run with `resume`
                    (Path(out) / WORK_FOLDER / SEGMENTS).rmdir()


class _RemoteRun(Run):
    """Keeps its manifest in a local folder, and copies it to where the results are."""

    def __init__(self, out: str, folder: Path, resume: bool) -> None:
        self._files, self._root = fsspec.url_to_fs(out)
        self._journal_folder = f"{self._root}/{WORK_FOLDER}"
        if resume:
            self._fetch(folder, MANIFEST)
            for path in self._files.glob(f"{self._journal_folder}/*.jsonl"):
                self._fetch(folder, f"{WORK_FOLDER}/{path.rpartition('/')[2]}")
        else:
            self._remove(self._journal_folder)
            self._remove(f"{self._root}/predictions/results.parquet")  # whose files have other names in each run
        super().__init__(folder, resume)
        self._saved = time.monotonic()
        self.begin(lambda item: (), lambda item: self.earlier.get(item.name, {}).get("status") == "ok")

    def add(self, entry: Mapping[str, Any]) -> None:
        super().add(entry)
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        super().__exit__(kind, *error)
        self._save()
        for path in self._files.glob(f"{self._journal_folder}/*.jsonl"):
            self._files.rm(path)

    def _save(self) -> None:
        assert self.folder is not None
        copy_files(self._files, self.folder, self._root)
        self._saved = time.monotonic()

    def _fetch(self, folder: Path, name: str) -> None:
        if self._files.exists(f"{self._root}/{name}"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self._files.get_file(f"{self._root}/{name}", str(folder / name))

    def _remove(self, path: str) -> None:
        if self._files.exists(path):
            self._files.rm(path, recursive=True)
