"""Small models under the names that MMPose's users know, and clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import hfpose
from hfpose.compat.mmpose import MMPoseInferencer
from hfpose.hub.cache import models_dir
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from networks import settle_normalizations

CUSTOM_CONFIG = """
dataset_info = dict(
    dataset_name='stick', joint_weights=[1.] * 3, sigmas=[.05] * 3,
    keypoint_info={0: dict(name='top', color=[255, 0, 0]), 1: dict(name='middle', color=[0, 255, 0]),
                   2: dict(name='end', color=[0, 0, 255])},
    skeleton_info={0: dict(link=('top', 'middle')), 1: dict(link=('middle', 'end'))})
codec = dict(type='SimCCLabel', input_size=(96, 128), sigma=(2.5, 3.3), simcc_split_ratio=2.0, normalize=False,
             use_dark=False)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True),
    backbone=dict(type='CSPNeXt', arch='P5', expand_ratio=0.5, deepen_factor=0.167, widen_factor=0.125,
                  out_indices=(4, ), channel_attention=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU')),
    head=dict(type='RTMCCHead', in_channels=128, out_channels=3, input_size=codec['input_size'],
              in_featuremap_size=(3, 4), simcc_split_ratio=2.0, final_layer_kernel_size=7,
              gau_cfg=dict(hidden_dims=32, s=32, expansion_factor=2, dropout_rate=0., drop_path=0., act_fn='SiLU',
                           use_rel_bias=False, pos_enc=False), decoder=codec),
    test_cfg=dict(flip_test=True))
test_dataloader = dict(dataset=dict(type='CocoDataset', pipeline=[
    dict(type='LoadImage'), dict(type='GetBBoxCenterScale'), dict(type='TopdownAffine', input_size=(96, 128)),
    dict(type='PackPoseInputs')]))
"""
CUSTOM_LIFTER_CONFIG = """
codec = dict(type='MotionBERTLabel', num_keypoints=17, concat_vis=True, rootrel=True)
model = dict(
    type='PoseLifter',
    backbone=dict(type='DSTFormer', in_channels=3, feat_size=32, depth=1, num_heads=2, mlp_ratio=2, seq_len=9,
                  att_fuse=True),
    head=dict(type='MotionRegressionHead', in_channels=32, out_channels=3, embedding_size=16, decoder=codec),
    test_cfg=dict(flip_test=True))
test_dataloader = dict(dataset=dict(type='Human36mDataset'))
"""
GOLDENS = Path(__file__).parents[1] / "goldens"
DEMO_POSE = Path(hfpose.__file__).parent / "data" / "demo" / "pose"


def randomize(model: torch.nn.Module, std: float = 0.2) -> None:
    """Random weights large enough that outputs depend on the input."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)


