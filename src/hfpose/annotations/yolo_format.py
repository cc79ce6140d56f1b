"""Annotations in the format of YOLO-pose: a YAML file that names folders of images, and a text file beside each image.

A line of a text file is an instance: class, center x, center y, width, height, then x, y and perhaps visibility of
each keypoint, all relative to the image. Format: https://docs.ultralytics.com/datasets/pose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hfpose.annotations.coco_format import CocoFile, coco_from_content, read_coco
from hfpose.annotations.values import finite_numbers
from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.media.files import is_folder, open_to_read, read_lines
from hfpose.media.images import image_size, is_image_path
from hfpose.media.left_out import LeftOut

Split = Literal["train", "val", "test"]


def is_yolo(path: str | Path) -> bool:
    """Whether a path is meant for a data set of YOLO: a YAML file, or a folder with one."""
    return Path(path).suffix.lower() in (".yaml", ".yml") or is_folder(Path(path))


def read_annotations(
    path: str | Path, images: str | Path | None = None, *, split: Split = "train", needs_images: bool = True
) -> CocoFile:
    """Read annotations in COCO's format or YOLO's.

    Args:
        path: a JSON file as COCO has it, or a YAML file as YOLO has it, or the folder with that one.
        images: folder of the images; None: where the annotations say.
        split: of YOLO's, since one YAML file names all of them.
        needs_images: see `read_coco`; YOLO's coordinates need the sizes of the images.

    Raises:
        InputError: if the annotations cannot be read.
    """
    if is_yolo(path):
        return read_yolo(path, images, split)
    return read_coco(path, images, needs_images=needs_images)


def read_yolo(path: str | Path, images: str | Path | None = None, split: Split = "train") -> CocoFile:
    """Read one split of a data set of YOLO. The id of an image is its name, as a number where it is one; of
    images of the same name it is the path.

    An image that is named twice counts once. Keypoints are called as `kpt_names` says; without, 17 that mirror as
    COCO's do are COCO's, and others have numbers.

    Args:
        path: of the YAML file, or of the folder with it.
        images: folder of the images, in the place of the one that the file names.
        split: which of those that the file names.

    Raises:
        InputError: if there is no such split, or the file does not say what its keypoints are.
    """
    path = _yaml_path(Path(path))
    settings = read_yaml(path)
    count, values_each = _keypoint_shape(path, settings)
    names = _by_index(path, settings, "names")
    keypoints = _keypoint_names(path, settings, count)
    left_out = LeftOut()
    found = _images_of(path, settings, split, left_out) if images is None else images_below(Path(images))
    paths = list(dict.fromkeys(found))
    if not paths:
        raise InputError(f"{path} has no image in its split {split!r}. {' '.join(left_out.lines())}".rstrip())
    root = Path(images) if images is not None else common_folder(paths)
    own_ids = [int(image.stem) if image.stem.isdecimal() else image.stem for image in paths]
    counts = Counter(map(str, own_ids))
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, own_id in zip(paths, own_ids, strict=True):
        try:
            width, height = image_size(image)
        except InputError as error:
            left_out.add("image that cannot be read", f"{image.name}: {error}")
            continue
        name = image.relative_to(root).as_posix()
        identity = own_id if counts[str(own_id)] == 1 else name
        entries.append({"id": identity, "file_name": name, "width": width, "height": height})
        for values in _read_labels(image, 5 + count * values_each, left_out):
            instance = _instance(values, width, height, count)
            annotations.append(instance | {"id": len(annotations) + 1, "image_id": identity})
    flip = {"flip_idx": settings["flip_idx"]} if settings.get("flip_idx") else {}
    categories = []
    for index, name in sorted(names.items()):
        about = {"keypoints": keypoints.get(index, next(iter(keypoints.values()))), **flip} if count else flip
        categories.append({"id": index + 1, "name": str(name), **about})
    content = {"images": entries, "annotations": annotations, "categories": categories}
    return coco_from_content(content, path, root, left_out=left_out)


def _yaml_path(path: Path) -> Path:
    if not is_folder(path):
        return path
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in (".yaml", ".yml"))
    preferred = [p for p in found if p.stem in ("data", "dataset")] or found
    if len(preferred) != 1:
        names = ", ".join(p.name for p in preferred) or "none"
        raise InputError(
            f"The folder {str(path)!r} has no single YAML file that describes a data set of YOLO ({names}); give that "
            "file, or the JSON file of annotations in COCO's format."
        )
    return preferred[0]


def read_yaml(path: Path) -> dict[str, Any]:
    """The YAML file of a data set.

    Raises:
        InputError: if it cannot be read or describes no data set.
    """
    import yaml

    with open_to_read(path, "YAML file") as file:
        try:
            settings = yaml.safe_load(file)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{path} is not valid YAML: {error}.") from error
    if not isinstance(settings, dict) or "names" not in settings:
        raise InputError(f"{path} describes no data set of YOLO: it needs `names`, `kpt_shape`, and `train` or `val`.")
    return settings


def _keypoint_shape(path: Path, settings: Mapping[str, Any]) -> tuple[int, int]:
    """Keypoints of an instance and values of each, 0 and 0 for a data set of boxes."""
    shape = settings.get("kpt_shape")
    if shape is None:
        return 0, 0
    if not (isinstance(shape, list) and len(shape) == 2 and isinstance(shape[0], int) and shape[1] in (2, 3)):
        raise InputError(f"{path} has kpt_shape {shape!r}; expected [keypoints, 2] or [keypoints, 3].")
    return shape[0], shape[1]


def _by_index(path: Path, settings: Mapping[str, Any], key: str) -> dict[int, Any]:
    """What is said of classes, as a list or by index."""
    said = settings.get(key)
    by_index = said if isinstance(said, dict) else dict(enumerate([said] if isinstance(said, str) else said or []))
    try:
        return {int(index): each for index, each in by_index.items()}
    except (TypeError, ValueError):
        raise InputError(f"{path} has {key} {said!r}; expected a list, or a number for each class.") from None


def _keypoint_names(path: Path, settings: Mapping[str, Any], count: int) -> dict[int, list[str]]:
    """Names of the keypoints by class, of the first class at least."""
    said = _by_index(path, settings, "kpt_names")
    named = {
        index: list(map(str, each)) for index, each in said.items() if isinstance(each, list) and len(each) == count
    }
    schema = load_schema("coco")
    if count == schema.num_keypoints and tuple(settings.get("flip_idx") or ()) == schema.flip_indices:
        return named or {0: list(schema.keypoint_names)}
    return named or {0: [f"keypoint_{index}" for index in range(count)]}


def _images_of(path: Path, settings: Mapping[str, Any], split: Split, left_out: LeftOut) -> Iterator[Path]:
    """The images of a split: of folders, or of text files that list them, where those that are missing are counted."""
    named = settings.get(split)
    if not named:
        splits = ", ".join(name for name in ("train", "val", "test") if settings.get(name)) or "none"
        raise InputError(f"{path} has no split {split!r}; it names {splits}.")
    for entry in named if isinstance(named, list) else [named]:
        place = _existing(path, settings, str(entry))
        if place.suffix.lower() == ".txt":
            for line in filter(None, read_lines(place, "list of images")):
                try:
                    yield _existing(path, settings, line)
                except InputError:
                    left_out.add("image that is missing", line)
        else:
            yield from images_below(place)


def _existing(path: Path, settings: Mapping[str, Any], entry: str) -> Path:
    """A path of the YAML file: below its `path`, else below its own folder; files that are moved often say
    `../train`."""
    own = path.parent.absolute()
    root = own / str(settings.get("path") or "")
    places = [root / entry, own / entry, own / entry.removeprefix("../")]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise InputError(
            f"{path} names {entry!r}, which is not there; looked for {', '.join(map(str, dict.fromkeys(places)))}."
        )
    return found.resolve()


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and its folders.

    Raises:
        InputError: if there are none.
    """
    paths = sorted(path for path in folder.rglob("*") if is_image_path(path) and path.is_file())
    if not paths:
        raise InputError(f"There are no images in {str(folder)!r}.")
    return paths


