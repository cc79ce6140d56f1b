"""Configurations refuse what no model can be made of."""

from __future__ import annotations

from dataclasses import fields

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig

from hfpose import CIDConfig, DEKRConfig, HeatmapConfig, RTMDetConfig, RTMPoseConfig, RTMWConfig, SimCCConfig
from hfpose.errors import ConfigError
from hfpose.models.auto import ALL_FAMILIES
from hfpose.models.backbones.hrnet import HRNetBackboneConfig
from hfpose.models.backbones.resnet import ResNetBackboneConfig

A_SIZE = {
    "internet": "depth_size",
    "heatmap": "final_kernel_size",
    "regression": "final_kernel_size",
    "simcc": "final_kernel_size",
    "yolox": "neck_size",
    "yolox_pose": "neck_size",
    "rtmdet": "neck_size",
    "dekr": "num_queries",
    "cid": "num_queries",
    "associative_embedding": "tag_size",
}


@pytest.mark.parametrize("family", ALL_FAMILIES, ids=lambda family: family.model_type)
def test_a_size_of_another_type_or_beyond_memory_is_an_error(family):
    config_class = family.load("configuration")
    name = A_SIZE.get(family.model_type, "hidden_size" if hasattr(config_class, "hidden_size") else "num_channels")
    with pytest.raises(StrictDataclassError):
        config_class(**{name: "a"})
    with pytest.raises(ConfigError, match=name):
        config_class(**{name: 10**9})


@pytest.mark.parametrize("family", ALL_FAMILIES, ids=lambda family: family.model_type)
def test_no_whole_number_may_be_huge(family):
    """Nothing is made of them, such as the names of stages, before they are checked."""
    config_class = family.load("configuration")
    default = config_class()
    own = [
        field.name
        for field in fields(config_class)
        if field.name not in {each.name for each in fields(PreTrainedConfig)}
    ]
    for name in (name for name in own if type(getattr(default, name)) is int):
        with pytest.raises(ConfigError, match=name):
            config_class(**{name: 10**9})


def test_names_of_kinds_are_checked():
    for config_class, name in ((ResNetBackboneConfig, "block_type"), (HRNetBackboneConfig, "upsample_mode")):
        with pytest.raises(StrictDataclassError, match=name):
            config_class(**{name: "nonsense"})


@pytest.mark.parametrize("settings", [{"depth_multiplier": 1e9}, {"num_neck_blocks": 1000}, {"strides": [8] * 300}])
def test_layers_are_limited(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        RTMDetConfig(**settings)


@pytest.mark.parametrize("config_class", [CIDConfig, DEKRConfig, RTMDetConfig, RTMPoseConfig])
def test_kernels_with_a_middle_are_odd(config_class):
    (name,) = config_class.odd_sizes
    with pytest.raises(ConfigError, match=f"{name}=4; expected odd numbers"):
        config_class(**{name: 4})


@pytest.mark.parametrize("config_class", [RTMWConfig, SimCCConfig])
def test_weights_of_keypoints_in_the_loss_go_with_their_labels(config_class):
    config = config_class(num_labels=3, keypoint_loss_weights=[1.0, 0.5, 1.0])
    config = config_class.from_dict(config.to_dict())
    assert config.keypoint_loss_weights == [1.0, 0.5, 1.0]
    config.num_labels = 5
    assert config.keypoint_loss_weights is None


@pytest.mark.parametrize(
    ("config_class", "settings", "fitting", "stride"),
    [
        (RTMWConfig, {}, (250, 186), 32),
        (HeatmapConfig, {"backbone_config": {"model_type": "hrnet_backbone"}}, (253, 190), 32),
        (HeatmapConfig, {"backbone_config": {"model_type": "lite_hrnet_backbone"}}, (254, 192), 32),
        (HeatmapConfig, {"backbone_config": {"model_type": "hourglass_backbone"}}, (256, 384), 128),
    ],
)
def test_sizes_whose_feature_maps_cannot_be_merged_are_refused(config_class, settings, fitting, stride):
    config_class(**settings, image_size=fitting)
    for size in ((fitting[0] - 8, fitting[1]), (fitting[0], fitting[1] + 8)):
        with pytest.raises(ConfigError, match=f"{size[0]} x {size[1]} pixels.* multiples of {stride} pixels"):
            config_class(**settings, image_size=size)
