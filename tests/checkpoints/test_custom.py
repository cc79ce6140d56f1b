"""Models that people trained themselves: a config file and a checkpoint."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import hfpose
from hfpose.checkpoints.custom import source_from_config
from hfpose.checkpoints.dataset_schema import schema_from_file
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import CheckpointError, ConfigError
from hfpose.keypoints import load_schema

RUNTIME = "default_scope = 'mmpose'\nlog_level = 'INFO'\n"
BASE_MODEL = """
_base_ = ['./runtime.py']
codec = dict(type='SimCCLabel', input_size=(96, 128), sigma=(2.5, 3.3), simcc_split_ratio=2.0, normalize=False,
             use_dark=False)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True),
    backbone=dict(type='CSPNeXt', arch='P5', expand_ratio=0.5, deepen_factor=0.167, widen_factor=0.375,
                  out_indices=(4, ), channel_attention=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU'),
                  init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint='https://example.com/none.pth')),
    head=dict(type='RTMCCHead', in_channels=384, out_channels=17, input_size=codec['input_size'],
              in_featuremap_size=tuple([s // 32 for s in codec['input_size']]),
              simcc_split_ratio=codec['simcc_split_ratio'], final_layer_kernel_size=7,
              gau_cfg=dict(hidden_dims=128, s=64, expansion_factor=2, dropout_rate=0., drop_path=0., act_fn='SiLU',
                           use_rel_bias=False, pos_enc=False),
              loss=dict(type='KLDiscretLoss', use_target_weight=True, beta=10., label_softmax=True), decoder=codec),
    test_cfg=dict(flip_test=True))
"""
MIDDLE = """
_base_ = './model.py'
num = 4 + 1
model = dict(head=dict(out_channels=num))
"""
CUSTOM = """
_base_ = ['./middle.py']
dataset_info = dict(
    dataset_name='arrow',
    keypoint_info={
        0: dict(name='tip', id=0, color=[255, 0, 0], type='', swap=''),
        1: dict(name='left_barb', id=1, color=[0, 255, 0], type='', swap='right_barb'),
        2: dict(name='right_barb', id=2, color=[0, 0, 255], type='', swap='left_barb'),
        3: dict(name='middle', id=3, color=[255, 255, 0], type='', swap=''),
        4: dict(name='end', id=4, color=[0, 255, 255], type='', swap='')},
    skeleton_info={0: dict(link=('tip', 'middle'), id=0, color=[1, 2, 3]),
                   1: dict(link=('middle', 'end'), id=1, color=[1, 2, 3])},
    joint_weights=[1.] * 5, sigmas=[.05] * 5)
test_pipeline = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale', padding=1.5),
                 dict(type='TopdownAffine', input_size={{_base_.codec.input_size}}), dict(type='PackPoseInputs')]
test_dataloader = dict(batch_size=1, dataset=dict(type='CocoDataset', pipeline=test_pipeline))
"""


@pytest.fixture
def config(tmp_path) -> Path:
    """A config with three levels of `_base_`."""
    for name, text in {"runtime": RUNTIME, "model": BASE_MODEL, "middle": MIDDLE, "arrow_net": CUSTOM}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path / "arrow_net.py"


@pytest.fixture
def checkpoint(config, tmp_path) -> Path:
    """A training checkpoint of the reference: with averaging on, `state_dict` holds the averages."""
    source = source_from_config(config)
    torch.manual_seed(0)
    model_config = source.conversion.config_from_reference(source.reference, source.schema)
    state = reference_names(source.conversion.MODEL_CLASS(model_config).state_dict(), source, model_config)
    plain = {f"module.{name}": tensor + (0.5 if tensor.is_floating_point() else 0) for name, tensor in state.items()}
    torch.save({"state_dict": state, "ema_state_dict": {"steps": torch.tensor(7), **plain}}, tmp_path / "e.pth")
    return tmp_path / "e.pth"


def reference_names(state: dict[str, torch.Tensor], source: ModelSource, config) -> dict[str, torch.Tensor]:
    """Our tensors under the reference's names: the inverse of the conversion, found by trying each known name."""
    golden = json.loads((Path(__file__).parents[1] / "goldens/pose2d" / NAMES).read_text())["state_dict"]
    numbered = {name: torch.tensor(i) for i, name in enumerate(golden)}
    ours = source.conversion.convert_state_dict(numbered, config)
    back = {name: list(golden)[int(number)] for name, number in ours.items()}
    return {back[name]: tensor for name, tensor in state.items()}


