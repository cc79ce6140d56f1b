"""MotionBERT for lifting 2D keypoints to 3D.

Source: MotionBERT (Zhu et al., 2022, https://arxiv.org/abs/2210.06551); `mmpose.models.backbones.dstformer` and
`mmpose.models.heads.motion_regression_head` are the reference modules.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.errors import InputError
from hfpose.keypoints import schema_for_config
from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.shared.attention import attend
from hfpose.models.shared.lifting import PoseLiftingModel, mean_distance


class MotionBertEmbeddings(nn.Module):
    """Projects keypoints (B, T, K, C) and adds learned positions of joints and frames."""

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__()
        self.projection = nn.Linear(config.num_channels, config.hidden_size)
        self.temporal_embeddings = nn.Parameter(torch.zeros(1, config.max_frames, 1, config.hidden_size))
        self.spatial_embeddings = nn.Parameter(
            torch.zeros(1, schema_for_config(config).num_keypoints, config.hidden_size)
        )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, keypoints_2d: Tensor) -> Tensor:
        hidden_state = self.projection(keypoints_2d) + self.spatial_embeddings
        return self.dropout(hidden_state + self.temporal_embeddings[:, : keypoints_2d.shape[1]])


class MotionBertSelfAttention(nn.Module):
    """Multi-head attention over the second to last dimension of (B, R, L, hidden_size), for each row R by itself."""

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_state: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """
        Args:
            hidden_state: (B, R, L, hidden_size).
            mask: of the implementation of attention, with a row for each of B; None: all of L count.

        Returns:
            (B, R, L, hidden_size), and the weights (B * R, num_heads, L, L), where the implementation gives them.
        """
        batch, rows = hidden_state.shape[:2]
        heads = self.query_key_value(hidden_state).flatten(0, 1).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = (part.transpose(1, 2) for part in heads.unbind(2))  # (B * R, num_heads, L, head size)
        mask = None if mask is None else mask.repeat_interleave(rows, dim=0)
        dropout = self.config.attention_probs_dropout_prob if self.training else 0.0
        context, weights = attend(self, self.config, query, key, value, mask, dropout)
        return self.dropout(self.output(context.flatten(2))).unflatten(0, (batch, rows)), weights


class MotionBertMLP(nn.Module):
    """Two linear layers with GELU between them, over the last dimension."""

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__()
        intermediate_size = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = nn.Linear(config.hidden_size, intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.activation(self.fc1(hidden_state))))


class MotionBertLayer(nn.Module):
    """Attention and MLP with residual connections over (B, T, K, hidden_size), among joints or among frames."""

    def __init__(self, config: MotionBertConfig, over_frames: bool) -> None:
        super().__init__()
        self.over_frames = over_frames
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = MotionBertSelfAttention(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MotionBertMLP(config)

    def forward(self, hidden_state: Tensor, frame_mask: Tensor | None) -> Tensor:
        normed = self.attention_norm(hidden_state)
        if self.over_frames:
            attended = self.attention(normed.transpose(1, 2), frame_mask)[0].transpose(1, 2)
        else:
            attended = self.attention(normed)[0]
        hidden_state = hidden_state + attended
        return hidden_state + self.mlp(self.mlp_norm(hidden_state))


class MotionBertStream(nn.Module):
    """A spatial and a temporal layer over (B, T, K, hidden_size), in this order or the other."""

    def __init__(self, config: MotionBertConfig, spatial_first: bool) -> None:
        super().__init__()
        self.spatial_first = spatial_first
        self.spatial = MotionBertLayer(config, over_frames=False)
        self.temporal = MotionBertLayer(config, over_frames=True)

    def forward(self, hidden_state: Tensor, frame_mask: Tensor | None) -> Tensor:
        first, second = (self.spatial, self.temporal) if self.spatial_first else (self.temporal, self.spatial)
        return second(first(hidden_state, frame_mask), frame_mask)


class MotionBertFusion(nn.Linear):
    """Weights of two streams before their softmax, by what both hold. A class of its own because it is initialized
    so."""

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__(2 * config.hidden_size, 2)


class MotionBertDualStreamBlock(GradientCheckpointingLayer):
    """Two streams over (B, T, K, hidden_size), one spatial first and one temporal first, fused into one."""

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__()
        self.spatial_first = MotionBertStream(config, spatial_first=True)
        self.temporal_first = MotionBertStream(config, spatial_first=False)
        self.fusion = MotionBertFusion(config) if config.use_attention_fusion else None

    def forward(self, hidden_state: Tensor, frame_mask: Tensor | None) -> Tensor:
        spatial_first = self.spatial_first(hidden_state, frame_mask)
        return self.fuse(spatial_first, self.temporal_first(hidden_state, frame_mask))

    def fuse(self, spatial_first: Tensor, temporal_first: Tensor) -> Tensor:
        """The two streams (B, T, K, C) as one."""
        if self.fusion is None:
            return (spatial_first + temporal_first) * 0.5
        weights = self.fusion(torch.cat((spatial_first, temporal_first), dim=-1)).softmax(dim=-1)
        return torch.lerp(temporal_first, spatial_first, weights[..., :1].to(temporal_first.dtype))  # autocast


class MotionBertBackbone(nn.Module):
    """DSTFormer, the dual-stream spatio-temporal transformer: features (B, T, K, hidden_size) of keypoints."""

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = MotionBertEmbeddings(config)
        self.layers = nn.ModuleList(MotionBertDualStreamBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, keypoints_2d: Tensor, frame_mask: Tensor | None) -> Tensor:
        hidden_state = self.embeddings(keypoints_2d)
        mask: Any = frame_mask
        if frame_mask is not None:  # as the implementation of attention takes it
            mask = create_bidirectional_mask(self.config, hidden_state[:, :, 0], frame_mask)
        for layer in self.layers:
            hidden_state = layer(hidden_state, mask)
        return self.norm(hidden_state)


class MotionBertHead(nn.Module):
    """From features (B, T, K, hidden_size) over the motion representation to coordinates (B, T, K, 3)."""

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__()
        self.representation = nn.Linear(config.hidden_size, config.representation_size)
        self.regressor = nn.Linear(config.representation_size, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.regressor(self.representation(features).tanh())


class MotionBertForPoseLifting(PoseLiftingModel):
    """MotionBERT with a head that gives each keypoint a position in 3D, from x and y in half image widths around the
    image center and a visibility.

    Example:

    ```python
    >>> from hfpose import MotionBertForPoseLifting, MotionBertImageProcessor

    >>> model = MotionBertForPoseLifting.from_pretrained(folder)
    >>> processor = MotionBertImageProcessor.from_pretrained(folder)
    >>> inputs = processor(keypoints, image_sizes=(640, 480), schema="coco", return_tensors="pt")
    >>> keypoints_3d = processor.post_process_pose_lifting(model(**inputs), image_sizes=(640, 480))
    ```
    """

    config: MotionBertConfig
    base_model_prefix = "motionbert"
    _no_split_modules = ["MotionBertEmbeddings", "MotionBertDualStreamBlock"]
    _can_record_outputs = {"hidden_states": MotionBertDualStreamBlock, "attentions": MotionBertSelfAttention}

    def __init__(self, config: MotionBertConfig) -> None:
        super().__init__(config)
        self.backbone = MotionBertBackbone(config)
        self.head = MotionBertHead(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, MotionBertFusion):
            # Both streams weigh the same until training says otherwise.
            init.zeros_(module.weight)
            init.constant_(module.bias, 0.5)
        elif isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=std)
        elif isinstance(module, MotionBertEmbeddings):
            init.trunc_normal_(module.temporal_embeddings, std=std)
            init.trunc_normal_(module.spatial_embeddings, std=std)

    def lift(self, keypoints_2d: Tensor, frame_mask: Tensor | None) -> Tensor:
        return self.head(self.backbone(keypoints_2d, frame_mask))

    def _check_shape(self, keypoints_2d: Tensor) -> None:
        config = self.config
        if keypoints_2d.ndim != 4 or keypoints_2d.shape[2:] != (config.num_labels, config.num_channels):
            raise InputError(
                f"keypoints_2d must have shape (clips, frames, {config.num_labels}, {config.num_channels}), "
                f"but {tuple(keypoints_2d.shape)} was given. `MotionBertImageProcessor` makes it from 2D keypoints."
            )
        if not 0 < keypoints_2d.shape[1] <= config.max_frames:
            raise InputError(
                f"The clip has {keypoints_2d.shape[1]} frames, but the model takes 1 to {config.max_frames}. "
                "Cut longer clips into windows, as `hfpose.pipelines.lifting_stage.TemporalLifter` does."
            )

    def loss(self, predicted: Tensor, target: Tensor, frame_weights: Tensor) -> Tensor:
        """Position error, position error at the best scale, and velocity error (MPJPE, N-MPJPE and MPJVE).

        Source: `mmpose.models.losses.MPJPEVelocityJointLoss`.
        """
        weights = frame_weights
        energy = predicted.square().sum((-2, -1), keepdim=True).clamp(min=1e-9)
        best_scale = (target * predicted).sum((-2, -1), keepdim=True) / energy
        position = mean_distance(predicted, target, weights)
        scaled_position = mean_distance(best_scale * predicted, target, weights)
        velocity = mean_distance(predicted.diff(dim=1), target.diff(dim=1), weights[:, 1:] * weights[:, :-1])
        return position + self.config.scale_loss_weight * scaled_position + self.config.velocity_loss_weight * velocity
