"""A checkpoint given beside a name: converted once and kept in our cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from huggingface_hub.utils import WeakFileLock

from hfpose.checkpoints.conversion import CONFIG_NAME, convert_checkpoint
from hfpose.errors import CheckpointError
from hfpose.hub.downloads import cache_dir, fetch_checkpoint, sha256_of
from hfpose.hub.zoo import Task, find_entry, get_entry


def convert_cached(model: str | os.PathLike[str], checkpoint: str | os.PathLike[str], task: Task) -> Path:
    """Folder of the model that `checkpoint` holds the weights of, converted at the first call with the same files.

    Args:
        model: alias, zoo name or path of a config file, which is parsed where it exists. Where its base name is a zoo
            model's, as in `configs/.../td-hm_hrnet-w32_8xb64-210e_coco-256x192.py`, the file need not exist.
        checkpoint: path or URL of a checkpoint in the reference's format.
        task: stage that the model is for.

    Raises:
        UnknownModelError: if `model` is neither a zoo model's name nor a file.
        ConfigError, CheckpointError: as `convert_checkpoint`.
    """
    is_url = str(checkpoint).startswith(("http://", "https://"))
    file = fetch_checkpoint(str(checkpoint)) if is_url else Path(checkpoint)
    if not file.is_file():
        raise CheckpointError(f"There is no checkpoint {str(file)!r}. Give the path or URL of a .pth file.")
    is_file = Path(model).is_file() and (Path(model).suffix == ".py" or find_entry(str(model), task) is None)
    config = Path(model) if is_file else None  # its content wins over its name
    name = config.stem if config else get_entry(str(model), task).name
    digest = hashlib.sha256(f"{name} {sha256_of(file)} {_content(config)}".encode()).hexdigest()
    folder = cache_dir() / "checkpoints" / f"{name}-{digest[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(folder.with_name(f".{folder.name}.lock")):
        if not (folder / CONFIG_NAME).is_file():  # written last
            convert_checkpoint(None if config else name, file, folder, config=config, task=None if config else task)
    return folder


def _content(config: Path | None) -> str:
    """Everything that a config file says, its bases included."""
    if config is None:
        return ""
    from hfpose.checkpoints.reference_config import read_reference_config

    return repr(read_reference_config(config))
