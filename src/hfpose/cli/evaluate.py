"""`hfpose eval`: how well a model does on annotated images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hfpose.cli.shared import BACKEND_HELP, Device, Images, Sigmas, complete_model, data_schema, print_notes

if TYPE_CHECKING:
    from hfpose.annotations import CocoFile
    from hfpose.evaluation.error_analysis import ErrorAnalysis
    from hfpose.evaluation.evaluation_run import Evaluation
    from hfpose.evaluation.metrics import Metrics
    from hfpose.evaluation.protocols import Protocol
    from hfpose.keypoints import KeypointSchema

# As the pipelines have them. Average precision counts every person found, so it is higher with 0.1 and 0.65.
BOX_THRESHOLD, NMS_THRESHOLD = 0.3, 0.3

ResultArea = Literal["boxes", "keypoints"]


def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            help="Annotations in COCO's format, or the YAML file of YOLO's (its split val); for mpii and h36m in "
            "their own."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Alias, zoo name, hub repository or folder: a pose model or a detector.",
            autocompletion=complete_model,
        ),
    ] = None,
    images: Images = None,
    gt_boxes: Annotated[bool, typer.Option("--gt-boxes", help="Find poses in the annotated boxes.")] = False,
    boxes: Annotated[
        Path | None, typer.Option(help="Find poses in these detections, in COCO's format: in all of them.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Measure these results, in COCO's format, and run no model.")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="Detector, where it is asked. Default: the model's.")] = None,
    protocol: Annotated[
        str, typer.Option(help="As the papers of a data set measure: coco, coco_wholebody, crowdpose, mpii, ...")
    ] = "coco",
    schema: Annotated[
        str | None, typer.Option(help="Name or JSON file of the keypoint schema. Default: the model's or the data's.")
    ] = None,
    sigmas: Sigmas = None,
    score_mode: Annotated[
        Literal["bbox", "bbox_keypoint", "bbox_rle", "keypoint"] | None,
        typer.Option(help="Score of an instance: bbox, bbox_keypoint, bbox_rle or keypoint."),
    ] = None,
    nms_mode: Annotated[
        Literal["oks", "soft_oks", "none"] | None,
        typer.Option(help="Suppression of similar instances: oks, soft_oks or none."),
    ] = None,
    result_area: Annotated[
        ResultArea | None, typer.Option(help="Size of a result: of its bbox where it has one (boxes), or keypoints.")
    ] = None,
    head_boxes: Annotated[Path | None, typer.Option(help="MPII's head boxes: .mat or .npy.")] = None,
    flip_test: Annotated[bool, typer.Option(help="Average over flipped crops, for twice the cost.")] = False,
    box_threshold: Annotated[
        float | None,
        typer.Option(help=f"Minimum score of a box. Default: {BOX_THRESHOLD}; 0 with --boxes; RTMO etc. their own."),
    ] = None,
    nms_threshold: Annotated[
        float | None,
        typer.Option(
            help=f"Of two boxes whose IoU is more, the worse one goes. Default: {NMS_THRESHOLD}; RTMO etc. their own."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 8,
    pose_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Crops at once. Default: 8 on a CPU, 64 on an accelerator.")
    ] = None,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16. Default: float32.")] = None,
    backend: Annotated[str, typer.Option(help=f"{BACKEND_HELP} Exported folders need theirs.")] = "torch",
    output: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json and results.json (COCO's format).")
    ] = None,
    analyze: Annotated[
        bool,
        typer.Option(
            "--analyze",
            help="Sort errors by kind, with the AP that each costs; --output gets analysis.html and .json.",
        ),
    ] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Write the numbers into the card of the model's folder.")
    ] = False,
) -> None:
    """Measure a model: COCO's AP and AR; on annotated boxes PCK, AUC, EPE and NME too; or what --protocol says.

    What was left out and what could not be measured is told with the reason; if nothing was measured the exit code is
    1.
    """
    _check_choices(model, results, gt_boxes, boxes, card)
    from hfpose.evaluation.protocols import HUMAN36M_PROTOCOLS

    evaluation = analysis = None
    if protocol in HUMAN36M_PROTOCOLS:
        if analyze:
            raise typer.BadParameter(f"--analyze is for keypoints in images, not for {protocol}.")
        left_out: list[str] = []
        metrics = _measure_human36m(data, results, model, protocol, device, dtype, backend, flip_test, batch_size)
    else:
        rules = _rules(protocol, result_area)
        coco = _read_data(data, images, head_boxes, needs_images=model is not None)
        modes = {"score_mode": score_mode, "nms_mode": nms_mode}
        if results is not None:
            metrics, entries, measured = _measure_results(coco, results, rules, schema, sigmas, modes)
        else:
            assert model is not None
            evaluation, measured = _run_model(
                model, coco, "annotations" if gt_boxes else boxes or "detector", rules, schema, sigmas,
                detector=detector, device=device, dtype=dtype, backend=backend, flip_test=flip_test,
                box_threshold=box_threshold, nms_threshold=nms_threshold, batch_size=batch_size,
                pose_batch_size=pose_batch_size, **modes,
            )  # fmt: skip
            metrics, entries = evaluation.metrics, evaluation.results
        analysis = _analyze(coco, entries, measured, rules) if analyze else None
        left_out = coco.left_out.lines()
    _report(data, left_out, metrics, evaluation)
    if output is not None:
        _write(output, metrics, evaluation, protocol)
    if analysis is not None:
        _report_analysis(analysis, coco, f"{model or results} on {data.name}", output)
    if card and model is not None:
        from hfpose.hub.card_results import add_results

        words = _protocol(protocol, gt_boxes, boxes, flip_test, box_threshold, nms_threshold)
        add_results(Path(model), data.name, words, metrics)
    if not metrics or (evaluation is not None and evaluation.failures.total):
        raise typer.Exit(1)


def _check_choices(model: str | None, results: Path | None, gt_boxes: bool, boxes: Path | None, card: bool) -> None:
    """Refuse options that exclude each other."""
    if gt_boxes and boxes is not None:
        raise typer.BadParameter("give --gt-boxes or --boxes, not both.")
    if (model is None) == (results is None):
        raise typer.BadParameter("give either --model or --results.")
    if card and (model is None or not Path(model).is_dir()):
        raise typer.BadParameter("--card needs --model to be a folder.")


def _analyze(coco: CocoFile, results: list[Any], schema: KeypointSchema | None, protocol: Protocol) -> ErrorAnalysis:
    """The errors of results by kind; `schema` is None for boxes."""
    from hfpose.evaluation.error_analysis import analyze_errors

    if schema is None or protocol.precision is None:
        raise typer.BadParameter("--analyze is for keypoints and for protocols that measure average precision.")
    return analyze_errors(coco, results, schema, protocol.precision)


def _read_data(data: Path, images: Path | None, head_boxes: Path | None, *, needs_images: bool) -> CocoFile:
    from hfpose.annotations import is_yolo, read_annotations, read_json
    from hfpose.evaluation.mpii import read_mpii

    if head_boxes is not None or (not is_yolo(data) and isinstance(read_json(data), list)):
        return read_mpii(data, images, head_boxes, needs_images=needs_images)
    return read_annotations(data, images, split="val", needs_images=needs_images)


def _measure_human36m(
    data: Path, results: Path | None, model: str | None, protocol: str, device: str | None, dtype: str | None,
    backend: Any, flip_test: bool, batch_size: int,
) -> Metrics:  # fmt: skip
    from hfpose.evaluation.mpjpe import evaluate_human36m, lift_human36m, read_array
    from hfpose.evaluation.protocols import HUMAN36M_PROTOCOLS
    from hfpose.models.shared.devices import default_device
    from hfpose.pipelines.stage import load_stage

    if results is not None:
        predicted = read_array(results, "keypoints")
    else:
        place = device or default_device()
        stage = load_stage(str(model), "lifter", device=place, dtype=dtype, backend=backend)
        predicted = lift_human36m(stage, data, flip_test=flip_test, batch_size=batch_size)
    return evaluate_human36m(data, predicted, HUMAN36M_PROTOCOLS[protocol], results or model)


def _rules(name: str, result_area: ResultArea | None) -> Protocol:
    from hfpose.evaluation.coco import require_pycocotools
    from hfpose.evaluation.protocols import get_protocol

    protocol = get_protocol(name)
    if protocol.precision is None:
        return protocol
    require_pycocotools()
    area = protocol.precision.result_area if result_area is None else result_area
    return replace(protocol, precision=replace(protocol.precision, result_area=area))


def _run_model(
    model: str, coco: CocoFile, boxes: Path | str, protocol: Protocol, schema_name: str | None, sigmas: Path | None, *,
    detector: str | None, device: str | None, dtype: str | None, backend: Any, batch_size: int, **options: Any,
) -> tuple[Evaluation, KeypointSchema | None]:  # fmt: skip
    """What a model finds, and the schema of its keypoints, None for a detector."""
    from hfpose.errors import ConfigError
    from hfpose.evaluation.coco_results import read_results
    from hfpose.evaluation.evaluation_run import evaluate_detector, evaluate_pose_pipeline
    from hfpose.models.shared.devices import default_device
    from hfpose.pipelines import PoseEstimationPipeline, pipeline
    from hfpose.pipelines.stage import load_stage, task_of

    show_progress = sys.stderr.isatty()
    task = task_of(model)
    if task == "lifter":
        raise ConfigError(f"{model} lifts keypoints to 3D; measure it with --protocol h36m.")
    if task == "detector":
        if schema_name is not None or sigmas is not None:
            raise ConfigError(f"{model} is a detector, so --schema and --sigmas of keypoints have no use.")
        stage = load_stage(model, "detector", device=device or default_device(), dtype=dtype, backend=backend)
        return evaluate_detector(stage, coco, batch_size=batch_size, show_progress=show_progress), None
    given: Any = read_results(boxes) if isinstance(boxes, Path) else boxes
    if given != "detector":
        detector = detector or "whole_image"  # not asked, so that there is nothing to load
    pipe = pipeline(
        "pose-estimation", model=model, detector=detector, device=device, dtype=dtype or "float32", backend=backend
    )
    if not isinstance(pipe, PoseEstimationPipeline):
        raise ConfigError(f"{model} finds keypoints in 3D; `hfpose eval` measures pose models in 2D and detectors.")
    schema = _model_schema(pipe.schema, protocol, schema_name, sigmas)
    options |= {"protocol": protocol, "schema": schema, "batch_size": batch_size, "show_progress": show_progress}
    return evaluate_pose_pipeline(pipe, coco, given, **options), schema


def _model_schema(own: KeypointSchema, protocol: Protocol, name: str | None, sigmas: Path | None) -> KeypointSchema:
    """The model's schema, or one that was asked for with the same keypoints."""
    from hfpose.annotations import read_schema
    from hfpose.errors import ConfigError
    from hfpose.evaluation.coco import read_sigmas

    given = name or protocol.schema
    schema = own if given is None else read_schema(given)
    if schema.keypoint_names != own.keypoint_names:
        raise ConfigError(
            f"The model finds the {own.num_keypoints} keypoints of {own.name!r} ({', '.join(own.keypoint_names[:3])}, "
            f"...), but {schema.num_keypoints} of {schema.name!r} ({', '.join(schema.keypoint_names[:3])}, ...) are "
            "to be measured. Leave the schema out, or choose a protocol of the model's keypoints."
        )
    return schema if sigmas is None else read_sigmas(sigmas, schema)


