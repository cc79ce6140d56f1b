"""Models of every family that are small enough for every test, with the image processors that fit them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

import hfpose
import small_bottom_up
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor
from networks import settle_normalizations

SmallModel = tuple[PreTrainedModel, Any]


def _drawn(model: PreTrainedModel, example: Tensor, std: float = 0.2) -> PreTrainedModel:
    """The model with random weights, so that outputs depend on the input and places differ."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    settle_normalizations(model, example)
    return model.eval()


def _rtmpose() -> SmallModel:
    config = hfpose.RTMPoseConfig(
        backbone_config=ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic"),
        hidden_size=32, attention_size=16, image_size=(64, 64),
        id2label=dict(enumerate(hfpose.load_schema("coco").keypoint_names)),
        keypoint_schema=hfpose.load_schema("coco").to_dict(),
    )  # fmt: skip
    model = _drawn(hfpose.RTMPoseForPoseEstimation(config), torch.randn(8, 3, 64, 64))
    return model, hfpose.RTMPoseImageProcessor(size={"height": 64, "width": 64})


def _heatmap() -> SmallModel:
    backbone = ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic")
    config = hfpose.HeatmapConfig(
        backbone_config=backbone, image_size=(64, 64), deconv_channels=(8, 8), deconv_kernel_sizes=(4, 4), num_labels=5
    )
    model = _drawn(hfpose.HeatmapForPoseEstimation(config), torch.randn(8, 3, 64, 64))
    return model, hfpose.HeatmapImageProcessor(size={"height": 64, "width": 64})


def _regression(**settings: Any) -> SmallModel:
    backbone = ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic")
    config = hfpose.RegressionConfig(backbone_config=backbone, image_size=(64, 64), num_labels=5, **settings)
    model = _drawn(hfpose.RegressionForPoseEstimation(config), torch.randn(8, 3, 64, 64))
    return model, hfpose.RegressionImageProcessor(size={"height": 64, "width": 64})


def _regression_rle() -> SmallModel:
    return _regression(head_type="rle")


def _regression_dsnt() -> SmallModel:
    sizes: dict[str, Any] = {"feature_map_size": (2, 2), "deconv_channels": (8, 8), "deconv_kernel_sizes": (4, 4)}
    return _regression(head_type="dsnt", **sizes)


def _simcc() -> SmallModel:
    backbone = ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic")
    config = hfpose.SimCCConfig(
        backbone_config=backbone, image_size=(64, 64), feature_map_size=(2, 2), deconv_channels=(8, 8),
        deconv_kernel_sizes=(4, 4), num_labels=5,
    )  # fmt: skip
    model = _drawn(hfpose.SimCCForPoseEstimation(config), torch.randn(8, 3, 64, 64))
    return model, hfpose.SimCCImageProcessor(size={"height": 64, "width": 64})


def _vitpose(**changes: Any) -> SmallModel:
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "out_indices": [2]}
    sizes |= {"image_size": (64, 48), "layer_norm_eps": 1e-6, "initializer_range": 0.2}
    backbone = VitPoseBackboneConfig(**sizes | changes)
    model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17, initializer_range=0.2))
    return model.eval(), ViTPoseImageProcessor(size={"height": 64, "width": 48})


def _vitpose_experts() -> SmallModel:
    return _vitpose(num_experts=3, part_features=8)


def _internet() -> SmallModel:
    backbone = ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic")
    config = hfpose.InterNetConfig(
        backbone_config=backbone, upsample_sizes=(4, 4), upsample_kernel_sizes=(4, 2), depth_size=5, root_depth_size=6,
        root_depth_hidden_sizes=(3,), hand_type_hidden_sizes=(),
    )  # fmt: skip
    model = _drawn(hfpose.InterNetForHandPose(config), torch.randn(8, 3, 64, 64))
    return model, hfpose.InterNetImageProcessor(size={"height": 64, "width": 64}, root_depth_size=6)


