"""From a name to a local folder that ``from_pretrained`` can load.

A name is looked up in this order: a local folder; what comes with hfpose (`PACKAGED`); our own cache; the hub repository
that the zoo pins to a revision; the official checkpoint, which is fetched, checked against the zoo's hash, converted, and
kept in our cache as safetensors.
What lies on the Hub is huggingface_hub's business: its cache, tokens, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE``. A zoo name
never leads to a repository that the zoo does not pin, so that nobody can put weights under it by registering a name.

Environment variables:
    HFPOSE_CACHE: folder for converted models and unfinished downloads; by default ``hfpose`` below ``HF_HOME``.
    HFPOSE_NAMESPACE: an organization that pushed the zoo's models; zoo names then resolve to ``<namespace>/<name>``.
    HFPOSE_CHECKPOINT_ENDPOINT: a mirror to fetch official checkpoints from, as ``https://mirror.example/openmmlab``; it
        takes the place of scheme and host, the path stays. Hashes are checked all the same.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants, is_offline_mode, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import WeakFileLock, validate_repo_id
from safetensors import SafetensorError, safe_open

from hfpose.errors import CheckpointError, ConfigError, DownloadError, UnknownModelError
from hfpose.hub.downloads import cache_dir, download_file, downloads_dir, file_name, folder_size, graph_dirs, sha256_of
from hfpose.hub.zoo import TASKS, ModelEntry, Task, find_entry, get_entry, get_main_entry

Converter = Callable[[str, Path, Path], object]
"""Reads a checkpoint of the zoo model of that name, and writes a model folder: (name, checkpoint, folder to make)."""

_converters: list[Converter] = []


def register_converter(convert: Converter) -> None:
    """Make a function the one that converts official checkpoints where no other is given."""
    _converters.append(convert)


PIPELINE_INDEX = "pose_pipeline.json"
"""File that names the parts of a saved pipeline, each in a folder of its own."""

GRAPH_NAME, OPENVINO_NAME = "model.onnx", "model.xml"
"""The network of an exported folder, as ONNX or in OpenVINO's own format."""


@dataclass(frozen=True)
class PackagedModel:
    """A model or pipeline that comes with hfpose and needs no network."""

    folder: Path
    default_pose: str | None = None  # of a lifter: the name of the 2D model or pipeline that goes before it


_PACKAGED_FOLDER = Path(__file__).parents[1] / "data"
PACKAGED = {
    "demo": PackagedModel(_PACKAGED_FOLDER / "demo"),
    "demo3d": PackagedModel(_PACKAGED_FOLDER / "demo3d", default_pose="demo"),
}

PACKAGED_SCENES = _PACKAGED_FOLDER / "scenes"
"""Eight rendered images of people with COCO annotations, for tests and to calibrate exports with."""

# What is fetched of a repository: weights as safetensors only, for a pickle can run code when it is loaded.
_ALLOWED_FILES = ["*config.json", "*.safetensors", "*.safetensors.index.json", f"*{PIPELINE_INDEX}"]

_CACHE_FORMAT = 1  # raise it when conversion writes something else than before: older folders are then not used
_MAX_JSON_BYTES = 16 << 20
_MAX_LABELS = 1_000_000


def resolve(
    name_or_path: str | Path,
    task: Task | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    convert: Converter | None = None,
) -> Path:
    """Local folder of a model, fetched and converted if need be.

    Args:
        name_or_path: a folder with a converted model or pipeline; a name of `PACKAGED`; a name of the zoo (see
            `hfpose.hub.zoo.get_entry`); or the id of a hub repository, ``organization/name``.
        task: stage that the model is for, which a name of two stages needs.
        revision: branch, tag or commit, for a repository given by its id.
        token: as for huggingface_hub, by default the one that is logged in with.
        convert: what converts official checkpoints; by default `hfpose.convert_checkpoint`.

    Raises:
        UnknownModelError: no folder, zoo model or repository goes by that name.
        ConfigError: a model of the zoo that is not supported yet.
        DownloadError: it is not here and cannot be fetched.
        CheckpointError: what is there is broken, not the expected file, or no safe format.
    """
    folder = _local_folder(name_or_path)
    entry = find_entry(name_or_path, task) if isinstance(name_or_path, str) else None
    is_known = entry is not None or name_or_path in PACKAGED
    if folder is not None and (not is_known or _has_config(folder)):
        return _checked_folder(folder)
    if name_or_path in PACKAGED:
        return _checked_folder(PACKAGED[str(name_or_path)].folder)
    if entry is not None:
        return _resolve_entry(entry, token, convert)
    name = str(name_or_path)
    if _is_repo_id(name):
        return _snapshot(name, revision, token)
    get_entry(name, task)  # raises, with near names
    raise AssertionError(name)


