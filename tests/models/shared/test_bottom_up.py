"""Images of any shape for the bottom-up estimators, and what they share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hfpose.errors import ConfigError, InputError
from hfpose.models.shared.bottom_up import (
    MAX_EXPANSION,
    BottomUpImageProcessor,
    bottom_up_processor_arguments,
    heatmap_peaks,
)
from hfpose.models.shared.conversion import expect_concatenation
from hfpose.models.shared.convolution import concatenate_branches
from hfpose.models.shared.heatmaps import flip_maps
from small_bottom_up import FAMILIES, SCHEMA, conversion, small_model, small_reference


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (512, 512, (512, 512)),
        (427, 640, (512, 768)),  # 767.4 columns
        (640, 427, (768, 512)),
        (100, 125, (512, 640)),  # just covered
        (100, 126, (512, 704)),
        (288, 4096, (512, 7296)),
    ],
)
def test_the_short_side_is_covered_and_the_long_side_rounded_up(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    assert BottomUpImageProcessor(size_divisor=64).input_size(height, width) == expected


def test_images_that_fit_have_inputs_of_one_size() -> None:
    processor = BottomUpImageProcessor(resize_mode="fit")
    assert processor.input_size(100, 300) == processor.input_size(300, 100) == (512, 512)
    values = processor(np.full((100, 300, 3), 255, np.uint8), return_tensors="pt")["pixel_values"]
    black = values[0, 0].min()
    assert (values[0, 0, :160] == black).all()
    assert (values[0, 0, 180:330] > black).all()


def test_a_row_of_pixels_takes_no_more_memory_than_the_limit() -> None:
    processor = BottomUpImageProcessor()
    assert processor.input_size(1, 100_000) == (32, 512 * MAX_EXPANSION)
    found = processor.to_image(np.array([[[0.0, 16.0], [512.0 * MAX_EXPANSION, 16.0]]]), (1, 100_000))
    np.testing.assert_allclose(found, [[[0, 0.5], [100_000, 0.5]]], atol=1e-3)


def test_points_come_back_to_where_they_were_in_the_image() -> None:
    processor = BottomUpImageProcessor(size={"height": 256, "width": 256}, do_normalize=False)
    image = np.zeros((90, 160, 3), np.uint8)
    image[30:33, 120:123] = 255
    values = processor(image, return_tensors="pt")["pixel_values"][0, 0]
    y, x = (values > 0.5).nonzero().float().mean(0).tolist()
    np.testing.assert_allclose(processor.to_image(np.array([[[x, y]]]), (90, 160)), [[[121, 31]]], atol=0.2)


def test_smaller_inputs_of_a_batch_are_padded_and_the_places_stay() -> None:
    processor = BottomUpImageProcessor(size={"height": 64, "width": 64})
    images = [np.full((50, 50, 3), 200, np.uint8), np.full((50, 90, 3), 200, np.uint8)]
    both = processor(images, return_tensors="pt")["pixel_values"]
    assert both.shape == (2, 3, 64, 128)
    torch.testing.assert_close(both[:1, :, :, :64], processor(images[:1], return_tensors="pt")["pixel_values"])
    assert (both[0, 0, :, 64:] == both[0, 0].min()).all()


def test_no_images_are_an_empty_batch() -> None:
    processor = BottomUpImageProcessor(size={"height": 64, "width": 64})
    assert processor([], return_tensors="pt")["pixel_values"].shape == (0, 3, 64, 64)


def test_unknown_resize_modes_and_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="resize_mode is 'stretch'; expected one of 'expand', 'fit'"):
        BottomUpImageProcessor(resize_mode="stretch")
    with pytest.raises(ConfigError, match="multiples of size_divisor=64"):
        BottomUpImageProcessor(resize_mode="fit", size={"height": 500, "width": 512}, size_divisor=64)


def test_settings_of_the_reference_are_taken_over() -> None:
    arguments = bottom_up_processor_arguments(small_reference("dekr"))
    processor = BottomUpImageProcessor(**arguments)
    assert processor.size == {"height": 64, "width": 64}
    assert (processor.size_divisor, processor.resize_mode, processor.flip_test) == (32, "expand", True)


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        ("test_cfg", {"multiscale_test": True}, "multiscale_test=True"),
        ("test_cfg", {"align_corners": True}, "align_corners=True"),
    ],
)
def test_unsupported_test_settings_are_named(place: str, change: dict[str, Any], message: str) -> None:
    reference = small_reference("cid")
    reference[place] |= change
    with pytest.raises(ConfigError, match=message):
        bottom_up_processor_arguments(reference)


def test_a_pipeline_without_resize_is_refused() -> None:
    reference = small_reference("cid") | {"test_pipeline": [{"type": "LoadImage"}]}
    with pytest.raises(ConfigError, match="no BottomupResize step"):
        bottom_up_processor_arguments(reference)
    reference = small_reference("cid")
    reference["test_pipeline"][1]["aug_scales"] = [0.5]
    with pytest.raises(ConfigError, match="aug_scales"):
        bottom_up_processor_arguments(reference)


@pytest.mark.parametrize("neck", [None, {"type": "FPN"}, {"type": "FeatureMapProcessor"}])
def test_necks_that_do_not_concatenate_are_refused(neck: dict[str, Any] | None) -> None:
    with pytest.raises(ConfigError, match="only"):
        expect_concatenation({"neck": neck})


def test_branches_are_enlarged_to_the_first() -> None:
    joined = concatenate_branches([torch.zeros(1, 2, 8, 8), torch.ones(1, 3, 4, 4), torch.full((1, 1, 2, 2), 2.0)])
    assert joined.shape == (1, 6, 8, 8)
    assert joined[0, :, 0, 0].tolist() == [0, 0, 1, 1, 1, 2]


def test_only_peaks_keep_their_response() -> None:
    heatmap = torch.zeros(1, 1, 9, 9)
    heatmap[0, 0, 2, 2], heatmap[0, 0, 3, 3], heatmap[0, 0, 7, 7] = 0.9, 0.8, 0.5
    assert heatmap_peaks(heatmap, 5).nonzero()[:, 2:].tolist() == [[2, 2], [7, 7]]


def test_mirrored_maps_change_places_and_direction() -> None:
    maps = torch.arange(6.0).view(1, 2, 1, 3)
    assert flip_maps(maps, [1, 0]).tolist() == [[[[5, 4, 3]], [[2, 1, 0]]]]
    assert flip_maps(maps, [1, 0], shift=True).tolist() == [[[[5, 5, 4]], [[2, 2, 1]]]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_flip_test_of_a_mirrored_image_finds_the_mirrored_people(family: str) -> None:
    """With the mirror image averaged in, left and right are the same but for the sides of the network input."""
    model, _ = small_model(family)
    pixel_values = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        found, mirrored = (model(values, flip_test=True) for values in (pixel_values, pixel_values.flip(-1)))
    if family == "dekr":  # its heatmaps are moved by a cell, so look at the displacements along y
        moves = found.displacements[:, 1::2], mirrored.displacements[:, 1::2]
        torch.testing.assert_close(moves[0], flip_maps(moves[1], SCHEMA.flip_indices))
    elif family == "cid":
        torch.testing.assert_close(found.center_scores, mirrored.center_scores)
    else:
        torch.testing.assert_close(found.heatmaps, flip_maps(mirrored.heatmaps, SCHEMA.flip_indices))


@pytest.mark.parametrize("family", FAMILIES)
def test_instances_of_a_batch_are_those_of_the_single_images(family: str) -> None:
    model, processor = small_model(family)
    model.double()  # near-ties are decided alike
    images = list(np.random.default_rng(0).integers(0, 256, (3, 70, 100, 3), dtype=np.uint8))
    pixel_values = processor(images, return_tensors="pt")["pixel_values"].double()
    with torch.no_grad():
        together = processor.instances(model(pixel_values), [(70, 100)] * 3)
        singly = [processor.instances(model(values[None]), [(70, 100)])[0] for values in pixel_values]
    assert sum(len(some.boxes) for some in together) > 0
    for some, alone in zip(together, singly, strict=True):
        rows = [np.concatenate((each.keypoints.reshape(-1, 6), each.keypoint_scores), 1) for each in (some, alone)]
        given, expected = (each[np.lexsort(each.round(2).T)] for each in rows)  # scores may be tied
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_instances_come_best_first_with_boxes_around_their_keypoints(family: str) -> None:
    model, processor = small_model(family)
    image = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    with torch.no_grad():
        outputs = model(**processor(image, return_tensors="pt"))
    (some,) = processor.instances(outputs, [(70, 100)])
    assert some.keypoints.shape == (len(some.boxes), 3, 2)
    assert (np.diff(some.box_scores) <= 0).all()
    np.testing.assert_allclose(some.boxes[:, :2], some.keypoints.min(1))
    np.testing.assert_allclose(some.boxes[:, 2:], some.keypoints.max(1))
    least = float(np.median(some.box_scores))
    (better,) = processor.instances(outputs, [(70, 100)], threshold=least)
    assert 0 < len(better.boxes) == (some.box_scores >= least).sum()
    (people,) = processor.post_process_pose_estimation(outputs, [(70, 100)])
    assert people[0]["keypoints"].shape == (3, 2)
    with pytest.raises(InputError, match="outputs for 1 images but 2 target_sizes"):
        processor.instances(outputs, [(70, 100)] * 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_image_has_nobody(family: str) -> None:
    model, processor = small_model(family)
    for parameter in model.head.parameters():
        torch.nn.init.constant_(parameter, -1.0 if parameter.ndim == 1 else 0.0)
    with torch.no_grad():
        outputs = model(torch.zeros(1, 3, 64, 64))
    if family == "cid":  # probabilities are never 0
        processor.center_threshold = 0.5
    (some,) = processor.instances(outputs, [(64, 64)])
    assert some.boxes.shape == (0, 4)
    assert some.keypoints.shape == (0, 3, 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_and_feature_maps(family: str) -> None:
    model, processor = small_model(family)
    values = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        outputs = model(values, output_hidden_states=True)
        halved = model.to(torch.bfloat16)(values.bfloat16())
    assert outputs.hidden_states[0].shape == (1, 4, 16, 16)
    assert halved.heatmaps.dtype == torch.bfloat16
    assert outputs.heatmaps.shape == halved.heatmaps.shape
    processor.instances(halved, [(64, 64)])


@pytest.mark.parametrize("family", FAMILIES)
def test_older_names_of_a_checkpoint_are_known(family: str) -> None:
    module = conversion(family)
    config = module.config_from_reference(small_reference(family), SCHEMA)
    older = {"keypoint_head.final_layers.0.weight": "head.projection.weight"}
    if family == "cid":
        older = {
            "keypoint_head.keypoint_center_conv.weight": "head.heatmaps.weight",
            "keypoint_head.conv_down.bias": "head.instances.reduction.bias",
            "keypoint_head.c_attn.atn.weight": "head.instances.channel_attention.weight",
            "keypoint_head.s_attn.conv.weight": "head.instances.spatial_attention.weight",
            "keypoint_head.fuse_attn.weight": "head.instances.fusion.weight",
            "keypoint_head.heatmap_conv.weight": "head.instances.heatmaps.weight",
        }
    if family == "dekr":
        older = {
            "keypoint_head.heatmap_conv_layers.0.bn.weight": "head.heatmaps.0.norm.weight",
            "keypoint_head.displacement_conv_layers.1.adapt_conv.weight": "head.displacements.1.conv.weight",
            "rescore_net.l3.bias": "head.rescoring.layers.2.bias",
        }
    assert list(module.convert_state_dict({name: torch.zeros(2) for name in older}, config)) == list(older.values())
