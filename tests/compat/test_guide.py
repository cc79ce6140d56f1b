"""The snippets of MMPose's inference guide, with only import lines and file names changed.

Names resolve to small models in a local cache (fixture `store`); configs with a checkpoint beside them are those of
small models too. Source: `docs/en/user_guides/inference.md` of MMPose 1.3.2.
"""

# The snippets stay as they are in the guide.
# ruff: noqa: C416, ISC

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake_screen import FakeScreen


@pytest.fixture(autouse=True)
def project(store: Path, photo: Path, shared: Path, screen: FakeScreen, tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """A folder as the guide's commands run in: images, and a screen on which somebody presses the space bar."""
    folder = tmp_path / "tests" / "data" / "coco"
    folder.mkdir(parents=True)
    for name in ("coco_785.jpg", "coco_196141.jpg"):
        shutil.copy(shared / "images" / name, folder)
    monkeypatch.chdir(tmp_path)
    screen.keys = [32] * 20
    yield tmp_path


def copy_model(project: Path, files: tuple[Path, Path]) -> None:
    for path in files:
        shutil.copy(path, project)


def test_basic_usage(screen):
    from hfpose.compat.mmpose import MMPoseInferencer

    img_path = "tests/data/coco/coco_785.jpg"  # replace this with your own image path

    # instantiate the inferencer using the model alias
    inferencer = MMPoseInferencer("human")

    # The MMPoseInferencer API employs a lazy inference approach,
    # creating a prediction generator when given input
    result_generator = inferencer(img_path, show=True)
    result = next(result_generator)

    assert len(screen.shown) == 1
    assert list(result) == ["visualization", "predictions"]
    assert len(result["predictions"]) == 1
    assert np.shape(result["predictions"][0][0]["keypoints"]) == (17, 2)


def test_a_folder():
    from hfpose.compat.mmpose import MMPoseInferencer

    inferencer = MMPoseInferencer("human")

    folder_path = "tests/data/coco"

    result_generator = inferencer(folder_path, show=True)
    results = [result for result in result_generator]

    assert len(results) == 2


def test_custom_pose_estimation_models(project, custom_model):
    from hfpose.compat.mmpose import MMPoseInferencer

    copy_model(project, custom_model)

    # build the inferencer with model alias
    inferencer = MMPoseInferencer("human")

    # build the inferencer with model config name
    inferencer = MMPoseInferencer("td-hm_hrnet-w32_8xb64-210e_coco-256x192")

    # build the inferencer with model config path and checkpoint path/URL
    inferencer = MMPoseInferencer(
        pose2d="custom_human_pose_estimator.py", pose2d_weights="custom_human_pose_estimator.pth"
    )

    assert inferencer.pipeline.schema.name == "stick"


def test_custom_inferencer_for_3d(project, custom_lifter):
    from hfpose.compat.mmpose import MMPoseInferencer

    copy_model(project, custom_lifter)

    # build the inferencer with 3d model alias
    inferencer = MMPoseInferencer(pose3d="human3d")

    # build the inferencer with 3d model config name
    inferencer = MMPoseInferencer(pose3d="motionbert_dstformer-ft-243frm_8xb32-120e_h36m")

    # build the inferencer with 3d model config path and checkpoint path/URL
    inferencer = MMPoseInferencer(pose3d="custom_lifter.py", pose3d_weights="custom_lifter.pth")

    result = next(inferencer("tests/data/coco/coco_196141.jpg"))
    assert len(result["predictions"][0]) == 4
    assert np.shape(result["predictions"][0][0]["keypoints"]) == (17, 3)


def test_custom_object_detector(project, custom_model, shared):
    from hfpose.compat.mmpose import MMPoseInferencer

    copy_model(project, custom_model)
    shutil.copy(shared / "weights" / "rtmdet_nano_person_folded.pth", project)
    PATH_TO_MMDET = project

    # specify detection model by alias
    # the available aliases include 'human', 'hand', 'face', 'animal',
    # as well as any additional aliases defined in mmdet
    inferencer = MMPoseInferencer(
        # suppose the pose estimator is trained on custom dataset
        pose2d="custom_human_pose_estimator.py",
        pose2d_weights="custom_human_pose_estimator.pth",
        det_model="human",
    )
    assert len(next(inferencer("tests/data/coco/coco_196141.jpg"))["predictions"][0]) == 4

    # specify detection model with model config name
    inferencer = MMPoseInferencer(
        pose2d="human",
        det_model="yolox_l_8x8_300e_coco",
        det_cat_ids=[0],  # the category id of 'human' class
    )
    assert len(next(inferencer("tests/data/coco/coco_196141.jpg"))["predictions"][0]) == 4

    # specify detection model with config path and checkpoint path/URL
    inferencer = MMPoseInferencer(
        pose2d="human",
        det_model=f"{PATH_TO_MMDET}/configs/rtmdet/rtmdet_nano_320-8xb32_coco-person.py",
        det_weights="rtmdet_nano_person_folded.pth",
        det_cat_ids=[0],  # the category id of 'human' class
    )
    assert len(next(inferencer("tests/data/coco/coco_196141.jpg"))["predictions"][0]) == 4


def test_whole_image():
    from hfpose.compat.mmpose import MMPoseInferencer

    inferencer = MMPoseInferencer("human", det_model="whole_image")

    result = next(inferencer("tests/data/coco/coco_196141.jpg"))
    assert len(result["predictions"][0]) == 1


def test_dump_results(project):
    from hfpose.compat.mmpose import MMPoseInferencer

    inferencer = MMPoseInferencer("human")
    img_path = "tests/data/coco/coco_785.jpg"

    result_generator = inferencer(img_path, pred_out_dir="predictions")
    result = next(result_generator)

    people = json.loads((project / "predictions" / "coco_785.json").read_text())
    assert people == json.loads(json.dumps(result["predictions"][0]))

    result_generator = inferencer(img_path, out_dir="output")
    result = next(result_generator)

    # The guide says "visualization", MMPose's code "visualizations".
    assert (project / "output" / "visualizations" / "coco_785.jpg").is_file()
    assert (project / "output" / "predictions" / "coco_785.json").is_file()
    assert result["visualization"] == []


def test_visualization(project, screen):
    from hfpose.compat.mmpose import MMPoseInferencer

    inferencer = MMPoseInferencer("human")
    img_path = "tests/data/coco/coco_785.jpg"

    result_generator = inferencer(img_path, show=True)
    result = next(result_generator)

    result_generator = inferencer(img_path, vis_out_dir="vis_results")
    result = next(result_generator)

    result_generator = inferencer(img_path, show=True, radius=4, thickness=2)
    result = next(result_generator)

    assert result["predictions"][0]
    (_, first), (_, larger) = screen.shown
    assert (first != larger).any()
    with Image.open(project / "vis_results" / "coco_785.jpg") as saved:
        assert saved.size == first.shape[1::-1]


def test_low_level_api(project, screen):
    from hfpose.compat.mmpose import VISUALIZERS, imread, inference_topdown, init_model, merge_data_samples, visualize

    # Build a model

    model_cfg = "configs/body_2d_keypoint/rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py"

    ckpt = None

    device = "cpu"

    # init model
    model = init_model(model_cfg, ckpt, device=device)

    # Inference

    img_path = "tests/data/coco/coco_785.jpg"

    # inference on a single image
    batch_results = inference_topdown(model, img_path)

    pred_instances = batch_results[0].pred_instances

    assert pred_instances.keypoints.shape == (1, 17, 2)
    assert pred_instances.bboxes.tolist() == [[0, 0, *Image.open(img_path).size]]

    # Visualization

    # merge results as a single data sample
    results = merge_data_samples(batch_results)

    # build the visualizer
    visualizer = VISUALIZERS.build(model.cfg.visualizer)

    # set skeleton, colormap and joint connection rule
    visualizer.set_dataset_meta(model.dataset_meta)

    img = imread(img_path, channel_order="rgb")

    # visualize the results
    visualizer.add_datasample("result", img, data_sample=results, show=True)

    pred_instances = batch_results[0].pred_instances

    keypoints = pred_instances.keypoints
    keypoint_scores = pred_instances.keypoint_scores

    metainfo = "config/_base_/datasets/coco.py"

    visualize(img_path, keypoints, keypoint_scores, metainfo=metainfo, show=True)

    (title, from_visualizer), (_, from_function) = screen.shown
    assert title == "result"
    height, width = img.shape[:2]
    assert from_visualizer.shape == (height, 2 * width, 3)
    np.testing.assert_array_equal(from_visualizer[:, width:], from_function)
    assert (from_function != img).any()
