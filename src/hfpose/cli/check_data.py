"""`hfpose check-data`: what is wrong with annotations, and what a network would see of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hfpose.cli.shared import DataArgument, Images, Schema, print_notes

if TYPE_CHECKING:
    from hfpose.annotations import CocoFile
    from hfpose.keypoints import KeypointSchema

_SIZES = (0, 16, 32, 64, 96, 128, 256, 512, 1024)


def check_data(
    data: DataArgument,
    images: Images = None,
    schema: Schema = None,
    model: Annotated[
        str | None, typer.Option(help="Draw samples as this model gets them. Default: crops of 256x192 pixels.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Image of sixteen samples.")] = Path("check-data.png"),
    seed: Annotated[int, typer.Option(min=0, help="Of the samples and their augmentation.")] = 0,
) -> None:
    """Look for faults in annotations, draw sixteen samples, and count. The exit code is 1 if nothing can be
    learned."""
    from hfpose.annotations import annotated_schema, read_annotations, read_schema, unnamed_categories
    from hfpose.training.data_faults import find_faults

    coco = read_annotations(data, images)
    faults = find_faults(coco)
    found = read_schema(schema) if schema is not None else annotated_schema(coco)
    has_keypoints = any(annotation.get("keypoints") for annotation in coco.annotations)
    notes = unnamed_categories(coco)
    if found is None and has_keypoints:
        notes = [
            "No category names its keypoints, so only the boxes are looked at. Name them in the `keypoints` of the "
            "category, or say which they are with --schema."
        ]
    found = found if has_keypoints else None
    counts = f"{len(coco.images)} images, {len(coco.annotations)} annotations, {len(coco.categories)} categories"
    print(f"{data}: {counts}.")
    for line in (*_keypoint_report(coco, found), *_draw(coco, found, model, output, seed)):
        print(line)
    print_notes(*notes)
    print_notes(*(f"left out: {line}" for line in coco.left_out.lines()))
    print_notes(*(f"fault: {line}" for line in faults.lines()))
    if not coco.left_out.total and not faults.lines() and not notes:
        print("No fault was found.")
    if faults.severe.total:
        raise typer.Exit(1)


def _keypoint_report(coco: CocoFile, schema: KeypointSchema | None) -> list[str]:
    import numpy as np

    from hfpose.annotations import pose_instances
    from hfpose.evaluation.metrics import box_sizes
    from hfpose.training.data_report import describe_schema, histogram

    if schema is None:
        boxes = [a["bbox"] for a in coco.annotations if isinstance(a.get("bbox"), list) and len(a["bbox"]) == 4]
        sides = np.array(boxes, float).reshape(-1, 4)[:, 2:].max(1) if boxes else np.zeros(0)
        return histogram("Longer sides of boxes, in pixels:", sides, _SIZES)
    instances = pose_instances(coco, schema)
    visible = (instances.visibility > 1).sum(1)
    edges = np.unique(np.linspace(0, schema.num_keypoints, min(schema.num_keypoints, 9) + 1).astype(int)).tolist()
    return [
        *describe_schema(schema, instances),
        *histogram("Longer sides of boxes, in pixels:", box_sizes(instances.boxes), _SIZES),
        *histogram("Visible keypoints of an instance:", visible, edges),
    ]


def _draw(coco: CocoFile, schema: KeypointSchema | None, model: str | None, output: Path, seed: int) -> list[str]:
    from hfpose.annotations import image_boxes, pose_instances
    from hfpose.media.images import save_image
    from hfpose.training.augmentation import DetectionAugmentation, FittedImages, PersonCrops, PoseAugmentation
    from hfpose.training.data_report import SAMPLES, draw_samples
    from hfpose.training.datasets import AnnotatedImages, AnnotatedPeople, SampleStream

    processor = _image_processor(model, "detector" if schema is None else "pose")
    samples: Any
    make: Any
    if schema is None:
        ids = [category.get("id") for category in coco.categories]
        samples = AnnotatedImages(image_boxes(coco, {own: index for index, own in enumerate(ids)}))
        make = FittedImages(processor, DetectionAugmentation())
    else:
        samples = AnnotatedPeople(pose_instances(coco, schema))
        make = PersonCrops(processor, schema, PoseAugmentation())
    save_image(output, draw_samples(SampleStream(samples, make, SAMPLES, seed=seed), schema))
    return [f"Wrote {output}: {SAMPLES} samples as a network is trained with them."]


def _image_processor(model: str | None, task: Any) -> Any:
    import hfpose
    from hfpose.errors import ConfigError
    from hfpose.pipelines.stage import load_stage

    if model is not None:
        processor = load_stage(model, task).image_processor
        if getattr(processor, "is_one_stage", False):
            raise ConfigError(
                f"{model} gets whole images; samples are drawn for models that get crops, and for detectors."
            )
        return processor
    return hfpose.RTMPoseImageProcessor() if task == "pose" else hfpose.RTMDetImageProcessor()
