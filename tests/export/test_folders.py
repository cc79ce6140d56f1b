"""Folders with an ONNX file and all that belongs to it."""

from __future__ import annotations

import json

import pytest
from transformers import AutoConfig, AutoImageProcessor
from typer.testing import CliRunner

from hfpose.cli import app
from hfpose.errors import ConfigError
from hfpose.export.folders import export_folder
from small_models import small_model


def saved(name, folder):
    model, processor = small_model(name)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_the_folder_holds_the_graph_and_the_json_files(tmp_path):
    model, processor = small_model("rtmpose")
    written = export_folder(model, processor, tmp_path / "out")
    names = {path.name for path in written.folder.iterdir()}
    assert names == {"model.onnx", "config.json", "preprocessor_config.json"}
    assert AutoConfig.from_pretrained(written.folder).keypoint_schema == model.config.keypoint_schema
    assert AutoImageProcessor.from_pretrained(written.folder).size == processor.size


def test_what_goes_wrong_leaves_nothing_behind(tmp_path):
    model, processor = small_model("rtmpose")
    with pytest.raises(ConfigError, match="finds no boxes"):
        export_folder(model, processor, tmp_path / "out", with_nms=True)
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        export_folder(model, processor, tmp_path / "file")


def test_the_command_writes_the_folder_and_says_how_exact_it_is(tmp_path):
    folder = saved("rtmdet", tmp_path / "model")
    done = CliRunner().invoke(app, ["export", str(folder), "--output", str(tmp_path / "out"), "--with-nms"])
    assert done.exit_code == 0, done.output
    assert "logits: " in done.output
    assert "pred_boxes: " in done.output
    assert "of torch's boxes" in done.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.onnx", "end2end.onnx", "config.json", "preprocessor_config.json"}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "rtmdet"


def test_a_whole_pipeline_is_refused_with_the_name_of_a_part(tiny_pose, tmp_path):
    import hfpose

    hfpose.pipeline(model=tiny_pose, detector="whole_image", device="cpu").save_pretrained(tmp_path / "pipe")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "pipe")])
    assert isinstance(done.exception, ConfigError)
    assert str(tmp_path / "pipe" / "pose") in str(done.exception)
