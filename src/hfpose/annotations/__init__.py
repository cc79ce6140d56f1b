"""Annotated images: COCO's format and YOLO's, read and written."""

from hfpose.annotations.coco_format import (
    WHOLE_BODY_PARTS,
    AnnotatedImage,
    CocoFile,
    ImageBoxes,
    PoseInstances,
    annotated_keypoints,
    annotation_name,
    coco_from_content,
    given_keypoints,
    image_boxes,
    is_crowd,
    pose_instances,
    read_coco,
    read_json,
)
from hfpose.annotations.named_keypoints import annotated_schema, check_keypoints, read_schema, unnamed_categories
from hfpose.annotations.pre_labels import pre_labels
from hfpose.annotations.values import (
    finite_number,
    finite_numbers,
    id_lookup,
    id_order,
    keypoint_rows,
    listed_id,
    usable_area,
)
from hfpose.annotations.writing import write_coco, write_yolo
from hfpose.annotations.yolo_format import Split, images_below, is_yolo, read_annotations, read_yolo

__all__ = [
    "WHOLE_BODY_PARTS",
    "AnnotatedImage",
    "CocoFile",
    "ImageBoxes",
    "PoseInstances",
    "Split",
    "annotated_keypoints",
    "annotated_schema",
    "annotation_name",
    "check_keypoints",
    "coco_from_content",
    "finite_number",
    "finite_numbers",
    "given_keypoints",
    "id_lookup",
    "id_order",
    "image_boxes",
    "images_below",
    "is_crowd",
    "is_yolo",
    "keypoint_rows",
    "listed_id",
    "pose_instances",
    "pre_labels",
    "read_annotations",
    "read_coco",
    "read_json",
    "read_schema",
    "read_yolo",
    "unnamed_categories",
    "usable_area",
    "write_coco",
    "write_yolo",
]
