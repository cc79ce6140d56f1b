"""Streams of samples: what is in them follows from the seed and the position alone."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import hfpose
from coco_files import people_content, write_json, write_people
from hfpose.annotations import image_boxes, pose_instances, read_coco
from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.training.augmentation import (
    LATE_SHARE,
    DetectionAugmentation,
    FittedImages,
    PersonCrops,
    PoseAugmentation,
)
from hfpose.training.collators import DetectionCollator, PoseCollator
from hfpose.training.datasets import AnnotatedImages, AnnotatedPeople, SampleStream
from rendered_people.datasets import RenderedImages, RenderedPeople

COCO = load_schema("coco")


@pytest.fixture(scope="module")
def processor():
    return hfpose.RTMPoseImageProcessor(size={"height": 64, "width": 48})


@pytest.fixture
def people(tmp_path):
    return AnnotatedPeople(pose_instances(read_coco(write_people(tmp_path)), COCO))


def which(sample, rng, progress):
    """Make nothing of a sample, so that it can be recognized."""
    return {"box": sample.box, "progress": progress, "number": rng.random()}


def test_each_pass_shows_every_sample_once_in_an_order_of_its_own(people):
    stream = SampleStream(people, which, num_samples=24, seed=3)
    boxes = [(tuple(item["box"])) for item in (stream[position] for position in range(24))]
    orders = [[stream._index(position) for position in range(start, start + 8)] for start in (0, 8, 16)]
    assert [sorted(order) for order in orders] == [list(range(8))] * 3
    assert orders[0] != orders[1] != orders[2]
    assert len(boxes) == 24 and stream[23]["progress"] == pytest.approx(23 / 24)


def test_a_sample_follows_from_seed_and_position_alone(people):
    stream, again = (SampleStream(people, which, 24, seed=3) for _ in range(2))
    expected = [stream[position]["number"] for position in range(24)]
    assert [again[position]["number"] for position in reversed(range(24))] == expected[::-1]
    assert len(set(expected)) == 24
    assert SampleStream(people, which, 24, seed=4)[0]["number"] != expected[0]


def test_workers_change_nothing(people, processor):
    stream = SampleStream(people, PersonCrops(processor, COCO, PoseAugmentation()), 8)
    batches = [
        list(DataLoader(stream, batch_size=4, collate_fn=PoseCollator(processor), num_workers=workers))
        for workers in (0, 2)
    ]
    for alone, worked in zip(*batches, strict=True):
        for key in ("pixel_values", "labels", "keypoint_weights"):
            assert torch.equal(alone[key], worked[key])


def unblock(sample, rng, progress):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    return sample


@pytest.mark.parametrize(
    ("number", "make"), [(signal.SIGINT, which), (signal.SIGTERM, which), (signal.SIGTERM, unblock)]
)
def test_signals_to_all_processes_of_a_run_do_not_end_workers(people, number, make):
    batches = iter(DataLoader(SampleStream(people, make, 24), batch_size=None, num_workers=1, prefetch_factor=1))
    next(batches)
    code = f"import os; os.kill({batches._workers[0].pid}, {int(number)})"
    subprocess.run([sys.executable, "-c", code], check=True)  # not from the parent, which may end its workers
    assert len(list(batches)) == 23


def test_workers_that_stay_end_with_the_process_that_has_them(people):
    loader = DataLoader(SampleStream(people, which, 4), batch_size=None, num_workers=1, persistent_workers=True)
    assert len(list(loader)) == 4
    (worker,) = loader._iterator._workers
    worker.terminate()
    worker.join(20)
    assert not worker.is_alive()


def test_workers_get_what_they_work_on_where_processes_do_not_fork(people, processor):
    stream = SampleStream(people, PersonCrops(processor, COCO, PoseAugmentation()), 8)
    collator = PoseCollator(processor)
    stream_there, collator_there = pickle.loads(pickle.dumps((stream, collator)))
    expected, batch = collator([stream[3]]), collator_there([stream_there[3]])
    assert torch.equal(batch["pixel_values"], expected["pixel_values"])
    assert torch.equal(batch["labels"], expected["labels"])


def test_without_shuffling_the_order_is_that_of_the_file(people):
    stream = SampleStream(people, which, 8, shuffle=False)
    assert [stream._index(position) for position in range(10)] == [*range(8), 0, 1]


def test_an_image_that_cannot_be_read_is_told_once_and_replaced_by_the_next(people, tmp_path, caplog):
    (tmp_path / "1.png").write_bytes(b"no image")
    stream = SampleStream(people, which, 16, shuffle=False)
    items = [stream[position] for position in range(16)]
    assert len(items) == 16
    assert np.array_equal(items[2]["box"], people.instances.boxes[4])  # samples 2 and 3 are of the broken image
    assert len(caplog.messages) == 1
    assert "Left out of training" in caplog.messages[0] and "1.png" in caplog.messages[0]


def test_when_no_image_can_be_read_training_stops_with_an_error(people, tmp_path):
    for path in tmp_path.glob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match="in a row cannot be read"):
        SampleStream(people, which, 8)[0]


def test_batches_of_people_are_what_the_model_takes(people, processor):
    stream = SampleStream(people, PersonCrops(processor, COCO, None), 8, shuffle=False)
    batch = PoseCollator(processor)([stream[position] for position in range(3)])
    assert batch["pixel_values"].shape == (3, 3, 64, 48) and batch["pixel_values"].dtype == torch.float32
    assert batch["labels"].shape == (3, 17, 2) and batch["keypoint_weights"].shape == (3, 17)
    assert batch["keypoint_weights"][1].tolist() == [1, 0, *[1] * 15]
    image = hfpose.media.images.load_image(people.instances.images[0].path)
    expected = processor(image, boxes=[people.instances.boxes[:2]], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(batch["pixel_values"][:2], expected)


def test_the_last_part_of_a_run_has_the_later_augmentation(people, processor):
    still = PoseAugmentation(
        flip_probability=0, half_body_probability=0, scale_range=(1, 1), shift_probability=0, rotation_probability=0
    )
    make = PersonCrops(processor, COCO, PoseAugmentation(), still)
    sample = people.load(0, np.random.default_rng(0))
    plain = PersonCrops(processor, COCO, None)(sample, np.random.default_rng(0), 0)["keypoints"]
    late = make(sample, np.random.default_rng(0), 1 - LATE_SHARE + 1e-9)["keypoints"]
    early = make(sample, np.random.default_rng(0), 1 - LATE_SHARE - 1e-9)["keypoints"]
    np.testing.assert_allclose(late, plain, atol=1e-4)
    assert np.abs(early - plain).max() > 1


def test_batches_of_images_are_what_the_detector_takes(tmp_path):
    content = people_content(tmp_path)
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 2]
    coco = read_coco(write_json(tmp_path / "people.json", content))
    processor = hfpose.RTMDetImageProcessor(size={"height": 96, "width": 128})
    images = AnnotatedImages(image_boxes(coco, {1: 0}))
    stream = SampleStream(images, FittedImages(processor, DetectionAugmentation()), 4, shuffle=False)
    batch = DetectionCollator(processor)([stream[position] for position in range(4)])
    assert batch["pixel_values"].shape == (4, 3, 96, 128)
    assert [len(label["boxes"]) for label in batch["labels"]][1] == 0  # an image of nobody is a sample too
    assert batch["labels"][0]["class_labels"].tolist() == [0, 0]
    assert batch["labels"][0]["boxes"].dtype == torch.float32
    loss = hfpose.RTMDetForObjectDetection(
        hfpose.RTMDetConfig(depth_multiplier=0.167, width_multiplier=0.125, neck_size=16, num_labels=1)
    )(**batch).loss
    assert torch.isfinite(loss)


def test_rendered_people_come_in_pairs_from_scenes_of_the_given_seeds(processor):
    samples = RenderedPeople(range(100, 104), people_per_scene=2)
    assert len(samples) == 8
    rng = np.random.default_rng(0)
    first, second, third = (samples.load(index, rng) for index in range(3))
    assert first.image is second.image and first.image is not third.image
    assert first.keypoints.shape == (17, 2) and first.box.shape == (4,)
    crop = PersonCrops(processor, COCO, PoseAugmentation())(first, rng, 0.0)
    assert crop["image"].shape == (64, 48, 3) and crop["weights"].any()


def test_rendered_images_have_the_boxes_of_their_people():
    sample = RenderedImages(range(7, 9)).load(1, np.random.default_rng(0))
    assert len(sample.boxes) >= 1 and sample.labels.tolist() == [0] * len(sample.boxes)
    assert sample.image.dtype == np.uint8


def test_a_rendered_image_can_be_shown_several_times():
    samples = RenderedImages(range(7, 9), times=2)
    rng = np.random.default_rng(0)
    first, again, other = (samples.load(index, rng) for index in range(3))
    assert len(samples) == 4
    assert first.image is again.image and not np.array_equal(first.image, other.image)
