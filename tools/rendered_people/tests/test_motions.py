from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.image_processing_motionbert import MotionBertImageProcessor
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting
from hfpose.pipelines.lifting_stage import TemporalLifter
from hfpose.pipelines.stage import Stage
from rendered_people import render_scene
from rendered_people.motions import (
    IMAGE_SIZE,
    LiftingClips,
    MotionSample,
    PoseNoise,
    RandomMotions,
    collate_clips,
    encode_clips,
    found_people,
    lifting_labels,
    look_at,
    random_motion,
)

COCO, H36M = load_schema("coco"), load_schema("h36m")


@pytest.fixture(scope="module")
def processor() -> MotionBertImageProcessor:
    return MotionBertImageProcessor(
        box_center=(500, 500),
        box_scale=1000,
        box_image_size=(1000, 1000),
        depth_factor=2.0,
        do_use_scores=True,
        depth_points_away=False,
    )


def test_the_same_seed_gives_the_same_motion_and_others_differ() -> None:
    first, again, other = (random_motion(seed, 4) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.joints, again.joints)
    assert not np.allclose(first.joints, other.joints)


def test_bones_keep_their_length_and_feet_are_near_the_ground() -> None:
    motion = random_motion(3, 20, "run")
    links = np.array(H36M.skeleton)
    lengths = np.linalg.norm(motion.joints[:, links[:, 0]] - motion.joints[:, links[:, 1]], axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-6
    assert 0 < motion.joints[:, [3, 6], 2].min() < 0.2


def test_cameras_see_joints_where_their_pixels_are() -> None:
    """Of limbs, whose keypoints are the joints: nearer to the camera is larger y, left in the image is larger x."""
    motion = random_motion(5, 6, "stretch")
    views = look_at(motion, [0] * 40, 6, np.random.default_rng(0))
    limbs = [(COCO.index(f"{side}_{name}"), H36M.index(f"{side}_{name}"))
             for side in ("left", "right") for name in ("shoulder", "elbow", "wrist", "knee")]  # fmt: skip
    coco, h36m = np.array(limbs).T
    pixels = views.keypoints[:, :, coco] - views.keypoints[:, :, [COCO.index("left_hip")]]
    meters = views.joints[:, :, h36m] - views.joints[:, :, [H36M.index("left_hip")]]
    for pixel, meter in ((0, 0), (1, 2)):
        correlation = np.corrcoef(pixels[..., pixel].ravel(), meters[..., meter].ravel())[0, 1]
        assert correlation < -0.85
    assert np.abs(views.joints[:, :, 0]).max() == 0
    inside = (views.keypoints >= views.boxes[:, :, None, :2]) & (views.keypoints <= views.boxes[:, :, None, 2:])
    assert inside.all()


def test_poses_are_those_of_rendered_scenes() -> None:
    """The same frame of reference: somebody who faces the camera has their left at smaller x, and their nose at larger
    y."""
    scene = render_scene(11, num_people=3)
    views = look_at(random_motion(5, 1, "stand"), [0] * 60, 1, np.random.default_rng(0))
    left, right, nose = H36M.index("left_hip"), H36M.index("right_hip"), COCO.index("nose")
    shoulders = [COCO.index("left_shoulder"), COCO.index("right_shoulder")]
    for joints, keypoints in ((scene.joints_3d, scene.keypoints), (views.joints[:, 0], views.keypoints[:, 0])):
        across = joints[:, left, 0] - joints[:, right, 0]
        shown = keypoints[:, shoulders[0], 0] - keypoints[:, shoulders[1], 0]
        clear = np.abs(across) > 0.1
        assert clear.any() and (across * shown < 0)[clear].all()
    assert nose == 0


def test_a_mirrored_motion_swaps_left_and_right() -> None:
    motion = random_motion(9, 3)
    mirrored = motion.mirrored()
    left, right = COCO.index("left_wrist"), COCO.index("right_wrist")
    np.testing.assert_allclose(mirrored.coco[:, left], motion.coco[:, right] * (-1, 1, 1))
    np.testing.assert_allclose(mirrored.mirrored().joints, motion.joints)


@pytest.mark.parametrize("level", [0.01, 0.02])
def test_noise_is_as_large_as_it_says_and_lasts(level: float) -> None:
    views = look_at(random_motion(1, 60), [0] * 60, 60, np.random.default_rng(0))
    noise = PoseNoise(level=level, hidden=0, confused=0, missed=0)
    keypoints, _, _ = noise.observe(views, np.random.default_rng(1))
    size = (views.boxes[..., 2:] - views.boxes[..., :2]).max(-1)[..., None, None]
    errors = (keypoints - views.keypoints) / size
    elbow = errors[:, :, COCO.index("left_elbow")]
    assert elbow.std() == pytest.approx(1.05 * level * np.exp(0.5**2 + 0.3**2), rel=0.1)
    assert 0.4 < elbow.std() / errors[:, :, COCO.index("left_wrist")].std() < 0.8
    for frames, least, most in ((1, 0.6, 0.8), (4, 0.4, 0.6), (16, 0.1, 0.3)):
        correlation = (errors[:, frames:] * errors[:, :-frames]).mean() / np.square(errors).mean()
        assert least < correlation < most


def test_scores_tell_of_errors() -> None:
    views = look_at(random_motion(1, 30), [0] * 20, 30, np.random.default_rng(0))
    keypoints, _, scores = PoseNoise(confused=0, missed=0).observe(views, np.random.default_rng(1))
    errors = np.linalg.norm(keypoints - views.keypoints, axis=-1)
    unsure = scores < 0.5
    assert 0.05 < unsure.mean() < 0.4
    assert errors[unsure].mean() > 2.5 * errors[~unsure].mean()


def test_confused_limbs_change_sides() -> None:
    views = look_at(random_motion(1, 30, "stretch"), [0] * 40, 30, np.random.default_rng(0))
    noise = PoseNoise(level=1e-9, hidden=0, confused=0.2, missed=0)
    keypoints, _, _ = noise.observe(views, np.random.default_rng(1))
    swapped = np.isclose(keypoints, views.keypoints[:, :, list(COCO.flip_indices)], atol=1e-3).all(-1)
    same = np.isclose(keypoints, views.keypoints, atol=1e-3).all(-1)
    assert (swapped | same).all()
    share = {name: (~same)[..., COCO.index(name)].mean() for name in COCO.keypoint_names[1:]}
    assert share["left_ankle"] > share["left_knee"] > share["left_eye"] > 0
    assert share["left_ankle"] > share["left_wrist"] > share["left_elbow"] > share["left_shoulder"]
    _, _, scores = replace(noise, level=0.01).observe(views, np.random.default_rng(1))
    legs = same[..., -4:]
    assert scores[..., -4:][~legs].mean() < 0.6 * scores[..., -4:][legs].mean()


def test_missed_frames_lie_on_a_line_between_their_neighbors() -> None:
    views = look_at(random_motion(1, 30, "run"), [0] * 20, 30, np.random.default_rng(0))
    noise = PoseNoise(level=1e-9, hidden=0, confused=0, missed=0.1, box=0)
    keypoints, _, _ = noise.observe(views, np.random.default_rng(1))
    changed = ~np.isclose(keypoints, views.keypoints, atol=1e-3).all((2, 3))
    assert 0.02 < changed.mean() < 0.15 and not changed[:, [0, -1]].any()


def test_inputs_are_those_of_the_lifting_stage(processor: MotionBertImageProcessor) -> None:
    """What the network is trained on is what `TemporalLifter` gives it, over time and frame by frame."""
    seen: list[np.ndarray] = []

    class Spy(MotionBertForPoseLifting):
        def forward(self, keypoints_2d, **options):  # type: ignore[no-untyped-def]
            seen.append(keypoints_2d.numpy())
            return super().forward(keypoints_2d, **options)

    config = MotionBertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_frames=9)
    stage = Stage(Spy(config).eval(), processor)
    views = look_at(random_motion(2, 9, "walk"), [0], 9, np.random.default_rng(0))
    noise = PoseNoise(missed=0)
    keypoints, boxes, scores = noise.observe(views, np.random.default_rng(3))
    people = found_people(views, noise, np.random.default_rng(3))
    TemporalLifter(stage).lift(people)
    expected = encode_clips(processor, keypoints, scores, boxes, TemporalLifter(stage).box_smoothing)
    np.testing.assert_allclose(seen[0], expected, atol=2e-5)
    seen.clear()
    TemporalLifter(stage, temporal="frame", batch_size=9).lift(people)
    single = [array.reshape(9, 1, *array.shape[2:]) for array in (keypoints, scores, boxes)]
    np.testing.assert_allclose(seen[0], encode_clips(processor, *single, 15.0), atol=2e-5)


