from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest

from hfpose import load_schema
from hfpose.errors import InputError
from rendered_people import Scene, render_clip, render_scene, scene_annotations
from rendered_people.activities import random_activity
from rendered_people.anatomy import Body
from rendered_people.camera import Camera, from_joint_frame
from rendered_people.outfits import Outfit
from rendered_people.people import Crowd, Person
from rendered_people.rendering import draw
from rendered_people.scenes import Lamp, World

COCO = load_schema("coco")
H36M = load_schema("h36m")
# The joints that both schemas have.
LIMBS = {
    COCO.index(f"{side}_{coco}"): H36M.index(f"{side}_{h36m}")
    for side in ("left", "right")
    for coco, h36m in (
        *((name, name) for name in ("shoulder", "elbow", "wrist", "hip", "knee")),
        ("ankle", "foot"),
    )
}
H36M_BONES = [
    *((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10)),
    *((8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),
]


def standing(heading: float, seed: int = 0) -> Person:
    rng = np.random.default_rng(seed)
    body = Body()
    return Person(body, Outfit.random(rng, body), random_activity(rng, body, "stretch"), heading=heading)


def world_of(people: list[Person], places: list[tuple[float, float]], size: tuple[int, int] = (240, 240)) -> World:
    camera = Camera(*size, focal=300.0, elevation=1.2, pitch=4.0)
    lamp = Lamp(np.array([0.0, -0.6, 0.8]), np.full(3, 0.4), np.full(3, 0.7))
    ground = np.array([(x, y, 0.0) for x, y in places])
    background = np.zeros((size[1], size[0], 3), np.uint8)
    return World(Crowd(people, 1, np.random.default_rng(0)), ground, camera, lamp, background)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(seed) for seed in range(24)]


