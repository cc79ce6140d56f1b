"""Pushing models of the zoo, with official weights, and pipelines made of them."""

from __future__ import annotations

from hfpose.hub.cards import entry_card, pipeline_card
from hfpose.hub.resolve import convert_entry
from hfpose.hub.uploads import Upload, UploadError, checked_repo_id, push_folder, saved
from hfpose.hub.zoo import ModelEntry
from hfpose.pipelines import PosePipeline, pipeline


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
        ConfigError, DownloadError, CheckpointError: see `convert_entry`.
    """
    repo_id = checked_repo_id(namespace, entry.name)
    folder = convert_entry(entry)
    card = entry_card(entry, repo_id).content
    return push_folder(folder, card, repo_id, token=token, private=private, dry_run=dry_run)


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
    repo_id = checked_repo_id(namespace, f"{entry.name}-pipeline")
    parts = [checked_repo_id(namespace, part.name) for part in (entry, *entry.companions())]
    if entry.schema is None:
        raise UploadError(f"'{entry.name}' is a detector; a pipeline is made around a pose model or a lifter.")
    card = pipeline_card(entry, repo_id, parts).content
    with saved(_zoo_pipeline(entry)) as folder:
        return push_folder(folder, card, repo_id, token=token, private=private, dry_run=dry_run)


def _zoo_pipeline(entry: ModelEntry) -> PosePipeline:
    """The pipeline around a pose model or lifter of the zoo, of official weights whatever HFPOSE_NAMESPACE says."""
    parts = {part.task: convert_entry(part) for part in entry.companions()}
    return pipeline(
        "pose-estimation-3d" if entry.task == "lifter" else "pose-estimation",
        model=convert_entry(entry),
        pose=parts.get("pose"),
        detector=parts.get("detector", entry.default_detector),
        detector_labels=entry.detector_labels,
        device="cpu",
        dtype="float32",
        backend="torch",
    )
