"""`hfpose push`: converted models and pipelines to the Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfpose.cli.shared import for_each

if TYPE_CHECKING:
    from hfpose.hub.uploads import Upload


def push(
    names: Annotated[list[str], typer.Argument(help="Zoo names or aliases; `hfpose models` lists them.")],
    namespace: Annotated[str, typer.Option(help="User or organization on the Hub that gets the repositories.")],
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Push a model with its detector and all it needs, as one repository.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make new repositories private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would go up.")] = False,
) -> None:
    """Push models of the zoo, each with its image processor and card, to repositories on the Hub.

    HFPOSE_NAMESPACE then makes zoo names mean these repositories.
    """
    for_each(names, lambda name: _push(name, namespace, pipeline, private, dry_run))


def _push(name: str, namespace: str, pipeline: bool, private: bool, dry_run: bool) -> "Upload":
    from hfpose.cli.push_zoo import push_model, push_pipeline
    from hfpose.hub.uploads import UploadError
    from hfpose.hub.zoo import TASKS, find_entry, get_main_entry

    if Path(name).is_dir() and not any(find_entry(name, task) for task in TASKS):
        raise UploadError(
            "this is a folder, and only models of the zoo are pushed by name. For your own, in Python: "
            f"`hfpose.pipeline(model={name!r}).push_to_hub('{namespace}/NAME')`, or `push_to_hub` of the model alone."
        )
    push_entry = push_pipeline if pipeline else push_model
    return push_entry(get_main_entry(name), namespace, private=private or None, dry_run=dry_run)