def test_the_same_seed_gives_the_same_scene():
    first, second = render_scene(3), render_scene(3)
    for name in ("image", "boxes", "areas", "keypoints", "visibility", "joints_3d", "roots_3d", "track_ids"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def test_different_seeds_give_different_scenes(scenes):
    images = {scene.image.tobytes() for scene in scenes}
    poses = {scene.joints_3d.tobytes() for scene in scenes}
    assert len(images) == len(poses) == len(scenes)


def test_fields_have_their_shapes_and_types(scenes):
    for scene in scenes:
        people = scene.num_people
        width, height = scene.image_size
        assert scene.image.shape == (height, width, 3) and scene.image.dtype == np.uint8
        for name, shape, dtype in (
            ("boxes", (people, 4), np.float32),
            ("areas", (people,), np.float32),
            ("keypoints", (people, 17, 2), np.float32),
            ("visibility", (people, 17), np.uint8),
            ("joints_3d", (people, 17, 3), np.float32),
            ("roots_3d", (people, 3), np.float32),
            ("track_ids", (people,), np.int64),
        ):
            value = getattr(scene, name)
            assert value.shape == shape and value.dtype == dtype, name
            assert np.isfinite(value).all(), name
        assert not scene.joints_3d[:, 0].any()


def test_default_scenes_have_one_to_six_people_and_each_number_occurs():
    numbers = {render_scene(seed, size=(64, 64)).num_people for seed in range(100, 140)}
    assert numbers == {1, 2, 3, 4, 5, 6}


def test_visible_keypoints_lie_in_their_box(scenes):
    for scene in scenes:
        for box, keypoints, visibility in zip(scene.boxes, scene.keypoints, scene.visibility, strict=True):
            visible = keypoints[visibility == 2]
            # half a pixel and what is looked at around a keypoint
            assert (visible >= box[:2] - 1.6).all() and (visible <= box[2:] + 1.6).all(), scene.seed


def test_visibility_is_zero_exactly_off_the_image(scenes):
    for scene in scenes:
        limits = np.array(scene.image_size) - 0.5
        inside = ((scene.keypoints >= -0.5) & (scene.keypoints < limits)).all(-1)
        # somebody may stand so near that a hand is behind the camera
        before = _depths(scene) > 0.12
        np.testing.assert_array_equal(scene.visibility > 0, inside & before)


def _depths(scene: Scene) -> np.ndarray:
    """(N, 17) depths of COCO's keypoints; of the face's that of the head."""
    depths = -(scene.joints_3d + scene.roots_3d[:, None])[..., 1]
    return np.stack([depths[:, LIMBS.get(index, H36M.index("head"))] for index in range(17)], axis=1)


def test_boxes_and_areas_are_those_of_what_changed_in_the_image():
    world = world_of([standing(20)], [(0.1, 3.0)])
    scene = world.render(0.0)
    changed = (scene.image != world.background).any(-1)
    left, top, width, height = cv2.boundingRect(changed.astype(np.uint8))
    # pixels at the edge may be covered by half
    np.testing.assert_allclose(scene.boxes[0], [left, top, left + width - 1, top + height - 1], atol=1.0)
    assert scene.areas[0] == pytest.approx(changed.sum(), rel=0.1)


@pytest.mark.parametrize("heading", [-30.0, 0.0, 30.0])
def test_left_of_a_frontal_person_is_right_in_the_image(heading):
    scene = world_of([standing(heading)], [(0.0, 3.0)]).render(0.0)
    x = scene.keypoints[0, :, 0]
    for part in ("shoulder", "hip"):
        assert x[COCO.index(f"left_{part}")] > x[COCO.index(f"right_{part}")]
    # in 3D, x grows to the left of the image and y toward the camera
    across = scene.joints_3d[0, H36M.index("left_shoulder")] - scene.joints_3d[0, H36M.index("right_shoulder")]
    assert across[0] < 0
    assert np.sign(across[1]) == -np.sign(heading) or heading == 0


def test_left_of_a_person_seen_from_behind_is_left_in_the_image():
    scene = world_of([standing(180)], [(0.0, 3.0)]).render(0.0)
    x = scene.keypoints[0, :, 0]
    assert x[COCO.index("left_shoulder")] < x[COCO.index("right_shoulder")]


def test_faces_are_visible_from_the_front_and_hidden_from_behind():
    front = world_of([standing(0)], [(0.0, 3.0)]).render(0.0)
    behind = world_of([standing(180)], [(0.0, 3.0)]).render(0.0)
    face = [COCO.index(name) for name in ("nose", "left_eye", "right_eye")]
    assert (front.visibility[0, face] == 2).all()
    assert (behind.visibility[0, face] == 1).all()


def test_in_profile_the_far_eye_ear_and_shoulder_are_hidden():
    scene = world_of([standing(90)], [(0.0, 3.0)]).render(0.0)
    visibility = dict(zip(COCO.keypoint_names, scene.visibility[0].tolist(), strict=True))
    assert visibility["nose"] == visibility["right_eye"] == 2
    assert visibility["left_eye"] == visibility["left_ear"] == visibility["left_hip"] == 1


def test_what_stands_before_a_person_hides_its_keypoints():
    front, back = standing(0, seed=1), standing(0, seed=2)
    alone_front = world_of([front], [(-0.1, 2.6)])
    alone_back = world_of([back], [(0.12, 3.4)])
    both = world_of([front, back], [(-0.1, 2.6), (0.12, 3.4)]).render(0.0)
    assert both.track_ids.tolist() == [0, 1]

    seen = alone_front.crowd.pose(0.0).shifted(alone_front.places).seen_by(alone_front.camera)
    light = alone_front.lamp.seen_by(alone_front.camera)
    mask = draw(alone_front.crowd.patches(seen), alone_front.camera, light).silhouette(1)
    fine = np.round(both.keypoints[1] * 2 + 0.5).astype(int)
    covered = cv2.erode(mask, np.ones((9, 9), np.uint8))[fine[:, 1], fine[:, 0]] > 0
    clear = cv2.dilate(mask, np.ones((9, 9), np.uint8))[fine[:, 1], fine[:, 0]] == 0
    assert covered.sum() >= 3 and clear.sum() >= 3
    assert (both.visibility[1, covered] == 1).all()
    np.testing.assert_array_equal(both.visibility[1, clear], alone_back.render(0.0).visibility[0, clear])
    # who stands in front is seen as if alone
    np.testing.assert_array_equal(both.visibility[0], alone_front.render(0.0).visibility[0])
    np.testing.assert_array_equal(both.boxes[0], alone_front.render(0.0).boxes[0])


def test_somebody_wholly_hidden_is_left_out():
    people = [standing(0, seed=1), standing(0, seed=1)]
    scene = world_of(people, [(0.0, 2.0), (0.0, 5.0)], size=(240, 320)).render(0.0)
    hidden = 1 not in scene.track_ids
    assert hidden or scene.areas[1] < 0.1 * scene.areas[0]
    assert scene.track_ids[0] == 0


def test_projected_3d_joints_are_the_keypoints(scenes):
    for scene in scenes:
        joints = from_joint_frame((scene.joints_3d + scene.roots_3d[:, None]).astype(np.float64))
        middle = (np.array(scene.image_size) - 1) / 2
        for coco, h36m in LIMBS.items():
            point = joints[:, h36m]
            before = point[:, 2] > 0.3
            projected = point[:, :2] / point[:, 2:] * scene.focal_length + middle
            np.testing.assert_allclose(projected[before], scene.keypoints[before, coco], atol=0.02)


def test_bones_keep_their_length_over_a_clip():
    frames = [scene for scene in render_clip(5, 12, fps=8, size=(96, 96), num_people=3) if scene.num_people]
    lengths: dict[int, list[np.ndarray]] = {}
    for scene in frames:
        for track, joints in zip(scene.track_ids.tolist(), scene.joints_3d, strict=True):
            bones = [np.linalg.norm(joints[a] - joints[b]) for a, b in H36M_BONES]
            lengths.setdefault(track, []).append(np.array(bones))
    assert len(lengths) == 3
    for values in lengths.values():
        np.testing.assert_allclose(values, np.broadcast_to(values[0], np.shape(values)), atol=1e-5)
        assert (values[0] > 0.05).all() and (values[0] < 0.6).all()


def test_people_move_smoothly_in_a_clip():
    moved = 0.0
    for seed in range(4):
        places: dict[int, tuple[int, np.ndarray]] = {}
        for scene in render_clip(seed, 10, fps=25, size=(64, 64), num_people=3, detail=1):
            joints = scene.joints_3d + scene.roots_3d[:, None]
            for track, place in zip(scene.track_ids.tolist(), joints, strict=True):
                if track in places and places[track][0] == scene.frame_index - 1:
                    step = np.linalg.norm(place - places[track][1], axis=-1).max()
                    assert step < 0.3  # 7.5 m/s, a runner's foot
                    moved = max(moved, step)
                places[track] = (scene.frame_index, place)
    assert moved > 0.01


def test_a_clip_begins_with_the_scene_of_its_seed_and_goes_on():
    clip = list(render_clip(8, 3, size=(96, 96)))
    np.testing.assert_array_equal(clip[0].image, render_scene(8, size=(96, 96)).image)
    assert [scene.frame_index for scene in clip] == [0, 1, 2]
    assert {scene.seed for scene in clip} == {8}
    assert not np.array_equal(clip[0].image, clip[1].image)


def test_a_clip_is_rendered_frame_by_frame():
    endless = render_clip(1, 10**9, size=(64, 64))
    assert [scene.frame_index for scene in itertools.islice(endless, 3)] == [0, 1, 2]


def test_frames_depend_on_time_not_on_the_frame_rate():
    slow = list(render_clip(2, 3, fps=5, size=(64, 64)))
    fast = list(render_clip(2, 5, fps=10, size=(64, 64)))
    np.testing.assert_array_equal(slow[2].joints_3d, fast[4].joints_3d)


@pytest.mark.parametrize("num_people", [1, 4, 8])
def test_size_and_number_of_people_are_as_asked(num_people):
    scene = render_scene(11, size=(180, 140), num_people=num_people)
    assert scene.image_size == (180, 140)
    assert scene.num_people == num_people


def test_detail_of_the_mesh_changes_the_image_but_hardly_its_labels():
    coarse, fine = (render_scene(21, size=(160, 160), detail=detail) for detail in (1, 3))
    assert not np.array_equal(coarse.image, fine.image)
    np.testing.assert_allclose(coarse.joints_3d, fine.joints_3d, atol=1e-6)
    np.testing.assert_allclose(coarse.keypoints, fine.keypoints, atol=1.0)
    np.testing.assert_allclose(coarse.boxes, fine.boxes, atol=3.0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 0, "size": (10, 200)}, "size"),
        ({"seed": 0, "num_people": 0}, "num_people"),
        ({"seed": 0, "num_people": 99}, "num_people"),
        ({"seed": 0, "detail": 4}, "detail"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, told):
    with pytest.raises(InputError, match=told):
        render_scene(**arguments)


