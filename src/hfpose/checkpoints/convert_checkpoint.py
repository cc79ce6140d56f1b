"""From a checkpoint of the reference projects to a folder that `from_pretrained` loads."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers.utils import CONFIG_NAME

from hfpose.checkpoints.custom import explained_config, source_from_config
from hfpose.checkpoints.dataset_schema import with_trained_schema
from hfpose.checkpoints.distilled import student_of
from hfpose.checkpoints.guard import modules_bounded
from hfpose.checkpoints.own_weights import fill_buffers
from hfpose.checkpoints.reader import read_checkpoint
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import CheckpointError, ConfigError, listed
from hfpose.hub.downloads import fetch_checkpoint
from hfpose.hub.resolve import register_helper
from hfpose.hub.zoo import Task, get_entry
from hfpose.keypoints import schema_for_config
from hfpose.media.images import is_url
from hfpose.models.shared.lifting import PoseLiftingImageProcessor
from hfpose.ops.quiet import without_progress_bars

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


def convert_checkpoint(
    name: str | None,
    checkpoint: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    config: str | os.PathLike[str] | None = None,
    task: Task | None = None,
    *,
    check_hash: bool = True,
) -> Path:
    """Convert a checkpoint of MMPose or MMDetection into a folder of configuration, safetensors and image processor.

    Every tensor of the source is used. What lies among them and is none is left out, and a warning names it. Nothing
    in the checkpoint or in the config file is executed.

    Args:
        name: a zoo name or alias. With `config` it may be None.
        checkpoint: path or URL of a `.pth` file.
        output_dir: folder to write; files of an earlier conversion in it are replaced.
        config: config file in MMPose's style that describes the model, for one that is not in the zoo.
        task: `"pose"`, `"detector"` or `"lifter"`, for a name that several tasks know (`"human"`).
        check_hash: False takes a checkpoint whose SHA-256 is not the one that its file name, or the zoo, states.

    Returns:
        The folder.

    Raises:
        UnknownModelError: if the zoo does not know the name.
        ConfigError: if the config file cannot be read or describes something that is not supported.
        CheckpointError: if the file is broken, or its tensors are not those of the model; it names them. Also if the
            folder cannot be written.
    """
    if config is not None:
        source, sha256_prefix = source_from_config(config, name), None
    elif name is not None:
        entry = get_entry(name, task)
        source = ModelSource.from_entry(entry)
        sha256_prefix = entry.sha256_prefix if str(checkpoint) == entry.checkpoint_url else None
    else:
        raise ValueError("Give the name of a zoo model, or a config file that describes the model.")
    if is_url(checkpoint):
        _check_supported(source)
    with _local_file(checkpoint, sha256_prefix, check_hash) as path:
        read = read_checkpoint(path, sha256_prefix=sha256_prefix, check_hash=check_hash)
    if read.weights == "ema":
        logger.warning("%s holds averaged (EMA) weights; these are converted.", path.name)
    if read.skipped:
        left_out = listed([f"{key} ({what})" for key, what in read.skipped.items()])
        logger.warning(
            "%s has entries among its weights that are no tensors, and are left out: %s.", path.name, left_out
        )
    source = with_trained_schema(source, read.meta)
    model = build_model(source, _without_preprocessor(source, read.state_dict, path.name), path.name)
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        logger.warning("%s has weights that are not finite (its training diverged?): %s.", path.name, listed(broken))
    with explained_config(source.name):
        processor = source.conversion.image_processor_from_reference(source.reference)
    if isinstance(processor, PoseLiftingImageProcessor):
        processor.use_statistics(schema_for_config(model.config))
    if not source.is_detector and schema_for_config(model.config).flip_indices is None:
        logger.warning(
            "The flip pairs of %s are unknown: neither its checkpoint nor its config says them. A "
            "flip test is an error until `flip_indices` is set in the `keypoint_schema` of its config.json.",
            source.name,
        )
        processor.flip_test = False
    try:
        return save_folder(Path(output_dir), model, processor)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"The converted model cannot be written to '{output_dir}': {error}. Is a file in the way, the disk full, "
            "or the place not writable? Give another folder."
        ) from error


register_helper("convert", convert_checkpoint)


def _without_preprocessor(
    source: ModelSource, state_dict: Mapping[str, Tensor], file_name: str
) -> Mapping[str, Tensor]:
    """The tensors without mean and standard deviation of pixels, which some versions of mmengine save beside them.

    Raises:
        CheckpointError: if these are not those of the config.
    """
    settings = source.reference.get("data_preprocessor") or {}
    for name in ("mean", "std"):
        saved = state_dict.get(f"data_preprocessor.{name}")
        if saved is None:
            continue
        with explained_config(source.name):
            given = torch.tensor(settings.get(name) or torch.nan, device="cpu").double()
        if not torch.allclose(saved.flatten().double(), given):
            raise CheckpointError(
                f"{file_name} was trained with the {name} {saved.flatten().tolist()} of pixels, the config of "
                f"{source.name} says {settings.get(name)}. Give the config that it was trained with."
            )
    return {name: tensor for name, tensor in state_dict.items() if not name.startswith("data_preprocessor.")}


def _check_supported(source: ModelSource) -> None:
    """Raise ConfigError where the settings of a model tell before its checkpoint is fetched that it cannot be
    converted."""
    if source.schema is None and not source.is_detector:
        return  # the checkpoint may say more of the keypoints
    with explained_config(source.name):
        source.conversion.image_processor_from_reference(source.reference)
        try:
            source.conversion.config_from_reference(source.reference, source.schema)
        except ConfigError:
            source.conversion.config_from_reference(source.reference, None)  # a schema that the checkpoint may correct


def build_model(source: ModelSource, state_dict: Mapping[str, Tensor], file_name: str) -> PreTrainedModel:
    """The model that `source` describes, with the tensors of a checkpoint of the reference, on the CPU.

    Raises:
        CheckpointError: names tensors that are missing, unexpected or of another shape; `file_name` is for its text.
    """
    conversion = source.conversion
    if source.schema is None and source.schema_error is not None:
        raise source.schema_error
    with explained_config(source.name), modules_bounded(len(state_dict), f"The config of {source.name}"):
        config = conversion.config_from_reference(source.reference, source.schema)
        with torch.device("meta"):
            model = conversion.MODEL_CLASS(config)
    converted = conversion.convert_state_dict(student_of(state_dict), config)
    expected = model.state_dict()
    for tensor_name in expected.keys() - converted.keys():
        # Not every exporter keeps these counters, and inference does not use them.
        if tensor_name.endswith("num_batches_tracked"):
            converted[tensor_name] = torch.zeros((), dtype=torch.int64, device="cpu")
    _check_tensors(source.name, file_name, converted, expected)
    model.load_state_dict({key: tensor.contiguous() for key, tensor in converted.items()}, assign=True)
    fill_buffers(model)
    return model.eval()


def _check_tensors(
    model_name: str, file_name: str, given: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    misshapen = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(given.keys() & expected.keys())
        if given[key].shape != expected[key].shape
    ]
    problems = {
        "missing": sorted(expected.keys() - given.keys()),
        "unexpected": sorted(given.keys() - expected.keys()),
        "of another shape": misshapen,
    }
    lines = [f"{len(names)} {kind}: {listed(names)}" for kind, names in problems.items() if names]
    if lines:
        raise CheckpointError(
            f"The tensors of {file_name} are not those of {model_name}. {'; '.join(lines)}. "
            "Check that the checkpoint belongs to this model; for a model of your own give its config file."
        )


@contextmanager
def _local_file(checkpoint: str | os.PathLike[str], sha256_prefix: str | None, check_hash: bool) -> Iterator[Path]:
    """The file of a checkpoint given by path or URL; what was fetched and cannot be read is not kept."""
    if not is_url(checkpoint):
        yield Path(checkpoint)
        return
    path = fetch_checkpoint(str(checkpoint), sha256_prefix, check_hash=check_hash)
    try:
        yield path
    except CheckpointError:
        path.unlink(missing_ok=True)
        raise


def save_folder(output_dir: Path, model: PreTrainedModel, processor: Any) -> Path:
    """Write a model and its image processor to a folder that `from_pretrained` loads.

    Everything is written beside it first, so that an interrupt leaves no half of a folder.
    """
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=f".{output_dir.name}-") as temporary:
        with without_progress_bars():
            model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        output_dir.mkdir(exist_ok=True)
        for file in Path(temporary).iterdir():  # safetensors lets only the owner read
            file.chmod((Path(temporary) / CONFIG_NAME).stat().st_mode)
        # A folder without a configuration is not taken for a model: the old one goes first, the new one comes last.
        (output_dir / CONFIG_NAME).unlink(missing_ok=True)
        for file in sorted(Path(temporary).iterdir(), key=lambda file: file.name == CONFIG_NAME):
            shutil.move(file, output_dir / file.name)
    return output_dir
