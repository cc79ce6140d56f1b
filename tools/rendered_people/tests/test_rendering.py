from __future__ import annotations

import numpy as np

from rendered_people.camera import Camera, from_joint_frame, to_joint_frame
from rendered_people.rendering import PROP, Light, Patches, draw, from_fine, to_fine

CAMERA = Camera(64, 48, focal=60.0, elevation=1.0)
LIGHT = Light(np.array([0.0, 0, -1]), np.full(3, 0.5), np.full(3, 0.7), np.array([0.0, -1, 0]))


def square(x: float, depth: float, owner: int, size: float = 0.5, flipped: bool = False) -> Patches:
    corners = np.array([(-1, 1), (1, 1), (1, -1), (-1, -1)]) * size / 2 + (x, 0)
    points = np.concatenate((corners, np.full((4, 1), depth)), axis=1).astype(np.float32)
    order = np.arange(4)[::-1] if flipped else np.arange(4)
    return Patches(
        points,
        order[None],
        np.full((1, 3), 200.0, np.float32),
        np.array([owner], np.uint8),
        np.array([owner], np.uint8),
        np.zeros(1, np.float32),
        np.zeros(1, bool),
    )


def test_the_nearer_patch_hides_the_farther_whatever_the_order():
    near, far = square(0.0, 2.0, owner=1), square(0.0, 3.0, owner=2)
    for groups in ([near, far], [far, near]):
        drawing = draw(groups, CAMERA, LIGHT)
        assert drawing.silhouette(1).any()
        # the far one looks smaller, so it is wholly hidden
        assert not drawing.silhouette(2).any()


def test_silhouettes_of_people_and_things_do_not_mix():
    drawing = draw([square(-0.4, 2.0, 1), square(0.4, 2.0, PROP), square(0.0, 2.5, 2)], CAMERA, LIGHT)
    first, second, thing = (drawing.silhouette(owner) > 0 for owner in (1, 2, PROP))
    assert first.any() and second.any() and thing.any()
    assert not (first & second).any() and not (second & thing).any()
    np.testing.assert_array_equal(first | second | thing, drawing.top > 0)
    assert not drawing.silhouette(3).any()


def test_only_patches_that_face_the_camera_are_seen():
    assert draw([square(0.0, 2.0, 1)], CAMERA, LIGHT).coverage.any()
    assert not draw([square(0.0, 2.0, 1, flipped=True)], CAMERA, LIGHT).coverage.any()


def test_patches_behind_the_camera_are_not_seen():
    assert not draw([square(0.0, -2.0, 1)], CAMERA, LIGHT).coverage.any()


def test_pixels_know_the_depth_owner_and_part_they_show():
    drawing = draw([square(0.0, 2.0, 1), square(0.3, 3.0, 2, size=1.5)], CAMERA, LIGHT)
    numbers, inside = drawing.at(
        np.stack((CAMERA.center, CAMERA.center + np.array([14, 0]), np.array([-3.0, 5.0]))), spread=0.5
    )
    assert inside.tolist() == [True, True, False]
    assert drawing.owner[numbers[0]].tolist() == [1] * 5
    assert drawing.owner[numbers[1]].tolist() == [2] * 5
    np.testing.assert_allclose(drawing.depth[numbers[:2, 0]], [2.0, 3.0])
    assert not numbers[2].any()


def test_a_drawing_covers_its_background_only_where_something_is():
    background = np.full((48, 64, 3), 90, np.uint8)
    drawing = draw([square(0.0, 2.0, 1)], CAMERA, LIGHT)
    image = drawing.over(background)
    assert (image[drawing.coverage == 0] == 90).all()
    np.testing.assert_array_equal(image[drawing.coverage == 255], drawing.colors[drawing.coverage == 255])
    assert 0 < (drawing.coverage == 255).sum() < drawing.coverage.size


def test_surfaces_toward_the_lamp_are_lighter():
    normals = np.array([(0.0, 0, -1), (0.0, 0, 1)], np.float32)
    lit, unlit = LIGHT.shade(np.full((2, 3), 100, np.float32), normals, np.ones(2, np.float32))
    assert (lit > unlit + 20).all()


def test_fine_pixels_lie_around_their_coarse_one():
    np.testing.assert_allclose(to_fine(np.array([0.0, 3.0])), [0.5, 6.5])
    np.testing.assert_allclose(from_fine(to_fine(np.array([1.25, 7.5]))), [1.25, 7.5])


def test_the_ground_point_of_a_column_is_seen_in_it():
    camera = Camera(64, 48, focal=60.0, elevation=1.4, pitch=12.0)
    for column, distance in ((5.0, 3.0), (40.0, 6.0)):
        point = camera.ground_point(column, distance)
        assert point[1:].tolist() == [distance, 0.0]
        np.testing.assert_allclose(camera.project_world(point)[0], column, atol=1e-9)


def test_a_camera_that_looks_down_sees_the_horizon_above_the_middle():
    level, tilted = (Camera(64, 48, 60.0, 1.0, pitch=pitch) for pitch in (0.0, 10.0))
    far = np.array([0.0, 1e6, 1.0])
    np.testing.assert_allclose(level.project_world(far), level.center, atol=1e-3)
    assert tilted.project_world(far)[1] < tilted.center[1] - 5


def test_the_frame_of_joints_has_x_left_y_toward_the_camera_and_z_up():
    np.testing.assert_array_equal(to_joint_frame(np.array([1.0, 2.0, 3.0])), [-1, -3, -2])
    np.testing.assert_array_equal(from_joint_frame(to_joint_frame(np.array([1.0, 2.0, 3.0]))), [1, 2, 3])
