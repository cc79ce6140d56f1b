"""The script that trains the offline default's lifter, in miniature."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hfpose
import train_demo_lifter as demo_lifter
from circling_people import walking_world
from hfpose.hub.resolve import resolve
from hfpose.ops.boxes import pairwise_iou
from hfpose.pipelines.lifting_stage import Temporal, TemporalLifter
from hfpose.pipelines.stage import Stage, load_stage
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import PoseTracker
from rendered_people.camera import to_joint_frame
from rendered_people.motions import LiftingClips, PoseNoise, RandomMotions, Views, found_people
from train_demo import Recipe

FRAME_RATE = 25.0
IMAGE_SIZE = (320, 256)
FLESH = 0.06  # meters that a body reaches around its joints


@pytest.fixture
def tiny_recipe() -> Recipe:
    """The first recipe with the smallest model and shortest clips."""
    recipe = demo_lifter.short_recipe()
    torch.manual_seed(0)
    config = hfpose.MotionBertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, representation_size=8, max_frames=6
    )
    processor = recipe.stage.image_processor
    clips = LiftingClips(processor, views=1)
    return replace(
        recipe,
        stage=Stage(hfpose.MotionBertForPoseLifting(config), processor),
        samples=RandomMotions(demo_lifter.SHORT_SEEDS, 6, {6: 0.5, 3: 0.5}, per_batch=2),
        validation=RandomMotions(range(2), 6, {6: 1.0}, per_batch=2),
        make=clips,
        make_validation=clips,
        batch_size=2,
    )


def test_no_motion_is_used_for_two_purposes() -> None:
    short = demo_lifter.short_recipe()
    long = demo_lifter.long_recipe(short)
    ranges = [demo_lifter.TEST_SEEDS, short.validation.seeds, short.samples.seeds, long.samples.seeds]
    assert all(one.stop <= other.start for one, other in pairwise(ranges))
    assert long.validation.seeds == short.validation.seeds


def test_the_model_is_small_and_the_same_each_time() -> None:
    first, second = demo_lifter.short_recipe().stage.model, demo_lifter.short_recipe().stage.model
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))
    assert first.num_parameters() < 0.4e6


def test_batches_of_the_recipes_fit_the_model() -> None:
    short = demo_lifter.short_recipe()
    for recipe in (short, demo_lifter.long_recipe(short)):
        stream = recipe.stream(1)
        batch = recipe.collator([stream[index] for index in range(recipe.batch_size)])
        assert torch.isfinite(recipe.stage.model(**batch).loss)
        assert all(recipe.samples.frames % length == 0 for length in recipe.samples.lengths)


def test_the_second_run_goes_on_with_the_longest_clips() -> None:
    short = demo_lifter.short_recipe()
    long = demo_lifter.long_recipe(short)
    assert long.stage is short.stage and long.name != short.name
    assert max(long.samples.lengths) == long.samples.frames == short.stage.model.config.max_frames
    assert short.share + long.share == 1


def test_the_lifter_is_trained_written_and_measured(tiny_recipe, tmp_path, monkeypatch, capsys) -> None:
    longer = RandomMotions(demo_lifter.LONG_SEEDS, 6, {6: 1.0}, per_batch=2)
    monkeypatch.setattr(demo_lifter, "short_recipe", lambda: tiny_recipe)
    monkeypatch.setattr(demo_lifter, "long_recipe", lambda short: replace(short, name="long_clips", samples=longer))
    monkeypatch.setattr(demo_lifter, "TEST_SEEDS", range(2))
    monkeypatch.setattr(demo_lifter, "TEST_FRAMES", 8)
    monkeypatch.setattr(demo_lifter, "TEST_LEVELS", (0.01,))
    plan = {
        "num_steps": 2,
        "batch_size": 2,
        "seconds_per_step": 1.0,
        "save_steps": 2,
        "seconds": 0.0,
        "hardware": "a CPU",
    }
    for name, steps in (("short_clips", 2), ("long_clips", 3)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text(json.dumps(plan | {"num_steps": steps}))
    threads = torch.get_num_threads()
    demo_lifter.main(tmp_path, minutes=1, workers=0, threads=1, precision="float32", cpu=True)
    torch.set_num_threads(threads)
    folder = tmp_path / "demo3d"
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    card = (folder / "README.md").read_text()
    assert "4 motions of 27 frames, then 6 of 81, in" in card and "on a CPU" in card
    assert "- 2 motions, 2D noise of 1.0 %: 2D error" in card and "MPJPE frame" in card
    assert "2D error" in capsys.readouterr().out
    assert load_stage(folder, "lifter").image_processor.do_use_scores


def test_an_untrained_lifter_errs_by_as_much_as_people_are_tall(tiny_recipe) -> None:
    stage = Stage(tiny_recipe.stage.model.eval(), tiny_recipe.stage.image_processor)
    metrics = demo_lifter.measure(stage, PoseNoise(), range(2), 8)
    assert metrics["MPJPE"] > 200 and metrics["P-MPJPE"] <= metrics["N-MPJPE"] <= metrics["MPJPE"]
    assert 1 < metrics["2D error"] < 4


def test_no_result_of_the_lifter_is_a_mirror_image() -> None:
    for stage in (load_stage(resolve("demo3d"), "lifter"), demo_lifter.short_recipe().stage):
        assert stage.image_processor.axes == "world"
        assert not stage.image_processor.depth_points_away


@pytest.mark.parametrize(
    ("level", "share"), [(0.012, 0.8), (0.024, 0.75)]
)  # keypoints are off by 2.3 and 4.1 % of the box
def test_the_packaged_lifter_is_better_over_time_than_frame_by_frame(level: float, share: float) -> None:
    folder = resolve("demo3d")
    weights = folder / "model.safetensors"
    assert weights.stat().st_size < 0.9e6
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    metrics = demo_lifter.measure(load_stage(folder, "lifter"), PoseNoise(level=level), range(16), 81)
    assert metrics["MPJPE"] < 80  # millimeters
    assert metrics["MPJPE"] < share * metrics["MPJPE frame"]
    assert metrics["MPJVE"] < 0.3 * metrics["MPJVE frame"]


@pytest.fixture(scope="module")
def walk() -> Views:
    """600 frames of two people who cross again and again."""
    return seen_walk(600)


def seen_walk(num_frames: int) -> Views:
    """The two people of a walk as two clips without any error; boxes are around the whole body."""
    world = walking_world(0, IMAGE_SIZE, detail=1)
    views = []
    for index in range(num_frames):
        seen = world.crowd.pose(index / FRAME_RATE).shifted(world.places).seen_by(world.camera)
        coco, joints = world.crowd.coco_keypoints(seen), world.crowd.h36m_joints(seen)
        body = world.camera.project(np.concatenate((coco, joints), axis=1))
        flesh = FLESH * world.camera.focal / joints[:, :1, 2]
        boxes = np.concatenate((body.min(1) - flesh, body.max(1) + flesh), axis=-1)
        framed = to_joint_frame(joints)
        views.append((world.camera.project(coco), boxes, framed - framed[:, :1]))
    return Views(*(np.stack(each, axis=1) for each in zip(*views, strict=True)))


@dataclass(frozen=True)
class Found:
    """The M people of a walk that are found, over all frames.

    Args:
        frames, people, ids: (M,) which frame, which of the scene's people, and the identity that was given.
        errors: (M,) mean distance of keypoints to the truth in shares of the longer side of the box.
    """

    frames: np.ndarray
    people: np.ndarray
    ids: np.ndarray
    errors: np.ndarray


def who_is_found(outputs: Sequence[PoseOutput], truth: Views) -> Found:
    """Who is who: the nearest in the image, each person once, if keypoints are off by less than a third of the box."""
    rows = []
    for index, output in enumerate(outputs):
        assert output.track_ids is not None
        boxes, keypoints = truth.boxes[:, index], truth.keypoints[:, index]
        sizes = (boxes[:, 2:] - boxes[:, :2]).max(1)
        off = np.linalg.norm(output.keypoints[:, None] - keypoints, axis=-1).mean(-1) / sizes  # (N, people)
        while off.size and off.min() < 1 / 3:
            row, person = np.unravel_index(off.argmin(), off.shape)
            rows.append((index, person, output.track_ids[row], off[row, person]))
            off[row], off[:, person] = np.inf, np.inf
    frames, people, ids, errors = np.array(rows).T
    return Found(frames.astype(int), people.astype(int), ids.astype(int), errors)


def overlaps(walk: Views) -> np.ndarray:
    """How much the boxes of the two cover each other in each frame, (L,)."""
    return np.array([pairwise_iou(*boxes)[0, 0] for boxes in walk.boxes.transpose(1, 0, 2)[:, :, None]])


def noisy_outputs(walk: Views, level: float) -> list[PoseOutput]:
    """What is found of a walk with `PoseNoise`, with identities; who is behind somebody else is not found."""
    outputs = found_people(walk, PoseNoise(level=level), np.random.default_rng(0))
    depth_order = np.argsort([-walk.boxes[person, :, 3] for person in range(2)], axis=0)
    tracker = PoseTracker()
    tracked = []
    for output, overlap, (front, _) in zip(outputs, overlaps(walk), depth_order.T, strict=True):
        seen = output.select([0, 1] if overlap < 0.5 else [front])
        tracked.append(tracker.update(replace(seen, image_size=IMAGE_SIZE, track_ids=None)))
    return tracked


def mean_errors(stage: Stage, outputs: list[PoseOutput], walk: Views) -> dict[str, tuple[float, float]]:
    """MPJPE over time and frame by frame, and the mean error of velocities per frame, in meters."""
    found = who_is_found(outputs, walk)
    result = {}
    for temporal in get_args(Temporal):
        lifted = TemporalLifter(stage, temporal=temporal, batch_size=64).lift(outputs)
        errors = np.stack(
            [
                lifted[index].keypoints[lifted[index].track_ids == identity][0] - walk.joints[person, index]
                for index, person, identity in zip(found.frames, found.people, found.ids, strict=True)
            ]
        )
        steps = [np.diff(errors[found.people == person], axis=0) for person in range(2)]
        speeds = np.linalg.norm(np.concatenate(steps), axis=-1)
        result[temporal] = float(np.linalg.norm(errors, axis=-1).mean()), float(speeds.mean())
    return result


@pytest.fixture(scope="module")
def packaged() -> Stage:
    return load_stage(resolve("demo3d"), "lifter")


def assert_ids_survive(outputs: list[PoseOutput], walk: Views) -> None:
    found = who_is_found(outputs, walk)
    overlap = overlaps(walk)
    assert overlap.max() > 0.5  # they cross
    apart = overlap[found.frames] < 0.1
    ids = [set(found.ids[apart & (found.people == person)].tolist()) for person in range(2)]
    assert [len(each) for each in ids] == [1, 1] and ids[0] != ids[1]


@pytest.mark.parametrize(("level", "share"), [(0.012, 0.75), (0.024, 0.7)])
def test_a_long_walk_of_two_who_cross_is_lifted_better_over_time(
    level: float, share: float, walk: Views, packaged: Stage
) -> None:
    outputs = noisy_outputs(walk, level)
    assert_ids_survive(outputs, walk)
    errors = mean_errors(packaged, outputs, walk)
    assert errors["clip"][0] < 0.055  # meters
    assert errors["clip"][0] < share * errors["frame"][0]
    assert errors["clip"][1] < 0.25 * errors["frame"][1]


@pytest.mark.parametrize("frames", [150, pytest.param(600, marks=pytest.mark.slow)])
def test_a_rendered_walk_goes_through_the_whole_chain(frames: int, walk: Views, packaged: Stage) -> None:
    pipe = hfpose.pipeline("pose-estimation", model="demo")
    world = walking_world(0, IMAGE_SIZE, detail=1)
    images = [world.render(index / FRAME_RATE, index).image for index in range(frames)]
    outputs: list[PoseOutput] = [*pipe(images, track=True, batch_size=8)]
    found = who_is_found(outputs, walk)
    assert len(found.frames) > 0.85 * 2 * frames
    errors = mean_errors(packaged, outputs, walk)
    assert errors["clip"][0] < 0.07  # meters
    # The small pose model errs alike from frame to frame, so that time steadies the motion more than it corrects
    # poses.
    assert errors["clip"][0] < 0.9 * errors["frame"][0]
    assert errors["clip"][1] < 0.5 * errors["frame"][1]