def _measure_results(
    coco: CocoFile, path: Path, protocol: Protocol, schema_name: str | None, sigmas: Path | None, modes: dict[str, Any]
) -> tuple[Metrics, list[Any], KeypointSchema | None]:
    """The numbers of results, the results that they are of, and the schema of their keypoints, None for boxes."""
    from hfpose.evaluation.coco import evaluate_boxes, read_sigmas, with_sigmas
    from hfpose.evaluation.coco_results import read_results, usable_results
    from hfpose.evaluation.protocols import measure
    from hfpose.evaluation.scoring import rescore
    from hfpose.media.left_out import LeftOut

    results = read_results(path)
    if results and not any("keypoints" in result for result in results):
        return evaluate_boxes(coco, results, [category.get("id") for category in coco.categories]), results, None
    schema = data_schema(coco, schema_name or protocol.schema)
    if sigmas is not None:
        schema = read_sigmas(sigmas, schema)
    left_out = LeftOut()
    if any(modes.values()):
        by_category = protocol.precision is not None and protocol.precision.by_category
        usable = usable_results(coco, results, coco.keypoint_category_ids, left_out, schema, by_category=by_category)
        results = rescore(usable, with_sigmas(schema)[0].sigmas or (), **modes)
    metrics = measure(coco, results, schema, protocol)
    metrics.left_out.include(left_out)
    return metrics, results, schema


