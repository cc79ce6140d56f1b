"""What the benchmarks run on: models with seeded weights, a detector, images with so many people, clips."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

import hfpose
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry
from hfpose.media.images import load_image, save_image
from hfpose.media.video_writing import VideoFile
from hfpose.pipelines.detection_stage import BoxDetector
from hfpose.pipelines.stage import load_stage
from measuring import ROOT
from work import BOX_THRESHOLD, NMS_THRESHOLD, Image, Workload

SHARED = ROOT.parent / "shared"
DETECTOR_NAME = "rtmdet_nano_320-8xb32_coco-person"
DETECTOR_CHECKPOINT = SHARED / "weights" / "rtmdet_nano_person_folded.pth"
PHOTOGRAPHS = {1: SHARED / "images" / "coco_785.jpg", 4: SHARED / "images" / "coco_196141.jpg"}

CELL = (120, 300)  # width and height of a person in an image that is put together
COLUMNS, WIDE_COLUMNS = 4, 8
CLIP_FPS = 30.0
CLIP_PERIOD = 60  # frames in which the clip's camera sways once


def make_workload(
    folder: Path, people: Sequence[int] = (1, 4, 16), clip_frames: int = 300, is_small: bool = False
) -> Workload:
    """Write models, images and a clip of 640 pixels into a folder, which is emptied first.

    With `is_small` the pose model is tiny, and few images calibrate: for trying out the benchmarks, not for numbers.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pose, detector = make_pose_model(folder / "pose", is_small), make_detector(folder / "detector")
    images = tuple(make_image(folder / f"people-{count}.jpg", count, detector) for count in people)
    source = make_image(folder / "clip.jpg", 4, detector)
    clip = make_clip(folder / "clip.mp4", source, clip_frames)
    name = "A tiny network" if is_small else "RTMPose-m 256x192"
    calibration = _few_images(folder / "calibration") if is_small else None
    return Workload(name, pose, detector, images, clip, clip_frames, source.boxes, calibration)


@torch.no_grad()
def make_pose_model(folder: Path, is_small: bool = False) -> Path:
    """RTMPose-m, or a tiny one, for crops of 256x192 with seeded weights, whose outputs depend on the image."""
    schema = hfpose.load_schema("coco")
    torch.manual_seed(0)
    labels = dict(enumerate(schema.keypoint_names))
    size: dict[str, Any] = {"depth_multiplier": 0.167, "width_multiplier": 0.125} if is_small else {}
    backbone = hfpose.CSPNeXtBackboneConfig(**size)
    model = hfpose.RTMPoseForPoseEstimation(  # the configuration's defaults are those of RTMPose-m
        hfpose.RTMPoseConfig(id2label=labels, keypoint_schema=schema.to_dict(), backbone_config=backbone)
    )
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    set_statistics(model, torch.randn(4, 3, 256, 192))
    model.save_pretrained(folder)
    hfpose.RTMPoseImageProcessor().save_pretrained(folder)
    return folder


