"""What the name and the first bytes of a file tell of it, which is taken for a checkpoint."""

from __future__ import annotations

import codecs
import re

# Names of published checkpoints end in -<8 hex digits of the SHA-256>, some with the date of release after it.
_NAME_WITH_HASH = re.compile(r"-(?P<hash>[0-9a-f]{7,64})(?P<date>_\d{8})?\.\w+$")
_DATE = re.compile(r"20\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")

HEAD_BYTES = 512  # of a file that `foreign_format` wants to see


def foreign_format(head: bytes) -> str | None:
    """What a file is, by its first bytes, where it is a common mistake for a checkpoint."""
    start = head.lstrip().lower()
    if not head:
        return "it is empty"
    if start.startswith(b"<"):
        return "it is a web page, as a link to a page or a failed download leaves"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file it points to (run `git lfs pull`)"
    if head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"\xfd7zXZ", b"BZh", b"(\xb5/\xfd", b"Rar!")):
        return "it is a compressed archive; unpack it and give the checkpoint inside"
    if head[257:262] == b"ustar":
        return "it is a tar archive (unpack it) or a checkpoint of PyTorch 0.1 (save it again with a newer PyTorch)"
    if head.startswith(b"\x89HDF"):
        return "it is an HDF5 file, as TensorFlow writes"
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return "it is a text file" if all(char.isprintable() or char.isspace() for char in text) else None


def stated_hash(name: str) -> str | None:
    """First digits of the SHA-256 that the file name of a published checkpoint states, or None.

    A name that ends in digits alone, such as a date or a step count, states none unless a date of release follows.
    """
    match = _NAME_WITH_HASH.search(name)
    if match is None:
        return None
    digits = match["hash"]
    if _DATE.fullmatch(digits) or (match["date"] is None and (digits.isdigit() or len(digits) < 8)):
        return None
    return digits
