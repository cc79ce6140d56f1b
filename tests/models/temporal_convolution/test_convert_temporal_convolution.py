"""Lifters of one's own: what their configs and data sets say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hfpose import convert_checkpoint
from hfpose.errors import ConfigError
from hfpose.models.temporal_convolution.image_processing_temporal_convolution import TemporalConvolutionImageProcessor
from hfpose.models.temporal_convolution.modeling_temporal_convolution import TemporalConvolutionForPoseLifting

CONFIG = """
codec = dict(type='VideoPoseLifting', num_keypoints=17, zero_center=True, root_index=0, remove_root=False)
model = dict(
    type='PoseLifter',
    backbone=dict(type='TCN', in_channels=34, stem_channels=8, num_blocks=0, kernel_sizes=(3, ), use_stride_conv=True),
    head=dict(type='TemporalRegressionHead', in_channels=8, num_joints=17, loss=dict(type='MPJPELoss'),
              decoder=codec))
test_dataloader = dict(dataset=dict(type='Human36mDataset', seq_len=3))
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    shapes = {"backbone.expand_conv.conv.weight": (8, 34, 3), "head.conv.weight": (51, 8, 1), "head.conv.bias": (51,)}
    norm = {f"backbone.expand_conv.bn.{name}": (8,) for name in ("weight", "bias", "running_mean", "running_var")}
    torch.save({"state_dict": {name: torch.ones(s) for name, s in (shapes | norm).items()}}, tmp_path / "mine.pth")
    return tmp_path / "mine.pth"


def converted(checkpoint: Path, config: str) -> Path:
    (checkpoint.parent / "mine.py").write_text(config)
    return convert_checkpoint(None, checkpoint, checkpoint.parent / "out", config=checkpoint.parent / "mine.py")


def test_boxes_are_normalized_by_the_statistics_of_the_training_data(checkpoint: Path) -> None:
    keypoints = "{i: dict(name=f'joint_{i}', id=i) for i in range(17)}"
    metainfo = f"dict(dataset_name='mine', keypoint_info={keypoints}, skeleton_info=dict(), joint_weights=[1.] * 17, "
    metainfo += "sigmas=[], stats_info=dict(bbox_center=(300., 200.), bbox_scale=250.))"
    loader = f"dict(dataset=dict(type='Human36mDataset', seq_len=3, metainfo={metainfo}))"
    folder = converted(checkpoint, f"{CONFIG}\ntrain_dataloader = test_dataloader = {loader}")
    processor = TemporalConvolutionImageProcessor.from_pretrained(folder)
    assert (list(processor.box_center), processor.box_scale) == ([300.0, 200.0], 250.0)


def test_statistics_are_unknown_without_training_data(checkpoint: Path) -> None:
    """As of the semi-supervised models, whose configs test alone."""
    assert "stats_info" not in (converted(checkpoint, CONFIG) / "config.json").read_text()
    trained = converted(checkpoint, f"{CONFIG}\ntrain_dataloader = test_dataloader")
    statistics = TemporalConvolutionForPoseLifting.from_pretrained(trained).config.keypoint_schema["stats_info"]
    assert statistics == {"bbox_center": [528.0, 427.0], "bbox_scale": [400.0]}


def test_an_image_lifter_without_statistics_takes_pixels_as_they_are(checkpoint: Path) -> None:
    """`mmpose.codecs.ImagePoseLifting.encode` with `keypoints_mean=None`."""
    own = CONFIG.replace("'VideoPoseLifting'", "'ImagePoseLifting'").replace("zero_center=True, ", "")
    processor = TemporalConvolutionImageProcessor.from_pretrained(converted(checkpoint, own))
    keypoints = np.random.default_rng(0).uniform(0, 600, (1, 17, 2)).astype(np.float32)
    encoded = processor(keypoints, None, do_normalize_boxes=False)["keypoints_2d"]
    np.testing.assert_array_equal(encoded[0], keypoints)


@pytest.mark.parametrize("setting", ["zero_center=False", "save_index=True"])
def test_settings_of_the_codec_that_change_no_result_are_taken(checkpoint: Path, setting: str) -> None:
    name = setting.partition("=")[0]
    own = CONFIG.replace("zero_center=True", setting) if name in CONFIG else CONFIG.replace("root_index=0", setting)
    assert (converted(checkpoint, own) / "config.json").is_file()


def test_clipped_weights_are_refused(checkpoint: Path) -> None:
    """The reference scales a weight down before each forward pass where its norm is above `max_norm`."""
    with pytest.raises(ConfigError, match="max_norm"):
        converted(checkpoint, CONFIG.replace("num_blocks=0", "num_blocks=0, max_norm=1.0"))
