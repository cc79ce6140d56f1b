"""RSN: an MSPN whose blocks look at their input in steps of growing receptive fields.

Source: Cai et al., 2020, https://arxiv.org/abs/2003.04030; `mmpose.models.backbones.RSN`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from hfpose.models.backbones import mspn
from hfpose.models.backbones.mspn import MSPNBackbone, MSPNBackboneConfig, MSPNNetwork
from hfpose.models.shared.configuration import Numbers
from hfpose.models.shared.conversion import RenameRules
from hfpose.models.shared.convolution import conv_layer, make_shortcut


@strict
class RSNBackboneConfig(MSPNBackboneConfig):
    """Configuration of [`RSNBackbone`]; see [`MSPNBackboneConfig`]. The defaults are those of RSN-18.

    Args:
        num_steps: branches of a block.
        branch_width: channels of a branch in the first level; each level doubles them.
    """

    model_type = "rsn_backbone"

    depths: Numbers = (2, 2, 2, 2)
    num_steps: int = 4
    branch_width: int = 26


class ResidualStepsBlock(nn.Module):
    """Branches of one, two, three ... convolutions, each step of which sees that of the branch before; and a
    shortcut."""

    def __init__(self, config: RSNBackboneConfig, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        conv, eps, count = conv_layer(config), config.batch_norm_eps, config.num_steps
        width = in_channels * config.branch_width // config.stem_channels
        self.split = conv(in_channels, count * width, 1, stride)
        self.branches = nn.ModuleList(
            nn.ModuleList(conv(width, width, 3) for _ in range(branch + 1)) for branch in range(count)
        )
        self.merge = conv(count * width, out_channels, 1, hidden_act=None)
        self.shortcut = make_shortcut(in_channels, out_channels, stride, eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        before: list[Tensor] = []
        ends = []
        for part, branch in zip(self.split(hidden_state).chunk(len(self.branches), 1), self.branches, strict=True):
            states: list[Tensor] = []
            for step, conv in enumerate(branch.children()):
                given = states[-1] if states else part
                states.append(conv(given + before[step] if step < len(before) else given))
            before = states
            ends.append(states[-1])
        return (self.merge(torch.cat(ends, 1)) + self.shortcut(hidden_state)).relu()


class RSNNetwork(MSPNNetwork):
    """Down, with blocks of steps, and up again."""

    expansion = 1

    def make_block(self, config: Any, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        return ResidualStepsBlock(config, in_channels, out_channels, stride)


class RSNBackbone(MSPNBackbone):
    """RSN; feature maps after the stem and of each level of each network, see `depths`."""

    config: RSNBackboneConfig
    network_class = RSNNetwork
    _no_split_modules = ["RSNNetwork"]


RENAMES: RenameRules = (
    (r"\.conv_bn_relu1\.", ".split."),
    (r"\.conv_bn_relu2_(\d+)_(\d+)\.", lambda match: f".branches.{int(match[1]) - 1}.{int(match[2]) - 1}."),
    (r"\.conv_bn3\.", ".merge."),
    *mspn.RENAMES,
)


def config_from_reference(backbone: Mapping[str, Any]) -> RSNBackboneConfig:
    """Configuration for the reference's `RSN` settings."""
    return RSNBackboneConfig(
        num_steps=backbone.get("num_steps", 4),
        branch_width=backbone.get("expand_times", 26),
        **mspn.network_arguments(backbone),
    )
