"""Reading the index file of a saved pipeline: which class it is, and the folder of each part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfpose.errors import ConfigError
from hfpose.hub.model_folders import PIPELINE_INDEX, child_path, read_json
from hfpose.hub.zoo import TASKS, WHOLE_IMAGE, Task


def read_index(folder: Path) -> dict[str, Any]:
    """The content of a folder's index file.

    Raises:
        ConfigError: if it is missing or not what `save_pretrained` of a pipeline writes.
    """
    path = folder / PIPELINE_INDEX
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {PIPELINE_INDEX}, so it is no pipeline folder. "
            'For a folder of one model use `pipeline("pose-estimation", model=folder)`.'
        )
    try:
        index = read_json(path)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(index, dict) or not isinstance(index.get("pose"), str):
        raise ConfigError(f"{path} does not name its pose model; write the folder again with `save_pretrained`.")
    return index


def part_folder(folder: Path, task: Task) -> Path:
    """The folder of the model for a stage: the one that a saved pipeline names, else `folder` itself.

    Raises:
        ConfigError: if the pipeline has no such part.
        CheckpointError: if its index names a part outside of the folder.
    """
    if not (folder / PIPELINE_INDEX).is_file():
        return folder
    index = read_index(folder)
    part = index.get(task)
    if not isinstance(part, str) or part == WHOLE_IMAGE:
        has = ", ".join(name for name in TASKS if isinstance(index.get(name), str))
        raise ConfigError(f"{folder} holds a pipeline without a {task} model of its own; it has: {has}.")
    return child_path(folder, part)
