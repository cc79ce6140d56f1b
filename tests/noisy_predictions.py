"""Annotations and noisy predictions of any schema, the same at every run: what protocols are compared on."""

from __future__ import annotations

from typing import Any

import numpy as np

from hfpose.evaluation.coco_results import WHOLE_BODY_PARTS, WHOLE_BODY_SLICES
from hfpose.keypoints import load_schema


def noisy_predictions(
    schema_name: str, people_per_image: int = 3, images: int = 12, seed: int = 7
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Content of an annotation file, and predictions as plain numbers.

    Annotations have what any protocol reads: `head_size`, `center`, `scale`, images `crowdIndex`. Some keypoints are
    hidden or not labeled, one instance is a crowd. Predictions have keypoints (K, 3) with scores, `bbox`,
    `bbox_score`, and the `annotation_id` that they are for; some are doubled, some are of nothing.
    """
    rng = np.random.default_rng(seed)
    count = load_schema(schema_name).num_keypoints
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for category_id, name in ((1, "a"), (4, "b"), (9, "c")):
        names = list(load_schema(schema_name).keypoint_names)
        content["categories"].append({"id": category_id, "name": name, "keypoints": names})
    predictions = []
    for image_id in range(1, images + 1):
        crowd_index = round(float(rng.uniform()), 2)
        content["images"].append(
            {"id": image_id, "file_name": f"{image_id}.png", "width": 640, "height": 480, "crowdIndex": crowd_index}
        )
        for _ in range(people_per_image):
            annotation = _annotation(len(content["annotations"]) + 1, image_id, count, rng)
            content["annotations"].append(annotation)
            predictions += [_prediction(annotation, rng) for _ in range(1 + int(rng.uniform() < 0.3))]
        predictions.append(_prediction(_annotation(-1, image_id, count, rng), rng) | {"annotation_id": None})
    content["annotations"][4]["iscrowd"] = 1
    content["annotations"][7]["keypoints"][2::3] = [0] * count
    content["annotations"][7]["num_keypoints"] = 0
    return content, predictions


def _annotation(own: int, image_id: int, count: int, rng: np.random.Generator) -> dict[str, Any]:
    corner, size = rng.uniform(0, 300, 2), rng.uniform(30, 180, 2)
    keypoints = np.empty((count, 3))
    keypoints[:, :2] = corner + rng.uniform(0, 1, (count, 2)) * size
    keypoints[:, 2] = rng.choice([0, 1, 2, 2, 2], count)
    scale = size.max() / 200 * 1.1
    return {
        "id": own,
        "image_id": image_id,
        "category_id": int(rng.choice([1, 4, 9])),
        "bbox": [*corner.round(2).tolist(), *size.round(2).tolist()],
        "area": float(size.prod() * 0.6),
        "iscrowd": 0,
        "num_keypoints": int((keypoints[:, 2] == 2).sum()),
        "keypoints": keypoints.round(3).flatten().tolist(),
        "head_size": float(size.mean() * 0.3),
        "center": (corner + size / 2).round(1).tolist(),
        "scale": float(scale),
    }


def _prediction(annotation: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    truth = np.array(annotation["keypoints"]).reshape(-1, 3)
    noise = rng.normal(size=(len(truth), 2)) * rng.uniform(0.2, 12)
    scores = rng.uniform(0, 1, len(truth))
    keypoints = np.column_stack((truth[:, :2] + noise, scores))
    return {
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "annotation_id": annotation["id"],
        "keypoints": keypoints.round(4).tolist(),
        "bbox": (np.array(annotation["bbox"]) + rng.normal(size=4)).round(3).tolist(),
        "bbox_score": float(rng.uniform(0.2, 1)),
        "crop_area": float(np.prod(annotation["bbox"][2:]) * 1.5),
    }


def in_whole_body_format(content: dict[str, Any]) -> dict[str, Any]:
    """Annotations with a list for each part, as COCO-WholeBody's own file has them."""
    for annotation in content["annotations"]:
        rows = np.array(annotation["keypoints"]).reshape(-1, 3)
        for name, part in zip(WHOLE_BODY_PARTS, WHOLE_BODY_SLICES.values(), strict=True):
            annotation[name] = rows[part].flatten().tolist()
    for category in content["categories"]:
        category["keypoints"] = list(load_schema("coco").keypoint_names)
    return content


def as_results(predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predictions in COCO's format; their scores are those of the boxes."""
    return [
        {**one, "keypoints": np.array(one["keypoints"]).flatten().tolist(), "score": one["bbox_score"]}
        for one in predictions
    ]
