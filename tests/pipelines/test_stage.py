"""Which stage a model is for, and how it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedConfig, WhisperConfig

import hfpose
from hfpose.checkpoints.own_weights import model_with_own_weights
from hfpose.errors import CheckpointError, ConfigError, HFPoseError, InputError, UnknownModelError
from hfpose.pipelines.stage import load_stage, task_of
from small_models import small_model


def write_folder(folder: Path, config: PreTrainedConfig) -> Path:
    """A folder that looks like a model's; its weights are never read."""
    config.save_pretrained(folder)
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    return folder


def test_names_of_the_zoo_tell_their_task():
    assert task_of("rtmpose-s_8xb256-420e_coco-256x192") == "pose"
    assert task_of("rtmdet_nano_320-8xb32_hand") == "detector"
    assert task_of("motionbert_dstformer-243frm_8xb32-240e_h36m") == "lifter"
    assert task_of("human") == "pose"  # an alias of a pose model and of others


def test_folders_tell_their_task_by_what_is_in_them(tiny_pose, tmp_path):
    assert task_of(tiny_pose) == "pose"
    assert task_of(write_folder(tmp_path / "detector", hfpose.RTMDetConfig())) == "detector"
    assert task_of(write_folder(tmp_path / "lifter", hfpose.MotionBertConfig())) == "lifter"
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image", device="cpu")
    pipe.save_pretrained(tmp_path / "pipeline")
    assert task_of(tmp_path / "pipeline") == "pose"


def test_models_of_other_kinds_and_unknown_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a pose model, an object detector or a lifter"):
        task_of(write_folder(tmp_path / "words", WhisperConfig()))
    with pytest.raises(UnknownModelError):
        task_of("rtmpoze-s")


def test_model_for_another_stage_is_refused(tiny_pose, tmp_path):
    detector = write_folder(tmp_path / "detector", hfpose.RTMDetConfig())
    with pytest.raises(ConfigError, match="holds a rtmdet model; expected a pose model"):
        hfpose.pipeline("pose-estimation", model=detector, detector="whole_image")
    with pytest.raises(ConfigError, match="holds a RTMPoseForPoseEstimation model; expected an object detector"):
        hfpose.pipeline("pose-estimation", model=tiny_pose, detector=tiny_pose)
    with pytest.raises(ConfigError, match="holds a RTMPoseForPoseEstimation model; expected a lifter"):
        load_stage(tiny_pose, "lifter")


def test_a_saved_pipeline_stands_for_its_part_where_one_model_is_needed(tiny_pose, tmp_path):
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="demo")
    assert pipe.detector.stage.model.config.model_type == "rtmdet"
    hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image").save_pretrained(tmp_path)
    assert load_stage(tmp_path, "pose").model.config.model_type == "rtmpose"
    with pytest.raises(ConfigError, match="without a detector model of its own; it has: pose"):
        hfpose.pipeline("pose-estimation", model=tiny_pose, detector=tmp_path)


def test_model_that_transformers_does_not_know(tmp_path):
    folder = write_folder(tmp_path / "other", hfpose.RTMDetConfig())
    (folder / "config.json").write_text('{"model_type": "none"}')
    with pytest.raises(ConfigError, match="is of no model that can be loaded"):
        hfpose.pipeline("pose-estimation", model=folder)


def test_a_stage_knows_where_its_model_was_moved_to(tiny_pose):
    stage = load_stage(tiny_pose, "pose")
    assert (stage.device.type, stage.dtype) == ("cpu", torch.float32)
    stage.model.to(torch.bfloat16)
    stage.refresh()
    assert stage.dtype == torch.bfloat16
    weights = {name: weight.double() for name, weight in stage.model.state_dict().items()}
    stage.model.load_state_dict(weights, assign=True)  # new tensors in the place of the old ones
    stage.refresh()
    assert stage.dtype == torch.float64


