"""The packages of the extra `onnx`, imported when they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from hfpose.errors import ConfigError


def require(name: str, purpose: str) -> ModuleType:
    """A module of the extra.

    Args:
        name: of the module, `"onnx"` or `"onnxruntime"`, or of one inside of them.
        purpose: what needs it, to begin a sentence with.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the package {name.split('.')[0]}, which cannot be imported ({error}). Install it with "
            "`pip install hfpose[onnx]`."
        ) from error
