from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfpose.media.files import partial_path
from hfpose.media.json_lists import JsonListFile, write_json_list


def test_whole_list(tmp_path: Path) -> None:
    for entries in ([], [{"a": [1.5, None]}], [{"a": 1}, {"b": "ä\n"}]):
        write_json_list(tmp_path / "list.json", entries)
        assert json.loads((tmp_path / "list.json").read_text()) == entries
        assert JsonListFile.read(tmp_path / "list.json") == entries


def test_growing_list_is_valid_all_the_time(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "list.json"
    file = JsonListFile(path)
    entries: list = []
    for added in ([], [1], [], ["x" * 20_000, {"y": []}], [3]):
        file.append(added)
        entries += added
        assert json.loads(partial_path(path).read_text()) == entries
        assert not path.exists()
    file.finish()
    assert json.loads(path.read_text()) == entries and [p.name for p in path.parent.iterdir()] == ["list.json"]


def test_a_list_in_an_object_grows_too(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    file = JsonListFile(path, {"names": ["ä"], "size": [2]}, "rows")
    for count in range(3):
        assert json.loads(partial_path(path).read_text()) == {"names": ["ä"], "size": [2], "rows": [*range(count)]}
        file.append([count])
    file.finish()
    assert json.loads(path.read_text())["rows"] == JsonListFile.read(path) == [0, 1, 2]


def test_growing_and_whole_lists_are_the_same_file(tmp_path: Path) -> None:
    file = JsonListFile(tmp_path / "grown.json")
    file.append([1])
    file.append([2, 3])
    file.finish()
    write_json_list(tmp_path / "whole.json", [1, 2, 3])
    assert (tmp_path / "grown.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_abandoned_list_stays_under_its_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    file = JsonListFile(path)
    file.append([1, 2])
    file.abandon()
    assert not path.exists() and json.loads(partial_path(path).read_text()) == [1, 2]


def test_new_run_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    for entries in ([1, 2, 3, 4, 5], [6]):
        file = JsonListFile(path)
        file.append(entries)
        file.abandon()
    assert json.loads(partial_path(path).read_text()) == [6]


def test_what_can_be_read_of_a_broken_list(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    write_json_list(path, [{"n": i} for i in range(10)])
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        entries = JsonListFile.read(path)
        assert entries == [{"n": i} for i in range(len(entries))]
    assert len(entries) == 10


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json_list(tmp_path / "list.json", [float("nan")])
    assert not list(tmp_path.iterdir())
