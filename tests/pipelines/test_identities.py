"""Identities over frames, and motions that are smoothed along them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hfpose
from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.media.frames import Frame, ItemKind, MediaItem, VideoInfo
from hfpose.pipelines.identities import follow_people, frame_times
from hfpose.pipelines.options import CallOptions, LiftingOptions
from hfpose.results import PoseOutput
from hfpose.tracking.filters import smooth_clip
from hfpose.tracking.tracker import KeypointSmoother, PoseTracker
from walking import FRAME_RATE, walking_pose

NOISE = 0.010  # meters
WRISTS = [9, 10]


def walk_with_noise() -> tuple[np.ndarray, list[PoseOutput]]:
    """A walk (T, 17, 3) in meters, and the results with noise; in each frame somebody without an identity comes
    first."""
    walk = walking_pose(240, 1.7, 0.0, 0.5)
    noisy = walk + np.random.default_rng(0).normal(0, NOISE, walk.shape)
    outputs = [
        PoseOutput(np.stack((0 * pose, pose)), np.ones((2, 17)), track_ids=[-1, 7], schema=load_schema("coco"))
        for pose in noisy
    ]
    return walk, outputs


def wrist_error(outputs: list[PoseOutput], walk: np.ndarray) -> float:
    return float(np.linalg.norm([o.keypoints[1, WRISTS] for o in outputs] - walk[:, WRISTS], axis=-1).mean())


def test_a_clip_is_smoothed_without_lag() -> None:
    walk, noisy = walk_with_noise()
    smooth = smooth_clip(noisy, np.arange(len(walk)) / FRAME_RATE, CallOptions(track=True).clip_filter("butterworth"))
    assert wrist_error(smooth, walk) < 0.75 * wrist_error(noisy, walk)
    assert all((output.keypoints[0] == 0).all() for output in smooth)
    online = KeypointSmoother(FRAME_RATE)
    assert wrist_error(smooth, walk) < 0.75 * wrist_error([online.update(output) for output in noisy], walk)


def frames(seconds: list[float | None], kind: ItemKind = "video", index: int = 0) -> list[Frame]:
    video = VideoInfo(20.0, 64, 48, None)
    item = MediaItem(index, kind, "clip")
    return [Frame(item, frame_index=i, video=video, timestamp=each) for i, each in enumerate(seconds)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.0, 0.1, 0.3], [0.0, 0.1, 0.3]),
        ([0.0, 0.1, 0.1], [0.0, 0.05, 0.1]),
        ([0.0, None, 0.3], [0.0, 0.05, 0.1]),
    ],
)
def test_times_are_those_of_the_file_unless_they_make_no_sense(
    seconds: list[float | None], expected: list[float]
) -> None:
    assert frame_times(frames(seconds)).tolist() == pytest.approx(expected)


def crowd(*boxes: tuple[float, float, float, float]) -> PoseOutput:
    """People who fill boxes in an image of 100x100."""
    corners = np.array(boxes, np.float32).reshape(-1, 2, 2)
    points = np.concatenate((corners, corners.mean(1, keepdims=True)), axis=1)
    return PoseOutput(points, np.ones(points.shape[:2]), boxes=np.array(boxes).reshape(-1, 4), image_size=(100, 100))


NEAR, CENTRAL, FAR = (1, 1, 41, 41), (40, 40, 60, 60), (80, 80, 95, 95)


def clip_of_three() -> list[PoseOutput]:
    """The near one (identity 0) is there for 6 of 10 frames, the central one (1) for 9, the far one (2) for all."""
    return [crowd(*[NEAR] * (i < 6), *[CENTRAL] * (i < 9), FAR) for i in range(10)]


def kept(outputs: list[PoseOutput], kind: ItemKind = "video", **options: Any) -> list[list[int]]:
    results = zip(frames([i / 20 for i in range(len(outputs))], kind), outputs, strict=True)
    return [output.track_ids.tolist() for _, output in follow_people(results, CallOptions(**options))]


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ("largest", {0}),
        ("center", {1}),
        ("longest", {2}),
        (2, {0, 1}),
        (np.int64(2), {0, 1}),
        ([2, 1], {1, 2}),
        (np.array([2, 1]), {1, 2}),
        ([9], set()),
    ],
)
def test_people_are_chosen_over_the_whole_clip(people: Any, expected: set[int]) -> None:
    ids = kept(clip_of_three()[::-1], people=people)  # which begins with one person
    everybody = kept(clip_of_three()[::-1], track=True)
    renamed = {0: 2, 1: 1, 2: 0}  # identities count from the first who is seen
    wanted = expected if isinstance(people, list | np.ndarray) else {renamed[each] for each in expected}
    assert ids == [[each for each in frame if each in wanted] for frame in everybody]


def test_who_is_confirmed_is_known_in_the_frames_before_of_a_file_alone() -> None:
    outputs = [crowd(FAR)] * 2 + [crowd(NEAR, FAR)] * 5
    assert kept(outputs, track=True) == [[0]] * 2 + [[1, 0]] * 5
    assert kept(outputs, "stream", track=True) == [[0]] * 2 + [[-1, 0]] * 2 + [[1, 0]] * 3


def test_people_of_a_stream_are_chosen_by_the_frames_so_far() -> None:
    ids = kept(clip_of_three()[::-1], kind="stream", people="largest")
    assert ids[0] == [0] and ids[-1] == [2]


def test_people_of_images_are_chosen_in_each() -> None:
    results = [(Frame(MediaItem(i, "image", "a")), output) for i, output in enumerate(clip_of_three())]
    chosen = [output for _, output in follow_people(results, CallOptions(people="largest"))]
    assert [output.boxes[0].tolist() for output in chosen] == [list(NEAR)] * 6 + [list(CENTRAL)] * 3 + [list(FAR)]
    assert chosen[0].track_ids is None


def test_streams_that_take_turns_keep_their_identities_apart() -> None:
    outputs = [crowd(FAR), crowd(NEAR)] * 4
    clips = [frames([0.0, 0.1, 0.2, 0.3], "stream", index) for index in range(2)]
    mixed = [frame for pair in zip(*clips, strict=True) for frame in pair]
    ids = [
        output.track_ids.tolist()
        for _, output in follow_people(zip(mixed, outputs, strict=True), CallOptions(track=True))
    ]
    assert ids == [[0]] * 8


def test_tracks_of_files_are_linked_where_it_is_asked_for_and_results_wait_for_the_end() -> None:
    class Seventh(PoseTracker):
        def update(self, output: PoseOutput, image: np.ndarray | None = None) -> PoseOutput:
            return replace(output, track_ids=np.full(len(output), 7))

    def identities(kind: ItemKind, **options: Any) -> tuple[set[int], int]:
        seen = iter(frames([i / 20 for i in range(9)], kind))
        results = follow_people(((frame, crowd(FAR)) for frame in seen), CallOptions(track=Seventh(), **options))
        first = next(results)[1].track_ids
        left = len(list(seen))
        return {*first.tolist()}, left

    assert identities("video", link_tracks=True) == ({0}, 0)
    assert identities("video")[0] == identities("video", link_tracks=False)[0] == {7}
    assert identities("stream", link_tracks=True) == ({7}, 8)


@pytest.mark.parametrize("people", ["biggest", 0, True, [0.5], [True], np.array([0.5]), 1.5])
def test_what_people_cannot_be(people: Any) -> None:
    with pytest.raises(InputError, match="expected 'largest', 'center', 'longest'"):
        CallOptions(people=people)


def moving(count: int) -> list[PoseOutput]:
    """A person who trembles, with one error, and is not seen in frame 7."""
    rng = np.random.default_rng(0)
    outputs = [crowd(tuple(np.array(CENTRAL) + rng.normal(0, 1, 4))) for _ in range(count)]
    outputs[20] = crowd(tuple(np.array(CENTRAL) + 4))
    outputs[7] = crowd()
    return outputs


def motion(kind: ItemKind, **options: Any) -> np.ndarray:
    outputs = moving(60)
    results = zip(frames([i / 20 for i in range(60)], kind), outputs, strict=True)
    found = [output for _, output in follow_people(results, CallOptions(track=True, **options))]
    return np.array([output.keypoints[0] for output in found if len(output)])


@pytest.mark.parametrize("smooth", ["butterworth", "gaussian", "median", "one-euro", ["hampel", "gaussian"]])
def test_filters_make_a_video_steadier(smooth: Any) -> None:
    parameters = {"smooth_cutoff": 1.0, "smooth_window": 1.0, "smooth_min_cutoff": 0.2, "smooth_beta": 0.0}
    plain, smoothed = motion("video"), motion("video", smooth=smooth, **parameters)
    assert np.diff(smoothed, axis=0).std() < 0.5 * np.diff(plain, axis=0).std()


def test_what_true_stands_for() -> None:
    np.testing.assert_array_equal(motion("video", smooth=True), motion("video", smooth="butterworth"))
    np.testing.assert_array_equal(motion("stream", smooth=True), motion("stream", smooth="one-euro"))
    np.testing.assert_array_equal(motion("image", smooth=True), motion("image", smooth="one-euro"))


def test_gaps_of_a_video_are_filled() -> None:
    assert len(motion("video")) == 59 and len(motion("video", fill_gaps=0.2)) == 60


def test_what_cannot_be_smoothed_so() -> None:
    with pytest.raises(InputError, match="frame by frame: choose 'one-euro'"):
        motion("stream", smooth="median")
    with pytest.raises(InputError, match="online=True is worked on"):
        LiftingOptions(online=True, smooth=["hampel", "one-euro"])
    with pytest.raises(InputError, match=r"fill_gaps=.* has to see where people come back"):
        motion("stream", fill_gaps=1.0)
    for wrong in ({"smooth": "kalman", "track": True}, {"smooth_window": 0}):
        with pytest.raises(InputError):
            CallOptions(**wrong)


def drawn_people(places: dict[str, int]) -> tuple[np.ndarray, list[list[int]]]:
    """An image of people in red and in blue at some x, and their boxes."""
    image = np.full((160, 320, 3), 90, np.uint8)
    for color, x in places.items():
        image[20:140, x : x + 50] = (200, 40, 30) if color == "red" else (20, 50, 190)
        image[20:50, x + 15 : x + 35] = (220, 180, 150)
    return image, [[x, 20, x + 50, 140] for x in places.values()]


def test_trackers_get_features_of_each_person_where_appearance_counts(tiny_pose: Path) -> None:
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image", device="cpu", backend="torch")
    image, boxes = drawn_people({"red": 60, "blue": 180})
    first, second = pipe([image, image], boxes=[boxes, boxes], track=True, tracking={"appearance": 1.0})
    red, blue = first.features
    np.testing.assert_allclose(second.features, first.features, atol=1e-6)
    assert not np.allclose(red, blue)
    assert pipe([image], boxes=[boxes], track=True)[0].features is None
