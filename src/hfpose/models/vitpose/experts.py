"""ViTPose+ (https://arxiv.org/abs/2212.04246): part of each layer is a mixture of experts, one for each data set."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hfpose.errors import InputError


def forward_arguments(model: PreTrainedModel, batch_size: int, dataset_index: int = 0) -> dict[str, Tensor]:
    """What a pose model has to be called with besides `pixel_values`.

    Args:
        batch_size: number of crops.
        dataset_index: the data set whose experts to use; in ViTPose+ 0 is COCO, 1 AIC, 2 MPII, 3 AP-10K, 4 APT-36K
            and 5 COCO-WholeBody.

    Returns:
        `dataset_index` (batch_size,) for a mixture of experts, nothing for other models.

    Raises:
        InputError: if the model has no experts for `dataset_index`.
    """
    count = getattr(getattr(model.config, "backbone_config", None), "num_experts", 1)
    if not 0 <= dataset_index < count:
        raise InputError(
            f"dataset_index={dataset_index}, but the model has experts for {count} data set(s); "
            f"give an index from 0 to {count - 1}."
        )
    if count == 1:
        return {}
    return {"dataset_index": torch.full((batch_size,), dataset_index, dtype=torch.long, device=model.device)}
