"""What lies beside the files of a graph: which model it is of, and hashes by which damage shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from hfpose.errors import CheckpointError, ConfigError
from hfpose.hub.cache import storing_alone
from hfpose.hub.downloads import sha256_of
from hfpose.keypoints import schema_for_config
from hfpose.media.files import write_json
from hfpose.version import __version__

DESCRIPTION_NAME = "graph.json"


def graph_metadata(model: PreTrainedModel, image_processor: Any) -> dict[str, str]:
    """What a program that has only the graph needs to know of it, as text."""
    facts: dict[str, Any] = {"hfpose_version": __version__, "model_type": model.config.model_type}
    if model.main_input_name == "pixel_values":
        facts |= {"layout": "NCHW", "color": "RGB", "size": image_processor.size}
        facts |= {name: getattr(image_processor, name, None) for name in ("image_mean", "image_std")}
    if model.main_input_name == "keypoints_2d":
        facts["max_frames"] = model.config.max_frames  # a graph has no limit for a dimension that varies
    if getattr(model.config, "keypoint_schema", None):
        facts["keypoint_names"] = schema_for_config(model.config).keypoint_names
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}


def write_description(folder: Path, files: Iterable[Path], metadata: dict[str, str] | None = None) -> None:
    """Write the hashes of files of a folder, and what their graph is of."""
    hashes = {path.name: sha256_of(path) for path in sorted(files)}
    write_json(folder / DESCRIPTION_NAME, {"metadata": metadata or {}, "sha256": hashes})


def read_description(folder: Path) -> dict[str, dict[str, str]]:
    """What `write_description` wrote.

    Raises:
        CheckpointError: if it is not there, or a file is not the one that was written.
    """
    advice = "Write the folder again with `hfpose export`."
    try:
        description: dict[str, dict[str, str]] = json.loads((folder / DESCRIPTION_NAME).read_text(encoding="utf-8"))
        hashes = dict(description["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder} has no {DESCRIPTION_NAME} that tells of its graph: {error}. {advice}"
        ) from error
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, which belongs to the graph. {advice}")
        if sha256_of(path) != expected:
            raise CheckpointError(
                f"{path} is damaged, or is not the file that was exported: its SHA-256 is not that of "
                f"{DESCRIPTION_NAME}. {advice}"
            )
    return description


def noted_hash(path: Path) -> str:
    """SHA-256 of what `write_description` noted of a graph's files, which `read_description` has found to be right:
    weights may lie beside the graph."""
    hashes = json.loads((path.parent / DESCRIPTION_NAME).read_text(encoding="utf-8"))["sha256"]
    own = {name: digest for name, digest in hashes.items() if Path(name).stem.startswith(path.stem)}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def is_intact(folder: Path) -> bool:
    """Whether all files are there that `write_description` noted, as they were."""
    try:
        read_description(folder)
    except CheckpointError:
        return False
    return True


@contextmanager
def in_cache(folder: Path, what: str) -> Iterator[bool]:
    """Have a folder of the cache to oneself, while other processes wait; gives whether its files are intact.

    Args:
        folder: which; it need not be there.
        what: is stored in it, to begin a sentence with.

    Raises:
        ConfigError: if the cache cannot be written.
    """
    with storing_alone(what, folder, ConfigError):
        yield is_intact(folder)


def check_graph_folder(folder: Path, model: PreTrainedModel, image_processor: Any) -> None:
    """Check an exported folder before its graph is used.

    Raises:
        CheckpointError: if a file is missing or damaged.
        ConfigError: if the graph is of another model than the configuration beside it.
    """
    found, expected = read_description(folder)["metadata"], graph_metadata(model, image_processor)
    for name in ("model_type", "keypoint_names", "max_frames"):
        if found.get(name) != expected.get(name):
            raise ConfigError(
                f"The graph in {folder} is of another model: its {name} is {found.get(name)}, but that of config.json "
                f"there is {expected.get(name)}. Give a folder as `hfpose export` wrote it."
            )
