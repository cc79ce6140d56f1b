from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.results import PoseOutput
from hfpose.tracking.camera_motion import CameraMotion
from hfpose.tracking.identity_tracker import CONFIRMATION_FRAMES, IdentityTracker
from hfpose.tracking.tracker import PoseTracker
from hfpose.tracking.trackers import DetectionTracker, make_tracker
from walking import crossing_walkers, walking_pose

POSE = walking_pose(1, height=1.7, phase=0.5, heading=0.4)[0, :, :2] * [100, -100] + [0, 200]

FIELDS = ("keypoints", "keypoint_scores", "boxes")
CROWD = [  # frame, person, identity
    (0, 1, 0), (0, 2, 1), (0, 3, 2), (0, 4, 3), (0, 5, 4), (3, 0, 3), (4, 4, 5), (12, 1, 4), (13, 1, 0),
    (82, 5, 0), (84, 5, 4), (93, 5, 0), (95, 1, 4), (99, 1, 0), (99, 5, 4), (111, 1, 4), (111, 5, 0), (113, 1, 0),
    (113, 5, 4), (160, 1, 4), (160, 5, 0), (161, 1, 0), (161, 5, 4), (176, 1, 4), (176, 5, 0), (217, 5, 4), (218, 5, 0),
]  # fmt: skip


def people(*places: tuple[float, float], score: float = 0.9, **fields: Any) -> PoseOutput:
    """The same pose at several places."""
    keypoints = np.array([POSE + place for place in places], np.float32).reshape(-1, 17, 2)
    boxes = np.concatenate((keypoints.min(1), keypoints.max(1)), axis=-1) if places else np.zeros((0, 4))
    fields = {"image_size": (1000, 500), "box_scores": np.full(len(places), score), **fields}
    return PoseOutput(keypoints=keypoints, keypoint_scores=np.ones((len(places), 17)), boxes=boxes, **fields)


def ids(tracker: IdentityTracker, output: PoseOutput) -> list[int]:
    return tracker.update(output).track_ids.tolist()


def test_six_people_in_a_crowd_get_the_same_identities_however_they_are_computed() -> None:
    """When each person got which identity; people who hide each other are taken for each other, and given back."""
    pairs = [crossing_walkers(seed, frames=240, crossings=3, noise=6.0, missed=0.1) for seed in range(3)]
    tracker, rng, last, changes = IdentityTracker(), np.random.default_rng(0), [-1] * 6, []
    for index in range(240):
        found = [pair.frame(index, rng) for pair in pairs]
        people = [2 * number + who for number, (_, each) in enumerate(found) for who in each.tolist()]
        parts = {name: np.concatenate([vars(output)[name] for output, _ in found]) for name in FIELDS}
        output = PoseOutput(**parts, image_size=found[0][0].image_size, schema=load_schema("coco"))
        for person, identity in zip(people, tracker.update(output).track_ids.tolist(), strict=True):
            if identity not in (-1, last[person]):
                last[person] = identity
                changes.append((index, person, identity))
    assert changes == CROWD


@pytest.mark.parametrize("association", ["iou", "oks"])
@pytest.mark.parametrize(
    "settings",
    [{"noise": 4.0, "missed": 0.1}, {"hidden_overlap": 0.1}, {"crossings": 4, "hidden_overlap": 0.2, "missed": 0.05}],
    ids=["noisy", "long occlusion", "four crossings"],
)
def test_identities_survive_crossings(association: Any, settings: dict) -> None:
    walkers, tracker, order = (
        crossing_walkers(seed=0, **settings),
        IdentityTracker(association),
        np.random.default_rng(0),
    )
    found = np.full(walkers.visible.shape, -1)
    for index in range(len(found)):
        output, who = walkers.frame(index, order)
        found[index, who] = tracker.update(output).track_ids
    for person in range(2):
        assert set(found[walkers.visible[:, person], person]) - {-1} == {found[-1, person]}


def test_who_is_new_is_confirmed_over_three_frames_and_then_known_in_those_before() -> None:
    tracker = IdentityTracker()
    assert ids(tracker, people((0, 0))) == [0]  # of the first frame everybody
    assert ids(tracker, people((300, 0), (0, 0))) == [-1, 0]
    assert ids(tracker, people((0, 0), (300, 0))) == [0, -1]
    assert ids(tracker, people((0, 0), (300, 0))) == [0, 1]
    assert sorted(tracker.late_identities) == [(1, 1, 1), (2, 0, 1)]


def test_a_low_score_takes_longer_to_be_confirmed() -> None:
    tracker = IdentityTracker()
    found = [ids(tracker, people((0, 0), score=0.4)) for _ in range(CONFIRMATION_FRAMES)]
    assert found == [[-1]] * 4 + [[0]] * 2


def test_a_pose_of_low_scores_is_nobody_new() -> None:
    tracker = IdentityTracker()
    ids(tracker, people((0, 0)))
    for _ in range(2 * CONFIRMATION_FRAMES):
        both = people((0, 0), (300, 0), score=0.6)
        both.keypoint_scores[1] = 0.1
        assert ids(tracker, both) == [0, -1]


