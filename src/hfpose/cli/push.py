"""`hfpose push`: models of the zoo, pipelines of them and folders of your own to the Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfpose.cli.shared import for_each

if TYPE_CHECKING:
    from hfpose.hub.uploads import Upload


def push(
    names: Annotated[
        list[str], typer.Argument(help="Zoo names or aliases, as `hfpose models` lists them, or folders of your own.")
    ],
    namespace: Annotated[str, typer.Option(help="User or organization on the Hub that gets the repositories.")],
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Push a model with its detector and all it needs, as one repository.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make new repositories private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would go up.")] = False,
) -> None:
    """Push models, each with its image processor and card, to repositories on the Hub.

    A folder of your own goes to a repository of its name, with the README.md that lies in it as the card.

    HFPOSE_NAMESPACE then makes zoo names mean these repositories.
    """
    for_each(names, lambda name: _push(name, namespace, pipeline, private, dry_run))


def _push(name: str, namespace: str, pipeline: bool, private: bool, dry_run: bool) -> "Upload":
    from hfpose.cli.push_zoo import push_model, push_own, push_pipeline
    from hfpose.hub.uploads import UploadError
    from hfpose.hub.zoo import TASKS, find_entry, get_main_entry

    options = {"private": private or None, "dry_run": dry_run}
    if Path(name).is_dir() and not any(find_entry(name, task) for task in TASKS):
        if pipeline:
            raise UploadError(
                "--pipeline is for models of the zoo. Give the folder of a pipeline instead, which "
                f"`hfpose.pipeline(model={name!r}, detector=...).save_pretrained(FOLDER)` writes in Python."
            )
        return push_own(Path(name), namespace, **options)
    push_entry = push_pipeline if pipeline else push_model
    return push_entry(get_main_entry(name), namespace, **options)