def convert_entry(entry: ModelEntry, *, checkpoint: Path | None = None, convert: Converter | None = None) -> Path:
    """Folder of our cache with the official weights of a zoo model, fetched and converted if need be.

    The Hub is not asked.

    Args:
        entry: the model.
        checkpoint: the official checkpoint, where it is at hand and need not be fetched.
        convert: as for `resolve`.

    Raises:
        ConfigError, DownloadError, CheckpointError: as for `resolve`.
    """
    entry.require_supported()
    folder = _models_dir() / entry.name
    return folder if _is_whole(folder) else _prepare(entry, folder, checkpoint, convert or _convert_checkpoint)


def download(name: str) -> list[Path]:
    """Fetch and convert a model of the zoo and what its pipeline needs beside it: detector, 2D model.

    A name of several stages means the pose model. The id of a hub repository fetches that, and what comes with hfpose is
    there already. Afterwards the model works with ``HF_HUB_OFFLINE=1``.

    Returns:
        the folders, that of ``name`` first.
    """
    if name in PACKAGED:
        return [resolve(name)]
    if _is_repo_id(name) and not any(find_entry(name, task) for task in TASKS):
        return [_snapshot(name, None, None)]
    entry = get_main_entry(name)
    return [_resolve_entry(part, None, None) for part in (entry, *entry.companions())]


def child_path(folder: Path, name: str) -> Path:
    """Path of the file or folder that an index in ``folder`` calls ``name``.

    Raises:
        CheckpointError: the name would lead out of ``folder``.
    """
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    outside = not parts or ".." in parts or "\0" in name
    if outside or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise CheckpointError(
            f"A file in {folder} names '{name}' as its part, which lies outside of that folder. It is not opened: the "
            "folder was put together wrongly, or to do harm."
        )
    return folder / name


@dataclass(frozen=True)
class CachedModel:
    """A converted model in our cache."""

    name: str
    path: Path
    size: int  # bytes
    modified: float  # seconds since the epoch


def list_cached() -> list[CachedModel]:
    """The converted models in our cache, by name."""
    folders = sorted(_models_dir().iterdir()) if _models_dir().is_dir() else []
    return [
        CachedModel(folder.name, folder, folder_size(folder), folder.stat().st_mtime)
        for folder in folders
        if folder.is_dir() and not folder.name.startswith(".")
    ]


def unlisted_size() -> int:
    """Bytes in our cache beside `list_cached` and graphs: unfinished downloads, checkpoints given beside a name, old formats."""
    return folder_size(cache_dir()) - sum(map(folder_size, graph_dirs())) - sum(model.size for model in list_cached())


