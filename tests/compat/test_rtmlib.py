"""The layer for users of rtmlib."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from hfpose.compat.rtmlib import (
    Animal,
    Body,
    BodyWithFeet,
    Custom,
    Hand,
    PoseTracker,
    Wholebody,
    Wholebody3d,
    draw_bbox,
    draw_skeleton,
    nms,
)
from hfpose.compat.rtmlib.solutions import _model_of
from hfpose.errors import ConfigError, InputError
from hfpose.hub.cache import models_dir
from hfpose.hub.zoo import get_entry
from hfpose.models.shared.detection import Detections
from small_zoo import save_small_model

ONNX_FILES = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/onnx_sdk/"
DETECTOR = "yolox_m_8xb8-300e_humanart-c2c7a14a.zip"
POSE = "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.zip"


@pytest.fixture(scope="module")
def cache(filled_cache, person_detector, tmp_path_factory):
    """The cache with a detector and a model of whole bodies in 3D under the names that rtmlib's modes mean."""
    folder = tmp_path_factory.mktemp("rtmlib")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HFPOSE_CACHE", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        shutil.copytree(filled_cache, folder, dirs_exist_ok=True)
        models = models_dir()
        shutil.copytree(person_detector, models / "yolox_m_8xb8-300e_humanart")
        save_small_model(get_entry("wholebody3d"), models / "rtmw3d-x_8xb32_cocktail14-384x288")
        yield folder


@pytest.fixture(scope="module")
def body(cache) -> Body:
    return Body(backend="opencv")


@pytest.fixture(scope="module")
def image(shared: Path) -> np.ndarray:
    return cv2.imread(str(shared / "images" / "coco_785.jpg"))


def test_arrays_are_those_of_the_pipeline_for_the_rgb_image(body, image):
    keypoints, scores = body(image)
    expected = body.pipeline(np.ascontiguousarray(image[..., ::-1]))
    np.testing.assert_array_equal(keypoints, expected.keypoints)
    np.testing.assert_array_equal(scores, expected.keypoint_scores)
    assert keypoints.shape == (1, 17, 2)


def test_boxes_are_suppressed_by_the_detector_alone(body, image, monkeypatch):
    boxes = np.array([[0, 0, 100, 100], [30, 0, 130, 100]], np.float32)  # their IoU is 0.54
    found = Detections(boxes, np.array([0.9, 0.8], np.float32), np.zeros(2, int))
    monkeypatch.setattr(body.pipeline.detector, "detections", lambda *_: [found])
    assert len(body(image)[0]) == 2


def test_scores_are_the_mean_of_both_axes(cache, image):
    body = Body(backend="opencv")
    (_, mean), processor = body(image), body.pipeline.estimator.stage.image_processor
    processor.mean_scores = False
    _, lower = body(image)
    assert (mean >= lower).all()
    assert (mean > lower).any()


def test_without_people_the_image_is_one_box(body):
    keypoints, scores = body(np.zeros((48, 64, 3), np.uint8))
    assert keypoints.shape == (1, 17, 2)
    assert scores.shape == (1, 17)


