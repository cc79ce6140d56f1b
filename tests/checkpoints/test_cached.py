"""A config file under the name of a zoo model means what it says."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hfpose.checkpoints import cached
from hfpose.checkpoints.cached import folder_of_config
from hfpose.errors import CheckpointError, ConfigError
from hfpose.hub import resolve as hub
from hfpose.hub.zoo import get_entry

ENTRY = get_entry("rtmpose-t_8xb256-420e_body8-256x192")
AS_PUBLISHED = """
size = (192, 256)
codec = dict(type='SimCCLabel', input_size=size, sigma=(4.9, 5.66), simcc_split_ratio=2.0, normalize=False, use_dark=False)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True),
    backbone=dict(type='CSPNeXt', arch='P5', expand_ratio=0.5, deepen_factor=0.167, widen_factor=0.375,
                  out_indices=(4, ), channel_attention=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU')),
    head=dict(type='RTMCCHead', in_channels=384, out_channels=17, input_size=size, in_featuremap_size=(6, 8),
              simcc_split_ratio=2.0, final_layer_kernel_size=7,
              gau_cfg=dict(hidden_dims=256, s=128, expansion_factor=2, dropout_rate=0., drop_path=0., act_fn='SiLU',
                           use_rel_bias=False, pos_enc=False),
              loss=dict(type='KLDiscretLoss', use_target_weight=True, beta=10., label_softmax=True), decoder=codec),
    test_cfg=dict(flip_test=True))
test_dataloader = dict(dataset=dict(type='CocoDataset', pipeline=[
    dict(type='LoadImage'), dict(type='GetBBoxCenterScale', padding=1.25), dict(type='TopdownAffine', input_size=size)]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / f"{ENTRY.name}.py"
    path.write_text(AS_PUBLISHED)
    return path


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []

    def convert(*arguments: object) -> Path:
        calls.append(arguments)
        return Path("converted")

    monkeypatch.setattr(cached, "convert_cached", convert)
    return calls


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "weights.pth"
    checkpoint.write_bytes(b"weights")
    monkeypatch.setenv("HFPOSE_CACHE", str(checkpoint / "cache"))
    with pytest.raises(CheckpointError, match=r"model of weights.pth cannot be stored in .* HFPOSE_CACHE names"):
        cached.convert_cached(ENTRY.name, checkpoint, "pose")


def test_file_as_it_was_published_means_the_zoos_model(path: Path) -> None:
    assert folder_of_config(path, ENTRY) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("padding=1.25", "padding=2.0"),
        ("flip_test=True", "flip_test=False"),
        ("hidden_dims=256", "hidden_dims=128"),
        ("bgr_to_rgb=True", "bgr_to_rgb=False"),
    ],
)
def test_edited_file_is_converted_with_the_official_weights(
    path: Path, converted: list[object], old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(AS_PUBLISHED.replace(old, new))
    with caplog.at_level(logging.WARNING, logger="hfpose"):
        assert hub.resolve(str(path)) == hub.resolve(path) == Path("converted")
    assert converted == [(path, ENTRY.checkpoint_url, "pose")] * 2
    assert "the file counts" in caplog.text


def test_edit_of_training_alone_means_the_zoos_model(path: Path) -> None:
    path.write_text(AS_PUBLISHED + "train_cfg = dict(max_epochs=3)\nworkers = 2\n")
    assert folder_of_config(path, ENTRY) is None


def test_file_that_cannot_be_read_does_not_mean_the_zoos_model(path: Path) -> None:
    path.write_text("import os\nos.system('touch ran')\n")
    with pytest.raises(ConfigError, match=f"For the zoo's model of that name give '{ENTRY.name}' alone"):
        folder_of_config(path, ENTRY)