def clean_cache(names: Iterable[str] | None = None) -> int:
    """Delete models from our cache, or with None everything in it, unfinished downloads and old formats included.

    Args:
        names: zoo names as `list_cached` gives them.

    Returns:
        how many bytes became free.

    Raises:
        UnknownModelError: a name is not in the cache; nothing has been deleted then.
    """
    cached = {model.name: model for model in list_cached()}
    chosen = list(cached if names is None else names)
    for name in chosen:
        if name not in cached:
            there = ", ".join(cached) or "nothing"
            raise UnknownModelError(f"'{name}' is not in the cache. In {_models_dir()} there is: {there}.")
    freed = 0
    for name in chosen:
        freed += cached[name].size
        with _lock(name):
            _remove(cached[name].path)
    if names is None:
        for folder in (_models_dir().parent, downloads_dir(), cache_dir() / "checkpoints", *graph_dirs()):
            freed += folder_size(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return freed


def _local_folder(name_or_path: str | Path) -> Path | None:
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.is_file() and path.suffix != ".py":
        raise UnknownModelError(
            f"'{name_or_path}' is a file, and a folder with a converted model is needed. For a checkpoint: "
            "`hfpose convert NAME --checkpoint FILE --output DIR`, then give DIR."
        )
    if isinstance(name_or_path, Path) or str(name_or_path).startswith((".", "~", "/", os.sep)):
        if path.suffix == ".py":  # path of a config file, of which only the base name counts
            return None
        raise UnknownModelError(f"There is no folder '{name_or_path}'.")
    return None


def _has_config(folder: Path) -> bool:
    return (folder / constants.CONFIG_NAME).is_file() or (folder / PIPELINE_INDEX).is_file()


def _checked_folder(folder: Path) -> Path:
    """The folder, if it holds a model or pipeline in a format that is safe to load."""
    if not _has_config(folder):
        raise UnknownModelError(
            f"'{folder}' holds neither a model nor a pipeline: it has no {constants.CONFIG_NAME} and no {PIPELINE_INDEX}."
        )
    if (folder / PIPELINE_INDEX).is_file():
        _check_index(folder)
    for path in folder.rglob(constants.CONFIG_NAME):
        _check_config(path)
    for index in folder.rglob("*.safetensors.index.json"):
        for shard in _shards(index):
            child_path(index.parent, shard)
    weights = list(folder.rglob("*.safetensors"))
    if not weights and not any(any(folder.rglob(name)) for name in (GRAPH_NAME, OPENVINO_NAME)):
        raise CheckpointError(
            f"'{folder}' has no weights as safetensors. Other formats (.bin, .pth) can run code when they are loaded and "
            "are not. Convert them: `hfpose convert` for checkpoints of the zoo's models, "
            "https://huggingface.co/spaces/safetensors/convert for hub repositories."
        )
    for path in weights:
        if (error := _weights_error(path)) is not None:
            raise CheckpointError(
                f"{path} is cut off or damaged, or no safetensors file: {error}. Fetch or write it anew."
            )
    return folder


def _check_config(path: Path) -> None:
    """Refuse a configuration that is none, or that could fill the memory before a model is even built."""
    try:
        config = _read_json(path)
        num_labels = config.get("num_labels", 0)
        if not isinstance(num_labels, int) or num_labels > _MAX_LABELS:
            raise ValueError(f"num_labels is {num_labels!r}")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no configuration of a model: {error}") from error


def _check_index(folder: Path) -> None:
    """Refuse a pipeline's index that is none, or that names a part outside of its folder."""
    path = folder / PIPELINE_INDEX
    try:
        parts = dict(_read_json(path))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is no index of a pipeline: {error}") from error
    for part in TASKS:
        if isinstance(parts.get(part), str):
            child_path(folder, parts[part])


def _read_json(path: Path) -> Any:
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise ValueError(f"more than {_MAX_JSON_BYTES} bytes")
    return json.loads(path.read_text(encoding="utf-8"))


def _shards(index: Path) -> set[str]:
    """Names of the weight files that a ``model.safetensors.index.json`` lists."""
    try:
        names = set(_read_json(index)["weight_map"].values())
        if not all(isinstance(name, str) for name in names):
            raise ValueError("file names that are not text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no index of weight files: {error}") from error
    return names


def _resolve_entry(entry: ModelEntry, token: str | bool | None, convert: Converter | None) -> Path:
    entry.require_supported()
    namespace = os.environ.get("HFPOSE_NAMESPACE")
    if namespace:
        try:
            return _snapshot(f"{namespace}/{entry.name}", None, token)
        except UnknownModelError as error:
            raise UnknownModelError(
                f"{error} HFPOSE_NAMESPACE={namespace} makes '{entry.name}' mean that repository. Push the model there "
                f"(`hfpose push {entry.name} --namespace {namespace}`), or unset the variable."
            ) from error
    if entry.repository is not None and not _is_whole(_models_dir() / entry.name):
        return _snapshot(entry.repository, entry.revision, token)
    return convert_entry(entry, convert=convert)


def _prepare(entry: ModelEntry, folder: Path, checkpoint: Path | None, convert: Converter) -> Path:
    """Fetch and convert the official checkpoint into ``folder``, which appears complete or not at all.

    Of several processes one does it and the others wait. What a killed one left is used (the beginning of a download) or
    removed (an unfinished conversion).
    """
    downloads = downloads_dir() / entry.name
    unfinished = folder.with_name(f".{entry.name}.unfinished")
    try:
        with _lock(entry.name):
            if _is_whole(folder):
                return folder
            if checkpoint is None:
                checkpoint = _fetch_official(entry, downloads)
            else:
                _check_official(entry, checkpoint)
            _remove(folder)
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                unfinished.mkdir(parents=True)
                convert(entry.name, checkpoint, unfinished / "model")
                if not _is_whole(unfinished / "model"):
                    raise CheckpointError(f"The conversion of '{entry.name}' wrote no complete model folder.")
                (unfinished / "model").replace(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            shutil.rmtree(downloads, ignore_errors=True)
    except (DownloadError, CheckpointError):
        raise
    except OSError as error:
        raise DownloadError(
            f"'{entry.name}' cannot be stored in {folder}: {error}. Is the disk full, or the folder not writable? "
            "HFPOSE_CACHE names another folder."
        ) from error
    return folder


def _fetch_official(entry: ModelEntry, folder: Path) -> Path:
    if entry.checkpoint_url is None:
        raise DownloadError(
            f"The reference project publishes no weights of '{entry.name}'. For weights of your own: `hfpose convert "
            f"{entry.name} --checkpoint FILE --output DIR`, then give DIR as the model."
        )
    url = _official_url(entry)
    ways_out = (
        f"`hfpose download {entry.name}` on a connected machine, then copy {cache_dir()} from there to here; or, with the "
        f"file {file_name(url)} at hand, `hfpose convert {entry.name} --checkpoint FILE --output DIR`, then give DIR as "
        "the model."
    )
    target = folder / file_name(url)
    if is_offline_mode() and not target.is_file():
        raise DownloadError(
            f"'{entry.name}' is not in the cache ({_models_dir()}), and HF_HUB_OFFLINE forbids to download it. Ways out: "
            f"unset HF_HUB_OFFLINE where there is a network; or {ways_out}"
        )
    try:
        # Twice the size: the converted weights are written while the checkpoint is still there.
        return download_file(url, target, sha256_prefix=entry.sha256_prefix, disk_factor=2.0)
    except DownloadError as error:
        raise DownloadError(f"'{entry.name}' is not in the cache, and {error} Other ways: {ways_out}") from error


def _check_official(entry: ModelEntry, checkpoint: Path) -> None:
    if entry.sha256_prefix is None:  # not published
        return
    found = sha256_of(checkpoint)
    if not found.startswith(entry.sha256_prefix):
        raise CheckpointError(
            f"{checkpoint} is not the official checkpoint of '{entry.name}': its SHA-256 begins with {found[:16]}, that of "
            f"the official one with {entry.sha256_prefix}. For weights of your own: `hfpose convert {entry.name} "
            "--checkpoint FILE --output DIR`."
        )


def _official_url(entry: ModelEntry) -> str:
    url = str(entry.checkpoint_url)
    mirror = os.environ.get("HFPOSE_CHECKPOINT_ENDPOINT")
    return mirror.rstrip("/") + urlsplit(url).path if mirror else url


def _convert_checkpoint(name: str, checkpoint: Path, folder: Path) -> None:
    _converters[-1](name, checkpoint, folder)


def _snapshot(repo_id: str, revision: str | None, token: str | bool | None) -> Path:
    """Local copy of a hub repository, in huggingface_hub's own cache."""
    at = f"'{repo_id}'" if revision is None else f"'{repo_id}' at revision '{revision}'"
    try:
        folder = snapshot_download(
            repo_id, revision=revision, token=token, allow_patterns=_ALLOWED_FILES, library_name="hfpose"
        )
    except HFValidationError as error:
        raise UnknownModelError(f"'{repo_id}' cannot be the id of a hub repository: {error}") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UnknownModelError(
            f"The Hub has no model repository {at} that you may read. If it is private or gated, log in first "
            "(`hf auth login`)."
        ) from error
    except LocalEntryNotFoundError as error:
        raise DownloadError(
            f"The hub repository {at} is not in the cache ({constants.HF_HUB_CACHE}), and the Hub cannot be asked: {error} "
            "Ways out: unset HF_HUB_OFFLINE and check the network; fetch it on a connected machine (`hf download "
            f"{repo_id}`) and copy the cache; or give a local folder instead."
        ) from error
    except HfHubHTTPError as error:
        raise DownloadError(f"The hub repository {at} cannot be fetched: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"The hub repository {at} is refused: {error}") from error
    except OSError as error:
        raise DownloadError(f"The hub repository {at} cannot be fetched: {error}") from error
    return _checked_folder(Path(folder))


def _is_repo_id(name: str) -> bool:
    """Whether ``name`` has the form ``organization/name``."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _is_whole(folder: Path) -> bool:
    """Whether ``folder`` holds a model whose weight files have the length that their headers say."""
    weights = list(folder.glob("*.safetensors"))
    if not weights or not (folder / constants.CONFIG_NAME).is_file():
        return False
    return all(_weights_error(path) is None for path in weights)


def _weights_error(path: Path) -> Exception | None:
    """What is wrong with the header of a safetensors file, which says how long each tensor and the whole file are."""
    try:
        with safe_open(path, framework="np"):
            return None
    except (SafetensorError, OSError) as error:
        return error


def _models_dir() -> Path:
    return cache_dir() / "models" / f"v{_CACHE_FORMAT}"


@contextmanager
def _lock(name: str) -> Iterator[None]:
    locks = cache_dir() / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(locks / f"{name}.lock"):
        yield


def _remove(folder: Path) -> None:
    """Delete a folder so that nobody ever sees a part of it."""
    if not folder.exists():
        return
    removed = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)
