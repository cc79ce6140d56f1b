"""Checkpoints of PyTorch (new and old serialization) and safetensors, read as data.

The file's instructions are never run (see `pickles.py`), sizes are believed only after a check against the bytes that
are there, and memory is taken only for the weights that are kept, so that a training checkpoint costs no more than the
published one.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hfpose.checkpoints.pickles import FormatError, Placeholder, load_pickle
from hfpose.checkpoints.tensors import BUILDERS, ArrayRecord, StorageRecord, TensorRecord, parse_storage_id
from hfpose.errors import CheckpointError

# Names of published checkpoints end in -<8 hex digits of the SHA-256>, some with the date of release after it.
_NAME_WITH_HASH = re.compile(r"-(?P<hash>[0-9a-f]{7,64})(?P<date>_\d{8})?\.\w+$")
_DATE = re.compile(r"20\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_CHUNK = 2**20
_MAX_ZIP_DIRECTORY = 2**23  # bytes: some 100,000 tensors
_MAX_META_VALUES = 200_000
_MAX_META_DEPTH = 100
# Layers that share weights are stored once and named several times.
_MAX_REPEATS = 16
_SPARE_BYTES = 2**26

_WEIGHT_KEYS = ("state_dict", "model", "model_state_dict")
_EMA_KEYS = ("ema_state_dict", "state_dict_ema", "model_ema")
_EMA_COUNTERS = ("steps", "n_averaged")


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes:
        state_dict: tensors by name, on the CPU, as stored; without the `module.` that parallel training puts before.
        meta: what the file says about itself (`meta` of the reference's checkpoints), `Placeholder`s in it where the
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


def read_checkpoint(path: str | Path, *, sha256_prefix: str | None = None) -> Checkpoint:
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
        _check_hash(file, path, sha256_prefix)
        file.seek(0)
        if size == 0:
            raise FormatError("it is empty")
        if path.suffix == ".safetensors":
            return _select(_read_safetensors(path), _no_record, path)
        torch_file = _open_torch(file, size)
        return _select(torch_file.read(), torch_file.build, path)


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


def stated_hash(name: str) -> str | None:
    """First digits of the SHA-256 that the file name of a published checkpoint states, or None.

    A name that ends in digits alone, such as a date or a step count, states none unless a date of release follows.
    """
    match = _NAME_WITH_HASH.search(name)
    if match is None:
        return None
    digits = match["hash"]
    if _DATE.fullmatch(digits) or (match["date"] is None and (digits.isdigit() or len(digits) < 8)):
        return None
    return digits


def _check_hash(file: BinaryIO, path: Path, sha256_prefix: str | None) -> None:
    expected = sha256_prefix.lower() if sha256_prefix else stated_hash(path.name)
    if expected is None:
        return
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    actual = digest.hexdigest()
    if actual.startswith(expected):
        return
    file.seek(0)
    foreign = _foreign_format(file.read(512))
    says = "was expected to start" if sha256_prefix else "starts, by its file name,"
    raise CheckpointError(
        f"The SHA-256 of {str(path)!r} {says} with {expected}, but is {actual[: max(16, len(expected))]}...: the file "
        f"is cut off, damaged or not the one that it is taken for{f'; {foreign}' if foreign else ''}. Download it again"
        f"{'' if sha256_prefix else ', or give it another name if it was changed on purpose'}. It was not read."
    )


def _foreign_format(head: bytes) -> str | None:
    """What a file is, by its first bytes, where it is a common mistake for a checkpoint."""
    start = head.lstrip().lower()
    if not head:
        return "it is empty"
    if start.startswith(b"<"):
        return "it is a web page, as a link to a page or a failed download leaves"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file it points to (run `git lfs pull`)"
    if head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"\xfd7zXZ", b"BZh", b"(\xb5/\xfd", b"Rar!")):
        return "it is a compressed archive; unpack it and give the checkpoint inside"
    if head[257:262] == b"ustar":
        return "it is a tar archive (unpack it) or a checkpoint of PyTorch 0.1 (save it again with a newer PyTorch)"
    if head.startswith(b"\x89HDF"):
        return "it is an HDF5 file, as TensorFlow writes"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return "it is a text file" if all(char.isprintable() or char.isspace() for char in text) else None


def _open_torch(file: BinaryIO, size: int) -> _TorchFile:
    """The file of `torch.save`, by its serialization."""
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"PK"):
        return _ZipFile(file, size)
    if head.startswith(b"\x80"):
        return _LegacyFile(file, size)
    raise FormatError(_foreign_format(head) or "its first bytes are those of no known format")


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            return {"state_dict": tensors, "meta": file.metadata() or {}}
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise FormatError(f"it is no valid safetensors file ({str(error)[:200]})") from error


class _BoundedFile:
    """A file for parsers: no read asks for more than is there, so that no false length makes anyone take memory."""

    def __init__(self, file: BinaryIO, size: int, max_read: int | None = None) -> None:
        self.file = file
        self.size = size
        self.max_read = size if max_read is None else max_read
        self.seek = file.seek
        self.tell = file.tell

    def read(self, length: int = -1) -> bytes:
        available = max(0, self.size - self.file.tell())
        length = available if length < 0 else length
        if length > self.max_read:
            raise FormatError(f"a part of it claims {length:,} bytes")
        return self.file.read(min(length, available))

    def readline(self) -> bytes:
        line = self.file.readline(_CHUNK)
        if not line.endswith(b"\n"):
            raise FormatError("it is cut off, or a line in its pickle has no end")
        return line


class _TorchFile:
    """A file of `torch.save`: one pickle, and blocks of numbers that it refers to. Subclasses know where these lie."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.blocks: dict[str, torch.Tensor] = {}
        self.bytes_left = _MAX_REPEATS * size + _SPARE_BYTES

    def read(self) -> Any:
        """The pickle's value, with `TensorRecord`s for `build` in the place of tensors."""
        raise NotImplementedError

    def locate(self, storage: StorageRecord) -> tuple[int, int | None]:
        """Offset in the file of a storage's block, and its CRC-32 where the file has one."""
        raise NotImplementedError

    def build(self, record: TensorRecord) -> torch.Tensor:
        """Read a tensor. Tensors that share a storage share its memory, as they did when they were saved."""
        self.bytes_left -= record.nbytes
        if self.bytes_left < 0:
            raise FormatError("its tensors repeat the same stored numbers over and over")
        key = record.storage.key
        if key not in self.blocks:
            self.blocks[key] = self.read_block(record.storage)
        try:
            return record.build(self.blocks[key])
        except RuntimeError as error:
            raise FormatError(f"a tensor in it is malformed ({str(error)[:200]})") from error

    def read_block(self, storage: StorageRecord) -> torch.Tensor:
        offset, checksum = self.locate(storage)
        nbytes = storage.numel * storage.dtype.itemsize
        if offset + nbytes > self.size:
            raise FormatError("it is cut off: it ends in the middle of its tensors")
        block = torch.empty(nbytes, dtype=torch.uint8)
        view = block.numpy().data
        self.file.seek(offset)
        crc = 0
        for start in range(0, nbytes, _CHUNK):
            part = view[start : start + _CHUNK]
            if self.file.readinto(part) != len(part):  # type: ignore[attr-defined]
                raise FormatError("it is cut off: it ends in the middle of its tensors")
            if checksum is not None:
                crc = zlib.crc32(part, crc)
        if checksum is not None and crc != checksum:
            raise FormatError("it is damaged: the checksum of a tensor is wrong")
        return block


