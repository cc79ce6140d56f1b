import numpy as np
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.models.shared.heatmaps import (
    QUARTER,
    RADIUS_FACTOR,
    UDP,
    UDP_COMBINED,
    Decoding,
    decode_heatmaps,
    flip_heatmaps,
)
from hfpose.models.shared.settings import Count, Positive
from hfpose.models.shared.top_down import TopDownImageProcessor


class HeatmapImageProcessor(TopDownImageProcessor):
    """Crops for the estimators that predict heatmaps, and keypoints from these.

    Args:
        heatmap_decoding: see `decode_heatmaps`. With `"udp"` and `"udp_combined"` the outermost cells lie on the
            outermost pixels of the crop, otherwise a cell covers a square of pixels.
        blur_kernel_size, offset_radius_factor: see `decode_heatmaps`.
        shift_flipped_heatmaps: see `flip_heatmaps`.
    """

    heatmap_decoding: Decoding = QUARTER
    blur_kernel_size: Count = 11
    offset_radius_factor: Positive = RADIUS_FACTOR
    shift_flipped_heatmaps: bool = True

    def decode_crops(self, outputs: ModelOutput) -> tuple[Tensor, Tensor]:
        heatmaps = outputs["heatmaps"]
        keypoints, scores = decode_heatmaps(
            heatmaps, self.heatmap_decoding, self.blur_kernel_size, self.offset_radius_factor
        )
        height, width = heatmaps.shape[-2:]
        cells = np.array((width, height), np.float32) - int(self.heatmap_decoding in (UDP, UDP_COMBINED))
        return keypoints * keypoints.new_tensor(self._crop_extent / cells), scores

    def unflipped(self, flipped: ModelOutput, flip_indices: list[int]) -> dict[str, Tensor]:
        combined = self.heatmap_decoding == UDP_COMBINED
        heatmaps = flip_heatmaps(flipped["heatmaps"], flip_indices, self.shift_flipped_heatmaps, combined)
        visibilities = getattr(flipped, "visibilities", None)
        return {"heatmaps": heatmaps} | (
            {} if visibilities is None else {"visibilities": visibilities[:, flip_indices]}
        )

    def instance_fields(self, outputs: ModelOutput) -> dict[str, np.ndarray]:
        """`keypoints_visible` (N, K) from 0 to 1, where the model tells it."""
        visibilities = getattr(outputs, "visibilities", None)
        return {} if visibilities is None else {"keypoints_visible": visibilities.float().cpu().numpy()}

    def heatmaps(self, outputs: ModelOutput) -> Tensor:
        return outputs["heatmaps"][:, :: 3 if self.heatmap_decoding == UDP_COMBINED else 1]
