"""plot_tracks and `hfpose plot`: curves of a clip, if matplotlib is there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfpose.cli.plot import plot, read_results
from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.images import load_image
from hfpose.media.json_results import JsonWriter
from hfpose.results import PoseOutput
from hfpose.visualization import plot_tracks

pytest.importorskip("matplotlib", reason="matplotlib is not among the dependencies")

COCO = load_schema("coco")
ELBOW = [COCO.keypoint_names.index(f"left_{part}") for part in ("shoulder", "elbow", "wrist")]


def clip(count: int = 40, **fields: Any) -> list[PoseOutput]:
    """Two people; the left elbow of identity 3 opens from 0 to 180 degrees, and identity 5 leaves after half of the
    time."""
    outputs = []
    for i in range(count):
        points = np.random.default_rng(0).uniform(0, 100, (2, 17, 2)) + i
        angle = np.pi * i / (count - 1)
        points[0, ELBOW] = [[1, 0], [0, 0], [np.cos(angle), np.sin(angle)]]
        output = PoseOutput(
            points, np.full((2, 17), 0.9), track_ids=[3, 5], interpolated=[i in (7, 8), False], schema=COCO,
            timestamp=i / 20, **fields
        )  # fmt: skip
        outputs.append(output[: 1 + (i < count // 2)])
    return outputs


def lines(axes: Any) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_angles_scores_and_coordinates_are_those_of_the_results() -> None:
    outputs = clip()
    bars, *panels = plot_tracks(outputs).axes
    assert [tick.get_text() for tick in bars.get_yticklabels()] == ["#3", "#5"]
    x, y, score, angle = panels[:4]
    np.testing.assert_allclose(lines(angle)["left elbow"], np.linspace(180, 0, 40), atol=1e-3)
    wrist = COCO.keypoint_names.index("right_wrist")
    np.testing.assert_allclose(lines(y)["right wrist"], [output.keypoints[0, wrist, 1] for output in outputs])
    np.testing.assert_allclose(lines(score)["left ankle"], 0.9)
    gone = lines(panels[4])["left wrist"]
    assert np.isfinite(gone[:20]).all() and np.isnan(gone[20:]).all()
    assert x.get_title() == "#3" and y.yaxis_inverted()


def test_a_keypoint_below_the_threshold_leaves_a_gap() -> None:
    outputs = clip()
    outputs[5].keypoint_scores[0, ELBOW[1]] = 0.1
    angle = plot_tracks(outputs, people=[3]).axes[4]
    assert np.flatnonzero(np.isnan(lines(angle)["left elbow"])).tolist() == [5]


def test_people_and_keypoints_can_be_chosen() -> None:
    axes = plot_tracks(clip(), people=[5], keypoints=["nose"]).axes
    assert len(axes) == 5 and list(lines(axes[1])) == ["nose"]
    with pytest.raises(InputError, match="no identity 4 in these results; there are 3, 5"):
        plot_tracks(clip(), people=[4])
    with pytest.raises(InputError, match="no keypoint 'tail'"):
        plot_tracks(clip(), keypoints=["tail"])
    with pytest.raises(InputError, match="no person"):
        plot_tracks([output[:0] for output in clip()])


def test_without_identities_people_go_by_their_place() -> None:
    outputs = [PoseOutput(each.keypoints, each.keypoint_scores, schema=COCO) for each in clip()]
    assert plot_tracks(outputs).axes[1].get_title() == "#0"


def test_3d_results_have_a_third_coordinate() -> None:
    outputs = [PoseOutput(np.zeros((1, 17, 3)), np.ones((1, 17)), track_ids=[0], schema=load_schema("h36m"))] * 3
    assert [axes.get_ylabel() for axes in plot_tracks(outputs).axes[1:5]] == ["x", "y", "z", "score"]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install 'hfpose"):
        plot_tracks(clip())


@pytest.fixture
def result(tmp_path: Path) -> Path:
    writer = JsonWriter(tmp_path)
    for i, output in enumerate(clip()):
        writer.write(Frame(MediaItem(0, "video", "clip"), frame_index=i, timestamp=i / 20), output)
    writer.close()
    return tmp_path / "clip.json"


def test_a_result_file_is_read_as_it_was_written(result: Path) -> None:
    outputs = read_results(result)
    assert [output.schema is not None and output.schema.name for output in outputs] == ["coco"] * 40
    np.testing.assert_allclose(outputs[30].keypoints, clip()[30].keypoints)
    assert outputs[7].interpolated.tolist() == [True, False] and outputs[7].timestamp == 7 / 20


def test_a_file_with_keypoints_of_no_known_schema_has_its_names(result: Path) -> None:
    content = json.loads(result.read_text())
    content["keypoint_names"] = [f"point {i}" for i in range(17)]
    result.write_text(json.dumps(content))
    (schema, *_) = [output.schema for output in read_results(result)]
    assert schema is not None and schema.keypoint_names[3] == "point 3"


def test_the_command_writes_an_image(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot(result)
    assert capsys.readouterr().out == f"Wrote {result.with_suffix('.png')}.\n"
    image = load_image(result.with_suffix(".png"))
    assert image.std() > 10


@pytest.mark.parametrize("content", ["[1]", "{}", "no json", json.dumps([{"keypoints": []}])])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"no result of a video|no person"):
        plot(path)
