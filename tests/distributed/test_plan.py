"""The tasks of a run, whatever becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfpose.distributed.ray_run import Plan, Task
from hfpose.media.sources import open_source
from shared_runs import write_clip

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("in") / "clip.mp4", NOISE, 50)


def all_tasks(plan: Plan) -> list[Task]:
    tasks = []
    while task := plan.next():
        tasks.append(task)
    return tasks


def indices(tasks: list[Task]) -> list[list[int]]:
    return [[item.index for item in task.items] for task in tasks]


def test_images_come_in_chunks_whose_borders_do_not_depend_on_what_is_skipped(images):
    everything = all_tasks(Plan(open_source(images), 64, None))
    assert [len(task.items) for task in everything] == [64, 64, 22]
    rest = all_tasks(Plan(open_source(images, skip=lambda item: item.index < 70), 64, None))
    assert indices(rest) == [list(range(70, 128)), list(range(128, 150))]
    assert [task.argument for task in rest[1:]] == [task.argument for task in everything[2:]]


def test_images_that_depend_on_each_other_stay_together(images, clip):
    assert [len(task.items) for task in all_tasks(Plan(open_source([images, clip]), None, None))] == [150, 1]


def test_a_long_video_comes_in_segments_and_is_joined_when_all_are_there(clip):
    plan = Plan(open_source(clip), 64, 20)
    segments: list[Any] = [task.argument for task in all_tasks(plan)]
    assert [(segment.start, segment.stop) for segment in segments] == [(0, 20), (20, 40), (40, None)]
    for segment in reversed(segments):
        assert not plan.has_more
        plan.note_segment(segment)
    assert [task.method for task in all_tasks(plan)] == ["join"]


def test_what_kills_its_worker_is_found_among_the_inputs_of_its_chunk(images):
    plan = Plan(open_source(images, skip=lambda item: item.index > 2), 64, None)
    (chunk,) = all_tasks(plan)
    plan.retry(chunk)
    (again,) = all_tasks(plan)
    assert again is chunk
    plan.retry(again)
    alone = all_tasks(plan)
    assert sorted(indices(alone)) == [[0], [1], [2]]
    plan.retry(alone[0])
    plan.retry(*all_tasks(plan))
    assert not plan.has_more
    (line,) = plan.take_failures()
    assert (line["index"], line["status"]) == (alone[0].items[0].index, "error")
    assert "workers have died" in line["error"]
    assert not list(plan.take_failures())


def test_a_segment_that_kills_its_workers_ends_its_video_alone(clip):
    plan = Plan(open_source([clip, clip]), 64, 20)
    first, second, *others = all_tasks(plan)
    for _ in range(2):
        plan.retry(first)
    assert len(all_tasks(plan)) == 1  # the second try
    (line,) = plan.take_failures()
    assert line["index"] == 0
    for task in (second, *others):
        plan.note_segment(task.argument)
    assert indices(all_tasks(plan)) == [[1]]


def test_inputs_that_cannot_be_read_have_lines_too(tmp_path):
    plan = Plan(open_source([tmp_path, "webcam"]), 64, None)
    assert not plan.has_more
    lines = list(plan.take_failures())
    assert "holds no images" in lines[0]["error"]
    assert "webcam" in lines[1]["error"]