def set_statistics(model: nn.Module, pixel_values: torch.Tensor, **others: torch.Tensor) -> None:
    """Let normalizations have the statistics of some input, else activations fade from layer to layer."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(pixel_values, **others)
    model.eval()


@torch.no_grad()
def make_one_stage_models(folder: Path, is_small: bool = False) -> dict[str, Path]:
    """RTMO-s and RTMO-m with seeded weights by name, or a tiny RTMO."""
    made = {}
    for name in ("RTMO-s",) if is_small else ("RTMO-s", "RTMO-m"):
        source = ModelSource.from_entry(get_entry(name, "pose"))
        config = source.conversion.config_from_reference(source.reference, source.schema)
        if is_small:
            config.backbone_config.depth_multiplier, config.backbone_config.width_multiplier = 0.167, 0.125
        torch.manual_seed(0)
        model = source.conversion.MODEL_CLASS(config)
        set_statistics(model, 255 * torch.rand(2, 3, 640, 640))
        head: Any = model.head
        for prediction in head.box_predictions:  # else some boxes are larger than numbers can be
            nn.init.zeros_(prediction.weight)
        made[name] = folder / name
        model.save_pretrained(made[name])
        source.conversion.image_processor_from_reference(source.reference).save_pretrained(made[name])
    return made


def make_detector(folder: Path) -> Path | None:
    """RTMDet-nano with its real weights, where they are."""
    if not DETECTOR_CHECKPOINT.is_file():
        return None
    return hfpose.convert_checkpoint(DETECTOR_NAME, DETECTOR_CHECKPOINT, folder)


def make_image(path: Path, people: int, detector: Path | None) -> Image:
    """An image file with so many people, who are found there if there is a detector.

    Raises:
        RuntimeError: if the detector finds another number.
    """
    if detector is None:
        image, boxes = _put_together(_rendered_people(), people)
        save_image(path, image)
        return Image(path, boxes, boxes)
    if people in PHOTOGRAPHS:
        shutil.copy(PHOTOGRAPHS[people], path)
    else:
        save_image(path, _put_together(_photographed_people(detector), people)[0])
    found = _find(detector, load_image(path))
    if len(found) != people:
        raise RuntimeError(f"The detector finds {len(found)} people in {path.name}, which should be {people}.")
    return Image(path, found.tolist(), None)


def make_wide_image(path: Path, people: int, detector: Path | None) -> Image:
    """An image file of 960x600 pixels with so many people, of whom a detector may miss some."""
    crops = _rendered_people() if detector is None else _photographed_people(detector)
    image, boxes = _put_together(crops, people, WIDE_COLUMNS)
    canvas = np.full((2 * CELL[1], WIDE_COLUMNS * CELL[0], 3), 114, np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    save_image(path, canvas)
    return Image(path, boxes, boxes if detector is None else None)


def make_clip(path: Path, image: Image, frames: int, size: tuple[int, int] | None = None) -> Path:
    """A video in which the camera sways before an image, by default of the image's size, else scaled to `size`."""
    pixels = load_image(image.path)
    width, height = size or (pixels.shape[1] // 2 * 2, pixels.shape[0] // 2 * 2)
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    video = VideoFile(path, (width, height), fps=CLIP_FPS)
    for index in range(frames):
        shift = 8 * np.sin(2 * np.pi * index / CLIP_PERIOD) if image.boxes is None else 0.0
        matrix = np.array([[scale, 0, shift * scale], [0, scale, 0]])
        flags = cv2.INTER_LINEAR
        video.write(cv2.warpAffine(pixels, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))
    video.finish()
    return path


def _few_images(folder: Path) -> Path:
    """As many rendered images as calibration needs at least."""
    from rendered_people import render_scene

    folder.mkdir()
    for seed in range(4):
        save_image(folder / f"{seed}.jpg", render_scene(seed).image)
    return folder


def _find(detector: Path, image: np.ndarray) -> np.ndarray:
    stage = BoxDetector(load_stage(detector, "detector"))
    ((boxes, _),) = stage.select(stage.detections([image], BOX_THRESHOLD), NMS_THRESHOLD)
    return boxes


def _around(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A person with an eighth of the box's size on each side."""
    x1, y1, x2, y2 = box.astype(int).tolist()
    margin_x, margin_y = (x2 - x1) // 8, (y2 - y1) // 8
    return image[max(0, y1 - margin_y) : y2 + margin_y, max(0, x1 - margin_x) : x2 + margin_x]


def _rendered_people() -> list[np.ndarray]:
    from rendered_people import render_scene

    scenes = (render_scene(seed, num_people=1) for seed in range(4))
    return [_around(scene.image, scene.boxes[0]) for scene in scenes if scene.num_people]


def _photographed_people(detector: Path) -> list[np.ndarray]:
    photograph = load_image(PHOTOGRAPHS[4])
    return [_around(photograph, box) for box in _find(detector, photograph)]


def _put_together(
    crops: Sequence[np.ndarray], people: int, columns: int = COLUMNS
) -> tuple[np.ndarray, list[list[float]]]:
    """An image of so many people in rows, and the box of each."""
    width, height = CELL
    columns, rows = min(people, columns), -(-people // columns)
    canvas = np.full((rows * height, columns * width, 3), 114, np.uint8)
    boxes: list[list[float]] = []
    for index in range(people):
        crop: Any = crops[index % len(crops)]
        factor = min(width / crop.shape[1], height / crop.shape[0])
        crop = cv2.resize(crop, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)[:height, :width]
        y, x = (index // columns) * height, (index % columns) * width
        canvas[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        boxes.append([float(x), float(y), float(x + crop.shape[1]), float(y + crop.shape[0])])
    return canvas, boxes
