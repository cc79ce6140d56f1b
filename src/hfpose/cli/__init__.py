"""The `hfpose` command. One module per subcommand; torch is imported by those alone that need it."""

from __future__ import annotations

import sys

import typer

from hfpose.cli import cache, convert, download, evaluate, export, models, predict, push, train
from hfpose.cli.model_command import ModelCommand
from hfpose.errors import HFPoseError

app = typer.Typer(
    name="hfpose",
    help="Pose estimation the Hugging Face way.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("predict", cls=predict.PredictCommand)(predict.predict)
app.command("eval", cls=ModelCommand)(evaluate.evaluate)
app.command("train", cls=ModelCommand)(train.train)
app.command("models")(models.models)
app.command("convert", cls=ModelCommand)(convert.convert)
app.command("export", cls=ModelCommand)(export.export)
app.command("download", cls=ModelCommand)(download.download)
app.command("cache")(cache.cache)
app.command("push", cls=ModelCommand)(push.push)


def main() -> None:
    """Entry point: errors that hfpose raises on purpose are one line on stderr and exit code 2."""
    try:
        app()
    except HFPoseError as error:
        print(f"hfpose: {error}", file=sys.stderr)
        sys.exit(2)
