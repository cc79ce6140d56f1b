"""DEKR, CID and associative embedding compute what the reference computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from golden import Golden, relative_error
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.keypoints import load_schema
from hfpose.media.images import load_image
from small_bottom_up import FAMILIES, conversion

# The reference's outputs by the name of ours.
OUTPUTS = {
    "dekr_hrnet-w32_8xb10-140e_coco-512x512": {"heatmaps": "out.0", "displacements": "out.1"},
    "cid_hrnet-w32_8xb20-140e_coco-512x512": {"heatmaps": "out"},
    "ae_hrnet-w32_8xb24-300e_coco-512x512": {"heatmaps": "out.0", "tags": "out.1"},
}
ENTRIES = [entry for entry in list_entries("pose") if entry.family in FAMILIES]


# What a model finds in an image follows from its outputs: of one the people are compared, of the others the outputs.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name.startswith("ae") else name for name in OUTPUTS]
)
def test_outputs_equal_the_reference(name):
    golden = Golden("one_stage", name)
    with torch.inference_mode():
        outputs = golden.model()(golden.network_input(1, 3, 512, 512))
    for output, kind in OUTPUTS[name].items():
        given = outputs[output]
        if name.startswith("cid"):  # the reference has no batches
            given = given[0]
        expected = golden.arrays[f"raw_stride4/{kind}"]
        assert relative_error(given[..., ::4, ::4], expected) < 1e-4


@pytest.mark.parametrize(
    "name", [name if name.startswith("ae") else pytest.param(name, marks=pytest.mark.slow) for name in OUTPUTS]
)
def test_people_with_flip_test_equal_the_reference(name, shared):
    golden = Golden("one_stage", name)
    processor, expected = golden.image_processor(), golden.arrays
    image = load_image(shared / "images" / golden.spec["image"])
    assert processor.flip_test
    with torch.inference_mode():
        outputs = golden.model()(**processor(image, return_tensors="pt"), flip_test=True)
    (people,) = processor.instances(outputs, [image.shape[:2]])
    assert len(people.boxes) == expected["e2e/num_instances"]
    keypoints, scores = expected["e2e/keypoints"], expected["e2e/keypoint_scores"]
    distances = np.linalg.norm(people.keypoints[:, None] - keypoints, axis=-1)  # (ours, theirs, K)
    ours = distances.mean(-1).argmin(0)
    nearest = distances[ours, np.arange(len(keypoints))]
    assert (nearest <= 0.05 + 1e-4 * np.abs(keypoints).max(-1)).mean() >= 0.99
    # A filled-in keypoint can sit on a near-tie too.
    errors = np.abs(people.keypoint_scores[ours] - scores) / np.abs(scores).max()
    assert (errors < 1e-4).mean() >= 0.99
    if "e2e/bbox_scores" in expected:
        np.testing.assert_allclose(people.box_scores[ours], expected["e2e/bbox_scores"], rtol=1e-4)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_models_of_the_zoo_build(entry):
    module = conversion(entry.family)
    config = module.config_from_reference(entry.reference, load_schema(entry.schema))
    with torch.device("meta"):
        model = module.MODEL_CLASS(config)
    assert len(model.head.state_dict()) > 0
    width, height = entry.input_size
    processor = module.image_processor_from_reference(entry.reference)
    assert processor.size == {"height": height, "width": width}
    assert processor.flip_test


@pytest.mark.parametrize("name", OUTPUTS)
def test_published_settings_are_the_defaults(name):
    entry = get_entry(name, "pose")
    module = conversion(entry.family)
    config = module.config_from_reference(entry.reference, load_schema(entry.schema)).to_dict()
    default = module.MODEL_CLASS.config_class().to_dict()
    for field in ("keypoint_schema", "id2label", "label2id", "rescoring_size"):  # the last needs a skeleton
        config.pop(field, None), default.pop(field, None)
    assert _tuples(config) == _tuples(default)


def _tuples(value):
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
