from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_base import BatchFeature
from transformers.utils import TensorType

from hfpose.models.shared.one_stage import ImageOutputs, ImageSize, Instances, OneStageProcessing
from hfpose.models.shared.pixels import ImageLike, PixelImageProcessor, rgb_arrays
from hfpose.models.shared.settings import Count


class EDPoseImageProcessor(OneStageProcessing, PixelImageProcessor):
    """Resizes images by one factor, and turns outputs into people.

    Args:
        size: `{"shortest_edge", "longest_edge"}`: an image gets as large as it can with neither side beyond these.
        max_instances: best instances of an image.
    """

    model_input_names = ["pixel_values", "pixel_mask"]
    decoded_outputs = ("logits", "pred_boxes", "pred_keypoints")

    size: dict[str, Count] = {"shortest_edge": 800, "longest_edge": 1333}
    max_instances: int | None = 50

    def preprocess(
        self,
        images: ImageLike | Sequence[ImageLike],
        return_tensors: str | TensorType | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> BatchFeature:
        """Network input for one image or several; smaller ones are padded at the right and bottom with the mean color.

        Args:
            memory_format: `torch.channels_last` for models that work in that order.

        Returns:
            `pixel_values` (B, 3, H, W), float32, and `pixel_mask` (B, H, W), 1 for pixels of an image.
        """
        arrays = rgb_arrays(images)
        values = self.pixel_values(arrays, memory_format)
        mask = torch.zeros(len(arrays), *values.shape[2:], dtype=torch.int64, device="cpu")
        for image, part in zip(arrays, mask, strict=True):
            height, width = self.input_size(*image.shape[:2])
            part[:height, :width] = 1
        return BatchFeature({"pixel_values": values, "pixel_mask": mask}, tensor_type=return_tensors)

    def pixel_values(self, images: Sequence[np.ndarray], memory_format: torch.memory_format) -> Tensor:
        """What `preprocess` makes of RGB `images` [(h, w, 3), ...], without the mask."""
        from PIL import Image

        sizes = [self.input_size(*image.shape[:2]) for image in images]
        height, width = np.max(sizes or [self.input_size(1, 1)], axis=0).tolist()
        values = torch.zeros(len(images), 3, height, width, device="cpu")
        for image, (height, width), part in zip(images, sizes, values, strict=True):
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            part[:, :height, :width] = self.normalize_pixels(np.asarray(resized)[None])[0]
        return values.contiguous(memory_format=memory_format)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        shortest, longest = self.size["shortest_edge"], self.size["longest_edge"]
        factor = min(longest / max(height, width), shortest / min(height, width))
        return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)

    def fit_matrix(self, height: int, width: int) -> np.ndarray:
        input_height, input_width = self.input_size(height, width)
        return np.array([[input_width / width, 0.0, 0.0], [0.0, input_height / height, 0.0]])

    def image_instances(
        self, outputs: ImageOutputs, target_size: ImageSize, threshold: float | None, nms_threshold: float | None
    ) -> Instances:
        """See `OneStageProcessing.instances`. The score of a keypoint is that of its instance, as in the reference."""
        logits, boxes, keypoints = (outputs[name].float().cpu() for name in self.decoded_outputs)
        scores, order = logits.sigmoid().flatten().sort(descending=True, stable=True)
        best = scores[: self.max_instances].numpy()
        chosen = order[: self.max_instances] // logits.shape[-1]  # of the boxes, whatever class the score is of
        if threshold is not None:
            chosen, best = chosen[best >= threshold], best[best >= threshold]
        sides = np.array(target_size[::-1], dtype=np.float32)
        centers, halves = boxes[chosen, :2].numpy(), boxes[chosen, 2:].numpy() / 2
        corners = np.concatenate(((centers - halves) * sides, (centers + halves) * sides), axis=1)
        places = keypoints[chosen].numpy() * sides
        return Instances(corners, best, places, np.repeat(best[:, None], places.shape[1], axis=1))
