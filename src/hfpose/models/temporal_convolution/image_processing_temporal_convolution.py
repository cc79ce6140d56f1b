"""Processor of temporal convolutions: 2D keypoints in pixels to network input, network output to meters.

Source: `mmpose.codecs.ImagePoseLifting` (with statistics) and `mmpose.codecs.VideoPoseLifting` (without).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.models.shared.lifting import PoseLiftingImageProcessor, PoseLiftingOutput, keypoints_of
from hfpose.ops.axes import Axes


class TemporalConvolutionImageProcessor(PoseLiftingImageProcessor):
    """Turns 2D keypoints into the input of [`TemporalConvolutionForPoseLifting`] and its output into meters.

    Args:
        keypoints_mean, keypoints_std: (K, 2) pixels that normalize the 2D keypoints. None: they are taken in half
            image widths around the image center.
        target_mean, target_std: (K, 3) meters in which the network's output is normalized, zeros and ones for a root
            that it does not predict. None: the output is in meters.
        do_use_visibility: append the visibility to x and y.

    Raises:
        ConfigError: for a mean without a standard deviation, or with one of another shape.
    """

    keypoints_mean: Sequence[Sequence[float]] | None = None
    keypoints_std: Sequence[Sequence[float]] | None = None
    target_mean: Sequence[Sequence[float]] | None = None
    target_std: Sequence[Sequence[float]] | None = None
    do_use_visibility: bool = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("keypoints", "target"):
            shapes = [np.asarray(getattr(self, f"{name}_{moment}")).shape for moment in ("mean", "std")]
            if shapes[0] != shapes[1]:
                raise ConfigError(
                    f"{name}_mean and {name}_std must be given together and have one shape, got {shapes[0]} and "
                    f"{shapes[1]}."
                )

    @property
    def needs_image_size(self) -> bool:
        return self.keypoints_mean is None

    def _encode(self, keypoints: np.ndarray, visibility: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        encoded: np.ndarray
        if self.keypoints_mean is None:
            half_width = sizes[..., None, :1] / 2
            encoded = (keypoints - sizes[..., None, :] / 2) / half_width
        else:
            mean, std = np.asarray(self.keypoints_mean, np.float32), np.asarray(self.keypoints_std, np.float32)
            encoded = (keypoints - mean) / std
        return np.concatenate((encoded, visibility[..., None]), axis=-1) if self.do_use_visibility else encoded

    def post_process_pose_lifting(
        self,
        outputs: PoseLiftingOutput | Tensor | np.ndarray,
        image_sizes: np.ndarray | Sequence[int] | None = None,
        roots: np.ndarray | None = None,
        do_normalize_boxes: bool | None = None,
        do_root_relative: bool | None = None,
        axes: Axes | None = None,
        do_rebase_height: bool | None = None,
    ) -> np.ndarray:
        """Keypoints in meters.

        Args:
            outputs: of the model, or its `keypoints_3d` (B, T, K, 3).
            image_sizes, do_normalize_boxes: taken as other lifters take them, and not used: the output is in meters.
            roots: (B, T, 3) or (T, 3) where the root lies in the camera's axes, in meters, if that is known. Keypoints
                are then relative to the camera unless `do_root_relative` asks otherwise.
            do_root_relative, axes, do_rebase_height: replace the processor's own.

        Returns:
            (B, T, K, 3) float32.
        """
        keypoints = keypoints_of(outputs)
        if self.target_mean is not None:
            keypoints = keypoints * np.asarray(self.target_std, np.float32) + np.asarray(self.target_mean, np.float32)
        if roots is not None:
            keypoints += np.asarray(roots, np.float32)[..., None, :]
            do_root_relative = bool(do_root_relative)
        return self._to_output_axes(keypoints, do_root_relative, axes, do_rebase_height)
