"""The order in which equally cheap pairs are found."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.models.associative_embedding.munkres import munkres_pairs
from hfpose.ops.assignment import cheapest_pairs


# What `Munkres().compute` of the package munkres 1.1.4 gives.
@pytest.mark.parametrize(
    ("costs", "columns"),
    [
        ([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 0, 0]], [1, 3, 0, 4]),
        ([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [1, 0, 1, 0, 0]], [0, 2, 3, 1]),
        ([[1, 0, 0, 1, 0], [0, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]], [1, 0, 3, 2]),
        ([[0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 0, 0, 1, 0]], [0, 1, 2, 4]),
    ],
)
def test_of_equally_cheap_pairs_those_of_the_reference_are_found(costs: list[list[int]], columns: list[int]) -> None:
    rows, found = munkres_pairs(np.array(costs, float))
    assert rows.tolist() == [0, 1, 2, 3] and found.tolist() == columns


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (6, 6), (0, 2), (2, 0)])
def test_pairs_are_the_cheapest(shape: tuple[int, int]) -> None:
    costs = np.random.default_rng(0).random(shape)
    for ours, expected in zip(munkres_pairs(costs), cheapest_pairs(costs), strict=True):
        assert ours.tolist() == expected.tolist()
