"""The inferencers: each of MMPose's arguments by what it changes."""

from __future__ import annotations

import json
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import hfpose
from clips import Camera
from golden import Golden
from hfpose.compat.mmpose import (
    Hand3DInferencer,
    MMPoseInferencer,
    Pose2DInferencer,
    Pose3DInferencer,
    PoseDataSample,
    convert_keypoint_definition,
    extract_pose_sequence,
    inference_pose_lifter_model,
    init_model,
)
from hfpose.errors import ConfigError, InputError, UnknownModelError
from hfpose.hub.cache import models_dir
from small_models import small_lifter, small_model

BOXES = [[20.0, 10.0, 70.0, 100.0], [80.0, 20.0, 140.0, 110.0]]
ALL_KEYPOINTS = {"kpt_thr": -100.0}


def one(inferencer, inputs, **options):
    """The result for a single image: its instances, and its drawing if asked for."""
    (result,) = inferencer(inputs, **options)
    return result["predictions"][0], next(iter(result["visualization"]), None)


def drawn(inferencer, inputs, **options) -> np.ndarray:
    """The drawn image, with all keypoints whatever their scores."""
    return one(inferencer, inputs, return_vis=True, **{**ALL_KEYPOINTS, **options})[1]


def num_frames(video: Path) -> float:
    return cv2.VideoCapture(str(video), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT)


def keypoints(instances) -> np.ndarray:
    return np.array([instance["keypoints"] for instance in instances])


# Results


def test_the_result_has_mmposes_structure(inferencer, photo):
    (result,) = inferencer(str(photo))
    assert list(result) == ["visualization", "predictions"]
    assert result["visualization"] == []
    (people,) = result["predictions"]
    assert len(people) == 4
    for person in people:
        assert set(person) == {"keypoints", "keypoint_scores", "bbox", "bbox_score"}
        assert np.shape(person["keypoints"]) == (17, 2)
        assert np.shape(person["keypoint_scores"]) == (17,)
        assert isinstance(person["bbox"], tuple)
        assert np.shape(person["bbox"]) == (1, 4)
        assert isinstance(person["bbox_score"], float)


def test_results_that_are_not_merged_have_an_entry_for_each_person(inferencer, photo):
    (result,) = inferencer(str(photo), bboxes=[BOXES], merge_results=False)
    assert [len(entry) for entry in result["predictions"]] == [1, 1]
    (result,) = inferencer(str(photo), bboxes=[BOXES], merge_results=False, return_datasamples=True)
    assert [len(sample.pred_instances) for sample in result["predictions"]] == [1, 1]


def test_numbers_are_the_references_with_its_flip_test(shared, tmp_path):
    golden = Golden("pose2d", "rtmpose-m_8xb256-420e_body8-256x192")
    inferencer = MMPoseInferencer(
        golden.name, str(golden.write_checkpoint(tmp_path / "x.pth")), det_model="whole_image", device="cpu"
    )
    boxes = golden.arrays["e2e/boxes"]
    people, _ = one(inferencer, str(shared / "images" / golden.spec["image"]), bboxes=[boxes])
    np.testing.assert_allclose(keypoints(people), golden.arrays["e2e/flip_true/keypoints"], atol=0.05)


def test_calls_are_lazy(whole_image, noise):
    seen = []

    def images():
        for seed in range(4):
            seen.append(seed)
            yield noise(seed)

    results = whole_image(images())
    assert isinstance(results, types.GeneratorType)
    assert seen == []
    assert len(list(results)) == 4


def test_nobody_means_the_whole_image(inferencer):
    gray = np.full((100, 140, 3), 127, np.uint8)
    (person,), _ = one(inferencer, gray)
    assert person["bbox"] == ([0, 0, 140, 100],)
    assert person["bbox_score"] == 1


def test_a_bad_image_costs_its_own_result_only(whole_image, noise, tmp_path, caplog):
    Image.fromarray(noise()).save(tmp_path / "good.png")
    results = list(whole_image([str(tmp_path / "missing.png"), str(tmp_path / "good.png")], batch_size=2))
    assert [len(people) for people in results[0]["predictions"]] == [0, 1]
    assert "missing.png" in caplog.text
    with pytest.raises(InputError, match=r"missing\.png"):
        next(whole_image(str(tmp_path / "missing.png")))


# Inputs


def test_arrays_are_bgr(whole_image, photo):
    from_path, _ = one(whole_image, str(photo))
    from_array, _ = one(whole_image, cv2.imread(str(photo)))
    np.testing.assert_array_equal(keypoints(from_path), keypoints(from_array))
    swapped, _ = one(whole_image, cv2.imread(str(photo))[..., ::-1])
    assert not np.array_equal(keypoints(from_path), keypoints(swapped))


