"""The 2D pipeline on images."""

from __future__ import annotations

import inspect
import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import hfpose
from clips import Camera
from hfpose.errors import InputError
from hfpose.media import sources
from hfpose.media.images import load_image
from hfpose.media.sources import open_source
from hfpose.media.video_writing import VideoFile
from library_threads import own_threads, wait_until

BOXES = [[40.0, 30.0, 120.0, 200.0], [150.0, 20.0, 260.0, 220.0], [10.5, 5.25, 90.0, 90.0]]


@pytest.fixture(scope="module")
def pipe(tiny_pose):
    """A pipeline that takes each image as one box."""
    return hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image")


@pytest.fixture(scope="module")
def people_pipe(tiny_pose, person_detector):
    """A pipeline with a real person detector."""
    return hfpose.pipeline("pose-estimation", model=tiny_pose, detector=person_detector)


def image(seed: int = 0, height: int = 240, width: int = 320) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_one_image_gives_one_output(pipe):
    output = pipe(image())
    assert output.keypoints.shape == (1, 17, 2)
    assert output.image_size == (320, 240)
    assert output.schema.name == "coco"
    np.testing.assert_array_equal(output.boxes, [[0, 0, 320, 240]])


def test_the_real_detector_finds_the_people_of_the_photographs(people_pipe, shared):
    expected = json.loads((shared / "weights" / "rtmdet_nano_person_folded.expected.json").read_text())
    for name, people in expected.items():
        output = people_pipe(shared / "images" / name)
        np.testing.assert_allclose(output.boxes, people["boxes"], atol=0.5)
        np.testing.assert_allclose(output.box_scores, people["scores"], atol=0.005)


def test_paths_pil_images_and_arrays_give_the_same(people_pipe, photo):
    from_path = people_pipe(str(photo))
    for same in (photo, Image.open(photo), load_image(photo)):
        np.testing.assert_array_equal(people_pipe(same).keypoints, from_path.keypoints)


def test_batching_changes_nothing(people_pipe, shared):
    names = ("coco_196141.jpg", "coco_785.jpg", "wflw_cheering.jpg", "ap10k_37516.jpg")
    images = [load_image(shared / "images" / name) for name in names]
    images = images + [image[:, ::-1].copy() for image in images]
    alone = [people_pipe(image) for image in images]
    assert sum(output.num_instances for output in alone) > 8
    together = list(people_pipe(images, batch_size=8))
    in_threes = list(people_pipe(images, batch_size=8, pose_batch_size=3))
    for one, two, three in zip(alone, together, in_threes, strict=True):
        for other in (two, three):
            np.testing.assert_allclose(other.boxes, one.boxes, atol=1e-3)
            np.testing.assert_allclose(other.keypoints, one.keypoints, atol=1e-3)
            np.testing.assert_allclose(other.keypoint_scores, one.keypoint_scores, atol=1e-4)


def test_a_cpu_takes_at_most_eight_crops_at_once(tiny_pose):
    model = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image").estimator.stage.model
    pipe = hfpose.pipeline("pose-estimation", model=model, detector="whole_image", device="cpu")  # runs it itself
    batches = []
    handle = model.register_forward_pre_hook(
        lambda module, args, kwargs: batches.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    pipe(image(), boxes=BOXES * 3)
    pipe(image(), boxes=BOXES * 3, pose_batch_size=9)
    handle.remove()
    assert batches == [8, 1, 9]


def test_results_come_in_order_and_lazily(pipe):
    seen = []

    def images():
        for seed in range(5):
            seen.append(seed)
            yield image(seed, height=100 + seed)

    outputs = pipe(images(), batch_size=2)
    assert seen == []
    assert [output.image_size[1] for output in outputs] == [100, 101, 102, 103, 104]


def test_an_empty_list_gives_nothing(pipe):
    assert list(pipe([])) == []


def test_nobody_in_the_image_means_no_people(people_pipe):
    output = people_pipe(np.full((200, 300, 3), 127, np.uint8))
    assert output.num_instances == 0
    assert output.keypoints.shape == (0, 17, 2)
    assert output.predictions == []
    assert output.error is None


def test_given_boxes_skip_the_detector(people_pipe):
    output = people_pipe(image(), boxes=BOXES)
    np.testing.assert_array_equal(output.boxes, np.float32(BOXES))
    np.testing.assert_array_equal(people_pipe(image(), boxes=[BOXES]).keypoints, output.keypoints)


def test_boxes_as_other_libraries_give_them(pipe):
    first = BOXES[:1]
    expected = pipe(image(), boxes=first)
    sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), first[0], strict=True))
    detections = [{"box": sides, "score": 0.9, "label": "person"}]
    by_processor = {"boxes": torch.tensor(first), "scores": torch.ones(1)}
    for boxes in (first[0], SimpleNamespace(xyxy=np.array(first)), by_processor, detections, expected):
        for output in (pipe(image(), boxes=boxes), *pipe([image(), image()], boxes=[boxes, boxes])):
            np.testing.assert_array_equal(output.keypoints, expected.keypoints)
    np.testing.assert_array_equal(pipe(image(), boxes=[by_processor]).keypoints, expected.keypoints)
    with pytest.raises(InputError, match=r"boxes\[:, :4\]"):
        pipe(image(), boxes=[[*first[0], 0.9]])
    with pytest.raises(InputError, match="A box is a dict with the keys 'bbox'"):
        pipe(image(), boxes=[{"bbox": first[0]}, {"bbox": first[0]}])
    for boxes in (True, {"bbox": first}, {1, 2}):
        for inputs in (image(), [image()]):
            with pytest.raises(InputError, match=r"boxes is .*; expected one list of boxes"):
                pipe(inputs, boxes=boxes)
    np.testing.assert_array_equal(pipe(image(), boxes=iter([first])).keypoints, expected.keypoints)


