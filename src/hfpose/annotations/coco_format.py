"""COCO-format annotations: which image shows which keypoints and boxes, checked entry by entry.

One bad entry never loses the others: it is left out, counted and named (`LeftOut`). Format:
https://cocodataset.org/#format-data. What counts as an instance is as in `mmpose.datasets.BaseCocoStyleDataset`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.annotations.values import (
    finite_number,
    finite_numbers,
    id_lookup,
    keypoint_rows,
    listed_id,
    numbers,
    usable_area,
)
from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, load_schema, schema_for_names
from hfpose.media.files import open_to_read
from hfpose.media.left_out import LeftOut

# Lists of an annotation in COCO-WholeBody's own format, in the order of the schema's 133 keypoints: those of the body
# are COCO's. https://github.com/jin-s13/COCO-WholeBody/blob/master/data_format.md
WHOLE_BODY_PARTS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
WHOLE_BODY = "coco_wholebody"


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file; `size` is (width, height) as the annotations state it, None where they do not; `crowd_index` (0
    to 1) is how crowded CrowdPose calls it.
    """

    id: int | str
    path: Path
    size: tuple[int, int] | None
    crowd_index: float | None = None


@dataclass(frozen=True)
class CocoFile:
    """An annotation file.

    Attributes:
        path: of the file.
        images: those that are there, in the order of the file.
        annotations: entries of these images and of listed categories, as they are in the file except for ids, which
            are the listed ones, and an impossible `area`, which is not there.
        categories: entries, as they are in the file.
        left_out: what was left out so far; reading instances adds to it, once for each annotation.
    """

    path: Path
    images: tuple[AnnotatedImage, ...]
    annotations: tuple[Mapping[str, Any], ...]
    categories: tuple[Mapping[str, Any], ...]
    left_out: LeftOut
    _counted: set[int] = field(default_factory=set, repr=False)

    def leave_out(self, annotation: Mapping[str, Any], reason: str) -> None:
        """Count an annotation as left out, unless it was counted before."""
        if id(annotation) not in self._counted:
            self._counted.add(id(annotation))
            self.left_out.add(reason, annotation_name(annotation))

    @property
    def has_whole_bodies(self) -> bool:
        """Whether annotations have the lists of COCO-WholeBody's format."""
        return any(_has_parts(annotation) for annotation in self.annotations)

    @property
    def keypoint_categories(self) -> tuple[Mapping[str, Any], ...]:
        """Categories that name keypoints; all where none does."""
        return tuple(filter(_names_keypoints, self.categories)) or self.categories

    @property
    def keypoint_category_ids(self) -> list[Any]:
        """Ids of these categories; those that annotations have where the file lists no categories."""
        if self.categories:
            return [category.get("id") for category in self.keypoint_categories]
        return list(dict.fromkeys(annotation.get("category_id") for annotation in self.annotations))

    @property
    def keypoint_names(self) -> tuple[str, ...] | None:
        """Names of the keypoints, None where the file does not name them.

        Human-Art's file names 21 beside lists of 17, which are COCO's: such names are those of the lists.

        Raises:
            InputError: if the categories have different keypoints.
        """
        named = {tuple(map(str, c["keypoints"])) for c in self.keypoint_categories if _names_keypoints(c)}
        if len(named) > 1:
            counts = ", ".join(f"{c.get('name')}: {len(c['keypoints'])}" for c in self.keypoint_categories)
            raise InputError(
                f"The categories of {self.path} have different keypoints ({counts}); one model finds one set of "
                "keypoints. Split the file by category."
            )
        names = next(iter(named), None)
        if names is None:
            return None
        lengths = {len(a["keypoints"]) for a in self.annotations if isinstance(a.get("keypoints"), list)}
        first = names[: min(lengths, default=0) // 3]
        return first if len(lengths) == 1 and first != names and schema_for_names(first) else names


@dataclass(frozen=True)
class PoseInstances:
    """N annotated people (hands, faces, animals) with K keypoints.

    Attributes:
        images: all images.
        image_indices: (N,) which of them shows each.
        annotations: (N,) the entry of each.
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels, within the image.
        keypoints: (N, K, 2) float32 pixels; anything where the visibility is 0.
        visibility: (N, K) 0 not labeled, 1 labeled but hidden, 2 visible.
    """

    images: tuple[AnnotatedImage, ...]
    image_indices: np.ndarray
    annotations: tuple[Mapping[str, Any], ...]
    boxes: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class ImageBoxes:
    """Annotated boxes of one image: (n, 4) float32 x1, y1, x2, y2 in pixels, and their class indices (n,)."""

    image: AnnotatedImage
    boxes: np.ndarray
    labels: np.ndarray


def read_coco(path: str | Path, images: str | Path | None = None, *, needs_images: bool = True) -> CocoFile:
    """Read an annotation file and find its images.

    Args:
        images: folder that its file names are relative to; None: the folder that the file is in.
        needs_images: leave out images whose files are missing; else only the list of them counts, as for measuring
            results.

    Raises:
        InputError: if the file is not there, no JSON, or not in COCO's format.
    """
    path = Path(path)
    folder = path.parent if images is None else Path(images)
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r} with the images of {path}. Check the path.")
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds a {type(content).__name__}, expected an object with the lists images, annotations and "
            "categories, as COCO has them. For a list of detections or results use the option that is meant for them."
        )
    return coco_from_content(content, path, folder, needs_images=needs_images)


