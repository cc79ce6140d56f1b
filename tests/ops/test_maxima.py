import torch

from hfpose.ops.maxima import greatest


def test_the_first_of_equal_values_is_the_greatest():
    best, index = greatest(torch.tensor([[[1.0, 3.0, 3.0], [-2.0, -1.0, -4.0]]]))
    assert best.tolist() == [[3.0, -1.0]]
    assert index.tolist() == [[1, 1]]


def test_nan_is_the_greatest_as_for_torch():
    values = torch.tensor([[1.0, torch.nan, 2.0]])
    assert greatest(values)[1].tolist() == values.max(-1).indices.tolist() == [1]