NAMES = "rtmpose-m_8xb256-420e_body8-256x192.json"


def test_settings_and_schema_land_in_the_folder(config, checkpoint, tmp_path, caplog):
    folder = hfpose.convert_checkpoint(None, checkpoint, tmp_path / "converted", config=config)
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(folder)
    assert model.config.image_size == [128, 96]
    assert list(model.config.id2label.values()) == ["tip", "left_barb", "right_barb", "middle", "end"]
    schema = hfpose.KeypointSchema.from_dict(model.config.keypoint_schema)
    assert schema.flip_indices == (0, 2, 1, 3, 4)
    processor = hfpose.RTMPoseImageProcessor.from_pretrained(folder)
    assert processor.box_padding == 1.5
    assert processor.flip_test is True


def test_averaged_weights_are_preferred_and_said_so(config, checkpoint, tmp_path, caplog):
    folder = hfpose.convert_checkpoint(None, checkpoint, tmp_path / "converted", config=config)
    assert "averaged (EMA) weights" in caplog.text
    averaged = torch.load(checkpoint, weights_only=True)["state_dict"]["head.mlp.0.g"]
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(folder)
    torch.testing.assert_close(model.head.norm.weight.data, averaged, rtol=0, atol=0)


def test_a_custom_model_predicts(config, checkpoint, tmp_path):
    folder = hfpose.convert_checkpoint(None, checkpoint, tmp_path / "converted", config=config)
    pipe = hfpose.pipeline("pose-estimation", model=folder, detector="whole_image")
    assert pipe(np.zeros((80, 60, 3), np.uint8)).keypoints.shape == (1, 5, 2)


def test_keypoints_from_a_metainfo_file_beside_the_config(config, tmp_path):
    info = CUSTOM[CUSTOM.index("dataset_info") : CUSTOM.index("test_pipeline")]
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "arrow.py").write_text(info)
    config.write_text(
        "_base_ = './middle.py'\n"
        "val_dataloader = dict(dataset=dict(type='CocoDataset', metainfo=dict(from_file='datasets/arrow.py')))\n"
    )
    assert source_from_config(config).schema.keypoint_names[0] == "tip"


def test_keypoints_of_a_known_data_set(config):
    config.write_text("_base_ = './model.py'\nval_dataloader = dict(dataset=dict(type='CocoDataset'))\n")
    assert source_from_config(config).schema.name == "coco"


@pytest.mark.parametrize(
    "attack",
    [
        "import os; os.system('touch {marker}')",
        "eval(\"__import__('os').system('touch {marker}')\")",
        "open('{marker}', 'w')",
        "x = [c for c in ().__class__.__base__.__subclasses__()]",
        'exec(\'open("{marker}", "w")\')',
    ],
)
def test_code_in_a_config_is_refused_and_nothing_happens(config, tmp_path, attack):
    marker = tmp_path / "marker"
    config.write_text("_base_ = './middle.py'\n" + attack.format(marker=marker) + "\n")
    with pytest.raises(ConfigError, match=r"arrow_net\.py:2"):
        source_from_config(config)
    assert not marker.exists()


def test_a_config_without_a_model(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ConfigError, match="no model"):
        source_from_config(tmp_path / "empty.py")


def test_an_unsupported_head_names_the_supported_ones(config):
    config.write_text("_base_ = './model.py'\nmodel = dict(head=dict(_delete_=True, type='VisPredictHead'))\n")
    with pytest.raises(ConfigError, match=r"VisPredictHead, which is not supported.*RTMCCHead"):
        source_from_config(config)


