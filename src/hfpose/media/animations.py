"""Files of several images: animations, and the pages of a TIFF. Those that ffmpeg does not read are read here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hfpose.errors import InputError
from hfpose.media.files import open_to_read
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.images import SEVERAL_IMAGES, load_image, local_path, shown_images

if TYPE_CHECKING:
    from PIL import ImageFile

_SUFFIXES = (".gif", ".apng", ".png", ".webp", ".avif", ".tif", ".tiff")
_NOT_OF_FFMPEG = (".webp", ".avif", ".tif", ".tiff")


def is_animation(path: Path) -> bool:
    """Whether a file with the ending of an image holds several that are shown one after the other."""
    if path.suffix.lower() not in _SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            if not _may_be_animation(file):
                return False
        with _opened(path) as image:
            return len(list(islice(shown_images(image), 2))) > 1
    except (OSError, InputError):
        return False


def is_read_here(source: str | Path) -> bool:
    """Whether an animation is one for `read_animation`, and not for ffmpeg."""
    return Path(source).suffix.lower() in _NOT_OF_FFMPEG


def count_images(source: str | Path) -> int | None:
    """How many images an animation holds; None for the name of another video.

    Raises:
        InputError: if it cannot be opened.
    """
    if Path(source).suffix.lower() not in _SUFFIXES:
        return None
    with _opened(local_path(source)) as image:
        return sum(1 for _ in shown_images(image))


def read_animation(item: MediaItem, source: str | Path, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
    """The images `start` to `stop` of a file as frames, at the times that it tells; pages have none.

    Raises:
        InputError: if it cannot be opened, or one of them cannot be read.
    """
    with _opened(local_path(source)) as image:
        numbers = list(shown_images(image))
        for index, number in islice(enumerate(numbers), start, stop):
            try:
                image.seek(number)
                pixels = load_image(image)
            except (InputError, OSError, EOFError) as error:
                raise InputError(
                    f"{str(source)!r} breaks off: {index} of {len(numbers)} images could be read. The results up to "
                    f"there are kept; copy or export the file again. ({error})"
                ) from error
            height, width = pixels.shape[:2]
            milliseconds = image.info.get("timestamp")
            seconds = None if milliseconds is None else milliseconds / 1000
            yield Frame(item, pixels, None, index, VideoInfo(None, width, height, len(numbers)), seconds)


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    from PIL import Image

    with open_to_read(path, "animation") as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(file, formats=SEVERAL_IMAGES)
        except Exception as error:  # broken files fail in as many ways as there are formats
            raise InputError(f"{str(path)!r} is no animation that can be read: {error}.") from error
        yield image


def _may_be_animation(file: BinaryIO) -> bool:
    """What the beginning of a file says, at less cost than opening it as an image."""
    head = file.read(32)
    if head[8:16] == b"WEBPVP8X":  # the flags of the WebP container specification
        return bool(head[20] & 2)
    if head[4:8] == b"ftyp":  # AVIF, whose sequences have a brand of their own
        return b"avis" in head
    if head.startswith(b"\x89PNG"):
        return _has_animation_chunk(file)
    return head[:4] in (b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _has_animation_chunk(file: BinaryIO) -> bool:
    """Whether a PNG has the chunk `acTL` before its pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] not in (b"IDAT", b"acTL"):
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return head[4:] == b"acTL"
