from __future__ import annotations

import torch

from hfpose.models.shared.convolution import DropPath


def test_a_share_of_the_updates_is_left_out_and_the_others_are_larger():
    torch.manual_seed(0)
    update = torch.ones(1000, 2, 3)
    found = DropPath(0.75).train()(update)
    assert found.unique().tolist() == [0, 4]
    assert 0.9 < found.mean() < 1.1
    assert (found == found[:, :1, :1]).all()
    assert torch.equal(DropPath(0.75).eval()(update), update)


def test_all_updates_may_be_left_out():
    assert torch.equal(DropPath(1.0).train()(torch.ones(3, 2)), torch.zeros(3, 2))
