"""Configs as MMPose's users handle them, and what they call before and after loading one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

ConfigT = TypeVar("ConfigT")


class ConfigDict(dict[str, Any]):
    """A dict whose entries read and set as attributes too; dicts in it become such."""

    def __init__(self, values: Mapping[str, Any] | None = None, /, **entries: Any) -> None:
        super().__init__({name: _config_value(value) for name, value in {**(values or {}), **entries}.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"There is no setting {name!r}, but {', '.join(self) or 'none'}.") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def _config_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ConfigDict(value)
    return type(value)(_config_value(item) for item in value) if isinstance(value, (list, tuple)) else value


def adapt_mmdet_pipeline(cfg: ConfigT) -> ConfigT:
    """The config of a detector as it is: hfpose's detectors need no other names in their pipelines."""
    return cfg


def register_all_modules(init_default_scope: bool = True) -> None:
    """Does nothing: importing hfpose makes its models known."""
