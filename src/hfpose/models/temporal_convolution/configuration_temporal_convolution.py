import math
from typing import Any, Literal

from huggingface_hub.dataclasses import strict

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import KeypointConfig, Numbers

_MAX_RECEPTIVE_FIELD = 10_000


@strict
class TemporalConvolutionConfig(KeypointConfig):
    """Configuration of [`TemporalConvolutionForPoseLifting`]; the defaults are VideoPose3D with 27 frames.

    Args:
        num_channels: values per 2D keypoint: x and y, and maybe a visibility.
        hidden_size: channels of every convolution.
        kernel_sizes: frames that the first convolution and that of each block span, odd. Their product is the
            receptive field; ones alone lift each frame by itself.
        is_causal: look at the frames before only, else at as many before as after.
        use_residual: add what goes into a block to what comes out.
        hidden_dropout_prob: dropout in training.
        root_index: the keypoint that others are relative to.
        predicts_root: whether the network says anything of the root; else the root is 0 in the output.
        batch_norm_eps, initializer_range: as in other models.
        loss_type: `"mpjpe"`, the mean distance, or `"mse"`, the mean squared difference of coordinates.

    Source: SimpleBaseline3D (Martinez et al., 2017, https://arxiv.org/abs/1705.03098) and VideoPose3D (Pavllo et al.,
    2018, https://arxiv.org/abs/1811.11742).
    """

    model_type = "temporal_convolution"
    odd_sizes = ("kernel_sizes",)
    default_schema = "h36m"

    num_channels: int = 2
    hidden_size: int = 1024
    kernel_sizes: Numbers = (3, 3, 3)
    is_causal: bool = False
    use_residual: bool = True
    hidden_dropout_prob: float | int = 0.25
    root_index: int = 0
    predicts_root: bool = True
    batch_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    loss_type: Literal["mpjpe", "mse"] = "mpjpe"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.receptive_field > _MAX_RECEPTIVE_FIELD:
            raise ConfigError(
                f"kernel_sizes={self.kernel_sizes} is too large; at most {_MAX_RECEPTIVE_FIELD} frames (the product) "
                "are supported."
            )

    @property
    def receptive_field(self) -> int:
        """Number of frames that each pose is lifted from."""
        return math.prod(self.kernel_sizes)

    @property
    def frames_before(self) -> int:
        """Number of frames before the lifted one among them."""
        return self.receptive_field - 1 if self.is_causal else self.receptive_field // 2

    @property
    def frames_after(self) -> int:
        """Number of frames after the lifted one among them."""
        return self.receptive_field - 1 - self.frames_before

    @property
    def max_frames(self) -> int:
        """Number of frames to lift at once; the network takes clips of any length."""
        return self.receptive_field
