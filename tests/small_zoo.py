"""Models of the zoo as they are but for width and depth, with random weights: quick to run, and complete in all that a
user sees (input size, keypoints or classes, image processor)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from clips import write_frames
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import ModelEntry
from hfpose.ops.quiet import without_progress_bars
from networks import settle_normalizations

_HRNET = {
    "stem_channels": 8,
    "stage_modules": (1, 1, 1, 1),
    "stage_blocks": ((1,), (1,) * 2, (1,) * 3, (1,) * 4),
    "stage_channels": ((8,), (8, 16), (8, 16, 32), (8, 16, 32, 64)),
}
_CSP = {"depth_multiplier": 0.167, "width_multiplier": 0.125}

SETTINGS: dict[str, dict[str, Any]] = {
    "rtmpose": {"hidden_size": 32, "attention_size": 16},
    "rtmw": {"hidden_size": 32, "attention_size": 16, "num_neck_blocks": 1},
    "rtmw3d": {"hidden_size": 32, "attention_size": 16, "num_neck_blocks": 1},
    "temporal_convolution": {"hidden_size": 16},
    "rtmo": {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "fusion_size": 8,
        "num_fusion_blocks": 1,
        "head_size": 8,
        "pose_branch_size": 16,
        "num_pose_groups": 2,
        "pose_size": 16,
        "token_size": 16,
        "num_bins": (24, 32),
        "bin_size": 16,
        "attention_size": 16,
    },
    "yolox_pose": {"neck_size": 16, "num_neck_blocks": 1, "head_size": 16},
    "dekr": {"heatmap_channels": 8, "displacement_channels": 2, "rescoring_size": 16},
    "cid": {"instance_channels": 8},
    "associative_embedding": {},
    "edpose": {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_norm_groups": 4,
        "intermediate_size": 32,
        "num_encoder_layers": 1,
        "num_decoder_layers": 3,
        "num_queries": 40,
        "num_instances": 10,
    },
    "rtmdet": {**_CSP, "neck_size": 16, "num_neck_blocks": 1},
    "yolox": {**_CSP, "neck_size": 16, "num_neck_blocks": 1},
    "ssdlite": {"width_multiplier": 0.125, "extra_level_sizes": (16, 16, 16, 16)},
    "hrnet": {},
    "vitpose": {},
    "motionbert": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "representation_size": 32},
    "internet": {"upsample_sizes": (16, 16, 16), "root_depth_hidden_sizes": (16,), "hand_type_hidden_sizes": (16,)},
}
SMALL_BACKBONES: dict[str, dict[str, Any]] = {
    "cspnext_backbone": _CSP,
    "csp_darknet_backbone": _CSP,
    "hrnet_backbone": _HRNET,
    "resnet_backbone": {"stem_channels": 8, "base_channels": 8, "depths": (1, 1, 1, 1)},
    "vgg_backbone": {"hidden_sizes": (8, 8, 16, 32, 64)},
    "vitpose_backbone": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "out_indices": [1]},
}

FOUND_CLASSES = (0, 16)
"""What detectors find in every image: a person, a dog; or their only class."""


def small_config(entry: ModelEntry) -> Any:
    """The model's true configuration, made narrow and shallow."""
    source = ModelSource.from_entry(entry)
    values = source.conversion.config_from_reference(source.reference, source.schema).to_dict()
    values |= SETTINGS.get(entry.family, {})
    if "backbone_config" in values:
        values["backbone_config"] |= SMALL_BACKBONES.get(values["backbone_config"]["model_type"], {})
    if entry.family == "vitpose":
        for derived in ("stage_names", "out_features"):
            values["backbone_config"].pop(derived, None)
    return source.conversion.MODEL_CLASS.config_class(**values)