def coco_from_content(
    content: Mapping[str, Any], path: Path, folder: Path, *, needs_images: bool = True, left_out: LeftOut | None = None
) -> CocoFile:
    """The content of an annotation file, checked entry by entry.

    Args:
        content: the lists `images`, `annotations` and `categories`.
        path: of the file, for messages.
        folder, needs_images: see `read_coco`; the folder is the one that file names are relative to.
        left_out: what was left out before.

    Raises:
        InputError: if a list is missing, or none of the images is there.
    """
    left_out = left_out or LeftOut()
    images_list, annotations, categories = (
        _entries(path, content, key, left_out) for key in ("images", "annotations", "categories")
    )
    read = [image for entry in images_list if (image := _image(entry, folder, left_out, needs_images)) is not None]
    found = _without_ambiguous(read, left_out)
    if not images_list:
        raise InputError(f"{path} lists no images.")
    if not found:
        raise InputError(
            f"None of the {len(images_list)} images of {path} is in {str(folder)!r}. Say where they are (`--images`). "
            f"{' '.join(left_out.lines())}"
        )
    known = id_lookup(image.id for image in found)
    stated = id_lookup(entry.get("id") for entry in images_list)
    category_ids = id_lookup(category.get("id") for category in categories)
    kept = []
    for annotation in annotations:
        name = annotation_name(annotation)
        image_id = listed_id(annotation.get("image_id"), known)
        category_id = listed_id(annotation.get("category_id"), category_ids) if categories else 0
        if image_id is None and listed_id(annotation.get("image_id"), stated) is None:
            left_out.add("annotation of an image that the file does not list", name)
        elif image_id is None:
            left_out.add("annotation of an image that was left out", name)
        elif category_id is None:
            left_out.add("annotation of a category that the file does not list", name)
        else:
            ids = {"image_id": image_id} | ({"category_id": category_id} if categories else {})
            kept.append(_without_impossible_area({**annotation, **ids}))
    return CocoFile(path, found, tuple(kept), categories, left_out)


