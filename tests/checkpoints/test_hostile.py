"""Hostile checkpoints through the front door: nothing runs, nothing is written, memory stays bounded, a clear
error."""

from __future__ import annotations

import copy
import json
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from hfpose.checkpoints.reader import read_checkpoint
from hfpose.errors import CheckpointError
from processes import run_python

NAME = "rtmdet_nano_320-8xb32_hand"
GIGABYTES_OF_BOMB = 50

CONVERT = f"""
import json, resource, sys
from pathlib import Path
import hfpose
from hfpose.checkpoints import convert_checkpoint
from hfpose.errors import HFPoseError
from hfpose.models.rtmdet import convert_rtmdet

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # MiB

before, errors = peak(), {{}}
for path in sorted(Path("files").iterdir()):
    try:
        hfpose.convert_checkpoint("{NAME}", path, "converted")
        errors[path.name] = None
    except HFPoseError as error:
        errors[path.name] = str(error)
print(json.dumps({{"errors": errors, "grown": peak() - before}}))
"""


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self.command,)


def bomb(path: Path, compression: int) -> None:
    """A small archive whose directory names one block of zeros so often that all of it would be 50 GB."""
    block = 64 << 20 if compression else 1 << 20
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": {}}))
        archive.writestr("archive/data/0", bytes(block))
        for index in range(1, (GIGABYTES_OF_BOMB << 30) // block + 1):
            again = copy.copy(archive.filelist[1])
            again.filename = f"archive/data/{index}"
            archive.filelist.append(again)
    with zipfile.ZipFile(path) as archive:
        assert sum(info.file_size for info in archive.infolist()) >= GIGABYTES_OF_BOMB << 30
    assert path.stat().st_size < 20 << 20


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, asm) -> dict[str, Any]:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("hostile")
    files = folder / "files"
    files.mkdir()
    command = f"touch {folder / 'ran'}"
    code = f"open({str(folder / 'ran')!r}, 'w').close()"
    executed = asm.call("builtins.exec", asm.value(code))
    state = {"backbone.stem.0.conv.weight": torch.zeros(1)}
    for name, new in (("system-zip", True), ("system-legacy", False)):
        content = {"state_dict": {**state, "x": Command(command)}, "meta": {"x": Command(command)}}
        torch.save(content, files / f"{name}.pth", _use_new_zipfile_serialization=new)
    module = asm.call("builtins.__import__", asm.value("os"))
    chain = asm.call("builtins.getattr", module, asm.value("system")) + b"(" + asm.value(command) + b"tR"
    asm.write(files / "chain.pth", asm.items({"state_dict": asm.items({"a": asm.tensor(), "x": chain})}))
    (files / "pickle-alone.pth").write_bytes(pickle.dumps(Command(command), protocol=2))
    asm.write(files / "exec.pth", asm.items({"state_dict": asm.items({"a": asm.tensor(), "x": executed})}))
    with zipfile.ZipFile(files / "nested.pth", "w") as archive:
        archive.write(files / "system-zip.pth", "inner/model.pth")
    with zipfile.ZipFile(files / "traversal.pth", "w") as archive:
        archive.writestr("../../outside/data.pkl", pickle.dumps(Command(command), protocol=2))
    bomb(files / "bomb-compressed.pth", zipfile.ZIP_DEFLATED)
    bomb(files / "bomb-stored.pth", zipfile.ZIP_STORED)
    asm.write(files / "strides.pth", asm.items({"a": asm.tensor(stride=(3, 2**40))}))
    asm.write(files / "negative-strides.pth", asm.items({"a": asm.tensor(stride=(-3, 1))}))
    asm.write(files / "beyond-storage.pth", asm.items({"a": asm.tensor(size=(2**20, 2**20))}))
    asm.write(files / "offset.pth", asm.items({"a": asm.tensor(offset=2**40)}))
    asm.write(files / "storage.pth", asm.items({"a": asm.tensor(storage=asm.storage(2**40))}))
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (files / "lengths.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    (files / "header.safetensors").write_bytes(struct.pack("<Q", 2**62) + header)
    names = {path.name for path in files.iterdir()}
    printed = json.loads(run_python(CONVERT, folder, {"OMP_NUM_THREADS": "1", "HFPOSE_CACHE": str(folder / "cache")}))
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {f"files/{name}" for name in names}
    return {**printed, "left": left - {"files"}, "names": names, "beside": set(folder.parent.glob("outside*"))}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("system-zip.pth", "it names 'posix.system', which acts on the machine"),
        ("system-legacy.pth", "it names 'posix.system', which acts on the machine"),
        ("chain.pth", "its pickle calls the object 'builtins.getattr'"),
        ("pickle-alone.pth", "it names 'posix.system'"),
        ("exec.pth", "The tensors of exec.pth are not those of"),
        ("nested.pth", "archives inside are not followed"),
        ("traversal.pth", ""),
        ("bomb-compressed.pth", "compressed parts, which PyTorch does not write"),
        ("bomb-stored.pth", "claims to unpack to more bytes than it has"),
        ("strides.pth", "a tensor in it"),
        ("negative-strides.pth", "a tensor in it"),
        ("beyond-storage.pth", "a tensor in it"),
        ("offset.pth", "a tensor in it"),
        ("storage.pth", "claims 1099511627776 numbers"),
        ("lengths.safetensors", "no valid safetensors file"),
        ("header.safetensors", "no valid safetensors file"),
    ],
)
def test_hostile_file_is_refused_in_one_clear_sentence(report: dict[str, Any], name: str, says: str) -> None:
    error = report["errors"][name]
    assert error is not None
    assert says in error
    assert name in error
    assert "\n" not in error


def test_nothing_ran_and_nothing_was_written(report: dict[str, Any]) -> None:
    assert report["errors"].keys() == report["names"]
    assert report["left"] == set()
    assert report["beside"] == set()


def test_memory_stays_bounded(report: dict[str, Any]) -> None:
    assert report["grown"] < 200  # MiB; of what the files claim, which is 50 GB and more


def test_hostile_files_of_public_trials(shared: Path) -> None:
    files = sorted((shared / "cases/hostile").glob("*.pth"))
    if not files:
        pytest.skip("../shared/cases/hostile is not there")
    for path in files:
        start = time.process_time()
        with pytest.raises(CheckpointError, match="nothing in it was run"):
            read_checkpoint(path)
        assert time.process_time() - start < 5, path.name