def test_openpose_order_has_a_neck_with_the_lower_score_of_the_shoulders(body, image):
    keypoints, scores = body(image)
    body.to_openpose = True
    try:
        ordered, ordered_scores = body(image)
    finally:
        body.to_openpose = False
    assert ordered.shape == (1, 18, 2)
    np.testing.assert_allclose(ordered[:, 1], (keypoints[:, 5] + keypoints[:, 6]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(ordered_scores[:, 1], scores[:, 5:7].min(1))
    np.testing.assert_array_equal(ordered[:, [0, 2, 5, 14, 17]], keypoints[:, [0, 6, 5, 2, 3]])


@pytest.mark.parametrize(
    "file, name",
    [
        (DETECTOR, "yolox_m_8xb8-300e_humanart"),
        ("yolox_tiny_8xb8-300e_humanart-6f3252f9.zip", "yolox_tiny_8xb8-300e_humanart"),
        ("rtmdet_nano_8xb32-300e_hand-267f9c8f.zip", "rtmdet_nano_320-8xb32_hand"),
        (POSE, "rtmpose-m_8xb256-420e_body8-256x192"),
        (
            "rtmpose-x_simcc-body7_pt-body7-halpe26_700e-384x288-7fb6e239_20230606.zip",
            "rtmpose-x_8xb256-700e_body8-halpe26-384x288",
        ),
        ("rtmo-m_16xb16-600e_body7-640x640-39e78cc4_20231211.zip", "rtmo-m_16xb16-600e_body7-640x640"),
        ("rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.zip", "rtmw-l_8xb1024-270e_cocktail14-256x192"),
        ("rtmpose-m_simcc-hand5_pt-aic-coco_210e-256x256-74fb594_20230320.zip", "rtmpose-m_8xb256-210e_hand5-256x256"),
        ("rtmw3d-x_8xb64_cocktail14-384x288-b0a0eab7_20240626.onnx", "rtmw3d-x_8xb32_cocktail14-384x288"),
    ],
)
def test_onnx_files_stand_for_the_zoos_models(file, name):
    task = "detector" if file.startswith(("yolox", "rtmdet")) else "pose"
    assert _model_of(ONNX_FILES + file, task) == name


def test_another_onnx_file_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match="hfpose export"):
        _model_of("https://example.com/vitpose-b-apt36k.onnx", "pose")


def test_unknown_backends_and_classes_are_refused(cache):
    with pytest.raises(ConfigError, match="opencv"):
        Body(backend="tensorrt")
    with pytest.raises(ConfigError, match="RTMDet"):
        Custom(det_class="DETR", det="x", pose_class="RTMPose", pose="human")


def test_custom_models_by_their_files(cache, image, body):
    custom = Custom(
        det_class="YOLOX",
        det=ONNX_FILES + DETECTOR,
        det_input_size=(640, 640),
        pose_class="RTMPose",
        pose=ONNX_FILES + POSE,
        pose_input_size=(192, 256),
        backend="opencv",
    )
    np.testing.assert_array_equal(custom(image)[0], body(image)[0])


def test_rtmo_goes_by_the_mode(cache, image):
    save_small_model(get_entry("rtmo-s"), models_dir() / "rtmo-s_8xb32-600e_body7-640x640")
    body = Body(pose="rtmo", mode="lightweight", backend="opencv")
    assert "rtmo-s" in body.pipeline.estimator.stage.model.name_or_path
    assert body(image)[0].shape[1:] == (17, 2)


def test_custom_model_without_detector_takes_the_image_whole(cache, image):
    custom = Custom(pose_class="RTMPose", pose="human", backend="opencv")
    assert custom.pipeline.whole_image
    assert len(custom(image)[0]) == 1


def test_wholebody_in_3d_gives_pixels_and_meters(cache, image):
    solution = Wholebody3d(backend="opencv")
    keypoints, scores, in_crop, in_image = solution(image)
    assert keypoints.shape == in_crop.shape == (1, 133, 3)
    assert in_image.shape == (1, 133, 2)
    assert scores.shape == (1, 133)
    np.testing.assert_array_equal(keypoints[..., :2], in_crop[..., :2])
    processor = solution.pipeline.estimator.stage.image_processor
    assert np.abs(keypoints[..., 2]).max() <= processor.depth_range * 1.01


def counting(tracker: PoseTracker, monkeypatch) -> list[int]:
    """Frames at which the detector is asked."""
    asked: list[int] = []
    detector = tracker.solution.pipeline.detector
    detections = detector.detections

    def detect(images, *arguments):
        asked.append(tracker.frame_cnt)
        return detections(images, *arguments)

    monkeypatch.setattr(detector, "detections", detect)
    return asked


def test_the_tracker_asks_the_detector_every_so_many_frames(cache, image, monkeypatch):
    tracker = PoseTracker(Body, det_frequency=3, backend="opencv")
    asked = counting(tracker, monkeypatch)
    for _ in range(5):
        keypoints, scores = tracker(image)
        assert keypoints.shape == (1, 17, 2)
        assert scores.shape == (1, 17)
    assert asked == [0, 3]
    assert tracker.track_ids_last_frame == [0]


def test_the_tracker_leaves_the_mode_to_the_solution():
    assert "mode" not in PoseTracker(dict).solution
    assert PoseTracker(dict, mode="lightweight").solution["mode"] == "lightweight"


def test_identities_begin_anew_after_a_reset(cache, image):
    tracker = PoseTracker(partial(Body, det=None), backend="opencv")
    tracker(image)
    tracker(np.ascontiguousarray(image[:, ::-1]))
    assert tracker.frame_cnt == 2
    tracker.reset()
    tracker(image)
    assert tracker.track_ids_last_frame == [0]


def test_without_tracking_there_are_no_identities(cache, image):
    tracker = PoseTracker(Body, det_frequency=2, tracking=False, backend="opencv")
    first, second = tracker(image), tracker(image)
    assert len(first[0]) == len(second[0]) == 1
    assert tracker.track_ids_last_frame == []


@pytest.mark.parametrize(
    "count, in_openpose", [(17, False), (21, False), (26, False), (133, False), (17, True), (18, True), (134, True)]
)
def test_skeletons_by_the_number_of_keypoints(count, in_openpose):
    keypoints = np.random.default_rng(0).uniform(5, 90, (2, count, 2))
    drawn = draw_skeleton(np.zeros((100, 100, 3), np.uint8), keypoints, np.ones((2, count)), in_openpose)
    assert drawn.any()


def test_colors_are_bgr_and_the_threshold_counts():
    image, keypoints, scores = np.zeros((40, 40, 3), np.uint8), np.full((17, 2), -100.0), np.zeros(17)
    keypoints[0], scores[0] = 20, 0.6
    blue, green, red = draw_skeleton(image, keypoints, scores, kpt_thr=0.5)[20, 20]
    assert (red, green, blue) == (51, 153, 255)  # the color of a nose
    assert not draw_skeleton(image, keypoints, scores, kpt_thr=0.7).any()


def test_drawing_nobody_and_unknown_skeletons():
    image = np.zeros((8, 8, 3), np.uint8)
    assert draw_skeleton(image, np.zeros((0, 17, 2)), np.zeros((0, 17))) is image
    with pytest.raises(InputError, match="5 keypoints"):
        draw_skeleton(image, np.zeros((1, 5, 2)), np.zeros((1, 5)), to_openpose=True)


def test_boxes_are_drawn_into_the_image():
    image = np.zeros((20, 20, 3), np.uint8)
    assert draw_bbox(image, [(4.6, 5, 12, 15)]) is image
    assert tuple(image[5, 8]) == (0, 255, 0)


def test_the_first_example_of_rtmlibs_readme(cache, image):
    openpose_skeleton = False
    wholebody = Body(to_openpose=openpose_skeleton, mode="balanced", backend="onnxruntime", device="cpu")
    keypoints, scores = wholebody(image)
    drawn = draw_skeleton(image, keypoints, scores, kpt_thr=0.5, to_openpose=openpose_skeleton)
    assert drawn.shape == image.shape


def test_what_pose2sim_imports_is_there():
    assert all(map(callable, (PoseTracker, BodyWithFeet, Wholebody, Body, Hand, Custom, Animal, draw_skeleton)))
    boxes = np.array([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]], np.float32)
    assert list(nms(boxes, np.array([0.5, 0.9, 0.7], np.float32), nms_thr=0.45)) == [1, 2]
