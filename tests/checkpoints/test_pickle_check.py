from __future__ import annotations

import io
import mmap
import pickle
import resource
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from hfpose.checkpoints.pickle_check import MAX_INSTRUCTIONS, FormatError, PickleContent, check_pickle
from hfpose.checkpoints.reader import read_checkpoint
from hfpose.errors import CheckpointError


def check(program: bytes) -> PickleContent:
    return check_pickle(io.BytesIO(program + b"."))


def test_values_are_described() -> None:
    value = check(pickle.dumps({"a": [1, (None, 2.5)]}, 2)[:-1]).value
    key, items = value.parts
    assert (value.kind, key.kind, key.content, items.kind) == ("dict", "text", "a", "list")
    assert [part.kind for part in items.parts] == ["number", "tuple"]
    assert value.size == 7


def test_the_stream_is_left_behind_the_pickle() -> None:
    stream = io.BytesIO(pickle.dumps([1], 2) + b"rest")
    check_pickle(stream)
    assert stream.read() == b"rest"


def test_names_are_those_of_python_3() -> None:
    content = check(b"c__builtin__\ngetattr\nca.b\nC\n")
    assert content.names == {"__builtin__.getattr": "builtins.getattr", "a.b.C": "a.b.C"}
    assert content.called == set()


def test_calls_and_containers_are_noted(asm) -> None:
    dictionary = asm.call("a.Dict") + b"(" + asm.value(1) + asm.value(2) + b"u"
    content = check(b"(" + dictionary + asm.call("a.List") + asm.value(1) + b"a" + asm.call("a.Thing") + b"t")
    assert content.called == {"a.Dict", "a.List", "a.Thing"}
    assert content.containers == {"a.Dict": "dict", "a.List": "list"}


@pytest.mark.parametrize(
    "program",
    [
        b"", b"a", b"K\x01a", b"}K\x01s", b"e", b"u", b"]e", b"R", b"N)R", b"ca\nb\nNR", b"h\x05", b"t", b"K\x01(K\x02e",
        b"}(K\x01u", b"K\x01Nb", b"Q", b"\xfe", b"ca\n", b"}]Ns", b"}}Ns", b"X" + struct.pack("<I", 2**31) + b"x",
    ],
    ids=repr,
)  # fmt: skip
def test_malformed_programs(program: bytes) -> None:
    with pytest.raises(FormatError):
        check(program)


def test_the_length_of_a_program_is_bounded() -> None:
    with pytest.raises(FormatError, match="more than 500,000 instructions"):
        check(b"N" * MAX_INSTRUCTIONS)


def test_the_number_of_names_is_bounded(asm) -> None:
    with pytest.raises(FormatError, match="more than 50 classes"):
        check(b"".join(asm.name(f"module.Class{i}") for i in range(100)) + b"N")


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_protocol_that_torch_does_not_load_is_named(tmp_path: Path, protocol: int) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth", pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match=r"instruction FRAME.*without `pickle_protocol`"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("key", [2**61 - 1, -(2**61), 2**100, (2**61 - 1,), (1.5,), ((1,),)], ids=repr)
def test_numbers_that_could_collide_are_no_keys(asm, key: Any) -> None:
    text = asm.value("x")
    for program in (
        b"}" + asm.value(key) + b"Ns",
        asm.call("builtins.set", b"](" + asm.value(key) + b"e"),
        asm.call("collections.OrderedDict", b"](" + asm.value(key) + text + b"\x86e"),
    ):
        with pytest.raises(FormatError, match="dictionary key"):
            check(program)


def test_results_that_could_collide_are_no_keys(asm) -> None:
    for call in (asm.call("builtins.complex", asm.value(1.5)), asm.call("torch.Size", asm.value((2**61,)))):
        with pytest.raises(FormatError, match="dictionary key"):
            check(b"}" + call + b"Ns")


def test_usual_keys(asm) -> None:
    for key in ("a", 1, -5, 2.5, None, True, ("a", 1), asm):
        program = asm.name("torch.float32") if key is asm else asm.value(key)
        assert check(b"}" + program + b"Ns").value.kind == "dict"


LONG = b"(" + b"K\x01" * 100_000 + b"tq\x00"
TEXT = b"X" + struct.pack("<I", 2**20) + b"x" * 2**20 + b"q\x00"


@pytest.mark.parametrize(
    ("value", "again"),
    [
        (LONG, b"ca\nb\nh\x00R"),
        (LONG, b"ca\nb\nh\x00\x81"),
        (LONG, b"ca\nb\n)Rh\x00b"),
        (LONG, b"}h\x00Ns"),
        (LONG, b"ctorch\nSize\nh\x00\x85R"),
        (TEXT, b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"),
        (TEXT, b"}h\x00Ns"),
    ],
    ids=["call", "new", "state", "key", "size", "bytes", "long text as key"],
)
def test_one_value_is_not_copied_over_and_over(tmp_path: Path, asm, value: bytes, again: bytes) -> None:
    path = asm.write(tmp_path / "a.pth", value + again * 4000)
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="over and over"):
        read_checkpoint(path)
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


