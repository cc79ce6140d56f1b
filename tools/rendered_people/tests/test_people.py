from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rendered_people.anatomy import BONE_INDEX, Body, joints_of
from rendered_people.face import face_keypoints
from rendered_people.motion import Activity, Pose
from rendered_people.outfits import HAIR_STYLES, HAT_STYLES, Outfit
from rendered_people.people import Crowd, Person
from rendered_people.surface import MAX_DETAIL, bend, template
from rendered_people.wardrobe import dress


def still(body: Body, outfit: Outfit, **angles: float) -> Person:
    return Person(body, outfit, Activity("still", lambda time: Pose(angles)))


def bare_headed(seed: int = 0) -> Outfit:
    outfit = Outfit.random(np.random.default_rng(seed), Body())
    return replace(outfit, hat_style="none", hair_style="bald", skirt=0.0, tail=0.0)


@pytest.mark.parametrize("stature", [1.2, 1.6, 1.9])
def test_a_standing_figure_is_as_tall_as_its_stature(stature):
    body = Body(stature=stature, childhood=1.0 if stature < 1.4 else 0.0)
    crowd = Crowd([still(body, bare_headed())], 1, np.random.default_rng(0))
    mesh, height = crowd.mesh, crowd.pose(0.0).vertices[0, :, 2]
    part = mesh.ring_part[mesh.vertex_ring]
    feet = np.isin(part, [mesh.part("left_foot"), mesh.part("right_foot")])
    assert height[feet].min() == pytest.approx(0, abs=1e-6)
    assert height[part == mesh.part("head")].max() == pytest.approx(stature, abs=0.02)


@pytest.mark.parametrize("detail", range(1, MAX_DETAIL + 1))
def test_every_vertex_follows_bones_by_shares_that_sum_to_one(detail):
    mesh = template(detail)
    np.testing.assert_allclose(mesh.weights.sum(1), 1, atol=1e-12)
    assert mesh.quads.max() < len(mesh.vertex_ring)


def test_quads_face_outward():
    mesh = template(1)
    crowd = Crowd([still(Body(), bare_headed())], 1, np.random.default_rng(0))
    vertices = crowd.pose(0.0).vertices[0].astype(float)
    corners = vertices[mesh.quads]
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    for name in ("torso", "head", "left_arm", "right_arm", "left_leg", "right_leg", "left_foot", "right_foot"):
        part = np.flatnonzero(mesh.quad_part == mesh.part(name))
        middle = corners[part].mean((0, 1))
        outward = ((corners[part].mean(1) - middle) * normals[part]).sum(1)
        assert (outward > 0).mean() > 0.85, name


def test_bones_carry_the_mesh_rigidly_when_the_whole_body_turns():
    body = Body()
    joints = joints_of([body])
    crowd = Crowd([still(body, bare_headed())], 1, np.random.default_rng(0))
    rest = crowd.pose(0.0).vertices
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    rotations = np.broadcast_to(turn, (1, len(BONE_INDEX), 3, 3))
    moved = bend(crowd.mesh, rest, joints, rotations, joints @ turn.T)
    np.testing.assert_allclose(moved[0], rest[0] @ turn.T, atol=1e-5)


def test_face_keypoints_are_where_a_face_has_them():
    nose, left_eye, right_eye, left_ear, right_ear = face_keypoints(Body())
    assert nose[1] < left_eye[1] < left_ear[1]  # y is to the back
    assert nose[2] < left_eye[2]
    assert left_eye[0] > 0 > right_eye[0] and left_ear[0] > left_eye[0]
    np.testing.assert_allclose(left_eye * (-1, 1, 1), right_eye)
    np.testing.assert_allclose(left_ear * (-1, 1, 1), right_ear)


def test_eyes_lie_on_the_skin_of_the_head():
    for seed in range(5):
        body = Body.random(np.random.default_rng(seed))
        crowd = Crowd([still(body, bare_headed())], 3, np.random.default_rng(0))
        posed = crowd.pose(0.0)
        head = posed.vertices[0][crowd.mesh.ring_part[crowd.mesh.vertex_ring] == crowd.mesh.part("head")]
        for eye in crowd.coco_keypoints(posed)[0, 1:3]:
            assert np.linalg.norm(head - eye, axis=1).min() < 0.015


def test_padding_of_clothes_never_makes_a_body_thinner():
    mesh = template(1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        body = Body.random(rng)
        padding, colors, shown = dress(mesh, [body], [Outfit.random(rng, body)], rng)
        assert (padding.rings >= 0).all() and (padding.vertices >= 0).all()
        assert np.isfinite(colors).all() and colors.min() >= 0
        assert shown.any()


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_hair_style_but_none_colors_the_head(style):
    mesh = template(1)
    outfit = replace(bare_headed(), hair_style=style, hair=(10.0, 20.0, 240.0), skin=(200.0, 150.0, 120.0), beard=0.0)
    _, colors, shown = dress(mesh, [Body()], [outfit], np.random.default_rng(0))
    blue = shown[0] & (colors[0, :, 2] > 180) & (colors[0, :, 0] < 60)
    head = mesh.quad_part == mesh.part("head")
    assert (blue & head).any() == (style != "bald")
    hanging = [mesh.part(name) for name in ("hair_curtain", "hair_tail", "hair_bun")]
    assert (blue & np.isin(mesh.quad_part, hanging)).any() == (style in ("long", "tail", "bun"))


@pytest.mark.parametrize("style", HAT_STYLES)
def test_every_hat_covers_the_crown(style):
    mesh = template(1)
    outfit = replace(bare_headed(), hat_style=style, hat=(10.0, 240.0, 20.0), skin=(200.0, 150.0, 120.0))
    _, colors, _ = dress(mesh, [Body()], [outfit], np.random.default_rng(0))
    crown = (mesh.quad_part == mesh.part("head")) & (mesh.quad_position > 0.13)
    assert ((colors[0, crown, 1] > 180) == (style != "none")).all()


def test_walkers_go_where_they_head():
    rng = np.random.default_rng(0)
    for heading, direction in ((0.0, (0, -1)), (90.0, (1, 0)), (180.0, (0, 1))):
        walker = replace(Person.random(rng, "walk"), heading=heading)
        crowd = Crowd([walker], 1, rng)
        way = crowd.pose(0.4).positions[0, 0, :2] - crowd.pose(0.0).positions[0, 0, :2]
        assert np.linalg.norm(way) > 0.2
        assert way @ direction > 0.8 * np.linalg.norm(way)


def test_random_people_differ():
    people = [Person.random(np.random.default_rng(seed)) for seed in range(30)]
    assert len({person.body for person in people}) == 30
    assert len({person.outfit for person in people}) == 30
    assert len({person.activity.name for person in people}) > 6
