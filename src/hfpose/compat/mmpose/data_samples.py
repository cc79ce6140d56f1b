"""Results in MMPose's forms: lists of plain dicts, and data samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hfpose.compat.mmpose.structures import InstanceData, PixelData, PoseDataSample, merge_data_samples
from hfpose.media.frames import Frame
from hfpose.ops.boxes import nms as suppress_boxes
from hfpose.pipelines.detection_stage import PIXEL_OFFSET
from hfpose.results import PoseOutput, to_plain


def split_instances(instances: InstanceData | None) -> list[dict[str, Any]]:
    """Instances as a list of plain dicts, ready for JSON; without any, none.

    Each has `keypoints`, `keypoint_scores`, and where known `bbox` (in a tuple, as MMPose writes it) and `bbox_score`.
    A number that is not finite is None.
    """
    if instances is None or "keypoints" not in instances:
        return []
    names = {name: name for name in ("keypoints", "keypoint_scores")} | {"bbox": "bboxes", "bbox_score": "bbox_scores"}
    instances = instances.numpy()
    columns = {key: to_plain(np.asarray(instances.get(name))) for key, name in names.items() if name in instances}
    if "bbox" in columns:
        columns["bbox"] = [(box,) for box in columns["bbox"]]
    return [{key: rows[index] for key, rows in columns.items()} for index in range(len(instances))]


def nms(dets: np.ndarray, thr: float) -> list[int]:
    """Indices of the boxes that stay, best first: of two whose IoU is more than `thr` the worse one goes, or the first
    of equals.

    Args:
        dets: (N, 5) x1, y1, x2, y2, score; pixels of the edges are counted, as in `mmpose.evaluation.nms`.
        thr: largest IoU.
    """
    last_first = np.asarray(dets).reshape(-1, 5)[::-1]
    kept = suppress_boxes(last_first[:, :4], last_first[:, 4], thr, offset=PIXEL_OFFSET)
    return (len(last_first) - 1 - kept).tolist()


def _reference_name(frame: Frame) -> str:
    """What MMPose calls the file of a frame: its path, or a number for an array and for a frame of a video."""
    return f"{frame.frame_index:06}.jpg" if frame.frame_index is not None else frame.source or f"{frame.name}.jpg"


def data_sample_of(frame: Frame, output: PoseOutput, processor: Any) -> PoseDataSample:
    """A result as a data sample; heatmaps are brought to the whole image.

    Args:
        frame: the image that it is of.
        output: the result.
        processor: image processor of the model that found the keypoints.
    """
    about = {"img_path": _reference_name(frame)}
    if output.image_size is not None and getattr(processor, "is_one_stage", False):
        return image_sample(processor, output, about)
    if output.keypoints.shape[-1] == 2 and output.num_instances and output.boxes is not None:
        return merge_data_samples(crop_samples(processor, output, about))
    return PoseDataSample(
        metainfo=about | _metainfo(output),
        gt_instances=InstanceData(**_boxes_of(output)),
        pred_instances=_pred_instances(output),
    )


def crop_samples(processor: Any, output: PoseOutput, about: Mapping[str, Any]) -> list[PoseDataSample]:
    """The people that a top-down model found in boxes, each as a data sample with one instance.

    Args:
        processor: image processor of the model.
        output: people with their boxes, and heatmaps where they are wanted.
        about: more information about the image.
    """
    size = processor.size["height"], processor.size["width"]
    metainfo = {**about, **_metainfo(output), **_input_metainfo(size)}
    assert output.boxes is not None
    samples = []
    for person, region in enumerate(processor.regions(output.boxes)):
        one = output.select([person])
        crop = {"input_center": (region[:2] + region[2:]) / 2, "input_scale": region[2:] - region[:2]}
        where = {"bbox_centers": crop["input_center"][None], "bbox_scales": crop["input_scale"][None]}
        sample = PoseDataSample(
            metainfo=metainfo | crop,
            gt_instances=InstanceData(**_boxes_of(one), **where),
            gt_instance_labels=InstanceData(),
            pred_instances=_pred_instances(one),
        )
        if one.heatmaps is not None:
            sample.pred_fields = PixelData(heatmaps=torch.from_numpy(one.heatmaps[0]))
        samples.append(sample)
    return samples


def image_sample(processor: Any, output: PoseOutput, about: Mapping[str, Any]) -> PoseDataSample:
    """The people that a one-stage model found in an image, as one data sample."""
    assert output.image_size is not None
    width, height = output.image_size
    size = processor.input_size(height, width)
    factor = processor.fit_matrix(height, width)[0, 0]
    shown = {
        "input_center": np.array([width, height], np.float32) / 2,
        "input_scale": (np.array(size[::-1]) / factor).astype(np.float32),
    }
    metainfo = {**about, **_metainfo(output), **_input_metainfo(size), "img_shape": size, **shown}
    return PoseDataSample(
        metainfo=metainfo,
        gt_instances=InstanceData(),
        gt_instance_labels=InstanceData(),
        pred_instances=_pred_instances(output),
    )


def _metainfo(output: PoseOutput) -> dict[str, Any]:
    """What data samples say of the image of a result and of its keypoints."""
    metainfo: dict[str, Any] = {}
    if output.image_size is not None:
        metainfo["ori_shape"] = metainfo["img_shape"] = output.image_size[::-1]
    if output.schema is not None:
        mirrors = output.schema.flip_indices
        metainfo |= {"dataset_name": output.schema.name, "flip_indices": None if mirrors is None else list(mirrors)}
    return metainfo


def _input_metainfo(size: tuple[int, int]) -> dict[str, Any]:
    """What data samples say of the network input, of `size` (height, width)."""
    return {"input_size": size[::-1], "pad_shape": size, "batch_input_shape": size}


def _pred_instances(output: PoseOutput) -> InstanceData:
    """The people of a result, with arrays."""
    visible = output.keypoint_scores if output.keypoints_visible is None else output.keypoints_visible
    scores: dict[str, Any] = {"keypoint_scores": output.keypoint_scores, "keypoints_visible": visible}
    return InstanceData(keypoints=output.keypoints, **scores, **_boxes_of(output))


def _boxes_of(output: PoseOutput) -> dict[str, Any]:
    fields = {"bboxes": output.boxes, "bbox_scores": output.box_scores}
    return {name: value for name, value in fields.items() if value is not None}