class _ZipFile(_TorchFile):
    """The serialization since PyTorch 1.6: a zip archive of stored (not compressed) entries."""

    def read(self) -> Any:
        entries = self.entries()
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            names = ", ".join(repr(name[:60]) for name in list(entries)[:4])
            raise FormatError(f"it is a zip archive, but of {names or 'nothing'}: archives inside are not followed")
        self.prefix = pickles[0].removesuffix("data.pkl")
        self.records = {name.removeprefix(self.prefix): entry for name, entry in entries.items()}
        if "constants.pkl" in self.records:
            raise FormatError("it is a TorchScript program; the state dict of the model itself is needed")
        if self.content("byteorder", b"little") != b"little":
            raise FormatError("it was saved on a machine of another byte order; save it again on a usual one")
        data = self.content("data.pkl")
        stream = _BoundedFile(io.BytesIO(data), len(data))
        return load_pickle(stream, BUILDERS, self.load_storage, size=len(data))

    def entries(self) -> dict[str, zipfile.ZipInfo]:
        """The archive's directory, once it is known to describe no more than the file's own bytes."""
        bounded = _BoundedFile(self.file, self.size, max_read=_MAX_ZIP_DIRECTORY)
        try:
            with zipfile.ZipFile(bounded) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, RuntimeError, OSError, EOFError) as error:
            raise FormatError(f"it begins as a zip archive but is cut off or damaged ({error})") from error
        if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size for info in infos):
            raise FormatError("it is a zip archive with compressed parts, which PyTorch does not write")
        if sum(info.file_size for info in infos) > self.size:
            raise FormatError("it claims to unpack to more bytes than it has")
        if any(info.flag_bits & 1 for info in infos):
            raise FormatError("it is an encrypted zip archive")
        entries = {info.filename: info for info in infos}
        if len(entries) != len(infos):
            raise FormatError("it is a zip archive that has two parts of one name")
        return entries

    def load_storage(self, persistent_id: Any) -> StorageRecord | Placeholder:
        storage = parse_storage_id(persistent_id)
        if isinstance(storage, StorageRecord):
            entry = self.records.get(f"data/{storage.key}")
            if entry is None:
                raise FormatError(f"it lacks the numbers of storage {storage.key[:40]!r}")
            if entry.file_size // storage.dtype.itemsize != storage.numel:
                raise FormatError(
                    f"storage {storage.key[:40]!r} claims {storage.numel} numbers of {storage.dtype}, "
                    f"but has {entry.file_size} bytes"
                )
        return storage

    def locate(self, storage: StorageRecord) -> tuple[int, int | None]:
        return self.locate_entry(self.records[f"data/{storage.key}"])

    def locate_entry(self, entry: zipfile.ZipInfo) -> tuple[int, int | None]:
        if not 0 <= entry.header_offset < self.size:
            raise FormatError(f"its part {entry.filename[:60]!r} lies outside of it")
        self.file.seek(entry.header_offset)
        header = self.file.read(30)
        if len(header) != 30 or not header.startswith(b"PK\x03\x04"):
            raise FormatError(f"its part {entry.filename[:60]!r} is damaged")
        name_length, extra_length = struct.unpack("<HH", header[26:])
        # PyTorch can be told to write no checksums, and then writes zeros.
        return entry.header_offset + 30 + name_length + extra_length, entry.CRC or None

    def content(self, name: str, default: bytes = b"") -> bytes:
        entry = self.records.get(name)
        if entry is None:
            return default
        offset, checksum = self.locate_entry(entry)
        self.file.seek(offset)
        data = self.file.read(entry.file_size)
        if len(data) != entry.file_size or (checksum is not None and zlib.crc32(data) != checksum):
            raise FormatError(f"its part {name!r} is cut off or damaged")
        return data