def test_labels_come_out_of_the_processor_as_the_joints(processor: MotionBertImageProcessor) -> None:
    joints = look_at(random_motion(2, 5), [0], 5, np.random.default_rng(0)).joints
    decoded = processor.post_process_pose_lifting(
        lifting_labels(joints), (IMAGE_SIZE, IMAGE_SIZE), do_rebase_height=False
    )
    np.testing.assert_allclose(decoded, joints, atol=1e-6)


def test_clips_of_a_batch_have_one_length(processor: MotionBertImageProcessor) -> None:
    motions = RandomMotions(range(50, 60), 9, {9: 0.5, 3: 0.25, 1: 0.25}, per_batch=2)
    make = LiftingClips(processor, views=2)
    lengths = set()
    for batch in range(5):
        samples = [motions.load(2 * batch + i, np.random.default_rng(0)) for i in range(2)]
        lengths.add(samples[0].length)
        made = collate_clips([make(sample, np.random.default_rng(i), 0.0) for i, sample in enumerate(samples)])
        clips = 2 * 2 * 9 // samples[0].length
        assert made["keypoints_2d"].shape == made["labels"].shape == (clips, samples[0].length, 17, 3)
    assert len(motions) == 10 and len(lengths) > 1


def test_samples_follow_from_their_random_numbers(processor: MotionBertImageProcessor) -> None:
    sample = MotionSample(random_motion(4, 6), 3)
    first, again, other = (LiftingClips(processor)(sample, np.random.default_rng(seed), 0.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first["keypoints_2d"], again["keypoints_2d"])
    assert not np.allclose(first["keypoints_2d"], other["keypoints_2d"])
    assert np.isfinite(first["keypoints_2d"]).all() and np.isfinite(first["labels"]).all()


def test_more_people_walk_where_it_is_asked_for() -> None:
    def joints(walking: float) -> np.ndarray:
        motions = RandomMotions(range(4), 3, {3: 1.0}, per_batch=1, walking=walking)
        return np.stack([motions.load(index, np.random.default_rng(0)).motion.joints for index in range(4)])

    np.testing.assert_array_equal(joints(1.0), [random_motion(seed, 3, "walk").joints for seed in range(4)])
    np.testing.assert_array_equal(joints(0.0), [random_motion(seed, 3).joints for seed in range(4)])
