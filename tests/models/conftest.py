"""What tests of models share."""

from __future__ import annotations

import cv2
import pytest
import torch

from opencv_4 import warp_affine

HAS_AVX512 = torch.cpu._is_avx512_supported()
# Made larger by the networks, rounding alone moves these by more than the tolerance: float64 by 28 times that of
# LiteHRNet. The reference's own outputs come from a processor with AVX-512, whose float32 rounds as theirs.
AMPLIFY_ROUNDING = (
    "test_outputs_and_keypoints[ipr_res50_8xb64-210e_coco-256x256]",
    "test_outputs_and_keypoints[ipr_res50_dsnt-8xb64-210e_coco-256x256]",
    "test_raw_outputs_and_keypoints_with_and_without_dark",
    "test_keypoints_of_the_last_stage[mspn50_8xb32-210e_coco-256x192]",
    "test_raw_outputs_of_a_network_that_amplifies_rounding",
)


@pytest.fixture(autouse=True)
def skip_where_rounding_decides(request: pytest.FixtureRequest) -> None:
    if not HAS_AVX512 and request.node.name in AMPLIFY_ROUNDING:
        pytest.skip("needs a processor with AVX-512: this network amplifies how others round")


@pytest.fixture
def exact_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AVX-512 oneDNN sums convolutions up ten times less exactly than torch does, in half of the time. Few
    networks with seeded weights make more than 1e-4 of it, to which goldens hold; most stay below 5e-5."""
    if not HAS_AVX512:
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


@pytest.fixture(autouse=True)
def crops_of_opencv_4(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feeds networks that are compared with the reference what it fed them. OpenCV 5 interpolates with less rounding:
    pixels differ by up to 5 of 255, of which seeded weights make more than what goldens hold to."""
    is_parity = request.node.path.name.startswith("test_parity_") and "crops" not in request.node.name
    if is_parity and cv2.__version__.startswith("5"):
        monkeypatch.setattr(cv2, "warpAffine", warp_affine)
