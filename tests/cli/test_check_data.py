"""`hfpose check-data` as a user calls it."""

from __future__ import annotations

from typer.testing import CliRunner

from coco_files import people_content, write_json, write_people
from hfpose.cli import app
from hfpose.media.images import load_image


def run(*arguments: object):
    result = CliRunner().invoke(app, ["check-data", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_samples_are_drawn_and_counted(tmp_path):
    result = run(write_people(tmp_path), "--output", tmp_path / "samples.png")
    assert result.exit_code == 0 and result.stderr == ""
    assert "4 images, 8 annotations, 1 categories" in result.stdout and "No fault was found." in result.stdout
    assert "17 keypoints of 'coco', 16.5 of them labeled in the mean (16 to 17)." in result.stdout
    assert "8 flip pairs: left_eye and right_eye" in result.stdout
    bars = {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines() if " and more " in line}
    assert bars["64"] == "4" and bars["96"] == "4"  # boxes of 90 and 100 pixels
    image = load_image(tmp_path / "samples.png")
    assert image.shape == (4 * 256, 4 * 192, 3) and image.std() > 10


def test_files_of_boxes_are_drawn_as_a_detector_sees_them(tmp_path):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:
        del annotation["keypoints"]
    result = run(write_json(tmp_path / "boxes.json", content), "--output", tmp_path / "samples.png")
    assert result.exit_code == 0 and "Visible keypoints" not in result.stdout
    assert load_image(tmp_path / "samples.png").shape[1] % 4 == 0


def test_severe_faults_cost_the_exit_code(tmp_path):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:
        annotation["bbox"] = [0.1, 0.1, 0.5, 0.5]
        annotation["keypoints"] = [0.2, 0.2, 2] * 17
    content["images"][0]["id"] = 2
    result = run(write_json(tmp_path / "people.json", content), "--output", tmp_path / "samples.png")
    assert result.exit_code == 1
    assert "fault: 4 x box or keypoints from 0 to 1" in result.stderr
    assert "left out: 2 x image whose id another image has too" in result.stderr


def test_keypoints_without_names_are_told(tmp_path):
    content = people_content(tmp_path)
    del content["categories"][0]["keypoints"]
    data = write_json(tmp_path / "people.json", content)
    result = run(data, "--output", tmp_path / "samples.png")
    assert "No category names its keypoints, so only the boxes are looked at." in result.stderr
    result = run(data, "--schema", "coco", "--output", tmp_path / "samples.png")
    assert result.stderr == "" and "17 keypoints of 'coco'" in result.stdout
