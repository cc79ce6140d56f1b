from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import Association, KeypointSmoother, PoseTracker, keypoint_similarity
from walking import Walkers, crossing_walkers, walking_pose

POSE = walking_pose(1, height=1.7, phase=0.5, heading=0.4)[0, :, :2] * [100, -100] + [0, 200]


def people(*places: tuple[float, float], scale: float = 1.0, size: tuple[int, int] | None = (1000, 500)) -> PoseOutput:
    """The same pose at several places."""
    keypoints = np.array([(POSE + place) * scale for place in places], np.float32).reshape(-1, 17, 2)
    boxes = np.concatenate((keypoints.min(1), keypoints.max(1)), axis=-1) if places else np.zeros((0, 4))
    scores = np.ones((len(places), 17))
    return PoseOutput(keypoints=keypoints, keypoint_scores=scores, boxes=boxes, image_size=size)


def ids(tracker: PoseTracker, output: PoseOutput) -> list[int]:
    return tracker.update(output).track_ids.tolist()


def identities(walkers: Walkers, tracker: PoseTracker) -> np.ndarray:
    """Identity (T, P) of each person in each frame, -1 where nobody is found; people come in any order."""
    found = np.full(walkers.visible.shape, -1)
    order = np.random.default_rng(0)
    for index in range(len(found)):
        output, who = walkers.frame(index, order)
        found[index, who] = tracker.update(output).track_ids
    return found


@pytest.mark.parametrize("association", ["iou", "oks"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"noise": 4.0, "missed": 0.1},
        {"hidden_overlap": 0.1},
        {"hidden_overlap": 1.0, "seed": 1},
        {"crossings": 4, "hidden_overlap": 0.2, "missed": 0.05},
    ],
    ids=["occluded", "noisy", "long occlusion", "never hidden", "four crossings"],
)
def test_identities_survive_crossings(association: Association, settings: dict) -> None:
    walkers = crossing_walkers(**{"seed": 0, **settings})
    found = identities(walkers, PoseTracker(association))
    for person in range(2):
        assert len(set(found[walkers.visible[:, person], person])) == 1
    assert set(found[walkers.visible]) == {0, 1}


@pytest.mark.parametrize("association", ["iou", "oks"])
def test_same_place_is_the_same_person_and_another_place_is_not(association: Association) -> None:
    tracker = PoseTracker(association)
    assert ids(tracker, people((0, 0), (300, 0))) == [0, 1]
    assert ids(tracker, people((302, 0), (2, 0), (600, 0))) == [1, 0, 2]


def test_best_pair_comes_first() -> None:
    """The reference gives the identity to whoever is detected first."""
    tracker = PoseTracker()
    ids(tracker, people((100, 0)))
    assert ids(tracker, people((115, 0), (102, 0))) == [1, 0]


def test_threshold_decides_who_is_new() -> None:
    far = (18, 0)
    for threshold, expected in ((0.3, [0]), (0.9, [1])):
        tracker = PoseTracker(threshold=threshold)
        ids(tracker, people((0, 0)))
        assert ids(tracker, people(far)) == expected


def test_lost_people_are_remembered_for_a_while() -> None:
    for gap, expected in ((60, [0]), (61, [1])):
        tracker = PoseTracker()
        ids(tracker, people((0, 0)))
        for _ in range(gap):
            assert ids(tracker, people()) == []
        assert ids(tracker, people((0, 0))) == expected


def test_walking_people_are_expected_where_their_speed_takes_them() -> None:
    for place, expected in ((350, [0]), (190, [1])):
        tracker = PoseTracker()
        for frame in range(20):
            ids(tracker, people((10 * frame, 0)))
        for _ in range(15):
            ids(tracker, people())
        assert ids(tracker, people((place, 0))) == expected


def test_who_left_comes_back_where_they_left() -> None:
    tracker = PoseTracker()
    for frame in range(20):
        ids(tracker, people((200 - 10 * frame, 0), (500, 0)))
    for _ in range(30):
        assert ids(tracker, people((500, 0))) == [1]
    assert ids(tracker, people((5, 0), (500, 0))) == [0, 1]


def test_frames_may_change_size() -> None:
    tracker = PoseTracker()
    assert ids(tracker, people((0, 0), (300, 0))) == [0, 1]
    assert ids(tracker, people((300, 0), (0, 0), scale=2, size=(2000, 1000))) == [1, 0]
    assert ids(tracker, people((0, 0), scale=0.5, size=(500, 250))) == [0]


def test_size_of_the_image_need_not_be_known() -> None:
    tracker = PoseTracker()
    assert ids(tracker, people((0, 0), size=None)) == [0]
    assert ids(tracker, people((1, 0), size=None)) == [0]


