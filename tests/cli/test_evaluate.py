"""`hfpose eval` as a user calls it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from coco_files import people_content, write_json, write_people
from command_line import run_command
from hfpose.cli import app
from hfpose.errors import ConfigError, InputError
from hfpose.evaluation.coco_results import in_parts
from hfpose.export.graph_folders import export_folder
from hfpose.keypoints import load_schema
from hfpose.pipelines.stage import load_stage
from noisy_predictions import as_results, in_whole_body_format, noisy_predictions


def run(*arguments: object):
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def metrics_in(output: str) -> dict[str, float]:
    rows = [line.strip().rsplit("  ", 1) for line in output.splitlines()]
    return {row[0]: float(row[1]) for row in rows if len(row) == 2}


def truth_as_results(content: dict, shift: float = 0.0) -> list[dict]:
    results = []
    for annotation in content["annotations"]:
        keypoints = np.array(annotation["keypoints"], float).reshape(-1, 3)
        keypoints[:, 0] += shift
        results.append({**annotation, "keypoints": keypoints.flatten().tolist(), "score": 1.0})
    return results


def test_results_made_from_the_ground_truth_have_a_precision_of_one(tmp_path):
    content = people_content(tmp_path)
    data = write_json(tmp_path / "people.json", content)
    for shift, least, most in ((0.0, 1.0, 1.0), (4.0, 0.2, 0.99), (60.0, 0.0, 0.01)):
        results = write_json(tmp_path / "results.json", truth_as_results(content, shift))
        given = metrics_in(run("--data", data, "--results", results).stdout)
        assert least - 1e-4 <= given["AP"] <= most + 1e-4
    boxes = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.5} for a in content["annotations"]
    ]
    assert metrics_in(run("--data", data, "--results", write_json(results, boxes)).stdout)["AP"] == 1


def test_a_model_is_measured_and_its_results_measured_again_give_the_same(tiny_pose, tmp_path):
    data = write_people(tmp_path)
    result = run("--data", data, "--model", tiny_pose, "--gt-boxes", "--output", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0
    assert "4 images, 8 instances in" in result.stdout and "instances/s" in result.stdout
    given = metrics_in(result.stdout)
    assert {"AP", "AR", "PCK@0.05", "AUC", "EPE"} <= given.keys()
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["EPE"] == pytest.approx(given["EPE"], abs=1e-4) and written["APL"] is None
    again = metrics_in(run("--data", data, "--results", tmp_path / "out/results.json").stdout)
    assert again["AP"] == given["AP"] and again["AR"] == given["AR"]


def test_an_exported_folder_is_measured_as_the_model_is(tiny_pose, tmp_path):
    stage = load_stage(tiny_pose, "pose")
    export_folder(stage.model, stage.image_processor, tmp_path / "graph")
    arguments = ["--data", write_people(tmp_path), "--gt-boxes", "--device", "cpu", "--model"]
    given = metrics_in(run(*arguments, tmp_path / "graph", "--backend", "onnxruntime").stdout)
    assert given == pytest.approx(metrics_in(run(*arguments, tiny_pose).stdout), abs=1e-3)
    with pytest.raises(ConfigError, match="backend='torch' cannot read"):
        run(*arguments, tmp_path / "graph")


def test_numbers_go_into_the_card_of_the_folder(tiny_pose, tmp_path):
    folder = shutil.copytree(tiny_pose, tmp_path / "model")
    run("--data", write_people(tmp_path), "--model", folder, "--gt-boxes", "--flip-test", "--card", "--device", "cpu")
    assert "- people.json, annotated boxes, flip test: AP " in (folder / "README.md").read_text()


def test_thresholds_of_the_boxes_are_those_asked_for_and_told_in_the_card(
    tiny_pose, person_detector, shared, tmp_path
):
    folder = shutil.copytree(tiny_pose, tmp_path / "model")
    shutil.copy(shared / "images" / "coco_196141.jpg", tmp_path)
    content = people_content(tmp_path, 1)
    content["images"][0]["file_name"] = "coco_196141.jpg"
    data = write_json(tmp_path / "people.json", content)

    def instances(*options: object) -> int:
        given = ("--data", data, "--model", folder, "--detector", person_detector, "--device", "cpu", "--card")
        return int(run(*given, *options).stdout.split(" images, ")[1].split()[0])

    usual = instances()
    assert instances("--nms-threshold", 0.0) < usual
    assert instances("--box-threshold", 0.05) > usual
    card = (folder / "README.md").read_text()
    for protocol in ("", ", NMS threshold 0", ", box threshold 0.05"):
        assert f"- people.json, detected boxes{protocol}: AP " in card


def test_a_detector_is_measured_by_its_boxes(person_detector, tmp_path):
    result = run("--data", write_people(tmp_path), "--model", person_detector, "--device", "cpu")
    assert result.exit_code == 0
    assert "AR100" in metrics_in(result.stdout)


def test_bad_entries_are_told_and_a_bad_image_costs_the_exit_code(tiny_pose, tmp_path):
    content = people_content(tmp_path)
    content["annotations"][0]["bbox"] = [500, 500, 10, 10]
    data = write_json(tmp_path / "people.json", content)
    (tmp_path / "3.png").write_bytes(b"broken")
    result = run("--data", data, "--model", tiny_pose, "--gt-boxes", "--device", "cpu")
    assert result.exit_code == 1
    assert "1 x bbox outside of the image: annotation 100" in result.stderr
    assert "1 x image that could not be used: 3.png" in result.stderr
    assert metrics_in(result.stdout)["EPE"] > 0


def test_where_nothing_is_measured_the_exit_code_is_one_and_the_reason_is_told(tmp_path):
    content = people_content(tmp_path)
    data = write_json(tmp_path / "people.json", content)
    results = [result | {"category_id": 2} for result in truth_as_results(content)]
    result = run("--data", data, "--results", write_json(tmp_path / "results.json", results), "--output", tmp_path)
    assert result.exit_code == 1
    assert "8 x result of the category 2, which is not measured (1 are)" in result.stderr
    assert "not measured: AP, AP50" in result.stderr and "Nothing was measured." in result.stderr
    assert result.stdout == "" and set(json.loads((tmp_path / "metrics.json").read_text()).values()) == {None}


def test_the_official_whole_body_file_is_measured(tmp_path):
    content, predictions = noisy_predictions("coco_wholebody")
    for entry in (*content["annotations"], *predictions):
        entry["category_id"] = 1
    data = write_json(tmp_path / "whole.json", in_whole_body_format(content))
    results = write_json(tmp_path / "results.json", [in_parts(one) for one in as_results(predictions)])
    for options in (["--schema", "coco_wholebody"], ["--protocol", "coco_wholebody"], []):
        result = run("--data", data, "--results", results, *options)
        assert result.exit_code == 0 and metrics_in(result.stdout)["AP"] > 0
        assert ("AP left hand" in result.stdout) == ("--protocol" in options)


def test_sigmas_are_given_or_told(tmp_path):
    content, predictions = noisy_predictions("300w", images=3)  # a schema whose sigmas nobody has published
    content["categories"] = content["categories"][:1]
    for entry in (*content["annotations"], *predictions):
        entry["category_id"] = 1
    names = [f"point_{index}" for index in range(68)]
    content["categories"][0]["keypoints"] = names
    data = write_json(tmp_path / "own.json", content)
    results = write_json(tmp_path / "results.json", as_results(predictions))
    uniform = run("--data", data, "--results", results)
    assert "no sigmas: 0.05 is taken" in uniform.stderr
    sigmas = write_json(tmp_path / "sigmas.json", dict.fromkeys(names, 0.2))
    given = run("--data", data, "--results", results, "--sigmas", sigmas)
    assert "no sigmas" not in given.stderr
    assert metrics_in(given.stdout)["AP"] > metrics_in(uniform.stdout)["AP"]


def test_a_schema_beside_a_model_is_used_or_refused(tiny_pose, tmp_path):
    data = write_people(tmp_path)
    options = ("--data", data, "--model", tiny_pose, "--gt-boxes", "--device", "cpu")
    schema = load_schema("coco").to_dict() | {"sigmas": [1.0] * 17}
    lenient = run(*options, "--schema", write_json(tmp_path / "lenient.json", schema))
    assert metrics_in(lenient.stdout)["AP"] > metrics_in(run(*options).stdout)["AP"]
    for wrong in (["--schema", "ap10k"], ["--protocol", "crowdpose"]):
        with pytest.raises(ConfigError, match="The model finds the 17 keypoints of 'coco'"):
            run(*options, *wrong)


def test_a_protocol_of_distances_is_measured_on_annotated_boxes(tiny_pose, tmp_path):
    content = people_content(tmp_path)
    data = write_json(tmp_path / "people.json", content)
    out = tmp_path / "out"
    run("--data", data, "--model", tiny_pose, "--gt-boxes", "--device", "cpu", "--output", out)
    written = json.loads((out / "results.json").read_text())
    assert {result["annotation_id"] for result in written} <= {a["id"] for a in content["annotations"]}
    with pytest.raises(ConfigError, match="Unknown protocol 'coc'"):
        run("--data", data, "--model", tiny_pose, "--protocol", "coc")


def test_options_that_do_not_go_together(tiny_pose, tmp_path):
    data = write_people(tmp_path)
    assert run("--data", data).exit_code == 2
    assert run("--data", data, "--model", tiny_pose, "--results", data).exit_code == 2
    assert run("--data", data, "--model", tiny_pose, "--gt-boxes", "--boxes", data).exit_code == 2
    assert run("--data", data, "--model", "human", "--card").exit_code == 2


def test_lifters_are_measured_on_annotated_keypoints_in_2d(tmp_path):
    points = np.random.default_rng(0).normal(size=(2, 17, 3)) * 0.3 + [0, 0, 4]
    names = np.array([f"S9_Walking.54138969_{frame:06d}.jpg" for frame in (1, 2)])
    target = np.concatenate((points, np.ones((2, 17, 1))), -1)
    np.savez(tmp_path / "h36m.npz", S=target, part=points[..., :2] / points[..., 2:] * 1100 + 500, imgname=names)
    result = run("--data", tmp_path / "h36m.npz", "--model", "demo3d", "--protocol", "h36m-p1", "--device", "cpu")
    assert "MPJPE Walking  0." in result.stdout and "P-MPJPE" not in result.stdout


def test_lifters_are_not_measured_on_images(tmp_path):
    with pytest.raises(ConfigError, match="lifts keypoints to 3D; measure it with --protocol h36m"):
        run("--data", write_people(tmp_path), "--model", "motionbert_dstformer-243frm_8xb32-240e_h36m")


def test_broken_annotations_are_one_clear_error(tiny_pose, tmp_path):
    data = tmp_path / "people.json"
    data.write_text('{"images": [')
    with pytest.raises(InputError, match="not valid JSON"):
        run("--data", data, "--model", tiny_pose)


def test_errors_are_analyzed_into_a_page_without_network(tmp_path):
    content = people_content(tmp_path)
    data = write_json(tmp_path / "people.json", content)
    results = write_json(tmp_path / "results.json", truth_as_results(content, 6.0)[1:])
    (tmp_path / "3.png").unlink()
    result = run("--data", data, "--results", results, "--analyze", "--output", tmp_path / "out")
    assert "AP that mending would give back" in result.stdout and "false negative" in result.stdout
    written = json.loads((tmp_path / "out/analysis.json").read_text())
    assert written["false negatives"] == 1 and written["AP given back"]["jitter"] > 0.1
    page = (tmp_path / "out/analysis.html").read_text()
    assert page.count("<img") == 3 and "There is no file" in page  # of four images one is missing
    assert "left_shoulder" in page and "<svg" in page
    assert "http" not in page and "<script" not in page


def test_boxes_have_no_errors_of_keypoints_to_analyze(tmp_path):
    content = people_content(tmp_path, 1)
    boxes = [{"image_id": 1, "category_id": 1, "bbox": a["bbox"], "score": 0.5} for a in content["annotations"]]
    data, results = write_json(tmp_path / "people.json", content), write_json(tmp_path / "boxes.json", boxes)
    assert "--analyze is for keypoints" in run("--data", data, "--results", results, "--analyze").stderr
    assert "not for h36m" in run("--data", data, "--results", results, "--analyze", "--protocol", "h36m").stderr


def test_sigmas_are_estimated_and_measured_with(tmp_path):
    content = people_content(tmp_path)
    first = write_json(tmp_path / "first.json", content)
    for annotation in content["annotations"]:
        annotation["keypoints"][0] += 2.0
    second = write_json(tmp_path / "second.json", content)
    written = tmp_path / "sigmas.json"
    result = run_command("sigmas", first, second, "--output", written)
    assert result.returncode == 0 and "8 instances" in result.stdout
    values = json.loads(written.read_text())
    assert values["nose"] > values["left_eye"] == 0.001
