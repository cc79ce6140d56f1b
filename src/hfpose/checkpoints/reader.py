"""Checkpoints of PyTorch and safetensors, read as data: which of their entries are the weights, and what they say of
themselves.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hfpose.checkpoints.pickle_check import FormatError
from hfpose.checkpoints.stand_ins import PlainValues, StandIn, as_array, as_mapping
from hfpose.checkpoints.torch_files import OwnedTensors, load_torch_file
from hfpose.errors import CheckpointError
from hfpose.hub.checkpoint_files import HEAD_BYTES, foreign_format, stated_hash
from hfpose.hub.downloads import sha256_of_stream

_WEIGHT_KEYS = ("state_dict", "model", "model_state_dict")
_EMA_KEYS = ("ema_state_dict", "state_dict_ema", "model_ema")
_EMA_COUNTERS = ("steps", "n_averaged")
_WRAPPERS = ("module.", "_orig_mod.", "model.")  # DataParallel and averages, torch.compile, Lightning


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes:
        state_dict: tensors by name, on the CPU, as stored; without the `module.` that parallel training puts before,
            or the `_orig_mod.` of torch.compile.
        meta: what the file says about itself (`meta` of the reference's checkpoints), `StandIn`s in it where the
            file has objects of classes that are not plain data.
        source: the file.
        weights: "ema" for weights averaged over training, else "state_dict".
        weights_key: entry of the file that the weights were taken from; "" for a file that is nothing but weights.
        skipped: entries of the state dict that are no tensors and were left out, each with what it is.
    """

    state_dict: dict[str, torch.Tensor]
    meta: dict[str, Any]
    source: Path
    weights: str
    weights_key: str
    skipped: dict[str, str]


def read_checkpoint(path: str | Path, *, sha256_prefix: str | None = None, check_hash: bool = True) -> Checkpoint:
    """Read the weights of a checkpoint without running anything that it holds.

    Where a training checkpoint has averaged (EMA) weights beside the raw ones, the averaged ones are taken.

    Args:
        path: a `.pth`/`.pt` file as `torch.save` writes it, now or before version 1.6, or a `.safetensors` file.
        sha256_prefix: first hexadecimal digits of the file's SHA-256. Where not given, those that the file's name
            states (`...-e48f03d0_20230504.pth`). Checked before anything is read.

    Raises:
        CheckpointError: the file is missing, broken, changed, or no checkpoint of weights.
    """
    path = Path(path)
    with _opened(path) as file, _explained(path):
        size = file.seek(0, io.SEEK_END)
        if check_hash:
            _check_hash(file, path, sha256_prefix)
        file.seek(0)
        if size == 0:
            raise FormatError("it is empty")
        if path.suffix == ".safetensors":
            return _select(_read_safetensors(path), path)
        head = file.read(512)
        file.seek(0)
        if not head.startswith((b"PK", b"\x80")):
            raise FormatError(foreign_format(head) or "its first bytes are those of no known format")
        return _select(load_torch_file(path, file), path)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise CheckpointError(f"Expected a checkpoint file, but {str(path)!r} is {what}. Give the file itself.")
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"Cannot open the checkpoint {str(path)!r}: {error.strerror or error}.") from error
    with file:
        yield file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what can go wrong with the bytes of a file into one error that names the file."""
    try:
        yield
    except FormatError as error:
        raise CheckpointError(
            f"Cannot read {str(path)!r}: {error}. Expected a checkpoint saved by torch.save (.pth, .pt) or a "
            ".safetensors file; nothing in it was run. If it was downloaded, fetch it again."
        ) from error
    except (OSError, RecursionError) as error:
        raise CheckpointError(f"Cannot read {str(path)!r}: {error}.") from error


def _check_hash(file: BinaryIO, path: Path, sha256_prefix: str | None) -> None:
    expected = sha256_prefix.lower() if sha256_prefix else stated_hash(path.name)
    if expected is None:
        return
    file.seek(0)
    actual = sha256_of_stream(file)
    if actual.startswith(expected):
        return
    file.seek(0)
    foreign = foreign_format(file.read(HEAD_BYTES))
    says = "was expected to start" if sha256_prefix else "starts, by its file name,"
    raise CheckpointError(
        f"The SHA-256 of {str(path)!r} {says} with {expected}, but is {actual[: max(16, len(expected))]}...: the file "
        f"is cut off, damaged or not the one that it is taken for{f'; {foreign}' if foreign else ''}. Download it "
        "again. If it was changed on purpose, check_hash=False (--no-check-hash of `hfpose convert`) takes it all the "
        "same. It was not read."
    )


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            return {"state_dict": tensors, "meta": file.metadata() or {}}
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise FormatError(f"it is no valid safetensors file ({str(error)[:200]})") from error


def _select(content: Any, path: Path) -> Checkpoint:
    """Choose the weights of a file's content, and keep only them."""
    entries = as_mapping(content)
    if entries is None:
        is_object = isinstance(content, StandIn)
        what = f"an object of class {content.name[:100]!r}" if is_object else type(content).__name__
        raise FormatError(f"it holds {what}, not a state dict; save `model.state_dict()` instead of the model")
    key, averaged = _choose_weights(entries)
    named = _without_wrapper(as_mapping(entries[key]) or {} if key else entries)
    named, had_averages = _without_old_averages(named)
    own = OwnedTensors(path.stat().st_size)
    state_dict: dict[str, torch.Tensor] = {}
    skipped: dict[str, str] = {}
    for name, value in named.items():
        tensor = _tensor(value)
        if tensor is None or not isinstance(name, str):
            skipped[str(name)[:200]] = repr(value) if isinstance(value, StandIn) else type(value).__name__
        else:
            state_dict[name] = own(tensor)
    meta = entries.get("meta") if key else None
    return Checkpoint(
        state_dict=state_dict,
        meta=PlainValues(own).convert(meta) if isinstance(meta, dict) else {},
        source=path,
        weights="ema" if averaged or had_averages else "state_dict",
        weights_key=key,
        skipped=skipped,
    )


