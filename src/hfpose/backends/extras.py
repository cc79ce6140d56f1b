"""Packages that only some backends need, imported when they are needed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from types import ModuleType

from hfpose.errors import ConfigError

_EXTRAS = {"onnx": "onnx", "onnxruntime": "onnx", "openvino": "openvino"}


def require(name: str, purpose: str) -> ModuleType:
    """A module of a package that an extra of hfpose installs.

    Args:
        name: of the module, `"onnx"`, `"onnxruntime"` or `"openvino"`, or of one inside of them.
        purpose: what needs it, to begin a sentence with.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        extra = "openvino" if "openvino" in purpose else _EXTRAS[package]
        raise ConfigError(
            f"{purpose} needs the package {package}, which cannot be imported ({error}). Install it with "
            f"`pip install hfpose[{extra}]`."
        ) from error


def is_installed(name: str) -> bool:
    """Whether a package is there, without importing it."""
    return find_spec(name) is not None
