"""draw_poses_3d, draw_poses_side_by_side and the limits of their axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.ops.axes import turn_axes
from hfpose.results import PoseOutput
from hfpose.visualization import AxisLimits, Panels, axis_limits_3d, draw_poses, draw_poses_3d, draw_poses_side_by_side

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
POLE = KeypointSchema(
    "pole", ("foot", "head"), skeleton=((0, 1),), keypoint_colors=(RED, BLUE), skeleton_colors=(GREEN,)
)
LIMITS = AxisLimits((-0.5, 0.5), (-0.5, 0.5), (0.0, 2.0))


def poles(*people: list[tuple[float, float, float]], **fields: Any) -> PoseOutput:
    given = people or ([(0, 0, 0), (0, 0, 1.7)],)
    flat = [[(20.0 + 10 * i, 50.0), (20.0 + 10 * i, 10.0)] for i in range(len(given))]
    return PoseOutput(given, np.ones((len(given), 2)), keypoints_2d=flat, schema=POLE, **fields)


def center_of(image: np.ndarray, color: tuple[int, int, int]) -> tuple[float, float]:
    ys, xs = np.nonzero((image == color).all(axis=2))
    assert len(xs), f"nothing is drawn in {color}"
    return float(xs.mean()), float(ys.mean())


def has(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((image == color).all(axis=2).any())


def test_up_is_up_and_the_pole_stands_in_the_middle():
    image = draw_poses_3d(poles(), size=200)
    assert image.shape == (200, 200, 3)
    foot, head = center_of(image, RED), center_of(image, BLUE)
    assert foot[0] == pytest.approx(100, abs=2)
    assert head[0] == pytest.approx(100, abs=2)
    assert head[1] < foot[1] - 80


@pytest.mark.parametrize(
    ("azimuth", "point", "right"),
    [(0, (0, 0.4), True), (0, (0, -0.4), False), (90, (-0.4, 0), True), (-90, (0.4, 0), True), (180, (0, -0.4), True)],
)
def test_azimuth_is_where_the_viewer_stands(azimuth: float, point: tuple[float, float], right: bool):
    image = draw_poses_3d(poles([(0, 0, 0), (*point, 1.0)]), size=200, azimuth=azimuth, axis_limits=LIMITS)
    assert (center_of(image, BLUE)[0] > 100) == right


def test_from_above_far_points_are_up():
    near, far = (0.4, 0, 0), (-0.4, 0, 0)
    image = draw_poses_3d(poles([near, far]), size=200, azimuth=0, elevation=80, axis_limits=LIMITS)
    assert center_of(image, BLUE)[1] < center_of(image, RED)[1] - 30


def test_what_is_near_is_drawn_over_what_is_far():
    # both keypoints are in line with the viewer, who stands at azimuth 0 on the x axis
    near_head = draw_poses_3d(poles([(-0.3, 0, 1), (0.3, 0, 1)]), size=200, azimuth=0, elevation=0, axis_limits=LIMITS)
    near_foot = draw_poses_3d(poles([(0.3, 0, 1), (-0.3, 0, 1)]), size=200, azimuth=0, elevation=0, axis_limits=LIMITS)
    assert has(near_head, BLUE) and not has(near_head, RED)
    assert has(near_foot, RED) and not has(near_foot, BLUE)


def test_all_of_the_limits_is_in_the_panel():
    for x in LIMITS.x:
        for y in LIMITS.y:
            for z in LIMITS.z:
                corner = poles([(0, 0, 1), (x, y, z)])
                for azimuth in (0, 45, 70):
                    assert has(draw_poses_3d(corner, size=120, azimuth=azimuth, axis_limits=LIMITS), BLUE)


def test_axes_stand_still_when_limits_are_given():
    empty = draw_poses_3d(poles().select([]), size=200, axis_limits=LIMITS)
    moved = draw_poses_3d(poles([(0.3, 0, 0.9), (0.3, 0, 1.2)]), size=200, axis_limits=LIMITS)
    drawn = (moved != empty).any(axis=2)
    assert 20 < drawn.sum() < 2000
    assert not drawn[150:].any()  # the ground


def test_the_ground_is_drawn_for_nobody_too():
    image = draw_poses_3d(PoseOutput.failed("broken"), size=200)
    assert (image[:100] == 255).all()
    assert (image[130:] != 255).any()


def test_keypoints_below_the_threshold_are_left_out():
    output = poles()
    output.keypoint_scores[0, 1] = 0.6
    image = draw_poses_3d(output, size=200, keypoint_threshold=0.7)
    assert has(image, RED) and not has(image, BLUE) and not has(image, GREEN)
    assert has(draw_poses_3d(output, size=200, keypoint_threshold=0.1), BLUE)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_an_impossible_keypoint_is_left_out(value: float):
    image = draw_poses_3d(poles([(0, 0, 0.5), (value, 0, 1)]), size=200, axis_limits=LIMITS)
    assert has(image, RED) and not has(image, BLUE) and not has(image, GREEN)


def test_a_keypoint_behind_the_viewer_is_left_out():
    image = draw_poses_3d(poles([(0, 0, 1), (500, 0, 1)]), size=200, azimuth=0, axis_limits=LIMITS)
    assert has(image, RED) and not has(image, GREEN)


def test_radius_and_thickness():
    def area(color: tuple[int, int, int], **options: int) -> int:
        return int((draw_poses_3d(poles(), size=200, **options) == color).all(axis=2).sum())

    assert area(BLUE, radius=8) > 5 * area(BLUE, radius=3) > 0
    assert area(GREEN, thickness=6) > 1.8 * area(GREEN, thickness=2) > 0
    assert area(BLUE, radius=0) == area(GREEN, thickness=0) == 0


@pytest.mark.parametrize(("people", "shape"), [(1, (1, 1)), (2, (2, 1)), (4, (2, 2)), (6, (3, 2))])
def test_each_person_has_a_panel(people: int, shape: tuple[int, int]):
    output = poles(*[[(0, 0, 0), (0, 0, 1.7)]] * people)
    image = draw_poses_3d(output, size=240)
    panel = 240 // shape[0]
    assert image.shape == (240, panel * shape[1], 3)
    for index in range(shape[0] * shape[1]):
        row, column = divmod(index, shape[1])
        part = image[row * panel : (row + 1) * panel, column * panel : (column + 1) * panel]
        assert has(part, BLUE) == (index < people)


def test_a_last_row_of_fewer_stands_in_the_middle():
    image = draw_poses_3d(poles(*[[(0, 0, 0), (0, 0, 1.7)]] * 3), size=240)
    np.testing.assert_array_equal(image[120:, 60:180], image[:120, :120])
    assert (image[120:, :60] == 255).all() and (image[120:, 180:] == 255).all()


def test_there_are_no_empty_panels():
    output = PoseOutput(
        [[(0, 0, 0), (0, 0, 1.7)], [(0, 0, 0), (0, 0, 1.6)]],
        [[0, 0], [1, 1]],
        keypoints_2d=np.zeros((2, 2, 2)),
        schema=POLE,
    )
    assert draw_poses_3d(output, size=200).shape == (200, 200, 3)
    one_of_two = draw_poses_3d(output, size=200, num_instances=2)
    assert one_of_two.shape == (200, 100, 3)
    assert (one_of_two[100:] == 255).all()
    image = np.full((120, 200, 3), 90, np.uint8)
    nobody = output.select([])
    np.testing.assert_array_equal(draw_poses_side_by_side(image, nobody), image)
    assert draw_poses_side_by_side(image, nobody, num_instances=1).shape == (120, 320, 3)


def test_panels_carry_what_is_written_in_the_image():
    image = np.full((120, 200, 3), 90, np.uint8)
    two = poles([(0, 0, 0), (0, 0, 1.7)], [(0, 0, 0), (0, 0, 1.6)])
    both = draw_poses_side_by_side(image, two, axis_limits=LIMITS)
    np.testing.assert_array_equal(both[:, :200], draw_poses(image, two, labels=["0", "1"]))
    np.testing.assert_array_equal(both[:, 200:], draw_poses_3d(two, size=120, labels=["0", "1"], axis_limits=LIMITS))
    assert (both[:, 200:] != draw_poses_3d(two, size=120, axis_limits=LIMITS)).any()


def test_num_instances_pads_and_cuts():
    two = poles([(0, 0, 0), (0, 0, 1.7)], [(0, 0, 0), (0, 0, 1.6)])
    padded = draw_poses_3d(two, size=200, num_instances=4, axis_limits=LIMITS)
    assert padded.shape == (200, 200, 3)
    assert has(padded[:100, :100], BLUE) and has(padded[:100, 100:], BLUE) and not has(padded[100:], BLUE)
    cut = draw_poses_3d(two, size=200, num_instances=1, axis_limits=LIMITS)
    np.testing.assert_array_equal(cut, draw_poses_3d(two.select([0]), size=200, axis_limits=LIMITS))


def test_track_ids_are_written_in_the_panel():
    plain = draw_poses_3d(poles(), size=200)
    tagged = draw_poses_3d(poles(track_ids=[12]), size=200)
    new = (plain != tagged).any(axis=2)
    assert new[:30, :60].any() and not new[30:].any()


def test_people_keep_their_panels_while_their_order_changes():
    small, tall = [(0, 0, 0), (0, 0, 0.5)], [(0, 0, 0), (0, 0, 1.7)]
    options = {"size": 200, "axis_limits": LIMITS}
    expected = draw_poses_3d(poles(small, tall, track_ids=[3, 7]), **options)
    np.testing.assert_array_equal(draw_poses_3d(poles(tall, small, track_ids=[7, 3]), **options), expected)
    first = draw_poses_3d(poles(tall, small, track_ids=[-1, 3]), num_instances=1, **options)
    np.testing.assert_array_equal(first, draw_poses_3d(poles(small, track_ids=[3]), **options))


def test_nobody_changes_panels_when_another_leaves():
    panels = Panels(3)
    shown = [
        panels.update(poles(*[[(0, 0, 0), (0, 0, 1)]] * len(ids), track_ids=ids))
        for ids in ([3, 5, 8], [5, 8], [8, 3, 5])
    ]
    assert shown == [[0, 1, 2], [None, 0, 1], [1, 2, 0]]
    assert panels.update(poles(*[[(0, 0, 0), (0, 0, 1)]] * 3, track_ids=[5, 9, -1])) == [1, 0, 2]
    assert Panels(2).update(poles(*[[(0, 0, 0), (0, 0, 1)]] * 3)) == [0, 1]


def test_panels_of_a_stream_become_more_with_people_and_never_fewer():
    panels = Panels(1, grows=True)
    alone, three = (poles(*[[(0, 0, 0), (0, 0, 1)]] * count) for count in (1, 3))
    assert [len(panels.update(each)) for each in (alone, three, alone)] == [1, 3, 3]


def test_who_is_not_in_a_frame_leaves_the_panel_empty():
    two = poles([(0, 0, 0), (0, 0, 1.7)], [(0, 0, 0), (0, 0, 1.6)], track_ids=[3, 5])
    image = draw_poses_3d(two.select([1]), size=200, panels=[None, 0], axis_limits=LIMITS)
    assert not has(image[:100], BLUE) and has(image[100:], BLUE)


def test_what_is_hidden_or_interpolated_is_pale():
    seen, hidden = poles(), poles()
    hidden.keypoint_scores[:] = 0.4
    guessed = replace(poles(), interpolated=[True])
    images = [draw_poses_3d(output, size=200) for output in (seen, hidden, guessed)]
    assert has(images[0], BLUE) and not has(images[1], BLUE)
    np.testing.assert_array_equal(images[1], images[2])


def test_hands_are_seen_from_their_own_side():
    rng = np.random.default_rng(0)
    output = PoseOutput(rng.uniform(0, 100, (1, 42, 3)), np.ones((1, 42)), schema=load_schema("interhand3d"))
    np.testing.assert_array_equal(draw_poses_3d(output, size=100), draw_poses_3d(output, size=100, azimuth=-115))
    assert (draw_poses_3d(output, size=100) != draw_poses_3d(output, size=100, azimuth=70)).any()


def test_side_by_side_is_the_2d_image_and_the_panels():
    image = np.full((120, 200, 3), 90, np.uint8)
    output = poles()
    both = draw_poses_side_by_side(image, output, radius=2, azimuth=10, elevation=30, axis_limits=LIMITS)
    np.testing.assert_array_equal(both[:, :200], draw_poses(image, output, radius=2))
    np.testing.assert_array_equal(
        both[:, 200:], draw_poses_3d(output, size=120, azimuth=10, elevation=30, axis_limits=LIMITS)
    )
    assert (image == 90).all()


def test_side_by_side_keeps_its_size_over_a_clip():
    image = np.zeros((121, 200, 3), np.uint8)
    frames = [PoseOutput.failed("no frame"), poles(), poles(*[[(0, 0, 0), (0, 0, 1)]] * 7)]
    shapes = {draw_poses_side_by_side(image, frame, num_instances=3).shape for frame in frames}
    assert len(shapes) == 1


def test_2d_keypoints_and_bad_sizes_are_refused():
    flat = PoseOutput(np.zeros((1, 2, 2)), np.ones((1, 2)))
    with pytest.raises(InputError, match="3D keypoints"):
        draw_poses_3d(flat)
    with pytest.raises(InputError, match="at least 16"):
        draw_poses_3d(poles(), size=3)
    with pytest.raises(InputError, match="num_instances at least 1"):
        draw_poses_3d(poles(), num_instances=0)
    with pytest.raises(InputError, match="radius must be"):
        draw_poses_3d(poles(), radius=-1)


def test_limits_are_round_stand_on_the_ground_and_hold_everyone():
    limits = axis_limits_3d(poles([(0.1, 0.4, 0), (0, -0.3, 1.7)], [(-0.3, 0, 0), (0, 0, 1.2)]))
    assert limits == AxisLimits((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.75))


def test_limits_follow_data_that_is_not_around_zero():
    limits = axis_limits_3d(poles([(300, 100, 0), (420, 130, 150)]))
    assert limits == AxisLimits((297.5, 422.5), (52.5, 177.5), (0.0, 150.0))


def test_limits_start_below_ground_where_the_data_does():
    assert axis_limits_3d(poles([(0, 0, -0.9), (0, 0, 0.8)])).z == pytest.approx((-0.9, 0.85))


def test_limits_of_a_clip_hold_every_frame():
    frames = [poles(), PoseOutput.failed("broken"), poles([(0, 0, 0), (0.9, 0, 1)])]
    limits = axis_limits_3d(frames)
    assert limits.x == (-1.0, 1.0)
    assert limits == axis_limits_3d(iter(frames))


def test_panels_follow_people_who_move_through_space() -> None:
    way = [poles([(x, 3, 0), (x, 3, 1.7)]) for x in (-4.0, 0.03, 5.0)]
    limits = axis_limits_3d(way, follow=True)
    assert limits == axis_limits_3d(poles())
    images = [draw_poses_3d(each, size=200, axis_limits=limits, follow=True) for each in way]
    still = draw_poses_3d(poles(), size=200, axis_limits=limits)
    for image in images:
        for color in (RED, BLUE):
            assert center_of(image, color) == pytest.approx(center_of(still, color), abs=1)
    assert (images[0] != images[1]).any()  # the ground passes


def test_limits_ignore_what_is_not_drawn():
    output = poles([(0, 0, 0), (np.nan, 0, 90)], [(0, 0, 0), (0, 0, 1.7)])
    output.keypoints[1, 0] = (80, 80, 80)
    output.keypoint_scores[1, 0] = 0.1
    assert axis_limits_3d(output).x == (-0.5, 0.5)


def test_limits_of_a_stream_are_kept_until_someone_leaves_them():
    first = axis_limits_3d(poles())
    same = axis_limits_3d(poles([(0, 0, 0), (0.1, 0, 0.2)]), previous=first)
    assert same is first
    grown = axis_limits_3d(poles([(0, 0, 0), (0.9, 0, 0.2)]), previous=first)
    assert grown.x[1] >= 0.9
    for axis, old in zip(grown, first, strict=True):
        assert axis[0] <= old[0] and old[1] <= axis[1]


def test_limits_of_nothing_and_of_one_point_can_be_drawn():
    for output in (PoseOutput([], []), poles([(1, 1, 1), (1, 1, 1)]), poles([(0, 0, 0), (0, 0, 0)])):
        limits = axis_limits_3d(output)
        assert all(low < high for low, high in limits)
        assert draw_poses_3d(output, size=64).shape == (64, 64, 3)


def test_face_and_hands_of_a_whole_body_are_fine_and_seen() -> None:
    schema = load_schema("coco_wholebody")
    keypoints = np.zeros((1, 133, 3), np.float32)
    keypoints[0, :, 2] = 0.8
    face, wrist = schema.index("face-30"), schema.index("left_wrist")
    keypoints[0, face], keypoints[0, wrist] = [0.0, 0.6, 1.6], [0.0, -0.6, 1.6]

    def ink(index: int) -> int:
        scores = np.zeros((1, 133), np.float32)
        scores[0, index] = 1
        output = PoseOutput(keypoints=keypoints, keypoint_scores=scores, schema=schema)
        empty = PoseOutput(keypoints=keypoints, keypoint_scores=np.zeros((1, 133)), schema=schema)
        limits = AxisLimits((-1, 1), (-1, 1), (0, 2))
        options = {"axis_limits": limits, "radius": 4}
        return int((draw_poses_3d(output, **options) != draw_poses_3d(empty, **options)).any(-1).sum())

    assert 0 < ink(face) < ink(wrist) / 3


def test_labels_shrink_less_than_panels():
    def height(people: int) -> int:
        output = poles(*[[(0, 0, 0), (0, 0, 1.7)]] * people)
        image = draw_poses_3d(output, size=720, labels=["#1"] * people)
        return int((image[:100, 1] == (225, 225, 225)).all(-1).sum())

    assert 15 < height(1) < 720 / 20
    assert height(4) > 0.6 * height(1)


def test_results_in_the_axes_of_the_camera_stand_upright():
    keypoints = np.array([[(0, 0, 0), (0.1, -1.2, 0.3)]], np.float32)  # in the camera's axes
    images = [
        draw_poses_3d(replace(poles(), keypoints=turn_axes(keypoints, name), axes=name), size=120)
        for name in ("world", "camera")
    ]
    np.testing.assert_array_equal(*images)
