"""From a name to a local folder that ``from_pretrained`` can load.

A name is looked up in this order: a local folder; what comes with hfpose (`PACKAGED`); our own cache; the hub
repository that the zoo pins to a revision; the official checkpoint, which is fetched, checked against the zoo's hash,
converted, and kept in our cache as safetensors.
What lies on the Hub is huggingface_hub's business: its cache, tokens, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE``. A zoo
name never leads to a repository that the zoo does not pin, so that no weights can be put under it by registering a
name.

Environment variables:
    HFPOSE_CACHE: folder for converted models and unfinished downloads; by default ``hfpose`` below ``HF_HOME``.
    HFPOSE_NAMESPACE: an organization that pushed the zoo's models; zoo names then resolve to ``<namespace>/<name>``.
    HFPOSE_CHECKPOINT_ENDPOINT: a mirror to fetch official checkpoints from, as ``https://mirror.example/openmmlab``;
        it takes the place of scheme and host, the path stays. Hashes are checked all the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from huggingface_hub import constants, is_offline_mode, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from hfpose.errors import CheckpointError, ConfigError, DownloadError, UnknownModelError
from hfpose.hub.cache import check_unchanged, lock_model, models_dir, record_files, remove_folder, storing
from hfpose.hub.downloads import cache_dir, download_file, downloads_dir, file_name, sha256_of
from hfpose.hub.model_folders import PIPELINE_INDEX, check_configurations, checked_folder, has_config, is_whole
from hfpose.hub.zoo import PACKAGED_ENTRIES, TASKS, ModelEntry, Task, find_entry, get_entry, get_main_entry

_helpers: dict[str, Callable[..., Any]] = {}


def register_helper(task: Literal["convert", "read config", "check kind"], function: Callable[..., Any]) -> None:
    """Make a function, of a package that imports this one, do a task of `resolve`.

    - "convert" takes the name of a zoo model, its checkpoint and the folder to make of it. It takes `check_hash=False`
      too, since hashes have been checked here.
    - "read config" takes the path of a config file with the name of a zoo model and that model's entry. It gives the
      folder of the model that the file describes, None where that is the zoo's.
    - "check kind" takes the configurations of a hub repository, in a folder, and its name. It raises ConfigError for a
      kind of model that is not supported, before weights are fetched.
    """
    _helpers[task] = function


PACKAGED_FOLDER = Path(__file__).parents[1] / "data"
PACKAGED = {entry.name: entry for entry in PACKAGED_ENTRIES}
"""Models and pipelines that come with hfpose and need no network, by name."""

PACKAGED_SCENES = PACKAGED_FOLDER / "scenes"
"""Eight rendered images of people with COCO annotations, for tests and to calibrate exports with."""

# What is fetched of a repository: weights as safetensors only, for a pickle can run code when it is loaded.
_CONFIG_FILES = ["*config.json", f"*{PIPELINE_INDEX}"]
_ALLOWED_FILES = [*_CONFIG_FILES, "*.safetensors", "*.safetensors.index.json"]


def resolve(
    name_or_path: str | Path,
    task: Task | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Path:
    """Local folder of a model, fetched and converted if need be.

    Args:
        name_or_path: a folder with a converted model or pipeline; a name of `PACKAGED`; a name of the zoo (see
            `hfpose.hub.zoo.get_entry`); or the id of a hub repository, ``organization/name``. A config file with the
            name of a zoo model that says something else than the zoo is converted with that model's official weights.
        task: stage that the model is for, which a name of two stages needs.
        revision: branch, tag or commit, for a repository given by its id.
        token: as for huggingface_hub, by default the one that is logged in with.

    Raises:
        UnknownModelError: no folder, zoo model or repository goes by that name.
        ConfigError: a model of the zoo that is not supported yet; `revision` for anything but a repository.
        DownloadError: it is not here and cannot be fetched.
        CheckpointError: what is there is broken, not the expected file, or no safe format.
    """
    folder = _local_folder(name_or_path)
    is_name = isinstance(name_or_path, str) or name_or_path.suffix == ".py"
    entry = find_entry(str(name_or_path), task) if is_name else None
    is_known = entry is not None or name_or_path in PACKAGED
    is_local = folder is not None and (not is_known or has_config(folder))
    if revision is not None and (is_local or is_known):
        what = "a local folder" if is_local else "a name of hfpose, which always means the same weights"
        raise ConfigError(
            f"revision is {revision!r}, but '{name_or_path}' is {what}. Leave revision out, or give the id of a Hub "
            "repository as the model."
        )
    if folder is not None and is_local:
        return checked_folder(folder)
    if name_or_path in PACKAGED:
        return checked_folder(PACKAGED_FOLDER / name_or_path)
    if entry is not None:
        path = Path(name_or_path).expanduser()
        described = _helpers["read config"](path, entry) if path.suffix == ".py" and path.is_file() else None
        return described or _resolve_entry(entry, token)
    name = str(name_or_path)
    if _is_repo_id(name):
        return _snapshot(name, revision, token)
    get_entry(name, task)  # raises, with near names
    raise AssertionError(name)


def convert_entry(entry: ModelEntry, *, checkpoint: Path | None = None, check_hash: bool = True) -> Path:
    """Folder of our cache with the official weights of a zoo model, fetched and converted if need be.

    The Hub is not asked.

    Args:
        checkpoint: the official checkpoint, where it is at hand and need not be fetched.
        check_hash: False takes a checkpoint whose SHA-256 is not the one that the zoo states.

    Raises:
        ConfigError, DownloadError, CheckpointError: as for `resolve`.
    """
    entry.require_supported()
    folder = models_dir() / entry.name
    if is_whole(folder):
        check_unchanged(folder)
        return folder
    if not check_hash:
        entry = replace(entry, sha256_prefix=None)
    return _prepare(entry, folder, checkpoint)


def download(name: str, *, check_hash: bool = True) -> list[Path]:
    """Fetch and convert a model of the zoo and what its pipeline needs beside it: detector, 2D model.

    A name of several stages means the pose model. The id of a hub repository fetches that, and what comes with hfpose
    is there already. Afterwards the model works with ``HF_HUB_OFFLINE=1``.

    Args:
        name: zoo name, alias, repository, or a name of `PACKAGED`.
        check_hash: False takes official checkpoints whose SHA-256 is not the one that the zoo states.

    Returns:
        the folders, that of ``name`` first.
    """
    if name in PACKAGED:
        return [resolve(name)]
    if _is_repo_id(name) and not any(find_entry(name, task) for task in TASKS):
        return [_snapshot(name, None, None)]
    entry = get_main_entry(name)
    return [_resolve_entry(part, None, check_hash=check_hash) for part in (entry, *entry.companions())]


def _local_folder(name_or_path: str | Path) -> Path | None:
    try:
        path = Path(name_or_path).expanduser()
        if path.is_dir():
            return path
    except (OSError, RuntimeError):  # a name that is too long for a file, the home of an unknown user
        return None
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


def _resolve_entry(entry: ModelEntry, token: str | bool | None, check_hash: bool = True) -> Path:
    """Folder of a zoo model."""
    entry.require_supported()
    namespace = os.environ.get("HFPOSE_NAMESPACE")
    if namespace:
        try:
            return _snapshot(f"{namespace}/{entry.name}", None, token)
        except UnknownModelError as error:
            raise UnknownModelError(
                f"{error} HFPOSE_NAMESPACE={namespace} makes '{entry.name}' mean that repository. Push the model "
                f"there (`hfpose push {entry.name} --namespace {namespace}`), or unset the variable."
            ) from error
    if entry.repository is not None and not is_whole(models_dir() / entry.name):
        return _snapshot(entry.repository, entry.revision, token)
    return convert_entry(entry, check_hash=check_hash)


def _prepare(entry: ModelEntry, folder: Path, checkpoint: Path | None) -> Path:
    """Fetch and convert the official checkpoint into ``folder``, which appears complete or not at all.

    Of several processes one does it and the others wait. What a killed one left is used (the beginning of a download)
    or removed (an unfinished conversion).
    """
    downloads = downloads_dir() / entry.name
    unfinished = folder.with_name(f".{entry.name}.unfinished")
    with storing(f"'{entry.name}'", folder, DownloadError), lock_model(entry.name):
        if is_whole(folder):
            return folder
        if checkpoint is None:
            checkpoint = _fetch_official(entry, downloads)
        else:
            _check_official(entry, checkpoint)
        remove_folder(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir(parents=True)
            _convert_checkpoint(entry.name, checkpoint, unfinished / "model")
            if not is_whole(unfinished / "model"):
                raise CheckpointError(f"The conversion of '{entry.name}' wrote no complete model folder.")
            record_files(unfinished / "model", checkpoint)
            (unfinished / "model").replace(folder)
        except CheckpointError:
            if entry.sha256_prefix is None:  # nothing tells that what was fetched is the right file
                shutil.rmtree(downloads, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(downloads, ignore_errors=True)
    return folder


def _fetch_official(entry: ModelEntry, folder: Path) -> Path:
    if entry.checkpoint_url is None:
        raise DownloadError(
            f"The reference project publishes no weights of '{entry.name}'. For weights of your own: `hfpose convert "
            f"{entry.name} --checkpoint FILE --output DIR`, then give DIR as the model."
        )
    url = official_url(entry)
    ways_out = (
        f"`hfpose download {entry.name}` on a connected machine, then copy {cache_dir()} from there to here; or, with "
        f"the file {file_name(url)} at hand, `hfpose convert {entry.name} --checkpoint FILE --output DIR`, then give "
        "DIR as the model."
    )
    target = folder / file_name(url)
    if is_offline_mode() and not target.is_file():
        raise DownloadError(
            f"'{entry.name}' is not in the cache ({models_dir()}), and HF_HUB_OFFLINE forbids to download it. Ways "
            f"out: unset HF_HUB_OFFLINE where there is a network; or {ways_out}"
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
            f"{checkpoint} is not the official checkpoint of '{entry.name}': its SHA-256 begins with {found[:16]}, "
            f"that of the official one with {entry.sha256_prefix}. For weights of your own: `hfpose convert "
            f"{entry.name} --checkpoint FILE --output DIR`."
        )


def official_url(entry: ModelEntry) -> str:
    """Where the official checkpoint of a zoo model that has one is fetched from."""
    url = str(entry.checkpoint_url)
    mirror = os.environ.get("HFPOSE_CHECKPOINT_ENDPOINT")
    return mirror.rstrip("/") + urlsplit(url).path if mirror else url


def _convert_checkpoint(name: str, checkpoint: Path, folder: Path) -> None:
    _helpers["convert"](name, checkpoint, folder, check_hash=False)


def _snapshot(repo_id: str, revision: str | None, token: str | bool | None) -> Path:
    """Local copy of a hub repository, in huggingface_hub's own cache; its configurations are fetched and checked
    first."""
    at = f"'{repo_id}'" if revision is None else f"'{repo_id}' at revision '{revision}'"

    def fetch(patterns: list[str], revision: str | None) -> Path:
        return Path(
            snapshot_download(repo_id, revision=revision, token=token, allow_patterns=patterns, library_name="hfpose")
        )

    try:
        folder = fetch(_CONFIG_FILES, revision)
        check_configurations(folder)
        _helpers["check kind"](folder, repo_id)
        return checked_folder(fetch(_ALLOWED_FILES, folder.name))
    except HFValidationError as error:
        raise UnknownModelError(f"'{repo_id}' cannot be the id of a hub repository: {error}") from error
    except GatedRepoError as error:
        raise DownloadError(
            f"The hub repository {at} is gated. Ask for access at {constants.ENDPOINT}/{repo_id}, and log in with "
            "that account (`hf auth login`)."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UnknownModelError(
            f"The Hub has no model repository {at} that you may read. If it is private, log in first (`hf auth "
            "login`) with a token that may read it."
        ) from error
    except LocalEntryNotFoundError as error:
        reason = " ".join(str(error).split())
        raise DownloadError(
            f"The hub repository {at} is not in the cache ({constants.HF_HUB_CACHE}), and the Hub cannot be asked: "
            f"{reason} Ways out: unset HF_HUB_OFFLINE and check the network; fetch it on a connected machine (`hf "
            f"download {repo_id}`) and copy the cache; or give a local folder instead."
        ) from error
    except HfHubHTTPError as error:
        raise DownloadError(f"The hub repository {at} cannot be fetched: {' '.join(str(error).split())}") from error
    except CheckpointError as error:
        copy = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo_id, repo_type="model"))
        raise CheckpointError(
            f"The hub repository {at} is refused: {error} If only its copy here is damaged, delete {copy}, and it is "
            "fetched again."
        ) from error
    except ValueError as error:
        raise CheckpointError(f"The hub repository {at} is refused: {error}") from error
    except OSError as error:
        raise DownloadError(f"The hub repository {at} cannot be fetched: {' '.join(str(error).split())}") from error


def _is_repo_id(name: str) -> bool:
    """Whether ``name`` has the form ``organization/name``."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1
