from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from golden import Golden
from hfpose.errors import ConfigError, InputError
from hfpose.models.motionbert.image_processing_motionbert import MotionBertImageProcessor
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting
from hfpose.models.shared.lifting import PoseLiftingOutput
from hfpose.ops.boxes import extents

# How the reference leaves its results before its inferencer turns them upright.
AS_DECODED = {"axes": "camera", "do_rebase_height": False}


@pytest.fixture
def processor() -> MotionBertImageProcessor:
    return MotionBertImageProcessor()


def test_settings_of_a_call_win_and_unknown_ones_are_refused(processor: MotionBertImageProcessor) -> None:
    keypoints = np.random.default_rng(0).uniform(0, 400, (3, 17, 2))
    given = processor(keypoints, (640, 480), box_scale=200.0)["keypoints_2d"]
    np.testing.assert_array_equal(
        given, MotionBertImageProcessor(box_scale=200.0)(keypoints, (640, 480))["keypoints_2d"]
    )
    with pytest.raises(InputError, match=r"no option box_scal; it takes .*box_scale.*image_sizes"):
        processor(keypoints, (640, 480), box_scal=200.0)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("flip", [True, False])
def test_single_frame_is_lifted_as_by_the_reference(
    norm: bool,
    flip: bool,
    processor: MotionBertImageProcessor,
    seeded_model: MotionBertForPoseLifting,
    golden: Golden,
) -> None:
    keypoints, boxes = golden.arrays["lift/keypoints2d"][4:5], golden.arrays["lift/bboxes"][4:5]
    inputs = processor(keypoints, (640, 480), boxes=boxes, do_normalize_boxes=norm, return_tensors="pt")
    with torch.no_grad():
        outputs = seeded_model(**inputs, flip_test=flip)
    lifted = processor.post_process_pose_lifting(outputs, (640, 480), **AS_DECODED)
    expected = golden.arrays[f"lift_frame4/norm_{str(norm).lower()}_flip_{str(flip).lower()}"]
    assert np.abs(lifted - expected).max() < 1e-4 * expected.std()


def test_clip_is_encoded_as_by_the_reference(processor: MotionBertImageProcessor, golden: Golden) -> None:
    encoded = processor(golden.arrays["lift/keypoints2d"], (640, 480), do_normalize_boxes=False)["keypoints_2d"]
    np.testing.assert_array_equal(encoded[0], golden.arrays["codec/encoded"])


def test_clip_is_decoded_as_by_the_reference(processor: MotionBertImageProcessor, golden: Golden) -> None:
    decoded = processor.post_process_pose_lifting(golden.arrays["codec/model_out"], (640, 480), **AS_DECODED)
    np.testing.assert_allclose(decoded[0], golden.arrays["codec/decoded"], rtol=0, atol=1e-5)


def test_box_normalization_forgets_place_and_size(processor: MotionBertImageProcessor) -> None:
    keypoints = np.random.default_rng(0).uniform(100, 300, (1, 3, 17, 2)).astype(np.float32)
    boxes = extents(keypoints)
    moved = processor(keypoints * 0.5 + 40, (640, 480), boxes=boxes * 0.5 + 40)["keypoints_2d"]
    np.testing.assert_allclose(moved, processor(keypoints, (640, 480), boxes=boxes)["keypoints_2d"], atol=1e-5)


def test_boxes_default_to_the_extent_of_the_keypoints(processor: MotionBertImageProcessor) -> None:
    keypoints = np.random.default_rng(0).uniform(100, 300, (2, 3, 17, 2))
    given = processor(keypoints, (640, 480), boxes=extents(keypoints))["keypoints_2d"]
    np.testing.assert_array_equal(processor(keypoints, (640, 480))["keypoints_2d"], given)


def test_all_keypoints_in_one_place_give_finite_input(processor: MotionBertImageProcessor) -> None:
    encoded = processor(np.full((1, 1, 17, 2), 50.0), (640, 480))["keypoints_2d"]
    assert np.isfinite(encoded).all()


@pytest.mark.parametrize(
    "given", [{"boxes": np.full((3, 4), np.nan)}, {"boxes": np.zeros((2, 4))}, {"visibility": np.ones((3, 5))}]
)
def test_boxes_and_visibility_that_do_not_fit_are_named(
    processor: MotionBertImageProcessor, given: dict[str, np.ndarray]
) -> None:
    with pytest.raises(
        InputError, match=rf"{next(iter(given))} has shape .*; expected finite values of shape \(1, 3, "
    ):
        processor(np.zeros((3, 17, 2)), (640, 480), **given)


