"""Segments of a video: kept exactly, and joined so that each frame is where it belongs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import hfpose
from hfpose.distributed.segments import LongVideo, SegmentResult, StoredPoses, find_in_segment, join_segments
from hfpose.errors import InputError
from hfpose.media import video
from hfpose.media.frames import MediaItem
from hfpose.media.sources import open_frames
from hfpose.media.video import read_video

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pipe(quick):
    return hfpose.pipeline("pose-estimation", model=quick, detector="whole_image", device="cpu")


@pytest.fixture
def clip(make_clip) -> LongVideo:
    path = make_clip(NOISE, 25)
    return LongVideo(MediaItem(0, "video", "clip", str(path)), 25, 10)


def whole(pipe, item: MediaItem) -> list[hfpose.PoseOutput]:
    return [output for _, output in pipe.stream(open_frames(lambda: read_video(item, item.source or "", 10)))]


def joined(pipe, clip: LongVideo, redone: list[int]) -> list[hfpose.PoseOutput]:
    results = {}

    def get(segment):
        if segment not in results:
            results[segment] = find_in_segment(segment, pipe, {})
        return results[segment]

    def redo(segment):
        redone.append(segment.start)
        results[segment] = find_in_segment(segment, pipe, {}, may_seek=False)
        return results[segment]

    poses = StoredPoses(join_segments(clip, get, redo), get)
    return [output for _, output in poses.find_poses(poses.source)]


def assert_same(outputs: list[hfpose.PoseOutput], expected: list[hfpose.PoseOutput]) -> None:
    assert [output.to_dict() for output in outputs] == [output.to_dict() for output in expected]


def test_segments_cover_a_video_once(clip):
    assert [(segment.start, segment.stop) for segment in clip.segments] == [(0, 10), (10, 20), (20, None)]


def test_joined_segments_are_what_the_whole_video_gives(pipe, clip):
    redone: list[int] = []
    assert_same(joined(pipe, clip, redone), whole(pipe, clip.item))
    assert redone == []


@pytest.mark.parametrize("offset", [1, 5])
def test_a_segment_that_begins_at_the_wrong_frame_is_done_again(pipe, clip, monkeypatch, offset):
    # What is the first frame of the file is taken for a later one.
    monkeypatch.setattr(video, "_go_to", lambda container, stream, start: offset if start == 10 else 0)
    redone: list[int] = []
    assert_same(joined(pipe, clip, redone), whole(pipe, clip.item))
    # Where the first of two was wrong, what it says of the next one is not believed either.
    assert redone == [10]


def test_frames_that_look_alike_are_told_apart_by_their_time(pipe, make_clip, monkeypatch):
    path = make_clip(np.full((48, 64, 3), 90, np.uint8), 20)
    still = LongVideo(MediaItem(0, "video", "still", str(path)), 20, 10)
    monkeypatch.setattr(video, "_go_to", lambda container, stream, start: 1)
    redone: list[int] = []
    assert len(joined(pipe, still, redone)) == 20
    assert redone == [10]


@pytest.mark.parametrize("stated", [22, 31, 100])
def test_a_video_may_be_longer_or_shorter_than_it_says(pipe, clip, stated):
    assert_same(joined(pipe, replace(clip, num_frames=stated), []), whole(pipe, clip.item))


def test_a_video_that_breaks_off_says_so_at_the_end(pipe, make_clip):
    path = make_clip(NOISE, 60, "cut.avi", "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = LongVideo(MediaItem(0, "video", "cut", str(path)), 60, 10)
    outputs = joined(pipe, cut, [])
    # Which of the last damaged frames can be decoded depends on where decoding began.
    assert_same(outputs[:25], whole(pipe, cut.item)[:25])
    assert "breaks off" in (outputs[-1].error or "")


def test_results_are_kept_exactly(pipe, clip):
    segment = clip.segments[1]
    result = find_in_segment(segment, pipe, {})
    empty = result.outputs[3].select([])
    failed = hfpose.PoseOutput.failed("cut", source=clip.item.source, schema=pipe.schema)
    result = replace(result, outputs=[*result.outputs, empty, failed])
    again = SegmentResult.from_bytes(result.to_bytes(), clip.item, pipe.schema)
    assert_same(again.outputs, result.outputs)
    for output, same in zip(again.outputs, result.outputs, strict=True):
        np.testing.assert_array_equal(output.keypoints, same.keypoints)
    assert replace(again, outputs=[]) == replace(result, outputs=[])
    assert segment.file_name == "clip/000000010-20.npz"


def test_a_damaged_result_is_none(clip, pipe):
    content = find_in_segment(clip.segments[0], pipe, {}).to_bytes()
    for data in (b"", content[: len(content) // 2], bytes(len(content))):
        with pytest.raises(InputError, match="not the results of a segment"):
            SegmentResult.from_bytes(data, clip.item, pipe.schema)


def test_fingerprints_are_of_the_first_frame_and_the_one_behind(pipe, clip):
    first, second, last = (find_in_segment(segment, pipe, {}) for segment in clip.segments)
    assert first.after == second.first is not None
    assert second.after == last.first is not None
    assert last.after is None
    assert [len(result.outputs) for result in (first, second, last)] == [10, 10, 5]
