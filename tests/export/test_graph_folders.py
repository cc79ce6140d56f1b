"""Folders with an ONNX file and all that belongs to it."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor
from typer.testing import CliRunner

from hfpose.backends.graph_files import read_description
from hfpose.backends.onnx_graphs import example_inputs
from hfpose.cli import app
from hfpose.errors import CheckpointError, ConfigError
from hfpose.export.graph_folders import export_folder
from small_models import save_model, small_lifter, small_model


def test_the_folder_holds_the_graph_and_the_json_files(tmp_path):
    model, processor = small_model("rtmpose")
    written = export_folder(model, processor, tmp_path / "out")
    names = {path.name for path in written.folder.iterdir()}
    assert names == {"model.onnx", "graph.json", "config.json", "preprocessor_config.json"}
    assert AutoConfig.from_pretrained(written.folder).keypoint_schema == model.config.keypoint_schema
    assert AutoImageProcessor.from_pretrained(written.folder).size == processor.size


def test_what_goes_wrong_leaves_nothing_behind(tmp_path):
    model, processor = small_model("rtmpose")
    with pytest.raises(ConfigError, match="finds no boxes"):
        export_folder(model, processor, tmp_path / "out", with_nms=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        export_folder(model, processor, tmp_path / "file")


def test_an_export_takes_the_place_of_an_earlier_one_whole(tmp_path):
    model, processor = small_model("heatmap")
    export_folder(model, processor, tmp_path)
    (tmp_path / "end2end.onnx").write_bytes(b"of an earlier export")
    graph = (tmp_path / "model.onnx").read_bytes()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="computes something else than torch"):
        export_folder(model, processor, tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == graph
    read_description(tmp_path)
    export_folder(*small_model("simcc"), tmp_path)
    assert not (tmp_path / "end2end.onnx").exists()


@pytest.mark.parametrize(
    "make",
    [
        partial(small_model, "heatmap"),
        small_lifter,
        *(
            pytest.param(partial(small_model, name), marks=pytest.mark.slow)
            for name in ("rtmpose", "motionbert", "associative_embedding")
        ),
    ],
)
def test_programs_of_torch_take_any_number_of_images(make, tmp_path):
    model, processor = make()
    export_folder(model, processor, tmp_path, format="torch")
    inputs = example_inputs(model, processor, 4, seed=4)
    found = torch.export.load(tmp_path / "model.pt2").module()(inputs)
    with torch.inference_mode():
        expected = model(**inputs)
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-3)


def test_eight_bits_and_suppression_are_for_onnx(tmp_path):
    with pytest.raises(ConfigError, match="are for format='onnx', not 'torch'"):
        export_folder(*small_model("rtmdet"), tmp_path / "out", format="torch", with_nms=True)
    with pytest.raises(ConfigError, match="opset 12 is a version of ONNX's operators"):
        export_folder(*small_model("rtmdet"), tmp_path / "out", format="torch", opset=12)


def test_the_command_writes_the_folder_and_says_how_exact_it_is(tmp_path):
    folder = save_model("rtmdet", tmp_path / "model")
    done = CliRunner().invoke(app, ["export", str(folder), "--output", str(tmp_path / "out"), "--with-nms"])
    assert done.exit_code == 0, done.output
    assert "logits: " in done.output
    assert "pred_boxes: " in done.output
    assert "of torch's boxes" in done.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.onnx", "end2end.onnx", "graph.json", "config.json", "preprocessor_config.json"}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "rtmdet"


def test_of_a_whole_pipeline_the_part_of_the_task_is_written(tmp_path, monkeypatch):
    models = []
    monkeypatch.setattr("hfpose.export.graph_folders.export_folder", lambda model, *_, **options: models.append(model))
    for more in ([], ["--task", "detector"]):
        CliRunner().invoke(app, ["export", "demo", *more])
    assert [model.config.model_type for model in models] == ["rtmpose", "rtmdet"]
