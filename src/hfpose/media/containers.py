"""Whether a video file is whole, from the sizes that its container states. No image is decoded for that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")
_EBML = b"\x1a\x45\xdf\xa3"


def is_cut_off(path: Path) -> bool | None:
    """Whether the outermost elements of a file claim more bytes than the file has; None where that cannot be said.

    Known are MP4 and MOV (boxes, ISO 14496-12, section 4.2), AVI (RIFF chunks) and Matroska and WebM (EBML elements,
    RFC 8794). Other formats, and files that were streamed, state no sizes.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[4:8] in _MP4_BOXES:
            read_length = _box_length
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            read_length = _chunk_length
        elif head[:4] == _EBML:
            read_length = _element_length
        else:
            return None
        position = 0
        while position < size:
            file.seek(position)
            length = read_length(file)
            if length is None:
                return None
            position += length
    return position > size


def _box_length(file: BinaryIO) -> int | None:
    """Bytes of the box that begins here, with its header."""
    length = int.from_bytes(file.read(4), "big")
    if length == 1:
        file.read(4)
        length = int.from_bytes(file.read(8), "big")
    return length if length >= 8 else None  # 0 means "up to the end"


def _chunk_length(file: BinaryIO) -> int | None:
    """Bytes of the chunk that begins here, with its header; the byte that makes odd chunks even may be missing."""
    file.read(4)
    length = int.from_bytes(file.read(4), "little")
    return None if length in (0, 0xFFFFFFFF) else length + 8


def _element_length(file: BinaryIO) -> int | None:
    """Bytes of the element that begins here, with its header."""
    first = file.read(1)[0]
    id_length = 9 - first.bit_length()
    file.read(id_length - 1)
    size_bytes = file.read(1)
    size_length = 9 - size_bytes[0].bit_length() if size_bytes else 9
    if size_length > 8:
        return None
    size = int.from_bytes(size_bytes + file.read(size_length - 1), "big") - (1 << 7 * size_length)
    unknown = (1 << 7 * size_length) - 1
    return None if size == unknown else id_length + size_length + size
