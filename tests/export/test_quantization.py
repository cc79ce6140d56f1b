"""Networks with weights of 8 bits."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import hfpose
from hfpose.cli import app
from hfpose.errors import ConfigError, InputError
from hfpose.export import quantization
from hfpose.export.folders import export_folder
from hfpose.export.samples import make_samples
from hfpose.media.images import save_image
from small_models import small_model


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(quantization, "_CALIBRATION_SAMPLES", 3)
    monkeypatch.setattr(quantization, "_MEASURED_SAMPLES", 2)


def pictures(folder, count):
    for seed in range(count):
        image = np.random.default_rng(seed).integers(0, 256, (80, 60, 3), dtype=np.uint8)
        save_image(folder / f"{seed}.png", image)
    return folder


@pytest.mark.parametrize(("name", "mode", "unit"), [
    ("rtmpose", "static", "px"), ("rtmdet", "static", "px"), ("vitpose", "dynamic", "px"), ("motionbert", "dynamic", "m"),
])  # fmt: skip
def test_the_error_is_measured_and_written_down(name, mode, unit, tmp_path):
    model, processor = small_model(name)
    report = export_folder(model, processor, tmp_path, int8=mode).quantization
    assert json.loads((tmp_path / "quantization.json").read_text()) == vars(report)
    assert (report.mode, report.unit, report.measured_on) == (mode, unit, "rendered scenes")
    assert report.bytes == (tmp_path / "model.onnx").stat().st_size
    assert report.largest is None or 0 < report.mean <= report.largest
    assert (report.lost_boxes is None) == (name != "rtmdet")
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert ("QuantizeLinear" if mode == "static" else "DynamicQuantizeLinear") in operators
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.onnx", "config.json", "preprocessor_config.json", "quantization.json",
    }  # fmt: skip


def test_measured_pictures_are_not_those_of_the_calibration(tmp_path):
    model, processor = small_model("rtmpose")
    folder = pictures(tmp_path, 8)
    calibration = list(make_samples(model, processor, 10, folder))
    measured = list(make_samples(model, processor, 10, folder, to_measure=True))
    assert (len(calibration), len(measured)) == (6, 2)
    for one in calibration:
        assert not any(np.array_equal(one.inputs["pixel_values"], other.inputs["pixel_values"]) for other in measured)
    with pytest.raises(InputError, match="has 0 pictures; calibration needs at least 4"):
        make_samples(model, processor, 10, tmp_path / "nothing")


def test_an_exported_folder_with_8_bits_runs(tmp_path):
    (tmp_path / "pictures").mkdir()
    pictures(tmp_path / "pictures", 4)
    model, processor = small_model("rtmpose")
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    arguments = ("--output", tmp_path / "out", "--int8", "static", "--calibration", tmp_path / "pictures")
    done = CliRunner().invoke(app, ["export", *map(str, (tmp_path / "model", *arguments))])
    assert done.exit_code == 0, done.output
    assert "int8 (static), " in done.output
    assert "1 pictures of pictures:" in done.output
    assert "distance: mean " in done.output
    pipe = hfpose.pipeline(model=tmp_path / "out", detector="whole_image", device="cpu", backend="onnxruntime")
    assert pipe(np.zeros((90, 70, 3), np.uint8)).keypoints.shape == (1, 17, 2)


def test_what_would_change_nothing_is_refused(tmp_path):
    model, processor = small_model("rtmdet")
    with pytest.raises(ConfigError, match="dynamic quantization changes nothing"):
        export_folder(model, processor, tmp_path, int8="dynamic")
    with pytest.raises(ConfigError, match="only with int8"):
        export_folder(model, processor, tmp_path, calibration=tmp_path)
    with pytest.raises(ConfigError, match="takes keypoints"):
        make_samples(*small_model("motionbert"), 1, tmp_path)
    assert list(tmp_path.iterdir()) == []
