"""Models measured on annotated images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import hfpose
from coco_files import people_content, write_json, write_people
from hfpose.annotations import pose_instances, read_coco
from hfpose.errors import InputError
from hfpose.evaluation.coco import PrecisionRules
from hfpose.evaluation.evaluation_run import evaluate_detector, evaluate_pose_pipeline, matching_categories
from hfpose.evaluation.protocols import Protocol
from hfpose.pipelines.stage import Stage


@pytest.fixture
def pipe(tiny_pose):
    return hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image", device="cpu")


def test_on_annotated_boxes_each_instance_gets_its_own_prediction(pipe, tmp_path):
    coco = read_coco(write_people(tmp_path))
    run = evaluate_pose_pipeline(pipe, coco, "annotations", batch_size=3)
    instances = pose_instances(read_coco(coco.path), pipe.schema)
    found = np.concatenate(
        [
            pipe(str(image.path), boxes=instances.boxes[instances.image_indices == index]).keypoints
            for index, image in enumerate(instances.images)
        ]
    )
    distances = np.linalg.norm(found - instances.keypoints, axis=-1)
    labeled = instances.visibility > 0
    assert run.metrics["EPE"] == pytest.approx(distances[labeled].mean(), rel=1e-5)
    longer = (instances.boxes[:, 2:] - instances.boxes[:, :2]).max(1)[:, None]
    per_keypoint = [(distances / longer < 0.2)[labeled[:, k], k].mean() for k in range(17)]
    assert run.metrics["PCK@0.2"] == pytest.approx(np.mean(per_keypoint))
    assert run.metrics["PCK@0.05"] <= run.metrics["PCK@0.2"]
    assert {"AP", "AR", "AUC"} <= run.metrics.keys() and "NME" not in run.metrics
    assert (run.num_images, run.num_instances, run.failures.total) == (4, 8, 0)
    assert run.seconds > 0


def test_detections_from_a_file_bring_their_boxes_and_scores(pipe, tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    detections = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.5} for a in content["annotations"]
    ]
    # None of these can be used: category, image, area and numbers.
    detections += [detections[0] | change for change in ({"category_id": 2}, {"image_id": 99}, {"score": None})]
    detections.append(detections[0] | {"bbox": [1, 1, 0, 5]})
    run = evaluate_pose_pipeline(pipe, coco, detections)
    assert coco.left_out.total == 4
    whole = evaluate_pose_pipeline(pipe, coco, "annotations")
    assert run.num_instances == whole.num_instances == 8
    assert len(run.results) == len(whole.results)
    for given, expected in zip(run.results, whole.results, strict=True):
        assert given["keypoints"] == expected["keypoints"]
        assert given["score"] == pytest.approx(expected["score"] / 2)
    assert "PCK@0.05" not in run.metrics


def test_poses_in_detected_boxes_have_no_category_to_be_measured_by(pipe, tmp_path):
    content = people_content(tmp_path)
    content["categories"].append(content["categories"][0] | {"id": 2, "name": "child"})
    coco = read_coco(write_json(tmp_path / "people.json", content))
    by_category = Protocol(precision=PrecisionRules(by_category=True))
    with pytest.raises(InputError, match=r"2 categories \(person, child.*--gt-boxes"):
        evaluate_pose_pipeline(pipe, coco, protocol=by_category)
    assert evaluate_pose_pipeline(pipe, coco, "annotations", protocol=by_category).num_instances == 8


def test_all_boxes_of_a_list_are_used_unless_a_threshold_is_given(pipe, tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    detections = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.01 * index}
        for index, a in enumerate(content["annotations"])
    ]
    assert evaluate_pose_pipeline(pipe, coco, detections).num_instances == 8
    run = evaluate_pose_pipeline(pipe, coco, detections, box_threshold=0.05)
    assert run.num_instances == 3
    assert coco.left_out.counts == {"detection with a score below 0.05": 5}


def test_a_box_outside_of_its_image_is_left_out_alone(pipe, tmp_path):
    content = people_content(tmp_path)
    for image in content["images"]:
        del image["width"], image["height"]  # so that only the image itself tells
    coco = read_coco(write_json(tmp_path / "people.json", content))
    detections = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.5} for a in content["annotations"]
    ]
    detections[0]["bbox"] = [500.0, 5.0, 20.0, 20.0]
    detections[3]["bbox"] = [140.0, 5.0, 90.0, 20.0]  # in part
    detections[4]["bbox"] = detections[5]["bbox"] = [-50.0, -50.0, 20.0, 20.0]  # all of an image
    run = evaluate_pose_pipeline(pipe, coco, detections)
    assert (run.num_images, run.num_instances) == (3, 5)
    assert [line[:45] for line in run.failures.lines()] == ["3 x box outside of its image of 160 x 120 pix"]
    assert [result["bbox"] for result in run.results if result["image_id"] == 1] == [content["annotations"][1]["bbox"]]


def test_a_schema_without_sigmas_is_measured_with_a_notice(pipe, tmp_path):
    schema = replace(pipe.schema, sigmas=None)
    run = evaluate_pose_pipeline(pipe, read_coco(write_people(tmp_path)), "annotations", schema=schema)
    assert "AP" in run.metrics and any("has no sigmas: 0.05 is taken" in line for line in run.metrics.lines())


def test_detections_that_do_not_belong_to_the_annotations_are_refused(pipe, tmp_path):
    coco = read_coco(write_people(tmp_path))
    with pytest.raises(InputError, match="None of the 1 detections"):
        evaluate_pose_pipeline(pipe, coco, [{"image_id": 50, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 1.0}])
    with pytest.raises(InputError, match="1 x detection without bbox of four numbers and a score"):
        evaluate_pose_pipeline(pipe, coco, [{"image_id": 1, "category_id": 1, "score": 1.0}])


def test_without_boxes_the_pipeline_finds_them_itself(pipe, tmp_path):
    coco = read_coco(write_people(tmp_path))
    run = evaluate_pose_pipeline(pipe, coco)
    assert run.num_instances == 4  # each image as one box
    assert {result["image_id"] for result in run.results} == {1, 2, 3, 4}


def test_a_broken_image_is_counted_and_the_others_are_measured(pipe, tmp_path):
    path = write_people(tmp_path)
    (tmp_path / "1.png").write_bytes(b"\x89PNG broken")
    run = evaluate_pose_pipeline(pipe, read_coco(path), "annotations")
    assert run.failures.lines() == ["1 x image that could not be used: 1.png"]
    assert run.num_instances == 6
    assert run.metrics["EPE"] > 0


def test_annotations_of_other_keypoints_are_refused(pipe, tmp_path):
    content = people_content(tmp_path)
    content["categories"][0]["keypoints"] = list(hfpose.load_schema("ap10k").keypoint_names)
    coco = read_coco(write_json(tmp_path / "animals.json", content))
    with pytest.raises(InputError, match="same keypoints"):
        evaluate_pose_pipeline(pipe, coco, "annotations")


@pytest.fixture
def detector() -> Stage:
    torch.manual_seed(0)
    config = hfpose.RTMDetConfig(
        depth_multiplier=0.167, width_multiplier=0.125, neck_size=16, id2label={0: "chair", 1: "Person"}
    )
    processor = hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64}, score_threshold=0.0, max_detections=5)
    model = hfpose.RTMDetForObjectDetection(config).eval()
    for layer in model.head.box_predictions:  # boxes that cover the image
        torch.nn.init.constant_(layer.bias, 2.5)
    return Stage(model, processor)


def test_detectors_are_measured_on_the_classes_they_share_with_the_annotations(detector, tmp_path):
    coco = read_coco(write_people(tmp_path, 5))
    assert matching_categories(detector.model.config.id2label, coco) == {1: 1}
    run = evaluate_detector(detector, coco, batch_size=2)
    assert run.num_images == 5 and set(run.metrics) >= {"AP", "AP50", "AR100"}
    assert run.results and all(result["category_id"] == 1 for result in run.results)
    width = max(result["bbox"][0] + result["bbox"][2] for result in run.results)
    assert 64 < width <= 160.01  # in pixels of the image


def test_categories_without_a_class_of_the_detector_are_counted(detector, tmp_path):
    content = people_content(tmp_path)
    content["categories"].append({"id": 2, "name": "fish"})
    content["annotations"][0]["category_id"] = 2
    run = evaluate_detector(detector, read_coco(write_json(tmp_path / "people.json", content)))
    assert run.metrics.left_out.counts == {"annotation of a category that the detector has no class for": 1}


def test_a_detector_without_a_common_class_is_refused(detector, tmp_path):
    content = people_content(tmp_path)
    content["categories"][0]["name"] = "fish"
    coco = read_coco(write_json(tmp_path / "fish.json", content))
    with pytest.raises(InputError, match=r"chair, Person.*fish.*no name in common"):
        evaluate_detector(detector, coco)


def test_a_broken_image_does_not_stop_a_detector(detector, tmp_path):
    path = write_people(tmp_path)
    (tmp_path / "0.png").write_bytes(b"")
    run = evaluate_detector(detector, read_coco(path))
    assert run.num_images == 3 and run.failures.total == 1


def test_the_first_frame_of_a_file_with_several_is_the_annotated_image(pipe, detector, tmp_path):
    content = people_content(tmp_path)
    image = Image.open(tmp_path / content["images"][1]["file_name"])
    image.save(tmp_path / "several.tif", save_all=True, append_images=[Image.new("RGB", image.size)])
    plain = read_coco(write_json(tmp_path / "people.json", content))
    content["images"][1]["file_name"] = "several.tif"
    coco = read_coco(write_json(tmp_path / "several.json", content))
    for measured in (
        lambda data: evaluate_pose_pipeline(pipe, data, "annotations").results,
        lambda data: evaluate_pose_pipeline(pipe, data).results,
        lambda data: evaluate_detector(detector, data).results,
    ):
        assert measured(coco) == measured(plain)


def test_instances_without_ids_each_get_their_own_prediction(pipe, tmp_path):
    content = people_content(tmp_path)
    expected = evaluate_pose_pipeline(pipe, read_coco(write_json(tmp_path / "people.json", content)), "annotations")
    for annotation in content["annotations"]:
        del annotation["id"]
    coco = read_coco(write_json(tmp_path / "without.json", content))
    assert evaluate_pose_pipeline(pipe, coco, "annotations").metrics == expected.metrics
