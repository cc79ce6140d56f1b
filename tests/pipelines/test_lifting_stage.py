from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clips_to_lift import frame, frames_of, online, poses, walk
from golden import Golden
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError, InputError
from hfpose.hub.zoo import get_entry
from hfpose.keypoints import load_schema
from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.image_processing_motionbert import MotionBertImageProcessor
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting
from hfpose.models.motionbert.online_motionbert import OnlineMotionBert
from hfpose.pipelines.lifting_stage import TemporalLifter
from hfpose.pipelines.online_lifting import OnlineLifter
from hfpose.pipelines.stage import Stage
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import PoseTracker
from walking import IMAGE_SIZE, crossing_walkers

# How the reference leaves its results before its inferencer turns them upright.
AS_DECODED = {"axes": "camera"}
MAX_FRAMES = 27


def small_stage(max_frames: int = MAX_FRAMES, std: float = 0.15) -> Stage:
    """A lifter with random weights, of which frames see each other."""
    torch.manual_seed(0)
    config = MotionBertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, representation_size=16, max_frames=max_frames
    )
    model = MotionBertForPoseLifting(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return Stage(model, MotionBertImageProcessor())


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are slower with several threads than with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def stage() -> Stage:
    return small_stage()


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("pose3d", "motionbert_dstformer-ft-243frm_8xb32-120e_h36m")


@pytest.fixture(scope="module")
def seeded_stage(golden: Golden) -> Stage:
    source = ModelSource.from_entry(get_entry(golden.name))
    model = build_model(source, golden.state_dict(), golden.name).eval()
    return Stage(model, source.conversion.image_processor_from_reference(source.reference))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("temporal", ["frame", "clip"])
def test_single_frame_is_lifted_as_by_the_reference(
    temporal: Any, norm: bool, flip: bool, seeded_stage: Stage, golden: Golden
) -> None:
    """Frame by frame that is each frame of the track; as a clip it holds for an image by itself."""
    track = [
        PoseOutput(
            keypoints=keypoints[None],
            keypoint_scores=np.ones((1, 17)),
            boxes=box[None],
            track_ids=[0],
            schema=load_schema("h36m"),
            image_size=(640, 480),
        )
        for keypoints, box in zip(golden.arrays["lift/keypoints2d"], golden.arrays["lift/bboxes"], strict=True)
    ]
    lifter = TemporalLifter(seeded_stage, temporal=temporal, flip_test=flip, do_normalize_boxes=norm, **AS_DECODED)
    lifted = lifter.lift(track[3:6])[1] if temporal == "frame" else lifter.lift(track[4:5])[0]
    expected = golden.arrays[f"lift_frame4/norm_{str(norm).lower()}_flip_{str(flip).lower()}"]
    assert np.abs(lifted.keypoints - expected[0]).max() < 1e-4 * expected.std()


def test_clip_is_lifted_as_by_the_reference(seeded_stage: Stage, golden: Golden) -> None:
    track = [
        PoseOutput(
            keypoints=keypoints[None],
            keypoint_scores=np.ones((1, 17)),
            track_ids=[0],
            schema=load_schema("h36m"),
            image_size=(640, 480),
        )
        for keypoints in golden.arrays["lift/keypoints2d"]
    ]
    lifted = TemporalLifter(seeded_stage, do_normalize_boxes=False, **AS_DECODED).lift(track)
    np.testing.assert_allclose(poses(lifted), golden.arrays["codec/decoded"], rtol=0, atol=1e-4)


def test_clip_of_a_window_is_what_the_model_says_of_it() -> None:
    stage = small_stage(243)
    person = walk(243)
    lifted = TemporalLifter(stage, box_smoothing=0).lift(frames_of(person))
    inputs = stage.image_processor(person, IMAGE_SIZE, schema="coco", return_tensors="pt")
    with torch.no_grad():
        expected = stage.image_processor.post_process_pose_lifting(
            stage.model(**inputs), IMAGE_SIZE, do_rebase_height=False
        )[0]
    np.testing.assert_allclose(poses(lifted), expected, rtol=0, atol=1e-5)


def test_windows_do_not_change_what_does_not_depend_on_them() -> None:
    """A model that looks at each frame by itself says the same with windows and without."""
    stage = small_stage()
    for name, parameter in stage.model.named_parameters():
        if "temporal_embeddings" in name or "temporal.attention.output" in name:
            torch.nn.init.zeros_(parameter)
    frames = frames_of(walk(60), walk(60, (800, 500), phase=1.0))
    expected = TemporalLifter(stage, temporal="frame").lift(frames)
    for window, overlap in ((27, 9), (27, 20), (20, 0), (7, 3)):
        blended = TemporalLifter(stage, window=window, overlap=overlap, box_smoothing=0).lift(frames)
        for person in range(2):
            np.testing.assert_allclose(poses(blended, person), poses(expected, person), rtol=0, atol=1e-5)


def seams_and_motion(lifter: TemporalLifter, frames: list[PoseOutput]) -> tuple[float, float]:
    """Greatest jump that windows add to a step of the motion, and the median step.

    The steps that the windows see by themselves, averaged with their weights, are the motion; what the blended poses
    do beyond that comes from passing from one window to the next.
    """
    blended = poses(lifter.lift(frames))
    spans = lifter._spans(len(frames))
    assert len(spans) > 2
    expected = np.zeros((len(frames) - 1, 17, 3))
    weight = np.zeros((len(frames) - 1, 1, 1))
    for start, end, weights in spans:
        steps = np.diff(poses(lifter.lift(frames[start:end])), axis=0)
        share = ((weights[1:] + weights[:-1]) / 2)[:, None, None]
        expected[start : end - 1] += share * steps
        weight[start : end - 1] += share
    jumps = np.linalg.norm(np.diff(blended, axis=0) - expected / np.maximum(weight, 1e-9), axis=-1).mean(-1)
    motion = np.linalg.norm(np.diff(blended, axis=0), axis=-1).mean(-1)
    return float(jumps.max()), float(np.median(motion))


def test_seams_are_smaller_than_the_motion(stage: Stage) -> None:
    lifter = TemporalLifter(stage, box_smoothing=0)
    jump, motion = seams_and_motion(lifter, frames_of(walk(4 * MAX_FRAMES)))
    assert 0 < jump < motion


def test_windows_that_only_abut_show_their_seams() -> None:
    stage = small_stage()
    with torch.no_grad():  # poses that drift from the beginning of a window to its end
        drift = torch.linspace(-0.2, 0.2, MAX_FRAMES)[:, None] * torch.randn(16)
        stage.model.backbone.embeddings.temporal_embeddings.copy_(drift[None, :, None])
    frames = frames_of(walk(4 * MAX_FRAMES))
    blended, cut = (
        seams_and_motion(TemporalLifter(stage, overlap=overlap, box_smoothing=0), frames)[0] for overlap in (None, 0)
    )
    assert blended < 0.2 * cut


def test_frames_see_each_other(stage: Stage) -> None:
    person = walk(20)
    before = poses(TemporalLifter(stage).lift(frames_of(person)))
    person[19] += 50
    after = poses(TemporalLifter(stage).lift(frames_of(person)))
    assert np.abs(after[0] - before[0]).max() > 1e-4


def test_people_and_batches_do_not_change_each_other(stage: Stage) -> None:
    people = [walk(n, (200 + 300 * i, 400), phase=i) for i, n in enumerate((40, 40, 40))]
    missing = [(1, t) for t in range(15, 40)] + [(2, t) for t in range(5)]
    alone = [
        poses(
            TemporalLifter(stage).lift(
                frames_of(*people, missing=missing + [(j, t) for j in range(3) if j != i for t in range(40)])
            ),
            i,
        )
        for i in range(3)
    ]
    for batch_size in (1, 2, 8):
        together = TemporalLifter(stage, batch_size=batch_size).lift(frames_of(*people, missing=missing))
        for i in range(3):
            np.testing.assert_allclose(poses(together, i), alone[i], rtol=0, atol=1e-5)


def test_short_gap_is_interpolated_and_marked(stage: Stage) -> None:
    person = walk(12)
    frames = frames_of(person, missing=[(0, t) for t in (5, 6, 7)])
    lifted = TemporalLifter(stage, max_gap=3).lift(frames)
    assert [each.interpolated.tolist() for each in lifted] == [[5 <= t <= 7] for t in range(12)]
    assert all(each.track_ids.tolist() == [0] for each in lifted)
    # The person walks 2 pixels a frame, and the middle of the gap is the middle of its ends.
    middle = (lifted[4].keypoints_2d + lifted[8].keypoints_2d) / 2
    np.testing.assert_allclose(lifted[6].keypoints_2d, middle, rtol=1e-5)
    assert np.isfinite(poses(lifted)).all()


def test_long_gap_splits_the_clip(stage: Stage) -> None:
    person = walk(16)
    missing = [(0, t) for t in (5, 6, 7, 8)]
    lifted = TemporalLifter(stage, max_gap=3).lift(frames_of(person, missing=missing))
    assert [each.num_instances for each in lifted] == [1] * 5 + [0] * 4 + [1] * 7
    assert not any(each.interpolated.any() for each in lifted)
    first_alone = TemporalLifter(stage).lift(frames_of(person[:5]))
    np.testing.assert_allclose(poses(lifted[:5]), poses(first_alone), rtol=0, atol=1e-5)


def test_people_without_identity_are_lifted_from_their_frame(stage: Stage) -> None:
    person = walk(6)
    expected = poses(TemporalLifter(stage, temporal="frame").lift(frames_of(person)))
    for track_ids in (None, [-1]):
        frames = [frame({0: pose}, track_ids=track_ids) for pose in person]
        lifted = TemporalLifter(stage).lift(frames)
        np.testing.assert_allclose(np.concatenate([each.keypoints for each in lifted]), expected, rtol=0, atol=1e-5)
        assert lifted[0].track_ids is None or track_ids is not None


def test_second_person_with_the_same_identity_is_not_lost(stage: Stage) -> None:
    person, other = walk(5), walk(5, (800, 400))
    frames = [frame({0: a, 1: b}, track_ids=[7, 7]) for a, b in zip(person, other, strict=True)]
    lifted = TemporalLifter(stage).lift(frames)
    assert [each.track_ids.tolist() for each in lifted] == [[7, -1]] * 5
    np.testing.assert_allclose(
        poses(lifted, 7), poses(TemporalLifter(stage).lift(frames_of(person))), rtol=0, atol=1e-5
    )


def test_people_who_appear_and_leave_keep_their_rows(stage: Stage) -> None:
    people = walk(9), walk(9, (800, 400))
    missing = [(0, 0), (0, 1), (1, 7), (1, 8)]
    lifted = TemporalLifter(stage).lift(frames_of(*people, missing=missing))
    ids = [each.track_ids.tolist() for each in lifted]
    assert ids == [[1], [1], *[[0, 1]] * 5, [0], [0]]


def test_result_tells_all_of_the_2d_result(stage: Stage) -> None:
    person = walk(1)[0]
    given = frame({4: person}, boxes=[[10, 20, 300, 400]], box_scores=[0.8], source="clip.mp4", frame_index=3)
    output = TemporalLifter(stage).lift([given])[0]
    assert output.keypoints.shape == (1, 17, 3)
    assert output.schema is not None and output.schema.name == "h36m"
    assert (output.source, output.frame_index, output.image_size) == ("clip.mp4", 3, IMAGE_SIZE)
    np.testing.assert_allclose(output.boxes, [[10, 20, 300, 400]], rtol=1e-5)
    np.testing.assert_allclose(output.box_scores, [0.8], rtol=1e-5)
    np.testing.assert_allclose(output.keypoint_scores, np.full((1, 17), 0.9), rtol=1e-5)
    # Human3.6M's thorax is the middle of COCO's shoulders.
    np.testing.assert_allclose(output.keypoints_2d[0, 8], person[5:7].mean(0), rtol=1e-5)


def test_nobody_anywhere(stage: Stage) -> None:
    empty = frame({})
    failed = PoseOutput.failed("cannot be read", source="x.jpg")
    for lifted in (TemporalLifter(stage).lift([empty, failed]), online(TemporalLifter(stage), [empty, failed], 1)):
        assert [each.num_instances for each in lifted] == [0, 0]
        assert lifted[0].keypoints.shape == (0, 17, 3)
        assert (lifted[1].error, lifted[1].source) == ("cannot be read", "x.jpg")
    assert TemporalLifter(stage).lift([]) == []


def test_unreadable_frame_within_a_clip_has_no_people_but_does_not_end_it(stage: Stage) -> None:
    frames = frames_of(walk(7))
    frames[3] = PoseOutput.failed("cannot be read")
    lifted = TemporalLifter(stage).lift(frames)
    assert [each.num_instances for each in lifted] == [1, 1, 1, 0, 1, 1, 1]
    bridged = TemporalLifter(stage).lift(frames_of(walk(7), missing=[(0, 3)]))
    np.testing.assert_allclose(poses(lifted), np.delete(poses(bridged), 3, axis=0), rtol=0, atol=1e-6)


def test_frames_may_change_size(stage: Stage) -> None:
    person = walk(10)
    same = TemporalLifter(stage).lift(frames_of(person))
    changing = [frame({0: pose}, scale=2.0 if t >= 4 else 1.0) for t, pose in enumerate(person)]
    lifted = TemporalLifter(stage).lift(changing)
    np.testing.assert_allclose(poses(lifted), poses(same), rtol=0, atol=1e-4)
    np.testing.assert_allclose(lifted[9].keypoints_2d, same[9].keypoints_2d * 2, rtol=1e-5)
    np.testing.assert_allclose(
        poses(online(TemporalLifter(stage), changing)),
        poses(online(TemporalLifter(stage), frames_of(person))),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("kept", [0, 1])
def test_one_keypoint_or_none_is_lifted_without_harm(kept: int, stage: Stage) -> None:
    person = walk(4)
    person[:, kept:] = np.nan
    lifted = TemporalLifter(stage).lift(frames_of(person))
    for each in lifted:
        assert each.num_instances == 1
        assert np.isfinite(each.keypoints).all()
        assert each.keypoint_scores[0, 16] == 0


def test_boxes_are_smoothed_over_time(stage: Stage) -> None:
    """A box that jumps in one frame must not make the body jump."""
    person = walk(25)
    boxes = np.concatenate((person.min(1), person.max(1)), axis=-1)
    jumping = boxes.copy()
    jumping[12, 1] -= 150

    def lift(boxes: np.ndarray, smoothing: float) -> np.ndarray:
        frames = [frame({0: pose}, boxes=box[None]) for pose, box in zip(person, boxes, strict=True)]
        return poses(TemporalLifter(stage, box_smoothing=smoothing).lift(frames))

    smooth_change = np.abs(lift(jumping, 15) - lift(boxes, 15))[12].max()
    raw_change = np.abs(lift(jumping, 0) - lift(boxes, 0))[12].max()
    assert smooth_change < 0.2 * raw_change


def test_crossing_people_are_lifted_throughout(stage: Stage) -> None:
    walkers = crossing_walkers(seed=0, frames=600, hidden_overlap=1.0)
    tracker = PoseTracker()
    order = np.random.default_rng(0)
    frames, people = [], []
    for index in range(600):
        output, who = walkers.frame(index, order)
        frames.append(tracker.update(output))
        people.append(who)
    lifted = TemporalLifter(stage).lift(frames)
    names: dict[int, set[int]] = {}
    for each, who in zip(lifted, people, strict=True):
        assert sorted(each.track_ids.tolist()) == [0, 1]
        for row, person in enumerate(who):
            names.setdefault(int(person), set()).add(int(each.track_ids[row]))
    assert sorted(names.values(), key=min) == [{0}, {1}]
    assert all(
        each.interpolated.tolist() == [False] * len(who) + [True] * (2 - len(who))
        for each, who in zip(lifted, people, strict=True)
    )


@pytest.mark.parametrize("lookahead", [0, 3])
def test_stream_comes_late_by_the_lookahead_and_complete(lookahead: int, stage: Stage) -> None:
    frames = [replace(each, frame_index=t) for t, each in enumerate(frames_of(walk(10)))]
    lifter = OnlineLifter(TemporalLifter(stage), lookahead)
    ready = [lifter.push(each) for each in frames]
    numbers = [each.frame_index if each is not None else None for each in ready]
    assert numbers == [None] * lookahead + list(range(10 - lookahead))
    assert [each.frame_index for each in lifter.finish()] == list(range(10 - lookahead, 10))
    assert list(lifter.finish()) == []


def test_stream_that_waits_for_all_frames_is_the_whole_clip(stage: Stage) -> None:
    frames = frames_of(walk(20), walk(20, (800, 500), phase=1.0), missing=[(0, 0), (1, 8), (1, 9), (0, 19)])
    lifter = TemporalLifter(stage)
    for given, expected in zip(online(lifter, frames, lookahead=19), lifter.lift(frames), strict=True):
        np.testing.assert_array_equal(given.track_ids, expected.track_ids)
        np.testing.assert_array_equal(given.interpolated, expected.interpolated)
        np.testing.assert_allclose(given.keypoints, expected.keypoints, rtol=0, atol=1e-5)
        np.testing.assert_allclose(given.keypoints_2d, expected.keypoints_2d, rtol=1e-5)


@pytest.mark.parametrize("lookahead", [0, 2])
def test_stream_does_not_know_what_comes_later(lookahead: int, stage: Stage) -> None:
    person = walk(12)
    before = poses(online(TemporalLifter(stage), frames_of(person), lookahead))
    person[8:] += 60
    after = poses(online(TemporalLifter(stage), frames_of(person), lookahead))
    changed = np.abs(after - before).max((1, 2)) > 1e-6
    assert changed.tolist() == [t >= 8 - lookahead for t in range(12)]


def test_stream_sees_a_window_of_the_past(stage: Stage) -> None:
    person = walk(40)
    lifter = TemporalLifter(stage, window=10, box_smoothing=0)
    last = poses(online(lifter, frames_of(person)))[-1]
    person[:30, 9] += 50
    np.testing.assert_allclose(poses(online(lifter, frames_of(person)))[-1], last, rtol=0, atol=1e-6)
    person[38, 9] += 50
    assert np.abs(poses(online(lifter, frames_of(person)))[-1] - last).max() > 1e-5


def test_keeping_what_was_seen_is_near_to_seeing_it_anew() -> None:
    """A stream that is lifted by a model that has a cache, and one whose frames go through it with all before them."""
    stage = small_stage(std=0.1)
    lifter = TemporalLifter(stage, box_smoothing=0)
    frames = frames_of(walk(MAX_FRAMES))
    kept = poses(online(lifter, frames))
    anew = np.stack([poses(lifter.lift(frames[: t + 1]))[t] for t in range(MAX_FRAMES)])
    alone = poses(TemporalLifter(stage, temporal="frame").lift(frames))
    assert np.abs(kept - anew).mean() < 0.2 * np.abs(alone - anew).mean()


@pytest.fixture
def online_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Inputs and outputs of the network of streams."""
    calls: list[tuple[Tensor, Tensor]] = []
    call = OnlineMotionBert.__call__

    def recorded(network: OnlineMotionBert, keypoints_2d: Tensor, *args: Any) -> Tensor:
        calls.append((keypoints_2d, call(network, keypoints_2d, *args)))
        return calls[-1][1]

    monkeypatch.setattr(OnlineMotionBert, "__call__", recorded)
    return calls


@pytest.mark.parametrize("lookahead", [0, 5, 12])
def test_a_stream_computes_at_most_three_times_the_frames_of_a_clip(
    lookahead: int, online_calls: list[tuple[Tensor, Tensor]]
) -> None:
    stage = small_stage()
    seen: list[int] = []
    stage.model.backbone.embeddings.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:2].numel()))
    frames = frames_of(walk(6 * MAX_FRAMES), walk(6 * MAX_FRAMES, (800, 500)))
    TemporalLifter(stage).lift(frames)
    online(TemporalLifter(stage), frames, lookahead)
    assert sum(given.shape[:2].numel() for given, _ in online_calls) < 3 * sum(seen)


@pytest.mark.parametrize("lookahead", [0, 6])
def test_the_head_computes_each_frame_of_a_stream_once(
    lookahead: int, online_calls: list[tuple[Tensor, Tensor]]
) -> None:
    online(TemporalLifter(small_stage()), frames_of(walk(3 * MAX_FRAMES)), lookahead)
    assert sum(found.shape[:2].numel() for _, found in online_calls) == 3 * MAX_FRAMES


def test_settings_of_a_stream_are_checked_without_a_copy_of_the_weights(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[TemporalLifter] = []
    monkeypatch.setattr("hfpose.pipelines.online_lifting._online_network", made.append)
    OnlineLifter(TemporalLifter(stage), lookahead=3)
    assert not made


def test_people_of_a_stream_are_lifted_together_as_each_alone(online_calls: list[tuple[Tensor, Tensor]]) -> None:
    stage = small_stage(std=0.1)
    people = walk(2 * MAX_FRAMES), walk(2 * MAX_FRAMES, (800, 500))
    missing = [(1, t) for t in (0, 1, 2, 9)]  # who comes late, and is not seen once
    alone = [
        online(TemporalLifter(stage), frames_of(people[0])),
        online(TemporalLifter(stage), frames_of(people[1], missing=[(0, t) for _, t in missing])),
    ]
    online_calls.clear()
    together = online(TemporalLifter(stage), frames_of(*people, missing=missing))
    for t, each in enumerate(together):
        expected = np.concatenate([one[t].keypoints for one in alone])
        np.testing.assert_allclose(each.keypoints, expected, rtol=0, atol=1e-5)
    assert sum(len(given) == 2 for given, _ in online_calls) > MAX_FRAMES


@pytest.mark.parametrize(("stride", "lookahead"), [(0, 3), (5, 3)])
def test_bad_strides_are_explained(stride: int, lookahead: int, stage: Stage) -> None:
    with pytest.raises(InputError, match="stride"):
        OnlineLifter(TemporalLifter(stage), lookahead, stride)


def test_gap_in_a_stream_is_interpolated_while_the_frame_waits(stage: Stage) -> None:
    frames = frames_of(walk(12), missing=[(0, 5), (0, 6)])
    patient = online(TemporalLifter(stage), frames, lookahead=2)
    assert [each.interpolated.tolist() for each in patient] == [[t in (5, 6)] for t in range(12)]
    hasty = online(TemporalLifter(stage), frames, lookahead=1)
    assert [each.num_instances for each in hasty] == [1] * 5 + [0, 1] + [1] * 5
    assert hasty[6].interpolated.tolist() == [True]


def test_person_who_comes_back_after_a_long_gap_does_not_end_the_frames_that_wait(stage: Stage) -> None:
    frames = frames_of(walk(20), missing=[(0, t) for t in range(6, 10)])
    lifter = TemporalLifter(stage, max_gap=2, box_smoothing=0)
    lifted = online(lifter, frames, lookahead=15)
    assert [each.num_instances for each in lifted] == [1] * 6 + [0] * 4 + [1] * 10
    np.testing.assert_allclose(poses(lifted), poses(lifter.lift(frames)), rtol=0, atol=1e-5)


def test_frame_by_frame_is_the_same_in_a_stream(stage: Stage) -> None:
    frames = frames_of(walk(6), walk(6, (800, 500)))
    lifter = TemporalLifter(stage, temporal="frame")
    for given, expected in zip(online(lifter, frames), lifter.lift(frames), strict=True):
        np.testing.assert_allclose(given.keypoints, expected.keypoints, rtol=0, atol=1e-6)


def stream_frames(count: int, lifter: OnlineLifter) -> Iterator[int]:
    """Numbers of the frames of a stream, each one pushed: one person stays, someone new comes every 200 frames."""
    tracker = PoseTracker()
    person, other = walk(100), walk(100, (900, 500))
    for index in range(count):
        people = {0: person[index % 100]} | ({1: other[index % 50]} if index % 200 < 100 else {})
        lifter.push(tracker.update(frame(people, track_ids=None)))
        yield index


def test_stream_leaves_nothing_behind() -> None:
    lifter = OnlineLifter(TemporalLifter(small_stage(9)), lookahead=2)
    held = {}
    for index in stream_frames(120, lifter):
        if index == 40:
            tracemalloc.start()
        if index in (79, 119):
            held[index] = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held[119] - held[79] < 4e4


def test_who_leaves_a_stream_makes_room_for_who_comes(stage: Stage) -> None:
    lifter = OnlineLifter(TemporalLifter(stage, max_gap=0))
    for t, pose in enumerate(walk(24)):
        lifter.push(frame({0: pose, 1 + t // 4: pose + 50}))
    assert lifter._network is not None and len(lifter._network.lengths) <= 3


@pytest.mark.slow
def test_memory_of_a_long_stream_stays_the_same() -> None:
    lifter = OnlineLifter(TemporalLifter(small_stage(9)), lookahead=2)
    resident = {}
    for index in stream_frames(2_000, lifter):
        if index in (499, 1_999):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            resident[index] = pages * resource.getpagesize()
    assert resident[1_999] - resident[499] < 8e6


def test_who_cannot_be_lifted_is_explained(stage: Stage) -> None:
    person = walk(1)[0]
    lifter = TemporalLifter(stage)
    with pytest.raises(InputError, match="image_size=None"):
        lifter.lift([frame({0: person}, image_size=None)])
    with pytest.raises(InputError, match="schema=None"):
        OnlineLifter(lifter).push(frame({0: person}, schema=None))
    with pytest.raises(ConfigError, match="ap10k"):
        lifter.lift([frame({0: person}, schema=load_schema("ap10k"))])


@pytest.mark.parametrize(
    "settings",
    [
        {"temporal": "always"},
        {"window": 28},
        {"window": 0},
        {"overlap": 27},
        {"overlap": -1},
        {"max_gap": -1},
        {"box_smoothing": -1.0},
        {"batch_size": 0},
    ],
)
def test_bad_settings_are_explained(settings: dict[str, Any], stage: Stage) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        TemporalLifter(stage, **settings)


@pytest.mark.parametrize("lookahead", [-1, 27])
def test_bad_lookahead_is_explained(lookahead: int, stage: Stage) -> None:
    with pytest.raises(InputError, match="lookahead"):
        OnlineLifter(TemporalLifter(stage), lookahead)


def test_scores_reach_a_lifter_that_was_trained_with_them() -> None:
    frame, _ = crossing_walkers(0, frames=1).frame(0)
    unsure = replace(frame, keypoint_scores=frame.keypoint_scores * np.linspace(0.2, 1, 17, dtype=np.float32))
    changes = []
    for uses_scores in (True, False):
        stage = small_stage()
        stage = Stage(stage.model, MotionBertImageProcessor(do_use_scores=uses_scores))
        lifted = [TemporalLifter(stage).lift([output])[0].keypoints for output in (frame, unsure)]
        changes.append(np.abs(lifted[0] - lifted[1]).max())
    assert changes[0] > 1e-3 and changes[1] == 0
