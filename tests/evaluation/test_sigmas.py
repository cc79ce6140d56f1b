"""Sigmas out of repeated annotations: what went in as noise comes out."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from coco_files import people_content, write_json
from hfpose.annotations import read_coco
from hfpose.errors import InputError
from hfpose.evaluation.sigmas import estimate_sigmas
from hfpose.keypoints import load_schema

SCHEMA = load_schema("coco")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    content = people_content(folder, 1)
    image, people = content["images"][0], content["annotations"]
    content["images"] = [image | {"id": i, "file_name": f"{i}.png"} for i in range(300)]
    content["annotations"] = [
        person | {"id": 2 * i + place, "image_id": i} for i in range(300) for place, person in enumerate(people)
    ]
    return content


def annotated_again(content: dict, seed: int) -> dict:
    """The same people by an annotator whose error has COCO's sigmas, in another order."""
    rng = np.random.default_rng(seed)
    again = copy.deepcopy(content)
    for entry in again["annotations"]:
        keypoints = np.array(entry["keypoints"]).reshape(-1, 3)
        spread = np.array(SCHEMA.sigmas) * np.sqrt(entry["area"] / 2)  # of either coordinate
        keypoints[:, :2] += rng.normal(size=(17, 2)) * spread[:, None]
        entry["keypoints"] = keypoints.flatten().tolist()
        del entry["id"]
    rng.shuffle(again["annotations"])
    return again


@pytest.mark.parametrize("annotators", [2, 3])
def test_the_noise_of_annotators_comes_out_as_sigmas(content, tmp_path, annotators):
    paths = [write_json(tmp_path / f"{seed}.json", annotated_again(content, seed)) for seed in range(annotators)]
    sigmas, counts = estimate_sigmas([read_coco(path, needs_images=False) for path in paths], SCHEMA)
    assert sigmas == pytest.approx(np.array(SCHEMA.sigmas), rel=0.15)
    assert counts[0] == 600 and counts[1] == 300  # the left eye of every second person is not labeled


def test_files_without_a_common_instance_are_an_error(content, tmp_path):
    moved = copy.deepcopy(content)
    for entry in moved["images"]:
        entry["file_name"] = f"other-{entry['file_name']}"
    files = [
        read_coco(write_json(tmp_path / f"{name}.json", some), needs_images=False)
        for name, some in (("a", content), ("b", moved))
    ]
    with pytest.raises(InputError, match="same images"):
        estimate_sigmas(files, SCHEMA)
    with pytest.raises(InputError, match="at least two files"):
        estimate_sigmas(files[:1], SCHEMA)


def test_images_of_the_same_name_in_different_folders_are_told_apart(content, tmp_path):
    moved = copy.deepcopy(content)
    for index, image in enumerate(moved["images"]):
        image["file_name"] = f"{index}/image.png"
    for annotation in moved["annotations"]:
        annotation["keypoints"][0::3] = [x + annotation["image_id"] for x in annotation["keypoints"][0::3]]
    coco = read_coco(write_json(tmp_path / "people.json", moved), needs_images=False)
    assert estimate_sigmas([coco, coco], SCHEMA)[0] == pytest.approx(np.zeros(17))
