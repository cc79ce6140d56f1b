"""Numbers and ids as annotation files have them: also as texts, nested, or missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_GREATEST = float(np.finfo(np.float32).max)


def numbers(values: Any) -> list[float] | None:
    """The numbers of a list, also of a nested one and of texts, null as NaN; None for anything else."""
    if not isinstance(values, list):
        return None
    flat = [value for part in values for value in (part if isinstance(part, list) else [part])]
    try:
        return [math.nan if value is None else float(value) for value in flat]
    except (TypeError, ValueError, OverflowError):
        return None


def finite_numbers(values: Any, count: int | None = None) -> list[float] | None:
    """The numbers of a list if all are finite in float32 and, where a count is given, they are so many; else None."""
    found = numbers(values)
    if found is None or count not in (None, len(found)) or not all(abs(value) <= _GREATEST for value in found):
        return None
    return found


def finite_number(value: Any) -> float | None:
    """A number, also one that is given as text, if it is finite; else None."""
    found = finite_numbers([value], 1)
    return None if found is None else found[0]


def keypoint_rows(values: Any) -> np.ndarray | None:
    """Keypoints (K, 3) x, y, visibility out of 3 K numbers; what is not a number is 0 where a keypoint is not labeled.

    None for anything else, and where the numbers of a labeled keypoint are not finite in float32.
    """
    found = numbers(values)
    if found is None or len(found) % 3:
        return None
    rows = np.array(found, np.float64).reshape(-1, 3)
    unlabeled = (rows[:, 2] == 0) | np.isnan(rows).all(1)
    rows[unlabeled] = np.nan_to_num(rows[unlabeled], posinf=0, neginf=0)
    return rows if (np.abs(rows) <= _GREATEST).all() else None


def usable_area(area: Any, box_area: float) -> float | None:
    """The stated area of an instance, None where it is no number, or at most one pixel though the box is larger: tools
    for keypoints write 0, 1 or -1 there."""
    stated = finite_number(area)
    return None if stated is None or (stated <= 1 and box_area > max(stated, 0)) else stated


def id_lookup(ids: Iterable[Any]) -> dict[Any, Any]:
    """Ids by themselves and by their text, since some files write "1" in one place and 1 in another."""
    exact = {identity: identity for identity in ids if isinstance(identity, (int, float, str))}
    return {str(identity): identity for identity in exact} | exact


def listed_id(identity: Any, lookup: Mapping[Any, Any]) -> Any:
    """The listed id that is meant, None where there is none."""
    return lookup.get(identity, lookup.get(str(identity))) if isinstance(identity, (int, float, str)) else None


def id_order(identity: float | str) -> tuple[bool, float | str]:
    """Sorts ids, numbers before texts."""
    return isinstance(identity, str), identity
