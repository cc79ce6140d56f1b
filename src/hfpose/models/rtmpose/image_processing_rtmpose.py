from collections.abc import Sequence

import numpy as np
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.models.shared.settings import Positive
from hfpose.models.shared.simcc import decode_simcc, simcc_heatmaps
from hfpose.models.shared.top_down import TopDownImageProcessor


class RTMPoseImageProcessor(TopDownImageProcessor):
    """Crops for [`RTMPoseForPoseEstimation`] and keypoints from its SimCC outputs.

    Args:
        simcc_split_ratio, simcc_sigma: see [`RTMPoseConfig`].
        decode_visibility: tell how likely each keypoint is to be visible, from how narrow its distributions are.
        mean_scores: scores are made as in rtmlib, see `decode_simcc`.
        visibility_beta: factor on the outputs before the softmax that makes distributions of them.
    """

    simcc_split_ratio: Positive = 2.0
    simcc_sigma: Sequence[Positive] = (4.9, 5.66)
    decode_visibility: bool = False
    mean_scores: bool = False
    visibility_beta: float = 150.0

    def decode_crops(self, outputs: ModelOutput) -> tuple[Tensor, Tensor]:
        keypoints, scores = decode_simcc(
            outputs["simcc_x"], outputs["simcc_y"], self.simcc_split_ratio, self.mean_scores
        )
        # The bins cover the region, also with UDP, whose crops end a pixel earlier: the reference's reading.
        covered = self._crop_extent / np.array(self._crop_size, np.float32)
        return keypoints * keypoints.new_tensor(covered), scores

    def instance_fields(self, outputs: ModelOutput) -> dict[str, np.ndarray]:
        """`keypoints_visible` (N, K) from 0 to 1, where the model tells it.

        Source: `mmpose.codecs.SimCCLabel.decode`.
        """
        if not self.decode_visibility:
            return {}
        x, y = (
            (outputs[name].float() * self.visibility_beta * sigma).softmax(-1)
            for name, sigma in zip(("simcc_x", "simcc_y"), self.simcc_sigma, strict=False)
        )
        _, visibility = decode_simcc(x, y, self.simcc_split_ratio)
        return {"keypoints_visible": visibility.cpu().numpy()}

    def unflipped(self, flipped: ModelOutput, flip_indices: list[int]) -> dict[str, Tensor]:
        x, y = flipped["simcc_x"][:, flip_indices].flip(-1), flipped["simcc_y"][:, flip_indices]
        return {"simcc_x": x, "simcc_y": y}

    def heatmaps(self, outputs: ModelOutput) -> Tensor:
        return simcc_heatmaps(outputs["simcc_x"], outputs["simcc_y"])
