"""Base of the models that take images."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from hfpose.errors import ConfigError
from hfpose.hub.push_mixin import PushWithCard
from hfpose.models.shared.attention import AnyAttention


class ImageModel(PushWithCard, AnyAttention, PreTrainedModel):
    """What is the same for all of them."""

    main_input_name = "pixel_values"
    input_modalities = "image"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # a loss is not divided by `num_items_in_batch`
    conv_std: ClassVar[float | None] = None  # standard deviation of new convolutions; None: as torch draws them

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and self.conv_std is not None:
            init.normal_(module.weight, std=self.conv_std)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            init.kaiming_uniform_(module.weight, a=5**0.5)

    def states_if_asked(self, feature_maps: Sequence[Tensor], asked: bool | None) -> tuple[Tensor, ...] | None:
        """Feature maps [(B, C, h, w), ...] as `hidden_states` of the output, None where they are not asked for.

        Args:
            feature_maps: of any part of the network.
            asked: `output_hidden_states` of the call; None for that of the configuration.
        """
        return tuple(feature_maps) if (self.config.output_hidden_states if asked is None else asked) else None


class Untrainable(ImageModel):
    """Base of models without a loss: transformers' `Trainer` refuses them when it is made, not at its first step."""

    @property
    def accepts_loss_kwargs(self) -> bool:  # type: ignore[override]
        """What `Trainer` asks of a model first.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{type(self).__name__} computes no loss, so it cannot be trained, only used.")
