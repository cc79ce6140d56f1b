"""What goes into every image processor: arrays of RGB pixels, and the way from pixels to network input."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from os import PathLike
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_base import BatchFeature
from transformers.utils import TensorType

from hfpose.errors import InputError
from hfpose.media.images import pil_pixels
from hfpose.models.shared.coco_labels import Annotations, annotated_objects
from hfpose.models.shared.settings import Count, Positive, SettingsImageProcessor

ChannelOrder = Literal["rgb", "bgr"]
ImageLike = Any  # PIL image, numpy array or torch tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def rgb_arrays(images: ImageLike | Sequence[ImageLike]) -> list[np.ndarray]:
    """One image or several as RGB arrays (H, W, 3), uint8.

    Takes PIL images, and arrays or tensors of uint8 in the layouts (H, W), (H, W, 3) and (3, H, W).

    Raises:
        InputError: for anything else.
    """
    if isinstance(images, (list, tuple)):
        return [_rgb_array(image) for image in images]
    if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        return [_rgb_array(image) for image in images]
    return [_rgb_array(images)]


def _rgb_array(image: ImageLike) -> np.ndarray:
    if hasattr(image, "convert"):  # a PIL image, without importing PIL to ask
        return pil_pixels(image)
    if isinstance(image, (str, bytes, PathLike)):
        raise InputError(
            f"Expected an image, got a {type(image).__name__}. Open it: PIL.Image.open(path), or "
            "hfpose.media.images.load_image(path), which turns it upright and takes addresses and bytes too."
        )
    array = image.cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.dtype != np.uint8:
        raise InputError(
            f"Expected an image of uint8 values from 0 to 255, got {array.dtype} of shape {array.shape}. "
            "Scale it to 0..255 and convert it with `.astype('uint8')`."
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim == 3 and array.shape[-1] != 3 and array.shape[0] == 3:
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[-1] != 3 or array.size == 0:
        raise InputError(f"Expected an RGB image (height, width, 3) with at least one pixel, got shape {array.shape}.")
    return array


class PixelImageProcessor(SettingsImageProcessor):
    """Base of the image processors: options of a call, and the last step, for the whole batch at once.

    Args:
        size: `{"height", "width"}` of the network input; a pair is these two, one number both.
        channel_order: `"rgb"` or `"bgr"`, what the network is fed.
        do_rescale, rescale_factor, do_normalize, image_mean, image_std: as in transformers; mean and standard
            deviation are in the channel order of the network, by default those of ImageNet.
    """

    model_input_names = ["pixel_values"]

    size: dict[str, Count] = {"height": 640, "width": 640}
    channel_order: ChannelOrder = "rgb"
    do_rescale: bool = True
    rescale_factor: Positive = 1 / 255
    do_normalize: bool = True
    image_mean: Sequence[float] = ()
    image_std: Sequence[Positive] = ()

    def __init__(self, **settings: Any) -> None:
        """
        Raises:
            InputError: for a size of other sides, or a mean or standard deviation that is not of three channels.
        """
        names = list(type(self).size)
        size = settings.get("size")
        if isinstance(size, (int, list, tuple)):
            sides = [size, size] if isinstance(size, int) else size
            settings["size"] = dict(zip(names, sides, strict=len(sides) == 2))
        super().__init__(**settings)
        if {*self.size} != {*names}:
            raise InputError(f"size is {self.size}; expected {' and '.join(names)} in pixels.")
        step = -1 if self.channel_order == "bgr" else 1
        self.image_mean = self.image_mean or list(IMAGENET_MEAN[::step])
        self.image_std = self.image_std or list(IMAGENET_STD[::step])
        for name, values in (("image_mean", self.image_mean), ("image_std", self.image_std)):
            if len(values) != 3:
                raise InputError(f"{name} is {values!r}; expected three numbers, one for each channel.")

    def normalize_pixels(
        self, images: np.ndarray, memory_format: torch.memory_format = torch.contiguous_format
    ) -> Tensor:
        """RGB pixels (N, H, W, 3), uint8, as network input (N, 3, H, W), float32, in the network's channel order.

        Args:
            memory_format: `torch.channels_last` leaves the values in the order of the pixels, which saves a pass.
        """
        import cv2

        count, height, width, _ = images.shape
        if images.size == 0:
            return torch.zeros((count, 3, height, width), device="cpu")
        rows = images.reshape(count * height, width, 3)
        if self.channel_order == "bgr":
            rows = cv2.cvtColor(rows, cv2.COLOR_RGB2BGR)
        table = _value_table(
            self.rescale_factor if self.do_rescale else 1.0,
            tuple(self.image_mean) if self.do_normalize else (0.0, 0.0, 0.0),
            tuple(self.image_std) if self.do_normalize else (1.0, 1.0, 1.0),
        )
        values = cv2.LUT(rows, table).reshape(count, height, width, 3)
        return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)

    def normalize_values(self, images: Tensor) -> Tensor:
        """RGB pixels (N, 3, H, W), floating point from 0 to 255, as network input of the same type on the same
        device."""
        if self.channel_order == "bgr":
            images = images.flip(1)
        if self.do_rescale:
            images = images * self.rescale_factor
        if self.do_normalize:
            mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (self.image_mean, self.image_std))
            images = (images - mean) / std
        return images


class WholeImageProcessor(PixelImageProcessor):
    """Network input for images, and for their objects what the loss takes. A family adds `pixel_values` and
    `labels`."""

    def preprocess(
        self,
        images: ImageLike | Sequence[ImageLike],
        annotations: Annotations | None = None,
        return_tensors: str | TensorType | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> BatchFeature:
        """Network input for one image or several, of any sizes.

        Args:
            annotations: for each image its objects in COCO's format, see `annotated_objects`; asks for `labels`.
            memory_format: `torch.channels_last` for models that work in that order.

        Returns:
            `pixel_values` (B, 3, H, W), float32, and `labels` as the model takes them.
        """
        arrays = rgb_arrays(images)
        inputs = BatchFeature({"pixel_values": self.pixel_values(arrays, memory_format)}, tensor_type=return_tensors)
        if annotations is not None:
            objects = annotated_objects(annotations, len(arrays))
            inputs["labels"] = [self.labels(*one) for one in zip(arrays, objects, strict=True)]
        return inputs

    def pixel_values(self, images: Sequence[np.ndarray], memory_format: torch.memory_format) -> Tensor:
        """What `preprocess` makes of RGB `images` [(h, w, 3), ...]."""
        raise NotImplementedError

    def labels(self, image: np.ndarray, objects: Sequence[Mapping[str, Any]]) -> Any:
        """What the loss takes for the objects of an image (h, w, 3)."""
        raise NotImplementedError


@lru_cache(maxsize=32)
def _value_table(factor: float, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Network input (1, 256, 3) for each pixel value and channel of the network: the arithmetic is done once for
    each."""
    values = np.arange(256, dtype=np.float32)[:, None] * np.float32(factor)
    return ((values - np.array(mean, np.float32)) / np.array(std, np.float32))[None]


def detached(outputs: Any) -> Any:
    """Outputs of a model, a mapping of tensors, without their gradients."""
    if not isinstance(outputs, Mapping):
        return outputs
    return type(outputs)(**{name: v.detach() if isinstance(v, Tensor) else v for name, v in outputs.items()})


def check_target_sizes(target_sizes: Tensor | Sequence[tuple[int, int]], num_images: int) -> None:
    """Raise InputError unless there is one target size (height, width) for each image that outputs are for."""
    if len(target_sizes) != num_images:
        raise InputError(
            f"Got outputs for {num_images} images but {len(target_sizes)} target_sizes; give one per image."
        )


def pose_dict(
    box: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, threshold: float | None
) -> dict[str, Tensor]:
    """One instance in the form of transformers' pose processors, see their `post_process_pose_estimation`.

    Args:
        box: (4,) x1, y1, x2, y2.
        keypoints: (K, 2) or (K, 3).
        scores: (K,) of the keypoints.
        threshold: leave out keypoints with a lower score; None keeps all.
    """
    labels = np.arange(len(scores)) if threshold is None else np.flatnonzero(scores > threshold)
    arrays = {"keypoints": keypoints[labels], "scores": scores[labels], "labels": labels, "bbox": box}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
