"""ViTPose+ (https://arxiv.org/abs/2212.04246): part of each layer is a mixture of experts, one for each data set."""

import torch
from torch import Tensor
from transformers import PreTrainedModel


def forward_arguments(model: PreTrainedModel, batch_size: int) -> dict[str, Tensor]:
    """What a pose model has to be called with besides `pixel_values`, for so many crops.

    Returns:
        `dataset_index` (batch_size,) of the first experts, which are COCO's in ViTPose+; nothing for models without a
        mixture of experts.
    """
    if getattr(getattr(model.config, "backbone_config", None), "num_experts", 1) == 1:
        return {}
    return {"dataset_index": torch.zeros(batch_size, dtype=torch.long, device=model.device)}
