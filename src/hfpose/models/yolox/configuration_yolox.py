from huggingface_hub.dataclasses import strict

from hfpose.models.shared.csp import CSPDetectorConfig


@strict
class YOLOXConfig(CSPDetectorConfig):
    """Configuration of [`YOLOXForObjectDetection`], see [`CSPDetectorConfig`]. The defaults are those of YOLOX-s."""

    model_type = "yolox"

    depth_multiplier: float | int = 0.33
    width_multiplier: float | int = 0.5
    hidden_act: str = "swish"
    batch_norm_eps: float = 1e-3
    neck_size: int = 128
    num_neck_blocks: int = 1
