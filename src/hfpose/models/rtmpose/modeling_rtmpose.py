"""RTMPose: CSPNeXt features, one token per keypoint, gated attention between them, SimCC outputs.

Source: Jiang et al., 2023, https://arxiv.org/abs/2303.07399; `mmpose.models.heads.RTMCCHead`,
`mmpose.models.utils.rtmcc_block`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from torch import Tensor, nn
from transformers.utils import ModelOutput
from transformers.utils.output_capturing import OutputRecorder

from hfpose.models.rtmpose.configuration_rtmpose import RTMPoseConfig
from hfpose.models.shared.configuration import feature_map_size, label_count
from hfpose.models.shared.gated_attention import GatedAttentionUnit, ScaleNorm, init_gated_attention
from hfpose.models.shared.image_model import TopDownModel
from hfpose.models.shared.losses import simcc_loss


@dataclass
class RTMPoseOutput(ModelOutput):
    """Output of [`RTMPoseForPoseEstimation`].

    Args:
        loss: scalar, where `labels` were given; see `simcc_loss`.
        simcc_x: (B, K, W * simcc_split_ratio) response of each bin along x.
        simcc_y: (B, K, H * simcc_split_ratio) response of each bin along y.
        hidden_states: feature maps of the backbone's stem and stages, where asked for.
        attentions: weights (B, K, K) of the gated attention unit, which has one head and no softmax, where asked for.
    """

    loss: Tensor | None = None
    simcc_x: Tensor | None = None
    simcc_y: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class RTMPoseHead(nn.Module):
    """From the last feature map (B, C, h, w) to SimCC outputs (B, K, bins) along x and y."""

    def __init__(self, config: RTMPoseConfig, in_channels: int) -> None:
        super().__init__()
        height, width = config.image_size
        cells = prod(feature_map_size(config.image_size))
        kernel = config.final_kernel_size
        self.keypoint_features = nn.Conv2d(in_channels, label_count(config), kernel, padding=kernel // 2)
        self.norm = ScaleNorm(cells)
        self.embedding = nn.Linear(cells, config.hidden_size, bias=False)
        self.attention = GatedAttentionUnit(config, config.hidden_size)
        self.classifier_x = nn.Linear(config.hidden_size, int(width * config.simcc_split_ratio), bias=False)
        self.classifier_y = nn.Linear(config.hidden_size, int(height * config.simcc_split_ratio), bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.embedding(self.norm(self.keypoint_features(features).flatten(2)))
        tokens = self.attention(tokens)
        return self.classifier_x(tokens), self.classifier_y(tokens)


class RTMPoseForPoseEstimation(TopDownModel):
    """RTMPose with its SimCC head.

    Example:

    ```python
    >>> from hfpose import RTMPoseForPoseEstimation, RTMPoseImageProcessor

    >>> model = RTMPoseForPoseEstimation.from_pretrained(folder)
    >>> processor = RTMPoseImageProcessor.from_pretrained(folder)
    >>> inputs = processor(image, boxes=[[[50, 20, 200, 400]]], return_tensors="pt")
    >>> people = processor.post_process_pose_estimation(model(**inputs), boxes=[[[50, 20, 200, 400]]])
    ```
    """

    config: RTMPoseConfig
    base_model_prefix = "rtmpose"
    _no_split_modules = ["RTMPoseHead"]
    _can_record_outputs = {"attentions": OutputRecorder(nn.Dropout, layer_name="attention.dropout")}
    output_class = RTMPoseOutput
    output_names: ClassVar[tuple[str, ...]] = ("simcc_x", "simcc_y")

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        init_gated_attention(module)

    def make_head(self, channels: Sequence[int]) -> None:
        self.head: nn.Module = RTMPoseHead(self.config, channels[-1])

    def responses(self, feature_maps: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.output_names, self.axis_responses(feature_maps), strict=True))

    def axis_responses(self, feature_maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The SimCC outputs (B, K, bins) of each axis for the backbone's feature maps [(B, C, h, w), ...]."""
        return self.head(feature_maps[-1])

    def loss(self, responses: Mapping[str, Tensor], labels: Tensor, keypoint_weights: Tensor) -> Tensor:
        config = self.config
        if config.keypoint_loss_weights is not None:
            keypoint_weights = keypoint_weights * labels.new_tensor(config.keypoint_loss_weights)
        return simcc_loss(
            responses["simcc_x"],
            responses["simcc_y"],
            labels,
            keypoint_weights,
            split_ratio=config.simcc_split_ratio,
            sigma=config.simcc_sigma,
            beta=config.simcc_beta,
            label_softmax=config.simcc_label_softmax,
            label_beta=config.simcc_label_beta,
            label_normalize=config.simcc_label_normalize,
            label_smoothing=config.simcc_label_smoothing,
        )
