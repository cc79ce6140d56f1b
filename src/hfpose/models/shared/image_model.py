"""Base of the models that take images."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import AutoBackbone, PreTrainedModel
from transformers import initialization as init
from transformers.utils.output_capturing import capture_outputs

from hfpose.errors import ConfigError
from hfpose.hub.push_mixin import PushWithCard
from hfpose.models.shared.attention import AnyAttention
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.losses import crop_labels


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

    def wants_states(self, asked: bool | None) -> bool:
        """Whether a call asks for `hidden_states`: its `output_hidden_states`, None for that of the configuration."""
        return bool(self.config.output_hidden_states) if asked is None else asked

    def states_if_asked(self, feature_maps: Sequence[Tensor], asked: bool | None) -> tuple[Tensor, ...] | None:
        """Feature maps [(B, C, h, w), ...] as `hidden_states` of the output, see `wants_states`."""
        return tuple(feature_maps) if self.wants_states(asked) else None


class Untrainable(ImageModel):
    """Base of models without a loss: transformers' `Trainer` refuses them when it is made, not at its first step."""

    @property
    def accepts_loss_kwargs(self) -> bool:  # type: ignore[override]
        """What `Trainer` asks of a model first."""
        raise ConfigError(f"{type(self).__name__} computes no loss, so it cannot be trained, only used.")


class EstimatorModel(ImageModel):
    """Base of the models with a `backbone_config`. A family makes what follows the backbone."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
        self.make_head(self.backbone.channels)
        self.post_init()

    def make_head(self, channels: Sequence[int]) -> None:
        """Make the other parts, for the channels of the backbone's feature maps."""
        raise NotImplementedError


class TopDownModel(EstimatorModel):
    """Base of the estimators of crops. A family adds `responses` and `loss`."""

    conv_std: ClassVar[float | None] = 0.001
    output_class: ClassVar[type[Any]]
    num_dimensions: ClassVar[int] = 2  # of a keypoint in `labels`

    @capture_outputs
    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        keypoint_weights: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> Any:
        """
        Args:
            pixel_values: (B, C, H, W) normalized crops, for most models of `config.image_size`.
            labels: (B, K, 2) true x and y of the keypoints in pixels of the crops; asks for the loss.
            keypoint_weights: (B, K) weight of each keypoint in the loss, 0 where it is not labeled. None: all 1.
        """
        wants_states = self.wants_states(output_hidden_states)
        features = self.backbone(pixel_values, output_hidden_states=wants_states, return_dict=True)
        responses = self.responses(features.feature_maps)
        loss = None
        if labels is not None:
            shape = (len(pixel_values), label_count(self.config), self.num_dimensions)
            loss = self.loss(responses, *crop_labels(labels, keypoint_weights, shape))
        return self.output_class(loss=loss, **responses, hidden_states=features.hidden_states)

    def responses(self, feature_maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Fields of the output for the backbone's feature maps [(B, C, h, w), ...]."""
        raise NotImplementedError

    def loss(self, responses: Mapping[str, Tensor], labels: Tensor, keypoint_weights: Tensor) -> Tensor:
        """Training loss, a scalar, of the responses, for what `crop_labels` makes of the arguments of `forward`."""
        raise NotImplementedError
