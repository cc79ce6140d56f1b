"""Rendered scenes as a data set in COCO's format, for whatever reads files:
`python -m rendered_people.scene_files DIR`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from hfpose.keypoints import load_schema
from hfpose.media.files import write_json
from hfpose.media.images import save_image
from rendered_people import render_scene, scene_annotations

ANNOTATIONS = "annotations.json"


def write_scenes(folder: Path, seeds: Iterable[int]) -> Path:
    """Write scenes as PNG files with their annotations.

    Args:
        folder: where to.
        seeds: of the scenes; they name the files and are the ids of the images.

    Returns:
        The annotation file.
    """
    schema = load_schema("coco")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for seed in seeds:
        scene = render_scene(seed)
        name = f"{seed}.png"
        save_image(folder / name, scene.image)
        width, height = scene.image_size
        images.append({"id": seed, "file_name": name, "width": width, "height": height})
        annotations += scene_annotations(scene, seed, first_id=len(annotations) + 1)
    category = {
        "id": 1,
        "name": "person",
        "keypoints": list(schema.keypoint_names),
        "skeleton": [[first + 1, second + 1] for first, second in schema.skeleton],
    }
    content = {"images": images, "annotations": annotations, "categories": [category]}
    write_json(folder / ANNOTATIONS, content, indent=None)
    return folder / ANNOTATIONS


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write images and annotations.")],
    first: Annotated[int, typer.Option(min=0, help="Seed of the first scene.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 200,
) -> None:
    """Write rendered scenes with annotations in COCO's format."""
    path = write_scenes(folder, range(first, first + count))
    print(f"Wrote {count} scenes and {path}.")


if __name__ == "__main__":
    typer.run(main)