def _without_ambiguous(images: Sequence[AnnotatedImage], left_out: LeftOut) -> tuple[AnnotatedImage, ...]:
    """The images whose id is of one file alone: what is annotated for another one may be of either file."""
    paths: dict[str, set[Path]] = {}
    for image in images:
        paths.setdefault(str(image.id), set()).add(image.path)
    kept: dict[str, AnnotatedImage] = {}
    for image in images:
        if len(paths[str(image.id)]) > 1:
            left_out.add("image whose id another image has too, with what is annotated for it", image.path.name)
        else:
            kept.setdefault(str(image.id), image)
    return tuple(kept.values())


def _names_keypoints(category: Mapping[str, Any]) -> bool:
    return isinstance(category.get("keypoints"), list) and bool(category["keypoints"])


def _without_impossible_area(annotation: dict[str, Any]) -> dict[str, Any]:
    box = finite_numbers(annotation.get("bbox"), 4)
    if box is not None and usable_area(annotation.get("area"), box[2] * box[3]) is None:
        annotation.pop("area", None)
    return annotation


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        InputError: if it cannot be read or is no JSON.
    """
    with open_to_read(path, "JSON file") as file:
        try:
            return json.load(file)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not valid JSON: {error}. It may not have been copied to the end.") from error


def is_crowd(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation is of several instances together; some files write "0" for no."""
    return bool(finite_number(annotation.get("iscrowd")))


def annotation_name(annotation: Mapping[str, Any]) -> str:
    """How an annotation is called in reports."""
    return f"annotation {annotation.get('id')} of image {annotation.get('image_id')}"


def _entries(path: Path, content: Mapping[str, Any], key: str, left_out: LeftOut) -> tuple[Mapping[str, Any], ...]:
    entries = content.get(key, [] if key == "categories" else None)
    if not isinstance(entries, list) or (entries and not any(isinstance(entry, dict) for entry in entries)):
        raise InputError(f"{path} has no list {key!r} of objects, so it is not in COCO's annotation format.")
    for entry in entries:
        if not isinstance(entry, dict):
            left_out.add(f"entry of {key} that is no object", entry)
    return tuple(entry for entry in entries if isinstance(entry, dict))


def _image(entry: Mapping[str, Any], folder: Path, left_out: LeftOut, needs_file: bool) -> AnnotatedImage | None:
    name, identity = entry.get("file_name"), entry.get("id")
    if isinstance(identity, float) and identity.is_integer():  # of a table in which some ids are missing
        identity = int(identity)
    if not isinstance(name, str) or not isinstance(identity, (int, str)):
        left_out.add("image without id or file_name", entry)
        return None
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        left_out.add("image whose file_name leads out of the folder", name)
        return None
    if needs_file and not (folder / path).is_file():
        left_out.add("image that is missing", name)
        return None
    width, height = (finite_number(entry.get(side)) or 0 for side in ("width", "height"))
    size = (int(width), int(height)) if min(width, height) >= 1 else None
    return AnnotatedImage(identity, folder / path, size, finite_number(entry.get("crowdIndex")))


def pose_instances(coco: CocoFile, schema: KeypointSchema) -> PoseInstances:
    """The people of a file that a pose model can learn from or be measured with.

    Left out are crowds, and those without a box in the image, without labeled keypoints, or with other keypoints than
    the schema's.

    Raises:
        InputError: if no person is left.
    """
    indices = {image.id: index for index, image in enumerate(coco.images)}
    categories = coco.keypoint_category_ids
    rows: list[tuple[int, Mapping[str, Any], np.ndarray, np.ndarray]] = []
    for annotation in coco.annotations:
        if annotation.get("category_id") not in categories:
            continue  # an object of another kind, nothing that is wrong
        index = indices[annotation["image_id"]]
        reason, box = _box(annotation, coco.images[index].size)
        keypoints = None
        if reason is None:
            reason, keypoints = annotated_keypoints(annotation, schema)
        if reason is not None or box is None or keypoints is None:
            coco.leave_out(annotation, str(reason))
        else:
            rows.append((index, annotation, box, keypoints))
    if not rows:
        raise InputError(
            f"{coco.path} has no instance with a box and with keypoints of the schema {schema.name!r} "
            f"({schema.num_keypoints} keypoints). Left out: {coco.left_out}."
        )
    values = np.stack([row[3] for row in rows]).astype(np.float32)
    return PoseInstances(
        coco.images,
        np.array([row[0] for row in rows]),
        tuple(row[1] for row in rows),
        np.stack([row[2] for row in rows]),
        values[..., :2],
        values[..., 2],
    )


