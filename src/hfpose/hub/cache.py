"""Our cache of converted models: its folders, what lies there, and whether it is still what was converted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.utils import WeakFileLock

from hfpose.errors import CheckpointError, HFPoseError, UnknownModelError, listed
from hfpose.hub.downloads import cache_dir, downloads_dir, folder_size, graph_dirs, sha256_of
from hfpose.hub.model_folders import child_path
from hfpose.media.files import write_json

_CACHE_FORMAT = 1  # raise it when conversion writes something else than before: older folders are then not used

RECORD_NAME = "converted_files.json"
"""File of a converted folder with the hashes of the others."""


@dataclass(frozen=True)
class CachedModel:
    """A converted model in our cache."""

    name: str
    path: Path
    size: int  # bytes
    modified: float  # seconds since the epoch


def list_cached() -> list[CachedModel]:
    """The converted models in our cache, by name."""
    return [
        CachedModel(folder.name, folder, folder_size(folder), folder.stat().st_mtime)
        for folder in _folders(models_dir())
    ]


def unlisted_size() -> int:
    """Bytes in our cache beside `list_cached` and graphs: unfinished downloads, checkpoints given beside a name, old
    formats."""
    return folder_size(cache_dir()) - sum(map(folder_size, graph_dirs())) - sum(model.size for model in list_cached())


def clean_cache(names: Iterable[str] | None = None) -> int:
    """Delete models from our cache by their names in `list_cached`, or with None everything, unfinished downloads
    included.

    Returns:
        how many bytes became free.

    Raises:
        UnknownModelError: a name is not in the cache; nothing has been deleted then.
    """
    freed = 0
    for model in list_cached() if names is None else _named(names):
        freed += model.size
        with lock_model(model.name):
            remove_folder(model.path)
    if names is None:
        for folder in (models_dir().parent, downloads_dir(), cache_dir() / "checkpoints", *graph_dirs()):
            freed += folder_size(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return freed


def _named(names: Iterable[str]) -> list[CachedModel]:
    """The cached models of these names; raises UnknownModelError."""
    cached = {model.name: model for model in list_cached()}
    chosen = list(names)
    for name in chosen:
        if name not in cached:
            there = ", ".join(cached) or "nothing"
            raise UnknownModelError(f"'{name}' is not in the cache. In {models_dir()} there is: {there}.")
    return [cached[name] for name in chosen]


def _folders(parent: Path) -> list[Path]:
    """The finished folders of converted models in a folder of the cache, by name."""
    folders = sorted(parent.iterdir()) if parent.is_dir() else []
    return [folder for folder in folders if folder.is_dir() and not folder.name.startswith(".")]


def record_files(folder: Path, checkpoint: Path) -> None:
    """Write into a converted folder what its files are, and of what checkpoint it was made, by SHA-256."""
    files = {path.name: {**_state(path), "sha256": sha256_of(path)} for path in sorted(folder.iterdir())}
    record = {"checkpoint": {"name": checkpoint.name, "sha256": sha256_of(checkpoint)}, "files": files}
    write_json(folder / RECORD_NAME, record)


def changed_files(folder: Path, *, read_all: bool = False) -> list[str] | None:
    """Names of the files of a converted folder that are missing or not what was converted; None without a record.

    Args:
        folder: in our cache.
        read_all: hash every file; else only those whose size or time of change is another than recorded.
    """
    path = folder / RECORD_NAME
    if not path.is_file():  # of hfpose 0.1
        return None
    try:
        files = dict(json.loads(path.read_text(encoding="utf-8"))["files"])
        return [name for name, known in files.items() if _is_changed(child_path(folder, name), known, read_all)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [RECORD_NAME]


def check_unchanged(folder: Path) -> None:
    """Check at little cost that a converted folder holds what was converted.

    Raises:
        CheckpointError: names the files that do not.
    """
    changed = changed_files(folder)
    if changed:
        are = "is" if len(changed) == 1 else "are"
        raise CheckpointError(
            f"{folder} is not what was converted: changed or damaged since then {are} {listed(changed)}. It "
            f"was not loaded. `hfpose cache --clean {folder.name}` deletes it, and its next use converts it again; a "
            "model that was changed on purpose belongs into a folder of its own."
        )
    if changed is not None:
        _note_times(folder)


def verify_cache(names: Iterable[str] | None = None) -> dict[str, list[str] | None]:
    """Read every file of the models in our cache, and compare it with the hash that was kept at its conversion.

    Args:
        names: of `list_cached`; by default all, those of checkpoints given beside a name included.

    Returns:
        for each model the names of its files that are missing or changed; None where no hashes were kept.

    Raises:
        UnknownModelError: a name is not in the cache.
    """
    if names is None:
        given_beside = _folders(cache_dir() / "checkpoints")
        return {
            folder.name: changed_files(folder, read_all=True) for folder in (*_folders(models_dir()), *given_beside)
        }
    return {model.name: changed_files(model.path, read_all=True) for model in _named(names)}


def _note_times(folder: Path) -> None:
    """Keep the times of files that were found to be unchanged, as those of a copied cache, so as not to read them
    again."""
    path = folder / RECORD_NAME
    record = json.loads(path.read_text(encoding="utf-8"))
    files = {name: {**known, **_state(folder / name)} for name, known in record["files"].items()}
    if files != record["files"]:
        with suppress(OSError):  # a read-only cache stays as it is
            write_json(path, {**record, "files": files})


def _is_changed(path: Path, known: dict[str, Any], read_all: bool) -> bool:
    if not path.is_file():
        return True
    if not read_all and _state(path) == {key: known[key] for key in ("size", "modified_ns")}:
        return False
    return path.stat().st_size != known["size"] or sha256_of(path) != known["sha256"]


def _state(path: Path) -> dict[str, int]:
    """What of a file changes with its content, and is known without reading it."""
    status = path.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns}


def models_dir() -> Path:
    """Folder of the converted models, one below it for each; it need not exist."""
    return cache_dir() / "models" / f"v{_CACHE_FORMAT}"


@contextmanager
def lock_model(name: str) -> Iterator[None]:
    """Keep other processes from converting the same model."""
    locks = cache_dir() / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(locks / f"{name}.lock"):
        yield


@contextmanager
def storing(what: str, folder: Path, error_class: type[HFPoseError]) -> Iterator[None]:
    """Turn what keeps something from being stored in a folder of our cache into one sentence.

    Args:
        what: is stored, to begin the sentence with.
        folder: where.
        error_class: of the error; others of hfpose's go on.
    """
    try:
        yield
    except HFPoseError:
        raise
    except OSError as error:
        raise error_class(
            f"{what} cannot be stored in {folder}: {error}. Is the disk full, or the folder not writable? "
            "HFPOSE_CACHE names another folder."
        ) from error


@contextmanager
def storing_alone(what: str, folder: Path, error_class: type[HFPoseError]) -> Iterator[None]:
    """The same, with the folder to oneself while other processes wait; it need not be there."""
    with storing(what, folder, error_class):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(folder.with_name(f".{folder.name}.lock")):
            yield


def remove_folder(folder: Path) -> None:
    """Delete a folder so that no part of it is ever seen."""
    if not folder.exists():
        return
    removed = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)
