"""Commands that load models."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

import hfpose


class ModelCommand(TyperCommand):
    """A command that makes the models known to transformers, which takes seconds, after its arguments are parsed."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        if not ctx.params.get("show_alias"):  # a list of names needs no model
            hfpose.register()
        return super().invoke(ctx)
