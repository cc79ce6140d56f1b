"""Pairs of rows and columns."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from hfpose.ops.assignment import cheapest_pairs


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (5, 2), (4, 6)])
def test_no_other_pairs_cost_less(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        costs = rng.normal(size=shape) * 100
        rows, columns = cheapest_pairs(costs)
        assert (np.diff(rows) > 0).all()
        assert len(set(columns)) == len(rows) == min(shape)
        few, many = sorted(shape)
        by_few = costs if shape[0] == few else costs.T
        best = min(by_few[range(few), list(chosen)].sum() for chosen in permutations(range(many), few))
        assert costs[rows, columns].sum() == pytest.approx(best)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_pair(shape: tuple[int, int]) -> None:
    rows, columns = cheapest_pairs(np.zeros(shape))
    assert len(rows) == len(columns) == 0


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
def test_with_a_limit_rows_stay_alone_rather_than_pay_more(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        costs, limit = rng.uniform(0, 10, shape), 3.0
        rows, columns = cheapest_pairs(costs, limit)
        alone = np.full((shape[0], shape[0]), limit)  # a column for each row, if it wants to
        by_all = np.concatenate((costs, alone), axis=1)
        best = by_all[cheapest_pairs(by_all)].sum()
        assert (costs[rows, columns] < limit).all()
        assert costs[rows, columns].sum() + limit * (shape[0] - len(rows)) == pytest.approx(best)


def test_no_pair_where_all_cost_the_limit() -> None:
    rows, columns = cheapest_pairs(np.full((2, 2), 5.0), 5.0)
    assert len(rows) == len(columns) == 0
