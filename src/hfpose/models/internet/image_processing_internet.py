"""InterNet image processor.

Source: `mmpose.codecs.Hand3DHeatmap`, `mmpose.apis.inferencers.Hand3DInferencer`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.models.shared.pixels import detached, pose_dict
from hfpose.models.shared.settings import Count, Positive
from hfpose.models.shared.top_down import TopDownImageProcessor, check_boxes, split_by_image
from hfpose.ops.axes import Axes
from hfpose.ops.maxima import greatest

# Scores above 1 are read as heatmap values of a model that was trained with peaks of 255.
_HEATMAP_PEAK = 255


class InterNetImageProcessor(TopDownImageProcessor):
    """Crops for [`InterNetForHandPose`], and 3D hands from its outputs.

    Args:
        depth_bound: extent in mm of the heatmaps along depth, around the wrist of the hand.
        root_depth_bound: extent in mm of the heatmap of the depth between the wrists.
        root_depth_size: its cells.
        axes: for `"world"` and `"mmpose"` x right, y away from the camera, z up (x in pixels); for `"camera"` x right,
            y down, z away from the camera.
        do_rebase_height: move the hands up or down so that their lowest keypoint has z = 0, where z points up.
    """

    depth_bound: Positive = 400.0
    root_depth_bound: Positive = 400.0
    root_depth_size: Count = 64
    axes: Axes = "world"
    do_rebase_height: bool = True
    size: dict[str, Count] = {"height": 256, "width": 256}
    flip_test: bool = False

    def decode_crops(self, outputs: ModelOutput) -> tuple[Tensor, Tensor]:
        """Keypoints (N, K, 2) in pixels of the crops, and their scores (N, K).

        A keypoint without any positive response lies one cell before the origin, as in the reference.
        """
        heatmaps: Tensor = outputs["heatmaps"]
        cells, scores = _peaks(heatmaps)
        grid = torch.tensor((heatmaps.shape[-1], heatmaps.shape[-2]), device=cells.device)
        size = torch.tensor(self._crop_size, dtype=torch.float32, device=cells.device)
        return cells[..., :2] * (size / grid), scores

    def decode_depth(self, outputs: ModelOutput) -> np.ndarray:
        """Depth (N, K) in mm of the keypoints relative to the wrist of the same hand."""
        heatmaps: Tensor = outputs["heatmaps"]
        cells, _ = _peaks(heatmaps)
        return ((cells[..., 2] / heatmaps.shape[2] - 0.5) * self.depth_bound).cpu().numpy()

    def decode(self, outputs: ModelOutput, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints of every crop, x and y in pixels of its image, z in mm relative to the wrist of the same hand.

        Returns:
            Keypoints (N, K, 3) and scores (N, K), float32.
        """
        places, scores = super().decode(outputs, boxes)
        return np.concatenate((places, self.decode_depth(outputs)[..., None]), axis=-1), scores

    def instance_fields(self, outputs: ModelOutput) -> dict[str, np.ndarray]:
        """`hand_types` and `root_depths`, see `decode_hands`."""
        hand_types, root_depths = self.decode_hands(outputs)
        return {"hand_types": hand_types, "root_depths": root_depths}

    def decode_hands(self, outputs: ModelOutput) -> tuple[np.ndarray, np.ndarray]:
        """Which hands are there (N, 2), and the depth in mm (N,) of the left wrist relative to the right one."""
        relative_depth = (outputs["root_depth"].float()[:, 0] / self.root_depth_size - 0.5) * self.root_depth_bound
        return (outputs["hand_type"] > 0).cpu().numpy(), relative_depth.cpu().numpy()

    def unflipped(self, flipped: ModelOutput, flip_indices: list[int]) -> dict[str, Tensor]:
        """Outputs for flipped crops as those for the crops, see [`InterNetOutput`]: right and left hand change places.

        The reference does not flip the hand type and negates the cell of the root depth instead of the depth; the
        published model is evaluated without a flip test.
        """
        return {
            "heatmaps": flipped["heatmaps"][:, flip_indices].flip(-1),
            "root_depth": self.root_depth_size - flipped["root_depth"],
            "hand_type": flipped["hand_type"].flip(-1),
        }

    def assemble_hands(
        self,
        keypoints: np.ndarray,
        scores: np.ndarray,
        hand_type: np.ndarray,
        relative_depth: np.ndarray,
        axes: Axes | None = None,
        do_rebase_height: bool | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Both hands in one space: the left one moved by the depth between the wrists, absent ones with score 0.

        Args:
            keypoints: (N, K, 3) of `decode`.
            scores: (N, K) of `decode`.
            hand_type: (N, 2) of `decode_hands`.
            relative_depth: (N,) of `decode_hands`.
            axes, do_rebase_height: replace the processor's own.

        Returns:
            Keypoints (N, K, 3), pixels of the image across it and mm along depth, and scores (N, K).
        """
        keypoints, scores = keypoints.copy(), scores.copy()
        per_hand = keypoints.shape[1] // 2
        keypoints[:, per_hand:, 2] += relative_depth[:, None]
        scores *= np.repeat(hand_type, per_hand, axis=1)
        if len(scores):
            scores[scores.max(axis=1) > 1] /= _HEATMAP_PEAK
        if (self.axes if axes is None else axes) != "camera":
            keypoints = keypoints[..., [0, 2, 1]] * np.array([1, 1, -1], np.float32)
            if self.do_rebase_height if do_rebase_height is None else do_rebase_height:
                keypoints[..., 2] -= _lowest(keypoints[..., 2], scores > 0)[:, None]
        return keypoints, scores

    def post_process_pose_estimation(
        self,
        outputs: ModelOutput,
        boxes: Sequence[Any],
        threshold: float | None = None,
        axes: Axes | None = None,
        do_rebase_height: bool | None = None,
    ) -> list[list[dict[str, Tensor]]]:
        """Hands of each image, a pair for each box, in the form of transformers' pose processors.

        Args:
            axes, do_rebase_height: replace the processor's own.

        Returns:
            For each image a list of dicts: `keypoints` (K, 3), pixels of the image across it and mm along depth,
            `keypoints_2d` (K, 2) x, y in pixels of the image, `scores` (K,), `labels` (K,) the index of each
            keypoint, `bbox` (4,), `hand_type` (2,) booleans for a right and a left hand, `relative_root_depth` () in
            mm.
        """
        per_image = check_boxes(boxes, len(boxes))
        flat, outputs = np.concatenate([*per_image, np.zeros((0, 4), np.float32)]), detached(outputs)
        decoded, scores = self.decode(outputs, flat)
        hand_type, relative_depth = self.decode_hands(outputs)
        keypoints, scores = self.assemble_hands(decoded, scores, hand_type, relative_depth, axes, do_rebase_height)
        hands = [pose_dict(*one, threshold) for one in zip(flat, keypoints, scores, strict=True)]
        for i, hand in enumerate(hands):
            hand["keypoints_2d"] = torch.from_numpy(decoded[i, hand["labels"].numpy(), :2])
            hand["hand_type"] = torch.from_numpy(hand_type[i])
            hand["relative_root_depth"] = torch.from_numpy(relative_depth)[i]
        return split_by_image(hands, per_image)


def _peaks(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (N, K, 3) as x, y, z with the greatest response of heatmaps (N, K, D, H, W), and that response (N, K)."""
    height, width = heatmaps.shape[-2:]
    scores, places = greatest(heatmaps.float().flatten(2))
    cells = torch.stack((places % width, places // width % height, places // (height * width)), dim=-1).float()
    return torch.where(scores[..., None] > 0, cells, -1.0), scores


def _lowest(heights: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Least height (N,) of the keypoints (N, K) that count, or of all where none does."""
    counted = counted | ~counted.any(axis=1, keepdims=True)
    return np.where(counted, heights, np.inf).min(axis=1)
