"""The cheapest way to pair rows with columns."""

from __future__ import annotations

import numpy as np


def cheapest_pairs(costs: np.ndarray, limit: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows and columns with the smallest sum of costs, none of them in two pairs.

    The Hungarian algorithm with potentials, O(n^2 m): rows get the column that is cheapest for them where no row
    before has it, the others are paired one after the other along the cheapest chain of exchanges (Jonker and
    Volgenant, 1987).

    Args:
        costs: (R, C), finite.
        limit: what it costs to leave a row alone; pairs that cost as much or more are left out.

    Returns:
        Indices of rows, ascending, and of their columns: min(R, C) of each, or fewer with a limit.
    """
    costs = np.asarray(costs, dtype=np.float64)
    if not costs.size or (limit is not None and costs.min() >= limit):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if limit is not None:
        losses = np.minimum(costs - limit, 0)  # of pairs against rows that are alone
        some_rows, some_columns = np.flatnonzero(losses.any(1)), np.flatnonzero(losses.any(0))
        rows, columns = cheapest_pairs(losses[some_rows[:, None], some_columns])
        rows, columns = some_rows[rows], some_columns[columns]
        is_pair = losses[rows, columns] < 0
        return rows[is_pair], columns[is_pair]
    if costs.shape[0] > costs.shape[1]:
        columns, rows = cheapest_pairs(costs.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    slack = costs - costs.min(1, keepdims=True)  # what pairs cost more than the prices of their row and column
    nearest, rows = slack.argmin(1), np.arange(len(costs))
    owners = np.full(costs.shape[1], -1)  # row of each column
    owners[nearest[::-1]] = rows[::-1]
    for row in np.flatnonzero(owners[nearest] != rows).tolist():
        _pair(row, slack, owners)
    columns = np.flatnonzero(owners >= 0)
    order = np.argsort(owners[columns])
    return owners[columns][order], columns[order]


def _pair(start: int, slack: np.ndarray, owners: np.ndarray) -> None:
    """Pair the row `start` along the cheapest chain of exchanges: `slack` (R, C) and `owners` (C,) are changed."""
    distances = np.full(len(owners), np.inf)  # of each column from `start`, along exchanges
    previous = np.full(len(owners), -1)  # column before it on that way
    is_open = np.ones(len(owners), dtype=bool)
    row, column, reached = start, -1, 0.0
    while row >= 0:
        through = slack[row] + reached
        is_shorter = is_open & (through < distances)
        np.copyto(distances, through, where=is_shorter)
        np.copyto(previous, column, where=is_shorter)
        column = int(np.where(is_open, distances, np.inf).argmin())
        reached, row = float(distances[column]), int(owners[column])
        is_open[column] = False
    gains = np.where(is_open, 0, reached - distances)
    passed = np.flatnonzero(~is_open & (owners >= 0))
    slack[owners[passed]] -= gains[passed, None]
    slack[start] -= reached
    slack += gains
    while column >= 0:
        before = previous[column]
        owners[column] = start if before < 0 else owners[before]
        column = before
