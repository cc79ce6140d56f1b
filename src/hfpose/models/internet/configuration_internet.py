from typing import Any

from huggingface_hub.dataclasses import strict

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import EstimatorConfig, Numbers, label_count

NUM_HANDS = 2


@strict
class InterNetConfig(EstimatorConfig):
    """
    Configuration of [`InterNetForHandPose`], see [`EstimatorConfig`]. The defaults are those of the published model.

    The number of keypoints is `num_labels`, those of the right hand before those of the left; their names are
    `id2label`.

    Args:
        backbone_config: the backbone; default ResNet-50.
        upsample_sizes: channels of the transposed convolutions, each of which doubles the resolution.
        upsample_kernel_sizes: their kernels, 2, 3 or 4.
        depth_size: cells of a heatmap along depth.
        root_depth_size: cells of the heatmap of the depth between the two wrists.
        root_depth_hidden_sizes: hidden layers before it.
        hand_type_hidden_sizes: hidden layers before the hand type.
        initializer_range: standard deviation of new weights of fully connected layers.
    """

    model_type = "internet"
    default_schema = "interhand3d"
    default_backbone = {"model_type": "resnet_backbone"}

    upsample_sizes: Numbers = (256, 256, 256)
    upsample_kernel_sizes: Numbers = (4, 4, 4)
    depth_size: int = 64
    root_depth_size: int = 64
    root_depth_hidden_sizes: Numbers = (512,)
    hand_type_hidden_sizes: Numbers = (512,)
    initializer_range: float = 0.01

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if label_count(self) % NUM_HANDS:
            raise ConfigError(
                f"The model finds {self.num_labels} keypoints. Give an even number, as many for the right hand as for "
                "the left."
            )
