"""The stage that finds keypoints in boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.models.vitpose.experts import forward_arguments
from hfpose.pipelines.loading import Stage


class TopDownEstimator:
    """Keypoints of every box of a batch of pictures.

    Args:
        stage: a pose model with its image processor.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.schema: KeypointSchema = schema_for_config(stage.model.config)

    @torch.inference_mode()
    def __call__(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], *, flip_test: bool, batch_size: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """
        Args:
            images: RGB pictures (H, W, 3), uint8.
            boxes: for each picture (N, 4) x1, y1, x2, y2 in pixels.
            flip_test: average over the mirrored crop.
            batch_size: crops that go through the network at once, whichever pictures they are of.

        Returns:
            For each picture keypoints (N, K, 2) in pixels and scores (N, K).
        """
        counts = [len(image_boxes) for image_boxes in boxes]
        owners = np.repeat(np.arange(len(images)), counts)
        flat = np.concatenate([*boxes, np.zeros((0, 4), np.float32)])
        keypoints = np.zeros((len(flat), self.schema.num_keypoints, 2), np.float32)
        scores = np.zeros((len(flat), self.schema.num_keypoints), np.float32)
        for start in range(0, len(flat), batch_size):
            part = slice(start, start + batch_size)
            outputs = self._run(self._pixel_values(images, flat[part], owners[part]), flip_test)
            keypoints[part], scores[part] = self.stage.image_processor.decode(outputs, flat[part])
        ends = np.cumsum(counts)[:-1]
        return list(zip(np.split(keypoints, ends), np.split(scores, ends), strict=True))

    def _pixel_values(self, images: Sequence[np.ndarray], boxes: np.ndarray, owners: np.ndarray) -> Tensor:
        """Network input for boxes (M, 4), each of the picture with the index that `owners` (M,), ascending, tells."""
        used = np.unique(owners)
        inputs = self.stage.image_processor(
            [images[index] for index in used], boxes=[boxes[owners == index] for index in used], return_tensors="pt"
        )
        return inputs["pixel_values"].to(self.stage.model.device, self.stage.model.dtype)

    def _run(self, pixel_values: Tensor, flip_test: bool) -> ModelOutput:
        outputs = self._forward(pixel_values)
        if not flip_test:
            return outputs
        flipped = self._forward(pixel_values.flip(-1))
        return self.stage.image_processor.merge_flipped(outputs, flipped, self.schema.flip_indices)

    def _forward(self, pixel_values: Tensor) -> ModelOutput:
        arguments = forward_arguments(self.stage.model, len(pixel_values))
        return self.stage.model(pixel_values=pixel_values, **arguments)
