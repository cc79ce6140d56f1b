"""draw_poses: what changes in the image, and what must not."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses

GRAY = 100
RED, GREEN, BLUE, BLACK, MAGENTA = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 0, 255)
BAR = KeypointSchema(
    "bar",
    ("left", "right"),
    skeleton=((0, 1),),
    flip_indices=(1, 0),
    keypoint_colors=(RED, BLUE),
    skeleton_colors=(GREEN,),
)


def image(height: int = 60, width: int = 100) -> np.ndarray:
    return np.full((height, width, 3), GRAY, np.uint8)


def bar(*points: tuple[float, float], scores: tuple[float, ...] = (1.0, 1.0), **fields: Any) -> PoseOutput:
    return PoseOutput([points or ((20, 30), (80, 30))], [scores], schema=BAR, **fields)


def changed(image: np.ndarray, before: int = GRAY) -> np.ndarray:
    return (image != before).any(axis=2)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column, first and last row that are True."""
    ys, xs = np.nonzero(mask)
    return xs.min(), xs.max(), ys.min(), ys.max()


def person(schema: str = "coco") -> PoseOutput:
    """One person of COCO's 17 keypoints at different places of a 400 x 400 image."""
    names = load_schema("coco").keypoint_names
    places = {name: (20.0 + 20 * i, 30.0 + 30 * (i % 2) + 18 * i) for i, name in enumerate(names)}
    target = load_schema(schema)
    points = [places.get(name, (5.0, 5.0)) for name in target.keypoint_names]
    scores = [float(name in places) for name in target.keypoint_names]
    return PoseOutput([points], [scores], schema=target)


def test_dots_and_link_lie_at_their_coordinates_in_the_schemas_colors():
    result = draw_poses(image(), bar(), radius=4, thickness=3)
    assert tuple(result[30, 20]) == RED
    assert tuple(result[30, 80]) == BLUE
    assert tuple(result[30, 50]) == GREEN
    assert extent(changed(result)) == (15, 85, 25, 35)  # 4 pixels and one of anti-aliasing around (20..80, 30)


def test_the_input_image_is_kept():
    pixels = image()
    result = draw_poses(pixels, bar())
    assert (pixels == GRAY).all()
    assert not np.shares_memory(pixels, result)


def test_a_read_only_or_mirrored_view_can_be_drawn_on():
    pixels = image()[:, ::-1, ::-1]
    pixels.flags.writeable = False
    assert tuple(draw_poses(pixels, bar(), radius=4)[30, 20]) == RED


def test_fractions_of_a_pixel_move_the_dot():
    first = draw_poses(image(), bar((20.0, 30), (80, 30)), radius=4, thickness=0)
    second = draw_poses(image(), bar((20.5, 30), (80, 30)), radius=4, thickness=0)
    columns = np.arange(100)
    weight = [np.abs(image.astype(int) - GRAY).sum(axis=(0, 2))[:50] for image in (first, second)]
    centers = [(w * columns[:50]).sum() / w.sum() for w in weight]
    assert centers[0] == pytest.approx(20.0, abs=0.02)
    assert centers[1] == pytest.approx(20.5, abs=0.02)


@pytest.mark.parametrize(("score", "drawn"), [(0.5, True), (0.49, False), (np.nan, False)])
def test_a_keypoint_needs_the_threshold_and_a_link_both_ends(score: float, drawn: bool):
    result = draw_poses(image(), bar(scores=(score, 1.0)), keypoint_threshold=0.5, radius=4, thickness=3)
    assert changed(result)[30, 20] == drawn
    assert changed(result)[30, 50] == drawn
    assert tuple(result[30, 80]) == BLUE


@pytest.mark.parametrize("radius", [2, 6])
def test_radius_is_pixels(radius: int):
    result = draw_poses(image(), bar(), radius=radius, thickness=0)
    solid = (result == RED).all(axis=2)
    assert extent(solid) == (20 - radius, 20 + radius, 30 - radius, 30 + radius)


