from huggingface_hub.dataclasses import strict

from hfpose.models.shared.configuration import KeypointConfig


@strict
class MotionBertConfig(KeypointConfig):
    """Configuration of [`MotionBertForPoseLifting`]; the defaults are the published models.

    Args:
        num_channels: values per 2D keypoint: x, y and a visibility.
        max_frames: longest clip, the number of learned temporal positions.
        hidden_size, num_hidden_layers, num_attention_heads, hidden_act, qkv_bias, layer_norm_eps, initializer_range:
            as in other transformers.
        mlp_ratio: hidden size of the MLPs in units of `hidden_size`.
        representation_size: size of the motion representation, the last layer before the coordinates.
        use_attention_fusion: weigh the two streams by learned attention, else average them.
        hidden_dropout_prob, attention_probs_dropout_prob: dropout in training.
        scale_loss_weight, velocity_loss_weight: weights of the parts of the training loss.

    Source: MotionBERT (Zhu et al., 2022, https://arxiv.org/abs/2210.06551).
    """

    model_type = "motionbert"
    default_schema = "h36m"

    num_channels: int = 3
    max_frames: int = 243
    hidden_size: int = 512
    num_hidden_layers: int = 5
    num_attention_heads: int = 8
    mlp_ratio: float | int = 2
    representation_size: int = 512
    hidden_act: str = "gelu"
    qkv_bias: bool = True
    use_attention_fusion: bool = True
    hidden_dropout_prob: float | int = 0.0
    attention_probs_dropout_prob: float | int = 0.0
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    scale_loss_weight: float | int = 0.5
    velocity_loss_weight: float | int = 20.0
