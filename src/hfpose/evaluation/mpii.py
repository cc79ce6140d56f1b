"""MPII's annotations as its papers and MMPose have them: a list of people, and a file of head boxes.

Source: `mmpose.datasets.MpiiDataset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.annotations import CocoFile, coco_from_content, finite_number, finite_numbers, read_json
from hfpose.errors import HFPoseError, InputError
from hfpose.evaluation.protocols import HEAD_SHARE, SCALE_UNIT
from hfpose.keypoints import load_schema
from hfpose.media.left_out import LeftOut

# Of the size of a person: how far a region is moved down, so that it does not cut off limbs.
_DOWN = 15.0 / SCALE_UNIT


def read_mpii(
    path: Path, images: Path | None = None, head_boxes: Path | None = None, *, needs_images: bool = True
) -> CocoFile:
    """MPII's annotations; coordinates, which count from 1 there, count from 0.

    Args:
        path: JSON list of people with `image`, `center`, `scale`, `joints` (16 x, y) and `joints_vis`.
        images: folder of the images; None: that of the file.
        head_boxes: `.mat` with `headboxes_src` (needs scipy), or `.npy` with its corners (N, 2, 2), one for each
            person.
        needs_images: as for `read_coco`.

    Raises:
        InputError: if a file cannot be read, or they do not belong together.
        HFPoseError: if scipy is needed and not installed.
    """
    people, folder = read_json(path), path.parent if images is None else images
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise InputError(f"{path} is no list of people with `image`, `center`, `scale`, `joints` and `joints_vis`.")
    heads = None if head_boxes is None else _read_head_boxes(head_boxes)
    if heads is not None and len(heads) != len(people):
        raise InputError(
            f"{head_boxes} has {len(heads)} head boxes, {path} has {len(people)} people; expected as many."
        )
    left_out = LeftOut()
    annotations = []
    for index, person in enumerate(people):
        annotation = _annotation(index, person)
        if annotation is None or not isinstance(annotation["image_id"], str):
            left_out.add("person without image, center, scale and 16 joints", f"person {index}")
        else:
            if heads is not None:
                annotation["head_size"] = HEAD_SHARE * float(np.linalg.norm(heads[index][1] - heads[index][0]))
            annotations.append(annotation)
    if not annotations:
        raise InputError(
            f"{path} has no person that can be used: {'; '.join(left_out.lines()) or 'the list is empty'}."
        )
    category = {"id": 1, "name": "person", "keypoints": list(load_schema("mpii").keypoint_names)}
    images_list = [{"id": name, "file_name": name} for name in dict.fromkeys(a["image_id"] for a in annotations)]
    content = {"images": images_list, "annotations": annotations, "categories": [category]}
    return coco_from_content(content, path, folder, needs_images=needs_images, left_out=left_out)


def _annotation(index: int, person: Mapping[str, Any]) -> dict[str, Any] | None:
    center, scale = finite_numbers(person.get("center"), 2), finite_number(person.get("scale"))
    joints, visible = finite_numbers(person.get("joints"), 32), finite_numbers(person.get("joints_vis"), 16)
    if center is None or scale is None or joints is None or visible is None:
        return None
    side = scale * SCALE_UNIT
    corner = np.array([center[0], center[1] + _DOWN * side]) - 1 - side / 2
    points = np.column_stack((np.array(joints).reshape(16, 2) - 1, 2 * (np.array(visible) > 0)))
    return {
        "id": index,
        "image_id": person.get("image"),
        "category_id": 1,
        "bbox": [*corner.tolist(), side, side],
        "keypoints": points.flatten().tolist(),
    }


def _read_head_boxes(path: Path) -> np.ndarray:
    """Corners (N, 2, 2) of heads."""
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False).reshape(-1, 2, 2)
        from scipy.io import loadmat

        return np.transpose(loadmat(path)["headboxes_src"], (2, 0, 1))
    except ModuleNotFoundError as error:
        raise HFPoseError(f"{path} is read by scipy, which is not installed: pip install scipy.") from error
    except Exception as error:  # scipy has kinds of its own for broken files
        raise InputError(f"{path} has no head boxes (N, 2, 2) that can be read: {error}.") from error