def test_frames_without_people_and_unreadable_ones_change_nothing() -> None:
    tracker = PoseTracker()
    assert ids(tracker, people()) == []
    assert ids(tracker, people((0, 0))) == [0]
    assert ids(tracker, PoseOutput.failed("cannot be read")) == []
    assert ids(tracker, people((0, 0))) == [0]


@pytest.mark.parametrize("missing", ["score", "place", "y"])
def test_too_few_keypoints_get_no_identity(missing: str) -> None:
    output = people((0, 0), (300, 0))
    if missing == "score":
        output.keypoint_scores[0, 2:] = 0
    elif missing == "place":
        output.keypoints[0, 2:] = np.nan
    else:
        output.keypoints[0, 2:, 1] = 0
    assert ids(PoseTracker(), output) == [-1, 0]


def test_schema_of_one_keypoint_is_tracked() -> None:
    tracker = PoseTracker()
    boxes = [[0, 0, 50, 50]]
    output = PoseOutput(keypoints=[[[20, 20]]], keypoint_scores=[[1.0]], boxes=boxes)
    assert ids(tracker, output) == ids(tracker, output) == [0]


@pytest.mark.parametrize("association", ["iou", "oks"])
def test_missing_keypoints_and_boxes_do_not_hinder(association: Association) -> None:
    tracker = PoseTracker(association)
    output = people((0, 0), (300, 0))
    output.boxes = None
    output.keypoints[0, 5] = np.nan
    assert ids(tracker, output) == [0, 1]
    assert ids(tracker, output.select([1, 0])) == [1, 0]


def test_another_number_of_keypoints_starts_anew() -> None:
    tracker = PoseTracker()
    ids(tracker, people((0, 0)))
    hand = PoseOutput(keypoints=people((0, 0)).keypoints[:, :9], keypoint_scores=np.ones((1, 9)))
    assert ids(tracker, hand) == [1]


def test_3d_output_is_tracked_in_the_image() -> None:
    tracker = PoseTracker()
    flat = people((0, 0), (300, 0))
    deep = PoseOutput(
        keypoints=np.zeros((2, 17, 3)), keypoint_scores=flat.keypoint_scores, keypoints_2d=flat.keypoints
    )
    assert ids(tracker, deep) == [0, 1]
    deep.keypoints_2d = None
    with pytest.raises(InputError, match="keypoints_2d"):
        tracker.update(deep)


def test_reset_forgets_everybody() -> None:
    tracker = PoseTracker()
    ids(tracker, people((0, 0), (300, 0)))
    tracker.reset()
    assert ids(tracker, people((300, 0))) == [0]


def test_output_that_is_given_stays_as_it_is() -> None:
    output = people((0, 0))
    assert PoseTracker().update(output) is not output
    assert output.track_ids is None


def test_tracker_stays_small() -> None:
    tracker = PoseTracker()
    rng = np.random.default_rng(0)
    for _ in range(100):
        ids(tracker, people(*rng.uniform(0, 1000, (5, 2))))
    tracemalloc.start()
    for _ in range(300):
        ids(tracker, people(*rng.uniform(0, 1000, (5, 2))))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1e6


@pytest.mark.parametrize("settings", [{"association": "color"}, {"threshold": 1.5}])
def test_bad_settings_of_the_tracker_are_explained(settings: dict) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        PoseTracker(**settings)


def test_keypoint_similarity_is_that_of_the_reference() -> None:
    """Values that `mmpose.evaluation.functional.nms.oks_iou` gives, written out for one pair."""
    first, second = people((0, 0)), people((7, 3))
    sigmas = np.array(load_schema("coco").sigmas)
    area = (first.boxes[0, 2:] - first.boxes[0, :2]).prod()
    expected = np.exp(-(7**2 + 3**2) / (2 * sigmas) ** 2 / area / 2).mean()
    given = keypoint_similarity(first.keypoints, first.boxes, second.keypoints, second.boxes, tuple(sigmas))
    np.testing.assert_allclose(given, [[expected]], rtol=1e-4)


def smooth(smoother: KeypointSmoother, poses: np.ndarray, track: int = 0) -> np.ndarray:
    """Smooth poses (T, K, D) of one person."""
    scores = np.ones((1, poses.shape[1]))
    outputs = (PoseOutput(keypoints=pose[None], keypoint_scores=scores, track_ids=[track]) for pose in poses)
    return np.stack([smoother.update(output).keypoints[0] for output in outputs])


def test_still_pose_trembles_less_than_half() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (200, 17, 2))
    trembling = smooth(KeypointSmoother(), POSE + noise) - POSE
    assert trembling[30:].std() < 0.5 * noise.std()


