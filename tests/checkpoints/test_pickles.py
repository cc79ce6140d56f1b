from __future__ import annotations

import contextlib
import io
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from hfpose.checkpoints.pickles import FormatError, Placeholder, Record, load_pickle
from hfpose.checkpoints.tensors import BUILDERS


def load(program: bytes, builders: dict[str, Callable[[tuple], Any]] | None = None, **options: Any) -> Any:
    data = program + b"."
    return load_pickle(io.BytesIO(data), builders or {}, lambda pid: ("stored", pid), len(data), **options)


VALUES = [
    None, True, False, 0, 255, 65535, -(2**31), 2**31, 2**70, -1.5, float("inf"), "", "text", "\u00e9\U0001f600", "x" * 300,
    b"", b"raw", b"r" * 300, bytearray(b"ab"), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], [1, [2, [3]]], {},
    {"a": 1}, {"a": {"b": (None,)}, 1: 2.5}, {1, 2}, set(), frozenset({"a"}), [[]] * 3, {None: True, 1.5: b"x", ("a", 1): 0},
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_plain_values_of_every_protocol(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    stream = io.BytesIO(data + b"rest")
    assert load_pickle(stream, BUILDERS, lambda pid: pid, len(data)) == value
    assert stream.read() == b"rest"


def test_shared_and_circular_values_keep_their_identity() -> None:
    inner: list[Any] = [1]
    inner.append(inner)
    loaded = load(pickle.dumps({"a": inner, "b": inner}, 2)[:-1])
    assert loaded["a"] is loaded["b"]
    assert loaded["a"][1] is loaded["a"]


def test_a_global_is_only_remembered() -> None:
    loaded = load(b"cno_such_module.at.all\nThing\n")
    assert isinstance(loaded, Placeholder)
    assert (loaded.name, loaded.called) == ("no_such_module.at.all.Thing", False)


def test_a_call_is_only_recorded(asm) -> None:
    loaded = load(
        asm.call("os.system", asm.value("ls")) + asm.value({"a": 1}) + b"b" + asm.value("k") + asm.value(2) + b"s"
    )
    assert (loaded.name, loaded.called, loaded.args) == ("os.system", True, ("ls",))
    assert (loaded.state, loaded.items) == ({"a": 1}, [("k", 2)])
    assert repr(loaded) == "<'os.system' object of the checkpoint, not built>"


def test_a_call_of_a_call_is_only_recorded(asm) -> None:
    loaded = load(asm.call("builtins.getattr", asm.name("os.path"), asm.value("x")) + b"(" + asm.value("ls") + b"tR")
    assert (loaded.name, loaded.args) == ("builtins.getattr", ("ls",))


def test_elements_of_an_unknown_container_are_kept(asm) -> None:
    assert load(asm.call("some.List") + b"(" + asm.value(1) + asm.value(2) + b"e").elements == [1, 2]
    assert load(b"\x80\x04" + asm.call("some.Set") + b"(K\x01\x90").elements == [1]


def test_builders_make_the_values_of_their_names(asm) -> None:
    program = asm.call("a.make", asm.value(2))
    assert load(program, {"a.make": lambda args: args[0] * 2}) == 4
    assert isinstance(load(program, {"a.other": lambda args: 0}), Placeholder)


def test_records_get_their_state(asm) -> None:
    class Thing(Record):
        def set_state(self, state: Any) -> None:
            self.state = state

    assert load(asm.call("a.make") + asm.value(3) + b"b", {"a.make": lambda args: Thing()}).state == 3


def test_persistent_ids_of_both_spellings(asm) -> None:
    assert load(asm.value(("storage", 1)) + b"Q") == ("stored", ("storage", 1))
    assert load(b"Pname\n") == ("stored", "name")


@pytest.mark.parametrize(
    "program",
    [
        b"", b"0", b"a", b"K\x01a", b"}K\x01s", b"(K\x01", b"e", b"u", b"]e", b"R", b"N)R", b"cos\nsystem\nNR", b"h\x05", b"g5\n",
        b"gx\n", b"t", b"1", b"2", b"(2", b"K\x01K\x02", b"}(K\x01u", b"K\x01(K\x02e", b"K\x01Nb", b"\x80\x04(K\x01]\x90",
        b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"\x97", b"\x98", b"\x93", b"K\x01K\x02\x93", b"\x94", b"Q",
        b"\xfe", b"I12x\n", b"S'unclosed\n", b"Fx\n", b"cos\n", b"(o", b"(K\x01o", b"}]Ns", b"}}Ns",
        b"](]\x91", b"}(])\x91Ns",
    ],
    ids=repr,
)  # fmt: skip
def test_malformed_programs(program: bytes) -> None:
    with pytest.raises(FormatError):
        load(program)


def test_a_program_without_an_end() -> None:
    with pytest.raises(FormatError, match="malformed"):
        load_pickle(io.BytesIO(b"\x80\x02}"), {}, lambda pid: pid, 3)


def test_the_length_of_a_program_is_bounded() -> None:
    with pytest.raises(FormatError, match="more than 1,000 instructions"):
        load(b"N0" * 1000 + b"N", max_instructions=1000)


@pytest.mark.parametrize(
    "program",
    [
        b"Nr\xff\xff\xff\x7f",
        b"Np999999999999\n",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x",
        b"X" + struct.pack("<I", 2**31) + b"x",
        b"T" + struct.pack("<i", -5) + b"x",
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x",
        b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N",
    ],
    ids=["memo", "text memo", "bytearray", "bytes", "text", "text of 2 GiB", "negative", "number", "frame"],
)
def test_false_lengths_take_no_memory(program: bytes) -> None:
    tracemalloc.start()
    with contextlib.suppress(FormatError):
        load(program)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("nest", [b"]", b")\x85", b"}", b"cm\nf\n"], ids=["list", "tuple", "dict", "call"])
def test_deep_nesting_does_not_recurse(nest: bytes) -> None:
    depth = 100_000
    program = {
        b"]": b"]" * depth + b"a" * (depth - 1),
        b")\x85": b")" + b"\x85" * depth,
        b"}": b"}" + b"N}" * depth + b"s" * depth,
        b"cm\nf\n": b"cm\nf\n" * depth + b"N" + b"\x85R" * depth,
    }[nest]
    assert load(program) is not None


def test_deep_tuples_are_no_keys() -> None:
    """Hashing one recurses on the machine's stack."""
    with pytest.raises(FormatError, match="dictionary key"):
        load(b"})" + b"\x85" * 100_000 + b"Ns")


@pytest.mark.parametrize("number", [2**61 - 1, -(2**61), 2**100])
def test_numbers_that_could_collide_are_no_keys(asm, number: int) -> None:
    for key in (number, (number,)):
        with pytest.raises(FormatError, match="dictionary key"):
            load(b"}" + asm.value(key) + b"Ns")
    with pytest.raises(FormatError, match="dictionary key"):
        load(b"\x80\x04\x8f(" + asm.value(number) + b"\x90")


def test_calls_cannot_copy_one_value_over_and_over(asm) -> None:
    big = b"](" + b"N" * 100_000 + b"eq\x00"
    calls = b"".join(asm.name("a.list") + b"h\x00\x85R0" for _ in range(1000))
    with pytest.raises(FormatError, match="over and over"):
        load(big + calls, {"a.list": lambda args: list(args[0])})
