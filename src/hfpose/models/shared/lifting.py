"""What lifters have in common: their output, the flipped clip, and the processor between pixels and meters."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.image_processing_base import BatchFeature
from transformers.utils import ModelOutput, TensorType
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from hfpose.errors import ConfigError, InputError
from hfpose.hub.push_mixin import PushWithCard
from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.keypoints.human36m import keypoints_to_h36m
from hfpose.models.shared.attention import AnyAttention
from hfpose.models.shared.settings import Positive, SettingsImageProcessor
from hfpose.ops.axes import Axes, turn_axes
from hfpose.ops.boxes import extents

# Smallest box side in pixels that box normalization divides by.
_MIN_BOX_SIZE = 1.0


@dataclass
class PoseLiftingOutput(ModelOutput):
    """Output of a lifter.

    Args:
        loss: training loss, where `labels` were given.
        keypoints_3d: (B, T, K, 3) x right, y down, z away from the camera, in units of the network;
            `post_process_pose_lifting` of the image processor turns them into meters.
        hidden_states: of each layer, where asked for; with a flip test, those of both clips.
        attentions: weights of each attention, where asked for and the network has attention.
    """

    loss: Tensor | None = None
    keypoints_3d: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class FlippedLifting:
    """The flip test of a lifter, for a network that torch or something else runs."""

    flip_indices: Sequence[int] | None

    def lift_with(self, lift: Callable[[Tensor], Tensor], keypoints_2d: Tensor, flip_test: bool) -> Tensor:
        """What `forward` does, with a network that is run by something else.

        Args:
            lift: the network, from clips (B, T, K, C) to coordinates (B, T, K, 3).
            keypoints_2d, flip_test: see `forward`.
        """
        self._check_shape(keypoints_2d)
        keypoints_3d = lift(keypoints_2d)
        if flip_test:
            keypoints_3d = (keypoints_3d + self._flip(lift(self._flip(keypoints_2d)))) * 0.5
        return keypoints_3d

    def _check_shape(self, keypoints_2d: Tensor) -> None:
        """Raises InputError for a shape that the network does not take."""
        raise NotImplementedError

    def _flip(self, keypoints: Tensor) -> Tensor:
        """Keypoints (B, T, K, C) of the clip flipped left to right: x changes sign, left and right change names."""
        if self.flip_indices is None:
            raise ConfigError("The flip pairs are unknown, so there is no flip test.")
        flipped = keypoints[:, :, self.flip_indices]
        return torch.cat((-flipped[..., :1], flipped[..., 1:]), dim=-1)


class PoseLiftingModel(FlippedLifting, PushWithCard, AnyAttention, PreTrainedModel):
    """Base of the lifters. A family adds `lift` and `loss`."""

    main_input_name = "keypoints_2d"
    supports_gradient_checkpointing = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        flip_indices = schema_for_config(config).flip_indices
        self.flip_indices = None if flip_indices is None else list(flip_indices)

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        keypoints_2d: Tensor,
        frame_mask: Tensor | None = None,
        labels: Tensor | None = None,
        flip_test: bool = False,
        **kwargs: object,
    ) -> PoseLiftingOutput:
        """Lifts a batch of clips.

        Args:
            keypoints_2d: (B, T, K, C) of the image processor.
            frame_mask: (B, T) booleans, False for frames at the end that only pad a clip. None: all frames count.
            labels: (B, T, K, 3) true coordinates in the units of the output; asks for the loss.
            flip_test: lift the flipped clip too and average both. Keypoints that are normalized by statistics of their
                own are flipped at their mean.

        Raises:
            InputError: for a shape that the network does not take.
        """
        keypoints_3d = self.lift_with(lambda clips: self.lift(clips, frame_mask), keypoints_2d, flip_test)
        loss = None
        if labels is not None:
            weights = torch.ones_like(labels[..., 0, 0]) if frame_mask is None else frame_mask
            loss = self.loss(keypoints_3d, labels, weights.to(keypoints_3d.dtype))
        return PoseLiftingOutput(loss=loss, keypoints_3d=keypoints_3d)

    def lift(self, keypoints_2d: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Coordinates (B, T, K, 3) for the arguments of `forward`, without a flip test."""
        raise NotImplementedError

    def loss(self, predicted: Tensor, target: Tensor, frame_weights: Tensor) -> Tensor:
        """Training loss, a scalar, of coordinates (B, T, K, 3) and true ones; `frame_weights` (B, T) are 0 for
        padding."""
        raise NotImplementedError