def test_a_config_before_version_1_is_told(tmp_path):
    (tmp_path / "old.py").write_text(
        "model = dict(type='TopDown', keypoint_head=dict(type='TopdownHeatmapSimpleHead'))"
    )
    with pytest.raises(ConfigError, match="before version 1"):
        source_from_config(tmp_path / "old.py")


def test_mean_and_deviation_of_pixels_beside_the_weights(config, checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    state["data_preprocessor.mean"] = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    torch.save(state, checkpoint)
    hfpose.convert_checkpoint(None, checkpoint, tmp_path / "same", config=config)
    torch.save({**state, "data_preprocessor.mean": torch.zeros(3, 1, 1)}, checkpoint)
    with pytest.raises(CheckpointError, match="trained with the mean"):
        hfpose.convert_checkpoint(None, checkpoint, tmp_path / "other", config=config)


def test_weights_that_are_not_finite_are_told(config, checkpoint, tmp_path, caplog):
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    state["head.mlp.0.g"].fill_(float("nan"))
    torch.save(state, checkpoint)
    hfpose.convert_checkpoint(None, checkpoint, tmp_path / "converted", config=config)
    assert "not finite" in caplog.text and "head.norm.weight" in caplog.text


def test_a_class_of_ones_own_around_known_parts_is_named(config):
    text = config.with_name("model.py").read_text()
    config.with_name("model.py").write_text(text.replace("'TopdownPoseEstimator'", "'my.SlowPoseEstimator'"))
    with pytest.raises(ConfigError, match=r"describes a my\.SlowPoseEstimator, whose code is not known"):
        source_from_config(config)


def test_another_number_of_keypoints_than_the_schema(config, checkpoint, tmp_path):
    config.write_text("_base_ = './middle.py'\nval_dataloader = dict(dataset=dict(type='CocoDataset'))\n")
    with pytest.raises(ConfigError, match="finds 5 keypoints, but the schema 'coco' has 17"):
        hfpose.convert_checkpoint(None, checkpoint, tmp_path / "converted", config=config)


def test_a_checkpoint_of_another_size(config, checkpoint, tmp_path):
    config.write_text(CUSTOM + "model = dict(head=dict(final_layer_kernel_size=1))\n")
    with pytest.raises(CheckpointError, match=r"head\.keypoint_features\.weight"):
        hfpose.convert_checkpoint("arrow", checkpoint, tmp_path / "converted", config=config)


def test_student_of_a_distillation_is_what_comes_of_it(tmp_path):
    student = "configs/rtmpose/rtmpose-m_8xb64-270e_coco-ubody-wholebody-256x192.py"
    path = tmp_path / "s2.py"
    path.write_text(f"model = dict(type='DWPoseDistiller', two_dis=True, student_cfg={student!r}, teacher_cfg='x.py')")
    source = source_from_config(path)
    assert (source.name, source.family) == (Path(student).stem, "rtmpose")
    assert source.schema.name == "coco_wholebody"
    path.write_text("model = dict(type='DWPoseDistiller', student_cfg='mine.py')")
    with pytest.raises(ConfigError, match=r"distills mine\.py"):
        source_from_config(path)


def test_keypoints_of_h3wb_are_those_of_whole_bodies():
    assert schema_from_file("mmpose::_base_/datasets/h3wb.py") == load_schema("coco_wholebody")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("deepen_factor=0.167", "deepen_factor=1e9", "backbone.deepen_factor is 1e\\+09"),
        ("deepen_factor=0.167", "deepen_factor=9e5", "depth_multiplier=900000"),
        ("widen_factor=0.375", "widen_factor=9e5", "width_multiplier=900000"),
        ("out_channels=num", "out_channels=10**12", "head.out_channels is 1e\\+12"),
        ("num = 4 + 1", "num = round(1, -10**9)", "round"),
        ("num = 4 + 1", "num = round(10**18 + 5, 10**9)", "round"),
        ("num = 4 + 1", "num = 10**19", "larger than 64 bits"),
        ("hidden_dims=128, ", "", "lacks the setting 'hidden_dims'"),
        ("input_size=(96, 128)", "input_size=96", "cannot be used|has no elements"),
        ("input_size=(96, 128)", "input_size='96x128'", "cannot be used|not supported"),
        ("dict(head=dict(out_channels=num))", "dict(head=[dict()], _delete_=True)", "cannot be used"),
        ("dict(head=dict(out_channels=num))", "dict(backbone=dict(arch=dict(a=1)))", "is a dict here but a str"),
        ("mean=[123.675, 116.28, 103.53]", "mean='imagenet'", "cannot be used"),
    ],
)
def test_absurd_incomplete_or_odd_configs_are_one_sentence(config, checkpoint, tmp_path, old, new, says):
    for name in ("model", "middle", "arrow_net"):
        path = tmp_path / f"{name}.py"
        path.write_text(path.read_text().replace(old, new))
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ConfigError, CheckpointError), match=says) as caught:
        hfpose.convert_checkpoint(None, checkpoint, tmp_path / "converted", config=config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "converted").exists()
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


