import torch
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.errors import InputError
from hfpose.models.shared.heatmaps import flip_heatmaps
from hfpose.models.shared.top_down import TopDownImageProcessor


class RegressionImageProcessor(TopDownImageProcessor):
    """Crops for [`RegressionForPoseEstimation`] and keypoints from its coordinates.

    Args:
        shift_flipped_coordinates: whether to move the coordinates of flipped crops by one pixel to the left.
        shift_flipped_heatmaps: whether to move the heatmaps of flipped crops by one cell, where there are heatmaps.
    """

    shift_flipped_coordinates: bool = True
    shift_flipped_heatmaps: bool = False

    def decode_crops(self, outputs: ModelOutput) -> tuple[Tensor, Tensor]:
        """Keypoints (N, K, 2) in pixels of the crops, and scores (N, K): how small the deviations are, else 1."""
        coordinates = outputs["coordinates"].float()
        sigmas = outputs.get("sigmas")
        scores = torch.ones_like(coordinates[..., 0]) if sigmas is None else 1 - sigmas.float().mean(-1)
        return coordinates * coordinates.new_tensor(self._crop_extent), scores

    def unflipped(self, flipped: ModelOutput, flip_indices: list[int]) -> dict[str, Tensor]:
        x, y = flipped["coordinates"].unbind(-1)
        shift = 1 / self._crop_size[0] if self.shift_flipped_coordinates else 0
        restored = {"coordinates": torch.stack((1 - x - shift, y), -1)[:, flip_indices]}
        if flipped.get("sigmas") is not None:
            restored["sigmas"] = flipped["sigmas"][:, flip_indices]
        if flipped.get("heatmaps") is not None:
            restored["heatmaps"] = flip_heatmaps(flipped["heatmaps"], flip_indices, self.shift_flipped_heatmaps)
        return restored

    def heatmaps(self, outputs: ModelOutput) -> Tensor:
        """
        Raises:
            InputError: for a model that has none.
        """
        if outputs.get("heatmaps") is None:
            raise InputError(
                "This model regresses coordinates without heatmaps, so there are none to return. Call the pipeline "
                "without return_heatmaps, or take a model that predicts heatmaps."
            )
        return outputs["heatmaps"]
