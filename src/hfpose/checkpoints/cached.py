"""A checkpoint given beside a name: converted once and kept in our cache."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers.utils import CONFIG_NAME

from hfpose.checkpoints.convert_checkpoint import convert_checkpoint
from hfpose.checkpoints.custom import explained_config, source_from_config
from hfpose.checkpoints.reference_config import read_reference_config
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import CheckpointError, ConfigError
from hfpose.hub.cache import check_unchanged, record_files, storing_alone
from hfpose.hub.downloads import cache_dir, fetch_checkpoint, sha256_of
from hfpose.hub.resolve import official_url, register_helper
from hfpose.hub.zoo import ModelEntry, Task, find_entry, get_entry
from hfpose.media.images import is_url

logger = logging.getLogger(__name__)


def convert_cached(model: str | os.PathLike[str], checkpoint: str | os.PathLike[str], task: Task) -> Path:
    """Folder of the model that `checkpoint` holds the weights of, converted at the first call with the same files.

    Args:
        model: alias, zoo name or path of a config file, which is parsed where it exists. Where its base name is a zoo
            model's, as in `configs/.../td-hm_hrnet-w32_8xb64-210e_coco-256x192.py`, the file need not exist.
        checkpoint: path or URL of a checkpoint in the reference's format.
        task: stage that the model is for.

    Raises:
        UnknownModelError: if `model` is neither a zoo model's name nor a file.
        ConfigError, CheckpointError: as `convert_checkpoint`; the latter if the cache cannot be written, too.
    """
    file = fetch_checkpoint(str(checkpoint)) if is_url(checkpoint) else Path(checkpoint)
    if not file.is_file():
        raise CheckpointError(f"There is no checkpoint {str(file)!r}. Give the path or URL of a .pth file.")
    is_file = Path(model).is_file() and (Path(model).suffix == ".py" or find_entry(str(model), task) is None)
    config = Path(model) if is_file else None  # its content wins over its name
    name = config.stem if config else get_entry(str(model), task).name
    content = repr(read_reference_config(config)) if config else ""  # its bases included
    digest = hashlib.sha256(f"{name} {sha256_of(file)} {content}".encode()).hexdigest()
    folder = cache_dir() / "checkpoints" / f"{name}-{digest[:16]}"
    with storing_alone(f"The model of {file.name}", folder, CheckpointError):
        if (folder / CONFIG_NAME).is_file():  # written last
            check_unchanged(folder)
        else:
            convert_checkpoint(
                None if config else name, checkpoint, folder, config=config, task=None if config else task
            )
            record_files(folder, file)
    return folder


def folder_of_config(config: Path, entry: ModelEntry) -> Path | None:
    """Folder of the model that a config file under the name of a zoo model describes, with that model's official
    weights.

    None where network and image processing are those of the zoo, whose folder then has them all.

    Raises:
        ConfigError, CheckpointError, DownloadError: as `convert_checkpoint`, for a file that says something else.
    """
    zoo = ModelSource.from_entry(entry)
    try:
        source = source_from_config(config)
    except ConfigError as error:
        raise ConfigError(f"{error} For the zoo's model of that name give {entry.name!r} alone.") from error
    if _described(replace(source, schema=source.schema or zoo.schema)) == _described(zoo):
        return None
    if entry.checkpoint_url is None:
        raise ConfigError(
            f"{config} says something else than the zoo's {entry.name}. Give the checkpoint that it is of."
        )
    logger.warning("%s says something else than the zoo's %s: the file counts.", config, entry.name)
    return convert_cached(config, official_url(entry), entry.task)


register_helper("read config", folder_of_config)


def _described(source: ModelSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration and image processor that come of a description, but for statistics of the training data, which
    not every config names."""
    conversion = source.conversion
    schema = source.schema and replace(source.schema, stats_info=None)
    with explained_config(source.name):
        config = conversion.config_from_reference(source.reference, schema)
        config.keypoint_loss_weights = None  # for training alone; most models of the zoo have none
        return config.to_dict(), conversion.image_processor_from_reference(source.reference).to_dict()
