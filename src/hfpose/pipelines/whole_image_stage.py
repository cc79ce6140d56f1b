"""The stage that finds instances and their keypoints in whole images, without a detector."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.models.shared.devices import to_device
from hfpose.models.shared.one_stage import Instances
from hfpose.pipelines.options import CallOptions
from hfpose.pipelines.stage import Stage


def is_one_stage(stage: Stage) -> bool:
    """Whether a model finds instances in whole images, so that it needs no detector."""
    return bool(getattr(stage.image_processor, "is_one_stage", False))


class OneStageEstimator:
    """Boxes and keypoints of a batch of images, by a one-stage or bottom-up model.

    Args:
        stage: the model with its image processor, a [`OneStageProcessing`].
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.schema: KeypointSchema = schema_for_config(stage.model.config)

    def check(self, options: CallOptions) -> None:
        """Raises InputError for options of a call that the model has no use for."""
        name = type(self.stage.model).__name__
        if options.boxes is not None:
            raise InputError(
                f"The {name} finds people in whole images by itself, so it takes no boxes. Leave `boxes` out, or use "
                "a top-down model such as 'human' for boxes of your own."
            )
        if options.return_heatmaps:
            raise InputError(f"The {name} keeps no heatmaps by instance; leave return_heatmaps out.")
        if options.wants_features:
            raise InputError(f"The {name} has no feature maps by instance; leave `appearance` out of `tracking`.")
        if options.flip_test and "flip_test" not in inspect.signature(self.stage.model.forward).parameters:
            raise InputError(f"The {name} cannot average over flipped images; leave flip_test out.")

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray], options: CallOptions) -> list[Instances]:
        """
        Args:
            images: RGB images (H, W, 3), uint8, of any sizes.
            options: of a call of the pipeline: `box_threshold` and `nms_threshold` (None for the image processor's
                own), and `flip_test`, which averages over the flipped image.

        Returns:
            For each image its instances, best first.
        """
        processor = self.stage.image_processor
        sizes = [processor.input_size(*image.shape[:2]) for image in images]
        found: dict[int, Instances] = {}
        for size in dict.fromkeys(sizes):  # images whose network inputs have one size go through it together
            places = [index for index, other in enumerate(sizes) if other == size]
            together = [images[index] for index in places]
            outputs = self._run(together, options.flip_test)
            image_sizes = [image.shape[:2] for image in together]
            instances = processor.instances(outputs, image_sizes, options.box_threshold, options.nms_threshold)
            found.update(zip(places, instances, strict=True))
        return [found[index] for index in range(len(images))]

    def _run(self, images: Sequence[np.ndarray], flip_test: bool) -> Any:
        """Outputs of the network for images whose inputs have one size."""
        values = self.stage.image_processor.pixel_values(images, self.stage.memory_format)
        mirrored = {"flip_test": True} if flip_test else {}
        return self.stage.run(pixel_values=to_device(values, self.stage.device, self.stage.dtype), **mirrored)