def test_lists_folders_stacks_and_generators(whole_image, noise, tmp_path):
    images = [noise(seed) for seed in range(3)]
    for seed, image in enumerate(images):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), image)
    (tmp_path / "notes.txt").write_text("no image")
    expected = [keypoints(one(whole_image, image)[0]) for image in images]
    inputs = (
        images,
        str(tmp_path),
        np.stack(images),
        iter(images),
        [str(tmp_path / f"{i}.png") for i in range(3)],
    )
    for same in inputs:
        found = [keypoints(result["predictions"][0]) for result in whole_image(same)]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_alpha_channel_is_dropped(whole_image, noise):
    with_alpha = np.concatenate([noise(), np.full((120, 160, 1), 9, np.uint8)], axis=2)
    np.testing.assert_array_equal(keypoints(one(whole_image, with_alpha)[0]), keypoints(one(whole_image, noise())[0]))


@pytest.fixture
def camera(monkeypatch, noise):
    """`cv2.VideoCapture` opens a camera with three images where it is given a number, and files as always."""
    real = cv2.VideoCapture
    images = [noise(seed) for seed in range(3)]
    monkeypatch.setattr(cv2, "VideoCapture", lambda what, *rest: real(what, *rest) if rest else Camera(images, 25.0))


def test_a_webcam_is_shown_by_default_and_its_loss_is_reported(whole_image, screen, camera, tmp_path, caplog):
    results = list(whole_image("webcam:1", out_dir=str(tmp_path), batch_size=4))
    assert [len(result["predictions"]) for result in results] == [1, 1, 1]
    assert len(screen.shown) == 3
    assert "stopped after 3 frames" in caplog.text
    frames = json.loads((tmp_path / "predictions" / "webcam.json").read_text())
    assert [frame["frame_id"] for frame in frames] == [0, 1, 2]
    assert num_frames(tmp_path / "visualizations" / "webcam.mp4") == 3


def test_escape_ends_a_webcam_and_keeps_its_files(whole_image, screen, camera, tmp_path):
    screen.keys = [-1, 27]
    assert len(list(whole_image("webcam", pred_out_dir=str(tmp_path)))) == 2
    assert len(json.loads((tmp_path / "webcam.json").read_text())) == 2