def test_a_false_box_does_not_take_the_identity_of_who_is_lost_for_long() -> None:
    tracker, away = IdentityTracker(), people()
    found = [
        ids(tracker, output) for output in [people((300, 0))] * 5 + [away] * 60 + [people((320, 0))] + [away] * 30
    ]
    assert found[65] == [-1]  # after two seconds
    assert [ids(tracker, people((280, 0))) for _ in range(3)] == [[-1], [-1], [0]]


def test_false_boxes_are_nobody_and_use_up_no_identity() -> None:
    tracker, rng = IdentityTracker(), np.random.default_rng(0)
    ids(tracker, people((0, 0)))
    for _ in range(50):
        assert ids(tracker, people((0, 0), tuple(rng.uniform(200, 900, 2)), score=0.6))[1] == -1
    for _ in range(3):
        last = ids(tracker, people((0, 0), (300, 0)))
    assert last == [0, 1]


def test_a_low_score_keeps_an_identity_but_high_ones_choose_first() -> None:
    tracker = IdentityTracker()
    ids(tracker, people((0, 0)))
    assert ids(tracker, people((1, 0), score=0.2)) == [0]
    both = people((0, 0), (4, 0))
    both.box_scores[:] = [0.2, 0.9]
    assert ids(tracker, both) == [-1, 0]


@pytest.mark.parametrize("rate", [10, 60])
def test_gaps_are_of_seconds(rate: int) -> None:
    for gap, expected in ((0.8, 0), (1.4, -1)):
        tracker = IdentityTracker(max_gap=1.0)
        for frame in range(3):
            ids(tracker, people((0, 0), timestamp=frame / rate))
        for frame in range(3, 3 + int(gap * rate)):
            ids(tracker, people(timestamp=frame / rate))
        assert ids(tracker, people((0, 0), timestamp=(3 + gap * rate) / rate)) == [expected]


def test_speed_is_expected_to_go_on() -> None:
    tracker = IdentityTracker()
    for frame in range(20):
        ids(tracker, people((10 * frame, 0)))
    for _ in range(10):
        ids(tracker, people())
    assert ids(tracker, people((300, 0))) == [0]


def test_who_turned_while_lost_goes_on_once_confirmed() -> None:
    tracker = IdentityTracker()
    for frame in range(20):
        ids(tracker, people((10 * frame, 0)))
    for _ in range(15):
        ids(tracker, people())
    found = [ids(tracker, people((200, 0))) for _ in range(3)]
    assert found == [[-1], [-1], [0]]
    assert sorted(tracker.late_identities) == [(1, 0, 0), (2, 0, 0)]


def test_who_is_far_from_all_who_are_lost_is_new() -> None:
    tracker = IdentityTracker()
    for _ in range(10):
        ids(tracker, people((0, 0)))
    found = [ids(tracker, people((900, 0))) for _ in range(3)]
    assert found[-1] == [1]


def test_a_box_of_two_people_takes_no_identity_away() -> None:
    tracker, left, right = IdentityTracker(), (0.0, 0.0), (60.0, 0.0)
    for _ in range(10):
        ids(tracker, people(left, right))
    for _ in range(10):
        both = people(left, right)
        merged = people(right)
        merged.boxes = np.concatenate((both.boxes[:, :2].min(0), both.boxes[:, 2:].max(0)))[None]
        assert ids(tracker, merged) == [1]
    assert ids(tracker, people(right, left)) == [1, 0]


def test_who_was_lost_is_told_by_the_length_of_the_body() -> None:
    """The boxes say nothing: both are as high."""
    tracker, schema = IdentityTracker(), load_schema("coco")

    def two(tall: float, short: float) -> PoseOutput:
        output = people((tall, 0), (short, 0), schema=schema)
        middle = output.keypoints[1].mean(0)
        output.keypoints[1] = middle + 0.7 * (output.keypoints[1] - middle)
        return output

    for _ in range(10):
        ids(tracker, two(400, 550))
    for _ in range(50):
        ids(tracker, people(schema=schema))
    assert [ids(tracker, two(500, 450)) for _ in range(3)][-1] == [0, 1]


