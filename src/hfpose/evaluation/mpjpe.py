"""Human3.6M's protocols: mean per-joint position error as it is (1) and after alignment (2).

Source: `mmpose.evaluation.metrics.MPJPE`; the file of annotations is that of MMPose's data preparation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hfpose.errors import InputError
from hfpose.evaluation.metrics import Metrics, mpjpe
from hfpose.evaluation.protocols import HUMAN36M_PROTOCOLS
from hfpose.ops.boxes import extents
from hfpose.pipelines.lifting_stage import TemporalLifter
from hfpose.pipelines.person_clips import PersonClip
from hfpose.pipelines.stage import Stage

ALIGNMENTS: Mapping[str, Literal["none", "procrustes"]] = {"MPJPE": "none", "P-MPJPE": "procrustes"}

# Images are 1000 pixels wide, and as high but for those of two cameras.
WIDTH, HEIGHTS = 1000, {"54138969": 1002, "60457274": 1002}


def read_array(path: Path, key: str) -> np.ndarray:
    """The array `key` of an `.npz` file, or the only one of a `.npy` file, of any shape.

    Raises:
        InputError: if there is none that can be read.
    """
    try:
        read = np.load(path, allow_pickle=False)
        return read if isinstance(read, np.ndarray) else read[key]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} has no array {key!r} that can be read: {error}.") from error


def lift_human36m(stage: Stage, data: Path, *, flip_test: bool = False, batch_size: int = 8) -> np.ndarray:
    """Lift the annotated 2D keypoints, each clip as a whole, in windows of the model's length that do not overlap more
    than they must.

    A lifter whose output is in pixels gets meters by the camera that took the annotated 2D and 3D keypoints, as in the
    reference.

    Args:
        stage: a lifter with its processor.
        data: as for `evaluate_human36m`, and `part` (N, 17, 2 or 3), pixels of the 2D keypoints.
        flip_test, batch_size: see `TemporalLifter`.

    Returns:
        (N, 17, 3) keypoints in meters, axes of the camera, around the roots of the data.

    Raises:
        InputError: if the file cannot be read, or `S` is not in the axes of the camera and the lifter needs it.
    """
    target, pixels, names = (read_array(data, key) for key in ("S", "part", "imgname"))
    if pixels.ndim != 3 or pixels.shape[2] < 2 or pixels.shape[:2] != target.shape[:2]:
        raise InputError(f"{data} has `part` of the shape {pixels.shape}; expected ({len(target)}, 17, 2 or 3).")
    names = np.array([_file_name(name) for name in names.astype(str)])
    cameras = np.array([name.partition(".")[2].partition("_")[0] for name in names])
    processor = stage.image_processor
    # Lifters that were trained with box normalization say of what size; with others the reference takes boxes as they
    # are.
    do_normalize_boxes = processor.box_image_size is not None
    is_in_pixels = hasattr(processor, "depth_factor")
    lifter = TemporalLifter(
        stage,
        overlap=0,
        batch_size=batch_size,
        flip_test=flip_test,
        do_normalize_boxes=do_normalize_boxes,
        # What a network in meters says of the root counts, as in the reference.
        do_root_relative=is_in_pixels,
        axes="camera",
    )
    clips = [name.rpartition("_")[0] for name in names]
    rows = [np.flatnonzero(np.array(clips) == clip) for clip in dict.fromkeys(clips)]
    lifted = lifter.lift_clips([_clip(pixels[own, :, :2], cameras[own[0]]) for own in rows])
    keypoints = np.empty((*target.shape[:2], 3))
    keypoints[np.concatenate(rows)] = np.concatenate(lifted)
    if is_in_pixels and not do_normalize_boxes:
        factors = _millimeters_per_pixel(pixels[..., 0], target, cameras, data) / processor.depth_factor
        keypoints *= factors[:, None, None]
    return keypoints + target[:, :1, :3]


def _clip(pixels: np.ndarray, camera: str) -> PersonClip:
    keypoints = (pixels / WIDTH).astype(np.float32)
    count = len(keypoints)
    scores = np.ones(keypoints.shape[:2], np.float32)
    size = (WIDTH, HEIGHTS.get(camera, WIDTH))
    return PersonClip(0, 0, size, keypoints, scores, extents(keypoints), scores[:, 0], np.zeros(count, int))


def _millimeters_per_pixel(x: np.ndarray, target: np.ndarray, cameras: np.ndarray, data: Path) -> np.ndarray:
    """What a pixel spans at each root (N,), from where keypoints (N, 17, 4) lie along x (N, 17) in the images."""
    depths = target[..., 2]
    if not (depths > 0).all():
        raise InputError(
            f"{data} has keypoints at or behind the camera in `S`, so it tells no size. Give `S` in meters along the "
            "camera's axes (x right, y down, z away), not relative to the root, as MMPose's preparation of Human3.6M "
            "writes it."
        )
    spans = np.empty(len(x))
    for camera in np.unique(cameras):
        own = cameras == camera
        focal_length = np.polyfit((target[own, :, 0] / depths[own]).ravel(), x[own].ravel(), 1)[0]
        spans[own] = 1000 * depths[own, 0] / focal_length
    return spans


def evaluate_human36m(
    data: Path,
    predicted: np.ndarray,
    names: Sequence[str] = HUMAN36M_PROTOCOLS["h36m"],
    source: object = "predictions",
) -> Metrics:
    """Measure 3D keypoints, all together and by action, in the units of the data (meters in MMPose's files).

    Args:
        data: `.npz` with `S` (N, 17, 4), the fourth number 1 for keypoints that count, and `imgname` (N,), from which
            the action is read: "S9_Directions_1.54138969_000001.jpg".
        predicted: (N, 17, 3), in the order of the data; relative to the root where all roots are 0.
        names: of the metrics.
        source: what errors call the predictions.

    Raises:
        InputError: if the file cannot be read, or the predictions do not belong to it.
    """
    target, images = read_array(data, "S"), read_array(data, "imgname").astype(str)
    if target.ndim != 3 or target.shape[2] != 4 or predicted.shape != (*target.shape[:2], 3):
        raise InputError(
            f"{source} has keypoints of the shape {predicted.shape}, {data} has S of the shape {target.shape}; "
            "expected (N, 17, 3) and (N, 17, 4)."
        )
    metrics = Metrics()
    finite = np.isfinite(predicted).all((1, 2))
    for name in images[~finite]:
        metrics.left_out.add("result with numbers that are not finite", name)
    mask = (target[..., 3] > 0) & finite[:, None]
    actions = np.array([_action(_file_name(name)) for name in images])
    target = target[..., :3]
    predicted = np.where(finite[:, None, None], predicted, target)
    if not predicted[finite, 0].any():
        target = target - target[:, :1]
    for metric in names:
        for action in ("", *np.unique(actions)):
            rows = np.ones(len(actions), bool) if not action else actions == action
            value = mpjpe(predicted[rows], target[rows], mask[rows], ALIGNMENTS[metric])
            metrics.add(f"{metric} {action}".rstrip(), value, "no keypoint that counts has a result")
    return metrics


def _file_name(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _action(name: str) -> str:
    """ "S9_Directions_1.54138969_000001.jpg" -> "Directions"."""
    return name.partition("_")[2].partition(".")[0].partition("_")[0]