def test_visibility_is_one_unless_given(processor: MotionBertImageProcessor) -> None:
    keypoints = np.random.default_rng(0).uniform(100, 300, (1, 3, 17, 2))
    visibility = np.linspace(0, 1, 17)
    assert (processor(keypoints, (640, 480))["keypoints_2d"][..., 2] == 1).all()
    given = processor(keypoints, (640, 480), visibility=visibility)["keypoints_2d"]
    np.testing.assert_allclose(given[0, 1, :, 2], visibility, rtol=1e-6)


def test_frames_of_different_sizes_are_each_normalized_by_their_own(processor: MotionBertImageProcessor) -> None:
    keypoints = np.random.default_rng(0).uniform(100, 300, (1, 2, 17, 2)).astype(np.float32)
    scaled = keypoints * np.array([1, 2], np.float32)[:, None, None]
    sizes = np.array([[640, 480], [1280, 960]])
    together = processor(scaled, sizes, do_normalize_boxes=False)["keypoints_2d"]
    alone = processor(keypoints, (640, 480), do_normalize_boxes=False)["keypoints_2d"]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_upright_poses_stand_on_the_ground(processor: MotionBertImageProcessor) -> None:
    output = np.random.default_rng(0).normal(size=(2, 3, 17, 3)).astype(np.float32)
    camera = processor.post_process_pose_lifting(output, (640, 480), **AS_DECODED)
    upright = processor.post_process_pose_lifting(output, (640, 480))
    np.testing.assert_allclose(upright[..., 0], -camera[..., 0], atol=1e-6)
    np.testing.assert_allclose(upright[..., 1], -camera[..., 2], atol=1e-6)
    assert (upright[..., 2].min(-1) == 0).all()
    # The highest keypoint is the one with the least y of the image.
    np.testing.assert_array_equal(upright[..., 2].argmax(-1), camera[..., 1].argmin(-1))


def test_root_is_the_origin_unless_asked_otherwise(processor: MotionBertImageProcessor) -> None:
    output = np.random.default_rng(0).normal(size=(1, 3, 17, 3)).astype(np.float32)
    relative = processor.post_process_pose_lifting(output, (640, 480), **AS_DECODED)
    absolute = processor.post_process_pose_lifting(output, (640, 480), do_root_relative=False, **AS_DECODED)
    assert (relative[..., 0, :] == 0).all()
    # The root lies in the middle of the image: half of 640x480 pixels at 4 mm.
    np.testing.assert_allclose(absolute[0, 0, 0], [1.28, 0.96, 0], atol=1e-6)
    np.testing.assert_allclose(absolute - absolute[..., :1, :], relative, atol=1e-5)


def test_predicted_root_counts_where_the_model_was_not_trained_relative_to_it() -> None:
    output = np.random.default_rng(0).normal(size=(1, 1, 17, 3)).astype(np.float32)
    processor = MotionBertImageProcessor(zero_root=False)
    lifted = processor.post_process_pose_lifting(output, (640, 480), **AS_DECODED)
    np.testing.assert_allclose(lifted, (output - output[..., :1, :]) * 1.28, atol=1e-5)


def test_the_first_keypoint_is_zeroed_whatever_the_root_is() -> None:
    """As `mmpose.codecs.MotionBERTLabel.decode` does with `rootrel` and another `root_index`."""
    output = np.random.default_rng(0).normal(size=(1, 1, 17, 3)).astype(np.float32)
    lifted = MotionBertImageProcessor(root_index=7).post_process_pose_lifting(output, (640, 480), **AS_DECODED)
    output[..., 0, :] = 0
    np.testing.assert_allclose(lifted, (output - output[..., 7:8, :]) * 1.28, atol=1e-5)


def test_depth_factors_scale_each_frame(processor: MotionBertImageProcessor) -> None:
    output = np.random.default_rng(0).normal(size=(1, 2, 17, 3)).astype(np.float32)
    default = processor.post_process_pose_lifting(output, (640, 480), **AS_DECODED)
    scaled = processor.post_process_pose_lifting(output, (640, 480), depth_factors=[4, 8], **AS_DECODED)
    np.testing.assert_allclose(scaled, default * np.array([1, 2])[:, None, None], rtol=1e-5)


def test_outputs_are_not_changed(processor: MotionBertImageProcessor) -> None:
    output = PoseLiftingOutput(keypoints_3d=torch.ones(1, 2, 17, 3))
    processor.post_process_pose_lifting(output, (640, 480))
    assert (output.keypoints_3d == 1).all()


