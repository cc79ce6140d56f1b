"""init_model and the functions that run what it loads."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

import hfpose
from hfpose.compat.mmpose import (
    InstanceData,
    PoseDataSample,
    convert_keypoint_definition,
    inference_bottomup,
    inference_pose_lifter_model,
    inference_topdown,
    init_model,
    merge_data_samples,
)
from hfpose.errors import ConfigError, InputError, UnknownModelError
from hfpose.models.shared.conversion import keypoint_arguments
from hfpose.models.temporal_convolution.configuration_temporal_convolution import TemporalConvolutionConfig
from hfpose.models.temporal_convolution.image_processing_temporal_convolution import TemporalConvolutionImageProcessor
from hfpose.models.temporal_convolution.modeling_temporal_convolution import TemporalConvolutionForPoseLifting

BOXES = [[20.0, 10.0, 70.0, 100.0], [80.0, 20.0, 140.0, 110.0]]


@pytest.fixture(scope="module")
def model(tiny_pose):
    return init_model(tiny_pose, device="cpu")


@pytest.fixture(scope="module")
def lifter(tiny_lifter):
    return init_model(tiny_lifter, device="cpu")


# init_model


def test_names_paths_and_config_files(store, tiny_pose, noise, model):
    expected = inference_topdown(model, noise())[0].pred_instances.keypoints
    for config in ("human", "configs/a/rtmpose-m_8xb256-420e_body8-256x192.py", str(tiny_pose)):
        found = inference_topdown(init_model(config, device="cpu"), noise())[0].pred_instances.keypoints
        np.testing.assert_array_equal(found, expected)
    assert init_model("human3d", device="cpu").is_lifter


def test_a_model_of_ones_own(custom_model, noise, monkeypatch, tmp_path):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    model = init_model(*map(str, custom_model), device="cpu")
    assert model.dataset_meta["dataset_name"] == "stick"
    assert inference_topdown(model, noise())[0].pred_instances.keypoints.shape == (1, 3, 2)


def test_what_the_model_tells(model):
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    assert model.dataset_meta["num_keypoints"] == 17
    assert model.cfg.model.test_cfg.flip_test is model.test_cfg["flip_test"] is True
    assert next(model.parameters()).device.type == "cpu"
    assert model.to(torch.float64).network.dtype == torch.float64
    model.to(torch.float32)
    with pytest.raises(AttributeError, match="no setting 'backbone'"):
        _ = model.cfg.model.backbone


@pytest.mark.parametrize(
    "options",
    [{"model": {"test_cfg": {"flip_test": False, "output_heatmaps": True}}, "visualizer": {"radius": 9}},
     {"model.test_cfg.flip_test": False, "model.test_cfg.output_heatmaps": True, "visualizer.radius": 9}],
)  # fmt: skip
def test_cfg_options(tiny_pose, model, noise, options):
    changed = init_model(tiny_pose, device="cpu", cfg_options=options)
    assert changed.cfg.visualizer.radius == 9
    plain, other = (inference_topdown(each, noise(), bboxes=BOXES)[1] for each in (model, changed))
    assert not np.allclose(plain.pred_instances.keypoint_scores, other.pred_instances.keypoint_scores)
    assert other.pred_fields.heatmaps.shape == (17, 512, 384)
    assert "pred_fields" not in plain


def test_bad_arguments(tiny_pose, person_detector):
    with pytest.raises(ConfigError, match=r"model\.backbone\.depth"):
        init_model(tiny_pose, device="cpu", cfg_options={"model.backbone.depth": 50})
    with pytest.raises(ConfigError, match="object detector"):
        init_model(person_detector)
    with pytest.raises(TypeError, match="path"):
        init_model({"model": {}})
    with pytest.raises(UnknownModelError, match="human"):
        init_model("humann")


# inference_topdown


def test_one_sample_for_each_box(model, photo):
    samples = inference_topdown(model, str(photo), bboxes=BOXES)
    pipe = hfpose.PoseEstimationPipeline(model.network, model.image_processor)
    expected = pipe(photo, boxes=BOXES, flip_test=True)
    assert len(samples) == 2
    for sample, keypoints, box in zip(samples, expected.keypoints, BOXES, strict=True):
        assert isinstance(sample, PoseDataSample)
        np.testing.assert_allclose(sample.pred_instances.keypoints[0], keypoints, atol=1e-3)
        assert sample.pred_instances.bboxes.tolist() == sample.gt_instances.bboxes.tolist() == [box]
        assert sample.pred_instances.bbox_scores.tolist() == [1]
        assert sample.img_path == str(photo)
        assert sample.input_size == (192, 256)


def test_no_boxes_mean_the_whole_image(model, photo):
    image = cv2.imread(str(photo))
    height, width = image.shape[:2]
    for bboxes in (None, [], np.zeros((0, 4))):
        (sample,) = inference_topdown(model, image, bboxes)
        assert sample.pred_instances.bboxes.tolist() == [[0, 0, width, height]]
        assert sample.ori_shape == (height, width)
    assert sample.img_path is None
    (from_path,) = inference_topdown(model, photo)
    np.testing.assert_array_equal(from_path.pred_instances.keypoints, sample.pred_instances.keypoints)


def test_where_the_crop_was(model):
    (sample,) = inference_topdown(model, np.zeros((425, 640, 3), np.uint8))
    np.testing.assert_allclose(sample.gt_instances.bbox_centers, [[320, 212.5]])
    np.testing.assert_allclose(sample.gt_instances.bbox_scales, [[800, 1066.6666]], rtol=1e-6)  # as in MMPose's guide


def test_box_formats(model, noise):
    xywh = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES]
    same = inference_topdown(model, noise(), np.array(xywh), bbox_format="xywh")
    for one, other in zip(same, inference_topdown(model, noise(), BOXES), strict=True):
        np.testing.assert_array_equal(one.pred_instances.keypoints, other.pred_instances.keypoints)
    with pytest.raises(InputError, match="xyxy"):
        inference_topdown(model, noise(), BOXES, bbox_format="cxcywh")
    with pytest.raises(InputError, match="x1 < x2"):
        inference_topdown(model, noise(), [[50, 10, 20, 40]])


def test_heatmaps_of_boxes_merge_into_the_image(tiny_hrnet, noise):
    model = init_model(tiny_hrnet, device="cpu", cfg_options={"model.test_cfg.output_heatmaps": True})
    samples = inference_topdown(model, noise(), BOXES)
    assert samples[0].pred_fields.heatmaps.cpu().shape == (17, 16, 16)  # a tensor, as in MMPose
    merged = merge_data_samples(samples)
    assert merged.pred_fields.heatmaps.shape == (17, 120, 160)
    assert merged.pred_instances.keypoints.shape == (2, 17, 2)


def test_bottomup_refuses_top_down_models(model, noise):
    with pytest.raises(ConfigError, match="inference_topdown"):
        inference_bottomup(model, noise())


def test_models_are_not_mixed_up(model, lifter, noise):
    with pytest.raises(ConfigError, match="inference_pose_lifter_model"):
        inference_topdown(lifter, noise())
    with pytest.raises(ConfigError, match="inference_topdown"):
        inference_pose_lifter_model(model, [[]], image_size=(1, 1))
    with pytest.raises(ConfigError, match="init_model"):
        inference_topdown(torch.nn.Linear(1, 1), noise())


# Lifting


def pose(seed: int, track_id: int | None = None, box: list[float] | None = None) -> PoseDataSample:
    keypoints = np.random.default_rng(seed).uniform(20, 90, (1, 17, 2)).astype(np.float32)
    instances = InstanceData(keypoints=keypoints)
    if box is not None:
        instances.bboxes = np.array([box])
    sample = PoseDataSample(pred_instances=instances)
    if track_id is not None:
        sample.track_id = track_id
    return sample


def lifted(lifter, frames, **options):
    return [
        sample.pred_instances.keypoints[0]
        for sample in inference_pose_lifter_model(lifter, frames, image_size=(160, 120), **options)
    ]


def test_poses_are_lifted_as_by_the_pipelines_lifter(lifter):
    frames = [[pose(0, 5)], [pose(1, 5)], [pose(2, 5)]]
    (keypoints,) = lifted(lifter, frames)
    assert keypoints.shape == (3, 17, 3)
    np.testing.assert_allclose(keypoints[:, 0], 0, atol=1e-6)
    clip = np.stack([frame[0].pred_instances.keypoints[0] for frame in frames])
    inputs = lifter.image_processor(clip, (160, 120), do_normalize_boxes=False, return_tensors="pt")
    outputs = lifter.network(**inputs, flip_test=True)
    expected = lifter.image_processor.post_process_pose_lifting(
        outputs, (160, 120), axes="camera", do_rebase_height=False
    )
    np.testing.assert_allclose(keypoints, expected[0], atol=1e-5)


def test_a_lifter_of_other_keypoints(tmp_path):
    """MMPose gives the keypoints to the network as they are."""
    config = TemporalConvolutionConfig(hidden_size=8, kernel_sizes=(1,), **keypoint_arguments(5, None))
    TemporalConvolutionForPoseLifting(config).save_pretrained(tmp_path)
    TemporalConvolutionImageProcessor().save_pretrained(tmp_path)
    sample = pose(0, 1)
    sample.pred_instances.keypoints = sample.pred_instances.keypoints[:, :5]
    (keypoints,) = lifted(init_model(tmp_path, device="cpu"), [[sample]])
    assert keypoints.shape == (5, 3)


@pytest.mark.parametrize("frames", [1, 3])
def test_each_person_is_one_instance(lifter, frames):
    (sample,) = inference_pose_lifter_model(lifter, [[pose(i, 5)] for i in range(frames)], image_size=(160, 120))
    assert sample.pred_instances.keypoints.shape == (1, frames, 17, 3)
    assert sample.pred_instances.keypoint_scores.shape == (1, frames, 17)


def test_people_are_followed_by_their_identity(lifter):
    a, b = [pose(i, 1) for i in range(3)], [pose(10 + i, 2) for i in range(3)]
    straight = lifted(lifter, [[a[0], b[0]], [a[1], b[1]], [a[2], b[2]]])
    crossed = lifted(lifter, [[b[0], a[0]], [a[1], b[1]], [b[2], a[2]]])
    np.testing.assert_allclose(straight, crossed, atol=1e-6)
    by_place = lifted(lifter, [[b[0], a[0]], [a[1], b[1]], [b[2], a[2]]], with_track_id=False)
    assert not np.allclose(straight, by_place)


def test_who_is_not_seen_stands_still(lifter):
    a, b = pose(0, 1), pose(1, 1)
    gone = lifted(lifter, [[b], [], [a], [a], []])
    still = lifted(lifter, [[a], [a], [a], [a], [a]])
    np.testing.assert_allclose(gone, still, atol=1e-6)
    assert lifted(lifter, [[a], []]) == []


def test_normalization_by_boxes(lifter):
    box = [20.0, 20.0, 90.0, 90.0]
    frames = [[pose(i, 1, box)] for i in range(3)]
    assert not np.allclose(lifted(lifter, frames), lifted(lifter, frames, norm_pose_2d=True))
    moved = [[pose(i, 1, [value + 7 for value in box])] for i in range(3)]
    for frame in moved:
        frame[0].pred_instances.keypoints += 7
    np.testing.assert_allclose(
        lifted(lifter, frames, norm_pose_2d=True), lifted(lifter, moved, norm_pose_2d=True), atol=1e-4
    )


def test_the_average_box_stands_in_for_unknown_statistics(lifter):
    """Boxes of 40 and 80 pixels around (40, 30) and (60, 80): the average is one of 60 around (50, 55)."""
    frames = [[pose(0, 1, [20, 10, 60, 50])], [pose(1, 1, [20, 40, 100, 120])]]
    normalized = [[pose(0, 1)], [pose(1, 1)]]
    for (sample,), center, side in zip(normalized, ([40, 30], [60, 80]), (40, 80), strict=True):
        moved = (sample.pred_instances.keypoints - center) / side * 60 + [50, 55]
        sample.pred_instances.keypoints = moved.astype(np.float32)
    del lifter.dataset_meta["stats_info"]
    np.testing.assert_allclose(lifted(lifter, frames, norm_pose_2d=True), lifted(lifter, normalized), atol=1e-5)


def test_lifting_needs_sizes_frames_and_identities(lifter):
    with pytest.raises(InputError, match="image_size"):
        inference_pose_lifter_model(lifter, [[pose(0, 1)]])
    with pytest.raises(InputError, match="no frames"):
        inference_pose_lifter_model(lifter, [], image_size=(160, 120))
    with pytest.raises(InputError, match="track_id"):
        lifted(lifter, [[pose(0)]])
    with pytest.raises(InputError, match="same number"):
        lifted(lifter, [[], [pose(0)]], with_track_id=False)


def test_keypoints_of_coco_become_those_of_the_lifter():
    keypoints = np.random.default_rng(0).uniform(0, 100, (2, 17, 2))
    converted = convert_keypoint_definition(keypoints, "coco", "h36m")
    np.testing.assert_allclose(converted[:, 0], (keypoints[:, 11] + keypoints[:, 12]) / 2, rtol=1e-6)
    np.testing.assert_allclose(converted[:, 9], keypoints[:, 0], rtol=1e-6)
    scored = np.concatenate([keypoints, np.ones((2, 17, 1))], axis=-1)
    np.testing.assert_allclose(convert_keypoint_definition(scored, "coco", "h36m")[..., 2], 1)
    with pytest.raises(ConfigError, match="h36m"):
        convert_keypoint_definition(keypoints, "coco", "panoptic")


@pytest.fixture(params=[False, True], ids=["centered", "causal"])
def convolution(request, tmp_path):
    """A temporal convolution over three frames, with statistics of 2D keypoints."""
    config = hfpose.TemporalConvolutionConfig(hidden_size=8, kernel_sizes=(3,), is_causal=request.param)
    torch.manual_seed(0)
    hfpose.TemporalConvolutionForPoseLifting(config).save_pretrained(tmp_path)
    statistics = {"keypoints_mean": [[60.0, 60.0]] * 17, "keypoints_std": [[20.0, 20.0]] * 17}
    hfpose.TemporalConvolutionImageProcessor(**statistics).save_pretrained(tmp_path)
    return init_model(tmp_path, device="cpu")


def test_a_temporal_convolution_lifts_one_frame_and_its_root(convolution):
    frames = [[pose(i, 1)] for i in range(3)]
    (sample,) = inference_pose_lifter_model(convolution, frames, image_size=(160, 120))
    clip = np.stack([frame[0].pred_instances.keypoints[0] for frame in frames])
    inputs = convolution.image_processor(clip, (160, 120), do_normalize_boxes=False, return_tensors="pt")
    lifted = convolution.image_processor.post_process_pose_lifting(
        convolution.network(**inputs), do_root_relative=False, axes="camera", do_rebase_height=False
    )
    target = 2 if convolution.network.config.is_causal else 1
    np.testing.assert_allclose(sample.pred_instances.keypoints, lifted[:, target], atol=1e-5)


def test_statistics_of_keypoints_need_no_image_size(convolution):
    frames = [[pose(i, 1)] for i in range(3)]
    with_size, without = (
        inference_pose_lifter_model(convolution, frames, image_size=size)[0].pred_instances.keypoints
        for size in ((160, 120), None)
    )
    np.testing.assert_array_equal(without, with_size)
