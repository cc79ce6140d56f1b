"""Results of a model as a first draft of annotations, in COCO's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.annotations.coco_format import CocoFile, coco_from_content
from hfpose.annotations.yolo_format import common_folder
from hfpose.keypoints import KeypointSchema
from hfpose.media.left_out import LeftOut
from hfpose.ops.boxes import with_sizes
from hfpose.results import PoseOutput


def pre_labels(
    outputs: Mapping[Path, PoseOutput], schema: KeypointSchema, keypoint_threshold: float, path: Path
) -> CocoFile:
    """Annotations of what was found; keypoints with a low score, or outside of the image, are not labeled, so that a
    person sets them.

    Args:
        outputs: image file -> what was found in it, with boxes and keypoints in two dimensions.
        schema: of the keypoints.
        keypoint_threshold: minimum score of a keypoint that is labeled, as a visible one.
        path: where the annotations will be, for messages.

    Raises:
        InputError: if no image could be used.
    """
    left_out, folder = LeftOut(), common_folder(outputs)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, output in outputs.items():
        if output.error is not None or output.image_size is None or output.boxes is None:
            left_out.add("image that could not be used", output.error or image)
            continue
        width, height = output.image_size
        is_inside = ((output.keypoints >= 0) & (output.keypoints <= (width, height))).all(-1)
        name = image.relative_to(folder).as_posix()
        images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
        known = is_inside & (output.keypoint_scores >= keypoint_threshold)
        rows = np.concatenate((output.keypoints, 2.0 * known[..., None]), -1) * known[..., None]
        for row, box, count in zip(
            rows.reshape(len(rows), -1), with_sizes(output.boxes), known.sum(1).tolist(), strict=True
        ):
            instance = {"id": len(annotations) + 1, "image_id": len(images), "category_id": 1, "iscrowd": 0}
            instance |= {"bbox": box.astype(float).round(2).tolist(), "num_keypoints": count}
            annotations.append(instance | {"keypoints": row.astype(float).round(2).tolist()})
    skeleton = [[first + 1, second + 1] for first, second in schema.skeleton]
    category = {"id": 1, "name": "person", "keypoints": list(schema.keypoint_names), "skeleton": skeleton}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    return coco_from_content(content, path, folder, left_out=left_out)
