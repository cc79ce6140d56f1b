"""docs/formats.md has every field that is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from hfpose.media import manifest, writers
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.openpose_json import openpose_json
from hfpose.media.prediction_formats import CocoWriter, CsvWriter
from hfpose.results import PoseOutput

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def fields(heading: str) -> set[str]:
    """First column of the table below a heading."""
    part = re.split(rf"^##+ {heading}$", PAGE, flags=re.M)[1].split("\n#")[0]
    rows = [line.split(" | ")[0] for line in part.splitlines() if line.startswith("| `")]
    return set(re.findall(r"`([^`]+)`", " ".join(rows)))


@pytest.fixture
def output() -> PoseOutput:
    shape = (1, 133)
    return PoseOutput(
        np.zeros((*shape, 3)), np.ones(shape), boxes=np.zeros((1, 4)), box_scores=[1], track_ids=[1],
        keypoints_visible=np.ones(shape), keypoints_2d=np.zeros((*shape, 2)), interpolated=[False],
        hand_types=[[True, True]], root_depths=[0], schema=load_schema("coco_wholebody"), image_size=(9, 9), source="a.jpg",
        frame_index=0, timestamp=0.5, error="none", axes="world", units="meters",
    )  # fmt: skip


def test_one_result(output: PoseOutput) -> None:
    assert fields("One result") == output.to_dict().keys()
    assert fields("Instances") == output.predictions[0].keys()


def test_openpose(output: PoseOutput) -> None:
    document = json.loads(openpose_json(output))
    keys = {*document, *document["people"][0]}
    assert fields("OpenPose") == {key for key in keys if not key.endswith("_3d")} | {"..._keypoints_3d"}


def test_coco(output: PoseOutput, tmp_path: Path) -> None:
    writer = CocoWriter(tmp_path / "r.json")
    writer.write(Frame(MediaItem(0, "video", "a"), frame_index=0, timestamp=0.5), output)
    writer.close()
    assert fields("COCO") == json.loads((tmp_path / "r.json").read_text())[0].keys()


def test_tables() -> None:
    assert fields("CSV") == set(CsvWriter.HEADER)
    assert fields("Manifest") == set(manifest._ORDER)


def test_parquet() -> None:
    pytest.importorskip("pyarrow")
    from hfpose.media.parquet import _columns

    assert fields("Parquet") == set(_columns().names)


def test_every_format_has_its_part() -> None:
    for name in writers._FORMATS:
        assert f"`--format {name}`" in PAGE
