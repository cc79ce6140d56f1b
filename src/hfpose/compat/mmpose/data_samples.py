"""Results in MMPose's forms: lists of plain dicts, and data samples."""

from __future__ import annotations

from typing import Any

import numpy as np

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
    """Indices of the boxes that stay, best first: of two whose IoU is more than `thr` the worse one goes.

    Args:
        dets: (N, 5) x1, y1, x2, y2, score; pixels of the edges are counted, as in `mmpose.evaluation.nms`.
        thr: largest IoU.
    """
    boxes = np.asarray(dets).reshape(-1, 5)
    return suppress_boxes(boxes[:, :4], boxes[:, 4], thr, offset=PIXEL_OFFSET).tolist()


def reference_name(frame: Frame) -> str:
    """What MMPose calls the file of a frame: its path, or a number for an array."""
    return frame.source or f"{frame.name}.jpg"


def data_sample_of(frame: Frame, output: PoseOutput) -> PoseDataSample:
    """A result as a data sample; heatmaps are brought to the whole image."""
    metainfo: dict[str, Any] = {"img_path": reference_name(frame)}
    if output.image_size is not None:
        width, height = output.image_size
        metainfo |= {"ori_shape": (height, width), "img_shape": (height, width)}
    if output.schema is not None:
        metainfo["dataset_name"] = output.schema.name
        mirrors = output.schema.flip_indices
        metainfo["flip_indices"] = None if mirrors is None else list(mirrors)
    sample = PoseDataSample(
        metainfo=metainfo, gt_instances=InstanceData(**_boxes_of(output)), pred_instances=pred_instances_of(output)
    )
    if output.heatmaps is not None and output.heatmap_boxes is not None and output.num_instances:
        crops = [
            PoseDataSample(metainfo=metainfo | crop_metainfo(region), pred_fields=PixelData(heatmaps=heatmaps))
            for heatmaps, region in zip(output.heatmaps, output.heatmap_boxes, strict=True)
        ]
        sample.pred_fields = merge_data_samples(crops).pred_fields
    return sample


def pred_instances_of(output: PoseOutput) -> InstanceData:
    """The people of a result, with arrays."""
    visible = output.keypoint_scores if output.keypoints_visible is None else output.keypoints_visible
    scores: dict[str, Any] = {"keypoint_scores": output.keypoint_scores, "keypoints_visible": visible}
    return InstanceData(keypoints=output.keypoints, **scores, **_boxes_of(output))


def crop_metainfo(region: np.ndarray) -> dict[str, np.ndarray]:
    """Where a crop was in its image: center (2,) and size (2,) of `region` (4,) x1, y1, x2, y2, in pixels."""
    return {"input_center": (region[:2] + region[2:]) / 2, "input_scale": region[2:] - region[:2]}


def _boxes_of(output: PoseOutput) -> dict[str, Any]:
    fields = {"bboxes": output.boxes, "bbox_scores": output.box_scores}
    return {name: value for name, value in fields.items() if value is not None}
