"""Base of the models that take images."""

from transformers import PreTrainedModel

from hfpose.hub.push_mixin import PushWithCard
from hfpose.models.shared.attention import AnyAttention


class ImageModel(PushWithCard, AnyAttention, PreTrainedModel):
    """What is the same for all of them."""

    main_input_name = "pixel_values"
    input_modalities = "image"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # a loss is not divided by `num_items_in_batch`
