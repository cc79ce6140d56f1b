"""Commands that load models."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

import hfpose


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
