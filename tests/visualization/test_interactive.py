"""plot_poses_3d: a figure for notebooks, if plotly is there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.results import PoseOutput
from hfpose.visualization import plot_poses_3d


def people(count: int = 2) -> PoseOutput:
    keypoints = np.random.default_rng(0).uniform(-0.4, 0.4, (count, 17, 3))
    return PoseOutput(keypoints, np.ones((count, 17)), schema=load_schema("h36m"))


def test_without_plotly_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ImportError, match="pip install plotly"):
        plot_poses_3d(people())


def test_2d_keypoints_are_refused():
    with pytest.raises(InputError, match="3D keypoints"):
        plot_poses_3d(PoseOutput(np.zeros((1, 17, 2)), np.ones((1, 17))))


def test_each_person_has_links_and_named_keypoints_at_a_place_of_its_own():
    pytest.importorskip("plotly", reason="plotly is not among the dependencies")
    output = people()
    output.keypoint_scores[0, 10] = 0
    figure = plot_poses_3d(output)
    links, dots, _, others = figure.data
    assert len(figure.data) == 4
    np.testing.assert_allclose(dots.x[:3], output.keypoints[0, :3, 0])
    assert np.isnan(dots.x[10])
    assert dots.text[10] == "head"
    assert others.x.min() > np.nanmax(dots.x)
    start, end = load_schema("h36m").skeleton[1]
    np.testing.assert_allclose(links.z[3:5], output.keypoints[0, [start, end], 2])
    assert links.line.color[9] == "rgb(255, 128, 0)"


def test_people_whom_root_has_placed_stay_where_they_are():
    pytest.importorskip("plotly", reason="plotly is not among the dependencies")
    output = people()
    output.keypoints[1] += 3
    figure = plot_poses_3d(output, apart=False)
    for dots, keypoints in zip(figure.data[1::2], output.keypoints, strict=True):
        np.testing.assert_allclose(np.stack((dots.x, dots.y, dots.z), -1), keypoints)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_all_people_are_seen_in_their_true_proportions(count: int):
    pytest.importorskip("plotly", reason="plotly is not among the dependencies")
    figure = plot_poses_3d(people(count))
    scene = figure.layout.scene
    ranges = np.array([scene.xaxis.range, scene.yaxis.range, scene.zaxis.range], float)
    sides = [scene.aspectratio[axis] for axis in "xyz"]
    assert max(sides) == 1
    np.testing.assert_allclose(sides, np.ptp(ranges, axis=1) / np.ptp(ranges, axis=1).max())
    for trace in figure.data:
        points = np.array([trace.x, trace.y, trace.z], float)
        assert np.nanmin(points - ranges[:, :1]) >= 0 and np.nanmin(ranges[:, 1:] - points) >= 0


def test_azimuth_places_the_viewer():
    pytest.importorskip("plotly", reason="plotly is not among the dependencies")
    eye = plot_poses_3d(people(1), azimuth=90, elevation=0).layout.scene.camera.eye
    assert (eye.x, eye.y, eye.z) == pytest.approx((0, 1.8, 0), abs=1e-9)
