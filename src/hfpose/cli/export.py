"""`hfpose export`: a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfpose.zoo import TASKS, Task

if TYPE_CHECKING:
    from hfpose.export.folders import Export

FORMATS = ("onnx",)


def export(
    name: Annotated[str, typer.Argument(help="Alias, zoo name, hub repository or folder of a model.")],
    format: Annotated[str, typer.Option(help="onnx")] = "onnx",
    output: Annotated[Path | None, typer.Option(help="Folder to write. Default: NAME-onnx.")] = None,
    with_nms: Annotated[
        bool,
        typer.Option(
            "--with-nms",
            help="Of a detector write end2end.onnx too, whose outputs are boxes, as MMDeploy writes and rtmlib reads it.",
        ),
    ] = False,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators. Default: 17.")] = None,
    task: Annotated[str | None, typer.Option(help=f"For a name that several tasks know: {', '.join(TASKS)}.")] = None,
) -> None:
    """Write a model as ONNX, with its JSON files, and compare it with torch. Needs the extra `onnx`."""
    if format not in FORMATS:
        raise typer.BadParameter(f"{format!r} is none of {', '.join(FORMATS)}.", param_hint="--format")
    if task is not None and task not in TASKS:
        raise typer.BadParameter(f"{task!r} is none of {', '.join(TASKS)}.", param_hint="--task")
    from hfpose import hub
    from hfpose.errors import ConfigError
    from hfpose.export.folders import export_folder
    from hfpose.export.graphs import DEFAULT_OPSET
    from hfpose.pipelines.loading import load_stage, task_of

    given: Task | None = next((known for known in TASKS if known == task), None)
    chosen = given or task_of(name)
    folder = hub.resolve(name, chosen)
    if (folder / hub.PIPELINE_INDEX).is_file():
        raise ConfigError(f"{folder} holds a whole pipeline; export its parts, such as {folder / 'pose'}.")
    stage = load_stage(folder, chosen, device="cpu")
    written = export_folder(
        stage.model,
        stage.image_processor,
        output or Path(f"{Path(name).name}-onnx"),
        opset=DEFAULT_OPSET if opset is None else opset,
        with_nms=with_nms,
    )
    _report(written)


def _report(written: Export) -> None:
    print(f"Wrote {written.folder}. Greatest difference to torch on noise:")
    for output, difference in written.differences.items():
        print(f"  {output}: {difference.absolute:.2e} ({difference.relative:.1e} of the greatest value)")
    if written.detections_share is not None:
        print(f"  end2end.onnx: {written.detections_share:.1%} of torch's boxes")