class _LegacyFile(_TorchFile):
    """The serialization before PyTorch 1.6: five pickles (magic number, protocol, system, content, storage keys), then
    for each storage its length and its numbers."""

    def read(self) -> Any:
        stream = _BoundedFile(self.file, self.size)
        declared: dict[str, StorageRecord] = {}

        def load_storage(persistent_id: Any) -> StorageRecord | Placeholder:
            storage = parse_storage_id(persistent_id)
            if isinstance(storage, StorageRecord):
                first = declared.setdefault(storage.key, storage)
                if (first.numel, first.dtype) != (storage.numel, storage.dtype):
                    raise FormatError(f"it describes storage {storage.key[:40]!r} in two ways")
            return storage

        def load() -> Any:
            return load_pickle(stream, BUILDERS, load_storage, size=self.size)

        if load() != _LEGACY_MAGIC:
            raise FormatError("it is a pickle, but not one of torch.save")
        protocol, system = load(), load()
        if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
            raise FormatError("it is of a serialization protocol that PyTorch does not have")
        if not system.get("little_endian", True):
            raise FormatError("it was saved on a machine of another byte order; save it again on a usual one")
        content = load()
        self.offsets = self.index_storages(load(), declared)
        return content

    def index_storages(self, keys: Any, declared: dict[str, StorageRecord]) -> dict[str, int]:
        """Offset of each storage's numbers, from the list of keys that says in which order they come."""
        if not isinstance(keys, list) or {str(key) for key in keys} != set(declared) or len(keys) != len(declared):
            raise FormatError("its list of storages is not that of its tensors")
        offsets = {}
        position = self.file.tell()
        for key in map(str, keys):
            self.file.seek(position)
            length = self.file.read(8)
            if len(length) != 8:
                raise FormatError("it is cut off: it ends before its last tensors")
            if int.from_bytes(length, "little", signed=True) != declared[key].numel:
                raise FormatError(f"storage {key[:40]!r} has another length than its tensors say")
            offsets[key] = position + 8
            position += 8 + declared[key].numel * declared[key].dtype.itemsize
        if position > self.size:
            raise FormatError(f"it is cut off: it has {self.size:,} of {position:,} bytes")
        return offsets

    def locate(self, storage: StorageRecord) -> tuple[int, int | None]:
        return self.offsets[storage.key], None


_Build = Callable[[TensorRecord], torch.Tensor]


def _no_record(record: TensorRecord) -> torch.Tensor:
    raise FormatError("it mixes formats")


