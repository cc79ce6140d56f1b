"""MMPose's functions for a single model: load it, run it on boxes of an image, or on 2D poses.

Source: `mmpose.apis.inference` and `mmpose.apis.inference_3d`; reimplemented over hfpose's pipelines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hfpose.checkpoints.reference_config import reference_variables
from hfpose.compat.mmpose.bgr_images import rgb_image
from hfpose.compat.mmpose.configs import ConfigDict
from hfpose.compat.mmpose.data_samples import crop_samples, image_sample
from hfpose.compat.mmpose.dataset_meta import dataset_meta_of
from hfpose.compat.mmpose.loaded_models import LoadedModel, model_folder
from hfpose.compat.mmpose.sequences import PoseFrames, first, person_clips
from hfpose.compat.mmpose.structures import InstanceData, PoseDataSample
from hfpose.errors import ConfigError, InputError
from hfpose.hub.zoo import find_entry
from hfpose.keypoints import schema_for_config
from hfpose.models.auto import LIFTER_TYPES
from hfpose.models.shared.devices import default_device
from hfpose.models.shared.lifting import normalize_boxes
from hfpose.models.shared.top_down import check_image_boxes
from hfpose.pipelines.options import CallOptions
from hfpose.pipelines.stage import Stage, load_stage, task_of
from hfpose.pipelines.top_down_stage import TopDownEstimator
from hfpose.pipelines.whole_image_stage import OneStageEstimator, is_one_stage
from hfpose.results import PoseOutput

_BATCH_SIZE = 32  # crops at once


class PoseModel(LoadedModel):
    """A model as `init_model` returns it.

    Args:
        stage: the model with its image processor.
        variables: of its config file in the reference, where there is one.

    Attributes:
        network, image_processor: see [`LoadedModel`].
        dataset_meta: what its keypoints mean, see `dataset_meta_of`.
        cfg: its config. Changes have an effect where they are of `model.test_cfg.flip_test`,
            `model.test_cfg.output_heatmaps` or `visualizer`.
    """

    def __init__(self, stage: Stage, variables: Mapping[str, Any] | None = None) -> None:
        super().__init__(stage)
        self.schema = schema_for_config(stage.model.config)
        self.dataset_meta = dataset_meta_of(self.schema)
        # Every config of a lifter in MMPose tests flipped clips too.
        flip_test = bool(getattr(stage.image_processor, "flip_test", False))
        self.cfg = ConfigDict(variables)
        model = self.cfg.setdefault("model", ConfigDict())
        model["test_cfg"] = ConfigDict(
            {**(model.get("test_cfg") or {}), "flip_test": flip_test, "output_heatmaps": False}
        )
        self.cfg.setdefault("default_scope", "mmpose")
        self.cfg["visualizer"] = ConfigDict(type="PoseLocalVisualizer", name="visualizer")
        if self.is_lifter:  # what the reference's demo asks for, to bring as many frames
            frames = getattr(self.network.config, "receptive_field", 1)
            clip = {"causal": getattr(self.network.config, "is_causal", False), "seq_len": frames, "seq_step": 1}
            dataset = self.cfg.setdefault("test_dataloader", ConfigDict()).setdefault("dataset", ConfigDict())
            dataset.update(clip | dataset)

    @property
    def test_cfg(self) -> ConfigDict:
        """How it is tested: `cfg.model.test_cfg`."""
        settings: ConfigDict = self.cfg.model.test_cfg
        return settings

    @property
    def is_lifter(self) -> bool:
        """Whether it takes 2D keypoints instead of images."""
        return self.network.config.model_type in LIFTER_TYPES

    @property
    def lifts_one_frame(self) -> bool:
        """Whether it lifts one frame of a clip, and leaves the root where it says, as temporal convolutions do."""
        return self.network.config.model_type == "temporal_convolution"


def init_model(
    config: str | Path,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> PoseModel:
    """Load a pose model or a lifter.

    Args:
        config: alias, config name, or path of a config file (parsed, never executed); also a hub repository or a
            folder.
        checkpoint: path or URL of its weights. Default: the published ones.
        device: where it goes; default: the accelerator if there is one.
        cfg_options: changes of `cfg`, nested or with dotted names: `{"model.test_cfg.output_heatmaps": True}`.

    Raises:
        UnknownModelError, ConfigError, CheckpointError, DownloadError: if there is no such model, or it cannot be
            loaded.
        TypeError: if `config` is no name or path.
    """
    if not isinstance(config, (str, Path)):
        raise TypeError(f"config must be a name or a path, got {type(config).__name__}.")
    entry = find_entry(str(config), "pose") or find_entry(str(config), "lifter")
    folder = model_folder(config, checkpoint, entry.task if entry is not None else "pose")
    task = task_of(folder)
    if task == "detector":
        raise ConfigError(f"{config} is an object detector; init_model loads pose models and lifters.")
    model = PoseModel(load_stage(folder, task, device=device or default_device()), reference_variables(config))
    for path, value in _flat(cfg_options or {}):
        _set(model.cfg, path, value)
    return model.eval()


def _flat(options: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Paths and values of a nested dict, whose names may be dotted."""
    for name, value in options.items():
        path = (*above, *name.split("."))
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        else:
            yield path, value


