"""Which weights of a training are kept."""

from __future__ import annotations

import pytest
from torch import nn

from hfpose.training.validation import BestWeights


@pytest.mark.parametrize(
    ("metrics", "best"),
    [
        ([{"AP": 0.2, "EPE": 9}, {"AP": 0.1, "EPE": 1}], 0),
        ([{"AP": 0.0, "PCK@0.05": 0.1, "EPE": 5}, {"AP": 0.0, "PCK@0.05": 0.3, "EPE": 9}], 1),
        ([{"AP": 0.0, "EPE": 5}, {"AP": 0.0, "EPE": 4}], 1),
        ([{"AP": 0.5, "EPE": 5}, {"AP": 0.5, "EPE": 5}], 0),
    ],
)
def test_the_next_metric_decides_where_the_first_does_not(tmp_path, metrics, best):
    weights = BestWeights(nn.Linear(1, 1), dict, tmp_path, None, lambda message: None, is_new=True)
    for step, measured in enumerate(metrics):
        weights.add(step, measured)
    assert weights.record["step"] == best


def test_a_checkpoint_that_is_measured_again_counts_once(tmp_path):
    """A run that was killed between measuring and saving measures the same step when it goes on."""

    def weights(is_new: bool) -> BestWeights:
        return BestWeights(nn.Linear(1, 1), dict, tmp_path, None, lambda message: None, is_new)

    first = weights(is_new=True)
    for step, ap in enumerate((0.5, 0.4)):
        first.add(step, {"AP": ap})
    resumed = weights(is_new=False)
    for step in (0, 1):
        resumed.add(step, {"AP": 0.4})
    assert resumed.record["waited"] == 1
    resumed.add(2, {"AP": 0.4})
    assert weights(is_new=False).record["waited"] == 2
