"""What a file is that was taken for a checkpoint."""

from __future__ import annotations

import codecs

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
