"""Options of `hfpose predict` that take none, one or several values."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from hfpose.cli import app
from hfpose.cli.predict_command import _FILTERS, _FOREIGN, _with_value, read_filters, read_people


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--smooth", "a.mp4"], ["--smooth", "auto", "a.mp4"]),
        (["a.mp4", "--smooth"], ["a.mp4", "--smooth", "auto"]),
        (["--smooth", "hampel,gaussian", "a.mp4"], ["--smooth", "hampel,gaussian", "a.mp4"]),
        (["--smooth", "gaussian.mp4"], ["--smooth", "auto", "gaussian.mp4"]),
    ],
)
def test_a_filter_need_not_be_named(given: list[str], expected: list[str]) -> None:
    assert list(_with_value("--smooth", _FILTERS, "auto", given)) == expected


def test_what_filters_are_read_as() -> None:
    assert [read_filters(text) for text in (None, "auto", "hampel,gaussian")] == [False, True, ["hampel", "gaussian"]]


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("center", "center"), ("2", 2), ("0,2", [0, 2]), ("3,", [3])]
)
def test_what_people_are_read_as(text: str | None, expected: Any) -> None:
    assert read_people(text) == expected


def test_identities_are_numbers() -> None:
    with pytest.raises(typer.BadParameter, match="names no identities"):
        read_people("1,b")


def test_options_of_other_programs_are_told_by_their_names_here() -> None:
    command = typer.main.get_command(app).commands["predict"]  # type: ignore[attr-defined]
    known = {name for option in command.params for name in option.opts}
    named = {name for hint in _FOREIGN.values() for name in re.findall(r"--[\w-]+", hint)}
    assert named <= known and not known & {f"--{name}" for name in _FOREIGN}
    with pytest.raises(Exception, match=r"--conf\. Give --bbox-thr"):
        command.make_context("predict", ["photo.jpg", "--conf", "0.3"])
