"""From checkpoints of the reference to folders that load."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import hfpose
from file_server import FileServer
from golden import FOLDERS, Golden
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import CheckpointError, DownloadError, UnknownModelError
from hfpose.hub.zoo import list_entries

HAND = "rtmdet_nano_320-8xb32_hand"
BODY = "rtmpose-m_8xb256-420e_body8-256x192"
SUPPORTED = [entry for entry in list_entries() if entry.supported]
ONE_OF_EACH_FAMILY = list({entry.family: entry for entry in SUPPORTED}.values())


@pytest.fixture(scope="module")
def hand() -> Golden:
    return Golden("detect", HAND)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_converted_folder_loads_with_the_same_weights(hand, tmp_path, legacy, caplog):
    checkpoint = hand.write_checkpoint(tmp_path / "checkpoint.pth", legacy)
    folder = hfpose.convert_checkpoint(HAND, checkpoint, tmp_path / "converted")
    assert caplog.records == []  # all entries are tensors
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    model = hfpose.RTMDetForObjectDetection.from_pretrained(folder)
    expected = hand.model().state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert model.config.id2label == {0: "hand"}


def test_the_keypoint_schema_lies_in_the_configuration(tmp_path):
    golden = Golden("pose2d", BODY)
    folder = hfpose.convert_checkpoint(BODY, golden.write_checkpoint(tmp_path / "c.pth"), tmp_path / "converted")
    config = json.loads((folder / "config.json").read_text())
    assert config["keypoint_schema"]["keypoint_names"][0] == config["id2label"]["0"] == "nose"
    processor = hfpose.RTMPoseImageProcessor.from_pretrained(folder)
    assert processor.size == {"height": 256, "width": 192}
    assert processor.flip_test is True


def test_metadata_of_classes_that_are_not_installed(hand, tmp_path):
    class HistoryBuffer:
        def __init__(self):
            self.values = np.ones(3)

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = "mmengine_not_here.logging", "HistoryBuffer"
    import sys
    import types

    module = types.ModuleType("mmengine_not_here.logging")
    module.HistoryBuffer = HistoryBuffer
    sys.modules["mmengine_not_here"] = types.ModuleType("mmengine_not_here")
    sys.modules["mmengine_not_here.logging"] = module
    try:
        torch.save({"state_dict": hand.state_dict(), "message_hub": HistoryBuffer()}, tmp_path / "c.pth")
    finally:
        del sys.modules["mmengine_not_here.logging"], sys.modules["mmengine_not_here"]
    hfpose.convert_checkpoint(HAND, tmp_path / "c.pth", tmp_path / "converted")
    assert (tmp_path / "converted" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("backbone.stem.0.conv.weight"), "1 missing: backbone.stem.0.conv.weight"),
        (lambda state: state.update(surplus=torch.zeros(1)), "1 unexpected: surplus"),
        (
            lambda state: state.update({"bbox_head.rtm_cls.0.bias": torch.zeros(79)}),
            r"1 of another shape: head.class_predictions.0.bias \(79,\) instead of \(1,\)",
        ),
    ],
)
def test_wrong_tensors_are_named(hand, tmp_path, change, reason):
    state = hand.state_dict()
    change(state)
    torch.save({"state_dict": state}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=reason):
        hfpose.convert_checkpoint(HAND, tmp_path / "c.pth", tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_what_is_no_tensor_is_left_out_and_named(hand, tmp_path, caplog):
    torch.save({"state_dict": {**hand.state_dict(), "trained_for": 600, "notes": ["a", "b"]}}, tmp_path / "c.pth")
    folder = hfpose.convert_checkpoint(HAND, tmp_path / "c.pth", tmp_path / "converted")
    assert [record.getMessage() for record in caplog.records] == [
        "c.pth has entries among its weights that are no tensors, and are left out: trained_for (int), notes (list)."
    ]
    model = hfpose.RTMDetForObjectDetection.from_pretrained(folder)
    assert model.state_dict().keys() == hand.model().state_dict().keys()


def test_a_checkpoint_of_another_model(hand, tmp_path):
    checkpoint = hand.write_checkpoint(tmp_path / "hand.pth")
    with pytest.raises(CheckpointError, match=r"tensors of hand\.pth are not those of rtmpose-m_8xb256"):
        hfpose.convert_checkpoint(BODY, checkpoint, tmp_path / "converted")


def test_a_cut_off_checkpoint(hand, tmp_path):
    checkpoint = hand.write_checkpoint(tmp_path / "c.pth")
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError):
        hfpose.convert_checkpoint(HAND, checkpoint, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_counters_that_an_exporter_left_out_are_filled_in(hand, tmp_path):
    state = {name: tensor for name, tensor in hand.state_dict().items() if "num_batches" not in name}
    torch.save({"state_dict": state}, tmp_path / "c.pth")
    folder = hfpose.convert_checkpoint(HAND, tmp_path / "c.pth", tmp_path / "converted")
    assert hfpose.RTMDetForObjectDetection.from_pretrained(folder)


def test_converting_again_replaces_the_folder(hand, tmp_path):
    checkpoint = hand.write_checkpoint(tmp_path / "c.pth")
    folder = hfpose.convert_checkpoint(HAND, checkpoint, tmp_path / "converted")
    (folder / "README.md").write_text("my notes")
    hfpose.convert_checkpoint(HAND, checkpoint, folder)
    assert (folder / "README.md").read_text() == "my notes"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_alias_of_two_tasks_must_be_told_apart(tmp_path):
    with pytest.raises(UnknownModelError, match="task='pose'"):
        hfpose.convert_checkpoint("human", tmp_path / "c.pth", tmp_path / "converted")


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=entry.name, marks=() if entry in ONE_OF_EACH_FAMILY else pytest.mark.slow)
        for entry in SUPPORTED
    ],
)
def test_every_zoo_model_builds_with_the_shapes_of_the_reference(entry):
    source = ModelSource.from_entry(entry)
    config = source.conversion.config_from_reference(source.reference, source.schema)
    with torch.device("meta"):
        model = source.conversion.MODEL_CLASS(config)
    processor = source.conversion.image_processor_from_reference(source.reference)
    if entry.input_size is not None and "width" in processor.size:
        assert (processor.size["width"], processor.size["height"]) == entry.input_size
    spec = spec_path(entry.name)
    if spec is None:
        assert model.num_parameters() > 500_000
        return
    shapes = json.loads(spec.read_text())["state_dict"]
    reference = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    converted = source.conversion.convert_state_dict(reference, config)
    assert {name: tensor.shape for name, tensor in converted.items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }


def spec_path(name: str) -> Path | None:
    """The golden spec of a zoo model, where there is one."""
    found = [path for folder in FOLDERS for path in folder.glob(f"*/{name}.json")]
    return found[0] if found else None


def test_a_name_of_both_lists_is_not_guessed(tmp_path):
    with pytest.raises(UnknownModelError, match="names 2 models"):
        hfpose.convert_checkpoint("face", tmp_path / "c.pth", tmp_path / "converted")


def test_a_checkpoint_that_its_address_does_not_have(tmp_path, monkeypatch):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path / "cache"))
    with FileServer() as server, pytest.raises(DownloadError, match="404"):
        hfpose.convert_checkpoint(HAND, f"{server.url}/missing.pth", tmp_path / "converted")


def test_shared_convolutions_take_the_last_level_as_the_reference_does(shared):
    """A checkpoint repeats them for every level; loading one copy after the other leaves the last."""
    golden = Golden("detect", "rtmdet_m_640-8xb32_coco-person")
    state = golden.state_dict()
    reordered = dict(reversed(state.items()))
    given = build_model(golden.source, reordered, "x").state_dict()["head.class_branch.convs.0.weight"]
    torch.testing.assert_close(given, state["bbox_head.cls_convs.2.0.conv.weight"], rtol=0, atol=0)
