"""`hfpose export`: a model as a graph."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfpose.cli.shared import TaskOption, complete_model

if TYPE_CHECKING:
    from hfpose.export.graph_folders import Export


def export(
    name: Annotated[
        str,
        typer.Argument(help="Alias, zoo name, hub repository or folder of a model.", autocompletion=complete_model),
    ],
    format: Annotated[
        Literal["onnx", "openvino", "torch"], typer.Option(help="onnx, openvino or torch (torch.export).")
    ] = "onnx",
    output: Annotated[Path | None, typer.Option(help="Folder to write. Default: NAME-FORMAT.")] = None,
    with_nms: Annotated[
        bool,
        typer.Option(
            "--with-nms",
            help="Of a detector write end2end.onnx too, whose outputs are boxes, as MMDeploy writes and rtmlib reads "
            "it.",
        ),
    ] = False,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Of a detector let height and width of images vary (format onnx).")
    ] = False,
    int8: Annotated[
        Literal["dynamic", "static"] | None,
        typer.Option(
            help="Weights of 8 bits: static for convolutional networks, dynamic for transformers. What it costs is "
            "measured."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images for --int8, for pose models one person each. Default: the few that come with "
            "hfpose."
        ),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators. Default: 17.")] = None,
    task: TaskOption = None,
) -> None:
    """Write a model as a graph, with its JSON files, and compare it with torch. Needs the extra `onnx` or
    `openvino`."""
    from hfpose.backends.onnx_graphs import DEFAULT_OPSET
    from hfpose.export.graph_folders import export_folder
    from hfpose.pipelines.stage import load_stage, task_of

    task = task or task_of(name)
    stage = load_stage(name, task, device="cpu")
    written = export_folder(
        stage.model,
        stage.image_processor,
        output or Path(f"{Path(name).name}-{format}"),
        format=format,
        opset=DEFAULT_OPSET if opset is None else opset,
        with_nms=with_nms,
        any_size=any_size,
        int8=int8,
        calibration=calibration,
    )
    _report(written)


def _report(written: "Export") -> None:
    print(f"Wrote {written.folder}. Greatest difference to torch on noise:")
    for output, difference in written.differences.items():
        print(f"  {output}: {difference.absolute:.2e} ({difference.relative:.1e} of the greatest value)")
    if written.detections_share is not None:
        print(f"  end2end.onnx: {written.detections_share:.1%} of torch's boxes")
    report = written.quantization
    if report is not None:
        size = f"int8 ({report.mode}), {report.bytes / report.float32_bytes:.0%} of the size"
        print(f"{size}. Compared with float32 on {report.samples} {report.measured_on}:")
        if report.largest is not None and report.mean is not None:
            print(f"  distance: mean {report.mean:.3g} {report.unit}, largest {report.largest:.3g} {report.unit}")
        if report.largest_score_difference is not None:
            print(f"  score: largest difference {report.largest_score_difference:.3g}")
        if report.lost_boxes is not None:
            print(f"  boxes: {report.lost_boxes} lost, {report.added_boxes} added")