def test_boxes_for_several_images(pipe):
    outputs = list(pipe([image(1), image(2), image(3)], boxes=[BOXES[:1], [], BOXES], batch_size=3))
    assert [output.num_instances for output in outputs] == [1, 0, 3]
    np.testing.assert_allclose(outputs[2].keypoints, pipe(image(3), boxes=BOXES).keypoints, atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_boxes_for_some_of_the_images(people_pipe, tiny_pose, photo, batch_size):
    found = people_pipe(photo).boxes
    inputs = {"inputs": [image(1), photo, image(2)], "boxes": [BOXES, None, BOXES[:1]], "batch_size": batch_size}
    first, second, third = people_pipe(**inputs)
    np.testing.assert_allclose(second.boxes, found, atol=1e-3)
    assert [len(first), len(third)] == [3, 1]
    without_detector = hfpose.PoseEstimationPipeline(people_pipe.estimator.stage)
    first, second, third = without_detector(**inputs)
    assert [len(first), len(third)] == [3, 1]
    assert "No boxes were given for this image" in second.error


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_what_a_generator_gave_before_it_failed_is_kept(pipe, batch_size):
    def images():
        yield from (image(seed) for seed in range(3))
        raise RuntimeError("the camera is gone")

    outputs = []
    with pytest.raises(RuntimeError, match="the camera is gone"):
        outputs.extend(output for output in pipe(images(), batch_size=batch_size))
    assert [len(output) for output in outputs] == [1, 1, 1]


def test_boxes_for_the_wrong_number_of_images(pipe):
    with pytest.raises(InputError, match=r"boxes for 1 images, but there are 2"):
        pipe([image(), image()], boxes=[BOXES])
    with pytest.raises(InputError, match=r"boxes for 2 images, but one"):
        pipe(image(), boxes=[BOXES, BOXES])


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([float("nan"), 0, 10, 10], "finite"),
        ([0, 0, float("inf"), 10], "finite"),
        ([50, 10, 20, 40], "x1 < x2"),
        ([10, 40, 50, 10], "x1 < x2"),
        ([10, 10, 10, 50], "x1 < x2"),
        ([400, 10, 500, 50], "outside the image of 320x240"),
        ([-90, -90, -10, -10], "outside the image"),
        ([0.1, 0.2, 0.5, 1], "Multiply by its width and height, 320 and 240"),
        ([1, 2, 3], "shape"),
        (["a", "b", "c", "d"], "not numbers"),
    ],
)
def test_a_bad_box_is_explained(pipe, box, reason):
    with pytest.raises(InputError, match=reason):
        pipe(image(), boxes=[box])


def test_a_bad_box_does_not_stop_other_images(pipe, caplog):
    outputs = list(pipe([image(1), image(2)], boxes=[[[5, 5, 5, 9]], BOXES], batch_size=2))
    assert "x1 < x2" in outputs[0].error
    assert outputs[0].num_instances == 0
    assert outputs[1].num_instances == 3
    assert "x1 < x2" in caplog.text


