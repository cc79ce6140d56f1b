"""draw_heatmaps: colors where the values are."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.results import PoseOutput
from hfpose.visualization import draw_heatmaps, draw_poses, draw_poses_and_heatmaps

RED_END, BLUE_END = np.array([128, 0, 0]), np.array([0, 0, 128])  # of OpenCV's "jet"


def image() -> np.ndarray:
    return np.full((60, 100, 3), 100, np.uint8)


def result(heatmaps: np.ndarray, boxes: list[list[float]] | None = None) -> PoseOutput:
    people = len(heatmaps) if heatmaps.ndim == 4 else 1
    return PoseOutput(np.zeros((people, 2, 2)), np.ones((people, 2)), heatmaps=heatmaps, heatmap_boxes=boxes)


def test_a_peak_of_the_whole_image_is_red_and_the_rest_blue():
    heatmaps = np.zeros((2, 60, 100))
    heatmaps[0, 10, 20] = heatmaps[1, 50, 80] = 0.7
    drawn = draw_heatmaps(image(), result(heatmaps), alpha=1)
    np.testing.assert_array_equal(drawn[10, 20], RED_END)
    np.testing.assert_array_equal(drawn[50, 80], RED_END)
    np.testing.assert_array_equal(drawn[30, 50], BLUE_END)


def test_alpha_mixes_with_the_image():
    drawn = draw_heatmaps(image(), result(np.zeros((2, 60, 100))), alpha=0.25)
    np.testing.assert_allclose(drawn[30, 50], 0.25 * BLUE_END + 75, atol=1)
    np.testing.assert_array_equal(draw_heatmaps(image(), result(np.ones((2, 60, 100))), alpha=0), image())


def test_small_heatmaps_of_the_whole_image_are_stretched():
    heatmaps = np.zeros((1, 6, 10))
    heatmaps[0, 1, 8] = 1
    red = draw_heatmaps(image(), result(heatmaps), alpha=1)[..., 0]
    y, x = (axis.mean() for axis in np.nonzero(red == red[15, 85]))
    assert (x, y) == pytest.approx((84.5, 14.5), abs=1)


def test_each_persons_heatmaps_lie_over_their_box():
    heatmaps = np.zeros((2, 2, 8, 8))
    heatmaps[0, 0, 4, 4] = heatmaps[1, 1, 4, 4] = 1
    drawn = draw_heatmaps(image(), result(heatmaps, [[0, 0, 40, 40], [60, 20, 100, 60]]), alpha=1)
    np.testing.assert_array_equal(drawn[20, 20], RED_END)  # pixel (4, 4) of 8, at half of the box
    np.testing.assert_array_equal(drawn[40, 80], RED_END)
    np.testing.assert_array_equal(drawn[5, 60], BLUE_END)
    np.testing.assert_array_equal(drawn[55, 10], BLUE_END)


def test_where_people_overlap_the_higher_value_counts():
    heatmaps = np.zeros((2, 1, 8, 8))
    heatmaps[0] = 1
    heatmaps[1] = 0.5
    boxes = [[0, 0, 80, 60], [0, 0, 80, 60]]
    drawn = draw_heatmaps(image(), result(heatmaps, boxes), alpha=1)
    np.testing.assert_array_equal(drawn[20, 30], RED_END)
    np.testing.assert_array_equal(drawn, draw_heatmaps(image(), result(heatmaps[::-1], boxes), alpha=1))


def test_a_box_over_the_edge_is_cut():
    heatmaps = np.zeros((1, 1, 8, 8))
    heatmaps[0, 0, 6, 2] = 1
    drawn = draw_heatmaps(image(), result(heatmaps, [[-20, -40, 60, 40]]), alpha=1)
    np.testing.assert_array_equal(drawn[20, 0], RED_END)
    np.testing.assert_array_equal(drawn[20, 50], BLUE_END)


@pytest.mark.parametrize(
    "box", [[np.nan, 0, 1, 1], [50, 50, 40, 40], [1e30, 0, 2e30, 10], [-900, -900, -800, -800], [5, 5, 5, 5]]
)
def test_a_box_that_shows_nothing_is_left_out(box: list[float]):
    drawn = draw_heatmaps(image(), result(np.ones((1, 1, 8, 8)), [box]), alpha=1)
    assert (drawn == BLUE_END).all()


def test_nan_counts_as_nothing():
    heatmaps = np.full((1, 60, 100), np.nan)
    heatmaps[0, 30, 50] = 1
    drawn = draw_heatmaps(image(), result(heatmaps), alpha=1)
    np.testing.assert_array_equal(drawn[30, 50], RED_END)
    np.testing.assert_array_equal(drawn[0, 0], BLUE_END)


def test_nobody_is_all_blue():
    output = PoseOutput([], [], heatmaps=np.zeros((0, 17, 64, 48)), heatmap_boxes=[])
    assert (draw_heatmaps(image(), output, alpha=1) == BLUE_END).all()


def test_the_input_image_is_kept():
    pixels = image()
    draw_heatmaps(pixels, result(np.ones((1, 60, 100))))
    np.testing.assert_array_equal(pixels, image())


def test_missing_heatmaps_boxes_and_bad_alpha_are_refused():
    with pytest.raises(InputError, match="no heatmaps"):
        draw_heatmaps(image(), PoseOutput([], []))
    with pytest.raises(InputError, match=r"\(1, 1, 8, 8\) without heatmap_boxes"):
        draw_heatmaps(image(), result(np.ones((1, 1, 8, 8))))
    with pytest.raises(InputError, match="alpha must be 0 to 1"):
        draw_heatmaps(image(), result(np.ones((1, 60, 100))), alpha=2)


def test_heatmaps_are_drawn_below_the_poses():
    output = result(np.random.default_rng(0).random((2, 6, 10)))
    drawn = draw_poses_and_heatmaps(image(), output, radius=2)
    np.testing.assert_array_equal(drawn[:60], draw_poses(image(), output, radius=2))
    np.testing.assert_array_equal(drawn[60:], draw_heatmaps(image(), output))
    black = draw_poses_and_heatmaps(image(), output, radius=2, black_background=True)
    np.testing.assert_array_equal(black[60:], draw_heatmaps(np.zeros_like(image()), output))
    assert not black[30:60].any()