@pytest.fixture(scope="session")
def tiny_hrnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small model that predicts heatmaps of COCO's keypoints."""
    schema = hfpose.load_schema("coco")
    backbone = hfpose.HRNetBackboneConfig(
        stage_modules=(1, 1, 1, 1),
        stage_blocks=((1,), (1, 1), (1, 1, 1), (1, 1, 1, 1)),
        stage_channels=((4,), (4, 8), (4, 8, 12), (4, 8, 12, 16)),
    )
    model = hfpose.HeatmapForPoseEstimation(
        hfpose.HeatmapConfig(
            backbone_config=backbone,
            image_size=(64, 64),
            deconv_channels=(),
            deconv_kernel_sizes=(),
            id2label=dict(enumerate(schema.keypoint_names)),
            keypoint_schema=schema.to_dict(),
        )
    )
    randomize(model)
    settle_normalizations(model, torch.randn(8, 3, 64, 64))
    folder = tmp_path_factory.mktemp("models") / "tiny-hrnet"
    model.save_pretrained(folder)
    hfpose.HeatmapImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_lifter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small lifter."""
    config = hfpose.MotionBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, max_frames=9)
    model = hfpose.MotionBertForPoseLifting(config)
    randomize(model)
    folder = tmp_path_factory.mktemp("models") / "tiny-lifter"
    model.save_pretrained(folder)
    hfpose.MotionBertImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small model of hands."""
    backbone = ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic")
    config = hfpose.InterNetConfig(
        backbone_config=backbone,
        upsample_sizes=(4, 4),
        upsample_kernel_sizes=(4, 2),
        depth_size=5,
        root_depth_size=6,
        root_depth_hidden_sizes=(3,),
        hand_type_hidden_sizes=(),
    )
    model = hfpose.InterNetForHandPose(config)
    randomize(model, std=0.4)
    settle_normalizations(model, torch.randn(4, 3, 256, 256))
    folder = tmp_path_factory.mktemp("models") / "tiny-hands"
    model.save_pretrained(folder)
    hfpose.InterNetImageProcessor(root_depth_size=6).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def filled_cache(
    tiny_pose: Path,
    tiny_hrnet: Path,
    tiny_lifter: Path,
    tiny_hands: Path,
    person_detector: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A cache of converted models that has small ones under the names of some of the zoo's."""
    models = {
        "rtmpose-m_8xb256-420e_body8-256x192": tiny_pose,
        "rtmpose-m_8xb256-420e_coco-256x192": DEMO_POSE,  # of random weights all keypoints may lie outside
        "td-hm_hrnet-w32_8xb64-210e_coco-256x192": tiny_hrnet,
        "motionbert_dstformer-ft-243frm_8xb32-120e_h36m": tiny_lifter,
        "internet_res50_4xb16-20e_interhand3d-256x256": tiny_hands,
        "rtmdet_m_640-8xb32_coco-person": person_detector,
        "yolox_l_8xb8-300e_coco": person_detector,
    }
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HFPOSE_CACHE", str(cache))
        for name, folder in models.items():
            shutil.copytree(folder, models_dir() / name)
    return cache


@pytest.fixture
def store(filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Names of the zoo resolve to small models, without a network."""
    monkeypatch.setenv("HFPOSE_CACHE", str(filled_cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield filled_cache


@pytest.fixture(scope="session")
def inferencer(tiny_pose: Path, person_detector: Path) -> MMPoseInferencer:
    """A small 2D model with a real detector of people."""
    return MMPoseInferencer(tiny_pose, det_model=person_detector, device="cpu")


@pytest.fixture(scope="session")
def whole_image(tiny_pose: Path) -> MMPoseInferencer:
    """A small 2D model that takes images whole."""
    return MMPoseInferencer(tiny_pose, det_model="whole_image", device="cpu")


@pytest.fixture(scope="session")
def custom_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Config file and checkpoint of somebody's own model with three keypoints, in MMPose's formats."""
    folder = tmp_path_factory.mktemp("custom")
    golden = GOLDENS / "pose2d" / "rtmpose-m_8xb256-420e_body8-256x192.json"
    return write_custom(folder / "custom_human_pose_estimator", CUSTOM_CONFIG, golden)


@pytest.fixture(scope="session")
def custom_lifter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same of a lifter."""
    golden = GOLDENS / "pose3d" / "motionbert_dstformer-ft-243frm_8xb32-120e_h36m.json"
    return write_custom(tmp_path_factory.mktemp("custom") / "custom_lifter", CUSTOM_LIFTER_CONFIG, golden)


def write_custom(path: Path, text: str, golden: Path) -> tuple[Path, Path]:
    """Config file with `text`, and a checkpoint of that model with random weights under the names of `golden`."""
    from hfpose.checkpoints.custom import source_from_config

    config, checkpoint = path.with_suffix(".py"), path.with_suffix(".pth")
    config.write_text(text)
    source = source_from_config(config)
    settings = source.conversion.config_from_reference(source.reference, source.schema)
    model = source.conversion.MODEL_CLASS(settings)
    randomize(model)
    names = json.loads(golden.read_text())["state_dict"]
    ours = source.conversion.convert_state_dict({name: torch.zeros(1) for name in names}, settings)
    theirs = dict(zip(ours, names, strict=True))
    torch.save({"state_dict": {theirs[name]: tensor for name, tensor in model.state_dict().items()}}, checkpoint)
    return config, checkpoint


@pytest.fixture
def write_clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a video of noise, 160x120 pixels."""

    def write(name: str = "clip.mp4", num_frames: int = 5) -> Path:
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
        for seed in range(num_frames):
            writer.write(np.ascontiguousarray(noise(seed, 120, 160)))
        writer.release()
        return tmp_path / name

    return write


def noise(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    """BGR image."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(name="noise")
def noise_fixture() -> Callable[..., np.ndarray]:
    return noise