def image_boxes(coco: CocoFile, class_indices: Mapping[Any, int]) -> list[ImageBoxes]:
    """Boxes of all images, also of those without any.

    Raises:
        InputError: if there is no box at all.
    """
    found: dict[Any, list[tuple[np.ndarray, int]]] = {image.id: [] for image in coco.images}
    sizes = {image.id: image.size for image in coco.images}
    for annotation in coco.annotations:
        if annotation.get("category_id") not in class_indices:
            continue
        reason, box = _box(annotation, sizes[annotation["image_id"]])
        if box is None:
            coco.leave_out(annotation, str(reason))
        else:
            found[annotation["image_id"]].append((box, class_indices[annotation["category_id"]]))
    if not coco.annotations and not coco.left_out.total:
        raise InputError(f"{coco.path} lists {len(coco.images)} images and no annotations.")
    if not any(found.values()):
        raise InputError(
            f"{coco.path} has no box of the classes with the category ids {sorted(class_indices, key=str)}. "
            f"Left out: {coco.left_out}."
        )
    return [
        ImageBoxes(
            image,
            np.array([box for box, _ in found[image.id]], np.float32).reshape(-1, 4),
            np.array([label for _, label in found[image.id]], np.int64),
        )
        for image in coco.images
    ]


def _box(annotation: Mapping[str, Any], size: tuple[int, int] | None) -> tuple[str | None, np.ndarray | None]:
    """Why an annotation has no box that can be used, or its x1, y1, x2, y2 within an image of `size`."""
    if is_crowd(annotation):
        return "crowd, not one instance", None
    values = finite_numbers(annotation.get("bbox"), 4)
    if values is None:
        return "bbox that is not x, y, width, height", None
    x, y, width, height = values
    if width <= 0 or height <= 0:
        return "bbox without area", None
    box = np.array([x, y, x + width, y + height])
    if size is not None:
        if x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0:
            return "bbox outside of the image", None
        box = np.clip(box, 0, np.array([*size, *size]) - 1)
        if (box[2:] <= box[:2]).any():
            return "bbox without area inside of the image", None
    return None, box.astype(np.float32)


def annotated_keypoints(annotation: Mapping[str, Any], schema: KeypointSchema) -> tuple[str | None, np.ndarray | None]:
    """Why an annotation has no keypoints that can be used, or (K, 3) x, y, visibility."""
    given = given_keypoints(annotation, schema)
    if given is None:
        return "annotation without keypoints", None
    count = len(numbers(given) or ())
    if count and count != 3 * schema.num_keypoints:
        return f"{count} keypoint values instead of 3 x {schema.num_keypoints} ({schema.name})", None
    keypoints = keypoint_rows(given)
    if keypoints is None:
        return "keypoints that are not finite numbers", None
    if not (keypoints[:, 2] > 0).any():
        return "instance without labeled keypoints", None
    return None, keypoints


def given_keypoints(annotation: Mapping[str, Any], schema: KeypointSchema) -> Any:
    """The list of keypoints of an annotation or a result, those of COCO-WholeBody's parts together for its schema."""
    if schema.num_keypoints == load_schema(WHOLE_BODY).num_keypoints and _has_parts(annotation):
        return [value for part in WHOLE_BODY_PARTS for value in annotation[part]]
    return annotation.get("keypoints")


def _has_parts(annotation: Mapping[str, Any]) -> bool:
    return all(isinstance(annotation.get(part), list) for part in WHOLE_BODY_PARTS)