def _report_analysis(analysis: ErrorAnalysis, coco: CocoFile, title: str, output: Path | None) -> None:
    from hfpose.evaluation.error_report import write_error_report

    print("\nkeypoints  (share)")
    for kind, share in analysis.shares().items():
        print(f"{kind:>14}  {share:.4f}")
    print("AP that mending would give back")
    for kind, gain in analysis.gains.items():
        print(f"{kind:>14}  {gain:.4f}")
    if output is not None:
        write_error_report(output, analysis, coco, title)
        print(f"Wrote {output / 'analysis.html'}.")


def _report(data: Path, left_out: Sequence[str], metrics: Metrics, evaluation: Evaluation | None) -> None:
    failures = evaluation.failures.lines() if evaluation is not None else []
    print_notes(*(f"left out of {data}: {line}" for line in left_out), *failures, *metrics.lines())
    if evaluation is not None:
        images, instances, seconds = evaluation.num_images, evaluation.num_instances, evaluation.seconds
        print(
            f"{images} images, {instances} instances in {seconds:.1f} s "
            f"({images / seconds:.1f} images/s, {instances / seconds:.1f} instances/s)"
        )
    width = max([9, *map(len, metrics)])
    for name, value in metrics.items():
        print(f"{name:>{width}}  {value:.4f}")
    if not metrics:
        print_notes("Nothing was measured.")