def save_small_model(entry: ModelEntry, folder: Path) -> Path:
    """Write the zoo model with `small_config`, random weights that are the same at each call, and its own image
    processor, as conversion would. A detector finds something in every image.
    """
    source = ModelSource.from_entry(entry)
    processor = source.conversion.image_processor_from_reference(source.reference)
    torch.manual_seed(0)
    model = source.conversion.MODEL_CLASS(small_config(entry))
    if entry.task == "detector":
        settle_normalizations(model, processor([photo(), photo()[:, ::-1]], return_tensors="pt")["pixel_values"])
        _find_something(entry.family, model)
    elif getattr(processor, "is_one_stage", False):
        is_dense = entry.family in ("rtmo", "yolox_pose")
        if not is_dense:
            draw_heads(model)
        settle_normalizations(model, processor([photo(), photo()[:, ::-1]], return_tensors="pt")["pixel_values"])
        if is_dense:
            find_someone(model)
    elif entry.task == "pose":
        draw_heads(model)
        boxes = [[[0, 0, 128, 128], [30, 20, 110, 120]]]
        settle_normalizations(model, processor(photo(), boxes=boxes, return_tensors="pt")["pixel_values"])
    with without_progress_bars():
        model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@torch.no_grad()
def draw_heads(model: Any) -> None:
    """Random weights of what comes after the backbone that keep the size of what goes through: heads begin with small
    ones, and with larger ones rounding grows from layer to layer."""
    for name, parameter in model.named_parameters():
        if name.startswith("backbone."):
            continue
        if parameter.ndim > 1:
            parameter.normal_(std=(1.5 / parameter[0].numel()) ** 0.5)
        elif "class" in name and name.endswith("bias"):
            parameter.normal_(std=0.05)


@torch.no_grad()
def _find_something(family: str, model: Any) -> None:
    """Choose a detector's predictions so that it finds a few large boxes of `FOUND_CLASSES`, and nothing else."""
    num_labels = model.config.num_labels
    found = [index for index in FOUND_CLASSES if index < num_labels]
    # SSDLite predicts for every anchor of a place, and the background too.
    classes = num_labels + (family == "ssdlite")
    layers = [layer[-1] if family == "ssdlite" else layer for layer in model.head.class_predictions]
    for layer in layers:
        layer.weight.normal_(std=0.1 / layer.in_channels**0.5)
        layer.bias.fill_(-30)
        layer.bias.view(-1, classes)[:, num_labels:] = 0
    layers[-1].bias.view(-1, classes)[:, found] = torch.tensor([2.0, 1.0])[: len(found)]
    for layer in getattr(model.head, "objectness_predictions", ()):
        layer.bias.fill_(10)
    if family == "ssdlite":  # has anchors as large as the image
        return
    boxes = model.head.box_predictions[-1]
    boxes.weight.zero_()  # the same large box everywhere, of which few are left after suppression
    is_linear = family == "rtmdet" and not model.config.exponential_distances
    boxes.bias[:] = torch.tensor([0.0, 0.0, 4.5, 4.5]) if family == "yolox" else 20.0 if is_linear else 3.2


@torch.no_grad()
def find_someone(model: Any) -> None:
    """Choose a one-stage model's predictions so that it finds a few large boxes, and nothing else."""
    head = model.head
    for name in ("score_predictions", "class_predictions", "objectness_predictions"):
        for layer in getattr(head, name, ()):
            layer.weight.normal_(std=0.1 / layer.in_channels**0.5)
            layer.bias.fill_(-30)
        if hasattr(head, name):
            getattr(head, name)[-1].bias.fill_(2)
    for layer in head.box_predictions:  # of all levels: sizes are exponentials
        layer.weight.zero_()
    head.box_predictions[-1].bias[:] = torch.tensor([0.0, 0.0, 1.5, 1.5])


def photo() -> np.ndarray:
    """A square image (128, 128, 3) of colored clouds, which come out of a JPEG or a video much as they went in."""
    clouds = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    return cv2.resize(clouds, (128, 128), interpolation=cv2.INTER_CUBIC)


def write_photo(path: Path) -> Path:
    """`photo` as a JPEG file or another, by the name's ending."""
    Image.fromarray(photo()).save(path)
    return path


def write_video(path: Path, frames: int = 3) -> Path:
    """A clip in which `photo` moves."""
    return write_frames(path, (np.roll(photo(), shift, axis=1)[..., ::-1] for shift in range(frames)))