def test_a_bad_image_does_not_stop_the_others(pipe, tmp_path, caplog):
    Image.fromarray(image()).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_text("no image")
    paths = [tmp_path / "good.png", tmp_path / "missing.png", tmp_path / "bad.jpg", tmp_path / "good.png"]
    outputs = list(pipe(paths, batch_size=2))
    assert [output.error is None for output in outputs] == [True, False, False, True]
    assert "missing.png" in outputs[1].error
    assert "missing.png" in caplog.text
    assert "bad.jpg" in caplog.text


def test_a_single_bad_image_raises(pipe, tmp_path):
    with pytest.raises(InputError, match=r"missing\.png"):
        pipe(tmp_path / "missing.png")


def test_keypoints_of_a_rotated_photograph_fit_what_a_viewer_shows(people_pipe, photo, tmp_path):
    upright = Image.open(photo)
    exif = upright.getexif()
    exif[0x0112] = 6  # the camera was held sideways: turn by 90 degrees clockwise to view
    rotated = tmp_path / "rotated.png"
    upright.rotate(90, expand=True).save(rotated, exif=exif)
    expected, output = people_pipe(load_image(photo)), people_pipe(rotated)
    assert output.image_size == expected.image_size == upright.size
    np.testing.assert_allclose(output.keypoints, expected.keypoints, atol=1e-3)


def test_an_image_of_one_pixel(pipe):
    output = pipe(np.zeros((1, 1, 3), np.uint8))
    assert np.isfinite(output.keypoints).all()


def test_without_a_detector_boxes_are_needed(tiny_pose):
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose)
    pipe = hfpose.PoseEstimationPipeline(model)
    with pytest.raises(InputError, match="has no detector"):
        pipe(image())
    assert pipe(image(), boxes=BOXES).num_instances == 3


def test_thresholds_select_boxes(people_pipe, photo):
    assert people_pipe(photo, box_threshold=0.8).num_instances == 2
    assert people_pipe(photo, box_threshold=0.06, nms_threshold=0.9).num_instances > 4


def test_flip_test_averages_over_the_mirrored_crop(pipe):
    plain, flipped = pipe(image(), boxes=BOXES), pipe(image(), boxes=BOXES, flip_test=True)
    assert not np.allclose(plain.keypoint_scores, flipped.keypoint_scores)


def test_visualization_draws_on_a_copy(pipe):
    pixels = image()
    output = pipe(pixels, return_visualization=True, keypoint_threshold=-100.0)
    assert output.visualization.shape == pixels.shape
    assert (output.visualization != pixels).any()
    assert (pipe(pixels, return_visualization=True, keypoint_threshold=1e9).visualization == pixels).all()


def test_predictions_are_plain_json(pipe):
    person = json.loads(json.dumps(pipe(image(), boxes=BOXES).predictions))[1]
    assert person["bbox"] == BOXES[1]
    assert len(person["keypoints"]) == len(person["keypoint_scores"]) == 17


def test_save_and_load_the_whole_pipeline(people_pipe, photo, tmp_path):
    people_pipe.save_pretrained(tmp_path / "pipeline")
    again = hfpose.pipeline("pose-estimation", model=tmp_path / "pipeline")
    np.testing.assert_array_equal(again(photo).keypoints, people_pipe(photo).keypoints)
    parts = hfpose.RTMPoseForPoseEstimation.from_pretrained(tmp_path / "pipeline" / "pose")
    assert parts.config.keypoint_schema["name"] == "coco"


def test_an_index_cannot_name_folders_elsewhere(people_pipe, tmp_path):
    people_pipe.save_pretrained(tmp_path / "pipeline")
    index = tmp_path / "pipeline" / "pose_pipeline.json"
    index.write_text(index.read_text().replace('"detector": "detector"', '"detector": "../../secret"'))
    with pytest.raises(hfpose.errors.CheckpointError, match="outside"):
        hfpose.PoseEstimationPipeline.from_pretrained(tmp_path / "pipeline")


@pytest.mark.parametrize("content", ["{", "[]", '{"pose": 3}', "[" * 100_000])
def test_a_broken_index_is_explained(pipe, tmp_path, content):
    folder = tmp_path / "pipeline"
    pipe.save_pretrained(folder)
    (folder / "pose_pipeline.json").write_text(content)
    with pytest.raises(hfpose.errors.ConfigError, match=r"pose_pipeline\.json"):
        hfpose.PoseEstimationPipeline.from_pretrained(folder)


