from typing import Any

from huggingface_hub.dataclasses import strict

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import EstimatorConfig


@strict
class EDPoseConfig(EstimatorConfig):
    """Configuration of [`EDPoseForPoseEstimation`], see [`EstimatorConfig`]. The defaults are those of
    ED-Pose with ResNet-50 for COCO.

    Args:
        backbone_config: the backbone; default ResNet-50 with feature maps at strides 8, 16 and 32.
        hidden_size: channels of the transformer.
        num_attention_heads: heads of its attention.
        num_points: places of each feature map that a head of deformable attention looks at.
        num_feature_levels: feature maps that the transformer takes; those that the backbone does not have are made by
            halving its last one.
        num_norm_groups: groups of the normalization of the feature maps.
        intermediate_size: hidden channels of its feed-forward networks.
        num_encoder_layers, num_decoder_layers: its layers.
        num_box_layers: the first layers of the decoder find boxes alone, the others keypoints too.
        num_queries: best places of the encoder that enter the decoder.
        num_instances: best boxes whose keypoints are found.
        num_classes: scores of a box; the person is one of them.
        position_temperature: of the sines that tell the encoder where a cell is.
        initializer_range: standard deviation of fresh linear layers.
    """

    model_type = "edpose"
    default_backbone = {"model_type": "resnet_backbone", "out_indices": [2, 3, 4]}

    hidden_size: int = 256
    num_attention_heads: int = 8
    num_points: int = 4
    num_feature_levels: int = 4
    num_norm_groups: int = 32
    intermediate_size: int = 2048
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    num_box_layers: int = 2
    num_queries: int = 900
    num_instances: int = 100
    num_classes: int = 2
    position_temperature: float | int = 20.0
    initializer_range: float = 0.01

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not 0 < self.num_box_layers < self.num_decoder_layers:
            raise ConfigError(
                f"Of {self.num_decoder_layers} decoder layers {self.num_box_layers} find boxes alone "
                "(num_box_layers); expected at least one, and one fewer than all."
            )