@pytest.mark.parametrize("thickness", [2, 5])
def test_thickness_is_that_of_opencv(thickness: int):
    expected = cv2.line(image(), (20, 30), (80, 30), GREEN, thickness)
    result = draw_poses(image(), bar(), radius=0, thickness=thickness)
    solid = [(image[:, 50] == GREEN).all(axis=1) for image in (expected, result)]
    assert solid[0].sum() >= thickness
    np.testing.assert_array_equal(solid[1], solid[0])


def test_radius_and_thickness_zero_draw_nothing():
    assert not changed(draw_poses(image(), bar(), radius=0, thickness=0)).any()


def test_defaults_grow_with_the_image():
    small = changed(draw_poses(image(480, 640), bar((100, 200), (500, 200))))
    large = changed(draw_poses(image(1920, 2560), bar((400, 800), (2000, 800))))
    assert large[:, 1200].sum() > 2 * small[:, 300].sum()  # the link
    assert large[:, 400].sum() > 2 * small[:, 100].sum()  # the dot


def test_later_people_are_drawn_over_earlier_ones():
    output = PoseOutput([[(20, 30), (80, 30)], [(20, 50), (20, 10)]], np.ones((2, 2)), schema=BAR)
    result = draw_poses(image(), output, radius=4, thickness=3)
    assert tuple(result[30, 20]) == GREEN  # link of the second over the dot of the first


def test_a_link_with_an_end_off_the_image_is_left_out():
    result = draw_poses(image(), bar((20, 30), (105, 30)), radius=3, thickness=3)
    assert tuple(result[30, 20]) == RED
    assert not changed(result)[:, 30:].any()


def test_a_dot_at_the_edge_is_cut():
    result = draw_poses(image(), bar((20, 30), (101, 30)), radius=6, thickness=3)
    assert tuple(result[30, 99]) == BLUE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, 40000.0, -40000.0])
@pytest.mark.parametrize("style", ["mmpose", "openpose"])
def test_impossible_coordinates_leave_the_rest_as_it_is(value: float, style: Any):
    output = person()
    lost = person()
    lost.keypoints[0, 9] = value
    lost.keypoint_scores[0, 9] = 1
    output.keypoint_scores[0, 9] = 0
    np.testing.assert_array_equal(
        draw_poses(image(400, 400), lost, skeleton_style=style),
        draw_poses(image(400, 400), output, skeleton_style=style),
    )


def test_boxes_are_outlined_only_on_request():
    output = bar(boxes=[[10, 20, 90, 40]])
    without = draw_poses(image(), output, thickness=1)
    result = draw_poses(image(), output, thickness=1, draw_boxes=True)
    for x, y in ((10, 25), (90, 25), (30, 20), (30, 40)):
        assert tuple(result[y, x]) == MAGENTA
        assert not changed(without)[y, x]
    assert not changed(result)[25, 12]


def test_a_box_larger_than_the_image_shows_no_edge():
    output = bar(scores=(0, 0), boxes=[[-1e20, -5, 1e20, 1e6]])
    assert not changed(draw_poses(image(), output, thickness=2, draw_boxes=True)).any()


def test_a_box_of_nan_is_left_out():
    output = bar(scores=(0, 0), boxes=[[np.nan, 5, 50, 50]])
    assert not changed(draw_poses(image(), output, draw_boxes=True, labels=["lost"])).any()


def test_an_instance_without_identity_has_no_number():
    drawn = [draw_poses(image(), bar(track_ids=ids), thickness=1) for ids in ([-1], None)]
    np.testing.assert_array_equal(*drawn)


