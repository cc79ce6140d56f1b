"""ED-Pose: boxes of people first, then each box together with its keypoints, by one transformer.

There is no output of the reference to compare with: its configuration cannot be read by itself. Source: Yang et al.,
2023, https://arxiv.org/abs/2302.01593; `mmpose.models.heads.EDPoseHead`, `mmpose.models.necks.ChannelMapper`,
`mmpose.models.heads.transformer_heads.transformers`; deformable attention is Zhu et al., 2020,
https://arxiv.org/abs/2010.04159, `mmcv.ops.MultiScaleDeformableAttention`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from hfpose.models.edpose.configuration_edpose import EDPoseConfig
from hfpose.models.shared.bottom_up import cell_grid
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import MLP
from hfpose.models.shared.image_model import EstimatorModel, Untrainable

PRIOR_PROBABILITY = 0.01
PROPOSAL_SIZE = 0.05  # of a proposal at the finest feature map, relative to the image; doubled from map to map


BOX_TEMPERATURE = 10_000.0  # of the sines that tell the decoder where a box is
_EPS = 1e-3  # of the inverse of the sigmoid

Shapes = Sequence[tuple[int, int]]  # (height, width) of the feature maps


class EDPoseDeformableAttention(nn.Module):
    """Each query takes a weighted sum over places of its own choice in all feature maps."""

    def __init__(self, config: EDPoseConfig) -> None:
        super().__init__()
        self.heads, self.levels, self.points = config.num_attention_heads, config.num_feature_levels, config.num_points
        places = self.heads * self.levels * self.points
        self.sampling_offsets = nn.Linear(config.hidden_size, 2 * places)
        self.attention_weights = nn.Linear(config.hidden_size, places)
        self.value_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.output_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, query: Tensor, value: Tensor, is_padding: Tensor, references: Tensor, shapes: Shapes) -> Tensor:
        """
        Args:
            query: (B, Q, C) with their positions added.
            value: (B, P, C) the cells of all feature maps.
            is_padding: (B, P).
            references: (B, Q, levels, 2) x and y, or (B, Q, levels, 4) with width and height; 0 to 1 in each map.

        Returns:
            (B, Q, C)
        """
        values = self.value_proj(value).masked_fill(is_padding[..., None], 0).unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1)
        references = references[:, :, None, :, None]  # (B, Q, 1, levels, 1, 2 or 4)
        if references.shape[-1] == 4:
            places = references[..., :2] + offsets / self.points * references[..., 2:] * 0.5
        else:
            sides = offsets.new_tensor([(width, height) for height, width in shapes])
            places = references + offsets / sides[:, None]
        places = places * 2 - 1
        sampled = []
        for level, (part, (height, width)) in enumerate(
            zip(values.split([height * width for height, width in shapes], dim=1), shapes, strict=True)
        ):
            maps = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, (height, width))  # (B * heads, c, h, w)
            grid = places[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B * heads, Q, points, 2)
            sampled.append(F.grid_sample(maps, grid.to(maps.dtype), align_corners=False))
        weights = weights.transpose(1, 2).flatten(0, 1)[:, None]  # (B * heads, 1, Q, levels * points)
        summed = (torch.cat(sampled, dim=-1) * weights).sum(-1)  # (B * heads, c, Q)
        return self.output_proj(summed.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2))


class EDPoseEncoderLayer(GradientCheckpointingLayer):
    """Deformable attention among the cells (B, P, C) of all feature maps, and a feed-forward network."""

    def __init__(self, config: EDPoseConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.attention = EDPoseDeformableAttention(config)
        self.attention_norm = nn.LayerNorm(size)
        self.feed_forward = MLP(size, config.intermediate_size, size)
        self.feed_forward_norm = nn.LayerNorm(size)

    def forward(
        self, hidden_state: Tensor, positions: Tensor, is_padding: Tensor, references: Tensor, shapes: Shapes
    ) -> Tensor:
        update = self.attention(hidden_state + positions, hidden_state, is_padding, references, shapes)
        hidden_state = self.attention_norm(hidden_state + update)
        return self.feed_forward_norm(hidden_state + self.feed_forward(hidden_state))


class EDPoseDecoderLayer(GradientCheckpointingLayer):
    """Attention among the queries, deformable attention to the cells, and a feed-forward network."""

    def __init__(self, config: EDPoseConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.self_attention = nn.MultiheadAttention(size, config.num_attention_heads, batch_first=True)
        self.self_attention_norm = nn.LayerNorm(size)
        self.cross_attention = EDPoseDeformableAttention(config)
        self.cross_attention_norm = nn.LayerNorm(size)
        self.feed_forward = MLP(size, config.intermediate_size, size)
        self.feed_forward_norm = nn.LayerNorm(size)

    def forward(
        self,
        hidden_state: Tensor,
        positions: Tensor,
        is_hidden: Tensor | None,
        memory: Tensor,
        is_padding: Tensor,
        references: Tensor,
        shapes: Shapes,
    ) -> Tensor:
        """
        Args:
            hidden_state, positions: (B, Q, C).
            is_hidden: (Q, Q) which queries do not see which; None where all see all.
            memory, is_padding, references, shapes: see `EDPoseDeformableAttention`.
        """
        placed = hidden_state + positions
        update, _ = self.self_attention(placed, placed, hidden_state, attn_mask=is_hidden, need_weights=False)
        hidden_state = self.self_attention_norm(hidden_state + update)
        update = self.cross_attention(hidden_state + positions, memory, is_padding, references, shapes)
        hidden_state = self.cross_attention_norm(hidden_state + update)
        return self.feed_forward_norm(hidden_state + self.feed_forward(hidden_state))


def inverse_sigmoid(values: Tensor) -> Tensor:
    """Logits of values from 0 to 1, which are kept a little away from both; any shape."""
    return (values.clamp(min=_EPS) / (1 - values).clamp(min=_EPS)).log()


def sines(values: Tensor, size: int, temperature: float) -> Tensor:
    """(..., size) alternating sines and cosines of values (...), of ever longer periods up to `temperature` times 2
    pi."""
    exponents = torch.arange(size // 2, device=values.device, dtype=torch.float32) * 2 / size
    angles = values[..., None].float() / temperature**exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def cell_positions(is_valid: Tensor, size: int, temperature: float) -> Tensor:
    """Sines (B, h * w, size) of y, then x, of the cells of a map, 0 to 2 pi along its valid part (B, h, w)."""
    parts = []
    for axis in (1, 2):
        counts = is_valid.cumsum(axis, dtype=torch.float32)
        last = counts[:, -1:] if axis == 1 else counts[:, :, -1:]
        parts.append(sines(counts / (last + 1e-6) * 2 * math.pi, size // 2, temperature))
    return torch.cat(parts, dim=-1).flatten(1, 2)


def box_positions(references: Tensor, size: int) -> Tensor:
    """Sines (B, Q, 2 * size) of y, x, width and height of boxes (B, Q, 4): x, y of the center, width, height."""
    x, y, width, height = (sines(values * 2 * math.pi, size // 2, BOX_TEMPERATURE) for values in references.unbind(-1))
    return torch.cat((y, x, width, height), dim=-1)


@dataclass
class EDPoseOutput(ModelOutput):
    """Output of [`EDPoseForPoseEstimation`]. N is `config.num_instances`.

    Args:
        logits: (B, N, num_classes) scores before the sigmoid.
        pred_boxes: (B, N, 4) x and y of the center, width, height, relative to the image without padding.
        pred_keypoints: (B, N, K, 2) x and y, relative to the same.
        hidden_states: feature maps of the backbone, where asked for.
    """

    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    pred_keypoints: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class EDPoseNeck(nn.Module):
    """Feature maps (B, C, h, w) of the backbone, and further ones made by halving the last, all with the same
    channels."""

    def __init__(self, config: EDPoseConfig, in_channels: Sequence[int]) -> None:
        super().__init__()
        size, groups = config.hidden_size, config.num_norm_groups
        extra = config.num_feature_levels - len(in_channels)
        sizes = [in_channels[-1], *[size] * (extra - 1)][:extra]

        def layer(channels: int, kernel: int, stride: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, size, kernel, stride, padding=kernel // 2, bias=False)
            return nn.Sequential(conv, nn.GroupNorm(groups, size))

        self.levels = nn.ModuleList(layer(channels, 1, 1) for channels in in_channels)
        self.halvings = nn.ModuleList(layer(channels, 3, 2) for channels in sizes)

    def forward(self, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        given = [level(feature_map) for level, feature_map in zip(self.levels, feature_maps, strict=True)]
        last = feature_maps[-1]
        for halving in self.halvings:
            last = halving(last)
            given.append(last)
        return given


class ClassPrediction(nn.Linear):
    """Logits. A class of its own because transformers initializes only modules that hold parameters."""


class EDPoseDecoder(nn.Module):
    """Refines boxes, then the best of them together with their keypoints."""

    def __init__(self, config: EDPoseConfig) -> None:
        super().__init__()
        size, layers, keypoints = config.hidden_size, config.num_decoder_layers, label_count(config)
        self.num_box_layers, self.num_instances = config.num_box_layers, config.num_instances
        self.num_keypoints = keypoints
        self.layers = nn.ModuleList(EDPoseDecoderLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        self.box_positions = MLP(2 * size, size, size)
        self.keypoint_features = nn.Embedding(keypoints, size)
        self.keypoint_sizes = nn.Embedding(keypoints, 2)
        self.classes = nn.ModuleList(ClassPrediction(size, config.num_classes) for _ in range(layers))
        self.boxes = nn.ModuleList(MLP(size, size, size, 4) for _ in range(layers))
        self.places = nn.ModuleList(MLP(size, size, size, 2) for _ in range(layers - config.num_box_layers))
        self.sizes = MLP(size, size, size, 2)
        # The published weights for COCO have a network of its own for the first places of keypoints.
        self.first_places = MLP(size, size, size, 2) if keypoints == 17 else None

    def forward(
        self,
        queries: Tensor,
        references: Tensor,
        memory: Tensor,
        is_padding: Tensor,
        valid_ratios: Tensor,
        shapes: Shapes,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Args:
            queries: (B, Q, C).
            references: (B, Q, 4) x, y, width and height of their boxes.
            memory: (B, P, C) of the encoder.
            is_padding: (B, P).
            valid_ratios: (B, levels, 2) shares of the maps' width and height that the image covers.

        Returns:
            Logits (B, N, classes), boxes (B, N, 4) and keypoints (B, N, K, 2).
        """
        is_hidden = None
        ratios = torch.cat((valid_ratios, valid_ratios), -1)[:, None]  # (B, 1, levels, 4)
        before = references
        for index, layer in enumerate(self.layers):
            before = references
            scaled = references[:, :, None] * ratios
            positions = self.box_positions(box_positions(scaled[:, :, 0], queries.shape[-1]).to(queries.dtype))
            queries = layer(queries, positions, is_hidden, memory, is_padding, scaled, shapes)
            if index < self.num_box_layers:
                references = (self.boxes[index](queries) + inverse_sigmoid(references)).sigmoid()
            else:
                references = self._refined(queries, references, index)
            if index == self.num_box_layers - 1:
                queries, references = self._with_keypoints(queries, references, index)
                is_hidden = self._hidden(queries.shape[1], queries.device)
        # The last references are read off the normalized queries, and need no sizes of keypoints.
        queries, index = self.norm(queries), len(self.layers) - 1
        people, keypoints = self._split(queries)
        old_boxes, old_places = self._split(inverse_sigmoid(before))
        boxes = (self.boxes[index](people) + old_boxes).sigmoid()
        places = (self.places[-1](keypoints) + old_places[..., :2]).sigmoid()
        return self.classes[index](people), boxes, places

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B, N * (1 + K), ...) of the boxes (B, N, ...) and of their keypoints (B, N, K, ...)."""
        values = values.unflatten(1, (-1, 1 + self.num_keypoints))
        return values[:, :, 0], values[:, :, 1:]

    def _refined(self, queries: Tensor, references: Tensor, index: int) -> Tensor:
        """Boxes and keypoints (B, N * (1 + K), 4) after a layer of both."""
        people, keypoints = self._split(queries)
        old_boxes, old_keypoints = self._split(inverse_sigmoid(references))
        boxes = self.boxes[index](people) + old_boxes
        moves = torch.cat((self.places[index - self.num_box_layers](keypoints), self.sizes(keypoints)), dim=-1)
        return torch.cat((boxes[:, :, None], old_keypoints + moves), dim=2).flatten(1, 2).sigmoid()

    def _with_keypoints(self, queries: Tensor, references: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Queries (B, N * (1 + K), C) and references of the best boxes and of their keypoints, box by box."""
        best = self.classes[index](queries).amax(-1).topk(min(self.num_instances, queries.shape[1])).indices[..., None]
        people, boxes = (values.gather(1, best.expand(-1, -1, values.shape[-1])) for values in (queries, references))
        keypoints = people[:, :, None] + self.keypoint_features.weight  # (B, N, K, C)
        first_places = self.places[0] if self.first_places is None else self.first_places
        places = (inverse_sigmoid(boxes[..., :2])[:, :, None] + first_places(keypoints)).sigmoid()
        sizes = self.keypoint_sizes.weight.sigmoid() * boxes[:, :, None, 2:]
        references = torch.cat((boxes[:, :, None], torch.cat((places, sizes), dim=-1)), dim=2)
        return torch.cat((people[:, :, None], keypoints), dim=2).flatten(1, 2), references.flatten(1, 2)

    def _hidden(self, count: int, device: torch.device) -> Tensor:
        """Which queries do not see which (Q, Q): a person sees itself with its keypoints, and boxes see all boxes."""
        query = torch.arange(count, device=device)
        person, is_box = query // (1 + self.num_keypoints), query % (1 + self.num_keypoints) == 0
        return (person[:, None] != person) & ~(is_box[:, None] & is_box)


