"""`hfpose convert-annotations` and `hfpose annotate`: annotations in COCO's format and YOLO's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hfpose.cli.shared import DataArgument, Device, Schema, complete_model, data_schema, print_notes

if TYPE_CHECKING:
    from hfpose.annotations import CocoFile
    from hfpose.keypoints import KeypointSchema

Format = Annotated[Literal["coco", "yolo"], typer.Option(help="What is written: one JSON file, or a folder.")]
Output = Annotated[Path, typer.Option(help="JSON file of COCO's format, or folder of YOLO's.")]
SplitOption = Annotated[Literal["train", "val", "test"], typer.Option(help="Split of YOLO's.")]


def convert_annotations(
    source: DataArgument,
    output: Output,
    format: Format,
    images: Annotated[Path | None, typer.Option(help="Folder of the images. Default: where the data say.")] = None,
    split: SplitOption = "train",
    schema: Schema = None,
) -> None:
    """Convert annotations from COCO's format to YOLO's or back. Images are copied into a YOLO folder.

    What is left out, such as crowds, which YOLO has not, is told by reason.
    """
    from hfpose.annotations import is_yolo, read_annotations

    coco = read_annotations(source, images, split=split)
    target = output / "images" / split if format == "yolo" else output
    given = {coco.path.resolve()} | (
        {image.path.resolve().parent for image in coco.images} if is_yolo(source) else set()
    )
    if target.resolve() in given:
        raise typer.BadParameter(f"{output} would be written over the annotations that are read; give another place.")
    _write(coco, data_schema(coco, schema), output, format, split)


def annotate(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them.")],
    model: Annotated[
        str,
        typer.Option(help="Alias, zoo name, hub repository or folder of a pose model.", autocompletion=complete_model),
    ],
    output: Output,
    format: Format = "coco",
    keypoint_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Keypoints with a lower score are left to a person: not labeled.")
    ] = 0.5,
    box_threshold: Annotated[float, typer.Option(min=0, max=1, help="Minimum score of an instance.")] = 0.3,
    split: SplitOption = "train",
    detector: Annotated[str | None, typer.Option(help="Detector. Default: the model's.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 8,
    device: Device = None,
) -> None:
    """Label images by a model, as a first draft that a person corrects."""
    from hfpose.annotations import images_below, pre_labels
    from hfpose.errors import ConfigError
    from hfpose.pipelines import PoseEstimationPipeline, pipeline

    paths = [path for given in images for path in (images_below(given) if given.is_dir() else [given])]
    pipe = pipeline("pose-estimation", model=model, detector=detector, device=device)
    if not isinstance(pipe, PoseEstimationPipeline):
        raise ConfigError(f"{model} finds keypoints in 3D; images are annotated by pose models in 2D.")
    # As dicts, since a path alone may be that of several frames, of which the first is annotated.
    outputs = pipe(({"image": str(path)} for path in paths), batch_size=batch_size, box_threshold=box_threshold)
    coco = pre_labels(dict(zip(paths, outputs, strict=True)), pipe.schema, keypoint_threshold, output)
    _write(coco, pipe.schema, output, format, split)
    total = pipe.schema.num_keypoints * len(coco.annotations)
    left = total - sum(annotation["num_keypoints"] for annotation in coco.annotations)
    print(f"{left} of {total} keypoints (score below {keypoint_threshold:g}, or outside) are left to a person.")
    if coco.left_out.total:
        raise typer.Exit(1)


def _write(coco: CocoFile, schema: KeypointSchema, output: Path, format: str, split: Any) -> None:
    from hfpose.annotations import write_coco, write_yolo

    count = len(coco.annotations)
    if format == "yolo":
        left_out = write_yolo(coco, schema, output, split)
        coco.left_out.include(left_out)
        images, count = output / "images" / split, count - left_out.total
    else:
        images = write_coco(coco, output)
    print_notes(*(f"left out: {line}" for line in coco.left_out.lines()))
    print(f"Wrote {output}: {len(coco.images)} images, {count} annotations; images in {images}.")
