"""The cheapest way to pair rows with columns."""

from __future__ import annotations

import numpy as np


def cheapest_pairs(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows and columns with the smallest sum of costs, none of them in two pairs.

    The Hungarian algorithm with potentials, O(n^2 m): one row after the other is paired along the cheapest chain of
    exchanges (Jonker and Volgenant, 1987).

    Args:
        costs: (R, C), finite.

    Returns:
        Indices of rows, ascending, and of their columns, min(R, C) of each.
    """
    costs = np.asarray(costs, dtype=np.float64)
    if costs.shape[0] > costs.shape[1]:
        columns, rows = cheapest_pairs(costs.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    num_rows, num_columns = costs.shape
    row_prices, column_prices = np.zeros(num_rows), np.zeros(num_columns)
    owners = np.full(num_columns, -1)  # row of each column
    for start in range(num_rows):
        distances = np.full(num_columns, np.inf)  # of each column from `start`, along exchanges
        previous = np.full(num_columns, -1)  # column before it on that way
        is_done = np.zeros(num_columns, dtype=bool)
        row, column, reached = start, -1, 0.0
        while row >= 0:
            through = reached + costs[row] - row_prices[row] - column_prices
            is_shorter = ~is_done & (through < distances)
            distances[is_shorter], previous[is_shorter] = through[is_shorter], column
            column = int(np.where(is_done, np.inf, distances).argmin())
            reached, row = distances[column], owners[column]
            is_done[column] = True
        gains = np.where(is_done, reached - distances, 0)
        column_prices -= gains
        passed = is_done & (owners >= 0)
        row_prices[owners[passed]] += gains[passed]
        row_prices[start] += reached
        while column >= 0:
            before = previous[column]
            owners[column] = start if before < 0 else owners[before]
            column = before
    columns = np.flatnonzero(owners >= 0)
    order = np.argsort(owners[columns])
    return owners[columns][order], columns[order]