class EDPoseForPoseEstimation(Untrainable, EstimatorModel):
    """ED-Pose; used as [`RTMOForPoseEstimation`], but that it cannot be trained, as in the reference."""

    config: EDPoseConfig
    base_model_prefix = "edpose"
    conv_std = 0.01
    _no_split_modules = ["ResNetStage", "EDPoseEncoderLayer", "EDPoseDecoderLayer"]

    def make_head(self, channels: Sequence[int]) -> None:
        config, size = self.config, self.config.hidden_size
        self.neck = EDPoseNeck(config, channels)
        self.level_features = nn.Parameter(torch.zeros(config.num_feature_levels, size))
        self.encoder = nn.ModuleList(EDPoseEncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.proposal_projection = nn.Linear(size, size)
        self.proposal_norm = nn.LayerNorm(size)
        self.proposal_classes = ClassPrediction(size, config.num_classes)
        self.proposal_boxes = MLP(size, size, size, 4)
        self.decoder = EDPoseDecoder(config)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ClassPrediction):
            init.constant_(module.bias, -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))
        elif isinstance(module, nn.MultiheadAttention):
            init.xavier_uniform_(module.in_proj_weight)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, EDPoseForPoseEstimation):
            init.normal_(module.level_features)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> EDPoseOutput:
        """
        Args:
            pixel_values: (B, C, H, W) normalized images.
            pixel_mask: (B, H, W) 1 for pixels of an image, 0 for padding at its right and bottom. None: all 1.
        """
        feature_maps = self.backbone(pixel_values).feature_maps
        levels = self.neck(feature_maps)
        if pixel_mask is None:
            pixel_mask = pixel_values.new_ones(len(pixel_values), *pixel_values.shape[2:])
        masks = [F.interpolate(pixel_mask[None].float(), size=level.shape[2:])[0] > 0 for level in levels]
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        is_padding = ~torch.cat([mask.flatten(1) for mask in masks], dim=1)
        valid_sizes = torch.stack([torch.stack((mask[:, 0].sum(1), mask[:, :, 0].sum(1)), -1) for mask in masks], 1)
        sides = torch.tensor([(width, height) for height, width in shapes], device=is_padding.device)
        valid_ratios = (valid_sizes / sides).to(pixel_values.dtype)  # (B, levels, 2) along x and y
        memory = self._encoded(levels, masks, is_padding, valid_ratios)
        queries, references = self._proposals(memory, is_padding, valid_sizes, shapes)
        logits, boxes, keypoints = self.decoder(queries, references, memory, is_padding, valid_ratios, shapes)
        return EDPoseOutput(
            logits=logits,
            pred_boxes=boxes,
            pred_keypoints=keypoints,
            hidden_states=self.states_if_asked(feature_maps, output_hidden_states),
        )

    def _encoded(
        self, levels: Sequence[Tensor], masks: Sequence[Tensor], is_padding: Tensor, valid_ratios: Tensor
    ) -> Tensor:
        """Features (B, P, C) of the cells of all levels [(B, C, h, w), ...] after the encoder."""
        size, temperature = self.config.hidden_size, self.config.position_temperature
        shapes = [(level.shape[2], level.shape[3]) for level in levels]
        features = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        positions = torch.cat(
            [
                cell_positions(mask, size, temperature).to(features.dtype) + level_features
                for mask, level_features in zip(masks, self.level_features, strict=True)
            ],
            dim=1,
        )
        references = torch.cat(
            [
                _cell_centers(shape, features.device) / ratio[:, None]
                for shape, ratio in zip(shapes, valid_ratios.unbind(1), strict=True)
            ],
            dim=1,
        )
        references = references[:, :, None] * valid_ratios[:, None]  # (B, P, levels, 2)
        for layer in self.encoder:
            features = layer(features, positions, is_padding, references, shapes)
        return features

    def _proposals(
        self, memory: Tensor, is_padding: Tensor, valid_sizes: Tensor, shapes: Shapes
    ) -> tuple[Tensor, Tensor]:
        """Queries (B, Q, C) and boxes (B, Q, 4) of the best cells of the encoder."""
        proposals = []
        for level, shape in enumerate(shapes):
            cells = _cell_centers(shape, memory.device) * torch.tensor(shape[::-1], device=memory.device)
            centers = cells / valid_sizes[:, None, level]
            proposals.append(torch.cat((centers, torch.full_like(centers, PROPOSAL_SIZE * 2**level)), dim=-1))
        boxes = torch.cat(proposals, dim=1)  # (B, P, 4)
        is_usable = (((boxes > 0.01) & (boxes < 0.99)).all(-1) & ~is_padding)[..., None]
        features = self.proposal_norm(self.proposal_projection(memory * is_usable))
        logits = inverse_sigmoid(boxes).masked_fill(~is_usable, torch.inf).to(memory.dtype)
        count = min(self.config.num_queries, boxes.shape[1])
        best = self.proposal_classes(features).amax(-1).topk(count).indices[..., None]
        references = (self.proposal_boxes(features) + logits).gather(1, best.expand(-1, -1, 4)).sigmoid()
        return features.gather(1, best.expand(-1, -1, features.shape[-1])), references


def _cell_centers(shape: tuple[int, int], device: torch.device) -> Tensor:
    """(h * w, 2) x and y of the middles of a map's cells, 0 to 1."""
    height, width = shape
    sides = torch.tensor([width, height], device=device)
    return ((cell_grid(height, width, device) + 0.5) / sides).flatten(0, 1)
