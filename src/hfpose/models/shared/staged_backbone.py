"""The network of a backbone of ours: a stem, then stages, each of which gives a feature map."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.backbone_utils import BackboneMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput
from transformers.utils.output_capturing import capture_outputs

from hfpose.models.shared.attention import AnyAttention
from hfpose.models.shared.configuration import StagedBackboneConfig


class CheckpointedSequential(GradientCheckpointingLayer, nn.Sequential):
    """Layers in a row, of which only the input is kept for the gradient where the model is told so."""


class StagedBackbone(AnyAttention, BackboneMixin, PreTrainedModel):
    """Base of the backbones. A family makes `stem` and `stages`, and `num_features`, the channels after each of
    them."""

    config: StagedBackboneConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = "image"
    supports_gradient_checkpointing = True
    has_attentions = False
    conv_std: ClassVar[float | None] = None  # standard deviation of new convolutions; None: by their size
    stem: nn.Module
    stages: nn.ModuleList

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d) and self.conv_std is not None:
            init.normal_(module.weight, std=self.conv_std)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @capture_outputs
    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool | None = None, **kwargs: object
    ) -> BackboneOutput:
        """
        Args:
            pixel_values: (B, C, H, W) normalized images.

        Returns:
            `feature_maps`: (B, C, h, w) of the stages that `config.out_features` names.
        """
        hidden_states = self.stage_outputs(pixel_values)
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        named = zip(self.stage_names, hidden_states, strict=True)
        feature_maps: Any = tuple(state for name, state in named if name in self.out_features)
        return BackboneOutput(feature_maps=feature_maps, hidden_states=tuple(hidden_states) if wants_states else None)

    def stage_outputs(self, pixel_values: Tensor) -> Sequence[Tensor]:
        """Feature maps (B, C, h, w) after the stem and after each stage."""
        hidden_states = [self.stem(pixel_values)]
        for stage in self.stages:
            hidden_states.append(stage(hidden_states[-1]))
        return hidden_states