def test_keypoints_of_another_schema_are_converted(processor: MotionBertImageProcessor) -> None:
    keypoints = np.random.default_rng(0).uniform(100, 300, (1, 3, 26, 2))
    assert processor(keypoints, (640, 480), schema="halpe26")["keypoints_2d"].shape == (1, 3, 17, 3)
    with pytest.raises(ConfigError, match="26"):
        processor(keypoints, (640, 480), schema="coco")


@pytest.mark.parametrize("size", [(0, 480), (640,), [[640, 480]] * 3])
def test_bad_image_sizes_are_explained(size: object, processor: MotionBertImageProcessor) -> None:
    with pytest.raises(InputError, match="width and height"):
        processor(np.zeros((1, 2, 17, 2)), size)


def test_bad_keypoints_are_explained(processor: MotionBertImageProcessor) -> None:
    with pytest.raises(InputError, match="shape"):
        processor(np.zeros((17, 2)), (640, 480))
    with pytest.raises(InputError, match="finite"):
        processor(np.full((1, 17, 2), np.nan), (640, 480))


def test_folder_gives_back_the_same_processor(tmp_path: Path) -> None:
    MotionBertImageProcessor(do_normalize_boxes=False, box_scale=300.0, zero_root=False).save_pretrained(tmp_path)
    loaded = MotionBertImageProcessor.from_pretrained(tmp_path)
    settings = SimpleNamespace(**loaded.to_dict())
    assert (settings.do_normalize_boxes, settings.box_scale, settings.zero_root) == (False, 300.0, False)


def test_poses_can_lie_in_images_of_one_size() -> None:
    """With `box_image_size` the resolution of the image changes nothing, neither what goes in nor what comes out."""
    processor = MotionBertImageProcessor(
        box_center=(500, 500), box_scale=1000, box_image_size=(1000, 1000), depth_factor=2.0
    )
    keypoints = np.random.default_rng(0).uniform(20, 200, (3, 17, 2)).astype(np.float32)
    encoded = processor(keypoints, (320, 240))["keypoints_2d"]
    np.testing.assert_allclose(processor(4 * keypoints, (1280, 960))["keypoints_2d"], encoded, atol=1e-5)
    assert np.abs(encoded[..., :2]).max(axis=(1, 2, 3)) == pytest.approx(1, abs=1e-5)
    outputs = np.random.default_rng(1).normal(size=(1, 3, 17, 3)).astype(np.float32)
    relative = outputs.copy()
    relative[:, :, 0] = 0  # the root is taken to be the origin
    decoded = processor.post_process_pose_lifting(outputs, (320, 240), axes="camera", do_rebase_height=False)
    np.testing.assert_allclose(decoded, relative, atol=1e-6)  # a unit is a meter


@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize(
    ("axes", "expected"),
    {
        "world": [[-1, 0, 0], [0, 0, -1], [0, -1, 0]],
        "camera": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "mmpose": [[-1, 0, 0], [0, 0, -1], [0, 1, 0]],
    }.items(),
)
def test_axes_of_results(axes: Any, expected: list[list[int]], away: bool) -> None:
    """Right, down and away from the camera, whichever way the network's depth grows; only the reference's are
    mirrored."""
    processor = MotionBertImageProcessor(do_normalize_boxes=False, depth_points_away=away, do_rebase_height=False)
    outputs = np.zeros((1, 1, 17, 3))
    outputs[0, 0, 1:4] = np.eye(3) * [1, 1, 1 if away else -1]
    steps = processor.post_process_pose_lifting(outputs, (2000, 2000), depth_factors=np.ones(1), axes=axes)[0, 0, 1:4]
    np.testing.assert_allclose(steps, expected, atol=1e-6)
    assert (np.linalg.det(steps) < 0) == (axes == "mmpose")


def test_unknown_axes_are_explained(processor: MotionBertImageProcessor) -> None:
    with pytest.raises(InputError, match="world, camera, mmpose"):
        processor.post_process_pose_lifting(np.zeros((1, 1, 17, 3)), (320, 240), axes="blender")  # type: ignore[arg-type]


def test_without_box_normalization_the_size_of_the_image_counts() -> None:
    processor = MotionBertImageProcessor(box_image_size=(1000, 1000))
    plain = MotionBertImageProcessor()
    keypoints = np.random.default_rng(0).uniform(20, 200, (1, 17, 2)).astype(np.float32)
    encoded = [each(keypoints, (320, 240), do_normalize_boxes=False)["keypoints_2d"] for each in (processor, plain)]
    np.testing.assert_array_equal(*encoded)
    outputs = np.ones((1, 1, 17, 3), np.float32)
    decoded = [
        each.post_process_pose_lifting(outputs, (320, 240), do_normalize_boxes=False) for each in (processor, plain)
    ]
    np.testing.assert_array_equal(*decoded)