class PoseLiftingImageProcessor(SettingsImageProcessor):
    """Turns 2D keypoints into the input of a lifter and its output into meters; each lifter says how in a class of
    its own.

    It takes no images; transformers' Auto classes look for this kind of name. Arrays are over clips, frames
    and keypoints: (B, T, K, ...), or (T, K, ...) for one clip.

    Args:
        do_normalize_boxes: before anything else, move and scale each pose so that its box has `box_center` and
            `box_scale`, the averages of Human3.6M's images. People of any size and position become like those
            that the model was trained on; their position in the image is lost.
        box_center: x and y in pixels.
        box_scale: longer side in pixels.
        box_image_size: width and height in pixels of the images that these averages are of, and that poses are taken
            to lie in after they were moved and scaled. None takes the size of each image, as the reference does:
            what the network sees depends on the resolution then.
        do_use_scores: whether pipelines give the scores of the 2D keypoints as visibility, for models that were
            trained with them; the reference's were not.
        root_index: the keypoint that others are relative to.
        do_root_relative: coordinates relative to the root.
        axes: of results, see [`Axes`].
        depth_points_away: the network's depth grows away from the camera, as for the reference's checkpoints; else
            toward it.
        do_rebase_height: move each pose up or down so that its lowest keypoint has z = 0, where z points up.
        flip_test: whether the reference averages over the flipped clip; pipelines do so where they are asked to.

    Source: `mmpose.apis.inference_3d`, `mmpose.apis.inferencers.Pose3DInferencer`.
    """

    model_input_names = ["keypoints_2d"]

    do_normalize_boxes: bool = True
    box_center: Sequence[float] = (528.0, 427.0)
    box_scale: Positive = 400.0
    box_image_size: Sequence[float] | None = None
    do_use_scores: bool = False
    root_index: int = 0
    do_root_relative: bool = True
    axes: Axes = "world"
    depth_points_away: bool = True
    do_rebase_height: bool = True
    flip_test: bool = False

    def use_statistics(self, schema: KeypointSchema) -> None:
        """Take the averages of boxes over from the statistics of a training set, where it has them."""
        statistics = schema.stats_info or {}
        if "bbox_center" in statistics and "bbox_scale" in statistics:
            self.box_center, (self.box_scale,) = statistics["bbox_center"], statistics["bbox_scale"]

    @property
    def needs_image_size(self) -> bool:
        """Whether what the network sees depends on the size of the image."""
        return True

    def preprocess(
        self,
        keypoints: np.ndarray,
        image_sizes: np.ndarray | Sequence[int] | None,
        boxes: np.ndarray | None = None,
        visibility: np.ndarray | None = None,
        schema: KeypointSchema | str | None = "h36m",
        do_normalize_boxes: bool | None = None,
        return_tensors: str | TensorType | None = None,
    ) -> BatchFeature:
        """Network input for one clip or several of the same length.

        Args:
            keypoints: (B, T, K, 2) or (T, K, 2) pixels.
            image_sizes: width and height of the image, one pair for all, or (T, 2), or (B, T, 2) for each frame; None
                where the processor does without, see `needs_image_size`.
            boxes: (B, T, 4) or (T, 4) `x1, y1, x2, y2`, for box normalization; default the extent of the keypoints.
            visibility: (B, T, K) or (T, K); default 1 as in the reference, whose models were trained so.
            schema: what the K keypoints mean; they become Human3.6M's 17. None: they are those that the lifter was
                trained with.
            do_normalize_boxes: replaces the processor's own.

        Returns:
            `keypoints_2d` (B, T, 17 or K, C).

        Raises:
            InputError: if a shape does not fit or a value is not finite.
            ConfigError: if it is not known how the keypoints of `schema` become Human3.6M's.
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
            boxes = extents(keypoints) if boxes is None else boxes
            boxes = _of_frames("boxes", boxes, (*keypoints.shape[:2], 4))
            keypoints = normalize_boxes(keypoints, boxes, self.box_center, self.box_scale)
        if visibility is not None:
            visibility = _of_frames("visibility", visibility, keypoints.shape[:-1])
        keypoints, visibility = self.convert_keypoints(keypoints, visibility, schema)
        encoded = self._encode(keypoints, visibility, sizes)
        return BatchFeature({"keypoints_2d": encoded.astype(np.float32)}, tensor_type=return_tensors)

    def convert_keypoints(
        self, keypoints: np.ndarray, keypoint_scores: np.ndarray | None, schema: KeypointSchema | str | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The keypoints that are lifted, and their scores; see `keypoints_to_h36m`. Without a schema they stay."""
        if schema is None:
            return keypoints, np.ones(keypoints.shape[:-1], np.float32) if keypoint_scores is None else keypoint_scores
        return keypoints_to_h36m(keypoints, keypoint_scores, schema)

    def _encode(self, keypoints: np.ndarray, visibility: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Network input (B, T, K, C) for keypoints (B, T, K, 2) in pixels of images of `sizes` (B, T, 2)."""
        raise NotImplementedError

    def _to_output_axes(
        self, keypoints: np.ndarray, do_root_relative: bool | None, axes: Axes | None, do_rebase_height: bool | None
    ) -> np.ndarray:
        """Keypoints (B, T, K, 3) in meters, x right, y down and depth as the network has it, as results have them."""
        if self.do_root_relative if do_root_relative is None else do_root_relative:
            keypoints = keypoints - keypoints[..., self.root_index, None, :]
        if not self.depth_points_away:
            keypoints = keypoints * np.array([1, 1, -1], np.float32)
        axes = self.axes if axes is None else axes
        keypoints = turn_axes(keypoints, axes)
        if axes != "camera" and (self.do_rebase_height if do_rebase_height is None else do_rebase_height):
            keypoints[..., 2] -= keypoints[..., 2].min(-1, keepdims=True)
        return keypoints

    def _sizes(
        self, image_sizes: np.ndarray | Sequence[int] | None, shape: tuple[int, ...], do_normalize_boxes: bool | None
    ) -> np.ndarray:
        """Width and height (B, T, 2) of the image that each frame's pose is taken to lie in."""
        frames = shape[:2]
        if image_sizes is None and not self.needs_image_size:
            return np.ones((*frames, 2), np.float32)
        sizes = np.asarray(image_sizes, np.float32)
        if sizes.shape not in ((2,), (frames[1], 2), (*frames, 2)) or not (sizes > 0).all():
            raise InputError(
                "image_sizes must be width and height above 0, one pair for all or one for each frame; got "
                f"{np.asarray(image_sizes).tolist()} for keypoints of shape {shape}."
            )
        normalizes = self.do_normalize_boxes if do_normalize_boxes is None else do_normalize_boxes
        if normalizes and self.box_image_size is not None:
            sizes = np.asarray(self.box_image_size, np.float32)
        return np.broadcast_to(sizes, (*frames, 2))


def _of_frames(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values of clips as float32 (B, T, ...) of a shape.

    Raises:
        InputError: for values of another shape, or that are not finite.
    """
    array = np.asarray(values, np.float32)
    with suppress(ValueError):
        if np.isfinite(array).all():
            return np.broadcast_to(array, shape)
    raise InputError(f"{name} has shape {array.shape}; expected finite values of shape {shape} or {shape[1:]}.")


def normalize_boxes(
    keypoints: np.ndarray, boxes: np.ndarray, box_center: Sequence[float] | np.ndarray, box_scale: float
) -> np.ndarray:
    """Keypoints (..., K, 2) moved and scaled so that their boxes (..., 4) `x1, y1, x2, y2` have a center and a longer
    side; all in pixels."""
    center = (boxes[..., None, :2] + boxes[..., None, 2:]) / 2
    size = np.maximum((boxes[..., 2:] - boxes[..., :2]).max(-1), _MIN_BOX_SIZE)[..., None, None]
    return (keypoints - center) / size * box_scale + np.asarray(box_center, np.float32)


def keypoints_of(outputs: PoseLiftingOutput | Tensor | np.ndarray) -> np.ndarray:
    """A copy of a lifter's keypoints (B, T, K, 3) as float32."""
    values: Any = outputs["keypoints_3d"] if isinstance(outputs, ModelOutput) else outputs
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy()
    return np.array(values, np.float32)


def mean_distance(points: Tensor, others: Tensor, frame_weights: Tensor) -> Tensor:
    """Mean distance of points (B, T, K, 3) over the joints and the frames that count; 0 where no frame counts."""
    distances = (points - others).norm(dim=-1).mean(-1)
    return (distances * frame_weights).sum() / frame_weights.sum().clamp(min=1)
