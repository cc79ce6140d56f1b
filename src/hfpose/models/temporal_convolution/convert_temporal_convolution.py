from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.models.shared.conversion import (
    RenameRules,
    batch_norm_eps,
    expect_settings,
    keypoint_arguments,
    rename_state_dict,
)
from hfpose.models.temporal_convolution.configuration_temporal_convolution import TemporalConvolutionConfig
from hfpose.models.temporal_convolution.image_processing_temporal_convolution import TemporalConvolutionImageProcessor
from hfpose.models.temporal_convolution.modeling_temporal_convolution import TemporalConvolutionForPoseLifting

MODEL_CLASS = TemporalConvolutionForPoseLifting

_RENAMES: RenameRules = (
    # Semi-supervised training has a second network for the place of the root, which the reference's results leave out.
    (r"^traj_(backbone|head)\.", ()),
    (r"^keypoint_head\.", "head."),  # names of 2021
    (r"^backbone\.expand_conv\.", "backbone.stem."),
    (r"^backbone\.tcn_blocks\.(\d+)\.(conv[12])\.0\.", r"backbone.blocks.\1.\2."),
    (r"\.bn\.", ".norm."),
    (r"^head\.conv\.", "head."),
)
_LOSSES: dict[str, Literal["mpjpe", "mse"]] = {"MPJPELoss": "mpjpe", "MSELoss": "mse"}


def config_from_reference(
    reference: Mapping[str, Any], schema: KeypointSchema | None = None
) -> TemporalConvolutionConfig:
    """Configuration for the reference's `TCN` with a `TemporalRegressionHead`."""
    backbone, head = reference["backbone"], reference["head"]
    codec = _codec(reference)
    hidden_size = backbone.get("stem_channels", 1024)
    kernel_sizes = tuple(backbone.get("kernel_sizes", (3, 3, 3)))
    expect_settings("The backbone", backbone, {"type": "TCN", "num_blocks": len(kernel_sizes) - 1})
    keypoints = keypoint_arguments(codec.get("num_keypoints", 17), schema or load_schema("h36m"))
    count, channels = codec.get("num_keypoints", 17), 2 + codec.get("concat_vis", False)
    predicts_root = not codec.get("remove_root", False)
    expect_settings("The head", head, {"type": "TemporalRegressionHead", "in_channels": hidden_size})
    expect_settings("The head", head, {"num_joints": count - (not predicts_root)})
    expect_settings("The backbone", backbone, {"in_channels": count * channels, "max_norm": None})
    loss = head.get("loss", {}).get("type", "MSELoss" if codec["type"] == "ImagePoseLifting" else "MPJPELoss")
    if loss not in _LOSSES:
        raise ConfigError(f"The head's loss {loss!r} is not supported; known ones are {', '.join(_LOSSES)}.")
    return TemporalConvolutionConfig(
        num_channels=channels,
        hidden_size=hidden_size,
        kernel_sizes=kernel_sizes,
        is_causal=backbone.get("causal", False),
        use_residual=backbone.get("residual", True),
        hidden_dropout_prob=backbone.get("dropout", 0.25),
        root_index=codec.get("root_index", 0),
        predicts_root=predicts_root,
        batch_norm_eps=batch_norm_eps(backbone),
        loss_type=_LOSSES[loss],
        **keypoints,
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> TemporalConvolutionImageProcessor:
    """Processor for the reference's `ImagePoseLifting` and `VideoPoseLifting` codecs."""
    codec = _codec(reference)
    root = codec.get("root_index", 0)
    statistics = {
        name: np.reshape(codec[name], (-1, size)).tolist()
        for name, size in (("keypoints_mean", 2), ("keypoints_std", 2), ("target_mean", 3), ("target_std", 3))
        if codec.get(name) is not None
    }
    if codec["type"] == "ImagePoseLifting" and "keypoints_mean" not in statistics:  # pixels as they are
        count = codec.get("num_keypoints", 17)
        statistics |= {"keypoints_mean": [[0.0, 0.0]] * count, "keypoints_std": [[1.0, 1.0]] * count}
    if codec.get("remove_root", False) and "target_mean" in statistics:
        statistics["target_mean"].insert(root, [0.0, 0.0, 0.0])
        statistics["target_std"].insert(root, [1.0, 1.0, 1.0])
    return TemporalConvolutionImageProcessor(
        root_index=root,
        do_use_visibility=codec.get("concat_vis", False),
        flip_test=bool((reference.get("test_cfg") or {}).get("flip_test", False)),
        **statistics,
    )


def convert_state_dict(state_dict: Mapping[str, Tensor], config: TemporalConvolutionConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names, without those of training only; unknown names stay as they are."""
    return rename_state_dict(state_dict, _RENAMES)


def _codec(reference: Mapping[str, Any]) -> Mapping[str, Any]:
    codec = reference["head"].get("decoder") or {}
    expected: dict[str, Any] = {"reshape_keypoints": True, "normalize_camera": False}
    if codec.get("remove_root", False):
        expected["zero_center"] = True  # a root that is not the origin is not removed
    kind = codec.get("type")
    if kind not in ("ImagePoseLifting", "VideoPoseLifting"):
        raise ConfigError(f"The codec {kind!r} is not supported, only ImagePoseLifting and VideoPoseLifting are.")
    expect_settings("The codec", codec, expected)
    if not isinstance(codec.get("root_index", 0), int):
        raise ConfigError(f"The codec with root_index={codec['root_index']!r} is not supported; give one keypoint.")
    return codec
