"""Images of keypoint schemas."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from hfpose.hub.zoo import list_entries
from hfpose.keypoints import KeypointSchema, load_schema
from skeletons import draw_skeleton, rest_layout, skeleton_image

SCHEMAS = sorted({entry.schema for entry in list_entries() if entry.schema})
# Seen from the side, or of clothes that lie beside each other.
NOT_SYMMETRIC = ("300wlp", "animalpose", "ap10k", "deepfashion2", "interhand3d", "zebra")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_of_the_zoo_has_a_layout(name: str) -> None:
    schema = load_schema(name)
    layout = rest_layout(schema)
    assert layout is not None
    assert layout.shape == (schema.num_keypoints, 2)
    assert np.isfinite(layout).all()


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name not in NOT_SYMMETRIC])
def test_mirror_pairs_lie_on_mirrored_places(name: str) -> None:
    schema = load_schema(name)
    layout = rest_layout(schema)
    assert layout is not None
    if schema.num_keypoints == 21:  # one hand has no mirror image
        assert schema.flip_indices == tuple(range(21))
        return
    mirrored = layout[list(schema.flip_indices)] * [-1, 1]
    np.testing.assert_allclose(mirrored, layout, atol=1e-9)


def test_sides_of_a_body_are_seen_from_the_front() -> None:
    schema = load_schema("coco")
    layout = rest_layout(schema)
    assert layout is not None
    assert layout[schema.index("left_shoulder"), 0] > layout[schema.index("right_shoulder"), 0]
    assert layout[schema.index("left_ankle"), 1] > layout[schema.index("left_hip"), 1]


def test_image_has_the_colors_of_the_schema_at_the_keypoints() -> None:
    schema = KeypointSchema(
        name="two", keypoint_names=("nose", "neck"), keypoint_colors=((255, 0, 0), (0, 255, 0)), skeleton=((0, 1),)
    )
    assert rest_layout(schema) is not None
    coco = draw_skeleton(load_schema("coco"))
    assert coco is not None
    assert coco.dtype == np.uint8
    colors = {tuple(color) for color in coco.reshape(-1, 3)}
    assert set(load_schema("coco").keypoint_colors) <= colors


def test_unknown_names_have_no_image() -> None:
    assert draw_skeleton(KeypointSchema(name="custom", keypoint_names=("left_wing", "right_wing"))) is None
    assert draw_skeleton(KeypointSchema(name="custom", keypoint_names=("kpt-0", "kpt-1"))) is None


def test_image_is_a_small_png() -> None:
    image = skeleton_image(load_schema("coco_wholebody"))
    assert image is not None
    assert Image.open(io.BytesIO(image)).format == "PNG"
    assert len(image) < 50_000
