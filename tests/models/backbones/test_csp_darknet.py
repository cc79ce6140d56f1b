"""CSPDarknet."""

from __future__ import annotations

import torch

from hfpose.models.backbones.csp_darknet import CSPDarknetBackboneConfig, Focus


def test_focus_keeps_every_pixel_column_by_column():
    focus = Focus(CSPDarknetBackboneConfig(num_channels=1))
    focus.conv = torch.nn.Identity()
    pixels = torch.tensor([[1.0, 3.0], [2.0, 4.0]])[None, None]
    assert focus(pixels).flatten().tolist() == [1, 2, 3, 4]
