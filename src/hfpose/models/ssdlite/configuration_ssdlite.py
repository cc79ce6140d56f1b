from typing import Any

from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import LabeledConfig, Numbers


@strict
class SSDLiteConfig(LabeledConfig):
    """Configuration of [`SSDLiteForObjectDetection`]. The defaults are those of SSDLite-MobileNetV2 at 320x320.

    Args:
        width_multiplier: factor on the channels of the backbone.
        hidden_act: activation everywhere.
        backbone_stages: stages of the backbone, from 0, whose features are the first levels; stage 7 is its last
            convolution.
        extra_level_sizes: channels of the levels that the neck adds.
        extra_level_strides: by how much each of them is smaller than the level before.
        strides: distances in pixels between the anchors of each level.
        anchor_min_sizes: for each level the side in pixels of its smaller square anchor.
        anchor_max_sizes: for each level a size; the side of its larger square anchor is the geometric mean of the two.
        anchor_ratios: for each level ratios of side lengths; each adds a wide and a high anchor with the area of the
            smaller square.
        box_scales: factors on the predicted x, y, width and height.
    """

    model_type = "ssdlite"
    default_num_labels = 80

    num_channels: int = 3
    width_multiplier: float | int = 1.0
    hidden_act: str = "relu6"
    batch_norm_eps: float = 1e-3
    backbone_stages: Numbers = (4, 7)
    extra_level_sizes: Numbers = (512, 256, 256, 128)
    extra_level_strides: Numbers = (2, 2, 2, 2)
    strides: Numbers = (16, 32, 64, 107, 160, 320)
    anchor_min_sizes: list[int | float] | tuple[int | float, ...] = (48, 100, 150, 202, 253, 304)
    anchor_max_sizes: list[int | float] | tuple[int | float, ...] = (100, 150, 202, 253, 304, 320)
    anchor_ratios: list[list[int | float]] | tuple[tuple[int | float, ...], ...] = ((2, 3),) * 6
    box_scales: list[float | int] | tuple[float | int, ...] = (0.1, 0.1, 0.2, 0.2)

    def __post_init__(self, **kwargs: Any) -> None:
        # Files of earlier versions have another name, which transformers' Auto classes take for that of a backbone.
        self.backbone_stages = kwargs.pop("out_indices", self.backbone_stages)
        super().__post_init__(**kwargs)

    @property
    def anchors_per_place(self) -> list[int]:
        """Number of anchors at each anchor point of each level."""
        return [2 + 2 * len(ratios) for ratios in self.anchor_ratios]
