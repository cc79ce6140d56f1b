"""The `hfpose` command. One module per subcommand; torch is imported by those alone that need it."""

import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.core import TyperCommand

from hfpose.cli import (
    app_command,
    cache_command,
    check_data,
    convert,
    convert_annotations,
    download,
    env,
    evaluate,
    evaluate_tracking,
    export,
    models,
    plot,
    predict,
    push,
    sigmas_command,
    train,
)
from hfpose.cli.interrupts import exit_at_interrupt
from hfpose.cli.predict_command import PredictCommand
from hfpose.cli.shared import ModelCommand, print_notes
from hfpose.errors import HFPoseError
from hfpose.version import __version__

EXIT_CODES = (
    "Exit codes: 0: all was done; 1: an input failed, nothing was measured or learned, or the system refused, such as "
    "a full disk; 2: the command or an argument cannot be used; 130: ended by Ctrl-C."
)

_TOUR = """hfpose: poses of people, hands, faces and animals, in 2D and 3D.

  hfpose predict photo.jpg --pose2d human --out-dir out   find poses in images, videos, folders, webcams
  hfpose predict walk.mp4 --pose3d human3d --out-dir out  the same in 3D
  hfpose app --open                                       do it in the browser
  hfpose models --task pose                               choose a model
  hfpose train --model human --data train.json --output tuned
  hfpose eval --model tuned --data val.json --analyze     measure a model, and see its errors

demo and demo3d need no network, but know rendered scenes only.
hfpose --help lists all commands, hfpose COMMAND --help their options; hfpose --install-completion
teaches your shell to complete them."""

app = typer.Typer(
    name="hfpose",
    help="Pose estimation the Hugging Face way.",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


def _add(name: str, function: Callable[..., None], example: str, cls: type[TyperCommand] | None = None) -> None:
    paragraphs = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(function.__doc__ or ""))  # which typer would break
    app.command(name, cls=cls, help=paragraphs, epilog=f"Example: hfpose {name} {example}".rstrip())(function)


_add("predict", predict.predict, "photo.jpg --out-dir out", PredictCommand)
_add("eval", evaluate.evaluate, "--model human --data val.json --images images", ModelCommand)
_add("eval-tracking", evaluate_tracking.evaluate_tracking, "--data posetrack.json --results tracks.json")
_add("sigmas", sigmas_command.sigmas, "first.json second.json --output sigmas.json")
_add("train", train.train, "--model human --data train.json --images images --output tuned", ModelCommand)
_add("plot", plot.plot, "out/predictions/clip.json")
_add("check-data", check_data.check_data, "train.json --images images", ModelCommand)
_add("convert-annotations", convert_annotations.convert_annotations, "train.json --format yolo --output my-data")
_add("annotate", convert_annotations.annotate, "images --model human --output draft.json", ModelCommand)
_add("models", models.models, "--task pose")
_add("convert", convert.convert, "human --checkpoint rtmpose-m.pth --output my-rtmpose", ModelCommand)
_add("export", export.export, "human --output human-onnx", ModelCommand)
_add("download", download.download, "human", ModelCommand)
app.add_typer(cache_command.app, name="cache", epilog="Example: hfpose cache --clean human")
_add("push", push.push, "human --namespace my-org", ModelCommand)
_add("push-space", app_command.push_space, "my-org/pose")
_add("app", app_command.app, "--open", ModelCommand)
_add("env", env.env, "")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"hfpose {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(_TOUR)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Lines of the library's log on stderr, as those of the command are."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("hfpose: %(message)s"))
    logger = logging.getLogger("hfpose")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def main() -> None:
    """Entry point: what goes wrong is one line on stderr. Errors that hfpose raises on purpose have the exit code 2,
    those of the system, such as a full disk or a closed pipe, 1.
    """
    stdout = sys.stdout
    try:
        try:
            with _log_on_stderr(), exit_at_interrupt():
                app()
        finally:
            if sys.stdout is not stdout:  # typer has put something silent instead of a closed pipe
                raise BrokenPipeError
            stdout.flush()  # here, where an error can be told; at the end of Python it has a traceback
    except HFPoseError as error:
        print_notes(str(error))
        sys.exit(2)
    except BrokenPipeError:
        print_notes("What read the output has ended before all was written.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())  # for what is still in the buffer
        sys.exit(1)
    except OSError as error:
        print_notes(_system_message(error))
        sys.exit(1)


def _system_message(error: OSError) -> str:
    if error.strerror is None:  # raised by a library, with a text of its own
        return " ".join(str(error).split()) or type(error).__name__
    files = " -> ".join(repr(str(name)) for name in (error.filename, error.filename2) if name is not None)
    return f"{error.strerror}{f': {files}' if files else ''}."
