"""The cheapest pairs as Munkres' algorithm finds them.

Rounded distances of tags are often equal, and the order of the search then decides who belongs together.

Source: Munkres, "Algorithms for the Assignment and Transportation Problems", 1957, in the order of the package
munkres 1.1, which `mmpose.codecs.AssociativeEmbedding` calls.
"""

from __future__ import annotations

import numpy as np

# The price of a column that is not there, as the reference has it.
_NO_COLUMN = 1e10


def munkres_pairs(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows and columns with the smallest sum of costs, none of them in two pairs.

    Args:
        costs: (R, C).

    Returns:
        Indices of rows, ascending, and of their columns, min(R, C) of each.
    """
    num_rows, num_columns = costs.shape
    left = np.zeros((max(costs.shape),) * 2)
    left[:num_rows, :num_columns] = costs
    left[:num_rows, num_columns:] = _NO_COLUMN
    left -= left.min(axis=1, keepdims=True, initial=np.inf)
    stars = _first_stars(left)
    while (stars < 0).any():
        _add_star(left, stars)
    rows = np.flatnonzero(stars[:num_rows] < num_columns)
    return rows, stars[rows]


def _first_stars(left: np.ndarray) -> np.ndarray:
    """The column (n,) in which each row has its first zero of those that no row before has taken, -1 for none."""
    stars = np.full(len(left), -1)
    is_free = np.ones(len(left), bool)
    for row, is_zero in enumerate(left == 0):
        if (is_zero & is_free).any():
            stars[row] = int((is_zero & is_free).argmax())
            is_free[stars[row]] = False
    return stars


def _add_star(left: np.ndarray, stars: np.ndarray) -> None:
    """Let one more row have a column, by exchanges along zeros: costs `left` (n, n) and `stars` (n,) change in
    place."""
    size = len(left)
    places = np.arange(size)
    is_row_free, is_column_free = np.ones(size, bool), ~np.isin(places, stars)
    primes = np.full(size, -1)
    row, column = 0, 0
    while True:
        is_zero = (left == 0) & is_row_free[:, None] & is_column_free
        has_zero = is_zero.any(axis=1)
        if not has_zero.any():
            smallest = left[np.ix_(is_row_free, is_column_free)].min()
            left[~is_row_free] += smallest
            left[:, is_column_free] -= smallest
            row, column = 0, 0
            continue
        row = int(np.roll(places, -row)[np.roll(has_zero, -row)][0])
        column = int(np.roll(places, -column)[np.roll(is_zero[row], -column)][-1])
        primes[row] = column
        if stars[row] < 0:
            break
        column = stars[row]
        is_row_free[row], is_column_free[column] = False, True
    while True:
        owner = np.flatnonzero(stars == column)
        stars[row] = column
        if not len(owner):
            return
        row = int(owner[0])
        column = primes[row]