def test_an_unknown_alias_suggests_near_names():
    with pytest.raises(hfpose.errors.UnknownModelError, match="human"):
        hfpose.pipeline("pose-estimation", model="humann")


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(ValueError, match="pose-estimation"):
        hfpose.pipeline("object-detection", model="human")


def test_detector_labels_by_name_and_by_id(people_pipe, photo):
    models = {"model": people_pipe.estimator.stage.model, "detector": people_pipe.detector.stage.model}
    by_name = hfpose.pipeline("pose-estimation", **models, detector_labels=["person"])
    by_id = hfpose.pipeline("pose-estimation", **models, detector_labels=[0])
    assert by_name(photo).num_instances == by_id(photo).num_instances == 4
    with pytest.raises(ValueError, match="no class 'zebra'"):
        hfpose.pipeline("pose-estimation", **models, detector_labels=["zebra"])


def test_a_checkpoint_beside_a_name_is_converted_once(tiny_pose, shared, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    options = {
        "model": tiny_pose,
        "detector": "configs/rtmdet/person/rtmdet_nano_320-8xb32_coco-person.py",
        "detector_weights": shared / "weights" / "rtmdet_nano_person_folded.pth",
    }
    assert hfpose.pipeline("pose-estimation", **options)(photo).num_instances == 4
    (folder,) = [path for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()]
    written = (folder / "model.safetensors").stat().st_mtime_ns
    hfpose.pipeline("pose-estimation", **options)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_weights_that_are_not_there(tiny_pose):
    with pytest.raises(hfpose.errors.CheckpointError, match=r"no checkpoint 'none\.pth'"):
        hfpose.pipeline("pose-estimation", model="human", weights="none.pth")


def test_a_pose_model_for_people_keeps_people_of_a_detector_of_many_classes(tiny_pose):
    labels = {0: "car", 1: "person", 2: "dog"}
    detector = hfpose.RTMDetForObjectDetection(
        hfpose.RTMDetConfig(depth_multiplier=0.167, width_multiplier=0.25, neck_size=32, id2label=labels)
    )
    detector.save_pretrained(tiny_pose.parent / "three-classes")
    hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tiny_pose.parent / "three-classes")
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector=tiny_pose.parent / "three-classes")
    assert pipe.detector.label_ids == [1]


