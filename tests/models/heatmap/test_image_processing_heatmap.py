from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.models.heatmap.convert_heatmap import heatmap_processor_arguments
from hfpose.models.heatmap.image_processing_heatmap import HeatmapImageProcessor
from hfpose.models.shared.heatmaps import flip_heatmaps
from hfpose.models.shared.top_down import crop_matrices


def gaussians(points: np.ndarray, size: tuple[int, int], sigma: float = 2.0) -> Tensor:
    """Heatmaps (N, K, H, W) with peaks of 1 at `points` (N, K, 2), in cells."""
    y, x = np.mgrid[: size[0], : size[1]]
    squared = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return torch.from_numpy(np.exp(-squared / (2 * sigma**2)).astype(np.float32))


@pytest.mark.parametrize(
    ("decoding", "use_udp", "tolerance"),
    [("udp", True, 0.2), ("udp", False, 0.2), ("quarter", False, 2.0), ("quarter", True, 2.0)],
)
def test_keypoints_come_back_to_their_place_in_the_picture(decoding: str, use_udp: bool, tolerance: float) -> None:
    processor = HeatmapImageProcessor(heatmap_decoding=decoding, use_udp=use_udp)
    boxes = np.array([[100, 50, 250, 400], [300, 200, 420, 260]], np.float32)
    places = boxes[:, None, :2] + np.random.default_rng(0).uniform(0.1, 0.9, (2, 17, 2)) * (
        boxes[:, None, 2:] - boxes[:, None, :2]
    )
    matrices = crop_matrices(*processor.centers_and_scales(boxes), (192, 256), use_udp)
    in_crops = np.einsum("nij,nkj->nki", matrices[:, :, :2], places) + matrices[:, None, :, 2]
    cells = in_crops * (np.array([48, 64]) - (decoding == "udp")) / (np.array([192, 256]) - use_udp)
    keypoints, scores = processor.decode({"heatmaps": gaussians(cells, (64, 48))}, boxes)  # type: ignore[arg-type]
    assert np.abs(keypoints - places).max() < tolerance
    assert keypoints.dtype == scores.dtype == np.float32


def test_udp_puts_the_outermost_cells_on_the_outermost_pixels() -> None:
    heatmaps = torch.full((1, 2, 64, 48), 60.0)  # above the range of UDP's logarithm: a plateau
    heatmaps[0, 0, 0, 0] = heatmaps[0, 1, 63, 47] = 61
    outputs: Any = {"heatmaps": heatmaps}
    udp, _ = HeatmapImageProcessor(use_udp=True, heatmap_decoding="udp", blur_kernel_size=1).decode_crops(outputs)
    plain, _ = HeatmapImageProcessor().decode_crops(outputs)
    np.testing.assert_allclose(udp[0], [[0, 0], [191, 255]], atol=1e-4)
    assert plain[0].tolist() == [[0, 0], [188, 252]]


def test_merging_keeps_the_kind_of_output() -> None:
    processor = HeatmapImageProcessor(shift_flipped_heatmaps=False)
    heatmaps = torch.rand(1, 2, 4, 4)

    class Output(SimpleNamespace):
        def __getitem__(self, key: str) -> Tensor:
            return getattr(self, key)

    merged: Any = processor.merge_flipped(Output(heatmaps=heatmaps), Output(heatmaps=heatmaps), (1, 0))  # type: ignore[arg-type]
    assert isinstance(merged, Output)
    torch.testing.assert_close(merged.heatmaps, (heatmaps + flip_heatmaps(heatmaps, (1, 0), shift=False)) * 0.5)


def reference(**changes: Any) -> dict[str, Any]:
    decoder = {"type": "MSRAHeatmap", "input_size": [192, 256], "heatmap_size": [48, 64], "sigma": 2}
    preprocessor = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True}
    settings: dict[str, Any] = {
        "head": {"decoder": decoder | changes.pop("decoder", {})},
        "data_preprocessor": preprocessor,
        "test_cfg": {"flip_test": True, "flip_mode": "heatmap", "shift_heatmap": True},
    }
    return settings | changes


@pytest.mark.parametrize(
    ("decoder", "decoding"), [({}, "quarter"), ({"unbiased": True}, "dark"), ({"type": "UDPHeatmap"}, "udp")]
)
def test_processor_of_each_codec(decoder: dict[str, Any], decoding: str) -> None:
    processor = HeatmapImageProcessor(**heatmap_processor_arguments(reference(decoder=decoder)))
    assert processor.heatmap_decoding == decoding
    assert processor.size == {"height": 256, "width": 192}
    assert processor.shift_flipped_heatmaps
    assert processor.flip_test


def test_processor_of_a_custom_test_pipeline() -> None:
    pipeline = [
        {"type": "LoadImage"},
        {"type": "GetBBoxCenterScale", "padding": 1.5},
        {"type": "TopdownAffine", "input_size": [192, 256], "use_udp": True},
        {"type": "PackPoseInputs"},
    ]
    decoder = {"blur_kernel_size": 17}
    arguments = heatmap_processor_arguments(reference(test_pipeline=pipeline, test_cfg={}, decoder=decoder))
    processor = HeatmapImageProcessor(**arguments)
    assert (processor.box_padding, processor.use_udp, processor.blur_kernel_size) == (1.5, True, 17)
    assert not processor.shift_flipped_heatmaps
    assert not processor.flip_test


def test_flip_tests_of_another_kind_are_named() -> None:
    with pytest.raises(ConfigError, match="offset"):
        heatmap_processor_arguments(reference(test_cfg={"flip_mode": "offset"}))


def test_heatmaps_to_look_at_are_the_responses() -> None:
    outputs: Any = {"heatmaps": torch.rand(1, 6, 4, 4)}
    shown = HeatmapImageProcessor(heatmap_decoding="udp_combined").heatmaps(outputs)
    torch.testing.assert_close(shown, outputs["heatmaps"][:, [0, 3]])
