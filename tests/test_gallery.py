"""Drawings of keypoint schemas in the docs: their halves mirror each other as the schema says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from layouts import layout

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
# Seen from the side, one hand, or no pairs at all.
WITHOUT_MIRROR = {"animalkingdom", "animalpose", "ap10k", "zebra", "deepfashion2", "300wlp"}
LARGEST = 400_000


@pytest.mark.parametrize("name", sorted(path.stem for path in (PICTURES / "schemas").iterdir()))
def test_drawn_schemas_mirror(name: str) -> None:
    schema = load_schema(name)
    points = layout(schema)
    assert points.shape == (schema.num_keypoints, 2)
    pairs = list(schema.flip_indices or ())
    if name not in WITHOUT_MIRROR and pairs != sorted(pairs):
        np.testing.assert_allclose(points[pairs] * (-1, 1), points, atol=1e-6)


def test_images_are_small() -> None:
    assert [path.name for path in PICTURES.rglob("*.*") if path.stat().st_size > LARGEST] == []
