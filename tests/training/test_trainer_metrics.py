"""transformers' own `Trainer` with our rows, collators and metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainingArguments, default_data_collator

import hfpose
from coco_files import people_content
from hfpose.errors import ConfigError, InputError
from hfpose.media.images import load_image
from hfpose.training import (
    DetectionRows,
    PoseRowCollator,
    PoseRows,
    collate_detections,
    detection_metrics,
    pose_metrics,
)
from hfpose.training.augmentation import PoseAugmentation

COCO = hfpose.load_schema("coco")
RTMDET = hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64})


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    content = people_content(folder, 3)
    found = []
    for image in content["images"]:
        shown = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        objects = {key: [a[key] for a in shown] for key in ("bbox", "keypoints", "area")}
        objects["category"] = [0] * len(shown)
        found.append({"image": load_image(folder / image["file_name"]), "image_id": image["id"], "objects": objects})
    return found


@pytest.fixture(scope="module")
def processor():
    return hfpose.RTMPoseImageProcessor(size={"height": 64, "width": 64})


def pose_model() -> hfpose.RTMPoseForPoseEstimation:
    torch.manual_seed(0)
    return hfpose.RTMPoseForPoseEstimation(
        hfpose.RTMPoseConfig(
            backbone_config=hfpose.CSPNeXtBackboneConfig(depth_multiplier=0.167, width_multiplier=0.125),
            image_size=(64, 64), hidden_size=32, attention_size=16, num_labels=17,
        )
    )  # fmt: skip


def test_rows_take_unlabeled_points_and_impossible_areas_as_files_do(rows, processor):
    objects = {key: list(values) for key, values in rows[0]["objects"].items()}
    objects["keypoints"][0] = [float("nan"), float("nan"), 0, *objects["keypoints"][0][3:]]
    objects["area"][0] = -1
    samples = PoseRows([{**rows[0], "objects": objects}], processor, COCO)
    box, keypoints, visibility, area = samples.instances[0][1]
    assert visibility[0] == 0 and np.isfinite(keypoints).all()
    assert area == pytest.approx(0.53 * (box[2:] - box[:2]).prod())


def arguments(folder, **changes) -> TrainingArguments:
    return TrainingArguments(
        str(folder), max_steps=2, per_device_train_batch_size=2, report_to="none", use_cpu=True, save_strategy="no",
        disable_tqdm=True, **changes,
    )  # fmt: skip


def perfect(found: PoseRows, processor, sharp: bool = True):
    """SimCC outputs that point at the labels of all samples."""
    labels = torch.stack([found[index]["labels"] for index in range(len(found))])
    outputs = []
    for axis, size in ((0, processor.size["width"]), (1, processor.size["height"])):
        bins = torch.zeros(*labels.shape[:2], int(size * 2))
        places = (labels[..., axis] * 2).round().long().clamp(0, bins.shape[-1] - 1)
        outputs.append(bins.scatter(-1, places[..., None], 1.0).numpy())
    return tuple(outputs), labels.numpy()


def test_trainer_learns_from_rows_and_gives_coco_numbers(rows, processor, tmp_path):
    found = PoseRows(rows, processor, COCO)
    trainer = Trainer(
        pose_model(), arguments(tmp_path), train_dataset=found, eval_dataset=found,
        data_collator=default_data_collator, compute_metrics=pose_metrics(processor, found),
    )  # fmt: skip
    trainer.train()
    metrics = trainer.evaluate()
    assert {"eval_AP", "eval_AR", "eval_PCK@0.05", "eval_AUC", "eval_EPE"} <= metrics.keys()
    in_crops = Trainer(
        trainer.model, arguments(tmp_path, label_names=["labels", "keypoint_weights"]), eval_dataset=found,
        data_collator=default_data_collator, compute_metrics=pose_metrics(processor),
    ).evaluate()  # fmt: skip
    # In units of the box both are the same up to the aspect ratio of the crop.
    assert in_crops["eval_PCK@0.2"] == pytest.approx(metrics["eval_PCK@0.2"], abs=0.3)


def test_perfect_predictions_have_a_precision_of_one(rows, processor):
    found = PoseRows(rows, processor, COCO)
    outputs, labels = perfect(found, processor)
    in_images = pose_metrics(processor, found)(EvalPrediction(outputs, labels))
    assert in_images["AP"] > 0.99 and in_images["EPE"] < 2
    weights = np.stack([found[index]["keypoint_weights"] for index in range(len(found))])
    in_crops = pose_metrics(processor)(EvalPrediction(outputs, (labels, weights)))
    assert in_crops["AP"] > 0.99 and in_crops["EPE"] < 0.5


def test_a_batch_is_made_of_all_instances_of_some_rows(rows, processor):
    batch = PoseRowCollator(processor, COCO)(rows[:2])
    assert batch["pixel_values"].shape == (4, 3, 64, 64) and batch["keypoint_weights"].sum() == 4 * 17 - 2
    assert torch.isfinite(pose_model()(**batch).loss)


def test_rows_without_their_image_say_what_to_set(processor):
    with pytest.raises(ConfigError, match="remove_unused_columns=False"):
        PoseRowCollator(processor, COCO)([{"image_id": 1}])


def test_rows_without_instances_are_refused(rows, processor):
    with pytest.raises(InputError, match="No row has an instance"):
        PoseRows([{**rows[0], "objects": {"bbox": [], "keypoints": []}}], processor, COCO)


def changed(row, **fields):
    return {**row, "objects": {**row["objects"], **fields}}


def test_objects_that_cannot_be_used_are_counted_in_the_log(rows, processor, caplog):
    keypoints, boxes = rows[0]["objects"]["keypoints"], rows[0]["objects"]["bbox"]
    broken = [changed(rows[0], keypoints=[keypoints[0], keypoints[1][:-3]]), changed(rows[1], bbox=[[0, 0, 0, 5]])]
    assert len(PoseRows([*broken, rows[2]], processor, COCO)) == 3
    assert "1 x 48 keypoint values instead of 3 x 17 (coco): object 1 of row 0" in caplog.text
    assert "2 x object without bbox of x, y, width, height: object 0 of row 1, object 1 of row 1" in caplog.text
    caplog.clear()
    detections = DetectionRows([changed(rows[0], bbox=[boxes[0], [5, 5, 0, 5]])], RTMDET)
    assert len(detections[0]["labels"]["boxes"]) == 1
    assert "1 x object without bbox of x, y, width, height: object 1 of row 0" in caplog.text


def test_a_collator_tells_each_reason_once(rows, processor, caplog):
    collator = PoseRowCollator(processor, COCO)
    for _ in range(2):
        collator([rows[0], changed(rows[1], bbox=[[1, 1, 0, 1]] * 2)])
    assert len(caplog.records) == 1


@pytest.mark.parametrize("make", [lambda row: PoseRows([row], None, COCO), lambda row: DetectionRows([row], RTMDET)])
def test_rows_with_shares_of_the_image_are_refused(rows, processor, make):
    with pytest.raises(InputError, match="2 of 2 objects have box or keypoints from 0 to 1"):
        make(changed(rows[0], bbox=[[0.1, 0.1, 0.5, 0.6]] * 2))


def test_objects_may_be_a_list_of_dicts(rows, processor):
    objects = rows[0]["objects"]
    listed = [{name: values[index] for name, values in objects.items()} for index in range(2)]
    given, expected = (PoseRows([{**rows[0], "objects": one}], processor, COCO)[1] for one in (listed, objects))
    assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_detectors_are_measured_by_their_boxes(rows, tmp_path):
    processor = hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64}, score_threshold=0.0)
    torch.manual_seed(0)
    model = hfpose.RTMDetForObjectDetection(
        hfpose.RTMDetConfig(depth_multiplier=0.167, width_multiplier=0.125, neck_size=16, id2label={0: "person"})
    )
    found = DetectionRows(rows, processor)
    trainer = Trainer(
        model, arguments(tmp_path, eval_do_concat_batches=False), train_dataset=found, eval_dataset=found,
        data_collator=collate_detections, compute_metrics=detection_metrics(processor),
    )  # fmt: skip
    trainer.train()
    assert {"eval_AP", "eval_AR100"} <= trainer.evaluate().keys()
    with pytest.raises(ConfigError, match="eval_do_concat_batches=False"):
        detection_metrics(processor)(EvalPrediction((np.zeros(1), np.zeros(1)), []))


def test_perfect_detections_have_a_precision_of_one(rows):
    processor = hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64})
    found = DetectionRows(rows, processor)
    labels = [found[index]["labels"] for index in range(3)]
    boxes = torch.stack([one["boxes"] for one in labels]) * 64  # two of each image
    corners = torch.cat((boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2), -1)
    batches = [(torch.full((3, 2, 1), 5.0).numpy(), corners.numpy())]
    given = detection_metrics(processor)(EvalPrediction(batches, [labels]))
    assert given["AP"] == pytest.approx(1) and "APL" not in given


def test_workers_draw_other_changes_each_and_in_each_pass(rows, processor):
    found = PoseRows(rows[:1] * 2, processor, COCO, PoseAugmentation())
    loader = DataLoader(found, batch_size=1, num_workers=2)
    seen = [float(batch["labels"].sum()) for _ in range(2) for batch in loader]
    assert len(seen) == len(set(seen)) == 8