def test_walking_pose_is_smooth_and_does_not_lag() -> None:
    walk = walking_pose(300, 1.7, 0.0, 0.3)[..., :2] * 200 + 4 * np.arange(300)[:, None, None]
    noise = np.random.default_rng(0).normal(0, 2, walk.shape)
    error = smooth(KeypointSmoother(), walk + noise) - walk
    assert np.abs(np.diff(error, 2, axis=0)).mean() < 0.7 * np.abs(np.diff(noise, 2, axis=0)).mean()
    assert np.abs(error).mean() < 1.2 * np.abs(noise).mean()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_settings_do_not_depend_on_the_unit(dimensions: int) -> None:
    poses = np.random.default_rng(0).normal(size=(50, 17, dimensions)).astype(np.float32)
    small = smooth(KeypointSmoother(), poses)
    np.testing.assert_allclose(smooth(KeypointSmoother(), poses * 1000), small * 1000, rtol=1e-3, atol=1e-2)


def test_higher_cutoff_and_beta_smooth_less() -> None:
    poses = np.random.default_rng(0).normal(size=(100, 17, 2)).astype(np.float32)
    deviation = [
        smooth(KeypointSmoother(**settings), poses).std()
        for settings in ({"beta": 0}, {"beta": 0, "min_cutoff": 5}, {"beta": 9, "min_cutoff": 5})
    ]
    assert deviation == sorted(deviation)


def test_higher_frame_rate_smooths_more() -> None:
    poses = np.random.default_rng(0).normal(size=(100, 17, 2)).astype(np.float32)
    assert smooth(KeypointSmoother(120), poses).std() < smooth(KeypointSmoother(15), poses).std()


def test_times_count_for_the_smoother_not_frames():
    poses = POSE + np.random.default_rng(0).normal(0, 2, (60, *POSE.shape))
    by_rate = smooth(KeypointSmoother(15), poses)
    timed = KeypointSmoother(120)
    outputs = [
        timed.update(PoseOutput(pose[None], np.ones((1, len(pose))), track_ids=[0]), (1 + i) / 15)
        for i, pose in enumerate(poses)
    ]
    np.testing.assert_allclose([output.keypoints[0] for output in outputs], by_rate, rtol=1e-5)


def test_each_identity_is_smoothed_by_itself() -> None:
    poses = np.random.default_rng(0).normal(size=(2, 20, 17, 2)).astype(np.float32)
    alone = np.stack([smooth(KeypointSmoother(), person) for person in poses])
    together = KeypointSmoother()
    for frame in range(20):
        order = [0, 1] if frame % 2 else [1, 0]
        output = PoseOutput(keypoints=poses[order, frame], keypoint_scores=np.ones((2, 17)), track_ids=order)
        np.testing.assert_allclose(together.update(output).keypoints, alone[order, frame], rtol=1e-5)


def test_people_without_identity_stay_as_they_are() -> None:
    smoother = KeypointSmoother()
    poses = np.random.default_rng(0).normal(size=(5, 17, 2)).astype(np.float32)
    np.testing.assert_array_equal(smooth(smoother, poses, track=-1), poses)
    output = PoseOutput(keypoints=poses, keypoint_scores=np.ones((5, 17)))
    np.testing.assert_array_equal(smoother.update(output).keypoints, poses)


def test_keypoint_that_goes_missing_starts_anew() -> None:
    poses = np.zeros((4, 17, 2), np.float32)
    poses[1, 3] = np.nan
    poses[2:, 3] = 50
    poses[2:, 4] = 50
    smoothed = smooth(KeypointSmoother(), poses)
    assert np.isnan(smoothed[1, 3]).all()
    assert (smoothed[2, 3] == 50).all()
    assert (smoothed[2, 4] < 50).all()


def test_person_who_was_away_too_long_starts_anew() -> None:
    nobody = PoseOutput(keypoints=np.zeros((0, 17, 2)), keypoint_scores=np.zeros((0, 17)), track_ids=[])
    for gap, starts_anew in ((59, False), (61, True)):
        smoother = KeypointSmoother()
        smooth(smoother, np.zeros((10, 17, 2)))
        for _ in range(gap):
            smoother.update(nobody)
        back = smooth(smoother, np.full((1, 17, 2), 9.0))
        assert (back == 9).all() == starts_anew


def test_another_number_of_keypoints_starts_the_person_anew() -> None:
    smoother = KeypointSmoother()
    smooth(smoother, np.zeros((3, 17, 2)))
    assert (smooth(smoother, np.full((1, 9, 2), 9.0)) == 9).all()
    smoother.reset()
    assert (smooth(smoother, np.full((1, 9, 2), 5.0)) == 5).all()


@pytest.mark.parametrize("settings", [{"frame_rate": 0}, {"beta": -1}])
def test_bad_settings_of_the_smoother_are_explained(settings: dict) -> None:
    with pytest.raises(InputError, match="above 0"):
        KeypointSmoother(**settings)
