"""What several commands share: the class of those that load models, their options, and lines on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

import hfpose
from hfpose.errors import HFPoseError
from hfpose.hub.zoo import Task

if TYPE_CHECKING:
    from hfpose.annotations import CocoFile
    from hfpose.keypoints import KeypointSchema


def complete_model(incomplete: str) -> list[str]:
    """Aliases and names of models that begin so, for shells; to nothing aliases alone."""
    from hfpose.hub.zoo import PACKAGED_ENTRIES, list_aliases, list_entries

    entries = (*PACKAGED_ENTRIES, *list_entries()) if incomplete else PACKAGED_ENTRIES
    names = {alias for alias, _ in list_aliases()} | {entry.name for entry in entries}
    return sorted(name for name in names if name.startswith(incomplete))


class ModelCommand(TyperCommand):
    """A command that makes the models known to transformers, which takes seconds, after its arguments are parsed."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        if not ctx.params.get("show_alias"):  # a list of names needs no model
            hfpose.register()
        return super().invoke(ctx)


DEVICE_HELP = "cpu, cuda, cuda:1, mps, ... Default: the best there is."

Data = Annotated[Path, typer.Option(help="Annotations in COCO's format, or the YAML file of YOLO's.")]
DataArgument = Annotated[Path, typer.Argument(help="Annotations in COCO's format, or the YAML file of YOLO's.")]
Images = Annotated[Path | None, typer.Option(help="Folder of the images. Default: that of the data.")]
Schema = Annotated[
    str | None, typer.Option(help="Name or JSON file of the keypoint schema. Default: what the data name.")
]
Sigmas = Annotated[
    Path | None, typer.Option(help="JSON list of the keypoints' sigmas, for schemas without or with others.")
]
BACKEND_HELP = (
    "What computes the networks: auto (the fastest installed), torch, compile (torch.compile), onnxruntime (needs the "
    "extra onnx) or openvino (the extra openvino)."
)
Device = Annotated[str | None, typer.Option(help=DEVICE_HELP)]
TaskOption = Annotated[Task | None, typer.Option(help="For a name that several tasks know: pose, detector or lifter.")]
CheckHash = Annotated[
    bool, typer.Option(help="--no-check-hash takes a checkpoint whose SHA-256 is not the one that is stated.")
]
PoseModel = Annotated[
    str,
    typer.Option(
        help="Alias, zoo name, hub repository or folder: a pose model or a detector.", autocompletion=complete_model
    ),
]


def data_schema(coco: CocoFile, given: str | None) -> KeypointSchema:
    """The keypoint schema of a name or JSON file, else the one that annotations name.

    Raises:
        typer.BadParameter: if they name none.
    """
    from hfpose.annotations import annotated_schema, read_schema

    found = annotated_schema(coco) if given is None else read_schema(given)
    if found is None:
        raise typer.BadParameter(f"{coco.path} does not name its keypoints; say which they are with --schema.")
    return found


def print_notes(*lines: str) -> None:
    """Print lines for the user on stderr."""
    for line in lines:
        print(f"hfpose: {line}", file=sys.stderr)


def for_each(names: Iterable[str], act: Callable[[str], object]) -> None:
    """Print what comes of each name, and end the command. An error goes to stderr, and the other names go on."""

    def succeeds(name: str) -> bool:
        try:
            print(act(name))
        except HFPoseError as error:
            print_notes(f"{name}: {error}")
            return False
        return True

    results = [succeeds(name) for name in names]  # all of them, whatever the first ones do
    sys.exit(not all(results))