def _tensor(value: Any) -> torch.Tensor | None:
    """The tensor that `value` is, or the one of a numpy array that it stands for."""
    array = as_array(value)
    if array is not None and array.dtype.kind in "biuf":
        return torch.from_numpy(array)
    return value if isinstance(value, torch.Tensor) else None


def _has_weights(value: Any) -> bool:
    return any(_tensor(item) is not None for item in (as_mapping(value) or {}).values())


def _choose_weights(entries: dict[Any, Any]) -> tuple[str, bool]:
    """Entry that holds the best weights ("" for the whole), and whether they are averaged over training.

    MMEngine's EMAHook swaps while it saves (mmengine/hooks/ema_hook.py, `before_save_checkpoint`): `state_dict` then
    holds the averaged weights and `ema_state_dict`, told by its `steps` counter, the raw ones for resuming. Elsewhere
    the entry named for the average holds it.
    """
    raw = next((key for key in _WEIGHT_KEYS if _has_weights(entries.get(key))), None)
    average = next((key for key in _EMA_KEYS if _has_weights(entries.get(key))), None)
    if average is not None:
        swapped = (
            raw == "state_dict" and average == "ema_state_dict" and "steps" in (as_mapping(entries[average]) or {})
        )
        return ("state_dict" if swapped else average), True
    if raw is not None:
        return raw, False
    if _has_weights(entries):
        return "", False
    names = ", ".join(repr(str(key)[:40]) for key in list(entries)[:8]) or "none"
    raise FormatError(
        f"it holds no weights (its entries: {names}; looked for {', '.join(_WEIGHT_KEYS)} or bare tensors)"
    )


def _without_wrapper(named: dict[Any, Any]) -> dict[Any, Any]:
    """Names without what wrappers of the whole model put before all of them; averaged models also count their
    steps."""
    weights = {name: value for name, value in named.items() if name not in _EMA_COUNTERS}
    for wrapper in _WRAPPERS:
        if weights and all(isinstance(name, str) and name.startswith(wrapper) for name in weights):
            return _without_wrapper({name.removeprefix(wrapper): value for name, value in weights.items()})
    return named


def _without_old_averages(named: dict[Any, Any]) -> tuple[dict[Any, Any], bool]:
    """Leave out the buffers of MMCV 1's EMAHook: `ema_backbone_conv_weight` beside `backbone.conv.weight`.

    That hook, too, swaps before it saves: the usual names hold the average.
    """
    buffers = {f"ema_{name.replace('.', '_')}" for name in named if isinstance(name, str)}
    kept = {name: value for name, value in named.items() if name not in buffers}
    return kept, len(kept) < len(named)
