"""Lifting one long video with several processes.

All of them follow the same people through the video, which is quick, and so come to the same batches of windows for the
lifter. Of these each process lifts those that it gets hold of, and leaves the results in files for the one that joins the
video.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from hfpose.media.files import atomic_path
from hfpose.pipelines.stage import Stage


class SharedBatches:
    """Runs a lifter for some of the batches that it is given, and takes the results of others from files.

    Args:
        stage: the lifter.
        folder: where the results are.
        is_mine: whether the batch of a number is to be lifted here, asked once for each; the others' results are zeros. None
            takes what there is from files, and lifts the rest.
    """

    name = "stored batches"
    inner_dtype: torch.dtype | None = None
    memory_format = torch.contiguous_format

    def __init__(self, stage: Stage, folder: Path, is_mine: Callable[[int], bool] | None = None) -> None:
        self._stage = stage
        self._folder = folder
        self._is_mine = is_mine
        self._count = 0

    @property
    def computing_dtype(self) -> torch.dtype:
        return self._stage.dtype

    @property
    def input_dtype(self) -> torch.dtype:
        return self._stage.dtype

    def refresh(self) -> None:
        """Nothing is made of the lifter here."""

    def __call__(self, *, keypoints_2d: torch.Tensor, **arguments: Any) -> SimpleNamespace:
        """As `MotionBertForPoseLifting.forward`: `keypoints_3d` (B, T, K, 3) for `keypoints_2d` (B, T, K, C)."""
        number = self._count
        self._count += 1
        shape = (*keypoints_2d.shape[:3], 3)
        if self._is_mine is not None and not self._is_mine(number):
            return SimpleNamespace(keypoints_3d=torch.zeros(shape))
        path = self._folder / f"lifted-{number:06d}.npy"
        with suppress(OSError, ValueError, EOFError):  # what is not there or is damaged is lifted here
            stored = np.load(path, allow_pickle=False)
            if stored.shape == shape and stored.dtype == np.float32:
                return SimpleNamespace(keypoints_3d=torch.from_numpy(stored))
        lifted = self._stage.run(keypoints_2d=keypoints_2d, **arguments).keypoints_3d.float().cpu()
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.save(file, lifted.numpy())
        return SimpleNamespace(keypoints_3d=lifted)