@pytest.mark.parametrize(
    ("head", "backbone"),
    [("RTMDetSepBNHead", "SwinTransformer"), ("YOLOXHead", "mmpretrain.ResNet"), ("SSDHead", "SSDVGG")],
)
def test_a_detector_on_another_backbone_is_named(tmp_path, head, backbone):
    path = tmp_path / "a.py"
    path.write_text(f"model = dict(type='X', backbone=dict(type={backbone!r}), bbox_head=dict(type={head!r}))")
    with pytest.raises(ConfigError, match=rf"backbone {backbone.split('.')[-1]}, which is not supported"):
        source_from_config(path)


def test_flip_pairs_that_nothing_says(config, checkpoint, tmp_path, caplog):
    path = tmp_path / "arrow_net.py"
    text = path.read_text()
    path.write_text(text[: text.index("dataset_info")] + text[text.index("test_pipeline = ") :].replace("Coco", "My"))
    folder = hfpose.convert_checkpoint(None, checkpoint, tmp_path / "converted", config=config)
    assert "flip pairs of" in caplog.text
    assert "flip_indices" not in json.loads((folder / "config.json").read_text())["keypoint_schema"]
    assert hfpose.RTMPoseImageProcessor.from_pretrained(folder).flip_test is False
    pipe = hfpose.pipeline("pose-estimation", model=folder, detector="whole_image")
    image = np.zeros((80, 60, 3), np.uint8)
    assert pipe(image).keypoints.shape == (1, 5, 2)
    with pytest.raises(ConfigError, match="there is no flip test"):
        pipe(image, flip_test=True)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("dict(type='mmdet.PhotoMetricDistortion')", "PhotoMetricDistortion"),
        ("dict(type='LoadImage', color_type='gray')", "color"),
    ],
)
def test_pipelines_that_change_the_image_in_other_ways_are_named(tmp_path, step, says):
    path = tmp_path / "a.py"
    model = "dict(type='TopdownPoseEstimator', backbone=dict(type='ResNet', depth=50), head=dict(type='HeatmapHead'))"
    path.write_text(f"model = {model}\ntest_pipeline = [{step}]\n")
    with pytest.raises(ConfigError, match=f"{says}.* not supported"):
        source_from_config(path)


@pytest.mark.parametrize("setting", ["seq_step=2", "causal=True"])
def test_frames_that_a_lifter_does_not_take_are_refused(tmp_path, setting):
    """Those that do not follow each other, or only those before, while the network looks at both sides."""
    path = tmp_path / "a.py"
    path.write_text(
        "model = dict(type='PoseLifter', backbone=dict(type='TCN'), head=dict(type='TemporalRegressionHead'))\n"
        f"test_dataloader = dict(dataset=dict(type='Human36mDataset', seq_len=27, {setting}))\n"
    )
    with pytest.raises(ConfigError, match=f"{setting} is not supported"):
        source_from_config(path)