def test_track_ids_are_written_and_color_the_boxes():
    output = bar(boxes=[[10, 25, 90, 50]], track_ids=[5])
    plain = draw_poses(image(), output, draw_track_ids=False, draw_boxes=True, thickness=1)
    result = draw_poses(image(), output, draw_boxes=True, thickness=1)
    other = draw_poses(image(), bar(boxes=[[10, 25, 90, 50]], track_ids=[6]), draw_boxes=True, thickness=1)
    assert tuple(plain[45, 10]) == MAGENTA
    assert tuple(result[45, 10]) not in (MAGENTA, tuple(other[45, 10]))
    above = np.s_[5:24, :40]
    assert not changed(plain)[above].any()
    assert changed(result)[above].any()


def test_labels_are_written_at_the_box_or_over_the_person():
    at_box = changed(draw_poses(image(), bar(boxes=[[30, 15, 90, 50]]), radius=1, labels=["cat"]))
    assert at_box[14, 31] and not at_box[14, 28]
    over = changed(draw_poses(image(), bar((20, 50), (80, 40)), radius=2, labels=["cat"]))
    assert over[30, 82]
    assert not over[30, 22]


def test_labels_stay_in_the_image():
    result = draw_poses(image(), bar((95, 2), (50, 2), scores=(1, 0), boxes=[[95, -20, 99, 5]]), labels=["cat"])
    left, right, top, bottom = extent(changed(result))
    assert right - left > 10
    assert bottom - top > 5


@pytest.mark.parametrize("fields", [{"labels": ["cat"]}, {}])
def test_nothing_is_written_where_nothing_is_drawn(fields: dict[str, Any]):
    output = bar(scores=(0, 0), boxes=[[30, 15, 90, 50]], track_ids=[3])
    assert not changed(draw_poses(image(), output, **fields)).any()
    assert changed(draw_poses(image(), output, draw_boxes=True, thickness=1, **fields))[10, 31]


def test_scores_are_written_at_boxes_that_are_drawn():
    output = bar(boxes=[[10, 25, 90, 50]], box_scores=[0.87])
    written = draw_poses(image(), output, draw_boxes=True) != draw_poses(
        image(), output, draw_boxes=True, draw_scores=False
    )
    assert extent(written.any(axis=2))[0] == 10
    np.testing.assert_array_equal(draw_poses(image(), output), draw_poses(image(), output, draw_scores=False))


def two_bars(**fields: Any) -> PoseOutput:
    return PoseOutput([[(20, 20), (80, 20)], [(20, 50), (80, 50)]], np.ones((2, 2)), schema=BAR, **fields)


def test_colors_by_instance_and_by_track():
    by_instance = draw_poses(image(), two_bars(), thickness=3, color_by="instance")
    first, second = tuple(by_instance[20, 50]), tuple(by_instance[50, 50])
    assert first != second
    assert {tuple(by_instance[20, x]) for x in (20, 50, 80)} == {first}
    frames = [draw_poses(image(), two_bars(track_ids=ids), thickness=3, color_by="track") for ids in ([4, 9], [9, 4])]
    assert tuple(frames[0][20, 50]) == tuple(frames[1][50, 50]) != tuple(frames[0][50, 50])
    by_side = draw_poses(image(), two_bars(track_ids=[4, 9]), color_by="side", draw_track_ids=False)
    np.testing.assert_array_equal(by_side, draw_poses(image(), two_bars()))
    with pytest.raises(ConfigError, match="track=True"):
        draw_poses(image(), two_bars(), color_by="track")
    with pytest.raises(ConfigError, match="'side', 'instance' or 'track'"):
        draw_poses(image(), two_bars(), color_by="pose")


def test_many_people_of_an_image_are_told_apart_by_color():
    points = [[(10, 5 * i), (90, 5 * i)] for i in range(1, 11)]
    many = PoseOutput(points, np.ones((10, 2)), schema=BAR)
    drawn = draw_poses(image(), many, thickness=1)
    np.testing.assert_array_equal(drawn, draw_poses(image(), many, thickness=1, color_by="instance"))
    frame = PoseOutput(points, np.ones((10, 2)), schema=BAR, frame_index=0)
    assert tuple(draw_poses(image(), frame, thickness=3)[5, 50]) == GREEN


