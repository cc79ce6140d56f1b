"""Hashes that the names of published files state."""

from __future__ import annotations

import re

# Names of published checkpoints end in -<8 hex digits of the SHA-256>, some with the date of release after it.
_NAME_WITH_HASH = re.compile(r"-(?P<hash>[0-9a-f]{7,64})(?P<date>_\d{8})?\.\w+$")
_DATE = re.compile(r"20\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")


def stated_hash(name: str) -> str | None:
    """First digits of the SHA-256 that the file name of a published checkpoint states, or None.

    A name that ends in digits alone, such as a date or a step count, states none unless a date of release follows.
    """
    match = _NAME_WITH_HASH.search(name)
    if match is None:
        return None
    digits = match["hash"]
    if _DATE.fullmatch(digits) or (match["date"] is None and (digits.isdigit() or len(digits) < 8)):
        return None
    return digits
