from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from hfpose.results import PoseOutput
from hfpose.tracking.relinking import StreamLinks, _sums, _whitening, relink_tracks
from walking import walking_pose

POSE = walking_pose(1, height=1.7, phase=0.5, heading=0.4)[0, :, :2] * [100, -100] + [0, 200]
TIMES = np.arange(60) / 30


def frame(places: list[float], sizes: list[float], ids: list[int]) -> PoseOutput:
    """People of some sizes, who are as far to the right, with the identities that a tracker gave them."""
    keypoints = np.array([POSE * size + [x, 0] for x, size in zip(places, sizes, strict=True)], np.float32)
    keypoints = keypoints.reshape(-1, 17, 2)
    boxes = np.concatenate((keypoints.min(1), keypoints.max(1)), axis=-1)
    scores, track_ids = np.ones(keypoints.shape[:2]), np.array(ids, np.int64)
    return PoseOutput(keypoints, scores, boxes=boxes, track_ids=track_ids, schema=load_schema("coco"))


def identities(outputs: list[PoseOutput]) -> list[list[int]]:
    relink_tracks(outputs, TIMES[: len(outputs)])
    return [output.track_ids.tolist() for output in outputs]


def test_two_who_were_taken_for_each_other_while_they_met_are_told_by_their_bodies() -> None:
    ways = np.abs(np.linspace(-300, 300, 60))  # they come together and part
    outputs = [
        frame([500 - way, 500 + way], [1.0, 0.8], [0, 1] if index < 30 else [1, 0]) for index, way in enumerate(ways)
    ]
    assert set(map(tuple, identities(outputs))) == {(0, 1)}


def test_who_comes_back_is_known_again_though_the_tracker_took_another() -> None:
    outputs = [frame([100, 400], [1.0, 0.8], [0, 1])] * 20 + [frame([], [], [])] * 15
    outputs += [frame([240, 260], [0.8, 1.0], [0, 1])] * 25
    found = identities([replace(output, track_ids=output.track_ids.copy()) for output in outputs])
    assert found[0] == [0, 1]
    assert found[-1] == [1, 0]


def test_in_a_stream_who_was_taken_for_another_gets_the_own_identity_back() -> None:
    links, found = StreamLinks(), []
    ways = np.abs(np.linspace(-300, 300, 60))
    for index, (way, time) in enumerate(zip(ways, TIMES, strict=True)):
        ids = [0, 1] if index < 30 else [1, 0]
        output = frame([500 - way, 500 + way], [1.0, 0.8], ids)
        links.update(output, time, ids)
        found.append(output.track_ids.tolist())
    assert found[0] == found[-1] == [0, 1]
    assert [links.identity(track) for track in (0, 1, 2, -1)] == [1, 0, 2, -1]


def test_a_stream_of_many_people_one_after_the_other_keeps_few_of_them() -> None:
    links = StreamLinks()
    for index in range(900):
        output = frame([10.0 * (index % 30)], [1.0], [index // 30])
        links.update(output, index / 10, [index // 30])
        assert output.track_ids.tolist()[0] <= index // 30
    assert len(links._identities) < 10


def test_who_is_alone_and_untracked_instances_stay_as_they_are() -> None:
    outputs = [frame([100.0 + 3 * index, 800], [1.0, 1.0], [0, -1]) for index in range(60)]
    assert set(map(tuple, identities(outputs))) == {(0, -1)}


@pytest.mark.parametrize("times", [np.zeros(60), -TIMES], ids=["equal", "backward"])
def test_times_of_broken_files_give_no_two_people_of_a_frame_one_identity(times: np.ndarray) -> None:
    outputs = [frame([100, 150 + 2 * index], [1.0, 1.0], [0, 1]) for index in range(60)]
    relink_tracks(outputs, times)
    assert all(len(set(output.track_ids.tolist())) == 2 for output in outputs)


def test_a_stream_in_which_nobody_is_seen_for_long_goes_on() -> None:
    links = StreamLinks()
    for index in range(400):
        output = frame([0], [1.0], [0]) if index < 20 or index > 300 else frame([], [], [])
        links.update(output, index / 10, [0])
        assert output.track_ids.tolist() == [0] * len(output)


def test_clips_without_people_or_with_frames_that_failed_are_no_error() -> None:
    failed = PoseOutput.failed("damaged")
    relink_tracks([failed] * 3, TIMES[:3])
    outputs = [frame([0], [1.0], [0]), failed, frame([3], [1.0], [0])]
    relink_tracks(outputs, TIMES[:3])
    assert [outputs[0].track_ids.tolist(), outputs[2].track_ids.tolist()] == [[0], [0]]


def test_numbers_of_a_build_count_by_how_much_they_change_in_a_person() -> None:
    rng = np.random.default_rng(0)
    builds = rng.normal(0, [0.3, 0.02], (600, 2)) + np.repeat(rng.normal(0, [0.3, 0.02], (20, 2)), 30, axis=0)
    whitening = _whitening(_sums(builds), np.repeat([0, 1], 300))
    steady, shaky = (np.linalg.norm(change @ whitening) for change in ((0.0, 0.1), (0.1, 0.0)))
    assert steady > 3 * shaky
    assert np.array_equal(_whitening(_sums(builds[:40]), np.zeros(40)), np.eye(2))  # too few changes
