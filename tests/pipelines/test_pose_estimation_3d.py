"""The 3D pipelines for people and for hands."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import hfpose
from clips import write_frames
from hfpose.errors import ConfigError, InputError
from hfpose.hub import resolve as hub
from hfpose.media import video
from hfpose.media.sources import open_source
from hfpose.visualization import axis_limits_3d
from small_models import save_model

BOX = [[60.0, 40.0, 180.0, 220.0]]
BOXES = [*BOX, [170.0, 30.0, 300.0, 230.0]]


@pytest.fixture(scope="module")
def pipe(tiny_pose, tiny_lifter):
    return hfpose.pipeline("pose-estimation-3d", model=tiny_lifter, pose=tiny_pose, detector="whole_image")


@pytest.fixture(scope="module")
def hand_pipe(tmp_path_factory):
    """A small InterNet with random weights."""
    folder = save_model("internet", tmp_path_factory.mktemp("models") / "hands")
    return hfpose.pipeline("pose-estimation-3d", model=folder)


@pytest.fixture
def clip(tmp_path):
    """A video of 12 frames of noise."""
    return write_frames(tmp_path / "clip.mp4", (image(seed)[..., ::-1] for seed in range(12)))


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def test_an_image_is_lifted_alone(pipe):
    output = pipe(image(), boxes=BOXES)
    assert output.keypoints.shape == (2, 17, 3)
    assert output.keypoints_2d.shape == (2, 17, 2)
    assert output.schema.name == "h36m"
    assert output.keypoints[..., 2].min(axis=1) == pytest.approx([0, 0], abs=1e-6)
    relative = pipe(image(), boxes=BOXES, ground=None)
    np.testing.assert_allclose(relative.keypoints[:, 0], 0, atol=1e-6)
    camera = pipe(image(), boxes=BOXES, ground=None, axes="camera")
    np.testing.assert_allclose(camera.keypoints, -relative.keypoints[..., [0, 2, 1]], atol=1e-6)
    reference = pipe(image(), boxes=BOXES, ground=None, axes="mmpose")
    np.testing.assert_allclose(reference.keypoints, relative.keypoints * [1, -1, 1], atol=1e-6)
    assert [each.axes for each in (output, camera, reference)] == ["world", "camera", "mmpose"]


def test_a_3d_model_gives_a_3d_pipeline_for_either_task(tiny_pose, tiny_lifter):
    made = hfpose.pipeline("pose-estimation", model=tiny_lifter, pose=tiny_pose, detector="whole_image")
    assert isinstance(made, hfpose.PoseEstimation3DPipeline)
    from_2d = hfpose.pipeline("pose-estimation-3d", model=tiny_pose, lifter=tiny_lifter, detector="whole_image")
    np.testing.assert_array_equal(from_2d(image()).keypoints, made(image()).keypoints)


def test_a_lifter_that_comes_with_the_package_brings_its_2d_pipeline(tiny_pose, tiny_lifter, tmp_path, monkeypatch):
    hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image").save_pretrained(tmp_path / "demo")
    shutil.copytree(tiny_lifter, tmp_path / "demo3d")
    monkeypatch.setattr(hub, "PACKAGED_FOLDER", tmp_path)
    wanted = hfpose.pipeline("pose-estimation-3d", model=tiny_lifter, pose=tiny_pose, detector="whole_image")
    for arguments in ({"model": "demo3d"}, {"model": tmp_path / "demo", "lifter": "demo3d"}):
        made = hfpose.pipeline("pose-estimation-3d", **arguments)
        np.testing.assert_array_equal(made(image()).keypoints, wanted(image()).keypoints)


def test_what_goes_before_a_lifter_is_2d_and_may_get_another_detector(tiny_pose, tiny_lifter, pipe, tmp_path):
    hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image").save_pretrained(tmp_path / "people")
    made = hfpose.pipeline("pose-estimation-3d", model=tiny_lifter, pose=tmp_path / "people", detector="whole_image")
    np.testing.assert_array_equal(made(image()).keypoints, pipe(image()).keypoints)
    pipe.save_pretrained(tmp_path / "lifted")
    with pytest.raises(ConfigError, match="PoseEstimation3DPipeline; before a lifter"):
        hfpose.pipeline("pose-estimation-3d", model=tiny_lifter, pose=tmp_path / "lifted")


def test_stages_of_a_saved_3d_pipeline_are_replaceable(tiny_pose, tiny_lifter, person_detector, pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "lifted")
    with_detector = hfpose.pipeline(model=tmp_path / "lifted", detector=person_detector, detector_labels=["person"])
    assert with_detector.detector.label_ids is not None
    found = hfpose.pipeline("pose-estimation-3d", model=tiny_lifter, pose=tiny_pose, detector=person_detector)
    np.testing.assert_array_equal(with_detector(image()).boxes, found(image()).boxes)
    made = hfpose.pipeline(model=tmp_path / "lifted", pose=tiny_pose, lifter=tiny_lifter, detector="whole_image")
    np.testing.assert_array_equal(made(image()).keypoints, pipe(image()).keypoints)
    assert made.lifter is not pipe.lifter


def test_arguments_that_would_do_nothing_are_an_error(tiny_pose, tiny_lifter, person_detector, pipe, tmp_path):
    people = hfpose.pipeline("pose-estimation", model=tiny_pose, detector=person_detector)
    people.save_pretrained(tmp_path / "people")
    pipe.save_pretrained(tmp_path / "lifted")
    model, processor = people.estimator.stage.model, people.estimator.stage.image_processor
    for name, arguments in {
        "image_processor": {"model": tmp_path / "people", "image_processor": processor},
        "weights": {"model": model, "weights": "rtmpose.pth"},
        "pose": {"model": tiny_pose, "pose": tiny_pose},
        "pose and pose_weights": {"model": tmp_path / "people", "pose": tiny_pose, "pose_weights": "rtmpose.pth"},
        "pose_weights": {"model": tmp_path / "lifted", "pose_weights": "rtmpose.pth"},
        "detector_weights": {"model": tmp_path / "people", "detector_weights": "rtmdet.pth"},
    }.items():
        with pytest.raises(ConfigError, match=f"^Given {name}, but .* Leave (it|them) out"):
            hfpose.pipeline(**arguments)
    for detector in ("whole_image", people.detector.stage.model):
        with pytest.raises(ConfigError, match="Given detector_weights, but"):
            hfpose.pipeline(model=tiny_pose, detector=detector, detector_weights="rtmdet.pth")


@pytest.mark.parametrize("detector", ["whole_image", None])
def test_classes_of_no_detector_are_an_error(tiny_pose, tiny_lifter, pipe, tmp_path, detector):
    pipe.save_pretrained(tmp_path / "lifted")
    with pytest.raises(ConfigError, match="there is no detector"):
        hfpose.pipeline(model=tmp_path / "lifted", detector=detector, detector_labels=[0])


def test_a_video_is_lifted_as_a_whole(pipe, clip):
    over_time = list(pipe(clip, boxes=[BOXES] * 12))
    assert [output.frame_index for output in over_time] == list(range(12))
    assert all(output.num_instances == 2 for output in over_time)
    assert len({tuple(sorted(output.track_ids)) for output in over_time}) == 1
    by_frame = list(pipe(clip, boxes=[BOXES] * 12, temporal="frame"))
    with open_source(clip) as source:  # whose thread would go on until memory is tidied up
        alone = pipe(next(iter(source)).image, boxes=BOXES)
    np.testing.assert_allclose(by_frame[0].keypoints, alone.keypoints, atol=1e-5)
    assert not np.allclose(over_time[0].keypoints, by_frame[0].keypoints, atol=1e-3)


def test_people_who_are_missed_for_a_few_frames_are_interpolated_and_marked(pipe, clip):
    boxes = [BOXES] * 12
    boxes[5] = BOX
    outputs = list(pipe(clip, boxes=boxes))
    assert outputs[5].num_instances == 2
    assert outputs[5].interpolated.tolist() == [False, True]
    assert outputs[5].predictions[1]["interpolated"] is True
    assert not outputs[4].interpolated.any()
    assert list(pipe(clip, boxes=boxes, max_gap=0))[5].num_instances == 1


def test_people_who_come_late_into_a_stream_are_drawn(pipe, clip):
    boxes = [BOX] * 6 + [BOXES] * 6
    drawn = [output.visualization for output in pipe(clip, boxes=boxes, online=True, return_visualization=True)]
    height, width = drawn[0].shape[:2]
    assert {image.shape for image in drawn} == {(height, width, 3)}
    panels = [image[:, width - height :] for image in drawn]  # two lie one above the other, half as wide
    assert [bool((each[:, height // 2 :] == 255).all()) for each in panels] == [False] * 6 + [True] * 6


def test_online_results_come_with_the_frames(pipe, clip):
    read = []

    def frames():
        for frame in open_source(clip):
            read.append(frame.frame_index)
            yield frame.image

    outputs = pipe(frames(), boxes=iter([BOXES] * 12), online=True, lookahead=2)
    next(outputs)
    assert len(read) < 12 or read[-1] == 11  # frames are read ahead, results do not wait for the end
    rest = list(outputs)
    assert len(rest) == 11
    assert all(output.num_instances == 2 for output in rest)


def test_nobody_in_some_frames_and_nobody_at_all(pipe, clip):
    boxes = [[]] * 12
    assert [output.num_instances for output in pipe(clip, boxes=boxes)] == [0] * 12
    boxes = [[], *[BOX] * 3, *[[]] * 8]
    assert [output.num_instances for output in pipe(clip, boxes=boxes)] == [0, 1, 1, 1] + [0] * 8


def test_a_video_is_smoothed_without_lag_and_a_stream_frame_by_frame(pipe, clip):
    plain, smooth, stream = (
        list(pipe(clip, boxes=[BOX] * 12, **options))
        for options in ({}, {"smooth": True, "smooth_cutoff": 2}, {"smooth": True, "online": True})
    )
    assert not np.allclose(plain[0].keypoints, smooth[0].keypoints)  # it sees what comes
    steps, smooth_steps = (
        np.diff([output.keypoints for output in outputs], axis=0).std() for outputs in (plain, smooth)
    )
    assert smooth_steps < 0.5 * steps
    first = next(iter(pipe(clip, boxes=[BOX] * 12, online=True)))
    np.testing.assert_array_equal(first.keypoints, stream[0].keypoints)
    with pytest.raises(InputError, match="smooth_cutoff"):
        pipe(clip, smooth=True, smooth_cutoff=0)


def test_visualization_is_the_image_with_the_skeletons_beside_it(pipe, clip):
    frames = list(pipe(clip, boxes=[BOXES] * 12, return_visualization=True, keypoint_threshold=-1e9))
    assert {frame.visualization.shape for frame in frames} == {frames[0].visualization.shape}
    height, width = frames[0].visualization.shape[:2]
    assert (height, width > 320) == (240, True)
    one = list(pipe(clip, boxes=[BOXES] * 12, return_visualization=True, num_instances=1))
    assert one[0].visualization.shape[1] >= width // 2


def test_axes_hold_what_is_drawn_whatever_its_score(pipe, clip):
    outputs = list(pipe(clip, boxes=[BOX] * 12, return_visualization=True, keypoint_threshold=-1e9))
    limits = axis_limits_3d(outputs, keypoint_threshold=-1e9)
    expected = outputs[5].draw(keypoint_threshold=-1e9, axis_limits=limits)
    np.testing.assert_array_equal(outputs[5].visualization, expected)


def test_bad_input_among_others(pipe, tmp_path, caplog):
    outputs = list(pipe([image(), tmp_path / "missing.jpg", image()]))
    assert [output.error is None for output in outputs] == [True, False, True]
    assert "missing.jpg" in caplog.text
    with pytest.raises(InputError, match=r"missing\.jpg"):
        pipe(tmp_path / "missing.jpg")


def test_settings_without_sense_are_refused_at_once(pipe):
    with pytest.raises(InputError, match="lookahead"):
        pipe([image()], lookahead=9)
    with pytest.raises(InputError, match="temporal"):
        pipe([image()], temporal="month")


def test_save_and_load(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "pipeline")
    again = hfpose.pipeline("pose-estimation-3d", model=tmp_path / "pipeline")
    assert isinstance(again, hfpose.PoseEstimation3DPipeline)
    np.testing.assert_array_equal(again(image()).keypoints, pipe(image()).keypoints)
    hfpose.PoseEstimationPipeline.from_pretrained(tmp_path / "pipeline").save_pretrained(tmp_path / "flat")
    with pytest.raises(hfpose.errors.ConfigError, match="without a lifter"):
        hfpose.PoseEstimation3DPipeline.from_pretrained(tmp_path / "flat")


def test_hands_take_the_whole_image(hand_pipe):
    output = hand_pipe(image())
    assert output.keypoints.shape == (1, 42, 3)
    assert output.keypoints_2d.shape == (1, 42, 2)
    assert output.hand_types.shape == (1, 2)
    assert output.schema.name == "interhand3d"
    np.testing.assert_array_equal(output.boxes, [[0, 0, 320, 240]])


def test_hands_in_given_boxes_and_drawn(hand_pipe):
    output = hand_pipe(image(), boxes=BOXES, return_visualization=True, keypoint_threshold=-1)
    assert output.num_instances == 2
    assert output.visualization.shape[1] > 320
    plain = hand_pipe(image(), boxes=BOXES, axes="camera")
    np.testing.assert_allclose(plain.keypoints[..., 1], plain.keypoints_2d[..., 1])


def test_hands_save_and_load(hand_pipe, tmp_path):
    hand_pipe.save_pretrained(tmp_path / "pipeline")
    again = hfpose.pipeline("pose-estimation", model=tmp_path / "pipeline")
    assert isinstance(again, hfpose.HandPose3DPipeline)
    np.testing.assert_array_equal(again(image()).keypoints, hand_pipe(image()).keypoints)


def test_nothing_goes_before_or_after_a_model_of_hands(hand_pipe, tiny_pose, tiny_lifter, tmp_path):
    hand_pipe.save_pretrained(tmp_path / "pipeline")
    for model in (hand_pipe.estimator.stage.model, tmp_path / "pipeline"):
        for arguments in ({"pose": tiny_pose}, {"lifter": tiny_lifter}):
            with pytest.raises(ConfigError, match=f"^Given {next(iter(arguments))}, but .* Leave it out"):
                hfpose.pipeline("pose-estimation-3d", model=model, **arguments)


def test_no_hands(hand_pipe):
    output, found = hand_pipe(image(), boxes=[]), hand_pipe(image())
    assert output.keypoints.shape == (0, 42, 3)
    assert (output.axes, output.units) == (found.axes, found.units)


def test_a_real_clip(tiny_pose, tiny_lifter, person_detector, shared):
    pipe = hfpose.pipeline("pose-estimation-3d", model=tiny_lifter, pose=tiny_pose, detector=person_detector)
    outputs = list(pipe(shared / "videos" / "people.mp4"))
    assert len(outputs) == 5
    assert any(output.num_instances for output in outputs)


def test_calls_take_what_they_take_in_2d(pipe, clip, hand_pipe):
    outputs = list(pipe(clip, boxes=[BOXES] * 12, track="iou", num_workers=0, batch_size=4, pose_batch_size=3))
    assert outputs[3].track_ids.tolist() == [0, 1]
    untracked = list(pipe(clip, boxes=[BOXES] * 12, track=False))
    assert untracked[0].track_ids is None
    by_frame = list(pipe(clip, boxes=[BOXES] * 12, temporal="frame"))
    np.testing.assert_allclose(untracked[5].keypoints, by_frame[5].keypoints, atol=1e-5)
    with pytest.raises(InputError, match="track=True"):
        pipe(clip, track=False, smooth=True)
    hands = hand_pipe([image(), image()], boxes=[BOX, BOX], track=True, smooth=True, num_workers=0)
    assert [output.track_ids.tolist() for output in hands] == [[0], [0]]


def test_images_that_are_tracked_are_lifted_as_a_clip(pipe):
    images = [image(seed) for seed in range(4)]
    alone, tracked = (pipe(images, boxes=[BOX] * 4, track=track) for track in (None, True))
    assert tracked[0].track_ids.tolist() == [0]
    assert not np.allclose(alone[1].keypoints, tracked[1].keypoints, atol=1e-3)


def test_a_drawn_video_is_decoded_once(pipe, clip, monkeypatch):
    opened = []
    read = video.open_video
    monkeypatch.setattr(
        video, "open_video", lambda *arguments, **options: opened.append(1) or read(*arguments, **options)
    )
    frames = list(pipe(clip, boxes=iter([BOX] * 12), return_visualization=True))
    assert len(opened) == 1 and frames[11].visualization is not None


def test_the_image_processor_of_a_2d_model_is_kept_before_a_lifter(tiny_pose, tiny_lifter):
    own = hfpose.RTMPoseImageProcessor(box_padding=1.5)
    pipe = hfpose.pipeline(
        "pose-estimation-3d", model=tiny_pose, image_processor=own, lifter=tiny_lifter, detector="whole_image"
    )
    assert pipe.estimator.stage.image_processor is own
