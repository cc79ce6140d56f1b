"""Base of the image processors that take images whole."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_base import BatchFeature
from transformers.utils import TensorType

from hfpose.models.shared.coco_labels import Annotations, annotated_objects
from hfpose.models.shared.pixels import ImageLike, PixelImageProcessor, rgb_arrays


class WholeImageProcessor(PixelImageProcessor):
    """Network input for images, and for their objects what the loss takes. A family adds `pixel_values` and `labels`."""

    def preprocess(
        self,
        images: ImageLike | Sequence[ImageLike],
        annotations: Annotations | None = None,
        return_tensors: str | TensorType | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> BatchFeature:
        """Network input for one image or several, of any sizes.

        Args:
            images: the images.
            annotations: for each image its objects in COCO's format, see `annotated_objects`; asks for `labels`.
            return_tensors: `"pt"` for torch.
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