def _set(cfg: ConfigDict, path: tuple[str, ...], value: Any) -> None:
    *above, name = path
    if path[0] != "visualizer" and (above != ["model", "test_cfg"] or name not in ("flip_test", "output_heatmaps")):
        raise ConfigError(
            f"cfg_options cannot change {'.'.join(path)}; it can change model.test_cfg.flip_test, "
            "model.test_cfg.output_heatmaps and arguments of visualizer."
        )
    section: Any = cfg
    for each in above:
        section = section[each]
    section[name] = value


def inference_topdown(
    model: PoseModel,
    img: str | Path | np.ndarray,
    bboxes: Sequence[Any] | np.ndarray | None = None,
    bbox_format: str = "xyxy",
) -> list[PoseDataSample]:
    """Find the keypoints in boxes of an image.

    Args:
        model: from `init_model`.
        img: path, URL or BGR array (H, W, 3).
        bboxes: (N, 4) pixels; None or none at all takes the image as one box.
        bbox_format: "xyxy", or "xywh" for x, y, width, height.

    Returns:
        For each box a data sample: `pred_instances` with one instance (`keypoints` (1, K, 2) in pixels,
        `keypoint_scores`, `bboxes`, `bbox_scores`); with `model.cfg.model.test_cfg.output_heatmaps` also
        `pred_fields.heatmaps` (K, h, w).

    Raises:
        InputError: for an image, boxes or format that cannot be used.
        ConfigError: if the model takes no images.
    """
    _require(model, lifter=False)
    if is_one_stage(model.stage):
        raise ConfigError(
            f"The {type(model.network).__name__} finds people in whole images by itself; run it with "
            "inference_bottomup."
        )
    if bbox_format not in ("xyxy", "xywh"):
        raise InputError(f"bbox_format must be 'xyxy' or 'xywh', got {bbox_format!r}.")
    image = rgb_image(img)
    height, width = image.shape[:2]
    if bboxes is None or len(bboxes) == 0:
        boxes = np.array([[0, 0, width, height]], np.float32)
    else:
        given = bboxes if bbox_format == "xyxy" else [[x, y, x + w, y + h] for x, y, w, h in bboxes]
        boxes = check_image_boxes(given)
    settings = model.test_cfg
    options = CallOptions(
        flip_test=settings.flip_test, pose_batch_size=_BATCH_SIZE, return_heatmaps=settings.output_heatmaps
    )
    (poses,) = TopDownEstimator(model.stage)([image], [boxes], options)
    output = PoseOutput(
        **poses, boxes=boxes, box_scores=np.ones(len(boxes)), image_size=(width, height), schema=model.schema
    )
    return crop_samples(model.image_processor, output, _about(img))


def inference_bottomup(model: PoseModel, img: str | Path | np.ndarray) -> list[PoseDataSample]:
    """Find people and their keypoints in an image with a bottom-up or one-stage model (RTMO, YOLOX-Pose, DEKR, CID,
    ...).

    Args:
        model: from `init_model`.
        img: path, URL or BGR array (H, W, 3).

    Returns:
        One data sample with all instances, best first: `pred_instances` with `keypoints` (N, K, 2) in pixels,
        `keypoint_scores`, `bboxes` and `bbox_scores`.

    Raises:
        InputError: for an image that cannot be used.
        ConfigError: if the model finds keypoints in boxes, or takes no images.
    """
    _require(model, lifter=False)
    if not is_one_stage(model.stage):
        raise ConfigError(
            f"The {type(model.network).__name__} finds keypoints in boxes, and no people by itself. Use "
            'inference_topdown with boxes, or MMPoseInferencer("human") with its detector.'
        )
    image = rgb_image(img)
    options = CallOptions(flip_test=model.test_cfg.flip_test, box_threshold=None)
    (found,) = OneStageEstimator(model.stage)([image], options)
    height, width = image.shape[:2]
    output = PoseOutput(**found._asdict(), image_size=(width, height), schema=model.schema)
    return [image_sample(model.image_processor, output, _about(img))]


