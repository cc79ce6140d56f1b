"""PoseOutput: shapes, a sequence of instances, plain predictions."""

from __future__ import annotations

import copy
import json
import pickle
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.results import PoseOutput


def two_people(**fields: Any) -> PoseOutput:
    keypoints = np.arange(2 * 17 * 2, dtype=np.float64).reshape(2, 17, 2)
    return PoseOutput(keypoints, np.full((2, 17), 0.5), **fields)


def test_arrays_become_float32_and_ids_int64():
    output = two_people(boxes=[[0, 1, 2, 3], [4, 5, 6, 7]], box_scores=[1, 0], track_ids=[3.0, 4.0])
    assert output.keypoints.dtype == output.keypoint_scores.dtype == np.float32
    assert output.boxes is not None and output.box_scores is not None and output.track_ids is not None
    assert output.boxes.dtype == output.box_scores.dtype == np.float32
    assert output.track_ids.dtype == np.int64


def test_entries_are_the_fields_that_are_given():
    output = two_people(source="a.jpg")
    assert output.keys() == ["keypoints", "keypoint_scores", "source"]
    assert output["keypoints"] is output.keypoints
    assert "boxes" not in output
    assert output.get("boxes") is None
    with pytest.raises(KeyError, match="boxes"):
        output["boxes"]


def test_methods_are_no_entries():
    with pytest.raises(KeyError):
        two_people()["select"]


def test_predictions_are_plain_and_complete():
    output = two_people(boxes=[[0, 1, 2, 3], [4, 5, 6, 7]], box_scores=[0.5, 0.25], track_ids=[3, 4])
    first, second = json.loads(json.dumps(output.predictions))
    assert first["keypoints"][:2] == [[0.0, 1.0], [2.0, 3.0]]
    assert first["keypoint_scores"] == [0.5] * 17
    assert (first["bbox"], first["bbox_score"], first["track_id"]) == ([0.0, 1.0, 2.0, 3.0], 0.5, 3)
    assert second["track_id"] == 4
    assert list(two_people().predictions[0]) == ["keypoints", "keypoint_scores"]


def test_numbers_that_are_not_finite_are_null_in_json():
    output = PoseOutput([[[1, np.nan]]], [[np.inf]])
    text = json.dumps(output.to_dict(), allow_nan=False)
    assert json.loads(text)["predictions"] == [{"keypoints": [[1.0, None]], "keypoint_scores": [None]}]


def test_to_dict_says_where_the_result_belongs():
    output = two_people(source="clip.mp4", frame_index=0, image_size=(np.int64(640), 480), schema=load_schema("coco"))
    values = json.loads(json.dumps(output.to_dict()))
    assert values.pop("predictions") == output.predictions
    assert values.pop("keypoint_names") == list(load_schema("coco").keypoint_names)
    assert values == {
        "schema_version": 1, "source": "clip.mp4", "frame_index": 0, "image_size": [640, 480], "schema": "coco",
        "units": "pixels", "axes": "x right, y down",
    }  # fmt: skip


def test_to_dict_says_what_3d_keypoints_are():
    values = PoseOutput(np.zeros((1, 2, 3)), np.ones((1, 2)), axes="world", units="meters").to_dict()
    assert (values["units"], values["axes"]) == ("meters", "x left, y toward the camera, z up")
    unknown = PoseOutput(np.zeros((1, 2, 3)), np.ones((1, 2))).to_dict()
    assert unknown["units"] is unknown["axes"] is None


@pytest.mark.parametrize("empty", [[], np.zeros((0, 17, 2)), np.zeros(0), np.zeros((0, 17, 3))])
def test_no_people_is_a_result(empty: Any):
    output = PoseOutput(empty, [], boxes=[], box_scores=[], track_ids=[], schema=load_schema("coco"))
    assert output.num_instances == 0
    assert output.keypoints.shape[:2] == output.keypoint_scores.shape == (0, 17)
    assert output["boxes"].shape == (0, 4)
    assert output.predictions == []


