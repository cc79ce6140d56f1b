"""Small data sets in COCO's format, written as real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.keypoints import load_schema
from hfpose.media.images import save_image


def write_images(folder: Path, count: int, size: tuple[int, int] = (160, 120)) -> list[dict[str, Any]]:
    """Images of noise of (width, height); returns their entries for the `images` list, ids from 1."""
    rng = np.random.default_rng(0)
    entries = []
    for index in range(count):
        name = f"{index}.png"
        save_image(folder / name, rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        entries.append({"id": index + 1, "file_name": name, "width": size[0], "height": size[1]})
    return entries


def person(annotation_id: int, image_id: int, box: list[float], rng: np.random.Generator, **changes: Any) -> dict:
    """An annotated person with COCO's keypoints at random places in the box (x, y, width, height), all visible."""
    x, y, width, height = box
    keypoints = np.empty((17, 3))
    keypoints[:, :2] = (rng.uniform(0.1, 0.9, (17, 2)) * (width, height) + (x, y)).round(2)
    keypoints[:, 2] = 2
    annotation = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "bbox": box,
        "area": width * height,
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": keypoints.flatten().tolist(),
    }
    return annotation | changes


def people_content(folder: Path, arrays: int = 4) -> dict[str, Any]:
    """Content of a file with two people in each image, one of them with a hidden and an unlabeled keypoint."""
    rng = np.random.default_rng(1)
    images = write_images(folder, arrays)
    annotations = []
    for entry in images:
        for box in ([10.0, 12.0, 50.0, 90.0], [80.0, 5.0, 60.0, 100.0]):
            annotations.append(person(100 + len(annotations), entry["id"], box, rng))
        annotations[-1]["keypoints"][2::3] = [1, 0, *[2] * 15]
        annotations[-1]["num_keypoints"] = 16
    category = {"id": 1, "name": "person", "keypoints": list(load_schema("coco").keypoint_names)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def write_people(folder: Path, images: int = 4) -> Path:
    """The file `people.json` with its images, all in `folder`."""
    return write_json(folder / "people.json", people_content(folder, images))


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path
