"""Files of `torch.save`, new and old serialization, loaded by `torch.load(weights_only=True)` after a check of their
sizes.

Every class or function that such a file names and PyTorch does not know is bound to a stand-in for the time of the
call: nothing that the file names is imported or run.
"""

from __future__ import annotations

import io
import mmap
import struct
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    safe_globals,
)

from hfpose.checkpoints.pickle_check import CALLABLE, FormatError, PickleContent, check_pickle
from hfpose.checkpoints.stand_ins import make_stand_in

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_CHUNK = 2**20
_MAX_ZIP_DIRECTORY = 2**23  # bytes: some 100,000 tensors
_MAX_PICKLE = 2**28  # bytes: logs of a long training are in it

_safe_globals_lock = threading.Lock()


def load_torch_file(path: Path, file: BinaryIO) -> Any:
    """What a file of `torch.save` holds, with `StandIn`s for objects that are not built. Tensors of the new
    serialization are views of the file: `OwnedTensors` makes them last. `file` is the same file, open at its start.

    Raises:
        FormatError: the file is broken, lies about sizes, or needs what `torch.load(weights_only=True)` refuses.
    """
    is_zip = file.read(2) == b"PK"
    file.seek(0)
    content = _check_zip(file) if is_zip else _check_legacy(file)
    stand_ins: list[Any] = [
        (make_stand_in(name, content.containers.get(name)), spelling)
        for written, name in content.names.items()
        for spelling in {written, name}
    ]
    try:
        with _without_allowed_classes(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _refuse_tensor_kinds(content)
            with safe_globals(stand_ins):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except FormatError:
        raise
    except Exception as error:  # what the file says may fail anywhere
        reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().split("\n")[0]
        raise FormatError(f"torch.load refuses it ({type(error).__name__}: {reason[:200]!r})") from error


def _refuse_tensor_kinds(content: PickleContent) -> None:
    """Raise if the file calls what PyTorch knows and would build, but is none of the few that were checked."""
    program = b"".join(b"c%s\n%s\n" % tuple(map(str.encode, name.rpartition(".")[::2])) for name in content.called)
    file = io.BytesIO()  # PyTorch tells which names it does not know of an archive, whichever serialization names them
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + program + b".")
        archive.writestr("archive/version", b"3\n")
    file.seek(0)
    if refused := sorted(content.called - CALLABLE - set(get_unsafe_globals_in_checkpoint(file))):
        raise FormatError(
            f"it holds a {refused[0][:100]!r} (a quantized or sparse tensor or the like), which is not supported; "
            "save plain dense tensors"
        )


@contextmanager
def _without_allowed_classes() -> Iterator[None]:
    """For a while torch.load knows no class that the process has allowed it."""
    with _safe_globals_lock:
        allowed = get_safe_globals()
        clear_safe_globals()
        try:
            yield
        finally:
            add_safe_globals(allowed)


