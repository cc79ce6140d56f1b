"""Short names of models."""

from __future__ import annotations

from hfpose.errors import ConfigError
from hfpose.hub.zoo import Task, list_aliases

SCOPE = "mmpose"

_TASKS: dict[str, tuple[Task, ...]] = {SCOPE: ("pose", "lifter"), "mmdet": ("detector",)}


def get_model_aliases(scope: str = SCOPE) -> dict[str, str]:
    """Aliases and the config names of the models that they stand for: pose models, or with `"mmdet"` detectors.

    Raises:
        ConfigError: for another scope.
    """
    if scope not in _TASKS:
        raise ConfigError(f"Unknown scope {scope!r}; expected one of {', '.join(map(repr, _TASKS))}.")
    return {alias: entry.name for task in _TASKS[scope] for alias, entry in list_aliases(task) if entry.supported}


def check_scope(scope: str | None) -> None:
    """Raises ConfigError for a scope other than MMPose's: models are known by their names, and code of others is not
    run."""
    if scope not in (None, SCOPE):
        raise ConfigError(
            f"scope is {scope!r}, and only {SCOPE!r} is known: hfpose runs no code of other projects. A model of your "
            "own is given by its config file and checkpoint, if it is built of parts that hfpose has."
        )
