from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfpose.checkpoints.pickles import Placeholder
from hfpose.checkpoints.reader import read_checkpoint
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
        ({"numel": 6, "key": None}, "no text"),
        ({"numel": 6, "kind": "torch.DoubleStorage"}, "claims 6 numbers of torch.float64"),
        ({"numel": 6, "kind": "torch.QInt8Storage"}, "quantized"),
        ({"numel": 6, "kind": "os.FloatStorage"}, "type that PyTorch does not have"),
    ],
)
def test_storages_that_lie(tmp_path: Path, asm, storage: dict, hint: str) -> None:
    program = asm.items({"a": asm.tensor(storage=asm.storage(**storage))})
    with pytest.raises(CheckpointError, match=hint):
        read_checkpoint(asm.write(tmp_path / "a.pth", program))


@pytest.mark.parametrize("persistent_id", ["storage", ("storage",), 3, ("storage", "x", "0", "cpu", 6), None])
def test_persistent_ids_that_are_none_of_pytorch(tmp_path: Path, asm, persistent_id: object) -> None:
    program = asm.items({"a": asm.tensor(storage=asm.value(persistent_id) + b"Q")})
    with pytest.raises(CheckpointError, match=r"refers to a storage|names a storage"):
        read_checkpoint(asm.write(tmp_path / "a.pth", program))


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
    assert isinstance(value, Placeholder)


def test_arrays_of_objects_are_not_built(tmp_path: Path, asm) -> None:
    assert isinstance(read_value(asm, tmp_path, array_program(asm, (1,), "O8", ["x"])), Placeholder)


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
    assert isinstance(read_value(asm, tmp_path, scalar), Placeholder)


@pytest.mark.parametrize("codec", ["zlib", "rot13", "utf-8", "base64"])
def test_codecs_are_not_run(tmp_path: Path, asm, codec: str) -> None:
    program = asm.call("_codecs.encode", asm.value("text"), asm.value(codec))
    assert isinstance(read_value(asm, tmp_path, program), Placeholder)


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("builtins.set", [[1, "a"]], {1, "a"}),
        ("__builtin__.frozenset", [[1]], frozenset({1})),
        ("collections.OrderedDict", [[["a", 1]]], {"a": 1}),
        ("collections.Counter", [{"a": 2}], {"a": 2}),
        ("torch.Size", [(2, 3)], (2, 3)),
        ("builtins.bytes", [], b""),
    ],
)
def test_containers_by_call(tmp_path: Path, asm, name: str, args: list[Any], expected: Any) -> None:
    assert read_value(asm, tmp_path, asm.call(name, *map(asm.value, args))) == expected


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("builtins.bytes", [2**40]),
        ("builtins.bytearray", [2**40]),
        ("builtins.list", [3]),
        ("builtins.set", [[1], 2]),
        ("collections.OrderedDict", [[1, 2]]),
        ("collections.OrderedDict", [3]),
    ],
)
def test_containers_by_unusual_calls_stay_placeholders(tmp_path: Path, asm, name: str, args: list[Any]) -> None:
    assert isinstance(read_value(asm, tmp_path, asm.call(name, *map(asm.value, args))), Placeholder)


def test_the_first_function_that_rebuilt_tensors(tmp_path: Path, asm) -> None:
    """PyTorch before 0.4: no gradient and no hooks among the arguments."""
    described = [asm.value(part) for part in (0, (2, 3), (3, 1))]
    tensor = asm.call("torch._utils._rebuild_tensor", asm.storage(6), *described)
    state = read_checkpoint(asm.write(tmp_path / "a.pth", asm.items({"a": tensor}))).state_dict
    assert state["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_tensor_as_a_storage_or_a_storage_as_a_tensor(tmp_path: Path, asm) -> None:
    with pytest.raises(CheckpointError, match="no storage"):
        read_checkpoint(asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor(storage=asm.tensor())})))
    checkpoint = read_checkpoint(asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor(), "b": asm.storage(6)})))
    assert checkpoint.skipped.keys() == {"b"}
