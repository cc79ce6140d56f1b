"""Pushing converted models and whole pipelines to the Hub, each with its card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.constants import REPOCARD_NAME
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from hfpose import hub
from hfpose.errors import HFPoseError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.publishing.cards import (
    PICTURE,
    entry_card,
    model_card,
    pipeline_card,
    saved_pipeline_card,
    skeleton_picture,
)
from hfpose.zoo import ModelEntry

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hfpose.pipelines.factory import AnyPipeline

# What a converted folder may hold beside the card; nothing else that lies there goes up.
_PUSHED_FILES = ("*.json", "*.safetensors")
_LOGIN = "Log in with `hf auth login` or set HF_TOKEN, to a token that may write there."


class UploadError(HFPoseError, OSError):
    """A repository could not be made or written."""


@dataclass(frozen=True)
class Upload:
    """What goes into a repository, or went.

    Attributes:
        repo_id: the repository.
        files: path in the repository and size in bytes of each file.
        revision: the commit that holds them; None for a dry run.
    """

    repo_id: str
    files: tuple[tuple[str, int], ...]
    revision: str | None = None

    def __str__(self) -> str:
        """The repository, then its files with their sizes, in several lines."""
        state = f"revision {self.revision}" if self.revision else "dry run, nothing was pushed"
        return "\n".join([f"{self.repo_id} ({state})", *(f"  {size:>12,}  {name}" for name, size in self.files)])


def push_model(
    entry: ModelEntry,
    namespace: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    dry_run: bool = False,
) -> Upload:
    """Push a model of the zoo with its image processor and card to ``<namespace>/<name>``.

    The weights are the official ones, from our cache or fetched and converted. Pushing again makes a new commit only
    where something changed.

    Args:
        entry: the model.
        namespace: user or organization on the Hub.
        token: as for huggingface_hub, by default the one that is logged in with.
        private: make a new repository private.
        dry_run: only say what would go up.

    Raises:
        UploadError: the Hub refused.
        ConfigError, DownloadError, CheckpointError: see `hub.convert_entry`.
    """
    repo_id = _repo_id(namespace, entry.name)
    folder = hub.convert_entry(entry)
    card = entry_card(entry, repo_id).content
    schema = load_schema(entry.schema) if entry.schema else None
    return _push(repo_id, [*_folder_files(folder), *_card_files(card, schema)], token, private, dry_run)


def push_pipeline(
    entry: ModelEntry,
    namespace: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    dry_run: bool = False,
) -> Upload:
    """Push a pose model or lifter of the zoo with all that goes before it to ``<namespace>/<name>-pipeline``.

    Arguments and errors as for `push_model`.
    """
    repo_id = _repo_id(namespace, f"{entry.name}-pipeline")
    parts = [_repo_id(namespace, part.name) for part in (entry, *entry.companions())]
    if entry.schema is None:
        raise UploadError(f"'{entry.name}' is a detector; a pipeline is made around a pose model or a lifter.")
    card = pipeline_card(entry, repo_id, parts).content
    with _saved(_zoo_pipeline(entry)) as folder:
        files = [*_folder_files(folder), *_card_files(card, load_schema(entry.schema))]
        return _push(repo_id, files, token, private, dry_run)


def push_saved_pipeline(
    pipe: AnyPipeline, repo_id: str, *, token: str | bool | None = None, private: bool | None = None
) -> Upload:
    """Push any pipeline with a card that says how to use it: what a pipeline's ``push_to_hub`` does.

    Raises:
        UploadError: the Hub refused.
    """
    is_3d = "3D" in type(pipe).__name__
    picture = PICTURE if skeleton_picture(pipe.schema) else None
    card = saved_pipeline_card(pipe.schema, repo_id, is_3d, picture).content
    with _saved(pipe) as folder:
        return _push(repo_id, [*_folder_files(folder), *_card_files(card, pipe.schema)], token, private, dry_run=False)


def push_card(
    model: PreTrainedModel, repo_id: str, token: str | bool | None = None, private: bool | None = None
) -> str:
    """Make a repository for a model and put a card there, unless it has one.

    Returns:
        the full id of the repository, which has the user's name where ``repo_id`` has none.
    """
    api = HfApi(library_name="hfpose", token=token)
    with _explained(repo_id):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if api.file_exists(repo_id, REPOCARD_NAME):
            return repo_id
        described = getattr(model.config, "keypoint_schema", None)
        schema = KeypointSchema.from_dict(described) if described else None
        picture = skeleton_picture(schema) if schema else None
        card = model_card(model, repo_id, PICTURE if picture else None).content
        operations = [CommitOperationAdd(REPOCARD_NAME, card.encode())]
        if picture:
            operations.append(CommitOperationAdd(PICTURE, picture))
        api.create_commit(repo_id, operations, commit_message="Add a model card")
    return repo_id


def _push(
    repo_id: str,
    files: list[tuple[str, Path | bytes]],
    token: str | bool | None,
    private: bool | None,
    dry_run: bool,
) -> Upload:
    sizes = tuple((name, len(data) if isinstance(data, bytes) else data.stat().st_size) for name, data in files)
    if dry_run:
        return Upload(repo_id, sizes)
    api = HfApi(library_name="hfpose", token=token)
    with _explained(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.create_commit(
            repo_id,
            [CommitOperationAdd(name, data) for name, data in files],
            commit_message="Upload weights, image processor and card",
        )
    return Upload(repo_id, sizes, commit.oid)


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise UploadError(f"'{repo_id}' cannot be written. {_LOGIN}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        advice = _LOGIN if status in (401, 403) else "Try again later."
        raise UploadError(
            f"The Hub refused to write '{repo_id}' (HTTP {status}). {advice} It said: {error}"
        ) from error
    except OSError as error:
        raise UploadError(f"The Hub cannot be reached to write '{repo_id}': {error}") from error


def _repo_id(namespace: str, name: str) -> str:
    repo_id = f"{namespace}/{name}"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UploadError(f"'{namespace}' cannot be a user or organization on the Hub: {error}") from error
    return repo_id


def _folder_files(folder: Path) -> list[tuple[str, Path | bytes]]:
    paths = sorted({path for pattern in _PUSHED_FILES for path in folder.rglob(pattern) if path.is_file()})
    return [(path.relative_to(folder).as_posix(), path) for path in paths]


def _card_files(card: str, schema: KeypointSchema | None) -> list[tuple[str, Path | bytes]]:
    files: list[tuple[str, Path | bytes]] = [(REPOCARD_NAME, card.encode())]
    picture = skeleton_picture(schema) if schema else None
    if picture is not None:
        files.append((PICTURE, picture))
    return files


def _zoo_pipeline(entry: ModelEntry) -> AnyPipeline:
    """The pipeline around a pose model or lifter of the zoo, of official weights whatever HFPOSE_NAMESPACE says."""
    from hfpose.pipelines import pipeline

    parts = {part.task: hub.convert_entry(part) for part in entry.companions()}
    return pipeline(
        "pose-estimation-3d" if entry.task == "lifter" else "pose-estimation",
        model=hub.convert_entry(entry),
        pose=parts.get("pose"),
        detector=parts.get("detector", entry.default_detector),
        detector_labels=entry.detector_labels,
        device="cpu",
    )


@contextmanager
def _saved(pipe: AnyPipeline) -> Iterator[Path]:
    """A temporary folder with the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        pipe.save_pretrained(folder)
        yield Path(folder)