def test_failed_tells_why():
    output = PoseOutput.failed("cut off after 3 bytes", source="a.jpg", schema=load_schema("coco"), frame_index=7)
    assert output.keypoints.shape == (0, 17, 2)
    values = output.to_dict()
    del values["keypoint_names"]
    assert values == {
        "schema_version": 1,
        "units": "pixels",
        "axes": "x right, y down",
        "source": "a.jpg",
        "frame_index": 7,
        "error": "cut off after 3 bytes",
        "schema": "coco",
        "predictions": [],
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keypoints": np.zeros((17, 2))}, r"\(N, K, 2\) or \(N, K, 3\), but \(17, 2\)"),
        ({"keypoints": np.zeros((1, 17, 4))}, r"but \(1, 17, 4\)"),
        ({"keypoint_scores": np.zeros((2, 17))}, r"keypoint_scores must have shape \(1, 17\)"),
        ({"boxes": np.zeros((2, 4))}, r"boxes must have shape \(1, 4\)"),
        ({"keypoints_2d": np.zeros((1, 16, 2))}, "keypoints_2d"),
        ({"schema": load_schema("halpe26")}, "'halpe26' has 26"),
    ],
)
def test_shapes_that_do_not_fit_are_named(fields: dict[str, Any], message: str):
    given = {"keypoints": np.zeros((1, 17, 2)), "keypoint_scores": np.zeros((1, 17)), **fields}
    with pytest.raises(InputError, match=message):
        PoseOutput(**given)


@pytest.mark.parametrize("index", [[1], slice(1, 2), np.array([False, True])])
def test_select_keeps_rows_together(index: Any):
    output = two_people(boxes=[[0, 1, 2, 3], [4, 5, 6, 7]], track_ids=[3, 4], heatmaps=np.zeros((2, 17, 8, 6)))
    output.heatmaps[1] = 1  # type: ignore[index]
    chosen = output.select(index)
    assert chosen.num_instances == 1
    assert chosen["boxes"].tolist() == [[4, 5, 6, 7]]
    assert chosen["track_ids"].tolist() == [4]
    assert chosen["heatmaps"].shape == (1, 17, 8, 6)
    assert chosen["heatmaps"].min() == 1
    assert output.num_instances == 2


def test_select_leaves_heatmaps_of_the_whole_image():
    output = two_people(heatmaps=np.zeros((17, 48, 64)))
    assert output.select([0])["heatmaps"].shape == (17, 48, 64)


def test_select_none():
    none = two_people(features=np.ones((2, 8))).select([])
    assert none.keypoints.shape == (0, 17, 2) and none["features"].shape == (0, 8)


def test_repr_is_short():
    output = two_people(source="a.jpg", schema=load_schema("coco"))
    assert repr(output) == "PoseOutput(num_instances=2, num_keypoints=17, schema='coco', source='a.jpg')"


def test_can_be_copied_pickled_and_compared():
    output = two_people(schema=load_schema("coco"))
    for twin in (copy.deepcopy(output), pickle.loads(pickle.dumps(output))):
        np.testing.assert_array_equal(twin.keypoints, output.keypoints)
        assert twin.schema == output.schema
        assert twin != output
    assert output == output


def test_a_result_is_a_sequence_of_instances():
    output = two_people(boxes=[[0, 1, 2, 3], [4, 5, 6, 7]], track_ids=[3, 4], schema=load_schema("coco"))
    assert len(output) == 2
    assert [person.track_id for person in output] == [3, 4]
    last = output[-1]
    assert set(last) == {"keypoints", "keypoint_scores", "bbox", "track_id"}
    assert last["bbox"].tolist() == [4, 5, 6, 7]
    np.testing.assert_array_equal(last["nose"], output.keypoints[1, 0])
    assert "nose" in last and "tail" not in last
    with pytest.raises(KeyError, match="tail"):
        last["tail"]
    with pytest.raises(IndexError, match="has 2"):
        output[2]


@pytest.mark.parametrize("index", [slice(1, None), [1], np.array([False, True]), [False, True]])
def test_slices_indices_and_masks_give_results(index: Any):
    chosen = two_people(track_ids=[3, 4])[index]
    assert isinstance(chosen, PoseOutput)
    assert chosen["track_ids"].tolist() == [4]


def test_instances_are_found_by_their_entries():
    people = two_people()
    assert people[1] in people
    assert people.index(people[1]) == 1
    assert people[0] != people[1]
    assert people[0] != "a person"
    people.keypoints[1, 0] = np.nan  # as of a keypoint that is not seen
    assert people[1] in people


def test_a_result_without_instances_is_empty_and_false():
    nobody = PoseOutput.failed("no image", schema=load_schema("coco"))
    assert not nobody and list(nobody) == []
    assert json.loads(nobody.to_json())["predictions"] == []


