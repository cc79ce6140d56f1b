"""Processor of MotionBERT: 2D keypoints in pixels to network input, network output to meters.

Source: `mmpose.codecs.MotionBERTLabel`, `mmpose.apis.inference_3d`, `mmpose.apis.inferencers.Pose3DInferencer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import TensorType

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.models.motionbert.human36m import keypoints_to_h36m
from hfpose.models.motionbert.modeling_motionbert import PoseLiftingOutput

# Smallest box side in pixels that box normalization divides by.
_MIN_BOX_SIZE = 1.0


class MotionBertImageProcessor(BaseImageProcessor):
    """Turns 2D keypoints into the input of [`MotionBertForPoseLifting`] and its output into meters.

    It takes no pictures; it bears the name that transformers' Auto classes look for. Arrays are over clips, frames
    and keypoints: (B, T, K, ...), or (T, K, ...) for one clip.

    Args:
        do_normalize_boxes: before anything else, move and scale each pose so that its box has `box_center` and
            `box_scale`, the averages of Human3.6M's pictures. It brings people of any size and place near what the
            model was trained on, and it forgets where in the picture they walk.
        box_center: x and y in pixels.
        box_scale: longer side in pixels.
        box_image_size: width and height in pixels of the pictures that these averages are of, and that poses are taken
            to lie in after they were moved and scaled. None takes the size of each picture, as the reference does:
            what the network sees depends on the resolution then.
        do_use_scores: whether pipelines give the scores of the 2D keypoints as visibility, for models that were trained
            with them; the reference's were not.
        depth_factor: millimeters that a pixel of the picture spans at the person; 4 where no camera is known.
        root_index: the keypoint that others are relative to.
        zero_root: the network was trained with its root at the origin, so what it says of the root is not looked at.
        do_root_relative: coordinates relative to the root.
        do_swap_axes: make (-x, z, -y) of (x right, y down, z), so that the last axis points up, as the reference does. Depth
            keeps the direction that the lifter was trained with.
        depth_points_away: that direction is away from the camera, as for the reference's checkpoints, whose people are
            mirror images once axes are swapped; else toward the camera.
        do_rebase_height: move each pose up or down so that its lowest keypoint has z = 0.
    """

    model_input_names = ["keypoints_2d"]

    def __init__(
        self,
        do_normalize_boxes: bool = True,
        box_center: Sequence[float] = (528.0, 427.0),
        box_scale: float = 400.0,
        box_image_size: Sequence[float] | None = None,
        do_use_scores: bool = False,
        depth_factor: float = 4.0,
        root_index: int = 0,
        zero_root: bool = True,
        do_root_relative: bool = True,
        do_swap_axes: bool = True,
        depth_points_away: bool = True,
        do_rebase_height: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.do_normalize_boxes = do_normalize_boxes
        self.box_center = list(box_center)
        self.box_scale = box_scale
        self.box_image_size = None if box_image_size is None else list(box_image_size)
        self.do_use_scores = do_use_scores
        self.depth_factor = depth_factor
        self.root_index = root_index
        self.zero_root = zero_root
        self.do_root_relative = do_root_relative
        self.do_swap_axes = do_swap_axes
        self.depth_points_away = depth_points_away
        self.do_rebase_height = do_rebase_height

    def __call__(self, keypoints: np.ndarray, *args: Any, **kwargs: Any) -> BatchFeature:  # type: ignore[override]
        """See `preprocess`."""
        return self.preprocess(keypoints, *args, **kwargs)

    def preprocess(
        self,
        keypoints: np.ndarray,
        image_sizes: np.ndarray | Sequence[int],
        boxes: np.ndarray | None = None,
        visibility: np.ndarray | None = None,
        schema: KeypointSchema | str = "h36m",
        do_normalize_boxes: bool | None = None,
        return_tensors: str | TensorType | None = None,
        **_: Any,
    ) -> BatchFeature:
        """Network input for one clip or several of the same length.

        Args:
            keypoints: (B, T, K, 2) or (T, K, 2) pixels.
            image_sizes: width and height of the picture, one pair for all, or (T, 2), or (B, T, 2) for each frame.
            boxes: (B, T, 4) or (T, 4) `x1, y1, x2, y2`, for box normalization; default the extent of the keypoints.
            visibility: (B, T, K) or (T, K); default 1 as in the reference, whose models were trained so.
            schema: what the K keypoints mean; they become Human3.6M's 17.
            do_normalize_boxes: replaces the processor's own.

        Returns:
            `keypoints_2d` (B, T, 17, 3).

        Raises:
            InputError: if a shape does not fit or a value is not finite.
            ConfigError: if nobody has said how the keypoints of `schema` become Human3.6M's.
        """
        keypoints = np.asarray(keypoints, np.float32)
        if keypoints.ndim == 3:
            keypoints = keypoints[None]
        if keypoints.ndim != 4 or keypoints.shape[-1] != 2:
            raise InputError(f"keypoints must have shape (clips, frames, keypoints, 2), got {keypoints.shape}.")
        if not np.isfinite(keypoints).all():
            raise InputError("keypoints holds values that are not finite. Drop or interpolate those frames before.")
        sizes = self._sizes(image_sizes, keypoints.shape, do_normalize_boxes)
        if self.do_normalize_boxes if do_normalize_boxes is None else do_normalize_boxes:
            boxes = keypoint_extent(keypoints) if boxes is None else np.asarray(boxes, np.float32)
            keypoints = self._normalize_boxes(keypoints, np.broadcast_to(boxes, (*keypoints.shape[:2], 4)))
        if visibility is not None:
            visibility = np.broadcast_to(np.asarray(visibility, np.float32), keypoints.shape[:-1])
        keypoints, visibility = self.convert_keypoints(keypoints, visibility, schema)
        width, height = sizes[..., None, :1], sizes[..., None, 1:]
        encoded = keypoints / width * 2 - np.concatenate((np.ones_like(width), height / width), axis=-1)
        keypoints_2d = np.concatenate((encoded, visibility[..., None]), axis=-1).astype(np.float32)
        return BatchFeature({"keypoints_2d": keypoints_2d}, tensor_type=return_tensors)

    def convert_keypoints(
        self, keypoints: np.ndarray, keypoint_scores: np.ndarray | None, schema: KeypointSchema | str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The keypoints that are lifted, and their scores; see `keypoints_to_h36m`."""
        return keypoints_to_h36m(keypoints, keypoint_scores, schema)

    def post_process_pose_lifting(
        self,
        outputs: PoseLiftingOutput | Tensor | np.ndarray,
        image_sizes: np.ndarray | Sequence[int],
        depth_factors: np.ndarray | None = None,
        do_normalize_boxes: bool | None = None,
        do_root_relative: bool | None = None,
        do_swap_axes: bool | None = None,
        do_rebase_height: bool | None = None,
    ) -> np.ndarray:
        """Keypoints in meters.

        Args:
            outputs: of the model, or its `keypoints_3d` (B, T, K, 3).
            image_sizes: as in `preprocess`.
            depth_factors: (T,) or (B, T) millimeters per pixel, where a camera is known; default `depth_factor`.
            do_normalize_boxes: as in `preprocess`; it counts where there is a `box_image_size`.
            do_root_relative, do_swap_axes, do_rebase_height: replace the processor's own.

        Returns:
            (B, T, K, 3) float32.
        """
        keypoints = _to_array(outputs)
        if self.zero_root:
            keypoints[..., self.root_index, :] = 0
        sizes = self._sizes(image_sizes, keypoints.shape, do_normalize_boxes)
        width, height = sizes[..., 0], sizes[..., 1]
        keypoints[..., 0] += 1
        keypoints[..., 1] += (height / width)[..., None]
        factors = np.asarray(self.depth_factor if depth_factors is None else depth_factors, np.float32)
        keypoints *= (width / 2 * factors)[..., None, None]
        if self.do_root_relative if do_root_relative is None else do_root_relative:
            keypoints -= keypoints[..., self.root_index, None, :].copy()
        keypoints /= 1000
        if self._swaps_axes(do_swap_axes):
            keypoints = keypoints[..., [0, 2, 1]] * np.array([-1, 1, -1], np.float32)
        if self.do_rebase_height if do_rebase_height is None else do_rebase_height:
            keypoints[..., 2] -= keypoints[..., 2].min(-1, keepdims=True)
        return keypoints

    def mirrors(self, do_swap_axes: bool | None = None) -> bool:
        """Whether people in results are mirror images; `do_swap_axes` as in `post_process_pose_lifting`.

        Swapped axes are x left, z up and depth between them, which is a turn where depth points toward the camera and a
        reflection where it points away; the axes of the picture are right-handed with depth pointing away.
        """
        return self._swaps_axes(do_swap_axes) == self.depth_points_away

    def _swaps_axes(self, do_swap_axes: bool | None) -> bool:
        return self.do_swap_axes if do_swap_axes is None else do_swap_axes

    def _normalize_boxes(self, keypoints: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Keypoints (B, T, K, 2) moved and scaled so that their boxes (B, T, 4) become the standard one."""
        center = (boxes[..., None, :2] + boxes[..., None, 2:]) / 2
        size = np.maximum((boxes[..., 2:] - boxes[..., :2]).max(-1), _MIN_BOX_SIZE)[..., None, None]
        return (keypoints - center) / size * self.box_scale + np.asarray(self.box_center, np.float32)

    def _sizes(
        self, image_sizes: np.ndarray | Sequence[int], shape: tuple[int, ...], do_normalize_boxes: bool | None
    ) -> np.ndarray:
        """Width and height (B, T, 2) of the picture that each frame's pose is taken to lie in."""
        sizes = np.asarray(image_sizes, np.float32)
        frames = shape[:2]
        if sizes.shape not in ((2,), (frames[1], 2), (*frames, 2)) or not (sizes > 0).all():
            raise InputError(
                "image_sizes must be width and height above 0, one pair for all or one for each frame; got "
                f"{np.asarray(image_sizes).tolist()} for keypoints of shape {shape}."
            )
        normalizes = self.do_normalize_boxes if do_normalize_boxes is None else do_normalize_boxes
        if normalizes and self.box_image_size is not None:
            sizes = np.asarray(self.box_image_size, np.float32)
        return np.broadcast_to(sizes, (*frames, 2))


def keypoint_extent(keypoints: np.ndarray) -> np.ndarray:
    """Smallest boxes (..., 4) `x1, y1, x2, y2` around keypoints (..., K, 2)."""
    return np.concatenate((keypoints.min(-2), keypoints.max(-2)), axis=-1)


def _to_array(outputs: PoseLiftingOutput | Tensor | np.ndarray) -> np.ndarray:
    """A copy of the model's keypoints as float32."""
    values: Any = outputs["keypoints_3d"] if isinstance(outputs, PoseLiftingOutput) else outputs
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy()
    return np.array(values, np.float32)


__all__ = ["MotionBertImageProcessor"]
