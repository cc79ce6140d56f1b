"""`hfpose eval`: how well a model does on annotated images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hfpose.annotations import CocoFile
    from hfpose.evaluation.runs import Evaluation
    from hfpose.keypoints import KeypointSchema

# As the pipelines have them. Average precision counts everybody who is found, so it is higher with 0.1 and 0.65.
BOX_THRESHOLD, NMS_THRESHOLD = 0.3, 0.3


def evaluate(
    data: Annotated[Path, typer.Option(help="Annotations in COCO's format.")],
    model: Annotated[
        str | None, typer.Option(help="Alias, zoo name, hub repository or folder: a pose model or a detector.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images. Default: that of the data.")] = None,
    gt_boxes: Annotated[bool, typer.Option("--gt-boxes", help="Find poses in the annotated boxes.")] = False,
    boxes: Annotated[Path | None, typer.Option(help="Find poses in these detections, in COCO's format.")] = None,
    results: Annotated[
        Path | None, typer.Option(help="Measure these results, in COCO's format, and run no model.")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="Detector, where it is asked. Default: the model's.")] = None,
    schema: Annotated[
        str | None,
        typer.Option(help="Name or JSON file of the keypoint schema, for --results without names in the data."),
    ] = None,
    flip_test: Annotated[bool, typer.Option(help="Average over mirrored crops, for twice the cost.")] = False,
    box_threshold: Annotated[
        float | None,
        typer.Option(help=f"Least score of a detected box. Default: {BOX_THRESHOLD}; RTMO etc. their own."),
    ] = None,
    nms_threshold: Annotated[
        float | None,
        typer.Option(
            help=f"Of two boxes that overlap by more the worse one goes. Default: {NMS_THRESHOLD}; RTMO etc. their own."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 8,
    pose_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Crops at once. Default: 8 on a CPU, 64 on an accelerator.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ... Default: the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json and results.json (COCO's format).")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write the numbers into the card of the model's folder.")
    ] = False,
) -> None:
    """Measure a model: COCO's AP and AR; on annotated boxes PCK, AUC, EPE and NME too."""
    from hfpose.annotations import read_coco

    if gt_boxes and boxes is not None:
        raise typer.BadParameter("give --gt-boxes or --boxes, not both.")
    if (model is None) == (results is None):
        raise typer.BadParameter("give either --model or --results.")
    if card and (model is None or not Path(model).is_dir()):
        raise typer.BadParameter("--card needs --model to be a folder.")
    coco = read_coco(data, images)
    if model is None:
        assert results is not None
        metrics = _measure_results(coco, results, schema)
        evaluation = None
    else:
        evaluation = _run_model(
            model, coco, "annotations" if gt_boxes else boxes or "detector",
            detector=detector, device=device, dtype=dtype, flip_test=flip_test, box_threshold=box_threshold,
            nms_threshold=nms_threshold, batch_size=batch_size, pose_batch_size=pose_batch_size,
        )  # fmt: skip
        metrics = evaluation.metrics
    for line in coco.left_out.lines():
        print(f"hfpose: left out of {data}: {line}", file=sys.stderr)
    if evaluation is not None:
        _report_run(evaluation)
    for name, value in metrics.items():
        print(f"{name:>9}  {value:.4f}")
    if output is not None:
        _write(output, metrics, evaluation)
    if card and model is not None:
        from hfpose.hub.card_results import add_results

        protocol = _protocol(gt_boxes, boxes, flip_test, box_threshold, nms_threshold)
        add_results(Path(model), data.name, protocol, metrics)
    if evaluation is not None and evaluation.failures.total:
        raise typer.Exit(1)


def _run_model(
    model: str, coco: CocoFile, boxes: Path | str, *, detector: str | None, device: str | None, dtype: str | None,
    batch_size: int, **options: Any,
) -> Evaluation:  # fmt: skip
    from hfpose.errors import ConfigError
    from hfpose.evaluation.coco import read_results
    from hfpose.evaluation.runs import evaluate_detector, evaluate_pose_pipeline
    from hfpose.pipelines import PoseEstimationPipeline, pipeline
    from hfpose.pipelines.stage import default_device, load_stage, task_of

    show_progress = sys.stderr.isatty()
    task = task_of(model)
    if task == "lifter":
        raise ConfigError(f"{model} lifts keypoints to 3D; `hfpose eval` measures pose models in 2D and detectors.")
    if task == "detector":
        stage = load_stage(model, "detector", device=device or default_device(), dtype=dtype)
        return evaluate_detector(stage, coco, batch_size=batch_size, show_progress=show_progress)
    given: Any = read_results(boxes) if isinstance(boxes, Path) else boxes
    if given != "detector":
        detector = detector or "whole_image"  # not asked, so that there is nothing to load
    pipe = pipeline("pose-estimation", model=model, detector=detector, device=device, dtype=dtype)
    if not isinstance(pipe, PoseEstimationPipeline):
        raise ConfigError(f"{model} finds keypoints in 3D; `hfpose eval` measures pose models in 2D and detectors.")
    return evaluate_pose_pipeline(pipe, coco, given, batch_size=batch_size, show_progress=show_progress, **options)


def _measure_results(coco: CocoFile, path: Path, schema_name: str | None) -> dict[str, float]:
    from hfpose.evaluation.coco import evaluate_boxes, evaluate_keypoints, read_results

    results = read_results(path)
    if results and "keypoints" not in results[0]:
        return evaluate_boxes(coco, results, [category.get("id") for category in coco.categories])
    return evaluate_keypoints(coco, results, _schema(coco, schema_name))


def _schema(coco: CocoFile, name: str | None) -> KeypointSchema:
    from hfpose.annotations import annotated_schema, read_schema

    found = read_schema(name) if name is not None else annotated_schema(coco)
    if found is None:
        raise typer.BadParameter(f"{coco.path} does not name its keypoints; say which they are with --schema.")
    return found


def _report_run(evaluation: Evaluation) -> None:
    for line in evaluation.failures.lines():
        print(f"hfpose: {line}", file=sys.stderr)
    images, instances, seconds = evaluation.num_images, evaluation.num_instances, evaluation.seconds
    print(
        f"{images} images, {instances} instances in {seconds:.1f} s "
        f"({images / seconds:.1f} images/s, {instances / seconds:.1f} instances/s)"
    )


def _protocol(
    gt_boxes: bool, boxes: Path | None, flip_test: bool, box_threshold: float | None, nms_threshold: float | None
) -> str:
    """How the numbers were measured, in a few words; what is as usual goes without saying."""
    source = "annotated boxes" if gt_boxes else f"boxes of {boxes.name}" if boxes is not None else "detected boxes"
    parts = [source]
    if flip_test:
        parts.append("flip test")
    if not gt_boxes and box_threshold not in (None, BOX_THRESHOLD):
        parts.append(f"box threshold {box_threshold:g}")
    if not gt_boxes and boxes is None and nms_threshold not in (None, NMS_THRESHOLD):
        parts.append(f"NMS threshold {nms_threshold:g}")
    return ", ".join(parts)


def _write(folder: Path, metrics: dict[str, float], evaluation: Evaluation | None) -> None:
    from hfpose.media.files import atomic_path

    with atomic_path(folder / "metrics.json") as partial:
        finite = {name: value if value == value else None for name, value in metrics.items()}  # JSON has no NaN
        partial.write_text(json.dumps(finite, indent=2) + "\n", encoding="utf-8")
    if evaluation is not None:
        with atomic_path(folder / "results.json") as partial:
            partial.write_text(json.dumps(evaluation.results), encoding="utf-8")
