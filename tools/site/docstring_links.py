"""Docstrings as mkdocstrings reads them: [`X`] of transformers' habit becomes a link to the entry of a public X, else
code."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))
from hooks import public_names


@cache
def _entries() -> dict[str, str]:
    return {name.rpartition(".")[2]: path for names in public_names().values() for name, path in names.items()}


class DocstringLinks(griffe.Extension):
    """See the module."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"\[`([\w.]+)`\](?![\[(])", _link, obj.docstring.value)


def _link(match: re.Match[str]) -> str:
    path = _entries().get(match[1])
    return f"`{match[1]}`" if path is None else f"[`{match[1]}`][{path}]"
