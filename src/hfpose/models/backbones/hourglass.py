"""Stacked hourglasses: networks that halve the resolution again and again and come back, one after the other.

Source: Newell et al., 2016, https://arxiv.org/abs/1603.06937; `mmpose.models.backbones.HourglassNet`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, batch_norm_eps, rename_state_dict
from hfpose.models.shared.convolution import RESIDUAL_RENAMES, ResidualBlock, conv_layer
from hfpose.models.shared.staged_backbone import StagedBackbone

STEM_CHANNELS = (128, 256)


@strict
class HourglassBackboneConfig(StagedBackboneConfig):
    """Configuration of [`HourglassBackbone`]. The defaults are those of Hourglass-52.

    Args:
        num_stacks: number of hourglasses; each gives a feature map, `stage1`, `stage2` and so on.
        level_channels: channels at each resolution, from the highest down.
        level_blocks: number of residual blocks at each resolution.
        feature_channels: channels of the feature maps.
    """

    model_type = "hourglass_backbone"

    num_stacks: int = 1
    level_channels: Numbers = (256, 256, 384, 384, 384, 512)
    level_blocks: Numbers = (2, 2, 2, 2, 2, 4)
    feature_channels: int = 256

    @property
    def num_stages(self) -> int:
        return self.num_stacks

    @property
    def merged_strides(self) -> tuple[int, int]:
        """See `check_image_size`."""
        return 4, 4 * 2 ** (len(self.level_channels) - 1)


def _blocks(sizes: Sequence[tuple[int, int]], eps: float, stride: int = 1) -> nn.Sequential:
    """Residual blocks with these (input, output) channels, the first with a stride."""
    return nn.Sequential(
        *(ResidualBlock(*size, stride=1 if index else stride, norm_eps=eps) for index, size in enumerate(sizes))
    )


class Hourglass(nn.Module):
    """A feature map, and beside it the same at half the resolution through the next smaller hourglass."""

    def __init__(self, config: HourglassBackboneConfig, level: int) -> None:
        super().__init__()
        eps, count = config.batch_norm_eps, config.level_blocks[level]
        channels, lower = config.level_channels[level : level + 2]
        self.same = _blocks([(channels, channels)] * count, eps)
        self.down = _blocks([(channels, lower), *[(lower, lower)] * (count - 1)], eps, stride=2)
        is_last = level == len(config.level_channels) - 2
        self.inner: nn.Module = (
            _blocks([(lower, lower)] * config.level_blocks[-1], eps) if is_last else Hourglass(config, level + 1)
        )
        self.up = _blocks([*[(lower, lower)] * (count - 1), (lower, channels)], eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        lower = self.up(self.inner(self.down(hidden_state)))
        return self.same(hidden_state) + F.interpolate(lower, scale_factor=2.0, mode="nearest")


class HourglassStack(GradientCheckpointingLayer):
    """An hourglass, its feature map, and the input of the next one."""

    def __init__(self, config: HourglassBackboneConfig, is_last: bool) -> None:
        super().__init__()
        conv, channels, features = conv_layer(config), config.level_channels[0], config.feature_channels
        self.hourglass = Hourglass(config, 0)
        self.output = conv(channels, features, 3)
        self.is_last = is_last
        if not is_last:
            self.skip = conv(channels, channels, 1, hidden_act=None)
            self.remap = conv(features, channels, 1, hidden_act=None)
            self.merge = ResidualBlock(channels, channels, norm_eps=config.batch_norm_eps)

    def forward(self, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        """The feature map (B, C, h, w), and the input of the next hourglass (B, C, h, w)."""
        features = self.output(self.hourglass(hidden_state))
        if self.is_last:
            return features, features
        return features, self.merge((self.skip(hidden_state) + self.remap(features)).relu())


class HourglassBackbone(StagedBackbone):
    """Stacked hourglasses; a feature map at stride 4 after the stem and from each of them."""

    config: HourglassBackboneConfig
    conv_std = 0.001
    _no_split_modules = ["HourglassStack"]

    def __init__(self, config: HourglassBackboneConfig) -> None:
        super().__init__(config)
        conv, eps = conv_layer(config), config.batch_norm_eps
        self.stem = nn.Sequential(
            conv(config.num_channels, STEM_CHANNELS[0], 7, 2),
            ResidualBlock(*STEM_CHANNELS, stride=2, norm_eps=eps),
        )
        count = config.num_stacks
        self.stages = nn.ModuleList(HourglassStack(config, is_last=index == count - 1) for index in range(count))
        self.num_features = [STEM_CHANNELS[1], *[config.feature_channels] * count]
        self.post_init()

    def stage_outputs(self, pixel_values: Tensor) -> Sequence[Tensor]:
        hidden_state = self.stem(pixel_values)
        outputs = [hidden_state]
        for stage in self.stages:
            features, hidden_state = stage(hidden_state)
            outputs.append(features)
        return outputs


RENAMES: RenameRules = (
    (r"^stem\.1\.0\.", "stem.1."),
    (r"^hourglass_modules\.(\d+)\.", r"stages.\1.hourglass."),
    (r"(?<=\.)up1(?=\.)", "same"),
    (r"(?<=\.)low1(?=\.)", "down"),
    (r"(?<=\.)low2(?=\.)", "inner"),
    (r"(?<=\.)low3(?=\.)", "up"),
    (r"^out_convs\.(\d+)\.", r"stages.\1.output."),
    (r"^conv1x1s\.(\d+)\.", r"stages.\1.skip."),
    (r"^remap_convs\.(\d+)\.", r"stages.\1.remap."),
    *RESIDUAL_RENAMES,
    (r"^inters\.(\d+)\.", r"stages.\1.merge."),
)


def convert_state_dict(state_dict: Mapping[str, Tensor], config: HourglassBackboneConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names. With one hourglass it has a block before the next all the same."""
    unused: RenameRules = () if config.num_stacks > 1 else ((r"^inters\.", ()),)
    return rename_state_dict(state_dict, (*unused, *RENAMES))


def config_from_reference(backbone: Mapping[str, Any]) -> HourglassBackboneConfig:
    """Configuration for the reference's `HourglassNet` settings."""
    levels = backbone.get("downsample_times", 5) + 1
    count = backbone.get("num_stacks", 2)
    outputs: dict[str, Any] = {"out_indices": list(range(1, count + 1))}
    return HourglassBackboneConfig(
        num_stacks=count,
        level_channels=list(backbone.get("stage_channels", (256, 256, 384, 384, 384, 512)))[:levels],
        level_blocks=list(backbone.get("stage_blocks", (2, 2, 2, 2, 2, 4)))[:levels],
        feature_channels=backbone.get("feat_channel", 256),
        batch_norm_eps=batch_norm_eps(backbone),
        **outputs,
    )
