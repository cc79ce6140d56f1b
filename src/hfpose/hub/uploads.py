"""Pushing converted models and whole pipelines to the Hub, each with its card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, hf_hub_download
from huggingface_hub.constants import REPOCARD_NAME
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from hfpose.errors import HFPoseError
from hfpose.hub.cache import RECORD_NAME
from hfpose.hub.cards import model_card, saved_pipeline_card
from hfpose.hub.package_code import package_code
from hfpose.keypoints import KeypointSchema
from hfpose.ops.quiet import without_progress_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.modelcard import TrainingSummary


class SavedPipeline(Protocol):
    """What can be pushed with a card of its own: any pipeline."""

    @property
    def schema(self) -> KeypointSchema:
        """Keypoints of the results."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write all parts into a folder."""


# The app with what the Hub needs to know of it.
SPACE = Path(__file__).parents[1] / "app" / "space"

# What a converted folder may hold beside the card; nothing else that lies there goes up.
_PUSHED_FILES = ("*.json", "*.safetensors")
_TEMPLATE_TEXT = "[More Information Needed]"  # of a card that is not filled in
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


def push_saved_pipeline(pipe: SavedPipeline, repo_id: str, **options: Any) -> Upload:
    """Push any pipeline with a card that says how to use it, unless the repository has one: its ``push_to_hub``.

    The options and errors are those of `push_folder`.
    """
    found = _card_on_hub(repo_id, options.get("revision"), options.get("token"))
    card = found or saved_pipeline_card(pipe.schema, repo_id, "3D" in type(pipe).__name__)
    with saved(pipe) as folder:
        return push_folder(folder, str(card), repo_id, **options)


def write_card(model: PreTrainedModel, folder: Path, repo_id: str) -> None:
    """Write a card for a model that transformers pushes from a folder, unless the one there says something.

    transformers puts the card of the repository there, or its template, as it does in a repository to which a
    processor was pushed first; of a template the tags are kept.
    """
    path = folder / REPOCARD_NAME
    found = ModelCard.load(path) if path.is_file() else None
    if found is not None and _TEMPLATE_TEXT not in found.text:
        return
    card = model_card(model, repo_id)
    if found is not None:
        _add_tags(card, found.data.to_dict().get("tags") or ())
    path.write_text(str(card), encoding="utf-8")


def keep_branch_card(folder: Path, repo_id: str, revision: str | None, token: str | bool | None) -> None:
    """Put the card of the branch that is pushed to into a folder, where transformers has written that of main."""
    card = _card_on_hub(repo_id, revision, token) if revision is not None else None
    if card is None:
        return
    path = folder / REPOCARD_NAME
    if path.is_file():
        _add_tags(card, ModelCard.load(path).data.to_dict().get("tags") or ())
    path.write_text(str(card), encoding="utf-8")


def _card_on_hub(repo_id: str, revision: str | None, token: str | bool | None) -> ModelCard | None:
    """The card that a repository has, None for none or one that is of transformers' template."""
    try:
        if "/" not in repo_id:
            repo_id = f"{HfApi(token=token).whoami()['name']}/{repo_id}"
        card = ModelCard.load(hf_hub_download(repo_id, REPOCARD_NAME, revision=revision, token=token))
    except (HfHubHTTPError, OSError, ValueError):  # no repository, branch, card, network or valid name
        return None
    return None if _TEMPLATE_TEXT in card.text else card


