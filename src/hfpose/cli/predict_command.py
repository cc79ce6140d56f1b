"""How `hfpose predict` reads options that take none, one or several values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from hfpose.cli.model_command import ModelCommand

_ADDRESS = re.compile(r"auto|local|ray://.+|[\w.-]+:\d+")  # of a Ray cluster


class PredictCommand(ModelCommand):
    """Lets `--det-cat-ids 15 16 17` take several numbers, as the reference's demo does, and `--ray` an address or none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_with_address("--ray", _repeated("--det-cat-ids", args))))


def _with_address(option: str, args: Iterable[str]) -> Iterator[str]:
    """The arguments, with `local` behind an `option` that no address of a Ray cluster follows."""
    is_open = False
    for arg in args:
        if is_open and not _ADDRESS.fullmatch(arg):
            yield "local"
        is_open = arg == option
        yield arg
    if is_open:
        yield "local"


def _repeated(option: str, args: Iterable[str]) -> Iterator[str]:
    """The arguments, with `option` before every number that follows its first value."""
    place = -1  # of an argument behind the option
    for arg in args:
        if arg == option:
            place = 0
        elif place >= 0:
            place += 1
            if place > 1:
                if arg.isdecimal():
                    yield option
                else:
                    place = -1
        yield arg
