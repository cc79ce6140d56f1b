"""Base of the bottom-up estimators: all people of an image from one pass of a backbone, with a flip test of their
own."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from transformers.utils.generic import can_return_tuple

from hfpose.errors import InputError
from hfpose.keypoints import schema_for_config
from hfpose.models.shared.coco_labels import one_per_image
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import concatenate_branches
from hfpose.models.shared.heatmaps import QUARTER
from hfpose.models.shared.image_model import EstimatorModel
from hfpose.models.shared.losses import heatmap_targets, known_keypoints

# The true instances of one image, coordinates in pixels of `pixel_values`: `keypoints` (n, K, 2) x and y, and where
# known `keypoint_weights` (n, K), 0 where a keypoint is not labeled, else all are, and `boxes` (n, 4) x1, y1, x2, y2,
# else those are the extents of the labeled keypoints. A keypoint that is not finite is not labeled.
InstanceLabels = Mapping[str, Tensor]


class TrueInstances(NamedTuple):
    """The true instances of a batch of images, padded to the same number G, in cells of the feature maps.

    Args:
        keypoints: (B, G, K, 2) x and y.
        is_labeled: (B, G, K); False for padding.
        centers: (B, G, 2) means of the labeled keypoints.
        diagonals: (B, G) diagonals of their extents.
        boxes: (B, G, 4) x1, y1, x2, y2.
        is_real: (B, G) whether an instance has a labeled keypoint at all.
    """

    keypoints: Tensor
    is_labeled: Tensor
    centers: Tensor
    diagonals: Tensor
    boxes: Tensor
    is_real: Tensor


def true_instances(
    labels: Sequence[InstanceLabels], num_keypoints: int, stride: float, device: torch.device
) -> TrueInstances:
    """The instances of the images' labels.

    Args:
        labels: for each image, see `InstanceLabels`.
        stride: pixels of a cell.

    Raises:
        InputError: for labels without `keypoints`, or of another number of them.
    """
    for index, label in enumerate(labels):
        given = label.get("keypoints")
        if given is None or (given.shape[1:] != (num_keypoints, 2) and given.numel()):
            shape = None if given is None else tuple(given.shape)
            raise InputError(
                f"The labels of image {index} have keypoints of shape {shape}; expected (n, {num_keypoints}, 2), with "
                "n = 0 where there is no instance."
            )
    count = max([1, *(len(label["keypoints"]) for label in labels)])
    keypoints = torch.zeros(len(labels), count, num_keypoints, 2, device=device)
    is_labeled = torch.zeros(keypoints.shape[:3], dtype=torch.bool, device=device)
    boxes = torch.full((len(labels), count, 4), torch.nan, device=device)
    for index, label in enumerate(labels):
        given = label["keypoints"].to(keypoints).reshape(-1, num_keypoints, 2)
        weights = label.get("keypoint_weights", torch.ones_like(given[..., 0])).to(given).reshape(given.shape[:2])
        given, weights = known_keypoints(given, weights)
        keypoints[index, : len(given)] = given / stride
        is_labeled[index, : len(given)] = weights > 0
        if "boxes" in label:
            boxes[index, : len(given)] = label["boxes"].to(boxes).reshape(-1, 4) / stride
    counts = is_labeled[..., None].float()
    centers = (keypoints * counts).sum(2) / counts.sum(2).clamp(min=1)
    is_real = is_labeled.any(2)
    lows = keypoints.masked_fill(~is_labeled[..., None], torch.inf).amin(2).where(is_real[..., None], 0)
    highs = keypoints.masked_fill(~is_labeled[..., None], -torch.inf).amax(2).where(is_real[..., None], 0)
    boxes = torch.where(boxes.isnan(), torch.cat((lows, highs), -1), boxes)
    return TrueInstances(keypoints, is_labeled, centers, (highs - lows).norm(dim=-1), boxes, is_real)


def merged_gaussians(points: Tensor, is_labeled: Tensor, size: tuple[int, int], sigma: float | Tensor) -> Tensor:
    """For each image and keypoint the greatest of the Gaussians of its instances.

    Args:
        points: (B, G, K, 2) centers in cells.
        is_labeled: (B, G, K) which of them count.
        size: height and width of the maps in cells.
        sigma: standard deviation in cells, or (B, G) one for each instance.

    Returns:
        (B, K, h, w)
    """
    merged = points.new_zeros(len(points), points.shape[2], *size)
    for instance in range(points.shape[1]):  # maps of all instances at once would take gigabytes
        spread = sigma[:, instance, None] if isinstance(sigma, Tensor) else sigma
        gaussians, _ = heatmap_targets(points[:, instance], size, size, spread, QUARTER)
        merged = torch.maximum(merged, gaussians * is_labeled[:, instance, :, None, None])
    return merged


class BottomUpModel(EstimatorModel):
    """What is the same for all of them. A family adds `make_head` and `find`."""

    conv_std = 0.001
    output_class: ClassVar[type[Any]]
    uses_all_feature_maps: ClassVar[bool] = True  # of the backbone, concatenated; else the last one

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Sequence[InstanceLabels] | None = None,
        flip_test: bool = False,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> Any:
        """
        Args:
            pixel_values: (B, C, H, W) normalized images, H and W multiples of 32.
            labels: for each image its instances, see `InstanceLabels`; asks for the loss.
            flip_test: combine with the flipped images, which needs the flip pairs of `config.keypoint_schema`.
        """
        given = torch.cat((pixel_values, pixel_values.flip(-1))) if flip_test else pixel_values
        feature_maps = self.backbone(given).feature_maps
        features = concatenate_branches(feature_maps if self.uses_all_feature_maps else feature_maps[-1:])
        stride = pixel_values.shape[-1] / features.shape[-1]
        true = None
        if labels is not None:
            labels = one_per_image(labels, len(pixel_values))
            true = true_instances(labels, label_count(self.config), stride, features.device)
        found = self.find(features, stride, true, flip_test)
        return self.output_class(**found, hidden_states=self.states_if_asked(feature_maps, output_hidden_states))

    def find(
        self, features: Tensor, stride: float, true: TrueInstances | None, flip_test: bool
    ) -> dict[str, Tensor | None]:
        """Fields of the output.

        Args:
            features: (B, C, h, w), or with a flip test (2B, C, h, w), those of the images, then of the flipped ones.
            stride: pixels of a cell.
            true: what the loss needs of the labels, None for no loss.
            flip_test: see `forward`.
        """
        raise NotImplementedError

    @property
    def flip_indices(self) -> list[int]:
        """For each keypoint the index of its flip partner.

        Raises:
            ConfigError: where the flip pairs are unknown.
        """
        return list(schema_for_config(self.config).required_flip_indices())
