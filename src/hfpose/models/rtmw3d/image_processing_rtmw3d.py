"""RTMW3D image processor: keypoints in pixels and depth, and from there to meters.

Source: `projects/rtmpose3d` of MMPose: `SimCC3DLabel`, `TopdownPoseEstimator3D`.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.errors import InputError
from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor
from hfpose.models.shared.settings import Count, Positive
from hfpose.ops.axes import Axes, turn_axes
from hfpose.ops.maxima import greatest

ReferenceMode = Literal["3d", "vis", "2d"]

# Of the cameras of Human3.6M, in pixels, for which the reference takes every camera.
FOCAL_LENGTHS = (1145.04940459, 1143.78109572)


class RTMW3DImageProcessor(RTMPoseImageProcessor):
    """Crops for [`RTMW3DForPoseEstimation`], and 3D keypoints from its SimCC outputs.

    Depth relative to the hips is metric by itself. What lies across the view is metric as far as the distance of the
    person and the camera's focal length are: by default those of the training data, so a person who is small in the
    image is small in meters too.

    Args:
        depth_size, depth_range: see [`RTMW3DConfig`].
        root_indices: the keypoints whose middle is the root: the hips.
        root_depth: distance of the root from the camera in meters, the mean of the training data.
        do_root_relative: coordinates relative to the root, else to the camera.
        axes: of results, see [`Axes`].
        do_rebase_height: move each person up or down so that their lowest keypoint has z = 0, where z points up.
    """

    depth_size: Count = 288
    depth_range: Positive = 2.1744869
    root_indices: Sequence[int] = (11, 12)
    root_depth: Positive = 5.14388
    do_root_relative: bool = True
    axes: Axes = "world"
    do_rebase_height: bool = True
    flip_test: bool = False

    def decode(self, outputs: ModelOutput, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints of every crop: x and y in pixels of its image, z in meters relative to the hips, away from the
        camera.

        Returns:
            Keypoints (N, K, 3) and scores (N, K), float32.
        """
        places, scores = super().decode(outputs, boxes)
        _, bins = greatest(outputs["simcc_z"].float())
        found = torch.from_numpy(scores > 0).to(bins.device)
        cells = torch.where(found, bins, -1) / self.simcc_split_ratio  # as for x and y where there is no response
        depth = (cells / (self.depth_size / 2) - 1) * self.depth_range
        return np.concatenate((places, depth.cpu().numpy()[..., None]), axis=-1).astype(np.float32), scores

    def unflipped(self, flipped: ModelOutput, flip_indices: list[int]) -> dict[str, Tensor]:
        return {**super().unflipped(flipped, flip_indices), "simcc_z": flipped["simcc_z"][:, flip_indices]}

    def to_meters(
        self,
        keypoints: np.ndarray,
        image_size: tuple[int, int],
        *,
        focal_length: float | None = None,
        field_of_view: float | None = None,
        root_depth: Positive | None = None,
        do_root_relative: bool | None = None,
        axes: Axes | None = None,
        do_rebase_height: bool | None = None,
    ) -> np.ndarray:
        """Keypoints (N, K, 3) in meters from those of `decode`, with the camera's axis through the middle of the
        image.

        Args:
            keypoints: (N, K, 3) of `decode`.
            image_size: width and height of the image in pixels.
            focal_length: in pixels; default that of the training data.
            field_of_view: angle in degrees that the image's width spans, instead of `focal_length`.
            root_depth, do_root_relative, axes, do_rebase_height: replace the processor's own.

        Raises:
            InputError: for a focal length and a field of view at once, or values out of range.
        """
        focal = np.asarray(_focal_lengths(image_size, focal_length, field_of_view), np.float32)
        distance = self.root_depth if root_depth is None else root_depth
        if distance <= 0:
            raise InputError(f"root_depth must be above 0 meters, got {distance}.")
        meters = _through_camera(keypoints, np.asarray(image_size, np.float32) / 2, focal, distance)
        if self.do_root_relative if do_root_relative is None else do_root_relative:
            meters -= meters[:, self.root_indices].mean(1, keepdims=True)
        axes = self.axes if axes is None else axes
        meters = turn_axes(meters, axes)
        if axes != "camera" and (self.do_rebase_height if do_rebase_height is None else do_rebase_height):
            meters[..., 2] -= meters[..., 2].min(-1, keepdims=True)
        return meters

    def as_reference(
        self, keypoints: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], mode: ReferenceMode
    ) -> np.ndarray:
        """What the reference gives in one of its modes, from keypoints (N, K, 3) of `decode`.

        Args:
            keypoints: (N, K, 3) of `decode`.
            boxes: (N, 4) the boxes that were cropped.
            image_size: width and height of the image in pixels.
            mode: `"3d"`: (N, K, 3) meters relative to the camera, whose axis the reference takes to go through (height
                / 2, width / 2). `"vis"`: (N, K, 3) pixels of the crop, depth in pixels too. `"2d"`: (N, K, 2) pixels
                of the image.

        Raises:
            InputError: for another mode.
        """
        if mode not in get_args(ReferenceMode):
            raise InputError(f"The reference has the modes {', '.join(get_args(ReferenceMode))}, got {mode!r}.")
        if mode == "2d":
            return keypoints[..., :2]
        if mode == "3d":
            center = np.array(image_size[::-1], np.float32) / 2
            return _through_camera(keypoints, center, np.array(FOCAL_LENGTHS, np.float32), self.root_depth)
        centers, scales = self.centers_and_scales(boxes)
        places = (keypoints[..., :2] - centers[:, None]) / scales[:, None] + 0.5
        depth = (keypoints[..., 2:] / self.depth_range + 1) * (self.depth_size / 2)
        return np.concatenate((places * np.asarray(self._crop_size, np.float32), depth), axis=-1)


def _focal_lengths(
    image_size: tuple[int, int], focal_length: float | None, field_of_view: float | None
) -> tuple[float, float]:
    """Focal length in pixels across and along the image."""
    if focal_length is not None and field_of_view is not None:
        raise InputError("Give focal_length or field_of_view, not both; one follows from the other.")
    if field_of_view is not None:
        if not 0 < field_of_view < 180:
            raise InputError(f"field_of_view must be more than 0 and less than 180 degrees, got {field_of_view}.")
        focal_length = image_size[0] / 2 / math.tan(math.radians(field_of_view) / 2)
    if focal_length is None:
        return FOCAL_LENGTHS
    if focal_length <= 0:
        raise InputError(f"focal_length must be above 0 pixels, got {focal_length}.")
    return focal_length, focal_length


def _through_camera(
    keypoints: np.ndarray, center: np.ndarray, focal_lengths: np.ndarray, root_depth: float
) -> np.ndarray:
    """Keypoints (N, K, 3) in meters relative to a pinhole camera, x right, y down, z away."""
    depth = keypoints[..., 2:] + np.float32(root_depth)
    return np.concatenate(((keypoints[..., :2] - center) / focal_lengths * depth, depth), axis=-1)
