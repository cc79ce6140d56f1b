"""Networks that predict at every anchor point of every feature level: RTMDet, YOLOX, YOLOX-Pose, RTMO."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from hfpose.models.shared.coco_labels import labels_in_pixels, one_per_image
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.image_model import ImageModel

PRIOR_PROBABILITY = 0.01


class ScorePrediction(nn.Conv2d):
    """Predicts logits. A class of its own because transformers initializes only modules that hold parameters."""


class DensePredictionModel(ImageModel):
    """Base of these models, whose fresh scores are `PRIOR_PROBABILITY` everywhere. A family adds `find`."""

    output_class: ClassVar[type[Any]]
    backbone: Any
    neck: nn.Module

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Sequence[Mapping[str, Tensor]] | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> Any:
        """
        Args:
            pixel_values: (B, C, H, W) images as the image processor makes them, H and W multiples of the coarsest
                stride.
            labels: for each image what is in it, see `DenseDetector` and `RTMOForPoseEstimation.forward`; asks for the
                loss.
        """
        features = self.neck(self.backbone(pixel_values).feature_maps)
        found = self.find(features, None if labels is None else self.read_labels(labels, pixel_values.shape))
        return self.output_class(**found, hidden_states=self.states_if_asked(features, output_hidden_states))

    def read_labels(
        self, labels: Sequence[Mapping[str, Tensor]], shape: Sequence[int]
    ) -> Sequence[Mapping[str, Tensor]]:
        """The labels of `pixel_values` of that shape, any shape, as the loss takes them."""
        return labels

    def find(
        self, features: Sequence[Tensor], labels: Sequence[Mapping[str, Tensor]] | None
    ) -> dict[str, Tensor | None]:
        """Fields of the output for the feature maps [(B, C, h, w), ...] of the neck, and with labels the loss."""
        raise NotImplementedError

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ScorePrediction) and module.bias is not None:
            init.constant_(module.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))


class DenseDetector(DensePredictionModel):
    """Base of the detectors among them. Their labels are a dict of `class_labels` (n,) and `boxes` (n, 4) for each
    image: center x, center y, width and height in shares of the image, as transformers' object detection has them; n
    may be 0."""

    def read_labels(
        self, labels: Sequence[Mapping[str, Tensor]], shape: Sequence[int]
    ) -> Sequence[Mapping[str, Tensor]]:
        return labels_in_pixels(one_per_image(labels, shape[0]), shape[2:], label_count(self.config))


def by_level(layers: Iterable[nn.Module], levels: Sequence[Tensor]) -> list[Tensor]:
    """What each level's layer makes of its feature map (B, C, h, w)."""
    return [layer(level) for layer, level in zip(layers, levels, strict=True)]


def anchor_points(levels: Sequence[Tensor], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Top left corners (P, 2) in pixels and strides (P,) of the anchor points, one for each cell of the feature maps.

    Args:
        levels: [(B, C, h, w), ...], on whose device, as heads may be on another than the images, they are made.
        strides: of the levels in pixels.
    """
    points, scales = [], []
    for level, stride in zip(levels, strides, strict=True):
        # Numbers by OpenCV's DNN: version 4 multiplies no integers in a graph, and 5 counts in nothing else.
        rows, columns = (torch.arange(side, device=level.device).float() for side in level.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        points.append(torch.stack((x, y), -1).reshape(-1, 2) * stride)
        scales.append(torch.full_like(points[-1][:, 0], float(stride)))
    return torch.cat(points), torch.cat(scales)


def decode_center_boxes(regressions: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Boxes (B, P, 4) x1, y1, x2, y2 in pixels, as YOLOX, YOLOX-Pose and RTMO regress them.

    Args:
        regressions: (B, P, 4) the offset of a box's center from its point, and the logarithm of its width and height,
            in units of the stride.
        points: (P, 2) in pixels.
        strides: (P,) in pixels.
    """
    offsets, log_sizes = regressions.float().chunk(2, dim=-1)
    factors = strides.reshape(1, -1, 1)  # by which OpenCV's DNN, to which `strides` is (P, 1), makes this shape, too
    centers, sizes = offsets * factors + points[None], log_sizes.exp() * factors
    return torch.cat((centers - sizes / 2, centers + sizes / 2), dim=-1)


def flatten_levels(levels: Sequence[Tensor], num_values: int | None = None) -> Tensor:
    """Feature maps as one tensor, level by level, row by row.

    Args:
        levels: (B, A * C, h, w), where each anchor point holds A boxes; A may differ from level to level.
        num_values: C; None for one box an anchor point.

    Returns:
        (B, P, C), where P counts the boxes of all anchor points.
    """
    return torch.cat(
        [
            level.flatten(2).transpose(1, 2).reshape(level.shape[0], -1, num_values or level.shape[1])
            for level in levels
        ],
        dim=1,
    )
