"""Associative embedding image processor.

Source: `mmpose.codecs.AssociativeEmbedding`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.models.associative_embedding.munkres import munkres_pairs
from hfpose.models.shared.bottom_up import BottomUpImageProcessor, heatmap_peaks
from hfpose.models.shared.heatmaps import quarter_offsets
from hfpose.models.shared.one_stage import ImageOutputs, ImageSize, Instances
from hfpose.models.shared.settings import Count, Odd

# A difference of one between rounded distances of tags outweighs every difference between responses.
TAG_WEIGHT = 100

_COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


class AssociativeEmbeddingImageProcessor(BottomUpImageProcessor):
    """Images for [`AssociativeEmbeddingForPoseEstimation`] and people from its outputs.

    Args:
        keypoint_order: in which order keypoints are added to the instances, torso first; default COCO's. Those of a
            model of another number of keypoints are added as they are numbered.
        num_candidates: greatest responses of each keypoint that may become part of an instance.
        keypoint_threshold: least response of a keypoint, others are filled in at the end.
        tag_threshold: a keypoint joins an instance when their tags are nearer than this.
        nms_kernel_size: a candidate has no greater response within this many cells.
        center_shift: cells that found keypoints are moved by along x and y.
        restore_size: whether heatmaps and tags are enlarged to the size of the network input before all this.
        stride: pixels of the network input along a cell of the heatmaps.
    """

    decoded_outputs = ("heatmaps", "tags")

    keypoint_order: Sequence[int] = _COCO_ORDER
    num_candidates: Count = 30
    keypoint_threshold: float = 0.1
    tag_threshold: float = 1.0
    nms_kernel_size: Odd = 5
    center_shift: float = 0.5
    restore_size: bool = True
    stride: Count = 4

    def image_instances(
        self, outputs: ImageOutputs, target_size: ImageSize, threshold: float | None, nms_threshold: float | None
    ) -> Instances:
        """See `OneStageProcessing.instances`.

        The score of an instance is the mean of its keypoints' responses, 0 for those that are filled in.
        """
        height, width = self.input_size(*target_size)
        rows, columns = height // self.stride, width // self.stride
        heatmaps, tags = (outputs[name][:, :rows, :columns].float() for name in self.decoded_outputs)
        if self.restore_size:
            size = (height, width)
            heatmaps, tags = (F.interpolate(maps[None], size=size, mode="bilinear")[0] for maps in (heatmaps, tags))
        cells, scores, box_scores = self._decode(heatmaps, tags.unflatten(0, (-1, len(heatmaps))))
        keypoints = cells.numpy() * np.float32(width / heatmaps.shape[-1])
        return self.best_instances(keypoints, scores.numpy(), box_scores.numpy(), target_size, threshold)

    def _decode(self, heatmaps: Tensor, tags: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Instances of one image, on the CPU.

        Args:
            heatmaps: (K, h, w).
            tags: (L, K, h, w).

        Returns:
            Keypoints (N, K, 2) in cells, their scores (N, K), and those of the instances (N,).
        """
        count, _, width = heatmaps.shape
        peaks = heatmap_peaks(heatmaps, self.nms_kernel_size).flatten(1)
        values, index = peaks.topk(min(self.num_candidates, peaks.shape[1]))
        candidate_tags = tags.flatten(2).gather(2, index.expand(len(tags), -1, -1)).movedim(0, -1)
        candidates = group_by_tags(
            values.cpu().numpy(),
            candidate_tags.cpu().numpy(),
            self.keypoint_order if len(self.keypoint_order) == count else range(count),
            self.keypoint_threshold,
            self.tag_threshold,
        )
        groups = torch.from_numpy(candidates[: self.max_instances])
        is_found = groups >= 0  # (N, K)
        keypoint = torch.arange(count, device="cpu")
        chosen = index.cpu()[keypoint, groups.clamp(min=0)]
        cells = torch.stack((chosen % width, chosen // width), -1)
        scores = values.cpu()[keypoint, groups.clamp(min=0)] * is_found
        steps = quarter_offsets(heatmaps[None], cells.to(heatmaps.device))
        found = (cells + steps + self.center_shift).float()
        filled, responses = _fill(heatmaps, tags, found, is_found)
        keypoints = torch.where(is_found[..., None], found, filled.float())
        return keypoints, torch.where(is_found, scores, responses), scores.mean(1)


def group_by_tags(
    values: np.ndarray, tags: np.ndarray, order: Sequence[int], value_threshold: float, tag_threshold: float
) -> np.ndarray:
    """Which candidates of the keypoints belong together.

    One keypoint after the other, candidates and instances are paired so that the distances of their tags are least; a
    candidate whose tag is too far from the mean tag of its instance begins a new one. Where an instance began with
    the same first number of the tag, that one begins again with this keypoint: cells at the border of enlarged maps
    come twice.

    Args:
        values: (K, M) responses of the candidates.
        tags: (K, M, L).
        value_threshold: candidates with lower responses do not count.
        tag_threshold: greatest distance of tags.

    Returns:
        (N, K) index of each instance's candidate, -1 for none.
    """
    groups = np.full((values.size, len(values)), -1)
    sums, counts = np.zeros((values.size, tags.shape[2]), tags.dtype), np.zeros((values.size, 1), tags.dtype)
    begun: dict[float, int] = {}
    for keypoint in order:
        candidates = np.flatnonzero(values[keypoint] > value_threshold)
        own = tags[keypoint, candidates]
        means = sums[: len(begun)] / counts[: len(begun)]
        distances = np.linalg.norm(own[:, None].astype(np.float64) - means, axis=-1)
        rows, columns = munkres_pairs(np.round(distances) * TAG_WEIGHT - values[keypoint, candidates, None])
        is_near = distances[rows, columns] < tag_threshold
        joined = dict(zip(rows[is_near].tolist(), columns[is_near].tolist(), strict=True))
        for row, (candidate, tag) in enumerate(zip(candidates, own, strict=True)):
            instance = joined.get(row)
            if instance is None:
                instance = begun.setdefault(float(tag[0]), len(begun))
                sums[instance], counts[instance] = 0, 0
            groups[instance, keypoint] = candidate
            sums[instance] += tag
            counts[instance] += 1
    return groups[: len(begun)]


def _fill(heatmaps: Tensor, tags: Tensor, keypoints: Tensor, is_found: Tensor) -> tuple[Tensor, Tensor]:
    """For the keypoints that an instance lacks the places with the nearest tags and, among these, greatest responses.

    Args:
        heatmaps: (K, h, w).
        tags: (L, K, h, w).
        keypoints: (N, K, 2) in cells.
        is_found: (N, K).

    Returns:
        Cells (N, K, 2) and responses (N, K), of use where a keypoint was not found.
    """
    height, width = heatmaps.shape[-2:]
    places = keypoints.trunc().long().to(heatmaps.device)
    x, y = places[..., 0].clamp(0, width - 1), places[..., 1].clamp(0, height - 1)
    at_keypoints = tags[:, torch.arange(len(heatmaps), device=x.device), y, x]  # (L, N, K)
    counted = is_found.to(x.device)
    mean_tags = (at_keypoints * counted).sum(2) / counted.sum(1).clamp(min=1)  # (L, N)
    cells = torch.zeros(keypoints.shape, dtype=torch.long, device="cpu")
    responses = torch.zeros(is_found.shape, dtype=heatmaps.dtype, device="cpu")
    for keypoint in torch.flatten((~is_found).any(0).nonzero()).tolist():
        missing = (~is_found[:, keypoint]).nonzero()[:, 0]
        # (missing, h, w); `norm` takes ten times as long over a short dimension, and new memory longer than numbers.
        distances = (tags[:, keypoint, None] - mean_tags[:, missing, None, None]).square_().sum(0).sqrt_()
        best = distances.round_().mul_(TAG_WEIGHT).sub_(heatmaps[keypoint]).flatten(1).argmin(1)
        cells[missing, keypoint] = torch.stack((best % width, best // width), -1).cpu()
        responses[missing, keypoint] = heatmaps[keypoint].flatten()[best].cpu()
    return cells, responses
