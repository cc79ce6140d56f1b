"""How `hfpose predict` reads options that take none, one or several values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from hfpose.cli.shared import ModelCommand

UsageError: Any = typer.BadParameter.__base__  # of the click that this typer comes with

_ADDRESS = re.compile(r"auto|local|ray://.+|[\w.-]+:\d+")  # of a Ray cluster
_TRUE, _FALSE = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")
_FILTER = "one-euro|butterworth|gaussian|median|hampel"
_FILTERS = re.compile(f"auto|({_FILTER})(,({_FILTER}))*")
_TRACKERS = re.compile("iou|oks|bytetrack|ocsort|botsort")
_OUT = "--out-dir, the folder for predictions and drawn images"
_FOREIGN = {
    **dict.fromkeys(("conf", "threshold", "box-threshold", "score-thr", "det-thr"), "--bbox-thr"),
    **dict.fromkeys(("iou", "nms-threshold"), "--nms-thr"),
    **dict.fromkeys(("keypoint-threshold", "kpt-threshold", "pose-thr"), "--kpt-thr"),
    **dict.fromkeys(("model", "pose", "pose-model", "pose2d-model"), "--pose2d, or --pose3d in 3D"),
    "lifter": "--pose3d",
    **dict.fromkeys(("weights", "checkpoint"), "--pose2d-weights, or --pose2d with a folder"),
    **dict.fromkeys(("detector", "det"), "--det-model"),
    **dict.fromkeys(("classes", "detector-labels"), "--det-cat-ids"),
    **dict.fromkeys(("source", "input", "inputs", "img-path", "video-path"), "the input without an option before it"),
    **dict.fromkeys(("output", "out", "output-root", "output-dir", "save", "save-dir", "project", "name"), _OUT),
    **dict.fromkeys(("save-txt", "save-json", "save-predictions"), f"{_OUT}, with --format"),
    **dict.fromkeys(("draw-boxes", "show-boxes", "show-conf"), "--draw-bbox"),
    **dict.fromkeys(("line-width", "line-thickness"), "--thickness"),
    **dict.fromkeys(("det-frequency", "skip-frames", "vid-stride"), "--detect-every"),
    **dict.fromkeys(("tracker", "tracking"), "--track, with the name of a tracker or none"),
    **dict.fromkeys(("max-det", "max-people"), "--people, with a number"),
    "batch": "--batch-size",
    "augment": "--flip-test",
    "onnx": "--backend onnxruntime",
    "style": "--skeleton-style",
    **dict.fromkeys(("half", "fp16", "dtype"), "the environment variable HFPOSE_DTYPE=float16"),
}
"""Options of other programs and of hfpose in Python: what this command takes in their place."""


class PredictCommand(ModelCommand):
    """Lets `--det-cat-ids 15 16 17` take several numbers, as the reference's demo does, and `--ray`, `--smooth` and
    `--track` a value or none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        args = list(_with_value("--ray", _ADDRESS, "local", _repeated("--det-cat-ids", args)))
        args = list(_with_value("--smooth", _FILTERS, "auto", args))
        try:
            return super().parse_args(ctx, list(_with_value("--track", _TRACKERS, "iou", args)))
        except UsageError as error:
            name = getattr(error, "option_name", "")
            if name.lstrip("-") not in _FOREIGN:
                raise
            message = f"No such option: {name}. Give {_FOREIGN[name.lstrip('-')]}."
            raise UsageError(message, ctx) from error


def check_effects(*options: tuple[str, bool, bool, str]) -> None:
    """Refuse options that would do nothing.

    Args:
        options: name, whether it is given, whether it has an effect, and when it has none.

    Raises:
        typer.BadParameter: for one that is given without an effect.
    """
    for name, is_given, has_effect, when in options:
        if is_given and not has_effect:
            raise typer.BadParameter(f"it has no effect {when}.", param_hint=name)


def read_boolean(text: str) -> bool:
    """Whether `--pose-based-nms` is given as true.

    Raises:
        typer.BadParameter: for what is neither true nor false.
    """
    if text.casefold() not in _TRUE + _FALSE:
        raise typer.BadParameter(f"{text!r} is neither true nor false.", param_hint="--pose-based-nms")
    return text.casefold() in _TRUE


def read_filters(text: str | None) -> bool | list[str]:
    """The option `smooth` of a pipeline from the names, with commas between them, that `--smooth` is given."""
    return text == "auto" if text in (None, "auto") else text.split(",")


def read_people(text: str | None) -> str | int | list[int] | None:
    """The option `people` of a pipeline: a word, a number, or identities with commas (a single one with a comma behind
    it).

    Raises:
        typer.BadParameter: for identities that are no numbers.
    """
    if text is None or not text[:1].isdecimal():
        return text
    try:
        return [int(each) for each in text.split(",") if each] if "," in text else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} names no identities.", param_hint="--people") from None


def _with_value(option: str, pattern: re.Pattern[str], default: str, args: Iterable[str]) -> Iterator[str]:
    """The arguments, with `default` behind an `option` that no value of a pattern follows."""
    is_open = False
    for arg in args:
        if is_open and not pattern.fullmatch(arg):
            yield default
        is_open = arg == option
        yield arg
    if is_open:
        yield default


def _repeated(option: str, args: Iterable[str]) -> Iterator[str]:
    """The arguments, with `option` before every number that follows its first value."""
    place = -1  # of an argument behind the option
    for arg in args:
        if arg == option:
            place = 0
        elif place >= 0:
            place += 1
            if place > 1:
                if arg.isdecimal():
                    yield option
                else:
                    place = -1
        yield arg
