"""Temporal convolutions for lifting 2D keypoints to 3D.

Source: SimpleBaseline3D (Martinez et al., 2017, https://arxiv.org/abs/1705.03098) and VideoPose3D (Pavllo et al.,
2018, https://arxiv.org/abs/1811.11742); `mmpose.models.backbones.tcn` and
`mmpose.models.heads.TemporalRegressionHead` are the reference modules.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.errors import InputError
from hfpose.keypoints import schema_for_config
from hfpose.models.shared.lifting import PoseLiftingModel, mean_distance
from hfpose.models.temporal_convolution.configuration_temporal_convolution import TemporalConvolutionConfig


class TemporalConvNormAct(nn.Module):
    """Convolution over frames, batch normalization, ReLU: (B, C, T) -> (B, hidden_size, T - (kernel_size - 1) *
    dilation)."""

    def __init__(
        self, config: TemporalConvolutionConfig, in_channels: int, kernel_size: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, config.hidden_size, kernel_size, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(config.hidden_size, eps=config.batch_norm_eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.norm(self.conv(hidden_state)).relu()


class TemporalConvolutionBlock(GradientCheckpointingLayer):
    """A convolution over frames `dilation` apart and one over channels, beside a shortcut."""

    def __init__(self, config: TemporalConvolutionConfig, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = TemporalConvNormAct(config, config.hidden_size, kernel_size, dilation)
        self.conv2 = TemporalConvNormAct(config, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.use_residual = config.use_residual
        lost = (kernel_size - 1) * dilation
        self.shortcut_start = lost if config.is_causal else lost // 2

    def forward(self, hidden_state: Tensor) -> Tensor:
        features = self.dropout(self.conv2(self.dropout(self.conv1(hidden_state))))
        if not self.use_residual:
            return features
        start = self.shortcut_start
        return features + hidden_state[..., start : start + features.shape[-1]]


class TemporalConvolutionBackbone(nn.Module):
    """Features (B, hidden_size, T - receptive_field + 1) of keypoints (B, K * C, T)."""

    def __init__(self, config: TemporalConvolutionConfig) -> None:
        super().__init__()
        first, *others = config.kernel_sizes
        in_channels = schema_for_config(config).num_keypoints * config.num_channels
        self.stem = TemporalConvNormAct(config, in_channels, first)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.blocks = nn.ModuleList()
        dilation = first
        for kernel_size in others:
            self.blocks.append(TemporalConvolutionBlock(config, kernel_size, dilation))
            dilation *= kernel_size

    def forward(self, keypoints: Tensor) -> Tensor:
        hidden_state = self.dropout(self.stem(keypoints))
        for block in self.blocks:
            hidden_state = block(hidden_state)
        return hidden_state


class TemporalConvolutionForPoseLifting(PoseLiftingModel):
    """
    Temporal convolutions with a head that gives each keypoint a position in 3D; used as [`MotionBertForPoseLifting`].

    Every frame of a clip is lifted from `config.receptive_field` frames around it; where there are none, the first or
    last frame stands in for them.
    """

    config: TemporalConvolutionConfig
    base_model_prefix = "temporal_convolution"
    _no_split_modules = ["TemporalConvolutionBlock"]
    _can_record_outputs = {"hidden_states": TemporalConvolutionBlock}

    def __init__(self, config: TemporalConvolutionConfig) -> None:
        super().__init__(config)
        self.backbone = TemporalConvolutionBackbone(config)
        count = schema_for_config(config).num_keypoints - (not config.predicts_root)
        self.head = nn.Conv1d(config.hidden_size, count * 3, 1)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv1d) and module.bias is None:
            init.kaiming_normal_(module.weight, nonlinearity="relu")

    def lift(self, keypoints_2d: Tensor, frame_mask: Tensor | None) -> Tensor:
        padded = self._with_context(keypoints_2d.flatten(2), frame_mask)
        lifted = self.head(self.backbone(padded.transpose(1, 2)))
        keypoints_3d = lifted.transpose(1, 2).unflatten(-1, (-1, 3))
        if self.config.predicts_root:
            return keypoints_3d
        order = list(range(keypoints_3d.shape[2]))
        order.insert(self.config.root_index, len(order))  # the row of zeros that is appended
        return F.pad(keypoints_3d, (0, 0, 0, 1))[:, :, order]

    def _with_context(self, frames: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Clips (B, T, C) with frames before and after, copies of the first one and of the last one that counts."""
        batch, length, channels = frames.shape
        if frame_mask is None:
            last = torch.full((batch, 1), length - 1, device=frames.device)
        else:
            last = frame_mask.long().sum(1, keepdim=True) - 1
        numbers = torch.arange(-self.config.frames_before, length + self.config.frames_after, device=frames.device)
        numbers = torch.minimum(numbers[None], last).clamp(min=0)
        return frames.gather(1, numbers[..., None].expand(-1, -1, channels))

    def _check_shape(self, keypoints_2d: Tensor) -> None:
        wanted = (self.config.num_labels, self.config.num_channels)
        if keypoints_2d.ndim != 4 or keypoints_2d.shape[2:] != wanted or keypoints_2d.shape[1] == 0:
            raise InputError(
                f"keypoints_2d must have shape (clips, frames, {wanted[0]}, {wanted[1]}) with a frame at least, but "
                f"{tuple(keypoints_2d.shape)} was given. `TemporalConvolutionImageProcessor` makes it from 2D "
                "keypoints."
            )

    def loss(self, predicted: Tensor, target: Tensor, frame_weights: Tensor) -> Tensor:
        """Source: `mmpose.models.losses.MPJPELoss` and `MSELoss`, over the keypoints that the network predicts."""
        if not self.config.predicts_root:
            kept = [index for index in range(predicted.shape[2]) if index != self.config.root_index]
            predicted, target = predicted[:, :, kept], target[:, :, kept]
        if self.config.loss_type == "mpjpe":
            return mean_distance(predicted, target, frame_weights)
        squared = F.mse_loss(predicted, target, reduction="none").mean((-2, -1))
        return (squared * frame_weights).sum() / frame_weights.sum().clamp(min=1)