class _BoundedFile:
    """A file for zipfile: no read asks for more than is there, or than a directory of reasonable size needs."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, length: int = -1) -> bytes:
        available = max(0, self.size - self.file.tell())
        length = available if length < 0 else length
        if length > _MAX_ZIP_DIRECTORY:
            raise FormatError(f"a part of it claims {length:,} bytes")
        return self.file.read(min(length, available))


def _check_zip(file: BinaryIO) -> PickleContent:
    """The serialization since PyTorch 1.6: a zip archive of one pickle and an entry for each storage."""
    size = file.seek(0, io.SEEK_END)
    try:
        with zipfile.ZipFile(_BoundedFile(file, size)) as archive:
            entries = _checked_entries(archive, size)
            for entry in entries.values():
                if not entry.CRC:  # PyTorch can be told to write no checksums, and then writes zeros
                    del entry.CRC
                _read_entry(archive, entry)
            content = check_pickle(io.BytesIO(_read_entry(archive, entries["data.pkl"], keep=True)))
            byte_order = _read_entry(archive, entries["byteorder"], keep=True) if "byteorder" in entries else b"little"
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, RuntimeError, OSError, EOFError) as error:
        raise FormatError(f"it begins as a zip archive but is cut off or damaged ({error})") from error
    if byte_order != b"little":
        raise FormatError("it was saved on a machine of another byte order; save it again on a usual one")
    for key, (dtype, numel) in content.storages.items():
        if f"data/{key}" not in entries:
            raise FormatError(f"it lacks the numbers of storage {key[:40]!r}")
        nbytes = entries[f"data/{key}"].file_size
        if nbytes != numel * dtype.itemsize:
            raise FormatError(f"storage {key[:40]!r} claims {numel} numbers of {dtype}, but has {nbytes} bytes")
    return content


def _checked_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries without their folder, once they are known to describe no more than the file's own
    bytes."""
    infos = archive.infolist()
    entries = {info.filename: info for info in infos}
    if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size for info in infos):
        raise FormatError("it is a zip archive with compressed parts, which PyTorch does not write")
    if sum(info.file_size for info in infos) > size:
        raise FormatError("it claims to unpack to more bytes than it has")
    if any(info.flag_bits & 1 for info in infos):
        raise FormatError("it is an encrypted zip archive")
    if len(entries) != len(infos):
        raise FormatError("it is a zip archive that has two parts of one name")
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1 or entries[pickles[0]].file_size > _MAX_PICKLE:
        names = ", ".join(repr(name[:60]) for name in list(entries)[:4])
        raise FormatError(f"it is a zip archive, but of {names or 'nothing'}: archives inside are not followed")
    folder = pickles[0].removesuffix("data.pkl")
    entries = {name.removeprefix(folder): info for name, info in entries.items()}
    if "constants.pkl" in entries:
        raise FormatError("it is a TorchScript program; the state dict of the model itself is needed")
    return entries


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, keep: bool = False) -> bytes:
    """Read an entry in pieces, which checks its checksum. Its bytes where they are to be kept."""
    pieces = []
    with archive.open(entry) as file:
        while piece := file.read(_CHUNK):
            if keep:
                pieces.append(piece)
    return b"".join(pieces)


def _check_legacy(file: BinaryIO) -> PickleContent:
    """The serialization before PyTorch 1.6: five pickles (magic number, protocol, system, content, storage keys), then
    for each storage its length and its numbers."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if check_pickle(stream).value.content != _LEGACY_MAGIC:  # type: ignore[arg-type]
            raise FormatError("it is a pickle, but not one of torch.save")
        protocol, system = (check_pickle(stream).value for _ in range(2))  # type: ignore[arg-type]
        if protocol.content != _LEGACY_PROTOCOL or system.kind != "dict":
            raise FormatError("it is of a serialization protocol that PyTorch does not have")
        settings = {
            key.content: value.content for key, value in zip(system.parts[::2], system.parts[1::2], strict=True)
        }
        if settings.get("little_endian") == "NEWFALSE":
            raise FormatError("it was saved on a machine of another byte order; save it again on a usual one")
        content = check_pickle(stream)  # type: ignore[arg-type]
        keys = [key.content for key in check_pickle(stream).value.parts]  # type: ignore[arg-type]
        if len(keys) != len(content.storages) or any(key not in content.storages for key in keys):
            raise FormatError("its list of storages is not that of its tensors")
        position = stream.tell()
        for key in keys:
            dtype, numel = content.storages[key]
            length = stream[position : position + 8]
            if len(length) != 8:
                raise FormatError("it is cut off: it ends before its last tensors")
            if int.from_bytes(length, "little", signed=True) != numel:
                raise FormatError(f"storage {key[:40]!r} has another length than its tensors say")
            position += 8 + numel * dtype.itemsize
        if position > len(stream):
            raise FormatError(f"it is cut off: it has {len(stream):,} of {position:,} bytes")
    return content


class OwnedTensors:
    """Copies tensors out of the file that they are views of. Those that share a storage share it afterwards."""

    def __init__(self, file_size: int) -> None:
        self.blocks: dict[int, torch.UntypedStorage] = {}
        self.bytes_left = 4 * file_size

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        block = self.blocks.get(storage.data_ptr())
        if block is None or block.nbytes() < storage.nbytes():
            self.bytes_left -= storage.nbytes()
            if self.bytes_left < 0:
                raise FormatError("its tensors repeat the same stored numbers over and over")
            block = self.blocks[storage.data_ptr()] = storage.clone()
        empty = torch.empty(0, dtype=tensor.dtype, device="cpu")
        return empty.set_(block, tensor.storage_offset(), tensor.size(), tensor.stride())
