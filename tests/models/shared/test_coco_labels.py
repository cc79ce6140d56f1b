"""Annotations in COCO's format become labels; options of a call; outputs with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfpose.errors import InputError
from small_models import small_model

IMAGE = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)


def annotations(num_keypoints: int) -> list[dict]:
    """Two objects in the image; the first keypoint of each is in the middle of its box."""
    objects = []
    for x, y in ((10, 20), (60, 30)):
        keypoints = [x + 15, y + 20, 2] + [0, 0, 0] * (num_keypoints - 1)
        objects.append({"bbox": [x, y, 30, 40], "category_id": 1, "keypoints": keypoints, "area": 600})
    return [{"image_id": 7, "annotations": [*objects, {**objects[0], "iscrowd": 1}]}]


@pytest.mark.parametrize("name", ["rtmpose", "heatmap", "regression-rle", "simcc"])
def test_crops_have_labels_in_their_pixels(name):
    model, processor = small_model(name)
    inputs = processor(IMAGE, annotations=annotations(model.config.num_labels), return_tensors="pt")
    size = torch.tensor([64.0, 64.0]) - int(processor.use_udp)
    torch.testing.assert_close(inputs["labels"][:, 0], (size / 2).expand(2, 2))
    assert inputs["keypoint_weights"].sum(1).tolist() == [1, 1]
    model(**inputs).loss.backward()


@pytest.mark.parametrize("name", ["rtmo", "yolox_pose", "dekr", "cid", "associative_embedding"])
def test_one_stage_models_have_labels_for_each_image(name):
    model, processor = small_model(name)
    inputs = processor(IMAGE, annotations=annotations(model.config.num_labels), return_tensors="pt")
    label = inputs["labels"][0]
    middles = (label["boxes"][:, :2] + label["boxes"][:, 2:]) / 2
    torch.testing.assert_close(label["keypoints"][:, 0], middles)
    sides = label["boxes"][:, 2:] - label["boxes"][:, :2]
    torch.testing.assert_close(label["areas"], sides.prod(1) / 2)
    assert torch.isfinite(model(**inputs).loss)


@pytest.mark.parametrize("name", ["rtmdet", "yolox"])
def test_detectors_have_labels_as_transformers_has_them(name):
    model, processor = small_model(name)
    inputs = processor(IMAGE, annotations=annotations(1), return_tensors="pt")
    label = inputs["labels"][0]
    assert label["class_labels"].tolist() == [1, 1]
    factor = 64 / 120  # the image at the top left of 64 x 64 pixels
    expected = torch.tensor([[25.0, 40, 30, 40], [75, 50, 30, 40]]) * factor / 64
    torch.testing.assert_close(label["boxes"], expected, rtol=1e-2, atol=1e-3)
    loss = model(**inputs).loss
    loss.backward()
    assert torch.isfinite(loss)
    with pytest.raises(InputError, match="center x"):
        model(inputs["pixel_values"], labels=[{**label, "boxes": label["boxes"] * 64}])


def test_another_number_of_annotations_or_no_keypoints_are_errors():
    _, processor = small_model("rtmpose")
    with pytest.raises(InputError, match="2 annotations for 1 images"):
        processor(IMAGE, annotations=annotations(17) * 2)
    with pytest.raises(InputError, match="numbers of keypoints"):
        processor(IMAGE, annotations=[{"image_id": 0, "annotations": [{"bbox": [0, 0, 9, 9]}]}])


@pytest.mark.parametrize("name", ["rtmpose", "rtmdet", "rtmo"])
def test_options_of_a_call_win_and_unknown_ones_are_refused(name):
    _, processor = small_model(name)
    inputs = processor(IMAGE, size={"height": 96, "width": 128}, do_normalize=False, do_rescale=False)
    assert inputs["pixel_values"].shape == (1, 3, 96, 128)
    assert inputs["pixel_values"].max() > 200
    assert processor.size["height"] == 64
    with pytest.raises(InputError, match="no option do_nothing"):
        processor(IMAGE, do_nothing=True)


def test_box_padding_of_a_call_is_honoured():
    _, processor = small_model("rtmpose")
    boxes = [[[30, 20, 60, 60]]]
    near = processor(IMAGE, boxes=boxes, box_padding=1.0)["pixel_values"]
    assert not torch.equal(near, processor(IMAGE, boxes=boxes)["pixel_values"])
    assert torch.equal(near, processor.with_settings(box_padding=1.0)(IMAGE, boxes=boxes)["pixel_values"])


def test_tensors_in_and_out_on_a_device():
    _, processor = small_model("rtmpose")
    image = torch.from_numpy(IMAGE).permute(2, 0, 1)
    given = processor(image, device="meta")["pixel_values"]
    assert given.device.type == "meta"
    assert torch.equal(processor([image])["pixel_values"], processor(IMAGE)["pixel_values"])


@pytest.mark.parametrize("name", ["rtmpose", "heatmap", "regression-rle", "rtmo", "dekr", "cid", "internet"])
def test_outputs_with_gradients_are_decoded(name):
    model, processor = small_model(name)
    outputs = model(torch.rand(1, 3, 64, 64))
    where = {"boxes": [[[0, 0, 64, 64]]]} if hasattr(processor, "box_padding") else {"target_sizes": [(64, 64)]}
    assert len(processor.post_process_pose_estimation(outputs, **where)) == 1


def test_detections_with_gradients_are_decoded():
    model, processor = small_model("rtmdet")
    found = processor.post_process_object_detection(model(torch.rand(1, 3, 64, 64)), target_sizes=[(64, 64)])
    assert not found[0]["boxes"].requires_grad


def test_boxes_without_area_are_left_out():
    _, processor = small_model("rtmdet")
    image = annotations(1)[0]
    image["annotations"][0]["bbox"] = [10, 20, 0, 40]
    assert processor(IMAGE, annotations=[image])["labels"][0]["class_labels"].tolist() == [1]


@pytest.mark.parametrize(
    "change", [{"bbox": None}, {"bbox": [1, 2, float("nan"), 4]}, {"category_id": None}, {"category_id": "person"}]
)
def test_objects_that_cannot_be_read_are_errors(change):
    _, processor = small_model("rtmdet")
    image = annotations(1)[0]
    image["annotations"][0] |= change
    with pytest.raises(InputError, match=next(iter(change))):
        processor(IMAGE, annotations=[image])


def test_unlabeled_points_may_be_anywhere_and_impossible_areas_are_of_the_box():
    _, processor = small_model("rtmo")
    plain, odd = annotations(2), annotations(2)
    for images, point, area in ((plain, [0, 0, 0], None), (odd, [float("nan"), None, 0], -1)):
        for one in images[0]["annotations"]:
            one["keypoints"] = [*one["keypoints"][:3], *point]
            one["area"] = area
    expected, found = (processor(IMAGE, annotations=images)["labels"][0] for images in (plain, odd))
    assert found["areas"].equal(expected["areas"]) and found["keypoint_weights"].equal(expected["keypoint_weights"])
    assert found["keypoints"].isfinite().all()


ONE_STAGE = ["rtmo", "yolox_pose", "dekr", "cid", "associative_embedding"]
TOP_DOWN = ["rtmpose", "heatmap", "regression-rle", "regression-dsnt", "simcc"]


@pytest.mark.parametrize("name", [*ONE_STAGE, *TOP_DOWN, "rtmdet", "yolox"])
def test_images_without_people_have_a_loss(name):
    model, processor = small_model(name)
    inputs = processor(IMAGE, annotations=[{"image_id": 7, "annotations": []}], return_tensors="pt")
    loss = model(**inputs).loss
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", [*ONE_STAGE, *TOP_DOWN, "rtmdet", "yolox"])
def test_labels_for_another_number_of_images_are_errors(name):
    model, processor = small_model(name)
    inputs = processor([IMAGE] * 3, annotations=annotations(model.config.num_labels) * 3)
    with pytest.raises(InputError, match=r"labels (have|for)"):
        model(inputs["pixel_values"], labels=inputs["labels"][:1])


def test_a_class_beyond_those_of_the_model_is_named():
    model, processor = small_model("rtmdet")
    inputs = processor(IMAGE, annotations=annotations(1))
    inputs["labels"][0]["class_labels"] += 9
    with pytest.raises(InputError, match=r"10, 10.*classes 0 to 1"):
        model(**inputs)
    with pytest.raises(InputError, match="class_labels"):
        model(inputs["pixel_values"], labels=[{}])


@pytest.mark.parametrize("count", [1, 3])
def test_boxes_that_are_not_those_of_the_crops_are_refused(count):
    model, processor = small_model("rtmpose")
    with pytest.raises(InputError, match=f"{count} boxes for the outputs of 2 crops"):
        processor.post_process_pose_estimation(model(torch.rand(2, 3, 64, 64)), [[[0, 0, 64, 64]] * count])
