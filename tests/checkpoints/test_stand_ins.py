from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfpose.checkpoints.reader import read_checkpoint
from hfpose.checkpoints.stand_ins import StandIn
from hfpose.errors import CheckpointError


def read_value(asm, folder: Path, program: bytes) -> Any:
    """What the meta data of a checkpoint becomes where `program` gives it."""
    content = asm.items({"state_dict": asm.items({"a": asm.tensor()}), "meta": asm.items({"x": program})})
    return read_checkpoint(asm.write(folder / "a.pth", content)).meta["x"]


def array_program(asm, shape: Any = (2,), code: str = "f4", data: Any = b"\0" * 8, order: str = "<") -> bytes:
    """numpy's instructions for an array: an empty one, and its state."""
    empty = asm.call("numpy.core.multiarray._reconstruct", asm.name("numpy.ndarray"), asm.value((0,)), asm.value(b"b"))
    return (
        empty
        + b"("
        + asm.value(1)
        + asm.value(shape)
        + dtype_program(asm, code, order)
        + asm.value(False)
        + (data if isinstance(data, bytes) and data.startswith(b"c") else asm.value(data))
        + b"tb"
    )


def dtype_program(asm, code: str, order: str = "<") -> bytes:
    state = (3, order, None, None, None, -1, -1, 0)
    return asm.call("numpy.dtype", asm.value(code), asm.value(False), asm.value(True)) + asm.value(state) + b"b"


def test_numpy_arrays_by_their_instructions(tmp_path: Path, asm) -> None:
    data = np.array([[1, 2], [3, 4]], ">i2")
    actual = read_value(asm, tmp_path, array_program(asm, (2, 2), "i2", data.tobytes(), ">"))
    np.testing.assert_array_equal(actual, data)


def test_numpy_arrays_that_python_2_pickled(tmp_path: Path, asm) -> None:
    """Their bytes are text to Python 3."""
    numbers = np.array([1.5, -200.25], "<f8")
    text = numbers.tobytes().decode("latin-1")
    assert read_value(asm, tmp_path, array_program(asm, (2,), "f8", text)).tolist() == [1.5, -200.25]


@pytest.mark.parametrize("code", ["O", "O8", "V8", "M8", "f4, i4", "S99999999", "f9", "", "(1000000000,)f8"])
def test_arrays_of_anything_but_numbers_and_text_are_not_built(tmp_path: Path, asm, code: str) -> None:
    value = read_value(asm, tmp_path, array_program(asm, (1,), code, b"\0" * 8))
    assert isinstance(value, StandIn)


def test_arrays_of_objects_are_not_built(tmp_path: Path, asm) -> None:
    assert isinstance(read_value(asm, tmp_path, array_program(asm, (1,), "O8", ["x"])), StandIn)


@pytest.mark.parametrize(
    ("shape", "code", "data"),
    [
        ((2**39,), "f4", b"\0" * 8),
        ((2, 2), "f4", b"\0" * 8),
        ((-1,), "f4", b"\0" * 8),
        ((2.0,), "f4", b"\0" * 8),
        ((1,) * 40, "f8", b"\0" * 8),
        ((0, 2**39, 2**39), "f4", b""),
        ((1,), "U1", b"\xff" * 4),
        ((2**39,), "U0", b""),
        ("2", "f4", b"\0" * 8),
        ((2,), "f4", None),
    ],
)
def test_arrays_that_do_not_fit_their_bytes(tmp_path: Path, asm, shape: Any, code: str, data: Any) -> None:
    with pytest.raises(CheckpointError, match=r"numpy array|size or stride|malformed"):
        read_value(asm, tmp_path, array_program(asm, shape, code, data))


def test_numpy_scalars_of_objects_are_not_built(tmp_path: Path, asm) -> None:
    scalar = asm.call("numpy.core.multiarray.scalar", dtype_program(asm, "O8", "|"), asm.value(b"x"))
    assert isinstance(read_value(asm, tmp_path, scalar), StandIn)


@pytest.mark.parametrize("codec", ["zlib", "rot13", "utf-8", "base64", "punycode"])
def test_codecs_are_not_run(tmp_path: Path, asm, codec: str) -> None:
    with pytest.raises(CheckpointError, match="encodes text"):
        read_value(asm, tmp_path, asm.call("_codecs.encode", asm.value("text"), asm.value(codec)))


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("builtins.set", [[1, "a"]], {1, "a"}),
        ("__builtin__.set", [], set()),
        ("collections.OrderedDict", [[["a", 1]]], {"a": 1}),
        ("collections.Counter", [{"a": 2}], {"a": 2}),
        ("torch.Size", [(2, 3)], (2, 3)),
        ("mmengine.config.config.ConfigDict", [{"a": {"b": 1}}], {"a": {"b": 1}}),
    ],
)
def test_containers_by_call(tmp_path: Path, asm, name: str, args: list[Any], expected: Any) -> None:
    assert read_value(asm, tmp_path, asm.call(name, *map(asm.value, args))) == expected


def test_containers_of_unknown_classes_that_are_filled(tmp_path: Path, asm) -> None:
    items = asm.call("collections.defaultdict", asm.name("a.Factory")) + asm.value("k") + asm.value(2) + b"s"
    assert read_value(asm, tmp_path, items) == {"k": 2}
    elements = asm.call("some.List") + b"(" + asm.value(1) + asm.value(2) + b"e"
    assert read_value(asm, tmp_path, elements) == [1, 2]


def test_a_class_alone_is_not_built(tmp_path: Path, asm) -> None:
    value = read_value(asm, tmp_path, asm.name("a.b.C"))
    assert isinstance(value, StandIn)
    assert repr(value) == "<'a.b.C' object of the checkpoint, not built>"


@pytest.mark.parametrize(
    ("name", "args"), [("collections.OrderedDict", [[1, 2]]), ("collections.OrderedDict", [3]), ("torch.Size", [3])]
)
def test_containers_by_calls_that_fail(tmp_path: Path, asm, name: str, args: list[Any]) -> None:
    with pytest.raises(CheckpointError, match=r"a\.pth.*nothing in it was run"):
        read_value(asm, tmp_path, asm.call(name, *map(asm.value, args)))


def test_the_first_function_that_rebuilt_tensors(tmp_path: Path, asm) -> None:
    """PyTorch before 0.4: no gradient and no hooks among the arguments."""
    described = [asm.value(part) for part in (0, (2, 3), (3, 1))]
    tensor = asm.call("torch._utils._rebuild_tensor", asm.storage(6), *described)
    state = read_checkpoint(asm.write(tmp_path / "a.pth", asm.items({"a": tensor}))).state_dict
    assert state["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
