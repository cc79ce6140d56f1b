"""How many cores a process may use."""

from __future__ import annotations

import os

import pytest
import torch

from hfpose.backends import processor_cores
from hfpose.backends.processor_cores import limit_threads, usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "broken"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_the_least_of_affinity_and_control_group_counts(files, expected, tmp_path):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert usable_cores(tmp_path) == expected


@pytest.mark.parametrize(("given", "expected"), [(None, [2]), ("4", [])])
def test_torch_gets_no_more_threads_than_cores_unless_told_otherwise(given, expected, monkeypatch):
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    asked: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(processor_cores, "usable_cores", lambda: 2)
    limit_threads.cache_clear()
    limit_threads()
    limit_threads()
    assert asked == expected
