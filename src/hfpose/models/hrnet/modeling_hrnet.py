"""HRNet: branches of several resolutions side by side, merged again and again, and a heatmap for each keypoint.

Source: Sun et al., 2019, https://arxiv.org/abs/1902.09212; `mmpose.models.backbones.HRNet`,
`mmpose.models.heads.HeatmapHead`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from hfpose.hub.push_mixin import PushWithCard
from hfpose.models.hrnet.configuration_hrnet import HRNetConfig
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import ConvNormAct
from hfpose.models.shared.losses import heatmap_loss

# Output channels of a block relative to those of its inner convolutions.
EXPANSIONS = {"basic": 1, "bottleneck": 4}

# Kernel size of a transposed convolution -> padding and output padding with which it doubles the resolution.
DECONV_PADDINGS = {2: (0, 0), 3: (1, 1), 4: (1, 0)}


@dataclass
class HRNetOutput(ModelOutput):
    """
    Output of [`HRNetForPoseEstimation`].

    Args:
        loss: scalar, where `labels` were given; see `heatmap_loss`.
        heatmaps: (B, K, H / 4, W / 4) responses, twice the size for each transposed convolution of the head.
        hidden_states: feature maps at stride 4 after each stage, where asked for.
    """

    loss: Tensor | None = None
    heatmaps: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class HRNetBlock(nn.Module):
    """Residual block of two 3x3 convolutions, or of one between two of size 1 (bottleneck)."""

    def __init__(self, config: HRNetConfig, in_channels: int, channels: int, block_type: str) -> None:
        super().__init__()
        act, eps = config.hidden_act, config.batch_norm_eps
        out_channels = channels * EXPANSIONS[block_type]
        kernels = (1, 3, 1) if block_type == "bottleneck" else (3, 3)
        sizes = [in_channels, *[channels] * (len(kernels) - 1), out_channels]
        acts = [*[act] * (len(kernels) - 1), "linear"]
        self.layers = nn.Sequential(
            *(
                ConvNormAct(*size, kernel, hidden_act=layer_act, norm_eps=eps)
                for size, kernel, layer_act in zip(pairwise(sizes), kernels, acts, strict=True)
            )
        )
        self.shortcut = (
            ConvNormAct(in_channels, out_channels, 1, hidden_act="linear", norm_eps=eps)
            if in_channels != out_channels
            else nn.Identity()
        )
        self.activation = ACT2FN[act]

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.layers(hidden_state) + self.shortcut(hidden_state))


class HRNetModule(GradientCheckpointingLayer):
    """Residual blocks on each branch, then each output is the sum of all branches at its resolution.

    Args:
        config: of the model.
        stage: index of the stage, which tells channels and blocks.
        in_channels: of each branch.
        num_outputs: number of branches to compute, from the highest resolution down.
    """

    def __init__(self, config: HRNetConfig, stage: int, in_channels: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        block_type = config.stage_block_types[stage]
        self.branches = nn.ModuleList(
            nn.Sequential(*(HRNetBlock(config, out if i else before, channels, block_type) for i in range(blocks)))
            for before, channels, blocks, out in zip(
                in_channels,
                config.stage_channels[stage],
                config.stage_blocks[stage],
                branch_channels(config, stage),
                strict=True,
            )
        )
        channels = branch_channels(config, stage)
        self.fusions = nn.ModuleList(
            nn.ModuleList(_fusion(config, channels, source, target) for source in range(len(channels)))
            for target in range(num_outputs if len(channels) > 1 else 0)
        )
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        features = tuple(branch(feature) for branch, feature in zip(self.branches, features, strict=True))
        if len(features) == 1:
            return features
        return tuple(self.activation(self._merge(fusion, features)) for fusion in self.fusions)

    @staticmethod
    def _merge(fusion: nn.Module, features: Sequence[Tensor]) -> Tensor:
        resized = (resize(feature) for resize, feature in zip(fusion.children(), features, strict=True))
        return reduce(torch.add, resized)


def _fusion(config: HRNetConfig, channels: Sequence[int], source: int, target: int) -> nn.Module:
    """From one branch of a module to the size and channels of another."""
    act, eps = config.hidden_act, config.batch_norm_eps
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            ConvNormAct(channels[source], channels[target], 1, hidden_act="linear", norm_eps=eps),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    halvings = [
        ConvNormAct(channels[source], channels[source], 3, stride=2, hidden_act=act, norm_eps=eps)
        for _ in range(target - source - 1)
    ]
    last = ConvNormAct(channels[source], channels[target], 3, stride=2, hidden_act="linear", norm_eps=eps)
    return nn.Sequential(*halvings, last)


def branch_channels(config: HRNetConfig, stage: int) -> list[int]:
    """Output channels of the branches of a stage."""
    return [channels * EXPANSIONS[config.stage_block_types[stage]] for channels in config.stage_channels[stage]]


class HRNetStage(nn.Module):
    """New branches by halving the lowest resolution, then modules.

    Args:
        config: of the model.
        stage: its index.
        in_channels: of the branches of the stage before.
        num_outputs: number of branches to compute, from the highest resolution down.
    """

    def __init__(self, config: HRNetConfig, stage: int, in_channels: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        # The first stage's blocks change the number of channels themselves.
        channels = branch_channels(config, stage) if stage else list(in_channels)
        self.transition = nn.ModuleList(_transition(config, in_channels, channels[i], i) for i in range(len(channels)))
        modules = config.stage_modules[stage]
        self.units = nn.ModuleList(
            HRNetModule(
                config,
                stage,
                branch_channels(config, stage) if i else channels,
                num_outputs if i == modules - 1 else len(channels),
            )
            for i in range(modules)
        )

    def forward(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        last = len(features) - 1
        features = [step(features[min(i, last)]) for i, step in enumerate(self.transition)]
        for unit in self.units:
            features = unit(*features)
        return features


def _transition(config: HRNetConfig, in_channels: Sequence[int], out_channels: int, branch: int) -> nn.Module:
    """From the branches of a stage to one branch of the next: its own, or the last one halved."""
    act, eps = config.hidden_act, config.batch_norm_eps
    if branch < len(in_channels):
        if in_channels[branch] == out_channels:
            return nn.Identity()
        return nn.Sequential(ConvNormAct(in_channels[branch], out_channels, 3, hidden_act=act, norm_eps=eps))
    halvings = branch - len(in_channels) + 1
    sizes = [*[in_channels[-1]] * halvings, out_channels]
    return nn.Sequential(*(ConvNormAct(*size, 3, stride=2, hidden_act=act, norm_eps=eps) for size in pairwise(sizes)))


class HRNetBackbone(nn.Module):
    """Feature maps at stride 4, one after each stage, of `pixel_values` (B, C, H, W)."""

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__()
        act, eps, stem = config.hidden_act, config.batch_norm_eps, config.stem_channels
        self.stem = nn.Sequential(
            ConvNormAct(config.num_channels, stem, 3, stride=2, hidden_act=act, norm_eps=eps),
            ConvNormAct(stem, stem, 3, stride=2, hidden_act=act, norm_eps=eps),
        )
        count = len(config.stage_modules)
        channels = [[stem], *(branch_channels(config, stage) for stage in range(count))]
        self.stages = nn.ModuleList(
            HRNetStage(
                config, stage, channels[stage], num_outputs=len(channels[stage + 1]) if stage < count - 1 else 1
            )
            for stage in range(count)
        )

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        features: Sequence[Tensor] = [self.stem(pixel_values)]
        feature_maps = []
        for stage in self.stages:
            features = stage(features)
            feature_maps.append(features[0])
        return feature_maps


class HRNetHeadLayer(nn.Module):
    """A convolution of the head with normalization and activation."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, hidden_act: str) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels)
        self.activation = ACT2FN[hidden_act]

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(hidden_state)))