def test_a_webcam_may_be_used_without_a_screen(whole_image, camera, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert len(list(whole_image("webcam", show=False))) == 3


# Arguments of the constructor


def test_pose2d_and_det_model_are_names_or_folders(store, photo, whole_image):
    expected, _ = one(whole_image, str(photo))
    for name in (
        "human",
        "rtmpose-m_8xb256-420e_body8-256x192",
        "configs/x/rtmpose-m_8xb256-420e_body8-256x192.py",
        models_dir() / "rtmpose-m_8xb256-420e_body8-256x192",
    ):
        people, _ = one(MMPoseInferencer(name, det_model="whole_image", device="cpu"), str(photo))
        np.testing.assert_allclose(keypoints(people), keypoints(expected), atol=1e-4)
    for detector in ({"det_model": "human"}, {}):  # the second is the default
        assert len(one(MMPoseInferencer("human", device="cpu", **detector), str(photo))[0]) == 4
    with pytest.raises(UnknownModelError, match="human"):
        MMPoseInferencer("humann")


def test_without_a_model(store):
    with pytest.raises(InputError, match="pose2d"):
        MMPoseInferencer()


def test_pose2d_weights_of_a_model_of_ones_own(custom_model, noise, monkeypatch, tmp_path):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    config, checkpoint = custom_model
    inferencer = MMPoseInferencer(str(config), str(checkpoint), device="cpu")
    (person,), _ = one(inferencer, noise())
    assert np.shape(person["keypoints"]) == (3, 2)
    assert person["bbox"] == ([0, 0, 160, 120],)  # nothing tells which detector it needs


def test_pose3d_weights_of_a_lifter_of_ones_own(custom_lifter, custom_model, tiny_pose, noise, monkeypatch, tmp_path):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    options = {"pose3d": str(custom_lifter[0]), "pose3d_weights": str(custom_lifter[1]), "det_model": "whole_image"}
    people, _ = one(MMPoseInferencer(tiny_pose, device="cpu", **options), noise())
    assert keypoints(people).shape == (1, 17, 3)
    with pytest.raises(ConfigError, match="stick"):  # the 2D model that was given is the one that is used
        next(MMPoseInferencer(*map(str, custom_model), device="cpu", **options)(noise()))


def test_det_weights(tiny_pose, shared, photo, monkeypatch, tmp_path):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    inferencer = MMPoseInferencer(
        tiny_pose,
        det_model="demo/mmdetection_cfg/rtmdet_nano_320-8xb32_coco-person.py",
        det_weights=str(shared / "weights" / "rtmdet_nano_person_folded.pth"),
        device="cpu",
    )
    assert len(one(inferencer, str(photo))[0]) == 4


def test_det_cat_ids_select_classes(tiny_pose, person_detector, photo, tmp_path):
    from transformers import AutoModelForObjectDetection

    model = AutoModelForObjectDetection.from_pretrained(person_detector)
    model.config.id2label = {0: "horse"}
    model.save_pretrained(tmp_path)
    hfpose.RTMDetImageProcessor.from_pretrained(person_detector).save_pretrained(tmp_path)
    for kept in (0, (0,)):
        inferencer = MMPoseInferencer(tiny_pose, det_model=tmp_path, det_cat_ids=kept, device="cpu")
        assert inferencer.pipeline.detector.label_ids == [0]
    assert len(one(inferencer, str(photo))[0]) == 4
    with pytest.raises(ValueError, match="no class 3"):
        MMPoseInferencer(tiny_pose, det_model=tmp_path, det_cat_ids=[3])
    nothing = MMPoseInferencer(tiny_pose, det_model=tmp_path, det_cat_ids=[], device="cpu")
    assert len(one(nothing, str(photo))[0]) == 1  # the whole image


@pytest.mark.parametrize("name", ["whole_image", "whole-image"])
def test_det_model_whole_image(tiny_pose, photo, name):
    (person,), _ = one(MMPoseInferencer(tiny_pose, det_model=name, device="cpu"), str(photo))
    width, height = Image.open(photo).size
    assert person["bbox"] == ([0, 0, width, height],)


def test_device(tiny_pose):
    assert MMPoseInferencer(tiny_pose, det_model="whole_image", device="cpu").pipeline.device.type == "cpu"
    with pytest.raises(InputError, match="no device 'cuda:99'"):
        MMPoseInferencer(tiny_pose, det_model="whole_image", device="cuda:99")


def test_scope(tiny_pose):
    with pytest.raises(ConfigError, match="mmyolo"):
        MMPoseInferencer(tiny_pose, det_model="whole_image", scope="mmyolo")


def test_show_progress(tiny_pose, noise, capsys):
    for shows in (False, True):
        inferencer = MMPoseInferencer(tiny_pose, det_model="whole_image", device="cpu", show_progress=shows)
        list(inferencer([noise(0), noise(1)]))
        assert ("Inference" in capsys.readouterr().err) is shows


# Arguments of a call


def test_show_and_wait_time(whole_image, noise, screen):
    screen.keys = [-1, -1, 32]
    (result,) = whole_image(noise(), show=True, **ALL_KEYPOINTS)
    assert result["visualization"] == []
    ((_, shown),) = screen.shown
    np.testing.assert_array_equal(shown, drawn(whole_image, noise()))
    assert sum(screen.waits) > 100  # waited for the key
    assert screen.keys == []
    screen.waits.clear()
    list(whole_image(noise(), show=True, wait_time=0.08))
    assert 60 <= sum(screen.waits) <= 100


def test_show_without_a_screen_is_explained(whole_image, noise, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match="no screen"):
        whole_image(noise(), show=True)


def test_frames_of_a_video_do_not_wait(whole_image, write_clip, screen):
    list(whole_image(str(write_clip(num_frames=3)), show=True))
    assert len(screen.shown) == 3
    assert sum(screen.waits) < 20
    assert len({title for title, _ in screen.shown}) == 1


def test_radius_and_thickness(whole_image, noise):
    small = drawn(whole_image, noise(), radius=1, thickness=1)
    large = drawn(whole_image, noise(), radius=8, thickness=1)
    wide = drawn(whole_image, noise(), radius=1, thickness=7)
    rgb = noise()[..., ::-1]
    assert (small != rgb).sum() < (large != rgb).sum()
    assert (small != rgb).sum() < (wide != rgb).sum()
    default = drawn(whole_image, noise())
    np.testing.assert_array_equal(default, drawn(whole_image, noise(), radius=3, thickness=1))


def test_kpt_thr(whole_image, noise):
    rgb = noise()[..., ::-1]
    assert (drawn(whole_image, noise(), kpt_thr=-100) != rgb).any()
    np.testing.assert_array_equal(drawn(whole_image, noise(), kpt_thr=100), rgb)


def test_bbox_thr(inferencer, photo):
    assert len(one(inferencer, str(photo), bbox_thr=0.8)[0]) == 2


def test_nms_thr(inferencer, photo):
    counts = [len(one(inferencer, str(photo), bbox_thr=0.06, nms_thr=thr)[0]) for thr in (0.3, 0.9)]
    assert counts[0] < counts[1]


def test_one_stage_models_take_the_thresholds_of_boxes_too(noise):
    inferencer = MMPoseInferencer.from_pipeline(hfpose.PoseEstimationPipeline(*small_model("yolox_pose")))
    scores = [person["bbox_score"] for person in one(inferencer, noise(), bbox_thr=0)[0]]
    assert len(scores) > 1
    assert [person["bbox_score"] for person in one(inferencer, noise(), bbox_thr=scores[1])[0]] == scores[:1]
    assert len(one(inferencer, noise(), bbox_thr=0, nms_thr=1)[0]) > len(scores)
    assert len(one(inferencer, noise())[0]) == sum(score > 0.3 for score in scores)  # as for a detector


def test_bottom_up_models_have_thresholds_of_their_own(noise):
    inferencer = MMPoseInferencer.from_pipeline(hfpose.PoseEstimationPipeline(*small_model("dekr")))
    assert one(inferencer, noise(), bbox_thr=1) == one(inferencer, noise())


def test_pose_based_nms(whole_image, noise):
    twice = [[*BOXES[0], 0.5], [*BOXES[0], 0.9], [*BOXES[1], 0.7]]
    assert len(one(whole_image, noise(), bboxes=twice)[0]) == 3
    kept, _ = one(whole_image, noise(), bboxes=twice, pose_based_nms=True)
    assert [person["bbox_score"] for person in kept] == pytest.approx([0.9, 0.7])


def test_bboxes(inferencer, noise):
    for given in (BOXES, [BOXES], [np.array(BOXES)]):
        people, _ = one(inferencer, noise(), bboxes=given)
        assert [person["bbox"] for person in people] == [(box,) for box in BOXES]
    results = list(inferencer([noise(0), noise(1)], bboxes=[BOXES, []]))
    assert [len(result["predictions"][0]) for result in results] == [2, 1]  # no box means the whole image
    with pytest.raises(InputError, match="boxes for 1 images"):
        next(inferencer([noise(0), noise(1)], bboxes=[BOXES]))


def test_draw_bbox(whole_image, noise):
    plain, boxed = (drawn(whole_image, noise(), bboxes=BOXES, draw_bbox=on) for on in (False, True))
    x1, y1, x2, _ = map(int, BOXES[0])
    assert (boxed[y1, x1 : x2 + 1] == (0, 255, 0)).all()
    assert not (plain[y1, x1 : x2 + 1] == (0, 255, 0)).all(axis=-1).all()


def test_draw_heatmap(whole_image, noise, tiny_hrnet):
    hrnet = MMPoseInferencer(tiny_hrnet, det_model="whole_image", device="cpu")
    for inferencer in (whole_image, hrnet):
        plain, mapped = (drawn(inferencer, noise(), draw_heatmap=on) for on in (False, True))
        assert plain.shape == (120, 160, 3)
        assert mapped.shape == (240, 160, 3)
        np.testing.assert_array_equal(mapped[:120], plain)
        assert (mapped[120:] != noise()[..., ::-1]).any()


def test_black_background(whole_image, noise):
    rgb = noise()[..., ::-1]
    black = drawn(whole_image, noise(), black_background=True, kpt_thr=100)
    assert not black.any()
    on_black, on_image = (drawn(whole_image, noise(), black_background=on) for on in (True, False))
    painted = on_black.any(axis=-1)
    assert painted.any()
    assert (on_image[painted] != rgb[painted]).any()


def test_skeleton_style(whole_image, noise):
    styles = [drawn(whole_image, noise(), skeleton_style=style) for style in ("mmpose", "openpose")]
    assert (styles[0] != styles[1]).any()
    with pytest.raises(ConfigError, match="openpose"):
        whole_image(noise(), skeleton_style="pixar")


def test_return_vis_gives_rgb_images(whole_image, noise):
    image = noise()
    (result,) = whole_image(image, return_vis=True, kpt_thr=100)
    np.testing.assert_array_equal(result["visualization"][0], image[..., ::-1])


def test_vis_out_dir(whole_image, photo, noise, write_clip, tmp_path):
    list(whole_image(str(photo), vis_out_dir=str(tmp_path / "vis")))
    with Image.open(tmp_path / "vis" / f"{photo.stem}.jpg") as saved, Image.open(photo) as original:
        assert saved.size == original.size
    list(whole_image(str(photo), vis_out_dir=str(tmp_path / "one.png")))
    with Image.open(tmp_path / "one.png") as saved:
        np.testing.assert_array_equal(np.asarray(saved), one(whole_image, str(photo), return_vis=True)[1])
    list(whole_image(str(write_clip()), vis_out_dir=str(tmp_path / "vis")))
    assert num_frames(tmp_path / "vis" / "clip.mp4") == 5
    Image.fromarray(noise()).save(tmp_path / "drawn.PNG")
    list(whole_image(str(tmp_path / "drawn.PNG"), vis_out_dir=str(tmp_path / "vis")))
    assert (tmp_path / "vis" / "drawn.PNG").is_file()
    with pytest.raises(InputError, match="give a folder"):
        list(whole_image([noise(0), noise(1)], vis_out_dir=str(tmp_path / "two.jpg")))


def test_pred_out_dir(whole_image, photo, noise, write_clip, tmp_path):
    def read(name):
        return json.loads((tmp_path / f"{name}.json").read_text())

    people, _ = one(whole_image, str(photo), pred_out_dir=str(tmp_path))
    assert read(photo.stem) == json.loads(json.dumps(people))
    assert np.shape(read(photo.stem)[0]["bbox"]) == (1, 4)
    list(whole_image([noise(0), noise(1)], pred_out_dir=str(tmp_path)))  # arrays are named by their number
    assert read("000000") != read("000001")
    frames = [result["predictions"][0] for result in whole_image(str(write_clip()), pred_out_dir=str(tmp_path))]
    expected = [{"frame_id": i, "timestamp": i / 25, "instances": people} for i, people in enumerate(frames)]
    assert read("clip") == json.loads(json.dumps(expected))


def test_out_dir(whole_image, noise, tmp_path):
    list(whole_image(noise(), out_dir=str(tmp_path / "all")))
    assert (tmp_path / "all" / "visualizations" / "000000.jpg").is_file()
    assert (tmp_path / "all" / "predictions" / "000000.json").is_file()
    list(whole_image(noise(), out_dir=str(tmp_path / "some"), pred_out_dir=str(tmp_path / "else")))
    assert (tmp_path / "else" / "000000.json").is_file()
    assert not (tmp_path / "some" / "predictions").exists()


def test_an_empty_out_dir_is_none(whole_image, noise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one(whole_image, noise(), out_dir="")
    assert not list(tmp_path.iterdir())


def test_return_datasamples(inferencer, photo):
    people, _ = one(inferencer, str(photo))
    (result,) = inferencer(str(photo), return_datasamples=True)
    (sample,) = result["predictions"]
    assert isinstance(sample, PoseDataSample)
    np.testing.assert_allclose(sample.pred_instances.keypoints, keypoints(people), atol=1e-4)
    assert sample.pred_instances.bboxes.shape == (4, 4)
    assert sample.img_path == str(photo)
    width, height = Image.open(photo).size
    assert sample.ori_shape == (height, width)
    assert sample.input_size == (192, 256)
    np.testing.assert_allclose(sample.input_scale, sample.gt_instances.bbox_scales[0])
    assert sample.gt_instances.bbox_scales.shape == (4, 2)
    (mapped,) = next(inferencer(str(photo), return_datasamples=True, draw_heatmap=True))["predictions"]
    assert mapped.pred_fields.heatmaps.shape == (17, height, width)


def test_data_samples_of_videos_are_named_by_number(whole_image, write_clip):
    results = whole_image(str(write_clip(num_frames=2)), return_datasamples=True)
    assert [result["predictions"][0].img_path for result in results] == ["000000.jpg", "000001.jpg"]


def test_inputs_are_not_drawn_over(whole_image, noise, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    with pytest.raises(InputError, match="Give another folder"):
        list(whole_image(str(path), vis_out_dir=str(tmp_path)))


def test_data_samples_of_one_stage_models_tell_the_network_input(noise):
    inferencer = MMPoseInferencer.from_pipeline(hfpose.PoseEstimationPipeline(*small_model("rtmo")))
    (sample,) = next(inferencer(noise(), return_datasamples=True))["predictions"]
    assert sample.img_shape == sample.input_size == (64, 64)
    assert sample.ori_shape == (120, 160)
    np.testing.assert_array_equal(sample.input_center, [80, 60])
    np.testing.assert_array_equal(sample.input_scale, [160, 160])
    assert sample.gt_instances.keys() == []


def test_batch_size_batches(whole_image, noise, monkeypatch):
    sizes = []
    processor = whole_image.pipeline.estimator.stage.image_processor
    crop = processor.crop

    def counting(*arguments):
        crops = crop(*arguments)
        sizes.append(len(crops))
        return crops

    monkeypatch.setattr(processor, "crop", counting)
    images = [noise(seed) for seed in range(5)]
    results = list(whole_image(images, batch_size=3, return_vis=True))
    monkeypatch.undo()
    assert sizes == [3, 2]
    assert [len(result["predictions"]) for result in results] == [3, 2]
    assert [len(result["visualization"]) for result in results] == [3, 2]
    found = [people[0]["keypoint_scores"] for result in results for people in result["predictions"]]
    expected = [one(whole_image, image)[0][0]["keypoint_scores"] for image in images]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(InputError, match="1 or more"):
        whole_image(noise(), batch_size=0)


def test_detect_every(tiny_pose, person_detector, write_clip, monkeypatch):
    inferencer = MMPoseInferencer(str(tiny_pose), det_model=str(person_detector), device="cpu")
    monkeypatch.setattr("hfpose.pipelines.base_pipeline.is_person_lost", lambda output: False)  # noise has no people
    looked = []
    detector = type(inferencer.pipeline.detector)
    detect = detector.detections
    monkeypatch.setattr(detector, "detections", lambda *given: looked.append(1) or detect(*given))
    for every, times in ((1, 5), (3, 2)):
        looked.clear()
        list(inferencer(str(write_clip()), detect_every=every))
        assert len(looked) == times


def test_flip_test_as_the_image_processor_says(tiny_pose, noise, tmp_path):
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose)
    model.save_pretrained(tmp_path)
    hfpose.RTMPoseImageProcessor(flip_test=False).save_pretrained(tmp_path)
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image")
    for folder, flips in ((tiny_pose, True), (tmp_path, False)):
        inferencer = MMPoseInferencer(folder, det_model="whole_image", device="cpu")
        people, _ = one(inferencer, noise(), bboxes=BOXES)
        expected = pipe(np.ascontiguousarray(noise()[..., ::-1]), boxes=BOXES, flip_test=flips)
        np.testing.assert_allclose([p["keypoint_scores"] for p in people], expected.keypoint_scores, atol=1e-4)


def test_an_unknown_argument_suggests_a_near_one(whole_image, noise):
    with pytest.raises(TypeError, match="'kpt_thr'"):
        whole_image(noise(), kpt_thrs=0.5)


def test_old_names_of_mmposes_guide(whole_image, lifting, noise):
    (sample,) = next(whole_image(noise(), return_datasample=True))["predictions"]
    assert isinstance(sample, PoseDataSample)
    for old, new in (("rebase_keypoint_height", "disable_rebase_keypoint"), ("norm_pose_2d", "disable_norm_pose_2d")):
        for value in (False, True):
            expected = keypoints(one(lifting, noise(), bboxes=BOXES, **{new: not value})[0])
            assert keypoints(one(lifting, noise(), bboxes=BOXES, **{old: value})[0]).tolist() == expected.tolist()


def test_the_class_for_2d(tiny_pose, noise, whole_image):
    inferencer = Pose2DInferencer(tiny_pose, det_model="whole_image", device="cpu")
    assert keypoints(one(inferencer, noise())[0]).tolist() == keypoints(one(whole_image, noise())[0]).tolist()
    assert isinstance(whole_image.inferencer, Pose2DInferencer)


# 3D


@pytest.fixture(scope="module")
def lifting(tiny_pose, tiny_lifter):
    return MMPoseInferencer(tiny_pose, pose3d=tiny_lifter, det_model="whole_image", device="cpu")


@pytest.fixture(scope="module")
def hands(tiny_hands):
    return MMPoseInferencer(pose3d=tiny_hands, device="cpu")


def test_people_in_3d(lifting, noise):
    people, image = one(lifting, noise(), bboxes=BOXES, return_vis=True, num_instances=2)
    assert keypoints(people).shape == (2, 17, 3)
    assert [set(person) for person in people] == [{"keypoints", "keypoint_scores"}] * 2
    np.testing.assert_allclose(keypoints(people)[..., 2].min(axis=1), 0, atol=1e-6)
    assert image.shape[1] > 160  # the skeletons stand beside the image
    assert isinstance(lifting.inferencer, Pose3DInferencer)


def test_each_frame_is_lifted_alone_with_mirror_images(lifting, tiny_lifter, tiny_pose, write_clip):
    clip = str(write_clip())
    frames = [keypoints(result["predictions"][0]) for result in lifting(clip)]
    pipe = hfpose.pipeline("pose-estimation-3d", model=tiny_lifter, pose=tiny_pose, detector="whole_image")
    expected = pipe(clip, temporal="frame", flip_test=True, lifter_flip_test=True, axes="mmpose")
    np.testing.assert_allclose(frames, [output.keypoints for output in expected], atol=1e-4)


def test_disable_rebase_keypoint(lifting, hands, noise):
    rebased, raw = (one(lifting, noise(), disable_rebase_keypoint=off)[0] for off in (False, True))
    np.testing.assert_allclose(keypoints(raw)[:, 0], 0, atol=1e-6)  # relative to the pelvis
    assert not np.allclose(keypoints(rebased)[:, 0], 0)
    heights = [keypoints(one(hands, noise(), disable_rebase_keypoint=off)[0])[..., 2] for off in (False, True)]
    assert not np.allclose(*heights)


def test_the_root_of_a_temporal_convolution_stays_where_it_is_said(tiny_pose, tmp_path, noise):
    torch.manual_seed(0)
    config = hfpose.TemporalConvolutionConfig(hidden_size=8, kernel_sizes=(1,))
    hfpose.TemporalConvolutionForPoseLifting(config).save_pretrained(tmp_path)
    hfpose.TemporalConvolutionImageProcessor().save_pretrained(tmp_path)
    inferencer = MMPoseInferencer(tiny_pose, pose3d=tmp_path, det_model="whole_image", device="cpu")
    people, _ = one(inferencer, noise(), disable_rebase_keypoint=True)
    assert (np.abs(keypoints(people)[:, 0]) > 1e-6).all()


def test_disable_norm_pose_2d(lifting, noise):
    results = [keypoints(one(lifting, noise(), bboxes=BOXES, disable_norm_pose_2d=off)[0]) for off in (False, True)]
    assert not np.allclose(*results)


def test_num_instances(lifting, noise):
    widths = [
        one(lifting, noise(), bboxes=BOXES, num_instances=count, return_vis=True)[1].shape[1] for count in (1, 2, -1)
    ]
    images = [one(lifting, noise(), bboxes=BOXES, num_instances=n, return_vis=True)[1] for n in (1, 2, -1)]
    assert images[0].shape != images[1].shape or (images[0] != images[1]).any()
    assert widths[1] == widths[2]


def test_tracking_thr_and_use_oks_tracking(lifting, write_clip):
    """Identities are written on the skeletons: with a threshold that nothing reaches, everybody is new in each
    frame."""

    def images(**options):
        boxes = [[[x1 - 10 * (i % 2), y1, x2, y2] for x1, y1, x2, y2 in BOXES] for i in range(5)]
        results = lifting(str(write_clip()), bboxes=boxes, return_vis=True, num_instances=2, **options)
        return np.array([result["visualization"][0] for result in results])

    same, new = images(), images(tracking_thr=1.0)
    np.testing.assert_array_equal(same[0], new[0])
    assert (same[4] != new[4]).any()
    by_box, by_keypoints = (images(tracking_thr=0.5, use_oks_tracking=oks) for oks in (False, True))
    np.testing.assert_array_equal(by_box, same)
    assert (by_box[4] != by_keypoints[4]).any()  # keypoints change more than the boxes that they are found in


def test_identities_start_again_with_each_of_several_images(lifting, noise):
    """As in the reference, so the people of each image are in the order in which they were found."""
    images, boxes = [noise(0), noise(1)], [BOXES, BOXES[::-1]]
    for image, own, result in zip(images, boxes, lifting(images, bboxes=boxes), strict=True):
        alone, _ = one(lifting, image, bboxes=own)
        np.testing.assert_allclose(keypoints(result["predictions"][0]), keypoints(alone), atol=1e-5)


def test_hands_in_3d(hands, noise):
    people, image = one(hands, noise(), return_vis=True)
    assert keypoints(people).shape == (1, 42, 3)
    assert people[0]["bbox"] == ([0, 0, 160, 120],)
    assert image.shape[1] > 160
    two, _ = one(hands, noise(), bboxes=[[*BOXES[0], 0.5], [*BOXES[1], 0.25]])
    assert [person["bbox_score"] for person in two] == [0.5, 0.25]
    assert isinstance(hands.inferencer, Hand3DInferencer)


def test_the_classes_for_3d(tiny_pose, tiny_lifter, tiny_hands, lifting, hands, noise):
    people = Pose3DInferencer(tiny_lifter, pose2d_model=tiny_pose, det_model="whole_image", device="cpu")
    assert keypoints(one(people, noise())[0]).tolist() == keypoints(one(lifting, noise())[0]).tolist()
    pairs = Hand3DInferencer(tiny_hands, device="cpu")
    assert keypoints(one(pairs, noise())[0]).tolist() == keypoints(one(hands, noise())[0]).tolist()
    with pytest.raises(ConfigError, match="Hand3DInferencer"):
        Pose3DInferencer(tiny_hands, device="cpu")
    with pytest.raises(ConfigError, match="Pose2DInferencer"):
        Hand3DInferencer(tiny_pose, det_model="whole_image", device="cpu")


def test_convolutions_see_one_frame_of_a_video(tiny_pose, whole_image, write_clip, tmp_path):
    """As in the reference, which tells people of no two frames to be the same and so repeats the pose of the frame."""
    for part in small_lifter():
        part.save_pretrained(tmp_path / "lifter")
    clip = str(write_clip(num_frames=4))
    model = init_model(tmp_path / "lifter", device="cpu")
    frames = []
    for result in whole_image(clip, return_datasamples=True):
        (sample,) = result["predictions"]
        sample.track_id = 0
        sample.pred_instances.keypoints = convert_keypoint_definition(sample.pred_instances.keypoints, "coco", "h36m")
        frames.append([sample])
    inferencer = MMPoseInferencer(tiny_pose, pose3d=tmp_path / "lifter", det_model="whole_image", device="cpu")
    for number, result in enumerate(inferencer(clip, disable_rebase_keypoint=True)):
        sequence = extract_pose_sequence([frames[number]], 0, causal=False, seq_len=9)
        (lifted,) = inference_pose_lifter_model(model, sequence, image_size=(160, 120), norm_pose_2d=True)
        expected = lifted.pred_instances.keypoints[..., [0, 2, 1]] * [-1, 1, -1]
        np.testing.assert_allclose(keypoints(result["predictions"][0]), expected, atol=1e-4)


def test_2d_drawing_arguments_in_3d(lifting, noise):
    plain = drawn(lifting, noise(), bboxes=BOXES)
    for options in ({"radius": 9}, {"thickness": 5}, {"draw_bbox": True}, {"kpt_thr": 1e9}):
        assert (plain != drawn(lifting, noise(), bboxes=BOXES, **options)).any()


def test_names_in_3d(store, noise, tmp_path):
    for name in ("human3d", "motionbert_dstformer-ft-243frm_8xb32-120e_h36m", "vid_pl_motionbert_8xb32-120e_h36m"):
        people, _ = one(MMPoseInferencer(pose3d=name, device="cpu"), noise(), pred_out_dir=str(tmp_path))
        assert keypoints(people).shape == (1, 17, 3)
    assert np.shape(json.loads(Path(tmp_path / "000000.json").read_text())[0]["keypoints"]) == (17, 3)
    assert keypoints(one(MMPoseInferencer(pose3d="hand3d", device="cpu"), noise())[0]).shape == (1, 42, 3)


# What an inferencer holds


def test_the_parts_of_an_inferencer(inferencer, whole_image, photo):
    assert inferencer.model.dataset_meta["num_keypoints"] == 17
    assert inferencer.cfg is inferencer.model.cfg
    (found,) = inferencer.detector(str(photo))["predictions"]
    boxes = one(inferencer, str(photo))[0]
    assert len(boxes) == sum(score > 0.3 for score in found["scores"])
    assert whole_image.detector is None


def test_the_model_of_an_inferencer_may_be_changed(tiny_pose, noise):
    changed = MMPoseInferencer(tiny_pose, det_model="whole_image", device="cpu")
    with_flip = one(changed, noise())[0]
    changed.model.cfg.model.test_cfg.flip_test = False
    without = one(changed, noise())[0]
    assert with_flip[0]["keypoint_scores"] != without[0]["keypoint_scores"]


def test_the_visualizer_of_an_inferencer_may_be_changed(tiny_pose, noise):
    changed = MMPoseInferencer(tiny_pose, det_model="whole_image", device="cpu")
    changed.visualizer.bbox_color = "blue"
    boxed = drawn(changed, noise(), bboxes=BOXES, draw_bbox=True)
    assert (boxed == (0, 0, 255)).all(-1).sum() > 50


def test_the_config_of_a_zoo_model_is_known(store):
    inferencer = MMPoseInferencer("human", det_model="whole_image")
    assert inferencer.cfg.model.backbone.type == "CSPNeXt"
    lifter = MMPoseInferencer(pose3d="human3d").cfg.test_dataloader.dataset
    assert (lifter.seq_len, lifter.get("causal"), lifter.seq_step) == (1, False, 1)
