from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import resource
import struct
import sys
import time
import types
import warnings
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from golden import Golden
from hfpose.checkpoints.reader import read_checkpoint
from hfpose.checkpoints.stand_ins import StandIn
from hfpose.errors import CheckpointError

SERIALIZATIONS = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def save(content: object, path: Path, new: bool = True, protocol: int = 2) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    return path


def weights(seed: int = 0) -> OrderedDict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return OrderedDict(
        {
            "backbone.conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
            "backbone.bn.num_batches_tracked": torch.tensor(seed + 7),
            "head.bias": torch.randn(5, generator=generator),
        }
    )


def assert_same(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype
        assert torch.equal(actual[name], tensor), name


@SERIALIZATIONS
@pytest.mark.parametrize("protocol", [2, 3])
def test_reads_what_torch_saves(tmp_path: Path, new: bool, protocol: int) -> None:
    path = save({"meta": {"epoch": 3}, "state_dict": weights()}, tmp_path / "a.pth", new, protocol)
    checkpoint = read_checkpoint(path)
    assert_same(checkpoint.state_dict, weights())
    assert checkpoint.meta == {"epoch": 3}
    assert (checkpoint.source, checkpoint.weights, checkpoint.weights_key) == (path, "state_dict", "state_dict")
    assert checkpoint.skipped == {}


@SERIALIZATIONS
@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ],
    ids=str,
)
def test_reads_every_type_of_number(tmp_path: Path, new: bool, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype)
    assert_same(read_checkpoint(save({"x": tensor}, tmp_path / "a.pth", new)).state_dict, {"x": tensor})


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.uint16], ids=str)
def test_reads_types_that_have_no_storage_class_of_their_own(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([1, 2, 3]).to(dtype)
    actual = read_checkpoint(save({"x": tensor}, tmp_path / "a.pth")).state_dict["x"]
    assert actual.dtype == dtype
    assert actual.tolist() == tensor.tolist()


@SERIALIZATIONS
def test_reads_views_as_they_were(tmp_path: Path, new: bool) -> None:
    whole = torch.arange(24.0).view(4, 6)
    views = {"part": whole[1:3, 2:5], "turned": whole.T, "scalar": whole[0, 0], "empty": whole[:0], "whole": whole}
    checkpoint = read_checkpoint(save(views, tmp_path / "a.pth", new))
    assert_same(checkpoint.state_dict, views)
    assert checkpoint.state_dict["part"].data_ptr() == checkpoint.state_dict["whole"][1:, 2:].data_ptr()


@SERIALIZATIONS
def test_reads_parameters_and_strips_gradients(tmp_path: Path, new: bool) -> None:
    model = torch.nn.Linear(3, 2)
    model.weight.note = "an attribute"  # type: ignore[assignment]
    checkpoint = read_checkpoint(save({"state_dict": dict(model.named_parameters())}, tmp_path / "a.pth", new))
    assert torch.equal(checkpoint.state_dict["weight"], model.weight)
    assert not checkpoint.state_dict["weight"].requires_grad


def test_tensors_that_share_memory_are_stored_and_read_once(tmp_path: Path) -> None:
    shared = torch.randn(8)
    state = read_checkpoint(save({"a": shared, "b": shared}, tmp_path / "a.pth")).state_dict
    assert state["a"].data_ptr() == state["b"].data_ptr()


@SERIALIZATIONS
def test_meta_keeps_numpy_values_and_containers(tmp_path: Path, new: bool) -> None:
    meta = {
        "sigmas": np.array([[0.25, 0.5]], np.float32),
        "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big_endian": np.array([1, 2], ">i4"),
        "names": np.array(["left", "right"]),
        "none": np.zeros((0, 2)),
        "no_names": np.array([], "U3"),
        "mean": np.float32(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "pairs": {"a": (1, 2), "b": {"x", "y"}, "c": [None, 1.5, b"raw"]},
        "tensor": torch.arange(3),
    }
    actual = read_checkpoint(save({"meta": meta, "state_dict": weights()}, tmp_path / "a.pth", new)).meta
    assert list(actual) == list(meta)
    for key in ("sigmas", "turned", "big_endian", "names", "none", "no_names"):
        np.testing.assert_array_equal(actual[key], meta[key])
        actual[key][...] = actual[key]  # writable
    assert (actual["mean"], actual["count"], actual["flag"]) == (0.5, 3, True)
    assert actual["pairs"] == meta["pairs"]
    assert actual["tensor"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("old", "new"), [(b"numpy._core.", b"numpy.core."), (b"numpy.core.", b"numpy._core.")])
def test_numpy_values_of_numpy_1_and_2(tmp_path: Path, old: bytes, new: bytes) -> None:
    buffer = io.BytesIO()
    torch.save({"meta": {"a": np.arange(3.0), "b": np.float32(2)}, "state_dict": weights()}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(tmp_path / "a.pth", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(old, new))
    assert new in (tmp_path / "a.pth").read_bytes()
    meta = read_checkpoint(tmp_path / "a.pth").meta
    assert meta["a"].tolist() == [0, 1, 2]
    assert meta["b"] == 2


@SERIALIZATIONS
def test_classes_that_are_not_installed_are_not_built(
    tmp_path: Path, new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("mmengine_of_the_trainer")
    for name, base in (("HistoryBuffer", object), ("ConfigDict", dict)):
        setattr(module, name, type(name, (base,), {"__module__": module.__name__}))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    history, config = module.HistoryBuffer(), module.ConfigDict(lr=0.1)  # type: ignore[attr-defined]
    history.values = np.arange(3)
    content = {
        "meta": {"config": config, "history": history},
        "state_dict": weights(),
        "message_hub": {"loss": history},
    }
    save(content, tmp_path / "a.pth", new)
    monkeypatch.delitem(sys.modules, module.__name__)

    checkpoint = read_checkpoint(tmp_path / "a.pth")
    assert_same(checkpoint.state_dict, weights())
    assert checkpoint.meta["config"] == {"lr": 0.1}
    assert isinstance(checkpoint.meta["history"], StandIn)
    assert "mmengine_of_the_trainer.HistoryBuffer" in repr(checkpoint.meta["history"])
    assert module.__name__ not in sys.modules


def test_only_the_chosen_weights_are_kept(tmp_path: Path) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(2**24)}}}
    path = save({"state_dict": weights(), "optimizer": optimizer}, tmp_path / "a.pth")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_same(read_checkpoint(path).state_dict, weights())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15  # of 2**16 kilobytes


def test_weights_outlive_their_file(tmp_path: Path) -> None:
    path = save({"state_dict": weights()}, tmp_path / "a.pth")
    state = read_checkpoint(path).state_dict
    path.write_bytes(bytes(path.stat().st_size))
    assert_same(state, weights())


def test_classes_that_the_process_trusts_are_not_built_either(tmp_path: Path) -> None:
    content = {"meta": {"x": Thing()}, "state_dict": weights()}
    with torch.serialization.safe_globals([Thing]):
        assert isinstance(read_checkpoint(save(content, tmp_path / "a.pth")).meta["x"], StandIn)
        assert Thing in torch.serialization.get_safe_globals()


class Thing:
    """A class of the process."""


def test_reads_in_several_threads(tmp_path: Path) -> None:
    save({"meta": {"x": Path("a"), "y": Thing()}, "state_dict": weights()}, tmp_path / "a.pth")
    with ThreadPoolExecutor(4) as pool:
        for checkpoint in pool.map(read_checkpoint, [tmp_path / "a.pth"] * 20):
            assert_same(checkpoint.state_dict, weights())


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_finds_the_weights_by_key(tmp_path: Path, key: str) -> None:
    checkpoint = read_checkpoint(save({key: weights(), "epoch": 2}, tmp_path / "a.pth"))
    assert_same(checkpoint.state_dict, weights())
    assert checkpoint.weights_key == key


def test_a_file_of_bare_weights(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(weights(), tmp_path / "a.pth"))
    assert_same(checkpoint.state_dict, weights())
    assert (checkpoint.weights_key, checkpoint.meta) == ("", {})


def test_arrays_as_weights(tmp_path: Path) -> None:
    state = read_checkpoint(save({"model": {"a": np.arange(4.0)}}, tmp_path / "a.pth")).state_dict
    assert torch.equal(state["a"], torch.arange(4.0, dtype=torch.float64))


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({f"module.{name}": tensor for name, tensor in weights().items()}, path, metadata={"format": "pt"})
    checkpoint = read_checkpoint(path)
    assert_same(dict(sorted(checkpoint.state_dict.items())), dict(sorted(weights().items())))
    assert checkpoint.meta == {"format": "pt"}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_prefix_of_a_wrapper_is_stripped(tmp_path: Path, prefix: str) -> None:
    wrapped = {f"{prefix}{name}": tensor for name, tensor in weights().items()}
    assert_same(read_checkpoint(save({"state_dict": wrapped}, tmp_path / "a.pth")).state_dict, weights())


def test_a_part_called_module_is_kept(tmp_path: Path) -> None:
    state = {"module.a": torch.ones(1), "head.b": torch.ones(1)}
    assert list(read_checkpoint(save(state, tmp_path / "a.pth")).state_dict) == ["module.a", "head.b"]


def test_average_of_a_training_checkpoint_of_mmengine(tmp_path: Path) -> None:
    """Its hook swaps while it saves: `state_dict` has the average, `ema_state_dict` the raw weights for resuming."""
    raw = {f"module.{name}": tensor for name, tensor in weights(1).items()} | {"steps": torch.tensor(100)}
    checkpoint = read_checkpoint(save({"state_dict": weights(0), "ema_state_dict": raw}, tmp_path / "a.pth"))
    assert_same(checkpoint.state_dict, weights(0))
    assert (checkpoint.weights, checkpoint.weights_key) == ("ema", "state_dict")


@pytest.mark.parametrize("key", ["ema_state_dict", "state_dict_ema", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_average_that_has_an_entry_of_its_own(tmp_path: Path, key: str, prefix: str) -> None:
    average = {f"{prefix}{name}": tensor for name, tensor in weights(1).items()}
    checkpoint = read_checkpoint(save({"state_dict": weights(0), key: average}, tmp_path / "a.pth"))
    assert_same(checkpoint.state_dict, weights(1))
    assert (checkpoint.weights, checkpoint.weights_key) == ("ema", key)


def test_average_alone_loses_its_counter(tmp_path: Path) -> None:
    average = {f"module.{name}": tensor for name, tensor in weights().items()} | {"steps": torch.tensor(1)}
    checkpoint = read_checkpoint(save({"ema_state_dict": average}, tmp_path / "a.pth"))
    assert_same(checkpoint.state_dict, weights())


def test_average_of_a_training_checkpoint_of_mmcv_1(tmp_path: Path) -> None:
    """Its hook, too, swaps, and keeps the raw weights as buffers of the model."""
    buffers = {f"ema_{name.replace('.', '_')}": tensor for name, tensor in weights(1).items()}
    checkpoint = read_checkpoint(save({"state_dict": weights(0) | buffers}, tmp_path / "a.pth"))
    assert_same(checkpoint.state_dict, weights(0))
    assert checkpoint.weights == "ema"


def test_entries_that_are_no_tensors_are_left_out_by_name(tmp_path: Path) -> None:
    state = weights() | {"extra_state": {"scale": 2}, "path": Path("x")}  # type: ignore[dict-item]
    checkpoint = read_checkpoint(save({"state_dict": state}, tmp_path / "a.pth"))
    assert_same(checkpoint.state_dict, weights())
    assert checkpoint.skipped.keys() == {"extra_state", "path"}
    assert "pathlib" in checkpoint.skipped["path"]


def test_reading_warns_of_nothing(tmp_path: Path) -> None:
    path = save({"meta": {"a": np.arange(3)}, "state_dict": weights()}, tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_checkpoint(path)


# Files that are no checkpoints


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        (b"just some notes\nabout a model\n", "text file"),
        (gzip.compress(b"abc"), "compressed archive"),
        (b"x" * 257 + b"ustar" + b"\0" * 300, "PyTorch 0.1"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "HDF5"),
        (bytes(range(200, 250)) * 3, "no known format"),
        (pickle.dumps({"a": 1}, 2), "not one of torch.save"),
        (b"\x80", "malformed"),
        (b"PK\x03\x04", "cut off or damaged"),
        (b"PK\x05\x06" + b"\0" * 18, "of nothing"),
    ],
    ids=["empty", "html", "lfs", "text", "gzip", "tar", "hdf5", "noise", "pickle", "proto", "zip-start", "empty-zip"],
)
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes, hint: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=hint) as caught:
        read_checkpoint(path)
    assert "model.pth" in str(caught.value)
    assert "Expected a checkpoint" in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match="no regular file"):
        read_checkpoint(tmp_path / "pipe.pth")


