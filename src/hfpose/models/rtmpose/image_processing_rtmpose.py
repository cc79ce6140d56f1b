"""RTMPose image processor."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.models.shared.simcc import decode_simcc, merge_flipped_simcc, simcc_heatmaps
from hfpose.models.shared.top_down import TopDownImageProcessor


class RTMPoseImageProcessor(TopDownImageProcessor):
    """Crops for [`RTMPoseForPoseEstimation`] and keypoints from its SimCC outputs.

    Args:
        simcc_split_ratio: bins per pixel of the model's outputs.
        kwargs: see [`TopDownImageProcessor`].
    """

    simcc_split_ratio: float = 2.0

    def decode_crops(self, outputs: ModelOutput) -> tuple[Tensor, Tensor]:
        return decode_simcc(outputs["simcc_x"], outputs["simcc_y"], self.simcc_split_ratio)

    def merge_flipped(self, outputs: ModelOutput, flipped: ModelOutput, flip_indices: Sequence[int]) -> ModelOutput:
        simcc_x, simcc_y = merge_flipped_simcc(
            outputs["simcc_x"], outputs["simcc_y"], flipped["simcc_x"], flipped["simcc_y"], flip_indices
        )
        return type(outputs)(simcc_x=simcc_x, simcc_y=simcc_y)

    def heatmaps(self, outputs: ModelOutput) -> Tensor:
        return simcc_heatmaps(outputs["simcc_x"], outputs["simcc_y"])