def _motionbert() -> SmallModel:
    config = hfpose.MotionBertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, representation_size=16, max_frames=12
    )
    model = hfpose.MotionBertForPoseLifting(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval(), hfpose.MotionBertImageProcessor()


_SMALL_DARKNET = {"model_type": "csp_darknet_backbone", "depth_multiplier": 0.1, "width_multiplier": 0.125}


def _rtmo() -> SmallModel:
    schema = hfpose.load_schema("coco")
    config = hfpose.RTMOConfig(
        backbone_config={**_SMALL_DARKNET, "out_indices": [2, 3, 4]}, hidden_size=16, num_attention_heads=2,
        intermediate_size=16, fusion_size=8, head_size=8, pose_branch_size=16, num_pose_groups=2, pose_size=16,
        token_size=16, num_bins=(24, 32), bin_size=16, attention_size=16, num_candidates=16, max_instances=12,
        id2label=dict(enumerate(schema.keypoint_names)), keypoint_schema=schema.to_dict(),
    )  # fmt: skip
    model = _drawn(hfpose.RTMOForPoseEstimation(config), torch.rand(8, 3, 64, 64) * 255, std=0.1)
    return model, hfpose.RTMOImageProcessor(size={"height": 64, "width": 64})


def _yolox_pose() -> SmallModel:
    schema = hfpose.load_schema("coco")
    config = hfpose.YOLOXPoseConfig(
        backbone_config={**_SMALL_DARKNET, "out_indices": [2, 3, 4]}, neck_size=16, head_size=16,
        id2label=dict(enumerate(schema.keypoint_names)), keypoint_schema=schema.to_dict(),
    )  # fmt: skip
    model = _drawn(hfpose.YOLOXPoseForPoseEstimation(config), torch.rand(8, 3, 64, 64) * 255, std=0.1)
    return model, hfpose.YOLOXPoseImageProcessor(size={"height": 64, "width": 64})


def _rtmdet() -> SmallModel:
    config = hfpose.RTMDetConfig(
        depth_multiplier=0.167, width_multiplier=0.125, neck_size=32, num_neck_blocks=1, id2label={0: "cat", 1: "dog"}
    )
    model = _drawn(hfpose.RTMDetForObjectDetection(config), torch.randn(8, 3, 64, 64), std=0.1)
    for prediction in model.head.box_predictions:  # its outputs pass through exp()
        nn.init.normal_(prediction.weight, std=0.01)
    return model, hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64})


def _yolox() -> SmallModel:
    config = hfpose.YOLOXConfig(
        depth_multiplier=0.1, width_multiplier=0.125, neck_size=32, id2label={0: "cat", 1: "dog", 2: "owl"}
    )
    model = _drawn(hfpose.YOLOXForObjectDetection(config), torch.rand(8, 3, 64, 64) * 255, std=0.1)
    return model, hfpose.YOLOXImageProcessor(size={"height": 64, "width": 64})


def _ssdlite() -> SmallModel:
    config = hfpose.SSDLiteConfig(
        width_multiplier=0.25, extra_level_sizes=(32,), extra_level_strides=(2,), strides=(16, 32, 64),
        anchor_min_sizes=(10, 20, 40), anchor_max_sizes=(20, 40, 60), anchor_ratios=((2,), (2, 3), (2,)),
        id2label={0: "cat", 1: "dog", 2: "owl"},
    )  # fmt: skip
    model = _drawn(hfpose.SSDLiteForObjectDetection(config), torch.randn(8, 3, 64, 64), std=0.1)
    sizes: dict[str, Any] = {"size": {"height": 64, "width": 64}, "strides": (16, 32, 64)}
    return model, hfpose.SSDLiteImageProcessor(anchors_per_place=(4, 6, 4), **sizes)


SMALL_MODELS: dict[str, Callable[[], SmallModel]] = {
    "rtmpose": _rtmpose,
    "heatmap": _heatmap,
    "regression-rle": _regression_rle,
    "regression-dsnt": _regression_dsnt,
    "simcc": _simcc,
    "vitpose": _vitpose,
    "vitpose-experts": _vitpose_experts,
    "internet": _internet,
    "motionbert": _motionbert,
    "rtmo": _rtmo,
    "yolox_pose": _yolox_pose,
    **{family: partial(small_bottom_up.small_model, family) for family in small_bottom_up.FAMILIES},
    "rtmdet": _rtmdet,
    "yolox": _yolox,
    "ssdlite": _ssdlite,
}


def small_model(name: str) -> SmallModel:
    """The model of a family and its image processor; the same weights and random numbers every time."""
    made, random_state = _made(name)
    torch.set_rng_state(random_state)
    return copy.deepcopy(made)


@cache
def _made(name: str) -> tuple[SmallModel, Tensor]:
    """What `small_model` copies, in half of the time that making it takes, and torch's random state afterwards."""
    torch.manual_seed(0)
    return SMALL_MODELS[name](), torch.get_rng_state()


def small_lifter() -> SmallModel:
    """A lifter by convolutions, which is traced in a tenth of MotionBERT's time."""
    torch.manual_seed(0)
    config = hfpose.TemporalConvolutionConfig(hidden_size=16, kernel_sizes=(3, 3))
    return hfpose.TemporalConvolutionForPoseLifting(config).eval(), hfpose.TemporalConvolutionImageProcessor()


def save_model(name: str, folder: Path) -> Path:
    """A folder with the model of a family and its image processor."""
    for part in small_model(name):
        part.save_pretrained(folder)
    return folder