def _about(img: str | Path | np.ndarray) -> dict[str, str | None]:
    return {"img_path": None if isinstance(img, np.ndarray) else str(img)}


def inference_pose_lifter_model(
    model: PoseModel,
    pose_results_2d: PoseFrames,
    with_track_id: bool = True,
    image_size: Sequence[int] | None = None,
    norm_pose_2d: bool = False,
) -> list[PoseDataSample]:
    """Lift sequences of 2D poses to 3D.

    Args:
        model: lifter from `init_model`.
        pose_results_2d: for each of T frames a data sample for each person, with one instance: `keypoints` (1, 17, 2)
            as `convert_keypoint_definition` gives them, or (1, K, 2) of a lifter of other keypoints, and for
            `norm_pose_2d` `bboxes` (1, 4).
        with_track_id: tell people apart by the samples' `track_id`; else they come in the same order in each frame.
        image_size: width and height of the images; None for a lifter that needs none (SimpleBaseline3D).
        norm_pose_2d: scale and place poses as in the lifter's training data, or where its averages are not known
            (`dataset_meta` without `stats_info`) as the average box of all samples.

    Returns:
        For each person of the middle frame, or of the last one for a causal lifter, a data sample:
        `pred_instances.keypoints` (1, T, 17, 3), or (1, 17, 3) for that frame from a temporal convolution, in meters
        relative to the pelvis, x right, y down, z away from the camera; and `keypoint_scores` (1, T, 17) or (1, 17),
        all 1. Where a person is not seen, the nearest pose stands in.

    Raises:
        InputError: without an image size that the lifter needs, or frames, or if people cannot be told apart.
        ConfigError: if the model is no lifter.
    """
    _require(model, lifter=True)
    target = -1 if model.cfg.test_dataloader.dataset.causal else len(pose_results_2d) // 2
    clips = person_clips(pose_results_2d, with_track_id, target)
    if not clips:
        return []
    boxes = [[sample.pred_instances.get("bboxes") for sample in clip] for clip in clips]
    has_boxes = all(box is not None for clip in boxes for box in clip)
    keypoints_2d = np.array([[first(sample.pred_instances.keypoints)[:, :2] for sample in clip] for clip in clips])
    clip_boxes = np.array([[first(box) for box in clip] for clip in boxes]) if has_boxes else None
    if norm_pose_2d and clip_boxes is not None and "stats_info" not in model.dataset_meta:
        keypoints_2d = normalize_boxes(keypoints_2d, clip_boxes, *_average_box(pose_results_2d))
        norm_pose_2d = False
    processor = model.image_processor
    inputs = processor(
        keypoints_2d, image_size, clip_boxes, schema=None, do_normalize_boxes=norm_pose_2d, return_tensors="pt"
    )
    with torch.inference_mode():
        network = model.network
        outputs = network(inputs["keypoints_2d"].to(network.device, network.dtype), flip_test=model.test_cfg.flip_test)
    is_single = model.lifts_one_frame
    keypoints = processor.post_process_pose_lifting(
        outputs, image_size, do_root_relative=not is_single, axes="camera", do_rebase_height=False
    )
    keypoints = keypoints[:, target, None] if is_single else keypoints[:, None]
    return [
        PoseDataSample(
            gt_instances=clip[target].get("gt_instances", InstanceData()),
            pred_instances=InstanceData(keypoints=person, keypoint_scores=np.ones(person.shape[:-1], np.float32)),
        )
        for clip, person in zip(clips, keypoints, strict=True)
    ]


def _average_box(frames: PoseFrames) -> tuple[np.ndarray, float]:
    """Average center (2,) and longer side of the samples' boxes, in pixels."""
    samples = [sample.pred_instances for frame in frames for sample in frame]
    boxes = np.stack([first(sample.bboxes) for sample in samples if "bboxes" in sample])
    centers, sides = (boxes[:, :2] + boxes[:, 2:4]) / 2, boxes[:, 2:4] - boxes[:, :2]
    return centers.mean(0), float(sides.max(1).mean())


def _require(model: PoseModel, lifter: bool) -> None:
    if not isinstance(model, PoseModel):
        raise ConfigError(f"Expected a model from init_model, got {type(model).__name__}.")
    if model.is_lifter != lifter:
        raise ConfigError(
            "This model lifts 2D poses; run it with inference_pose_lifter_model."
            if model.is_lifter
            else "This model takes images and lifts no poses; run it with inference_topdown."
        )
