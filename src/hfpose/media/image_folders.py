"""The images in a folder."""

from __future__ import annotations

import os
from operator import attrgetter
from pathlib import Path

from hfpose.media.files import OUTPUT_MARKER
from hfpose.media.images import is_image_path
from hfpose.media.left_out import LeftOut
from hfpose.media.video import VIDEO_SUFFIXES

# Endings of images that are not read: of raw data of cameras, and of drawing programs.
_OTHER_IMAGES = frozenset(
    (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2", ".psd", ".xcf", ".jxl", ".exr", ".tga", ".svg")
)
_UNFOLLOWED = "link to a folder; give the path of the folder to read it"
_NOT_RECURSIVE = "subfolder; to look into it set recursive (`--recursive`)"


def list_images(folder: Path, recursive: bool, left_out: LeftOut) -> list[Path]:
    """Files with the ending of an image, sorted by path. Hidden files are passed over, links to folders not followed.

    Args:
        recursive: whether to look into its subfolders too, except those that hold results of hfpose.
        left_out: gets what looks like an input and is not read.

    Raises:
        OSError: if the folder cannot be listed.
    """
    paths: list[Path] = []
    folders = [folder]
    while folders:
        current = folders.pop()
        try:
            entries = sorted(os.scandir(current), key=attrgetter("name"))
        except OSError as error:
            if current == folder:
                raise
            left_out.add(f"subfolder that cannot be listed ({error.strerror})", current)
            continue
        if current != folder and any(entry.name == OUTPUT_MARKER for entry in entries):
            left_out.add("subfolder with results of an earlier run", current)
            continue
        for entry in entries:
            path = current / entry.name
            if entry.name.startswith("."):
                continue
            if recursive and entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif is_image_path(Path(entry.name)):
                if reason := _unreadable_reason(path):
                    left_out.add(reason, path)
                else:
                    paths.append(path)
            elif path.suffix.lower() in VIDEO_SUFFIXES:
                left_out.add("video in a folder of images; give its path to read it", path)
            elif path.suffix.lower() in _OTHER_IMAGES:
                left_out.add("image of a kind that is not read; convert it to JPEG or PNG", path)
            elif path.is_dir() and not (path / OUTPUT_MARKER).exists():
                left_out.add(_UNFOLLOWED if entry.is_symlink() else _NOT_RECURSIVE, path)
    return sorted(paths)


def _unreadable_reason(path: Path) -> str | None:
    """Why something with the name of an image is no file that can be read; None for a regular file."""
    try:
        return None if path.is_file() else "no regular file, in spite of its name"
    except OSError as error:
        return f"file that cannot be opened ({error.strerror})"
