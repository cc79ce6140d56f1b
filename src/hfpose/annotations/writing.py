"""Writing annotations in COCO's format and YOLO's."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.annotations.coco_format import (
    AnnotatedImage,
    CocoFile,
    annotated_keypoints,
    annotation_name,
    is_crowd,
)
from hfpose.annotations.values import finite_numbers
from hfpose.annotations.yolo_format import Split, common_folder, read_yaml
from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.files import atomic_path, write_json, write_text
from hfpose.media.images import image_size
from hfpose.media.left_out import LeftOut
from hfpose.ops.pose_similarity import AREA_OF_BOX


def write_coco(coco: CocoFile, path: Path) -> Path:
    """Write annotations in COCO's format, with images numbered from 1. Returns the folder that file names are relative
    to.

    An annotation without an area gets a share of its box, as pycocotools needs one.
    """
    folder = common_folder(image.path for image in coco.images)
    numbers = {image.id: number for number, image in enumerate(coco.images, 1)}
    images = []
    for image in coco.images:
        size = dict(zip(("width", "height"), image.size or (), strict=False))
        images.append({"id": numbers[image.id], "file_name": image.path.relative_to(folder).as_posix(), **size})
    annotations = [{**_area(a), **a, "image_id": numbers[a["image_id"]]} for a in coco.annotations]
    content = {"images": images, "annotations": annotations, "categories": list(coco.categories)}
    write_json(path, content, indent=None)
    return folder


def write_yolo(coco: CocoFile, schema: KeypointSchema, folder: str | Path, split: Split = "train") -> LeftOut:
    """Write annotations as a split of a data set of YOLO: copies of the images, a text file beside each, and
    `data.yaml`.

    A second split goes into the same folder. Keypoints outside of their image are written as not labeled, since YOLO
    refuses the image otherwise.

    Returns:
        What was left out.

    Raises:
        InputError: if the folder has a data set with other keypoints or classes.
    """
    folder, left_out = Path(folder), LeftOut()
    category_ids = coco.keypoint_category_ids or [1]
    names = {c.get("id"): str(c.get("name")) for c in coco.categories} or dict.fromkeys(category_ids, "person")
    classes = {category_id: index for index, category_id in enumerate(category_ids)}
    _write_yaml(folder / "data.yaml", schema, [names[category_id] for category_id in category_ids], split)
    by_image: dict[Any, list[str]] = {image.id: [] for image in coco.images}
    sizes = {image.id: image.size or image_size(image.path) for image in coco.images}
    for annotation in coco.annotations:
        reason, line = _label_line(annotation, sizes[annotation["image_id"]], schema, classes)
        if line is None:
            left_out.add(str(reason), annotation_name(annotation))
        else:
            by_image[annotation["image_id"]].append(line)
    for image, name in zip(coco.images, _file_names(coco.images), strict=True):
        copy, label = folder / "images" / split / name, folder / "labels" / split / f"{Path(name).stem}.txt"
        with atomic_path(copy) as partial:
            shutil.copyfile(image.path, partial)
        write_text(label, "".join(by_image[image.id]))
    return left_out


def _area(annotation: Mapping[str, Any]) -> dict[str, float]:
    box = finite_numbers(annotation.get("bbox"), 4)
    return {} if box is None else {"area": round(box[2] * box[3] * AREA_OF_BOX, 2)}


def _label_line(
    annotation: Mapping[str, Any], size: tuple[int, int], schema: KeypointSchema, classes: Mapping[Any, int]
) -> tuple[str | None, str | None]:
    """Why an annotation is no line, or its line; one without keypoints that can be read has a box alone."""
    box, index = finite_numbers(annotation.get("bbox"), 4), classes.get(annotation.get("category_id"))
    if is_crowd(annotation):
        return "crowd, not one instance", None
    if index is None:
        return "annotation of a class without keypoints", None
    if box is None:
        return "bbox that is not x, y, width, height", None
    corners = np.clip(np.array([*box[:2], box[0] + box[2], box[1] + box[3]]) / (*size, *size), 0, 1)
    if (corners[2:] <= corners[:2]).any():
        return "bbox without area inside of the image", None
    keypoints = annotated_keypoints(annotation, schema)[1]
    points = np.zeros((schema.num_keypoints, 3)) if keypoints is None else keypoints.copy()
    points[:, :2] /= size
    points[(points[:, 2] == 0) | (points[:, :2] < 0).any(1) | (points[:, :2] > 1).any(1)] = 0
    values = [*((corners[:2] + corners[2:]) / 2).tolist(), *(corners[2:] - corners[:2]).tolist()]
    told = [f"{x:.6f} {y:.6f} {visibility:g}" for x, y, visibility in points.tolist()]
    return None, " ".join([str(index), *(f"{value:.6f}" for value in values), *told]) + "\n"


def _file_names(images: tuple[AnnotatedImage, ...]) -> list[str]:
    """A name for each image, no two alike but for the ending, since each has a text file: those of the same name are
    told apart by their folders, or else by a number.
    """
    counts, taken, names = Counter(image.path.stem for image in images), set[str](), []
    for path in (image.path for image in images):
        stem = path.stem if counts[path.stem] == 1 else f"{path.parent.name}_{path.stem}"
        free = next(name for name in chain([stem], (f"{stem}_{number}" for number in count(2))) if name not in taken)
        taken.add(free)
        names.append(free + path.suffix)
    return names


def _write_yaml(path: Path, schema: KeypointSchema, names: list[str], split: Split) -> None:
    import yaml

    settings: dict[str, Any] = {
        "names": dict(enumerate(names)),
        "kpt_shape": [schema.num_keypoints, 3],
        "kpt_names": {index: list(schema.keypoint_names) for index in range(len(names))},
    }
    if schema.flip_indices is not None:
        settings["flip_idx"] = list(schema.flip_indices)
    before = read_yaml(path) if path.exists() else settings
    if before["names"] != settings["names"] or before.get("kpt_names") != settings["kpt_names"]:
        raise InputError(f"{path} describes a data set of other classes or keypoints; choose another folder.")
    write_text(path, yaml.safe_dump(before | {split: f"images/{split}"}, sort_keys=False))