def _select(content: Any, build: _Build, path: Path) -> Checkpoint:
    """Choose the weights of a file's content, and read only them."""
    entries = _mapping(content)
    if entries is None:
        what = (
            f"an object of class {content.name[:100]!r}"
            if isinstance(content, Placeholder)
            else type(content).__name__
        )
        raise FormatError(f"it holds {what}, not a state dict; save `model.state_dict()` instead of the model")
    key, averaged = _choose_weights(entries)
    named = _without_wrapper(_mapping(entries[key]) or {} if key else entries)
    named, had_averages = _without_old_averages(named)
    state_dict: dict[str, torch.Tensor] = {}
    skipped: dict[str, str] = {}
    for name, value in named.items():
        tensor = _tensor(name, value, build)
        if tensor is None or not isinstance(name, str):
            skipped[str(name)] = repr(value) if isinstance(value, Placeholder) else type(value).__name__
        else:
            state_dict[name] = tensor
    meta = entries.get("meta") if key else None
    return Checkpoint(
        state_dict=state_dict,
        meta=_Plain(build).convert(meta) if isinstance(meta, dict) else {},
        source=path,
        weights="ema" if averaged or had_averages else "state_dict",
        weights_key=key,
        skipped=skipped,
    )


def _mapping(value: Any) -> dict[Any, Any] | None:
    """`value` as a dict, where it is one or an object of an unknown kind of dict."""
    if isinstance(value, Placeholder) and value.items:
        return {key: item for key, item in value.items if isinstance(key, str)}
    return value if isinstance(value, dict) else None


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (TensorRecord, torch.Tensor)) or (
        isinstance(value, ArrayRecord) and value.value is not None and value.value.dtype.kind in "biuf"
    )


def _has_weights(value: Any) -> bool:
    return any(_is_tensor(item) for item in (_mapping(value) or {}).values())


def _choose_weights(entries: dict[Any, Any]) -> tuple[str, bool]:
    """Entry that holds the best weights ("" for the whole), and whether they are averaged over training.

    MMEngine's EMAHook swaps while it saves (mmengine/hooks/ema_hook.py, `before_save_checkpoint`): `state_dict` then
    holds the averaged weights and `ema_state_dict`, told by its `steps` counter, the raw ones for resuming. Elsewhere
    the entry named for the average holds it.
    """
    raw = next((key for key in _WEIGHT_KEYS if _has_weights(entries.get(key))), None)
    average = next((key for key in _EMA_KEYS if _has_weights(entries.get(key))), None)
    if average is not None:
        swapped = raw == "state_dict" and average == "ema_state_dict" and "steps" in (_mapping(entries[average]) or {})
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
    """Names without the `module.` of DataParallel and of averaged models, which also count their steps."""
    weights = {name: value for name, value in named.items() if name not in _EMA_COUNTERS}
    if weights and all(isinstance(name, str) and name.startswith("module.") for name in weights):
        return _without_wrapper({name.removeprefix("module."): value for name, value in weights.items()})
    return named


def _without_old_averages(named: dict[Any, Any]) -> tuple[dict[Any, Any], bool]:
    """Leave out the buffers of MMCV 1's EMAHook: `ema_backbone_conv_weight` beside `backbone.conv.weight`.

    That hook, too, swaps before it saves: the usual names hold the average.
    """
    buffers = {f"ema_{name.replace('.', '_')}" for name in named if isinstance(name, str)}
    kept = {name: value for name, value in named.items() if name not in buffers}
    return kept, len(kept) < len(named)


def _tensor(name: Any, value: Any, build: _Build) -> torch.Tensor | None:
    if isinstance(value, TensorRecord):
        return build(value)
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, ArrayRecord) and _is_tensor(value):
        return torch.from_numpy(value.value)
    if isinstance(value, Placeholder) and value.name.startswith("torch."):
        raise FormatError(
            f"its tensor {str(name)[:100]!r} is of the kind {value.name[:100]!r} (quantized, sparse or the like), which "
            "is not supported; save plain dense tensors"
        )
    return None


class _Plain:
    """Turns a pickle's values into plain ones: records into tensors and arrays, all containers new."""

    def __init__(self, build: _Build) -> None:
        self.build = build
        self.values_left = _MAX_META_VALUES

    def convert(self, value: Any, depth: int = 0) -> Any:
        self.values_left -= 1
        if self.values_left < 0 or depth > _MAX_META_DEPTH:
            raise FormatError("its meta data nests or repeats without end")
        if isinstance(value, dict):
            return {key: self.convert(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.convert(item, depth + 1) for item in value)
        if isinstance(value, TensorRecord):
            return self.build(value)
        if isinstance(value, ArrayRecord):
            return Placeholder("numpy.ndarray", ()) if value.value is None else value.value
        return value