def test_heatmaps_lie_where_the_keypoints_are(pipe):
    output = pipe(image(), boxes=BOXES, return_heatmaps=True)
    assert output.heatmaps.shape == (3, 17, 512, 384)  # SimCC: two bins for each pixel of the crop
    assert pipe(image(), boxes=BOXES).heatmaps is None
    peaks = output.heatmaps.reshape(3, 17, -1).argmax(-1)
    cells = np.stack((peaks % 384, peaks // 384), axis=-1)
    x1, y1, x2, y2 = output.heatmap_boxes.T[:, :, None]
    found = np.stack((x1 + cells[..., 0] / 384 * (x2 - x1), y1 + cells[..., 1] / 512 * (y2 - y1)), axis=-1)
    seen = output.keypoint_scores > 0
    assert seen.any()
    np.testing.assert_allclose(found[seen], output.keypoints[seen], atol=0.5)


def test_heatmaps_of_several_images_and_of_mirrored_crops(pipe):
    options = {"boxes": [BOXES[:1], [], BOXES], "return_heatmaps": True, "batch_size": 3}
    plain = list(pipe([image(1), image(2), image(3)], **options))
    assert [len(output.heatmaps) for output in plain] == [1, 0, 3]
    flipped = list(pipe([image(1), image(2), image(3)], **options, flip_test=True))
    assert np.abs(plain[2].heatmaps - flipped[2].heatmaps).max() > 0.01


def test_a_stream_may_take_images_without_people_whole(people_pipe, photo):
    gray = np.full((200, 300, 3), 127, np.uint8)
    (_, nobody), (_, people) = people_pipe.stream(open_source([gray, photo]), whole_image_fallback=True, batch_size=2)
    np.testing.assert_array_equal(nobody.boxes, [[0, 0, 300, 200]])
    assert nobody.box_scores == [1]
    assert people.num_instances == 4


def test_a_camera_that_is_lost_keeps_what_was_found(pipe):
    frames = [image(seed) for seed in range(3)]
    source = open_source("webcam", capture_factory=lambda number: Camera(frames, failure=OSError("unplugged")))
    results = list(pipe.stream(source, batch_size=2))
    assert [frame.frame_index for frame, _ in results] == [0, 1, 2, None]
    for (_, output), frame in zip(results, frames, strict=False):
        np.testing.assert_allclose(output.keypoints, pipe(frame).keypoints, atol=1e-3)
    assert "stopped after 3 frames" in results[-1][1].error


def test_tracking_gives_people_of_a_video_identities(people_pipe, shared):
    frames = list(people_pipe(shared / "videos" / "people.mp4", track=True))
    assert all(frame.track_ids is not None for frame in frames)
    ids = [set(frame.track_ids.tolist()) for frame in frames if frame.num_instances]
    assert ids[0] & ids[-1]
    assert "track_id" in frames[0].predictions[0]
    again = list(people_pipe([shared / "videos" / "people.mp4"] * 2, track="oks"))
    np.testing.assert_array_equal(again[0].track_ids, again[len(frames)].track_ids)


def test_smoothing_needs_identities_and_changes_later_frames(pipe):
    images = [image(seed) for seed in range(4)]
    with pytest.raises(InputError, match="track=True"):
        pipe(images, smooth=True)
    boxes = [[[40.0 + shift, 30.0, 140.0 + shift, 200.0]] for shift in (0, 3, 1, 4)]
    plain, smooth = (list(pipe(images, boxes=boxes, track=True, smooth=on)) for on in (False, True))
    np.testing.assert_array_equal(plain[0].keypoints, smooth[0].keypoints)
    assert np.abs(plain[3].keypoints - smooth[3].keypoints).max() > 0.1


def test_heatmaps_of_an_image_without_people(people_pipe):
    nobody = people_pipe(np.full((200, 300, 3), 127, np.uint8), return_heatmaps=True)
    assert nobody.heatmaps.shape[:2] == (0, 17)
    assert nobody.heatmap_boxes.shape == (0, 4)


def test_images_are_decoded_by_as_many_threads_as_asked(pipe, tmp_path, monkeypatch):
    threads = set()
    read = sources.load_image

    def load(*arguments, **options):
        threads.add(threading.current_thread().name)
        time.sleep(0.02)
        return read(*arguments, **options)

    monkeypatch.setattr(sources, "load_image", load)
    Image.fromarray(image()).save(tmp_path / "a.png")
    for count in (0, 1, 3):
        threads.clear()
        outputs = list(pipe([tmp_path / "a.png"] * 6, num_workers=count))
        assert [output.num_instances for output in outputs] == [1] * 6
        assert len(threads) == max(count, 1)
        assert (threading.main_thread().name in threads) is (count == 0)


# Stages side by side, as on an accelerator


@pytest.fixture
def overlapping(pipe, monkeypatch):
    """The pipeline as if its models were on an accelerator."""
    monkeypatch.setattr(type(pipe), "_overlaps", True)
    yield pipe
    wait_until(lambda: not own_threads())


def watch(monkeypatch, owner, method, note):
    """Calls `note` before every call of a method of one object."""
    original = getattr(owner, method)
    monkeypatch.setattr(owner, method, lambda *args, **kwargs: (note(), original(*args, **kwargs))[1])


def test_an_accelerator_is_kept_busy_and_a_cpu_is_left_alone(pipe, tiny_pose):
    assert not pipe._overlaps
    other = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image")
    other.estimator.stage.model.to("meta")
    other.refresh()
    assert other._overlaps
    other.estimator.stage.model._hf_hook = object()  # comes to its device by turns
    assert not other._overlaps


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_side_by_side_the_results_are_the_same(pipe, monkeypatch, capsys, batch_size):
    inputs = [image(seed) for seed in range(5)]
    inputs[2] = "missing.jpg"
    expected = list(pipe(inputs, batch_size=batch_size))
    monkeypatch.setattr(type(pipe), "_overlaps", True)
    for one, other in zip(expected, pipe(inputs, batch_size=batch_size), strict=True):
        assert one.error == other.error
        np.testing.assert_allclose(other.keypoints, one.keypoints, atol=1e-3)


def test_detector_pose_model_and_caller_work_at_the_same_time(overlapping, monkeypatch):
    all_three = threading.Barrier(3, timeout=10)
    steps = {"boxes": 0, "poses": 0}

    def reach(stage, step):
        """Waits for the two others: the detector at its third image, the pose model at its second."""
        steps[stage] += 1
        if steps[stage] == step:
            all_three.wait()

    watch(monkeypatch, overlapping, "_boxes", lambda: reach("boxes", 3))
    watch(monkeypatch, overlapping.estimator, "_estimate", lambda: reach("poses", 2))
    results = overlapping(image(seed) for seed in range(4))
    assert next(results).num_instances == 1
    all_three.wait()
    assert len(list(results)) == 3


def test_a_loop_that_is_left_early_ends_all_threads(overlapping):
    for output in overlapping(image(seed) for seed in range(1000)):
        assert output.num_instances == 1
        break


def test_an_error_in_a_network_reaches_the_caller(overlapping, monkeypatch):
    def fail():
        raise RuntimeError("out of memory")

    watch(monkeypatch, overlapping.estimator, "_estimate", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(overlapping([image(), image()]))


def test_boxes_that_may_depend_on_results_are_taken_one_by_one(overlapping):
    taken = []

    def one_by_one():
        for index in range(3):
            taken.append(index)
            yield BOXES[:1]

    results = overlapping(iter([image()] * 3), boxes=one_by_one())
    for number, output in enumerate(results, start=1):
        assert output.num_instances == 1 and len(taken) == number


def test_boxes_in_a_list_may_be_taken_ahead(overlapping, monkeypatch):
    threads = set()
    watch(monkeypatch, overlapping.estimator, "_estimate", lambda: threads.add(threading.current_thread().name))
    assert [output.num_instances for output in overlapping([image()] * 3, boxes=[BOXES, [], BOXES[:1]])] == [3, 0, 1]
    assert threads == {"hfpose-pose"}


def test_one_image_needs_no_thread(overlapping, monkeypatch):
    threads = []
    watch(monkeypatch, overlapping.estimator, "_estimate", lambda: threads.append(threading.current_thread()))
    assert overlapping(image()).num_instances == 1
    assert threads == [threading.current_thread()]


def test_a_list_gives_a_list_and_a_stream_an_iterator(pipe, tmp_path):
    images = [image(seed) for seed in range(2)]
    for several in (images, tuple(images), np.stack(images)):
        outputs = pipe(several)
        assert isinstance(outputs, list) and len(outputs) == 2
        assert outputs[1].image is not None
    Image.fromarray(image()).save(tmp_path / "a.png")
    for stream in (iter(images), tmp_path):
        assert not isinstance(pipe(stream), list)


@pytest.mark.parametrize("several", [False, True])
def test_the_threshold_of_a_call_is_that_of_drawing_its_result(pipe, photo, several):
    none_drawn = pipe([photo] if several else photo, keypoint_threshold=1e9)
    people = none_drawn[0] if several else none_drawn
    assert len(people) > 0
    plain = people.draw(keypoint_threshold=1e9)
    np.testing.assert_array_equal(people.draw(), plain)
    assert (people.draw(keypoint_threshold=-1e9) != plain).any()


def test_a_result_is_drawn_and_a_pipeline_described(pipe, photo):
    people = pipe(photo)
    assert people.draw().shape == people.image.shape
    assert repr(pipe).startswith(
        "PoseEstimationPipeline(detector='whole_image', pose=RTMPoseForPoseEstimation, schema="
    )


def test_options_are_named_where_a_call_is_described_and_where_one_is_wrong(pipe):
    assert "flip_test" in inspect.signature(pipe).parameters
    with pytest.raises(TypeError, match="Did you mean 'flip_test'"):
        pipe(image(), flip_tset=True)


def test_between_detections_people_are_followed(people_pipe, shared, tmp_path, monkeypatch):
    looked = []
    detector = type(people_pipe.detector)
    detect = detector.detections
    monkeypatch.setattr(detector, "detections", lambda *given: looked.append(1) or detect(*given))
    still = load_image(shared / "images" / "coco_785.jpg")
    monkeypatch.setattr(
        "hfpose.pipelines.base_pipeline.is_person_lost", lambda output: False
    )  # the weights are random
    clip = VideoFile(tmp_path / "clip.mp4", (still.shape[1], still.shape[0]))
    for _ in range(5):
        clip.write(still)
    clip.finish()
    results = list(people_pipe(tmp_path / "clip.mp4", detect_every=3))
    assert len(looked) == 2 and all(output.num_instances == results[0].num_instances for output in results)
    np.testing.assert_allclose(results[3].boxes, results[0].boxes, atol=5)
