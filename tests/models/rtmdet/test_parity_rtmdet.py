"""RTMDet computes what the reference computes."""

from __future__ import annotations

import pytest
import torch

from golden import Golden, unmatched_boxes
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry

NAMES = (
    "rtmdet_nano_320-8xb32_hand",
    pytest.param("rtmdet_m_640-8xb32_coco-person", marks=pytest.mark.slow),
    pytest.param("rtmdet_m_8xb32-300e_coco", marks=pytest.mark.slow),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rtmdet_m_640-8xb32_coco-person", "rtmdet_m_8xb32-300e_coco"])
def test_raw_outputs_equal_the_reference(name):
    assert Golden("detect", name).head_error() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_boxes_equal_the_reference(name, shared):
    golden = Golden("detect", name)
    found, _ = golden.found_boxes(shared)
    assert len(found["boxes"]) == len(golden.arrays["e2e/boxes"])
    assert unmatched_boxes(found, golden.arrays) == 0


def test_raw_outputs_without_the_shared_folder():
    assert Golden("detect", NAMES[0]).head_error() < 1e-4


def test_p6_has_a_level_more() -> None:
    """Every tensor of the reference's neck and head has its place, to the level at stride 64."""
    source = ModelSource.from_entry(get_entry("rtmdet_x_p6_4xb8-300e_coco"))
    with torch.device("meta"):
        model = source.conversion.MODEL_CLASS(source.conversion.config_from_reference(source.reference, None))
        features = model.backbone(torch.empty(1, 3, 128, 128)).feature_maps
        outputs = model(torch.empty(1, 3, 128, 128))
    assert [tuple(level.shape[1:]) for level in features] == [
        (320, 16, 16), (640, 8, 8), (960, 4, 4), (1280, 2, 2),
    ]  # fmt: skip
    assert outputs.logits.shape == (1, 256 + 64 + 16 + 4, 80)
    names = {"backbone.stage4.1.main_conv.conv.weight", "backbone.stage5.1.conv1.conv.weight"}
    converted = source.conversion.convert_state_dict({name: torch.empty(1) for name in names}, model.config)
    assert converted.keys() <= model.state_dict().keys()


@pytest.mark.parametrize("classes", [1, 80])
def test_person_alone_is_kept_of_detectors_for_human_art(classes: int) -> None:
    conversion = ModelSource.from_entry(get_entry("rtmdet_s_8xb32-300e_humanart")).conversion
    config = conversion.config_from_reference(get_entry("rtmdet_s_8xb32-300e_humanart").reference, None)
    weight = torch.randn(classes, 128, 1, 1)
    (converted,) = conversion.convert_state_dict({"bbox_head.rtm_cls.0.weight": weight}, config).values()
    torch.testing.assert_close(converted, weight[:1])