def common_folder(paths: Iterable[Path]) -> Path:
    """The deepest folder that all files are in."""
    parents = [set(path.parents) for path in paths]
    return max(set.intersection(*parents), key=lambda folder: len(folder.parts))


def _labels_path(image: Path) -> Path:
    """Where the text file of an image is: in `labels` in the place of the last `images`, else beside it."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _read_labels(image: Path, length: int, left_out: LeftOut) -> list[list[float]]:
    """The lines of an image's text file, none where there is no file; those of another length are left out."""
    path = _labels_path(image)
    if not path.is_file():
        return []
    lines = []
    for place, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if values := finite_numbers(line.split(), length):
            lines.append(values)
        elif line.strip():
            left_out.add(f"label that is not {length} finite numbers", f"line {place} of {path.name}")
    return lines


def _instance(values: list[float], width: int, height: int, count: int) -> dict[str, Any]:
    """A line in COCO's format; two values a keypoint are a visible one, unless they are 0 and 0."""
    x, y, box_width, box_height = np.array(values[1:5]) * (width, height, width, height)
    instance: dict[str, Any] = {
        "category_id": int(values[0]) + 1,
        "bbox": [x - box_width / 2, y - box_height / 2, box_width, box_height],
        "iscrowd": 0,
    }
    if count:
        points = np.array(values[5:]).reshape(count, -1)
        visibility = points[:, 2] if points.shape[1] == 3 else 2.0 * points.any(1)
        keypoints = np.stack((points[:, 0] * width, points[:, 1] * height, visibility), 1)
        instance |= {"keypoints": keypoints.flatten().tolist(), "num_keypoints": int((visibility > 0).sum())}
    return {key: [float(v) for v in value] if isinstance(value, list) else value for key, value in instance.items()}
