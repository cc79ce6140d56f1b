"""Errors of hfpose. Each message says what was given, what was expected and what to do next."""

from __future__ import annotations

from collections.abc import Sequence


class HFPoseError(Exception):
    """Base class of every error that hfpose raises on purpose."""


class InputError(HFPoseError, ValueError):
    """An image, video, box or other input of a call cannot be used."""


class CheckpointError(HFPoseError, ValueError):
    """A checkpoint is broken, of another model, or not what its name says."""


class ConfigError(HFPoseError, ValueError):
    """A model configuration cannot be read or is not supported."""


class UnknownModelError(HFPoseError, ValueError):
    """A name is neither an alias, a zoo model, a folder nor a repository."""


class DownloadError(HFPoseError, OSError):
    """A file could not be fetched."""


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(names[:most]) or "nothing"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def reason_of(error: BaseException) -> str:
    """What an error says, its kind where it says nothing."""
    return str(error) or type(error).__name__
