"""`hfpose app` and `hfpose push-space`: the app in the browser, here or on the Hub."""

from typing import Annotated

import typer

from hfpose.cli.shared import Device


def app(
    model: Annotated[
        list[str] | None, typer.Option(help="Models to choose from; may be given several times. Default: the aliases.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Default: the first free one from 7860 on.")] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Make a public address by Gradio's service, for 72 hours.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
    device: Device = None,
    max_seconds: Annotated[float, typer.Option(min=1, help="Longest video.")] = 60.0,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Largest upload.")] = 100,
) -> None:
    """Find poses in the browser: images, videos, webcam. Needs the extra `app`."""
    from hfpose.app import AppLimits, build_app, launch
    from hfpose.app.interface import MODELS

    limits = AppLimits(megabytes=max_megabytes, seconds=max_seconds)
    launch(
        build_app(model or MODELS, limits, device), limits, host=host, port=port, share=share, inbrowser=open_browser
    )


def push_space(
    repo_id: Annotated[str, typer.Argument(help="Space on the Hub, as in my-org/pose.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new Space private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would go up.")] = False,
) -> None:
    """Push the app to the Hub as a Space."""
    from hfpose.hub.uploads import push_space

    print(push_space(repo_id, private=private or None, dry_run=dry_run))