def test_the_color_of_boxes():
    output = two_bars(boxes=[[10, 10, 90, 30], [10, 40, 90, 55]])
    result = draw_poses(image(), output, draw_boxes=True, color_by="instance", box_color=RED)
    assert tuple(result[25, 10]) == tuple(result[50, 10]) == RED
    result = draw_poses(image(), output, thickness=3, draw_boxes=True, color_by="instance")
    assert tuple(result[25, 10]) == tuple(result[20, 50])


def test_labels_must_be_one_for_each_person():
    with pytest.raises(InputError, match="each of 1 people, but 2"):
        draw_poses(image(), bar(), labels=["a", "b"])


def test_keypoint_indices_are_written_beside_the_dots():
    plain = draw_poses(image(), bar(), radius=2)
    result = draw_poses(image(), bar(), radius=2, draw_keypoint_indices=True)
    new = (plain != result).any(axis=2)
    assert new[15:28, 20:35].any()
    assert new[15:28, 80:95].any()
    assert not new[:, 40:75].any()


def test_black_background_keeps_the_skeleton_alone():
    on_black = draw_poses(image(), bar(), radius=4, thickness=3, black_background=True)
    on_image = draw_poses(image(), bar(), radius=4, thickness=3)
    assert tuple(on_black[0, 0]) == BLACK
    assert tuple(on_black[30, 50]) == GREEN
    np.testing.assert_array_equal(changed(on_black, before=0), changed(on_image))


def test_schema_may_be_given_by_name_or_replaced():
    output = PoseOutput(person().keypoints, person().keypoint_scores)
    dots = draw_poses(image(400, 400), output)
    by_name = draw_poses(image(400, 400), output, schema="coco")
    np.testing.assert_array_equal(by_name, draw_poses(image(400, 400), person()))
    assert changed(by_name).sum() > 1.5 * changed(dots).sum()


def test_a_schema_of_other_keypoints_is_refused():
    with pytest.raises(ConfigError, match="'halpe26' has 26 keypoints, but the result has 17"):
        draw_poses(image(), person(), schema="halpe26")


def test_openpose_style_draws_the_neck_between_the_shoulders():
    output = person()
    neck = output.keypoints[0, 5:7].mean(axis=0).round().astype(int)
    result = draw_poses(image(400, 400), output, skeleton_style="openpose", radius=4)
    assert tuple(result[neck[1], neck[0]]) == load_schema("coco_openpose").keypoint_colors[1]
    output.keypoint_scores[0, 5] = 0.1
    without = draw_poses(image(400, 400), output, skeleton_style="openpose", radius=4)
    assert tuple(without[neck[1], neck[0]]) == (GRAY,) * 3


def test_openpose_style_colors_every_keypoint_by_name():
    style = load_schema("coco_openpose")
    output = person()
    result = draw_poses(image(400, 400), output, skeleton_style="openpose", radius=2)
    for name, (x, y) in zip(load_schema("coco").keypoint_names, output.keypoints[0].astype(int), strict=True):
        assert tuple(result[y, x]) == style.keypoint_colors[style.index(name)], name


def test_openpose_limbs_let_the_image_shine_through():
    output = person()
    output.keypoint_scores[:] = 0
    output.keypoints[0, [5, 7]] = [(50, 100), (150, 100)]  # left upper arm: link 4, (170, 255, 0)
    output.keypoint_scores[0, [5, 7]] = 1
    result = draw_poses(image(400, 400), output, skeleton_style="openpose", radius=0, thickness=5)
    expected = np.rint(0.6 * np.array((170, 255, 0)) + 0.4 * GRAY)
    np.testing.assert_allclose(result[100, 100], expected, atol=1)
    heights = changed(result).sum(axis=0)
    assert heights[100] in (11, 12, 13)  # an ellipse: thick in the middle, pointed at its ends
    assert heights[52] < heights[100] / 2


