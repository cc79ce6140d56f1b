"""Rendered scenes as files in COCO's format."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.annotations import annotated_schema, pose_instances, read_coco
from hfpose.evaluation.coco import evaluate_keypoints
from hfpose.keypoints import load_schema
from hfpose.media.images import load_image
from rendered_people import render_scene
from rendered_people.scene_files import write_scenes


def test_what_is_read_back_is_what_was_rendered(tmp_path):
    coco = read_coco(write_scenes(tmp_path, range(40, 43)))
    schema = load_schema("coco")
    assert annotated_schema(coco) == schema
    instances = pose_instances(coco, schema)
    assert coco.left_out.total == 0
    scenes = [render_scene(seed) for seed in range(40, 43)]
    assert [image.id for image in coco.images] == [40, 41, 42]
    assert np.array_equal(load_image(coco.images[1].path), scenes[1].image)
    boxes = np.concatenate([scene.boxes for scene in scenes])
    np.testing.assert_allclose(instances.boxes, boxes, atol=0.011)
    visibility = np.concatenate([scene.visibility for scene in scenes])
    assert np.array_equal(instances.visibility, visibility)
    keypoints = np.concatenate([scene.keypoints for scene in scenes])
    labeled = visibility > 0
    np.testing.assert_allclose(instances.keypoints[labeled], keypoints[labeled], atol=0.011)


def test_ground_truth_of_scenes_as_results_gives_one(tmp_path):
    coco = read_coco(write_scenes(tmp_path, range(3)))
    results = [
        {"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 1.0}
        for a in coco.annotations
    ]
    assert evaluate_keypoints(coco, results, load_schema("coco"))["AP"] == pytest.approx(1)