@pytest.mark.parametrize(("name", "takes_any_size"), [("rtmpose", False), ("simcc", False), ("heatmap", True)])
def test_an_image_processor_of_other_crops_than_the_model_takes(name, takes_any_size):
    model, processor = small_model(name)
    other = processor.with_settings(size={"height": 60, "width": 60})
    if takes_any_size:
        assert load_stage(model, "pose", image_processor=other).image_processor is other
    else:
        with pytest.raises(InputError, match="the model takes 64 x 64"):
            load_stage(model, "pose", image_processor=other)


def test_models_without_weights_are_refused(tiny_pose):
    with pytest.raises(InputError, match="no device 'meta'"):
        load_stage(tiny_pose, "pose", device="meta")
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose).to("meta")
    with pytest.raises(InputError, match="has no weights"):
        load_stage(model, "pose", device="cpu")


def test_a_model_of_the_caller_may_be_moved_without_a_word(tiny_pose):
    stage = load_stage(hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose), "pose")
    stage.model.to("meta", torch.bfloat16)
    assert (stage.device.type, stage.dtype) == ("meta", torch.bfloat16)


@pytest.mark.parametrize(
    ("file", "settings", "says"),
    [
        ("config.json", {"id2label": ["a"]}, "'list' object has no attribute 'items'"),
        ("config.json", {"dtype": "os.system"}, "has no attribute 'os.system'"),
        (
            "config.json",
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
            "bitsandbytes",
        ),
        ("preprocessor_config.json", {"size": {"height": 10**6, "width": 64}}, "a whole number from 1 to 16384"),
        ("preprocessor_config.json", {"size": {"height": 5000, "width": 64}}, "expected sides of 1 to 4096"),
        (
            "preprocessor_config.json",
            {"size": {"height": -5, "width": 0}},
            "size is {'height': -5, 'width': 0}; expected",
        ),
        ("preprocessor_config.json", {"size": {"height": 64, "width": 64}}, "the model takes 256 x 192"),
        ("preprocessor_config.json", {"image_mean": "abc"}, "image processor in .*: image_mean is 'abc'"),
        ("preprocessor_config.json", {"image_processor_type": "os"}, "image processor in"),
        (
            "preprocessor_config.json",
            {"auto_map": {"AutoImageProcessor": "evil.P"}, "image_processor_type": "P"},
            "needs code that comes with it, which hfpose does not run",
        ),
    ],
)
def test_odd_settings_are_one_sentence_at_load(tiny_pose, tmp_path, file, settings, says):
    folder = Path(shutil.copytree(tiny_pose, tmp_path / "pose"))
    (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **settings}))
    with pytest.raises(HFPoseError, match=says) as error:
        load_stage(folder, "pose")
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_model_arguments_reach_from_pretrained(tiny_pose):
    stage = load_stage(tiny_pose, "pose", model_kwargs={"output_hidden_states": True})
    assert stage.model.config.output_hidden_states


def test_weights_that_are_not_all_there_are_one_sentence(tiny_pose, tmp_path, capfd):
    folder = shutil.copytree(tiny_pose, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["backbone_config"]["depths"] = [2] * 4  # more blocks than there are weights of
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"\d+ tensors of the RTMPoseForPoseEstimation have no weights"):
        hfpose.pipeline(model=folder, detector="whole_image", device="cpu")
    assert "MISSING" not in capfd.readouterr().err


@pytest.mark.parametrize(("name", "task"), [("heatmap", "pose"), ("motionbert", "lifter"), ("rtmdet", "detector")])
def test_weights_of_ours_are_those_that_from_pretrained_loads(name, task, tmp_path):
    model, processor = small_model(name)
    model.half().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert model_with_own_weights(lambda: type(model)(model.config), tmp_path) is not None
    loaded, expected = load_stage(tmp_path, task).model, type(model).from_pretrained(tmp_path, dtype=torch.float32)
    assert loaded.config.to_dict() == expected.config.to_dict()
    tensors = [[*each.named_parameters(), *each.named_buffers()] for each in (loaded, expected)]
    for (key, found), (other, tensor) in zip(*tensors, strict=True):
        assert key == other and torch.equal(found, tensor)
        assert (found.dtype, found.requires_grad) == (tensor.dtype, tensor.requires_grad)
