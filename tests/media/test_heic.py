"""Images of iPhones, where pillow-heif is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hfpose.media.images import load_image

pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif: pip install 'hfpose[heic]'")


def test_heic_images_are_read(tmp_path: Path) -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, 32:] = (200, 40, 40)
    pillow_heif.from_bytes(mode="RGB", size=(64, 48), data=pixels.tobytes()).save(tmp_path / "a.heic", quality=100)
    read = load_image(tmp_path / "a.heic")
    assert read.shape == pixels.shape
    assert np.abs(read.astype(int) - pixels).mean() < 4