def test_openpose_style_takes_hands_of_wholebody():
    output = person("coco_wholebody")
    names = load_schema("coco_wholebody").keypoint_names
    for name, place in (("left_hand_root", (150, 20)), ("left_thumb1", (180, 20))):
        output.keypoints[0, names.index(name)] = place
        output.keypoint_scores[0, names.index(name)] = 1
    style = load_schema("coco_wholebody_openpose")
    link = style.skeleton.index((style.index("left_hand_root"), style.index("left_thumb1")))
    result = draw_poses(image(400, 400), output, skeleton_style="openpose", thickness=4)
    assert tuple(result[20, 165]) == style.skeleton_colors[link]


def test_openpose_style_keeps_a_neck_that_the_schema_has():
    output = person("halpe26")
    neck = load_schema("halpe26").index("neck")
    output.keypoints[0, neck] = (180, 10)
    output.keypoint_scores[0, neck] = 1
    result = draw_poses(image(400, 400), output, skeleton_style="openpose", radius=4)
    assert tuple(result[10, 180]) == load_schema("coco_openpose").keypoint_colors[1]


def test_openpose_style_says_which_schemas_it_cannot_draw():
    with pytest.raises(ConfigError, match=r"'bar' has no nose, .*skeleton_style='mmpose'"):
        draw_poses(image(), bar(), skeleton_style="openpose")


def test_unknown_style_is_refused():
    with pytest.raises(ConfigError, match="'mmpose' or 'openpose', but 'detectron'"):
        draw_poses(image(), bar(), skeleton_style="detectron")  # type: ignore[arg-type]


def test_faces_and_hands_of_wholebody_are_drawn_finer():
    schema = load_schema("coco_wholebody")
    output = PoseOutput(np.full((1, 133, 2), 50.0), np.zeros((1, 133)), schema=schema)
    sizes = []
    for name in ("left_wrist", "left_thumb1"):
        output.keypoint_scores[:] = 0
        output.keypoint_scores[0, schema.index(name)] = 1
        sizes.append(changed(draw_poses(image(100, 100), output, radius=8)).sum())
    assert sizes[1] == pytest.approx(sizes[0] / 4, rel=0.3)


def test_a_3d_result_is_drawn_by_its_2d_keypoints():
    output = PoseOutput(np.ones((1, 2, 3)), np.ones((1, 2)), keypoints_2d=[[(20, 30), (80, 30)]], schema=BAR)
    np.testing.assert_array_equal(draw_poses(image(), output), draw_poses(image(), bar()))


def test_a_3d_result_without_2d_keypoints_is_refused():
    with pytest.raises(InputError, match="draw_poses_3d"):
        draw_poses(image(), PoseOutput(np.ones((1, 2, 3)), np.ones((1, 2)), schema=BAR))


@pytest.mark.parametrize("schema", [None, "coco"])
@pytest.mark.parametrize("style", ["mmpose", "openpose"])
def test_nobody_leaves_the_image_as_it_is(schema: str | None, style: Any):
    for output in (PoseOutput([], [], boxes=[]), PoseOutput.failed("broken")):
        result = draw_poses(image(), output, schema=schema, skeleton_style=style, draw_boxes=True)
        np.testing.assert_array_equal(result, image())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (5, 2)])
def test_tiny_images(height: int, width: int):
    output = bar((0, 0), (width - 1, height - 1), boxes=[[0, 0, 1, 1]], track_ids=[1])
    result = draw_poses(image(height, width), output, draw_boxes=True, draw_keypoint_indices=True)
    assert result.shape == (height, width, 3)
    assert changed(result).any()


@pytest.mark.parametrize(
    "image",
    [
        None,
        [[1]],
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(image: Any):
    with pytest.raises(InputError, match="Drawing needs"):
        draw_poses(image, bar())


@pytest.mark.parametrize("option", ["radius", "thickness"])
def test_negative_sizes_are_refused(option: str):
    with pytest.raises(InputError, match=f"{option} must be 0 to 1000"):
        draw_poses(image(), bar(), **{option: -1})
