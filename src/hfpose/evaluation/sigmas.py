"""Sigmas of a schema of one's own, out of annotations of the same images by several people.

Source: https://cocodataset.org/#keypoints-eval: the variance of a keypoint is the mean of the squared distance between
its annotations and its true place, divided by the area of the instance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hfpose.annotations import CocoFile, PoseInstances, check_keypoints, finite_number, pose_instances
from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.ops.boxes import pairwise_iou
from hfpose.ops.pose_similarity import AREA_OF_BOX

# Boxes of different files that overlap by this IoU are of the same instance.
SAME_INSTANCE_IOU = 0.5


def estimate_sigmas(files: Sequence[CocoFile], schema: KeypointSchema) -> tuple[np.ndarray, np.ndarray]:
    """Sigmas of the K keypoints.

    The true place is not known: it is the mean of the annotations, which costs one degree of freedom. An instance of
    the first file is that of another one with the nearest box of the same image, from an IoU of 0.5 on.

    Args:
        files: at least two, of the same images and keypoints, each annotated without looking at the others. Where
            they lead to the same image files these are the same images, else those of the same name are.

    Returns:
        Sigmas (K,), NaN where no keypoint is labeled twice, and how many instances each is estimated from (K,).

    Raises:
        InputError: if there is one file alone, keypoints differ, or no instance is annotated twice.
    """
    if len(files) < 2:
        raise InputError(f"Sigmas are estimated from repeated annotations: give at least two files, not {len(files)}.")
    for file in files:
        check_keypoints(file, schema)
    first, *others = (pose_instances(file, schema) for file in files)
    keypoints, labeled = [first.keypoints.astype(np.float64)], [first.visibility > 0]
    for other in others:
        partners = _partners(first, other)
        keypoints.append(other.keypoints[partners].astype(np.float64))
        labeled.append((other.visibility[partners] > 0) & (partners >= 0)[:, None])
    points, counts_in = np.stack(keypoints), np.stack(labeled)[..., None]  # (R, N, K, 2) and (R, N, K, 1)
    repeats = counts_in.sum(0)[..., 0]
    mean = (points * counts_in).sum(0) / np.maximum(repeats, 1)[..., None]
    squares = (np.square(points - mean) * counts_in).sum((0, 3)) / _areas(first)[:, None]
    freedom = np.maximum(repeats - 1, 0)
    if not freedom.any():
        raise InputError("No keypoint of an instance is labeled in two of the files. Do they have the same images?")
    variances = (squares * (freedom > 0)).sum(0) / np.where(freedom.any(0), freedom.sum(0), np.nan)
    return np.sqrt(variances), (freedom > 0).sum(0)


def _partners(instances: PoseInstances, others: PoseInstances) -> np.ndarray:
    """Index (N,) of the instance in `others` that each is, -1 for none."""
    partners = np.full(len(instances), -1)
    paths = [{image.path for image in some.images} for some in (instances, others)]
    is_shared = not paths[0].isdisjoint(paths[1])
    names = [
        np.array([str(path if is_shared else path.name) for path in (some.images[i].path for i in some.image_indices)])
        for some in (instances, others)
    ]
    for name in np.unique(names[0]):
        rows, candidates = (np.flatnonzero(of_file == name) for of_file in names)
        if len(candidates):
            overlaps = pairwise_iou(instances.boxes[rows], others.boxes[candidates])
            best = overlaps.argmax(1)
            is_same = overlaps.max(1) >= SAME_INSTANCE_IOU
            partners[rows[is_same]] = candidates[best[is_same]]
    return partners


def _areas(instances: PoseInstances) -> np.ndarray:
    """Areas (N,) as annotated, else a share of the box."""
    stated = [finite_number(annotation.get("area")) for annotation in instances.annotations]
    sides = instances.boxes[:, 2:] - instances.boxes[:, :2]
    return np.array([AREA_OF_BOX * s.prod() if a is None else a for a, s in zip(stated, sides, strict=True)])
