from __future__ import annotations

import os
from pathlib import Path

import pytest

from hfpose.media.naming import Namer, base_name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/b/photo.jpg", "photo"),
        (Path("photo.old.png"), "photo.old"),
        ("no_ending", "no_ending"),
        ("http://host/a/photo.jpg?size=large#top", "photo"),
        ("http://host/", "unnamed"),
        ("http://host/a%20b.jpg", "a b"),
        ("http://host/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("http://host/..%5C..%5Cboot.ini", "boot"),
        ("http://host/%00%0a.jpg", "_"),
        ("...", "unnamed"),
        ('a:b*"c".jpg', "a_b_c_"),
    ],
)
def test_base_name(source: str | Path, name: str) -> None:
    assert base_name(source) == name


def test_long_names_leave_room_for_endings() -> None:
    assert len(base_name("http://host/" + "x" * 500)) < 200


def test_taken_names_are_numbered() -> None:
    namer = Namer()
    assert [namer.unique(name) for name in ("a", "a", "b", "a", "A")] == ["a", "a_2", "b", "a_3", "A_4"]


def test_numbered_names_avoid_names_that_look_numbered() -> None:
    namer = Namer()
    assert [namer.unique(name) for name in ("a", "a_2", "a", "a_2")] == ["a", "a_2", "a_3", "a_2_2"]


def test_the_same_in_each_run() -> None:
    names = ["x", "y", "x", "x_2", "X"]
    first, second = ([namer.unique(name) for name in names] for namer in (Namer(), Namer()))
    assert first == second and len(set(map(str.casefold, first))) == len(names)


def test_numbers_of_arrays_and_files_do_not_meet() -> None:
    namer = Namer()
    names = [namer.index_name(0), namer.unique("0000000000"), namer.unique("0000000002"), namer.index_name(2)]
    assert names == ["0000000000", "0000000000_2", "0000000002", "0000000002_2"]


def test_numbers_with_fewer_digits() -> None:
    namer = Namer(index_digits=6)
    names = [namer.index_name(7), namer.unique("000007"), namer.unique("0000000007"), namer.index_name(1234567)]
    assert names == ["000007", "000007_2", "0000000007", "1234567"]


def test_endless_streams_of_arrays_cost_no_memory() -> None:
    namer = Namer()
    for index in range(1000):
        namer.index_name(index)
    assert not namer._taken


@pytest.mark.parametrize("letter", ["人", "é", "a"])
def test_long_names_fit_into_file_systems_and_stay_apart(letter: str) -> None:
    names = {base_name(f"{letter * 250}{end}.jpg") for end in "xy"}
    assert len(names) == 2 and all(len(name.encode()) <= 180 for name in names)


def test_names_that_are_not_utf8_can_be_written() -> None:
    assert base_name(os.fsdecode(b"caf\xe9.jpg")).encode() == "caf\ufffd".encode()


def test_files_of_one_name_are_told_apart_by_their_endings() -> None:
    namer = Namer()
    assert [namer.unique("a", suffix) for suffix in (".jpg", ".PNG", ".PNG")] == ["a", "a_png", "a_png_2"]