def _protocol(
    name: str, gt_boxes: bool, boxes: Path | None, flip_test: bool, box_threshold: float | None,
    nms_threshold: float | None,
) -> str:  # fmt: skip
    """How the numbers were measured, in a few words; what is as usual goes without saying."""
    source = "annotated boxes" if gt_boxes else f"boxes of {boxes.name}" if boxes is not None else "detected boxes"
    parts = [source] if name == "coco" else [f"protocol {name}", source]
    if flip_test:
        parts.append("flip test")
    if not gt_boxes and box_threshold not in (None, 0.0 if boxes is not None else BOX_THRESHOLD):
        parts.append(f"box threshold {box_threshold:g}")
    if not gt_boxes and boxes is None and nms_threshold not in (None, NMS_THRESHOLD):
        parts.append(f"NMS threshold {nms_threshold:g}")
    return ", ".join(parts)


def _write(folder: Path, metrics: Metrics, evaluation: Evaluation | None, protocol: str) -> None:
    from hfpose.evaluation.coco_results import in_parts
    from hfpose.media.files import write_json

    write_json(folder / "metrics.json", {**metrics, **dict.fromkeys(metrics.missing)})
    if evaluation is not None:
        results = map(in_parts, evaluation.results) if protocol == "coco_wholebody" else evaluation.results
        write_json(folder / "results.json", list(results), indent=None)