def looks(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_appearance_tells_who_is_who_after_both_were_lost() -> None:
    red, blue = (1.0, 0.1), (0.2, 1.0)
    for appearance, expected in ((0.0, [0, 1]), (1.0, [1, 0])):
        tracker, rng = IdentityTracker(appearance=appearance), np.random.default_rng(0)
        for _ in range(10):
            noise = rng.normal(0, 0.02, (2, 2))
            ids(tracker, people((0, 0), (120, 0), features=looks(red, blue) + noise))
        for _ in range(8):
            ids(tracker, people())
        found = [ids(tracker, people((40, 0), (80, 0), features=looks(blue, red))) for _ in range(3)]
        assert found[-1] == expected


def test_features_may_be_missing_in_a_frame() -> None:
    tracker = IdentityTracker(appearance=1.0)
    frames = [people((0, 0)), people((0, 0), features=looks((1, 0))), people(), people((0, 0))]
    assert [ids(tracker, frame) for frame in frames] == [[0], [0], [], [0]]


def test_frames_may_change_size_and_the_number_of_keypoints() -> None:
    tracker = IdentityTracker()
    ids(tracker, people((0, 0), (300, 0)))
    larger = people((300, 0), (0, 0))
    larger.keypoints, larger.boxes, larger.image_size = larger.keypoints * 2, larger.boxes * 2, (2000, 1000)
    assert ids(tracker, larger) == [1, 0]
    assert ids(tracker, PoseOutput.failed("cannot be read")) == []
    hand = PoseOutput(keypoints=people((0, 0)).keypoints[:, :9], keypoint_scores=np.ones((1, 9)))
    assert ids(tracker, hand) == [-1]


def test_reset_begins_anew() -> None:
    tracker = IdentityTracker()
    ids(tracker, people((0, 0), (300, 0)))
    tracker.reset()
    assert ids(tracker, people((300, 0))) == [0]


def test_ten_people_take_few_milliseconds() -> None:
    """2 ms of the processor; five times as long here lest a busy machine fails it."""
    tracker, places = IdentityTracker(), [(90.0 * i, 10.0 * (i % 3)) for i in range(10)]
    seconds = []
    for _ in range(30):
        output = people(*places)
        start = time.thread_time()
        tracker.update(output)
        seconds.append(time.thread_time() - start)
    assert np.median(seconds) < 0.010


@pytest.mark.parametrize(
    "settings",
    [{"association": "color"}, {"threshold": 1.5}, {"high_score": -1}, {"max_gap": -1}, {"confirm_frames": 7}],
    ids=lambda settings: next(iter(settings)),
)
def test_bad_settings_are_explained(settings: dict) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        IdentityTracker(**settings)


@pytest.fixture(scope="module")
def wall() -> np.ndarray:
    noise = np.random.default_rng(0).uniform(0, 255, (60, 100, 3)).astype(np.float32)
    return cv2.resize(noise, (1200, 720), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def test_motion_of_the_camera_is_found_beside_people_who_move(wall: np.ndarray) -> None:
    camera = CameraMotion()
    first, second = wall[40:520, 100:740].copy(), wall[45:525, 112:752].copy()
    first[100:400, 200:300] = second[100:400, 230:330] = wall[500:800:1, 900:1000][:300].mean()
    boxes = np.array([[200, 100, 300, 400]])
    assert camera.update(first, boxes) is None
    motion = camera.update(second, boxes)
    np.testing.assert_allclose(motion, [[1, 0, -12], [0, 1, -5]], atol=0.3)
    assert camera.update(None, None) is None


def test_a_camera_that_pans_does_not_break_identities(wall: np.ndarray) -> None:
    def confused(**settings: Any) -> bool:
        tracker = IdentityTracker(**settings)
        for step in range(4):
            image = wall[:480, 60 * step : 60 * step + 640]
            output = tracker.update(people((500 - 60 * step, 0), (560 - 60 * step, 0)), image)
        return output.track_ids.tolist() != [0, 1]

    assert confused(camera_motion=False)
    assert not confused()


def test_trackers_are_made_by_their_names() -> None:
    tracker = make_tracker("oks", 0.2, {"max_gap": 5.0})
    assert isinstance(tracker, IdentityTracker)
    assert (tracker.association, tracker.threshold, tracker.max_gap) == ("oks", 0.2, 5.0)
    greedy = PoseTracker()
    assert make_tracker(greedy) is greedy


@pytest.mark.parametrize(
    ("track", "settings", "match"),
    [
        ("color", None, "'bytetrack'"),
        (3, None, "update"),
        ("iou", {"gap": 1}, "gap"),
        (PoseTracker(), {"gap": 1}, "named"),
    ],
)
def test_other_trackers_are_explained(track: Any, settings: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        make_tracker(track, 0.3, settings)


@pytest.mark.parametrize("name", ["bytetrack", "ocsort", "botsort"])
def test_trackers_of_the_package_plug_in(name: Any) -> None:
    pytest.importorskip("trackers")
    tracker = make_tracker(name)
    image = np.zeros((500, 1000, 3), np.uint8)
    for step in range(5):
        output = tracker.update(people((3 * step, 0), (400 - 3 * step, 0)), image)
    assert len(set(output.track_ids.tolist())) == 2
    assert min(output.track_ids) >= 0
    assert tracker.update(people()).track_ids.tolist() == []


def test_a_tracker_that_returns_some_in_another_order_plugs_in() -> None:
    pytest.importorskip("supervision")

    class LeftToRight:
        def update(self, detections: Any) -> Any:
            kept = detections[np.argsort(detections.xyxy[:, 0])][:2]
            kept.tracker_id = np.arange(2)
            return kept

    tracker = DetectionTracker(LeftToRight())
    assert tracker.update(people((600, 0), (0, 0), (300, 0))).track_ids.tolist() == [-1, 0, 1]
