"""From the reference's settings and tensor names to ours. Pure data: nothing of a checkpoint is executed here."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.keypoints.library import numbered_schema
from hfpose.models.shared.configuration import check_image_size

# (pattern, replacement), applied to every name in this order. Several replacements share the tensor out, in equal
# parts along its first dimension; without any it is left out.
Replacement = str | Callable[[re.Match[str]], str]
RenameRules = Sequence[tuple[str, Replacement | tuple[str, ...]]]

# Reference name -> our name, for the convolution blocks of `convolution.py`.
CONVOLUTION_RENAMES: RenameRules = (
    (r"\.bn\.", ".norm."),
    (r"\.depthwise_conv\.", ".depthwise."),
    (r"\.pointwise_conv\.", ".pointwise."),
)

# Of the one-stage estimators: tensors that repeat what the keypoint schema says.
SCHEMA_SIGMAS = (r"^head\.(loss_oks|assigner\.oks_calculator)\.sigmas$", ())

CHANNEL_MAPPER: dict[str, Any] = {"kernel_size": 3, "act_cfg": {"type": "ReLU"}}  # where it states nothing

_ACTIVATIONS = {
    "SiLU": "silu",
    "Swish": "swish",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "HSwish": "hardswish",
    "GELU": "gelu",
}


def rename_state_dict(state_dict: Mapping[str, Tensor], rules: RenameRules) -> dict[str, Tensor]:
    """The tensors under the names that `rules` give; names that no rule knows stay as they are."""
    tensors = list(state_dict.items())
    for text, replacement in rules:
        pattern = re.compile(text)
        tensors = [part for named in tensors for part in _renamed(*named, pattern, replacement)]
    return dict(tensors)


def _renamed(
    name: str, tensor: Tensor, pattern: re.Pattern[str], replacement: Replacement | tuple[str, ...]
) -> list[tuple[str, Tensor]]:
    """What a rule makes of a tensor."""
    if not isinstance(replacement, tuple):
        return [(pattern.sub(replacement, name), tensor)]
    if not pattern.search(name):
        return [(name, tensor)]
    count = len(replacement)
    if count and (tensor.ndim == 0 or len(tensor) % count):
        return [(name, tensor)]  # of another model: loading it says so
    parts = tensor.chunk(count) if count else ()
    return [(pattern.sub(target, name), part) for target, part in zip(replacement, parts, strict=True)]


def expect_settings(what: str, settings: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Check that `settings` has no value other than the `expected` ones, where it states them.

    Raises:
        ConfigError: names the setting, its value and the one that is supported.
    """
    for key, value in expected.items():
        given = settings.get(key, value)
        given = tuple(given) if isinstance(given, list) else given
        if given != value:
            raise ConfigError(
                f"{what} with {key}={given!r} is not supported, only {key}={value!r}. "
                "Check that the config belongs to the model that you are converting."
            )