def test_containers_that_double_do_not_grow_without_end(tmp_path: Path, asm) -> None:
    doubled = b")q\x00" + b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(99)
    )
    with pytest.raises(CheckpointError, match="over and over"):
        read_checkpoint(asm.write(tmp_path / "a.pth", doubled + b"}h\x50Ns"))


@pytest.mark.parametrize("nest", [b"]", b")\x85"], ids=["list", "tuple"])
def test_deep_nesting_does_not_recurse(nest: bytes) -> None:
    depth = 100_000
    assert check(b"]" * depth + b"a" * (depth - 1) if nest == b"]" else b")" + b"\x85" * depth).value is not None


@pytest.mark.parametrize(
    "described",
    [
        {"size": (2, 4), "stride": (4, 1)},
        {"size": (7,), "stride": (1,)},
        {"size": (2, 3), "stride": (2**40, 1)},
        {"size": (2, 3), "stride": (2**62, 1)},
        {"size": (2**31, 2**31, 4), "stride": (0, 0, 1)},
        {"size": (2**22,), "stride": (0,)},
        {"size": (2, 3), "stride": (3, 1), "offset": 1},
        {"size": (2, 3), "stride": (3, 1), "offset": -1},
        {"size": (2, 3), "stride": (3, 1), "offset": 2**63},
        {"size": (2, 3), "stride": (-3, 1), "offset": 3},
        {"size": (-2, 3), "stride": (3, 1)},
        {"size": (2, 3), "stride": (3,)},
        {"size": "ab", "stride": "ab"},
        {"size": (2.0, 3.0), "stride": (3, 1)},
        {"size": (1, 3), "stride": (True, 1)},
        {"size": (1,) * 40, "stride": (1,) * 40},
        {"size": None, "stride": (3, 1)},
    ],
    ids=str,
)
def test_tensors_that_do_not_fit_their_storage(tmp_path: Path, asm, described: dict) -> None:
    with pytest.raises(CheckpointError, match="a tensor in it"):
        read_checkpoint(asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor(**described)})))


@pytest.mark.parametrize(
    ("storage", "hint"),
    [
        ({"numel": 7}, "claims 7 numbers"),
        ({"numel": 5}, "claims 5 numbers"),
        ({"numel": 2**50}, "impossible size"),
        ({"numel": -1}, "impossible size"),
        ({"numel": "6"}, "impossible size"),
        ({"numel": 6, "key": "1"}, "lacks the numbers"),
        ({"numel": 6, "key": "../version"}, "lacks the numbers"),
        ({"numel": 6, "key": None}, "no name"),
        ({"numel": 6, "kind": "torch.DoubleStorage"}, "claims 6 numbers of torch.float64"),
        ({"numel": 6, "kind": "torch.QInt8Storage"}, "quantized"),
        ({"numel": 6, "kind": "some.FloatStorage"}, "type that PyTorch does not have"),
    ],
)
def test_storages_that_lie(tmp_path: Path, asm, storage: dict, hint: str) -> None:
    program = asm.items({"a": asm.tensor(size=(5,), stride=(1,), storage=asm.storage(**storage))})
    with pytest.raises(CheckpointError, match=hint):
        read_checkpoint(asm.write(tmp_path / "a.pth", program))


def test_a_storage_in_two_ways(tmp_path: Path, asm) -> None:
    other = asm.tensor(size=(3,), stride=(1,), storage=asm.storage(3, kind="torch.DoubleStorage"))
    with pytest.raises(CheckpointError, match="in two ways"):
        read_checkpoint(asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor(), "b": other})))


@pytest.mark.parametrize("persistent_id", ["storage", ("storage",), 3, ("storage", "x", "0", "cpu", 6), None])
def test_persistent_ids_that_are_none_of_pytorch(tmp_path: Path, asm, persistent_id: object) -> None:
    program = asm.items({"a": asm.tensor(storage=asm.value(persistent_id) + b"Q")})
    with pytest.raises(CheckpointError, match=r"refers to a storage|names a storage"):
        read_checkpoint(asm.write(tmp_path / "a.pth", program))


def test_a_tensor_as_a_storage(tmp_path: Path, asm) -> None:
    with pytest.raises(CheckpointError, match="no storage"):
        read_checkpoint(asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor(storage=asm.tensor())})))


def test_false_lengths_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"x" * 100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        (tmp_path / "a").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream,
        pytest.raises(FormatError),
    ):
        check_pickle(stream)  # type: ignore[arg-type]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # kilobytes