@SERIALIZATIONS
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_cut_off_files(tmp_path: Path, new: bool, share: float) -> None:
    path = save({"state_dict": weights()}, tmp_path / "a.pth", new)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"cut off|malformed"):
        read_checkpoint(path)


def test_cut_off_safetensors(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="no valid safetensors"):
        read_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 100) + b'{"a": 1}',
        b"\xff" * 8,
        struct.pack("<Q", 66) + b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,8]}}' + b"\0" * 8,
        struct.pack("<Q", 55) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,80]}}' + b"\0" * 8,
    ],
)
def test_safetensors_with_false_lengths(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="no valid safetensors"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = save({"x": torch.full((64,), 3.0)}, tmp_path / "a.pth")
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<2f", 3, 3))] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="Bad CRC"):
        read_checkpoint(path)


def test_files_saved_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = save(weights(), tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same(read_checkpoint(path).state_dict, weights())


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"torch.nn.modules.linear.Linear.*state_dict"):
        read_checkpoint(save(torch.nn.Linear(2, 2), tmp_path / "a.pth"))


def test_torchscript_is_refused(tmp_path: Path, asm) -> None:
    path = asm.write(tmp_path / "a.pth", asm.items({"x": asm.tensor()}), **{"constants.pkl": b"\x80\x02)."})
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(path)


def test_content_without_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights .*'epoch'.*looked for state_dict"):
        read_checkpoint(save({"epoch": 3}, tmp_path / "a.pth"))


def test_quantized_weights_are_refused_by_name(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch gives them up
        quantized = torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8)
    with pytest.raises(CheckpointError, match="quantized"):
        read_checkpoint(save({"state_dict": {"head.weight": quantized}}, tmp_path / "a.pth"))


def test_sparse_weights_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"_rebuild_sparse_tensor.*dense"):
        read_checkpoint(save({"a": torch.ones(1), "head.weight": torch.eye(2).to_sparse()}, tmp_path / "a.pth"))


