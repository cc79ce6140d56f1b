"""Human3.6M's protocols: mean per-joint position error as it is (1) and after alignment (2).

Source: `mmpose.evaluation.metrics.MPJPE`; the file of annotations is that of MMPose's data preparation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hfpose.errors import InputError
from hfpose.evaluation.metrics import Metrics, mpjpe

ALIGNMENTS = {"MPJPE": "none", "P-MPJPE": "procrustes"}


def read_array(path: Path, key: str) -> np.ndarray:
    """The array `key` of an `.npz` file, or the only one of a `.npy` file.

    Raises:
        InputError: if there is none that can be read.
    """
    try:
        read = np.load(path, allow_pickle=False)
        return read if isinstance(read, np.ndarray) else read[key]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} has no array {key!r} that can be read: {error}.") from error


def evaluate_human36m(data: Path, results: Path) -> Metrics:
    """Measure 3D keypoints, all together and by action, in the units of the data (metres in MMPose's files).

    Args:
        data: `.npz` with `S` (N, 17, 4), the fourth number 1 for keypoints that count, and `imgname` (N,), from which the
            action is read: "S9_Directions_1.54138969_000001.jpg".
        results: `.npz` with `keypoints` (N, 17, 3), or `.npy` with them, in the order of the data.

    Raises:
        InputError: if a file cannot be read, or they do not belong together.
    """
    target, names = read_array(data, "S"), read_array(data, "imgname")
    predicted = read_array(results, "keypoints")
    if target.ndim != 3 or target.shape[2] != 4 or predicted.shape != (*target.shape[:2], 3):
        raise InputError(
            f"{results} has keypoints of the shape {predicted.shape}, {data} has S of the shape {target.shape}; expected "
            "(N, 17, 3) and (N, 17, 4)."
        )
    metrics = Metrics()
    finite = np.isfinite(predicted).all((1, 2))
    for name in names[~finite]:
        metrics.left_out.add("result with numbers that are not finite", name)
    mask = (target[..., 3] > 0) & finite[:, None]
    actions = np.array([_action(str(name)) for name in names])
    predicted = np.where(finite[:, None, None], predicted, target[..., :3])
    for metric, alignment in ALIGNMENTS.items():
        for action in ("", *np.unique(actions)):
            rows = np.ones(len(actions), bool) if not action else actions == action
            value = mpjpe(predicted[rows], target[rows, :, :3], mask[rows], alignment)  # type: ignore[arg-type]
            metrics.add(f"{metric} {action}".rstrip(), value, "no keypoint that counts has a result")
    return metrics


def _action(name: str) -> str:
    """ "S9/S9_Directions_1.54138969/S9_Directions_1.54138969_000001.jpg" -> "Directions"."""
    file_name = name.replace("\\", "/").rsplit("/", 1)[-1]
    return file_name.partition("_")[2].partition(".")[0].partition("_")[0]
