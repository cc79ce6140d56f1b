"""VISUALIZERS, visualize and imread."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hfpose.compat.mmpose import (
    VISUALIZERS,
    InstanceData,
    PixelData,
    PoseDataSample,
    PoseLocalVisualizer,
    imread,
    visualize,
)
from hfpose.compat.mmpose.dataset_meta import dataset_meta_of
from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import load_schema

SHAPE = (60, 80, 3)


def person(scores: float = 1.0) -> InstanceData:
    keypoints = np.random.default_rng(0).uniform(10, 50, (1, 17, 2))
    return InstanceData(
        keypoints=keypoints, keypoint_scores=np.full((1, 17), scores), bboxes=np.array([[5.0, 6.0, 55.0, 50.0]])
    )


@pytest.fixture
def visualizer():
    made = VISUALIZERS.build({"type": "PoseLocalVisualizer", "name": "vis", "radius": 2, "line_width": 1})
    made.set_dataset_meta(dataset_meta_of(load_schema("coco")))
    return made


@pytest.fixture
def image():
    return np.full(SHAPE, 100, np.uint8)


def test_ground_truth_and_prediction_stand_side_by_side(visualizer, image):
    sample = PoseDataSample(gt_instances=InstanceData(bboxes=np.ones((1, 4))), pred_instances=person())
    drawn = visualizer.add_datasample("result", image, sample)
    assert drawn.shape == (60, 160, 3)
    np.testing.assert_array_equal(drawn[:, :80], image)
    assert (drawn[:, 80:] != image).any()
    np.testing.assert_array_equal(visualizer.get_image(), drawn)
    only = visualizer.add_datasample("result", image, sample, draw_gt=False)
    np.testing.assert_array_equal(only, drawn[:, 80:])
    np.testing.assert_array_equal(visualizer.add_datasample("result", image, sample, False, False), image)


def test_options_change_the_image(visualizer, image):
    sample = PoseDataSample(pred_instances=person(0.5))

    def draw(**options):
        return visualizer.add_datasample("result", image, sample, draw_gt=False, **options)

    plain = draw()
    np.testing.assert_array_equal(draw(kpt_thr=0.6), image)
    for options in ({"draw_bbox": True}, {"show_kpt_idx": True}, {"skeleton_style": "openpose"}):
        assert (draw(**options) != plain).any()
    visualizer.radius = 6
    assert (draw() != plain).any()
    visualizer.radius, visualizer.line_width = 2, 5
    assert (draw() != plain).any()
    visualizer.line_width, visualizer.alpha = 1, 0.5
    assert (draw() != plain).any()
    assert np.abs(draw().astype(int) - image).max() < np.abs(plain.astype(int) - image).max()


def test_the_style_may_be_set_with_the_meta(visualizer, image):
    sample = PoseDataSample(pred_instances=person())
    styled = visualizer.add_datasample("result", image, sample, draw_gt=False, skeleton_style="openpose")
    visualizer.set_dataset_meta(dataset_meta_of(load_schema("coco")), skeleton_style="openpose")
    np.testing.assert_array_equal(visualizer.add_datasample("result", image, sample, draw_gt=False), styled)


def test_heatmaps_stand_below(visualizer, image):
    heatmaps = np.zeros((17, 60, 80), np.float32)
    heatmaps[3, 20, 30] = 1
    sample = PoseDataSample(pred_instances=person(), pred_fields=PixelData(heatmaps=heatmaps))
    drawn = visualizer.add_datasample("result", image, sample, draw_gt=False, draw_heatmap=True)
    assert drawn.shape == (120, 80, 3)
    assert drawn[80, 30, 0] > drawn[70, 30, 0]  # red at the peak
    both = visualizer.add_datasample("result", image, sample, draw_heatmap=True)
    assert both.shape == (120, 160, 3)
    np.testing.assert_array_equal(both[60:, :80], image)


def test_tensors_are_drawn_too(visualizer, image):
    sample = PoseDataSample(pred_instances=person())
    np.testing.assert_array_equal(
        visualizer.add_datasample("r", image, sample.to_tensor()), visualizer.add_datasample("r", image, sample)
    )


def test_images_are_saved_and_shown(visualizer, image, screen, tmp_path):
    sample = PoseDataSample(pred_instances=person())
    drawn = visualizer.add_datasample(
        "title", image, sample, show=True, wait_time=0.001, out_file=tmp_path / "out" / "drawn.png"
    )
    ((title, shown),) = screen.shown
    assert title == "title"
    np.testing.assert_array_equal(shown, drawn)
    np.testing.assert_array_equal(imread(tmp_path / "out" / "drawn.png", channel_order="rgb"), drawn)


def test_nothing_was_drawn_yet(visualizer):
    with pytest.raises(InputError, match="add_datasample"):
        visualizer.get_image()


def test_other_visualizers_and_arguments():
    with pytest.raises(ConfigError, match="Pose3dLocalVisualizer"):
        VISUALIZERS.build({"type": "Pose3dLocalVisualizer"})
    with pytest.raises(ConfigError, match="got colour"):
        VISUALIZERS.build({"type": "PoseLocalVisualizer", "colour": 3})


@pytest.mark.parametrize(
    "options",
    [{"bbox_color": "blue"}, {"kpt_color": "blue"}, {"link_color": (0, 0, 255)}, {"kpt_color": [(0, 0, 255)] * 17}],
)
def test_colors_of_ones_own(image, options):
    sample = PoseDataSample(pred_instances=person())
    links = {"skeleton": [(0, 1), (1, 2)]}

    def draw(**options):
        visualizer = PoseLocalVisualizer(line_width=3, **options)
        return visualizer.add_datasample("r", image, sample, draw_gt=False, draw_bbox=True)

    def is_blue(drawn):
        return (drawn == (0, 0, 255)).all(-1)

    assert is_blue(draw(**links, **options)).any()
    assert not is_blue(draw(**links)).any()


def test_colors_of_the_data_set_replace_those_of_the_visualizer(image):
    visualizer = PoseLocalVisualizer(kpt_color="blue")
    visualizer.set_dataset_meta(
        {"keypoint_colors": [(9, 9, 9)] * 17, "skeleton_link_colors": [(5, 5, 5)], "skeleton_links": [(0, 1)]}
    )
    drawn = visualizer.add_datasample("r", image, PoseDataSample(pred_instances=person()), draw_gt=False)
    assert (drawn == 9).all(-1).any()
    assert not (drawn == (0, 0, 255)).all(-1).any()


def test_keypoint_weights_make_low_scores_faint(visualizer, image):
    def contrast(score):
        sample = PoseDataSample(pred_instances=person(score))
        drawn = visualizer.add_datasample("r", image, sample, draw_gt=False).astype(int)
        return np.abs(drawn - image).max()

    full = contrast(0.5)
    visualizer.show_keypoint_weight = True
    assert contrast(1.0) == full
    assert abs(contrast(0.5) - full / 2) <= 1


def test_images_are_saved_below_save_dir(image, tmp_path):
    visualizer = PoseLocalVisualizer(vis_backends=[{"type": "LocalVisBackend"}], save_dir=tmp_path)
    drawn = visualizer.add_datasample("result", image, PoseDataSample(pred_instances=person()), step=3)
    np.testing.assert_array_equal(
        imread(tmp_path / "vis_data" / "vis_image" / "result_3.png", channel_order="rgb"), drawn
    )


def test_boxes_with_classes_are_labelled(visualizer, image):
    instances = person()
    instances.labels = np.array([1])
    sample = PoseDataSample(pred_instances=instances)
    drawn = visualizer.add_datasample("r", image, sample, draw_gt=False, draw_bbox=True)
    visualizer.text_color = None
    assert (visualizer.add_datasample("r", image, sample, draw_gt=False, draw_bbox=True) != drawn).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "plotly"}, "plotly"),
        ({"vis_backends": [{"type": "WandbVisBackend"}]}, "WandbVisBackend"),
        ({"kpt_color": "ultragreen"}, "ultragreen"),
    ],
)
def test_arguments_that_are_unknown(options, message):
    with pytest.raises(ConfigError, match=message):
        PoseLocalVisualizer(**options)


# visualize


def test_visualize_draws_on_paths_and_bgr_arrays(image, tmp_path):
    colored = np.full(SHAPE, (10, 20, 200), np.uint8)  # BGR
    cv2.imwrite(str(tmp_path / "red.png"), colored)
    keypoints = person().keypoints
    drawn = visualize(colored, keypoints, metainfo="config/_base_/datasets/coco.py")
    assert drawn.shape == SHAPE
    assert (drawn[0, 0] == (200, 20, 10)).all()  # RGB
    assert (drawn != colored[..., ::-1]).any()
    np.testing.assert_array_equal(visualize(str(tmp_path / "red.png"), keypoints, metainfo="coco.py"), drawn)


def test_visualize_leaves_out_keypoints_with_low_scores(image):
    np.testing.assert_array_equal(visualize(image, person().keypoints, np.full((1, 17), 0.2)), image)
    drawn = visualize(image, person().keypoints, np.full((1, 17), 0.2), kpt_thr=0.1)
    assert (drawn != image).any()


def test_visualize_takes_sizes_and_meaning_from_a_visualizer(image, visualizer):
    keypoints = person().keypoints
    as_is = visualize(image, keypoints, visualizer=visualizer)
    with_meta = visualize(image, keypoints, metainfo=dataset_meta_of(load_schema("coco")), visualizer=visualizer)
    np.testing.assert_array_equal(as_is, with_meta)
    visualizer.radius = 7
    assert (visualize(image, keypoints, visualizer=visualizer) != as_is).any()


def test_visualize_shows_and_styles(image, screen):
    screen.keys = [32]
    options = {"metainfo": "coco.py", "show_kpt_idx": True, "skeleton_style": "openpose"}
    drawn = visualize(image, person().keypoints, show=True, **options)
    np.testing.assert_array_equal(screen.shown[0][1], drawn)
    assert (drawn != visualize(image, person().keypoints, metainfo="coco.py")).any()


# imread


def test_imread_orders_channels(photo):
    bgr = imread(photo)
    np.testing.assert_array_equal(bgr, cv2.imread(str(photo)))
    np.testing.assert_array_equal(imread(str(photo), channel_order="rgb"), bgr[..., ::-1])
    assert imread(bgr) is bgr
    with pytest.raises(ValueError, match="channel_order"):
        imread(photo, channel_order="gray")
