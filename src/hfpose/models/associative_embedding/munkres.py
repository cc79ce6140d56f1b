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
    is_row_free, is_column_free = np.ones(size, bool), ~np.isin(np.arange(size), stars)
    primes = np.full(size, -1)
    zeros = _Zeros(left, is_row_free, is_column_free)
    row, column = 0, 0
    while True:
        if not zeros.rows:
            smallest = left[np.ix_(is_row_free, is_column_free)].min()
            left[~is_row_free] += smallest
            left[:, is_column_free] -= smallest
            zeros = _Zeros(left, is_row_free, is_column_free)
            row, column = 0, 0
            continue
        row = zeros.first_row(row)
        column = zeros.last_column(row, column)
        primes[row] = column
        if stars[row] < 0:
            break
        column = int(stars[row])
        is_row_free[row], is_column_free[column] = False, True
        zeros.take_row(row)
        zeros.give_column(column)
    while True:
        owner = np.flatnonzero(stars == column)
        stars[row] = column
        if not len(owner):
            return
        row = int(owner[0])
        column = primes[row]


class _Zeros:
    """Where costs (n, n) are zero, among the free rows (n,) and columns (n,). Sets of rows and columns are integers
    with a bit for each, which are looked through much sooner than arrays of this size.

    Args:
        rows: free ones with a zero in a free column.
    """

    def __init__(self, left: np.ndarray, is_row_free: np.ndarray, is_column_free: np.ndarray) -> None:
        is_zero = left == 0
        self._columns, self._rows = _as_bits(is_zero), _as_bits(is_zero.T)
        self._free_rows, self._free_columns, self.rows = _as_bits(
            np.stack((is_row_free, is_column_free, is_row_free & (is_zero & is_column_free).any(axis=1)))
        )

    def first_row(self, start: int) -> int:
        """The first of `rows` from `start` on, around the end."""
        rows = self.rows >> start << start or self.rows
        return (rows & -rows).bit_length() - 1

    def last_column(self, row: int, start: int) -> int:
        """The free column of a zero in `row` that is the last from `start` on, around the end."""
        columns = self._columns[row] & self._free_columns
        return (columns & ((1 << start) - 1) or columns).bit_length() - 1

    def take_row(self, row: int) -> None:
        self._free_rows &= ~(1 << row)
        self.rows &= self._free_rows

    def give_column(self, column: int) -> None:
        self._free_columns |= 1 << column
        self.rows |= self._rows[column] & self._free_rows


def _as_bits(flags: np.ndarray) -> list[int]:
    """Each row of booleans (R, n) as an integer, the first one as its lowest bit."""
    return [int.from_bytes(row, "little") for row in np.packbits(flags, axis=1, bitorder="little")]
