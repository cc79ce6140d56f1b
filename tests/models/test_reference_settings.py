"""Settings of the reference that change what a model finds: each is used, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_main_entry

DSNT = "ipr_res50_dsnt-8xb64-210e_coco-256x256"
SIMCC = "simcc_res50_8xb64-210e_coco-256x192"
SSDLITE = "ssdlite_mobilenetv2_scratch_600e_onehand"
MISSING = object()


def converted(name: str, place: tuple[Any, ...], value: Any) -> tuple[Any, Any]:
    """Configuration and image processor of a zoo model, one of whose settings is another, or missing."""
    source = ModelSource.from_entry(get_main_entry(name))
    settings: Any = source.reference
    for key in place[:-1]:
        settings = settings[key]
    if value is MISSING:
        del settings[place[-1]]
    else:
        settings[place[-1]] = value
    config = source.conversion.config_from_reference(source.reference, source.schema)
    return config, source.conversion.image_processor_from_reference(source.reference)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("rtmpose-m", ("head", "in_featuremap_size"), (7, 7)),
        ("rtmpose-m", ("head", "decoder", "input_size"), (96, 128)),
        ("rtmpose-m", ("head", "decoder", "smoothing_type"), "other"),
        ("rtmpose-m", ("head", "decoder", "use_dark"), True),
        (DSNT, ("head", "decoder", "normalize"), False),
        ("rtmdet_m_8xb32-300e_coco", ("neck", "act_cfg"), {"type": "ReLU"}),
        ("rtmdet_m_8xb32-300e_coco", ("bbox_head", "norm_cfg"), {"type": "BN", "eps": 0.1}),
        ("rtmdet_m_8xb32-300e_coco", ("bbox_head", "use_depthwise"), True),
        ("rtmdet_m_8xb32-300e_coco", ("bbox_head", "anchor_generator", "offset"), 0.5),
        ("rtmo-s", ("neck", "output_indices"), (0, 1)),
        ("rtmo-s", ("test_cfg", "multiscale_test"), True),
        ("rtmdet_m_8xb32-300e_coco", ("test_pipeline", 0, "backend"), "pillow"),
        ("rtmdet_m_8xb32-300e_coco", ("test_pipeline", 0, "interpolation"), "bicubic"),
        ("td-hm_mspn50_8xb32-210e_coco-256x192", ("head", "out_shape"), (96, 72)),
        ("rtmo-s", ("neck", "projector", "norm_cfg"), {"type": "BN", "eps": 0.01}),
        ("rtmo-s", ("neck", "encoder_cfg", "norm_cfg"), {"type": "LN", "eps": 0.01}),
        ("rtmo-s", ("neck", "encoder_cfg", "ffn_cfg", "add_identity"), False),
        ("edpose", ("head", "decoder", "layer_cfg", "ffn_cfg", "num_fcs"), 3),
        ("edpose", ("neck", "norm_cfg", "eps"), 0.01),
        ("edpose", ("head", "decoder", "layer_cfg", "self_attn_cfg", "num_heads"), 4),
        ("edpose", ("head", "decoder", "layer_cfg", "ffn_cfg", "act_cfg"), {"type": "GELU"}),
        # The reference's own value where nothing is said.
        ("rtmo-s", ("neck", "projector", "act_cfg"), MISSING),
        ("dekr_hrnet-w32_8xb10-140e_coco-512x512", ("head", "decoder", "generate_keypoint_heatmaps"), MISSING),
        ("rtmdet_m_8xb32-300e_coco", ("bbox_head", "with_objectness"), MISSING),
        ("rtmdet_m_8xb32-300e_coco", ("bbox_head", "norm_cfg"), MISSING),
        (SSDLITE, ("bbox_head", "anchor_generator", "scale_major"), MISSING),
        ("human3d", ("head", "decoder", "concat_vis"), MISSING),
    ],
)
def test_what_is_not_supported_is_named(name: str, place: tuple[Any, ...], value: Any) -> None:
    names = {"act_cfg": "(hidden_act|act_cfg)", "norm_cfg": "eps"}
    with pytest.raises(ConfigError, match=f"{names.get(place[-1], place[-1])}=.* is not supported"):
        converted(name, place, value)


@pytest.mark.parametrize(
    ("name", "resize"),
    [
        ("rtmdet_m_8xb32-300e_coco", {"type": "Resize", "scale": (400, 400)}),
        ("rtmo-s", {"type": "BottomupResize", "input_size": (400, 400), "size_factor": 16}),
    ],
)
def test_sizes_whose_feature_maps_no_neck_can_merge_are_refused(name: str, resize: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="multiples of 32 pixels"):
        converted(name, ("test_pipeline",), [resize])


@pytest.mark.parametrize("cells", [(9, 12), (9, 12, 9), (9, 12, 7)])
def test_cells_along_depth_are_not_looked_at(cells: tuple[int, ...]) -> None:
    config, processor = converted("wholebody3d", ("head", "in_featuremap_size"), cells)
    assert config.depth_size == processor.depth_size == 288


def test_the_targets_of_associative_embedding_grow_with_its_heatmaps_unless_the_codec_says_otherwise() -> None:
    name = "ae_hrnet-w32_8xb24-300e_coco-512x512"
    codec = {"type": "AssociativeEmbedding", "input_size": (640, 640), "heatmap_size": (160, 160)}
    assert converted(name, ("codec",), codec)[0].heatmap_sigma == 2.5


def test_any_simcc_model_tells_visibilities_where_its_codec_says_so() -> None:
    _, processor = converted("rtmpose-m", ("head", "decoder", "decode_visibility"), True)
    assert processor.decode_visibility and processor.visibility_beta == 150
    assert list(processor.simcc_sigma) == [4.9, 5.66]


def test_targets_of_simcc_are_normalized_unless_the_codec_says_otherwise() -> None:
    assert converted(SIMCC, ("test_cfg",), {})[0].simcc_label_normalize
    assert not converted(SIMCC, ("head", "decoder", "normalize"), False)[0].simcc_label_normalize
    assert not converted("rtmpose-m", ("test_cfg",), {})[0].simcc_label_normalize


@pytest.mark.parametrize(("codec", "smoothing"), [({"label_smooth_weight": 0.1}, 0.1), ({}, 0.0)])
def test_targets_of_simcc_are_one_bin_where_the_codec_says_so(codec: dict[str, float], smoothing: float) -> None:
    codec = {"type": "SimCCLabel", "input_size": (192, 256), "smoothing_type": "standard", **codec}
    assert converted(SIMCC, ("head", "decoder"), codec)[0].simcc_label_smoothing == smoothing
    assert converted(SIMCC, ("test_cfg",), {})[0].simcc_label_smoothing is None


def test_the_head_of_stages_has_no_deconvolutions_unless_its_config_says_so() -> None:
    name = "td-hm_hourglass52_8xb32-210e_coco-256x256"
    head = {"type": "CPMHead", "num_stages": 1, "in_channels": 256, "out_channels": 17}
    codec = {"type": "MSRAHeatmap", "input_size": (256, 256), "heatmap_size": (64, 64), "sigma": 2}
    assert converted(name, ("head",), {**head, "decoder": codec})[0].deconv_channels == []


def test_hands_are_cropped_with_the_padding_of_the_pipeline() -> None:
    pipeline = [{"type": "GetBBoxCenterScale", "padding": 1.5}]
    assert converted("hand3d", ("test_pipeline",), pipeline)[1].box_padding == 1.5


@pytest.mark.parametrize("name", ["human3d", "video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m"])
@pytest.mark.parametrize("flip_test", [True, False])
def test_lifters_know_whether_the_reference_flips(name: str, flip_test: bool) -> None:
    assert converted(name, ("test_cfg",), {"flip_test": flip_test})[1].flip_test is flip_test