# The hash of a file


def test_the_hash_in_a_file_name_is_checked(tmp_path: Path) -> None:
    data = save(weights(), tmp_path / "a.pth").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    good = tmp_path / f"rtmpose-m_coco-256x192-{digest[:8]}_20230504.pth"
    good.write_bytes(data)
    assert_same(read_checkpoint(good).state_dict, weights())
    wrong = tmp_path / f"rtmpose-m_coco-256x192-{'0a0a0a0a'}_20230504.pth"
    wrong.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"by its file name, with 0a0a0a0a, but is {digest[:16]}.*not read"):
        read_checkpoint(wrong)


def test_a_given_hash_is_checked(tmp_path: Path) -> None:
    path = save(weights(), tmp_path / "a-0a0a0a0a.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert_same(read_checkpoint(path, sha256_prefix=digest[:7].upper()).state_dict, weights())
    with pytest.raises(CheckpointError, match="expected to start with deadbeef"):
        read_checkpoint(path, sha256_prefix="deadbeef")


def test_the_hash_is_checked_before_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a-0a0a0a0a.pth"
    path.write_bytes(b"<html>Not found</html>")
    with pytest.raises(CheckpointError, match=r"SHA-256.*web page"):
        read_checkpoint(path)


# Files that attack


class Attack:
    """Unpickles by running a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def attacks(asm, marker: Path) -> dict[str, bytes]:
    """Programs that would make the file `marker` if anything ran them."""
    code = f"open({str(marker)!r}, 'w').close()"
    command = f"touch {marker}"
    return {
        "system": asm.call("os.system", asm.value(command)),
        "posix": asm.call("posix.system", asm.value(command)),
        "exec": asm.call("builtins.exec", asm.value(code)),
        "exec of Python 2": asm.call("__builtin__.exec", asm.value(code)),
        "eval": asm.call("builtins.eval", asm.value(code)),
        "popen": asm.call("subprocess.Popen", asm.value(["touch", str(marker)])),
        "getattr": asm.call("builtins.getattr", asm.name("os.path"), asm.value("os")),
        "dotted": b"\x8c\x05torch" + b"\x8c\x17serialization.os.system\x93" + b"(" + asm.value(command) + b"tR",
        "chain": asm.call("builtins.getattr", asm.call("builtins.__import__", asm.value("os")), asm.value("system"))
        + b"("
        + asm.value(command)
        + b"tR",
        "instance": b"(" + asm.value(command) + b"ios\nsystem\n",
        "object": b"(" + asm.name("os.system") + asm.value(command) + b"o",
        "new": asm.name("os.system") + b"(" + asm.value(command) + b"t\x81",
        "new with keywords": asm.name("os.system") + b"(" + asm.value(command) + b"t}\x92",
        "codec": asm.call("_codecs.encode", asm.value(code), asm.value("rot13")),
        "load": asm.call("torch.load", asm.value(str(marker))),
        "nested": asm.call("torch.storage._load_from_bytes", asm.value(code)),
        "hub": asm.call("torch.hub.load", asm.value("a/b"), asm.value("c")),
        "numpy": asm.call("numpy.testing._private.utils.runstring", asm.value(code), asm.value({})),
        "state": asm.call("torch.nn.Module") + asm.value({"__setstate__": 1, "__class__": 2}) + b"b",
        "type": asm.call("builtins.type", asm.value("A"), asm.value(()), asm.value({})),
        "copyreg": asm.call("copyreg._reconstructor", asm.name("os.system"), asm.name("builtins.object"), b"N"),
        "defaultdict": asm.call("collections.defaultdict", asm.name("os.system")),
        "partial": asm.call("functools.partial", asm.name("os.system"), asm.value(command)) + b"(tR",
    }


def test_the_attacks_are_real(tmp_path: Path, asm) -> None:
    marker = tmp_path / "marker"
    for name in ("system", "exec", "popen", "chain", "instance", "partial"):
        pickle.loads(b"\x80\x02" + attacks(asm, marker)[name] + b".")
        for _ in range(200 if name == "popen" else 1):
            if marker.exists():
                break
            time.sleep(0.01)
        marker.unlink()


REFUSED = {
    "system": "acts on the machine",
    "posix": "acts on the machine",
    "getattr": "acts on the machine",
    "chain": "calls the object",
    "dotted": "SHORT_BINUNICODE",
    "instance": "the instruction INST",
    "object": "acts on the machine",
    "new": "acts on the machine",
    "new with keywords": "acts on the machine",
    "codec": "encodes text",
    "copyreg": "acts on the machine",
    "defaultdict": "acts on the machine",
    "partial": "acts on the machine",
}


@pytest.mark.parametrize("place", ["meta", "state_dict"])
def test_attacks_run_nothing(tmp_path: Path, asm, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "marker"
    touched: list[str] = []
    monkeypatch.setattr(os, "system", touched.append)
    for name, attack in attacks(asm, marker).items():
        entries = {"state_dict": {"a": asm.tensor()}, "meta": {"b": asm.value(1)}}
        entries[place]["x"] = attack
        path = asm.write(tmp_path / "a.pth", asm.items({key: asm.items(value) for key, value in entries.items()}))
        if name in REFUSED:
            with pytest.raises(CheckpointError, match=REFUSED[name]):
                read_checkpoint(path)
        else:
            checkpoint = read_checkpoint(path)
            assert checkpoint.state_dict["a"].tolist() == [[0, 1, 2], [3, 4, 5]], name
            assert "not built" in (checkpoint.skipped["x"] if place == "state_dict" else repr(checkpoint.meta["x"]))
    assert not touched
    assert not marker.exists()


@SERIALIZATIONS
def test_an_attack_by_torch_save(tmp_path: Path, new: bool) -> None:
    content = {"meta": {"x": Attack(tmp_path / "marker")}, "state_dict": weights()}
    with pytest.raises(CheckpointError, match=r"posix.system.*nothing in it was run"):
        read_checkpoint(save(content, tmp_path / "a.pth", new))
    assert not (tmp_path / "marker").exists()


def test_state_of_a_tensor_is_refused(tmp_path: Path, asm) -> None:
    program = asm.items({"a": asm.tensor() + asm.value({"data": 1}) + b"b"})
    with pytest.raises(CheckpointError, match="sets the state of a tensor"):
        read_checkpoint(asm.write(tmp_path / "a.pth", program))


def test_attributes_of_a_dict_do_not_hide_its_items(tmp_path: Path, asm) -> None:
    hidden = asm.call("collections.OrderedDict") + b"(" + asm.value("a") + asm.tensor() + b"u"
    shadow = asm.items({"items": asm.name("torch.Size"), "keys": asm.name("a.b")})
    state = read_checkpoint(asm.write(tmp_path / "a.pth", hidden + shadow + b"b")).state_dict
    assert state["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "call",
    [("builtins.bytearray", 2**40), ("torch.storage.UntypedStorage", 2**40), ("torch.FloatTensor", 2**40)],
    ids=str,
)
def test_what_takes_memory_by_a_number_is_not_called(tmp_path: Path, asm, call: tuple[str, int]) -> None:
    program = asm.items({"a": asm.tensor(), "x": asm.call(call[0], asm.value(call[1]))})
    with pytest.raises(CheckpointError, match=f"it holds a '{call[0]}'"):
        read_checkpoint(asm.write(tmp_path / "a.pth", program))


def view_of_a_storage(asm, start: int, length: int, key: str) -> bytes:
    """A storage of 2**16 numbers as files of before PyTorch 1.6 refer to a part of it."""
    kind = asm.name("torch.FloatStorage")
    parts = [asm.value("storage"), kind, *map(asm.value, ("0", "cpu", 2**16, (key, start, length)))]
    return b"(" + b"".join(parts) + b"tQ"


def legacy_file(path: Path, program: bytes) -> Path:
    system = {"little_endian": True}
    start = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system))
    numbers = np.arange(2**16, dtype=np.float32).tobytes()
    path.write_bytes(
        start + b"\x80\x02" + program + b"." + pickle.dumps(["0"], 2) + struct.pack("<q", 2**16) + numbers
    )
    return path


def test_views_of_the_old_serialization(tmp_path: Path, asm) -> None:
    tensor = asm.tensor(storage=view_of_a_storage(asm, 100, 6, "1"))
    state = read_checkpoint(legacy_file(tmp_path / "a.pth", asm.items({"a": tensor}))).state_dict
    assert state["a"].tolist() == [[100, 101, 102], [103, 104, 105]]


@pytest.mark.parametrize(("start", "length", "key"), [(2**16 - 5, 6, "1"), (0, 2**40, "1"), (0, 6, "0"), (-1, 6, "1")])
def test_views_that_lie(tmp_path: Path, asm, start: int, length: int, key: str) -> None:
    tensor = asm.tensor(storage=view_of_a_storage(asm, start, length, key))
    with pytest.raises(CheckpointError, match="view"):
        read_checkpoint(legacy_file(tmp_path / "a.pth", asm.items({"a": tensor})))


def test_views_that_repeat_a_storage_without_end(tmp_path: Path, asm) -> None:
    tensors = {f"a{i}": asm.tensor(storage=view_of_a_storage(asm, i, 2**16 - i, f"view {i}")) for i in range(100)}
    with pytest.raises(CheckpointError, match="repeat the same"):
        read_checkpoint(legacy_file(tmp_path / "a.pth", asm.items(tensors)))


def test_legacy_storages_that_lie(tmp_path: Path) -> None:
    data = save({"a": torch.full((6,), 3.0)}, tmp_path / "a.pth", new=False).read_bytes()
    length = struct.pack("<q", 6) + struct.pack("<f", 3)
    for false in (2**62, -1, 7, 5):
        (tmp_path / "b.pth").write_bytes(data.replace(length, struct.pack("<q", false) + struct.pack("<f", 3)))
        with pytest.raises(CheckpointError, match="another length"):
            read_checkpoint(tmp_path / "b.pth")


def test_compressed_entries_are_refused_unread(tmp_path: Path, asm) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + asm.items({"a": asm.tensor()}) + b".")
        archive.writestr("archive/data/0", bytes(50_000_000))
    with pytest.raises(CheckpointError, match="compressed parts"):
        read_checkpoint(path)


def test_a_directory_that_claims_more_than_the_file_has(tmp_path: Path, asm) -> None:
    path = asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor()}))
    data = path.read_bytes()
    end = data.rindex(b"archive/data/0")
    sizes = struct.pack("<II", 24, 24)
    at = data.rindex(sizes, 0, end)
    path.write_bytes(data[:at] + struct.pack("<II", 0xFFFFFF00, 0xFFFFFF00) + data[at + 8 :])
    with pytest.raises(CheckpointError, match="more bytes than it has"):
        read_checkpoint(path)


def test_entries_that_share_a_name(tmp_path: Path, asm) -> None:
    path = asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor()}))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/0", bytes(24))
    with pytest.raises(CheckpointError, match="two parts of one name"):
        read_checkpoint(path)


def test_archives_inside_are_not_followed(tmp_path: Path, asm) -> None:
    inner = asm.write(tmp_path / "inner.pth", asm.items({"a": asm.tensor()}))
    with zipfile.ZipFile(tmp_path / "outer.pth", "w") as archive:
        archive.write(inner, "model/inner.pth")
    with pytest.raises(CheckpointError, match=r"inner.pth.*not followed"):
        read_checkpoint(tmp_path / "outer.pth")


def test_two_pickles_are_refused(tmp_path: Path, asm) -> None:
    path = asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor()}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"\x80\x02N.")
    with pytest.raises(CheckpointError, match="zip archive, but of"):
        read_checkpoint(path)


def test_other_byte_order_is_refused(tmp_path: Path, asm) -> None:
    path = asm.write(tmp_path / "a.pth", asm.items({"a": asm.tensor()}), byteorder=b"big")
    with pytest.raises(CheckpointError, match="byte order"):
        read_checkpoint(path)


def test_meta_that_repeats_without_end(tmp_path: Path, asm) -> None:
    doubled = b"]q\x00" + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    content = asm.items({"state_dict": asm.items({"a": asm.tensor()}), "meta": asm.items({"x": b"h\xff"})})
    with pytest.raises(CheckpointError, match="without end"):
        read_checkpoint(asm.write(tmp_path / "a.pth", doubled + b"q\xff" + content))


def test_meta_that_contains_itself(tmp_path: Path, asm) -> None:
    meta = b"}q\x07" + asm.value("self") + b"h\x07s"
    program = asm.items({"state_dict": asm.items({"a": asm.tensor()}), "meta": meta})
    with pytest.raises(CheckpointError, match="without end"):
        read_checkpoint(asm.write(tmp_path / "a.pth", program))


def test_names_cannot_write_to_the_terminal(tmp_path: Path, asm) -> None:
    program = asm.items({"\x1b[2Jepoch": asm.value(1)})
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(asm.write(tmp_path / "a.pth", program))
    assert "\x1b" not in str(caught.value)


# The reference's own layout


@SERIALIZATIONS
def test_a_checkpoint_as_the_reference_writes_it(tmp_path: Path, new: bool) -> None:
    golden = Golden("detect", "rtmdet_nano_320-8xb32_hand")
    checkpoint = read_checkpoint(golden.write_checkpoint(tmp_path / "a.pth", legacy=not new))
    assert_same(checkpoint.state_dict, golden.state_dict())
    assert checkpoint.meta["dataset_meta"]["sigmas"].tolist() == [1, 1, 1]


def test_the_real_detector(shared: Path) -> None:
    checkpoint = read_checkpoint(shared / "weights/rtmdet_nano_person_folded.pth")
    assert checkpoint.meta["dataset_meta"]["classes"] == ("person",)
    assert len(checkpoint.state_dict) > 500
