"""Base of the bottom-up estimators: all people of an image from one pass of a backbone, with a flip test of their own."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.utils.generic import can_return_tuple

from hfpose.keypoints import schema_for_config
from hfpose.models.shared.bottom_up_losses import InstanceLabels, TrueInstances, true_instances
from hfpose.models.shared.branches import concatenate_branches
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.image_model import EstimatorModel


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
            output_hidden_states: whether to return the feature maps of the backbone.
        """
        given = torch.cat((pixel_values, pixel_values.flip(-1))) if flip_test else pixel_values
        feature_maps = self.backbone(given).feature_maps
        features = concatenate_branches(feature_maps if self.uses_all_feature_maps else feature_maps[-1:])
        stride = pixel_values.shape[-1] / features.shape[-1]
        true = None
        if labels is not None:
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