def test_a_result_is_drawn_on_the_image_it_is_of(tmp_path):
    image = np.zeros((80, 80, 3), np.uint8)
    output = two_people(schema=load_schema("coco"), image=image)
    assert output.draw().shape == image.shape and output.draw().any()
    assert output._repr_png_()[:4] == b"\x89PNG"  # type: ignore[index]
    output.save(tmp_path / "drawn.png")
    output.save(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == output.to_dict()
    output.image = None
    assert output._repr_png_() is None
    with pytest.raises(InputError, match="Give it"):
        output.draw()
    np.testing.assert_array_equal(output.draw(image), two_people(schema=output.schema, image=image).draw())
    output.source = str(tmp_path / "drawn.png")
    assert output.draw().shape == image.shape
    with pytest.raises(InputError, match="give another name"):
        output.save(tmp_path / "." / "drawn.png")


@pytest.mark.parametrize(
    ("method", "package"),
    [("to_dataframe", "pandas"), ("to_supervision", "supervision"), ("to_detections", "supervision")],
)
def test_what_other_libraries_take_says_which_is_missing(monkeypatch, method: str, package: str):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"pip install {package}"):
        getattr(two_people(), method)()


def test_supervision_gets_scores_of_boxes_and_identities():
    pytest.importorskip("supervision")
    people = two_people(boxes=[[0, 1, 2, 3], [4, 5, 6, 7]], box_scores=[0.9, 0.4], track_ids=[5, 6])
    keypoints, detections = people.to_supervision(), people.to_detections()
    np.testing.assert_array_equal(keypoints.detection_confidence, people.box_scores)
    assert keypoints[keypoints.detection_confidence > 0.5].data["tracker_id"].tolist() == [5]
    assert detections[detections.confidence < 0.5].tracker_id.tolist() == [6] and detections.xyxy.shape == (2, 4)
    with pytest.raises(InputError, match="no boxes"):
        two_people().to_detections()


def test_a_data_frame_has_a_row_for_each_keypoint(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))
    columns = two_people(boxes=[[0, 1, 2, 3], [4, 5, 6, 7]], schema=load_schema("coco"), frame_index=3).to_dataframe()
    assert {len(column) for name, column in columns.items() if name != "frame_index"} == {34}
    assert (columns["keypoint"][17], columns["instance"][17], columns["y2"][17]) == ("nose", 1, 7)
    assert columns["y"][1] == 3


def test_a_source_whose_name_is_no_utf_8_can_be_written() -> None:
    output = PoseOutput(np.zeros((0, 17, 2)), np.zeros((0, 17)), source="a\udcff.jpg")
    text = output.to_json()
    assert json.loads(text.encode("utf-8"))["source"] == "a\udcff.jpg"


@pytest.mark.parametrize("schema", ["coco", "own"])
def test_json_is_read_back(schema: str) -> None:
    keypoints = load_schema("coco") if schema == "coco" else KeypointSchema("own", tuple("abcdefghijklmnopq"))
    people = two_people(
        schema=keypoints, boxes=np.ones((2, 4)), track_ids=[3, 4], image_size=(20, 10), source="a.mp4", frame_index=2
    )
    again = PoseOutput.from_json(people.to_json())
    assert again.to_dict() == people.to_dict() and again.schema == keypoints


def test_json_of_3d_keypoints_and_of_nobody_is_read_back() -> None:
    people = PoseOutput(np.full((1, 17, 3), np.nan), np.ones((1, 17)), axes="world", units="meters")
    assert PoseOutput.from_dict(people.to_dict()).to_dict() == people.to_dict()
    nobody = PoseOutput.failed("It is broken.", schema=load_schema("coco"), source="a.jpg")
    assert PoseOutput.from_dict(nobody.to_dict()).to_dict() == nobody.to_dict()


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"frames": []}', '{"predictions": [1]}'])
def test_other_json_is_no_result(text: str) -> None:
    with pytest.raises(InputError, match=r"no JSON|not the values of a result"):
        PoseOutput.from_json(text)


def test_a_path_where_json_is_text_says_how_files_are_written() -> None:
    with pytest.raises(InputError, match=re.escape("people.save('NAME.json')")):
        two_people().to_json("people.json")
    with pytest.raises(InputError, match="For a file, give what is in it"):
        PoseOutput.from_json(Path("people.json"))


def test_results_are_saved_in_the_home_folder_and_not_to_an_address(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    two_people().save("~/people.json")
    assert (tmp_path / "home/people.json").is_file() and [path.name for path in tmp_path.iterdir()] == ["home"]
    for address in ("s3://bucket/a.json", Path("https://host/a.json")):
        with pytest.raises(InputError, match="Cannot write to the address"):
            two_people().save(address)


def test_a_keypoint_that_is_asked_for_as_an_attribute() -> None:
    with pytest.raises(AttributeError, match=r"Write person\['nose'\]"):
        _ = two_people(schema=load_schema("coco"))[0].nose