def trained_card(model: PreTrainedModel, repo_id: str, summary: TrainingSummary) -> str:
    """Text of the card of a model that transformers' `Trainer` has trained, with what the trainer tells of it.

    A card on the Hub that neither hfpose nor a trainer has written stays as it is.
    """
    found = _card_on_hub(repo_id, None, None) if "/" in repo_id else None
    if found is not None:
        by_trainer = "generated_from_trainer" in (found.data.to_dict().get("tags") or ())
        if not by_trainer and found.text.strip() != model_card(model, repo_id).text.strip():
            return str(found)
    data = [summary.dataset] if isinstance(summary.dataset, str) else summary.dataset or []
    settings = summary.hyperparameters or {}
    rows = {
        "Fine-tuned from": summary.finetuned_from and f"`{summary.finetuned_from}`",
        "Trained on": ", ".join(data),
        "Settings": ", ".join(f"{name} {value}" for name, value in settings.items()),
        "Results": ", ".join(f"{name} {value:.4g}" for name, value in (summary.eval_results or {}).items()),
    }
    card = model_card(model, repo_id, training=[(name, text) for name, text in rows.items() if text])
    _add_tags(card, summary.tags or ())
    if summary.license:
        card.data.license = summary.license  # type: ignore[attr-defined]
    return str(card)


def _add_tags(card: ModelCard, tags: Iterable[str]) -> None:
    own = card.data.to_dict().get("tags") or ()
    card.data.tags = [*own, *(tag for tag in tags if tag not in own)]  # type: ignore[attr-defined]


def push_folder(
    folder: Path,
    card: str,
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    dry_run: bool = False,
) -> Upload:
    """Push the weights and JSON files of a folder with a card. Pushing again makes a commit only where something
    changed.

    Args:
        folder: of a model or pipeline.
        card: text of the README.md.
        repo_id: the repository, which is made if it does not exist.
        token: as for huggingface_hub, by default the one that is logged in with.
        private: make a new repository private.
        revision: branch to write to, which is made if it does not exist; None for main.
        create_pr: open a pull request instead of writing to the branch.
        dry_run: only say what would go up.

    Raises:
        UploadError: the Hub refused.
    """
    found = {path for pattern in _PUSHED_FILES for path in folder.rglob(pattern) if path.is_file()}
    paths = sorted(path for path in found if path.name != RECORD_NAME)  # which is of this machine's cache
    files: dict[str, Path | bytes] = {path.relative_to(folder).as_posix(): path for path in paths}
    files |= {name: text.encode() for name, text in package_code(folder).items()}
    files[REPOCARD_NAME] = card.encode()
    commit = {"commit_message": "Upload weights, image processor and card", "create_pr": create_pr}
    return _push_files(files, repo_id, token, private, dry_run, commit | {"revision": revision})


def push_space(
    repo_id: str, *, token: str | bool | None = None, private: bool | None = None, dry_run: bool = False
) -> Upload:
    """Push the app as a Space with Gradio, which is made if it does not exist. For the options see `push_folder`.

    Raises:
        UploadError: the Hub refused.
    """
    files: dict[str, Path | bytes] = {path.name: path for path in sorted(SPACE.iterdir()) if path.is_file()}
    commit = {"commit_message": "Upload the app", "repo_type": "space"}
    return _push_files(files, repo_id, token, private, dry_run, commit, repo_type="space", space_sdk="gradio")


def _push_files(
    files: Mapping[str, Path | bytes],
    repo_id: str,
    token: str | bool | None,
    private: bool | None,
    dry_run: bool,
    commit_options: Mapping[str, Any],
    **repo_options: Any,
) -> Upload:
    sizes = tuple(
        (name, len(data) if isinstance(data, bytes) else data.stat().st_size) for name, data in files.items()
    )
    if dry_run:
        return Upload(repo_id, sizes)
    api = HfApi(library_name="hfpose", token=token)
    with _explained(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True, **repo_options)
        revision = commit_options.get("revision")
        if revision is not None and not revision.startswith("refs/pr"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        operations = [CommitOperationAdd(name, data) for name, data in files.items()]
        commit = api.create_commit(repo_id, operations, **commit_options)
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


def checked_repo_id(namespace: str, name: str) -> str:
    """`namespace/name`.

    Raises:
        UploadError: if the Hub allows no such name.
    """
    repo_id = f"{namespace}/{name}"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UploadError(f"'{namespace}' cannot be a user or organization on the Hub: {error}") from error
    return repo_id


@contextmanager
def saved(pipe: SavedPipeline) -> Iterator[Path]:
    """A temporary folder with the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        with without_progress_bars():
            pipe.save_pretrained(folder)
        yield Path(folder)
