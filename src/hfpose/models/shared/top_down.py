"""Image processor that the top-down estimators share: one upright crop per box, keypoints back to the image.

Source: `mmpose.datasets.transforms.TopdownAffine`, `mmpose.structures.bbox.transforms`; UDP is Huang et al., 2020,
https://arxiv.org/abs/1911.07524.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_base import BatchFeature
from transformers.utils import ModelOutput, TensorType

from hfpose.errors import InputError
from hfpose.models.shared.coco_labels import Annotations, annotated_objects, moved, object_boxes, object_keypoints
from hfpose.models.shared.devices import crop_on_device, enlarges
from hfpose.models.shared.pixels import ImageLike, PixelImageProcessor, detached, pose_dict, rgb_arrays
from hfpose.models.shared.settings import Count, Positive
from hfpose.ops.affine import warp_affine


def box_centers_and_scales(boxes: np.ndarray, aspect_ratio: float, padding: float) -> tuple[np.ndarray, np.ndarray]:
    """Centers and sizes of the regions to crop around boxes (N, 4).

    A region is the box enlarged by `padding`, then in one direction until it has `aspect_ratio` (width by height).

    Returns:
        Centers (N, 2) and sizes (N, 2) as x, y and width, height in pixels of the image, float32.
    """
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    centers = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    sides = (boxes[:, 2:] - boxes[:, :2]) * np.float32(padding)
    from_the_other = sides[:, ::-1] * np.array([aspect_ratio, 1 / aspect_ratio], dtype=np.float32)
    return centers, np.maximum(sides, from_the_other)


def crop_matrices(centers: np.ndarray, scales: np.ndarray, size: tuple[int, int], use_udp: bool) -> np.ndarray:
    """Affine matrices (N, 2, 3) from pixels of the image to pixels of crops of `size` (width, height).

    Without UDP the region's width maps onto the number of pixels, with UDP onto the distance between the centers of
    the first and the last one.
    """
    target = np.asarray(size, dtype=np.float64) - (1 if use_udp else 0)
    factors = target / scales
    if not use_udp:
        factors[:, 1] = factors[:, 0]
    matrices = np.zeros((len(centers), 2, 3))
    matrices[:, 0, 0], matrices[:, 1, 1] = factors.T
    matrices[:, :, 2] = target / 2 - factors * centers
    return matrices


def check_boxes(boxes: Sequence[Any], num_images: int) -> list[np.ndarray]:
    """Boxes given by a caller, one (N, 4) float32 array per image.

    Raises:
        InputError: for boxes that are not one list per image, or not finite, or without area.
    """
    if len(boxes) != num_images:
        raise InputError(
            f"Got boxes for {len(boxes)} images, but {num_images} images. "
            "Give one list of boxes [x1, y1, x2, y2] per image, an empty one where there are none."
        )
    return [check_image_boxes(image_boxes, index) for index, image_boxes in enumerate(boxes)]


def check_image_boxes(boxes: Any, index: int = 0) -> np.ndarray:
    """Boxes of one image as a float32 array (N, 4); `index` names the image in errors.

    Raises:
        InputError: for boxes of another shape, not finite, or without area.
    """
    try:
        array = np.asarray(boxes, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"The boxes of image {index} are not numbers: {error}.") from error
    if array.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        hint = " Leave out what stands behind them: boxes[:, :4]." if array.ndim == 2 and array.shape[1] > 4 else ""
        raise InputError(
            f"The boxes of image {index} have shape {array.shape}; expected (number of boxes, 4), each x1, y1, x2, "
            f"y2.{hint}"
        )
    bad = ~np.isfinite(array).all(1) | (array[:, 2:] <= array[:, :2]).any(1)
    if bad.any():
        first = int(bad.argmax())
        raise InputError(
            f"Box {first} of image {index} is {array[first].tolist()}; expected finite x1, y1, x2, y2 in pixels "
            "with x1 < x2 and y1 < y2."
        )
    return array


def split_by_image(instances: list[Any], boxes: Sequence[np.ndarray]) -> list[list[Any]]:
    """The instances of all images, of which each has `boxes` [(N, 4), ...], image by image."""
    ends = np.cumsum([len(image_boxes) for image_boxes in boxes]).tolist()
    return [instances[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class TopDownImageProcessor(PixelImageProcessor):
    """Crops people out of images, and maps what the network says of the crops back onto the images.

    A family adds `decode_crops` and `unflipped`.

    Args:
        size: `{"height", "width"}` of a crop.
        box_padding: a box is enlarged by this factor before it is cropped.
        use_udp: unbiased data processing, see `crop_matrices`.
        flip_test: whether the reference averages over the flipped crop when it evaluates this model. The pipelines
            do so only when asked, because it doubles the cost.
    """

    # Whether regions of fewer pixels than a crop are interpolated cubically, not linearly.
    enlarges_cubically: ClassVar[bool] = False

    size: dict[str, Count] = {"height": 256, "width": 192}
    box_padding: Positive = 1.25
    use_udp: bool = False
    flip_test: bool = True

    def preprocess(
        self,
        images: ImageLike | Sequence[ImageLike],
        boxes: Sequence[Any] | None = None,
        annotations: Annotations | None = None,
        return_tensors: str | TensorType | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> BatchFeature:
        """Network input for all boxes of all images.

        Args:
            images: one image or several.
            boxes: for each image its boxes (N, 4), x1, y1, x2, y2 in pixels; None takes each image whole.
            annotations: for each image its objects in COCO's format, see `annotated_objects`, whose `bbox` are the
                boxes; asks for labels.
            memory_format: `torch.channels_last` for models that work in that order.

        Returns:
            `pixel_values` (number of boxes, 3, H, W), float32: the first image's boxes, the second's, and so on. With
            annotations `labels` (number of boxes, K, 2), the keypoints in pixels of the crops, and `keypoint_weights`
            (number of boxes, K), 0 for those that are not labeled.

        Raises:
            InputError: for images or boxes that cannot be used.
        """
        arrays = rgb_arrays(images)
        labels = {}
        if annotations is not None:
            objects = annotated_objects(annotations, len(arrays))
            boxes = [object_boxes(some) for some in objects]
            labels = self._labels([one for some in objects for one in some], np.concatenate(boxes))
        elif boxes is None:
            boxes = [[[0, 0, array.shape[1], array.shape[0]]] for array in arrays]
        values = self.pixel_values(arrays, check_boxes(boxes, len(arrays)), memory_format)
        return BatchFeature({"pixel_values": values, **labels}, tensor_type=return_tensors)

    def _labels(self, objects: Sequence[Mapping[str, Any]], boxes: np.ndarray) -> dict[str, Tensor]:
        """`labels` and `keypoint_weights` of objects with these boxes (n, 4)."""
        keypoints, weights = object_keypoints(objects)
        matrices = self._matrices(boxes)
        placed = [moved(points, matrix) for points, matrix in zip(keypoints, matrices, strict=True)]
        return {
            "labels": torch.from_numpy(np.stack(placed) if placed else keypoints),
            "keypoint_weights": torch.from_numpy(weights),
        }

    def pixel_values(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], memory_format: torch.memory_format
    ) -> Tensor:
        """What `preprocess` makes of RGB `images` [(h, w, 3), ...] and `boxes` [(N, 4), ...]."""
        return self.normalize_pixels(self.crop(images, boxes), memory_format)

    def crop(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Crops (number of boxes, H, W, 3), uint8, around `boxes` [(N, 4), ...] of RGB `images` [(h, w, 3), ...]."""
        import cv2

        width, height = size = self._crop_size
        crops = np.empty((sum(map(len, boxes)), height, width, 3), dtype=np.uint8)
        rows = iter(crops)
        for image, image_boxes in zip(images, boxes, strict=True):
            for matrix in self._matrices(image_boxes):
                is_cubic = self.enlarges_cubically and enlarges(matrix)
                flags = cv2.INTER_CUBIC if is_cubic else cv2.INTER_LINEAR
                warp_affine(image, matrix, size, dst=next(rows), flags=flags)
        return crops

    def pixel_values_on_device(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], device: torch.device
    ) -> Tensor:
        """What `pixel_values` makes of `images` [(h, w, 3), ...] and `boxes` [(N, 4), ...], computed on an
        accelerator.

        Returns:
            `pixel_values` (number of boxes, 3, H, W), float32, on the device. For the difference to the CPU's see
            `crop_on_device`.
        """
        size = self._crop_size
        matrices = [self._matrices(some) for some in boxes]
        return self.normalize_values(crop_on_device(images, matrices, size, device, self.enlarges_cubically))

    def decode(self, outputs: ModelOutput, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints of every crop in pixels of its image.

        Args:
            outputs: of the model, for N crops.
            boxes: (N, 4) the boxes that were cropped.

        Returns:
            Keypoints (N, K, 2) and scores (N, K), float32.

        Raises:
            InputError: for another number of boxes than of crops.
        """
        keypoints, scores = self.decode_crops(outputs)
        if len(keypoints) != len(boxes):
            raise InputError(
                f"Got {len(boxes)} boxes for the outputs of {len(keypoints)} crops; give the boxes that were cropped."
            )
        return self.to_image(keypoints.cpu().numpy(), boxes), scores.cpu().numpy()

    def to_image(self, points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Points (N, K, 2) in pixels of the crops of boxes (N, 4) in pixels of the image."""
        centers, scales = self.centers_and_scales(boxes)
        return (points / self._crop_extent - np.float32(0.5)) * scales[:, None] + centers[:, None]

    def instance_fields(self, outputs: ModelOutput) -> dict[str, np.ndarray]:
        """What the outputs say of N crops besides keypoints, by the names of `PoseOutput`'s fields: arrays
        (N, ...)."""
        return {}

    def decode_crops(self, outputs: ModelOutput) -> tuple[Tensor, Tensor]:
        """Keypoints (N, K, 2) in pixels of the crops, and their scores (N, K)."""
        raise NotImplementedError

    def merge_flipped(self, outputs: ModelOutput, flipped: ModelOutput, flip_indices: Sequence[int]) -> ModelOutput:
        """Mean of the outputs for crops and for the same crops flipped left to right, see `unflipped`."""
        restored = self.unflipped(flipped, list(flip_indices))
        return type(outputs)(**{name: (outputs[name] + values) * 0.5 for name, values in restored.items()})

    def unflipped(self, flipped: ModelOutput, flip_indices: list[int]) -> dict[str, Tensor]:
        """Outputs (N, ...) for flipped crops as those for the crops, by name.

        Args:
            flip_indices: for each keypoint the index of its flip partner.
        """
        raise NotImplementedError

    def heatmaps(self, outputs: ModelOutput) -> Tensor:
        """Responses (N, K, h, w) of the network over the regions that `regions` tells, for looking at."""
        return outputs["heatmaps"]

    def regions(self, boxes: np.ndarray) -> np.ndarray:
        """What is cropped around boxes (N, 4): (N, 4), x1, y1, x2, y2 in pixels of the image."""
        centers, scales = self.centers_and_scales(boxes)
        return np.concatenate((centers - scales / 2, centers + scales / 2), axis=1)

    def post_process_pose_estimation(
        self, outputs: ModelOutput, boxes: Sequence[Any], threshold: float | None = None
    ) -> list[list[dict[str, Tensor]]]:
        """People of each image, in the form of transformers' pose processors.

        Args:
            boxes: those given to the processor: for each image (N, 4), x1, y1, x2, y2.
            threshold: leave out keypoints with a lower score; None keeps all.

        Returns:
            For each image a list of dicts: `keypoints` (K, 2) x, y in pixels of the image, `scores` (K,),
            `labels` (K,) the index of each keypoint, `bbox` (4,) x1, y1, x2, y2.

        Raises:
            InputError: for another number of boxes than there are outputs.
        """
        per_image = check_boxes(boxes, len(boxes))
        flat = np.concatenate([*per_image, np.zeros((0, 4), np.float32)])
        keypoints, scores = self.decode(detached(outputs), flat)
        people = [pose_dict(*one, threshold) for one in zip(flat, keypoints, scores, strict=True)]
        return split_by_image(people, per_image)

    @property
    def _crop_size(self) -> tuple[int, int]:
        """Width and height of a crop."""
        return self.size["width"], self.size["height"]

    @property
    def _crop_extent(self) -> np.ndarray:
        """(2,) width and height of the region in pixels of the crop, float32, see `crop_matrices`."""
        return np.array(self._crop_size, np.float32) - int(self.use_udp)

    def centers_and_scales(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `box_centers_and_scales`."""
        width, height = self._crop_size
        return box_centers_and_scales(boxes, width / height, self.box_padding)

    def _matrices(self, boxes: np.ndarray) -> np.ndarray:
        """See `crop_matrices`."""
        return crop_matrices(*self.centers_and_scales(boxes), self._crop_size, self.use_udp)
