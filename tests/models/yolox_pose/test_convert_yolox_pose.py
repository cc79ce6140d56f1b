"""From the reference's YOLOX-Pose settings and checkpoints to ours, and what they compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from golden import Golden
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.media.images import load_image
from hfpose.models.yolox_pose.convert_yolox_pose import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)

GOLDEN = "yoloxpose_tiny_4xb64-300e_coco-416"
ENTRIES = [entry for entry in list_entries("pose") if entry.family == "yolox_pose"]
OUTPUTS = {"out.0": "logits", "out.1": "objectness", "out.2": "boxes", "out.3": "offsets", "out.4": "visibilities"}


def meta_model(entry):
    source = ModelSource.from_entry(entry)
    with torch.device("meta"):
        return MODEL_CLASS(config_from_reference(source.reference, source.schema))


def test_the_zoo_has_all_four():
    sizes = [entry.name.split("_")[1] for entry in ENTRIES]
    assert sizes == ["tiny", "s", "m", "l"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_variant_has_places_for_the_references_names(entry):
    model = meta_model(entry)
    names = Golden("one_stage", GOLDEN).spec["state_dict"]  # those of the smallest, which all others have too
    tensors = {name: torch.empty(shape, device="meta") for name, shape in names.items()}
    converted = convert_state_dict(tensors, model.config)
    assert converted.keys() <= model.state_dict().keys()
    assert (converted.keys() == model.state_dict().keys()) == ("tiny" in entry.name or "_s_" in entry.name)


def test_outputs_of_the_head_equal_the_reference():
    golden = Golden("one_stage", GOLDEN)
    model = golden.model()
    with torch.inference_mode():
        levels = model.head(model.neck(model.backbone(golden.network_input(1, 3, 416, 416)).feature_maps))
    for kind, output in OUTPUTS.items():
        assert golden.level_error(kind, levels[output]) < 1e-4


def test_instances_equal_the_reference(shared):
    golden = Golden("one_stage", GOLDEN)
    model, processor, expected = golden.model(), golden.image_processor(), golden.arrays
    image = load_image(shared / "images" / golden.spec["image"])
    with torch.inference_mode():
        outputs = model(**processor(image, return_tensors="pt"))
    (found,) = processor.instances(outputs, [image.shape[:2]])
    assert len(found.boxes) == expected["e2e/num_instances"]
    np.testing.assert_allclose(found.boxes[:60], expected["e2e/bboxes"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.box_scores[:60], expected["e2e/bbox_scores"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.keypoint_scores[:60], expected["e2e/keypoint_scores"], rtol=0, atol=1e-4)
    distances = np.linalg.norm(found.keypoints[:60] - expected["e2e/keypoints"], axis=-1)
    assert (distances <= 0.05).mean() >= 0.99


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("neck", {"upsample_cfg": {"scale_factor": 2, "mode": "bilinear"}}, "upsample_cfg"),
        ("head", {"prior_generator": {"type": "MlvlPointGenerator", "strides": [8, 16, 32]}}, r"offset=0\.5"),
        ("head", {"assigner": {"type": "SimOTAAssigner", "dynamic_k_indicator": "iou"}}, "dynamic_k_indicator"),
    ],
)
def test_settings_that_are_not_supported_are_named(part, changes, message):
    reference = get_entry(GOLDEN).reference
    reference[part].update(changes)
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference, None)


def test_image_processor_has_the_references_test_settings():
    processor = image_processor_from_reference(get_entry(GOLDEN).reference)
    assert processor.size == {"height": 416, "width": 416}
    assert (processor.score_threshold, processor.nms_threshold) == (0.01, 0.65)