def test_bad_arguments_of_a_clip_are_told_when_it_is_made():
    with pytest.raises(InputError, match="num_frames=0"):
        render_clip(0, 0)
    with pytest.raises(InputError, match="fps=0"):
        render_clip(0, 5, fps=0)


def test_annotations_are_those_of_coco(scenes):
    scene = max(scenes, key=lambda each: (each.visibility == 0).sum())
    annotations = scene_annotations(scene, 7, first_id=100)
    assert json.loads(json.dumps(annotations)) == annotations
    assert [annotation["id"] for annotation in annotations] == list(range(100, 100 + scene.num_people))
    for person, annotation in enumerate(annotations):
        keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
        np.testing.assert_array_equal(keypoints[:, 2], scene.visibility[person])
        labeled = scene.visibility[person] > 0
        np.testing.assert_allclose(keypoints[labeled, :2], scene.keypoints[person, labeled], atol=0.006)
        assert not keypoints[~labeled].any()
        assert annotation["num_keypoints"] == labeled.sum()
        left, top, width, height = annotation["bbox"]
        np.testing.assert_allclose([left, top, left + width, top + height], scene.boxes[person], atol=0.02)
        assert 0 < annotation["area"] <= (width + 1) * (height + 1)
        assert (annotation["image_id"], annotation["category_id"], annotation["iscrowd"]) == (7, 1, 0)
