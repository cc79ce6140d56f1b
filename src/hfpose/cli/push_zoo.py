"""Pushing models of the zoo, with official weights, pipelines made of them, and folders of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub.constants import REPOCARD_NAME

from hfpose.hub.cards import entry_card, model_card, pipeline_card, saved_pipeline_card
from hfpose.hub.model_folders import PIPELINE_INDEX
from hfpose.hub.resolve import convert_entry, resolve
from hfpose.hub.uploads import Upload, UploadError, checked_repo_id, push_folder, saved
from hfpose.hub.zoo import ModelEntry
from hfpose.pipelines import PosePipeline, pipeline
from hfpose.pipelines.stage import load_stage, task_of


def push_model(entry: ModelEntry, namespace: str, **options: Any) -> Upload:
    """Push a model of the zoo with its image processor and card to ``<namespace>/<name>``.

    The weights are the official ones, from our cache or fetched and converted. Pushing again makes a new commit only
    where something changed. The options are `token`, `private` and `dry_run` of `push_folder`.

    Raises:
        UploadError: the Hub refused.
        ConfigError, DownloadError, CheckpointError: see `convert_entry`.
    """
    repo_id = checked_repo_id(namespace, entry.name)
    folder = convert_entry(entry)
    return push_folder(folder, entry_card(entry, repo_id).content, repo_id, **options)


def push_pipeline(entry: ModelEntry, namespace: str, **options: Any) -> Upload:
    """Push a pose model or lifter of the zoo with all that goes before it to ``<namespace>/<name>-pipeline``.

    Arguments and errors as for `push_model`.
    """
    repo_id = checked_repo_id(namespace, f"{entry.name}-pipeline")
    parts = [checked_repo_id(namespace, part.name) for part in (entry, *entry.companions())]
    if entry.schema is None:
        raise UploadError(f"'{entry.name}' is a detector; a pipeline is made around a pose model or a lifter.")
    card = pipeline_card(entry, repo_id, parts).content
    with saved(_zoo_pipeline(entry)) as folder:
        return push_folder(folder, card, repo_id, **options)


def push_own(folder: Path, namespace: str, **options: Any) -> Upload:
    """Push a folder of your own, of a model or a pipeline, to ``<namespace>/<name of the folder>``.

    The card is the README.md that lies there, with the repository in the place of the folder, else one written from
    the configuration. Checkpoints and logs of a training do not go up. Options and errors as for `push_model`.
    """
    root = resolve(folder)
    name = root.resolve().name
    repo_id = checked_repo_id(namespace, name)
    has_pipeline = (root / PIPELINE_INDEX).is_file()
    part: Any = (
        pipeline(model=root, device="cpu", backend="torch") if has_pipeline else load_stage(root, task_of(root))
    )
    path = root / REPOCARD_NAME
    if path.is_file():
        card = path.read_text(encoding="utf-8").replace(f'"{name}"', f'"{repo_id}"')
    elif has_pipeline:
        card = saved_pipeline_card(part.schema, repo_id, "3D" in type(part).__name__).content
    else:
        card = model_card(part.model, repo_id).content
    with saved(part) as clean:
        return push_folder(clean, card, repo_id, **options)


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
