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
from hfpose.publishing.cards import PICTURE, entry_card, model_card, pipeline_card, skeleton_picture
from hfpose.zoo import WHOLE_IMAGE, ModelEntry

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
    """Push a pose model of the zoo together with its detector to ``<namespace>/<name>-pipeline``.

    Arguments and errors as for `push_model`.
    """
    repo_id = _repo_id(namespace, f"{entry.name}-pipeline")
    parts = [_repo_id(namespace, part.name) for part in (entry, *entry.companions())]
    with _pipeline_folder(entry) as folder:
        card = pipeline_card(entry, repo_id, parts).content
        files = [*_folder_files(folder), *_card_files(card, load_schema(str(entry.schema)))]
        return _push(repo_id, files, token, private, dry_run)


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


@contextmanager
def _pipeline_folder(entry: ModelEntry) -> Iterator[Path]:
    """A temporary folder with the pipeline around a pose model of the zoo."""
    from hfpose.pipelines import pipeline

    detector = entry.default_detector
    if detector is not None and detector != WHOLE_IMAGE:
        detector = str(hub.convert_entry(entry.companions()[-1]))
    with tempfile.TemporaryDirectory() as folder:
        pipe = pipeline(
            "pose-estimation",
            model=hub.convert_entry(entry),
            detector=detector,
            detector_labels=entry.detector_labels,
            device="cpu",
        )
        pipe.save_pretrained(folder)
        yield Path(folder)
