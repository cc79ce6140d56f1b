"""Inputs that people have at hand, in the few forms that sources read: paths, addresses, arrays, bytes, PIL images."""

from __future__ import annotations

import base64
import binascii
import glob
import os
import re
from collections.abc import Iterator, Sized
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np

from hfpose.errors import InputError
from hfpose.media.video import is_address

_CHANNELS = (1, 3, 4)


def plain_input(value: Any) -> Any:
    """An input as sources read it.

    Torch tensors become uint8 arrays (H, W, C) or (N, H, W, C), from channels first or last, floating point ones from
    0 to 1; open files and `BytesIO` the bytes in them; other path objects a `Path`; a `data:` address its bytes; a
    pattern such as `frames/*.jpg` the sorted list of what it matches; the number of a webcam text. Everything else
    stays as it is.

    Raises:
        InputError: for an empty name, a pattern that matches nothing, a file opened as text, a
            tensor of another shape or range.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, Path):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "OU":  # names, or images, of a table
        return value.tolist()
    if hasattr(value, "iloc") and hasattr(value, "columns"):
        raise InputError(
            f"A table is no input; give the column with its images or paths: table[{_named(value.columns)}]."
        )
    if hasattr(value, "column_names") and hasattr(value, "num_rows") and hasattr(value, "keys"):
        raise InputError(f"A {type(value).__name__} has several parts; give one of them: data[{_named(value)}].")
    if hasattr(value, "batch_sampler") and getattr(value, "batch_size", None) is not None:
        raise InputError(
            f"A {type(value).__name__} gives batches; give its data set, and the size to the pipeline: "
            f"pipe(loader.dataset, batch_size={value.batch_size})."
        )
    if hasattr(value, "__fspath__"):
        return Path(os.fsdecode(os.fspath(value)))
    if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
        return _from_tensor(value)
    if callable(getattr(value, "read", None)):
        data = _from_file(value)
        if isinstance(data, str):
            raise InputError("The file was opened as text; open images with mode 'rb'.")
        if not isinstance(data, bytes):
            raise InputError(
                f"{type(value).__name__}.read() gives no bytes of an image. Give the path of a video in its place, or "
                "the number or address of a camera."
            )
        return data
    return value


def _from_file(file: Any) -> Any:
    """What an open file holds from where it stands, from its start where it stands at its end, as after writing."""
    try:
        data = file.read()
        if len(data) == 0 and hasattr(file, "seek"):
            file.seek(0)
            data = file.read()
    except (OSError, ValueError) as error:
        raise InputError(
            f"The file that was given cannot be read: {error}. Open it with mode 'rb', or give its path."
        ) from error
    return data


_SCHEME = re.compile("(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)

# How PNG, JPEG, GIF and WebP begin in base64, which transformers takes without an address too.
_BASE64_IMAGES = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")


def _named(names: Any) -> str:
    """The first of some names, as they are written in brackets."""
    return repr(next(iter(names), "image"))


def _from_text(text: str) -> Any:
    if not text.strip():
        raise InputError("The input is an empty string; give the path or URL of an image, a video or a folder.")
    if text[:5].lower() == "data:":
        return _from_data_address(text)
    if is_address(text):
        return text
    if scheme := _SCHEME.match(text):
        raise InputError(
            f"Addresses that begin with {scheme[0]!r} are not read; expected http://, https://, file:// or that of a "
            "stream. Download the file and give its path, or open it and give the open file."
        )
    if text.startswith("~") and not os.path.lexists(text):
        with suppress(RuntimeError):  # the home of an unknown user
            text = str(Path(text).expanduser())
    if text.startswith(_BASE64_IMAGES) and not os.path.lexists(text):
        return _from_data_address(f"data:;base64,{text}")
    if glob.has_magic(text) and not os.path.lexists(text):
        found = sorted(glob.glob(str(Path(text).expanduser()), recursive=True))  # noqa: PTH207 - of any root
        if not found:
            raise InputError(f"The pattern {text!r} matches no file; the current folder is {str(Path.cwd())!r}.")
        return found
    return text


def _from_data_address(text: str) -> bytes:
    header, comma, data = text.partition(",")
    try:
        if not comma:
            raise ValueError("it has no comma")
        if not header.lower().endswith(";base64"):
            return unquote_to_bytes(data)
        return base64.b64decode("".join(data.split()), validate=True)  # encoders break lines
    except (ValueError, binascii.Error) as error:
        raise InputError(f"The data address {text[:40]!r}... cannot be decoded: {error}.") from error


def _from_tensor(tensor: Any) -> np.ndarray:
    try:
        array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().numpy()
    except (NotImplementedError, TypeError, RuntimeError) as error:  # one without data, or that is sparse
        raise InputError(f"The tensor cannot be read as an image: {error}") from error
    if array.ndim not in (2, 3, 4):
        raise InputError(
            f"A tensor of shape {tuple(array.shape)} is no image; expected (H, W), (H, W, C), (C, H, W) or a batch of "
            "these."
        )
    if array.ndim > 2 and array.shape[-1] not in _CHANNELS and array.shape[-3] in _CHANNELS:
        array = np.moveaxis(array, -3, -1)
    if array.dtype.kind == "f":
        if not ((array >= 0) & (array <= 1)).all():
            raise InputError(
                "A floating point tensor must have values from 0 to 1. Give pixel values 0 to 255 as torch.uint8, and "
                "images before they are normalized."
            )
        array = np.round(array * 255).astype(np.uint8)
    if array.ndim == 4:
        array = np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array
    return np.ascontiguousarray(array)


def elements(collection: Any) -> Iterator[Any]:
    """Items of anything iterable, or with `__len__` and `__getitem__` alone, as torch's datasets are."""
    is_hub_data = type(collection).__module__.startswith("datasets.") and isinstance(collection, Sized)
    is_iterable = hasattr(collection, "__iter__") or not hasattr(collection, "__len__")
    return iter(collection) if is_iterable and not is_hub_data else _items_by_number(collection)


def _items_by_number(data: Any) -> Iterator[Any]:
    """Items of a data set; in the place of one that cannot be decoded, the error."""
    for index in range(len(data)):
        try:
            item = data[index]
        except (OSError, SyntaxError) as error:  # as which Pillow reports damaged files
            item = InputError(f"Item {index} of the {type(data).__name__} cannot be read: {error}.")
        yield item
