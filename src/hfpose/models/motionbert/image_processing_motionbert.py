"""Processor of MotionBERT: 2D keypoints in pixels to network input, network output to meters.

Source: `mmpose.codecs.MotionBERTLabel`.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hfpose.models.shared.lifting import PoseLiftingImageProcessor, PoseLiftingOutput, keypoints_of
from hfpose.ops.axes import Axes


class MotionBertImageProcessor(PoseLiftingImageProcessor):
    """Turns 2D keypoints into the input of [`MotionBertForPoseLifting`] and its output into meters.

    Args:
        depth_factor: millimeters that a pixel of the image spans at the person; 4 where no camera is known.
        zero_root: the network was trained with its root at the origin, so what it says of the root is not looked at:
            as in the reference of the first keypoint, also where `root_index` is another.
    """

    depth_factor: float = 4.0
    zero_root: bool = True
    flip_test: bool = True

    def _encode(self, keypoints: np.ndarray, visibility: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        width, height = sizes[..., None, :1], sizes[..., None, 1:]
        encoded = keypoints / width * 2 - np.concatenate((np.ones_like(width), height / width), axis=-1)
        return np.concatenate((encoded, visibility[..., None]), axis=-1)

    def post_process_pose_lifting(
        self,
        outputs: PoseLiftingOutput | Tensor | np.ndarray,
        image_sizes: np.ndarray | Sequence[int],
        depth_factors: np.ndarray | None = None,
        do_normalize_boxes: bool | None = None,
        do_root_relative: bool | None = None,
        axes: Axes | None = None,
        do_rebase_height: bool | None = None,
    ) -> np.ndarray:
        """Keypoints in meters.

        Args:
            outputs: of the model, or its `keypoints_3d` (B, T, K, 3).
            image_sizes: as in `preprocess`.
            depth_factors: (T,) or (B, T) millimeters per pixel, where a camera is known; default `depth_factor`.
            do_normalize_boxes: as in `preprocess`; it counts where there is a `box_image_size`.
            do_root_relative, axes, do_rebase_height: replace the processor's own.

        Returns:
            (B, T, K, 3) float32.
        """
        keypoints = keypoints_of(outputs)
        if self.zero_root:
            keypoints[..., 0, :] = 0
        sizes = self._sizes(image_sizes, keypoints.shape, do_normalize_boxes)
        width, height = sizes[..., 0], sizes[..., 1]
        keypoints[..., 0] += 1
        keypoints[..., 1] += (height / width)[..., None]
        factors = np.asarray(self.depth_factor if depth_factors is None else depth_factors, np.float32)
        keypoints *= (width / 2 * factors)[..., None, None] / 1000
        return self._to_output_axes(keypoints, do_root_relative, axes, do_rebase_height)
