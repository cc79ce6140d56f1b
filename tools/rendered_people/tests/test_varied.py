from __future__ import annotations

import numpy as np
import pytest

from rendered_people import Scene, render_scene
from rendered_people.textures import texture
from rendered_people.varied import render_training_scene, render_varied


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_varied(seed) for seed in range(24)]


def test_the_same_seed_gives_the_same_scene(scenes):
    again = render_varied(5)
    np.testing.assert_array_equal(again.image, scenes[5].image)
    np.testing.assert_array_equal(again.boxes, scenes[5].boxes)


def test_some_scenes_show_nobody_and_people_are_small_and_large(scenes):
    assert any(scene.num_people == 0 for scene in scenes)
    sides = np.concatenate([(scene.boxes[:, 2:] - scene.boxes[:, :2]).max(1) for scene in scenes])
    assert sides.min() < 80 and sides.max() > 300


def test_visible_keypoints_lie_in_their_box(scenes):
    for scene in scenes:
        for box, keypoints, visibility in zip(scene.boxes, scene.keypoints, scene.visibility, strict=True):
            visible = keypoints[visibility == 2]
            assert (visible >= box[:2] - 2).all() and (visible <= box[2:] + 2).all(), scene.seed


def test_every_fourth_scene_to_learn_from_is_tidy():
    np.testing.assert_array_equal(render_training_scene(8).image, render_scene(8).image)
    np.testing.assert_array_equal(render_training_scene(9).image, render_varied(9).image)


def test_textures_have_the_size_asked_for_and_differ():
    rng = np.random.default_rng(0)
    first, second = texture(rng, 40, 30), texture(rng, 40, 30)
    assert first.shape == second.shape == (30, 40, 3) and first.dtype == np.uint8
    assert not np.array_equal(first, second)