class HRNetHead(nn.Module):
    """From a feature map at stride 4 to heatmaps."""

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__()
        act = config.hidden_act
        channels = branch_channels(config, len(config.stage_modules) - 1)[0]
        deconv_sizes = pairwise([channels, *config.deconv_channels])
        self.deconvolutions = nn.Sequential(
            *(
                HRNetHeadLayer(_doubling_deconvolution(*size, kernel), act)
                for size, kernel in zip(deconv_sizes, config.deconv_kernel_sizes, strict=True)
            )
        )
        channels = [channels, *config.deconv_channels][-1]
        conv_sizes = pairwise([channels, *config.conv_channels])
        self.convolutions = nn.Sequential(
            *(
                HRNetHeadLayer(nn.Conv2d(*size, kernel, padding=(kernel - 1) // 2), act)
                for size, kernel in zip(conv_sizes, config.conv_kernel_sizes, strict=True)
            )
        )
        kernel = config.final_kernel_size
        self.heatmaps = nn.Conv2d(
            [channels, *config.conv_channels][-1], label_count(config), kernel, padding=(kernel - 1) // 2
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.heatmaps(self.convolutions(self.deconvolutions(features)))


def _doubling_deconvolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.ConvTranspose2d:
    padding, output_padding = DECONV_PADDINGS[kernel_size]
    return nn.ConvTranspose2d(
        in_channels, out_channels, kernel_size, stride=2, padding=padding, output_padding=output_padding, bias=False
    )


class HRNetPreTrainedModel(PushWithCard, PreTrainedModel):
    """Initialization and loading."""

    config: HRNetConfig
    config_class = HRNetConfig
    base_model_prefix = "hrnet"
    main_input_name = "pixel_values"
    input_modalities = "image"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is not divided by `num_items_in_batch`
    _no_split_modules = ["HRNetStage", "HRNetHead"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            init.normal_(module.weight, std=0.001)


class HRNetForPoseEstimation(HRNetPreTrainedModel):
    """
    HRNet with its heatmap head.

    Example:

    ```python
    >>> from hfpose import HRNetForPoseEstimation, HRNetImageProcessor

    >>> model = HRNetForPoseEstimation.from_pretrained(folder)
    >>> processor = HRNetImageProcessor.from_pretrained(folder)
    >>> inputs = processor(image, boxes=[[[50, 20, 200, 400]]], return_tensors="pt")
    >>> people = processor.post_process_pose_estimation(model(**inputs), boxes=[[[50, 20, 200, 400]]])
    ```
    """

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__(config)
        self.backbone = HRNetBackbone(config)
        self.head = HRNetHead(config)
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        keypoint_weights: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: object,
    ) -> HRNetOutput | tuple[Tensor, ...]:
        """
        Args:
            pixel_values: (B, C, H, W) normalized crops.
            labels: (B, K, 2) true x and y of the keypoints in pixels of the crops; asks for the loss.
            keypoint_weights: (B, K) weight of each keypoint in the loss, 0 where it is not labeled. None: all 1.
            output_hidden_states: whether to return the feature maps of the backbone.
            return_dict: False for a plain tuple.
        """
        feature_maps = self.backbone(pixel_values)
        wants_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        heatmaps = self.head(feature_maps[-1])
        loss = None
        if labels is not None:
            loss = heatmap_loss(
                heatmaps,
                labels,
                keypoint_weights,
                image_size=pixel_values.shape[2:],
                sigma=self.config.heatmap_sigma,
                encoding=self.config.heatmap_encoding,
            )
        output = HRNetOutput(loss=loss, heatmaps=heatmaps, hidden_states=tuple(feature_maps) if wants_states else None)
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()


__all__ = ["HRNetForPoseEstimation", "HRNetOutput", "HRNetPreTrainedModel"]