def activation_name(act_cfg: Mapping[str, Any] | str) -> str:
    """transformers' name of an activation of the reference, given as `{"type": "SiLU"}` or `"SiLU"`."""
    kind = act_cfg if isinstance(act_cfg, str) else act_cfg["type"]
    if kind not in _ACTIVATIONS:
        raise ConfigError(f"The activation {kind!r} is not supported; known ones are {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[kind]


def batch_norm_eps(settings: Mapping[str, Any], default: float = 1e-5) -> float:
    """Epsilon of the batch normalizations (`norm_cfg`) of a part of the reference's network.

    Args:
        default: of a part that states no `norm_cfg`; one without an epsilon means torch's default.
    """
    norm_cfg = settings.get("norm_cfg") or {"type": "BN", "eps": default}
    if norm_cfg["type"] not in ("BN", "BN1d", "BN2d", "SyncBN"):
        raise ConfigError(f"The normalization {norm_cfg['type']!r} is not supported, only batch normalization is.")
    return float(norm_cfg.get("eps", 1e-5))


def layer_norm_eps(norm_cfg: Mapping[str, Any]) -> float:
    """Epsilon of a layer normalization of the reference, torch's default where it states none."""
    expect_settings("The normalization", norm_cfg, {"type": "LN"})
    return float(norm_cfg.get("eps", 1e-5))


def expect_transformer_layer(what: str, layer: Mapping[str, Any]) -> None:
    """Raise ConfigError for a layer of one of the reference's DETRs with other parts than two linear layers beside an
    identity, and layer normalizations with torch's epsilon."""
    expect_settings(what, {"eps": layer_norm_eps(layer.get("norm_cfg") or {"type": "LN"})}, {"eps": 1e-5})
    feed_forward = {"num_fcs": 2, "add_identity": True, "layer_scale_init_value": 0.0}
    expect_settings(f"{what}.ffn_cfg", layer["ffn_cfg"], feed_forward)


def layer_arguments(settings: Mapping[str, Any], activation: str = "SiLU", eps: float = 1e-3) -> dict[str, Any]:
    """Configuration arguments for the `act_cfg` and `norm_cfg` of a part of the reference's network.

    Args:
        activation, eps: of the part where it states none.
    """
    return {
        "hidden_act": activation_name(settings.get("act_cfg", {"type": activation})),
        "batch_norm_eps": batch_norm_eps(settings, eps),
    }


def out_indices(backbone: Mapping[str, Any], default: Sequence[int]) -> dict[str, Any]:
    """`out_indices` of a backbone's configuration: the reference counts the stages alone, here the stem has index
    0."""
    return {"out_indices": [index + 1 for index in backbone.get("out_indices") or default]}


def normalization_arguments(data_preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """Image processor arguments for the reference's mean and standard deviation in units of 0 to 255.

    The reference reads images as BGR; `bgr_to_rgb` tells which order the network is fed. All settings are stated,
    whatever a processor's own are.
    """
    swaps = data_preprocessor.get("bgr_to_rgb") or data_preprocessor.get("rgb_to_bgr")  # the same to the reference
    arguments: dict[str, Any] = {"channel_order": "rgb" if swaps else "bgr"}
    mean, std = data_preprocessor.get("mean"), data_preprocessor.get("std")
    if mean is None or std is None or (set(mean), set(std)) == ({0}, {1}):
        return arguments | {"do_rescale": False, "do_normalize": False}
    arguments |= {"do_rescale": True, "do_normalize": True}
    return arguments | {
        "image_mean": [round(value / 255, 9) for value in mean],
        "image_std": [round(value / 255, 9) for value in std],
    }


def expect_whole_inputs(data_preprocessor: Mapping[str, Any], *sides: int) -> None:
    """Raise ConfigError where the reference would pad its inputs, whose sides are multiples of `sides`, once more."""
    divisor = data_preprocessor.get("pad_size_divisor") or 1
    if any(side % divisor for side in sides):
        raise ConfigError(
            f"data_preprocessor has pad_size_divisor={divisor}, so that inputs of {' and '.join(map(str, sides))} "
            "pixels would be padded once more, which is not supported. Give a size of multiples of it, or leave it "
            "out if the model was not trained with it."
        )


def top_down_arguments(reference: Mapping[str, Any], size: Sequence[int]) -> dict[str, Any]:
    """`TopDownImageProcessor` arguments for the reference's `test_pipeline`, `test_cfg` and `data_preprocessor`.

    Args:
        size: width and height of a crop by the model's codec.

    Raises:
        ConfigError: for a pipeline that crops to another size.
    """
    width, height = size
    arguments: dict[str, Any] = {
        "size": {"height": height, "width": width},
        "flip_test": bool((reference.get("test_cfg") or {}).get("flip_test", False)),
    }
    center_scale = pipeline_step(reference, "GetBBoxCenterScale")
    if "padding" in center_scale:
        arguments["box_padding"] = float(center_scale["padding"])
    affine = pipeline_step(reference, "TopdownAffine")
    expect_settings("TopdownAffine", affine, {"input_size": (width, height)})
    expect_whole_inputs(reference["data_preprocessor"], width, height)
    if affine:
        arguments["use_udp"] = bool(affine.get("use_udp", False))
    return arguments | normalization_arguments(reference["data_preprocessor"])


def pipeline_step(reference: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The step of that type in a model's `test_pipeline`, empty where there is none."""
    steps = reference.get("test_pipeline") or ()
    return next((step for step in steps if step["type"].rsplit(".")[-1] == kind), {})


def keypoint_arguments(num_keypoints: int, schema: KeypointSchema | None) -> dict[str, Any]:
    """Configuration arguments that say which keypoints a model finds.

    Without a schema nothing is guessed by their number: the keypoints have no names, and their flip pairs are unknown.

    Raises:
        ConfigError: when the schema has another number of keypoints than the model.
    """
    schema = schema or numbered_schema(num_keypoints)
    if schema.num_keypoints != num_keypoints:
        raise ConfigError(
            f"The model finds {num_keypoints} keypoints, but the schema {schema.name!r} has {schema.num_keypoints}. "
            "Give the schema (`dataset_info`) that the model was trained with."
        )
    return {"id2label": dict(enumerate(schema.keypoint_names)), "keypoint_schema": schema.to_dict()}


def label_arguments(num_classes: int, labels: Sequence[str] | None) -> dict[str, Any]:
    """Configuration arguments that say which classes a detector finds.

    Raises:
        ConfigError: when there is another number of names than of classes.
    """
    if not labels:
        return {"num_labels": num_classes}
    if len(labels) != num_classes:
        raise ConfigError(
            f"The detector tells {num_classes} classes apart (`num_classes`), but {len(labels)} are named: "
            f"{', '.join(labels)}. Give the names (`classes`) that the model was trained with."
        )
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def bottom_up_resize(reference: Mapping[str, Any]) -> Mapping[str, Any]:
    """The step of a model's `test_pipeline` that brings images to the size of the network input.

    Raises:
        ConfigError: where there is none, or for a setting of it that is not supported.
    """
    resize = pipeline_step(reference, "BottomupResize")
    if not resize:
        raise ConfigError(
            "The model's test_pipeline has no BottomupResize step, so the size of its input is unknown. Use a config "
            "whose test_pipeline or val_pipeline has one."
        )
    expect_settings("BottomupResize", resize, {"aug_scales": None, "use_udp": False})
    return resize


def letterbox_arguments(reference: Mapping[str, Any]) -> dict[str, Any]:
    """`LetterboxImageProcessor` arguments for the reference's `test_pipeline`, `test_cfg` and `data_preprocessor`.

    Raises:
        ConfigError: for images that are not fitted into one fixed size, or a test setting that is not supported.
    """
    resize = bottom_up_resize(reference)
    expect_settings("BottomupResize", resize, {"resize_mode": "fit"})
    width, height = resize["input_size"]
    factor = resize.get("size_factor", 32)
    if width % factor or height % factor:
        raise ConfigError(
            f"BottomupResize has input_size={(width, height)}; expected multiples of its size_factor={factor}."
        )
    check_image_size("The neck", (height, width), (8, 32))
    expect_whole_inputs(reference["data_preprocessor"], width, height)
    test_cfg = reference["test_cfg"]
    expect_settings("test_cfg", test_cfg, {"flip_test": False, "multiscale_test": False})
    return {
        "size": {"height": height, "width": width},
        "pad_value": _gray(resize.get("pad_val", 0)),
        "score_threshold": float(test_cfg.get("score_thr", 0.01)),
        "nms_threshold": float(test_cfg.get("nms_thr", 1.0)),
        "max_candidates": _least(test_cfg.get("nms_pre")),
        **normalization_arguments(reference["data_preprocessor"]),
    }


def detection_arguments(reference: Mapping[str, Any], merged_strides: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    """Image processor arguments for the reference's settings of a detector.

    Args:
        merged_strides: of the feature maps that its neck merges, see `check_image_size`.

    Raises:
        ConfigError: if images are not brought to one fixed size, or for a suppression that is not supported.
    """
    resize = pipeline_step(reference, "Resize")
    if not isinstance(resize.get("scale"), (list, tuple)):
        raise ConfigError(
            "The detector's test_pipeline has no Resize step with a scale (width, height), so the size of its input "
            "is unknown. Use a config whose test_pipeline resizes to a fixed size."
        )
    width, height = resize["scale"]
    check_image_size("The neck", (height, width), merged_strides)
    expect_settings("Resize", resize, {"backend": "cv2", "interpolation": "bilinear"})
    expect_whole_inputs(reference["data_preprocessor"], width, height)
    test_cfg = reference["test_cfg"]
    suppression = test_cfg["nms"]
    expect_settings("The detector's nms", suppression, {"type": "nms", "offset": 0, "score_threshold": 0})
    arguments = {
        "size": {"height": height, "width": width},
        "keep_aspect_ratio": resize.get("keep_ratio", False),
        "score_threshold": test_cfg.get("score_thr", 0.0),
        "nms_threshold": suppression["iou_threshold"],
        "nms_across_classes": suppression.get("class_agnostic", False),
        "max_candidates": _least(test_cfg.get("nms_pre")),
        "max_detections": _least(test_cfg.get("max_per_img"), suppression.get("max_num")),
        "min_box_size": max(test_cfg.get("min_bbox_size", 0), 0),
        "clip_boxes": reference["bbox_head"].get("bbox_coder", {}).get("clip_border", True),
        **normalization_arguments(reference["data_preprocessor"]),
    }
    if arguments["keep_aspect_ratio"]:
        arguments["pad_value"] = _pad_value(pipeline_step(reference, "Pad"), (width, height))
    return arguments


def _least(*limits: int | None) -> int | None:
    """The smallest of the limits that are set; -1 and None set none."""
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


def _pad_value(pad: Mapping[str, Any], size: tuple[int, int]) -> int:
    """Value of the padding (the step `pad`) that brings images of any shape to `size` (width, height)."""
    expect_settings("Pad", pad, {"padding_mode": "constant"})
    padded = (max(size), max(size)) if pad.get("pad_to_square") else tuple(pad.get("size") or ())
    if padded != size:
        raise ConfigError(
            f"The detector's test_pipeline resizes images to fit {size[0]}x{size[1]} pixels but does not pad them to "
            "that size, so the size of its input varies. Add a Pad step with that size, as "
            f"dict(type='Pad', size={size}, pad_val=dict(img=(114, 114, 114)))."
        )
    given = pad.get("pad_val", 0)
    return _gray(given.get("img", 0) if isinstance(given, Mapping) else given)


def _gray(value: Any) -> int:
    """The value of a padding that is the same in all channels."""
    values = set(value) if isinstance(value, (list, tuple)) else {value}
    if len(values) != 1:
        raise ConfigError(
            f"Padding with a color (pad_val={value!r}) is not supported. Give one value for all channels."
        )
    return int(values.pop())


def expect_concatenation(reference: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the model's neck concatenates the branches of the backbone."""
    neck = reference.get("neck") or {}
    expect_settings("The neck", {"type": neck.get("type")}, {"type": "FeatureMapProcessor"})
    expected = {"select_index": None, "concat": True, "scale_factor": 1.0, "apply_relu": False, "align_corners": False}
    expect_settings("FeatureMapProcessor", {"concat": False, **neck}, expected)
