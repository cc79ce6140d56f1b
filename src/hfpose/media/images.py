"""Reading and writing single images.

Inside the library an image is a numpy array: uint8, RGB, shape (height, width, 3), turned the way a viewer shows it.
"""

from __future__ import annotations

import functools
import importlib
import io
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from hfpose.errors import InputError, reason_of
from hfpose.media.array_types import way_to_uint8
from hfpose.media.files import atomic_path, open_to_read

if TYPE_CHECKING:
    from PIL import Image, ImageFile

logger = logging.getLogger(__name__)

MAX_DOWNLOAD_BYTES = 256 * 1024 * 1024
"""An image behind a URL may not be larger than this."""

SAVE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File name endings that `save_image` can write."""

# Pillow's name of each format that is read, its module there, and the endings of its files; most frequent first. The
# list is closed because some of Pillow's other modules start programs (EPS runs Ghostscript).
_FORMATS = {
    "JPEG": ("Jpeg", (".jpg", ".jpeg", ".jpe", ".jfif")),
    "PNG": ("Png", (".png",)),
    "WEBP": ("WebP", (".webp",)),
    "BMP": ("Bmp", (".bmp",)),
    "GIF": ("Gif", (".gif",)),
    "TIFF": ("Tiff", (".tif", ".tiff")),
    "PPM": ("Ppm", (".ppm", ".pgm", ".pbm", ".pnm")),
    "AVIF": ("Avif", (".avif",)),
    "JPEG2000": ("Jpeg2K", (".jp2",)),
    "ICO": ("Ico", (".ico",)),
    "HEIF": ("", (".heic", ".heif")),  # read by pillow-heif where that is installed
}

IMAGE_SUFFIXES = frozenset(suffix for _, suffixes in _FORMATS.values() for suffix in suffixes)
"""File name endings by which images are found in folders."""

SEVERAL_IMAGES = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")
"""Formats whose files may hold several images that are shown one after the other. MPO and HEIC hold others beside the
one that is shown."""

_REDUCED = 254, 1  # tag and bit of a page that is a smaller copy of another (TIFF 6.0, NewSubfileType)

_SILENT_FORMATS = ("JPEG", "PNG")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")

_JPEG_END = b"\xff\xd9"
_ORIENTATION_TAG = 0x0112
_REMOTE = ("http://", "https://")


def is_url(source: object) -> bool:
    """Whether `source` is a string with an http(s) address."""
    return isinstance(source, str) and source.lower().startswith(_REMOTE)


def is_image_path(path: str | Path) -> bool:
    """Whether the ending of a file name (or URL) is that of an image; the file itself is not looked at."""
    name = urlsplit(path).path if isinstance(path, str) and is_url(path) else str(path)
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def local_path(source: str | Path) -> Path:
    """Path of a local file given as a path or as a `file://` address."""
    if isinstance(source, str) and source.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(source).path))
    return Path(source)


def load_image(source: Any, *, timeout: float = 30.0, max_side: int | None = None) -> np.ndarray:
    """Read one image.

    Args:
        source: a path, a `file://`, `http://` or `https://` address, the bytes of an image file, a PIL image, or a
            numpy array: uint8, gray (H, W) or (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4).
        timeout: seconds that a download may take.
        max_side: scale larger images down until their longer side has this many pixels. JPEGs are decoded at a half, a
            quarter or an eighth then where that is enough, which saves most of the time that large ones take.

    Returns:
        uint8 RGB array (H, W, 3). EXIF orientation is applied to files and PIL images. Alpha channels and transparent
        palette entries are dropped, so the color stored below them shows, as with `cv2.imread`; gray is repeated;
        16-bit samples are scaled to 8 bits by their high byte; of a file of several images the first is taken, and
        that is logged. A contiguous RGB array is returned as it is, without a copy.

    Raises:
        InputError: if the source cannot be read as an image, or for a `max_side` below 1.
    """
    if max_side is not None and max_side < 1:
        raise InputError(f"max_side is {max_side}, it must be 1 or more pixels.")
    image = _load(source, timeout, max_side)
    size = image.shape[1], image.shape[0]
    if max_side is None or max(size) <= max_side:
        return image
    import cv2

    return cv2.resize(image, _size_at_most(size, max_side), interpolation=cv2.INTER_AREA)


def _load(source: Any, timeout: float, max_side: int | None) -> np.ndarray:
    """The image, whose longer side may still have more than `max_side` pixels."""
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), "image given as bytes", len(source), max_side)
    if is_url(source):
        data = _download(source, timeout)
        return _decode(io.BytesIO(data), repr(source), len(data), max_side)
    if isinstance(source, (str, Path)):
        path = local_path(source)
        with open_to_read(path, "image") as file:
            return _decode(file, repr(str(path)), os.fstat(file.fileno()).st_size, max_side)
    if _is_pil_image(source):
        return _from_pil(source)
    raise InputError(
        f"An image of type {type(source).__name__} cannot be read: give a path, a URL, the bytes of a file, a PIL "
        "image or a numpy array (uint8, RGB, height x width x 3)."
    )


def _size_at_most(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Width and height after scaling down."""
    factor = min(max_side / max(size), 1.0)
    width, height = (max(round(side * factor), 1) for side in size)
    return width, height


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image file as it is shown, of most formats without decoding it.

    Raises:
        InputError: if it cannot be read.
    """
    from PIL import Image

    try:
        with _quiet(), Image.open(path) as image:
            width, height = image.size
            return (height, width) if _exif_orientation(image) in (5, 6, 7, 8) else (width, height)
    except Exception:  # what Pillow does not open by itself, and what is broken
        height, width = load_image(path).shape[:2]
        return width, height


def save_image(path: str | Path, image: np.ndarray, *, quality: int = 95) -> None:
    """Write an RGB image; the file appears whole or not at all.

    Args:
        path: where to; the ending chooses the format (see `SAVE_SUFFIXES`). Missing folders are made.
        image: uint8 RGB array (H, W, 3).
        quality: 0 to 100, for JPEG and WebP.

    Raises:
        InputError: if the ending is unknown or the format cannot hold the image.
    """
    import cv2

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SAVE_SUFFIXES:
        raise InputError(f"Cannot write {str(path)!r}: its ending must be one of {', '.join(SAVE_SUFFIXES)}.")
    jpeg, webp = (65500, [cv2.IMWRITE_JPEG_QUALITY, quality]), (16383, [cv2.IMWRITE_WEBP_QUALITY, quality])
    limit, options = {".jpg": jpeg, ".jpeg": jpeg, ".webp": webp}.get(suffix, (None, []))
    if limit is not None and max(image.shape[:2]) > limit:
        raise InputError(
            f"Cannot write {str(path)!r}: {suffix} files hold at most {limit} pixels a side, the image has "
            f"{image.shape[1]}x{image.shape[0]}. Choose another ending, such as .png."
        )
    _, data = cv2.imencode(suffix, cv2.cvtColor(_from_array(image), cv2.COLOR_RGB2BGR), options)
    with atomic_path(path) as partial:
        partial.write_bytes(data.data)


# ---- arrays and PIL images


def _from_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise InputError(
            f"An image given as an array must be of type uint8 with values 0 to 255, this one is {array.dtype}"
            f"{way_to_uint8(array)}"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = " It looks channels first: use array.transpose(1, 2, 0)."
        elif array.ndim == 4:
            hint = " For several images, give a list of arrays."
        raise InputError(
            "An image given as an array must have the shape (height, width), (height, width, 3) or (height, width, "
            f"4), this one has {array.shape}.{hint}"
        )
    if array.size == 0:
        raise InputError(f"An image given as an array has no pixels: its shape is {array.shape}.")
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])


def _is_pil_image(source: Any) -> bool:
    # PIL cannot be the type's home if it was never imported, so this costs no import.
    return any(base.__module__ == "PIL.Image" for base in type(source).__mro__)


def _from_pil(image: Image.Image) -> np.ndarray:
    try:
        with _quiet():
            image.load()
            orientation = _exif_orientation(image)
        return _to_array(image, orientation)
    except InputError:
        raise
    except Exception as error:  # a lazily opened file fails here in as many ways as there are formats
        raise InputError(f"The PIL image {image!r} cannot be decoded: {reason_of(error)}.") from error


def pil_pixels(image: Image.Image) -> np.ndarray:
    """A PIL image of any mode as uint8 RGB array (H, W, 3), as its pixels are stored: EXIF orientation is not applied.

    Raises:
        InputError: for a mode without an agreed range of brightness.
    """
    return _to_array(image, 1)


# Transpose method of PIL.Image by EXIF orientation (EXIF 2.3, tag 0x0112).
_TRANSPOSES = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def _to_array(image: Image.Image, orientation: int) -> np.ndarray:
    """Decoded PIL image of any mode -> uint8 RGB array (H, W, 3), turned upright."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_high_bytes(image))
    if orientation in _TRANSPOSES:
        image = image.transpose(Image.Transpose[_TRANSPOSES[orientation]])
    if image.mode == "RGB":
        return np.array(image)
    if "transparency" in image.info:
        image = image.copy()  # its info is changed below
        del image.info["transparency"]
    if image.mode in ("RGBa", "La"):  # premultiplied, which has no direct way to RGB
        image = image.convert(f"{image.mode[:-1]}A")
    return np.array(image.convert("RGB"))


def _high_bytes(image: Image.Image) -> np.ndarray:
    """PIL image of one channel with more than 8 bits -> uint8 array (H, W) of the high bytes of 16-bit samples."""
    # Pillow keeps the 16-bit samples of some files as 32-bit integers; other integers and floats have no agreed range.
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise InputError(
            f"An image of PIL mode {image.mode!r} (32 bits a pixel) has no agreed range of brightness. "
            "Scale it to 8 bits (0 to 255) before it is given."
        )
    return (np.asarray(image) >> 8).astype(np.uint8)


# ---- files


def _download(url: str, timeout: float) -> bytes:
    from huggingface_hub import get_session

    deadline = time.monotonic() + timeout
    data = bytearray()
    try:
        with get_session().stream("GET", url, timeout=timeout, follow_redirects=True) as response:
            if response.status_code != 200:
                raise InputError(
                    f"Cannot download {url!r}: the server answered {response.status_code} {response.reason_phrase}."
                )
            if response.headers.get("Content-Type", "").startswith("multipart/"):
                raise InputError(
                    f"{url!r} sends one image after the other, as cameras do. Give it as a camera: 'webcam:{url}'."
                )
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_DOWNLOAD_BYTES:
                    raise InputError(
                        f"{url!r} is larger than {MAX_DOWNLOAD_BYTES >> 20} MB, the limit for an image. Download it "
                        "and give the path."
                    )
                if time.monotonic() > deadline:
                    raise InputError(
                        f"{url!r} took longer than {timeout:g} s to download. Give a larger timeout, or the file."
                    )
    except InputError:
        raise
    except Exception as error:  # the client's base class of errors has another home in each major version of the hub
        raise InputError(
            f"Cannot download {url!r}: {reason_of(error)}. Check the address and the connection."
        ) from error
    return bytes(data)


def _decode(file: IO[bytes], name: str, size: int, max_side: int | None) -> np.ndarray:
    """Bytes of an image file -> RGB array; `name` and `size` (bytes) are for messages, `max_side` see `_load`."""
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes): it was probably not copied or downloaded to the end.")
    prefix = file.read(16)
    for format_name, factory, accept in _readers():
        if accept(prefix) is not True:
            continue
        try:
            with nullcontext() if format_name in _SILENT_FORMATS else _quiet():
                file.seek(0)
                image = factory(file, "")
                _check_size(image, name)
                if format_name in SEVERAL_IMAGES:
                    _tell_of_others(image, name)
                if format_name == "JPEG" and image.mode == "RGB" and _exif_orientation(image) not in _TRANSPOSES:
                    pixels = _decode_jpeg(file, _decoding_scale(image.size, max_side))
                    if pixels is not None:
                        return pixels
                if max_side is not None:
                    image.draft(None, _size_at_most(image.size, max_side))  # of which only JPEG takes notice
                image.load()
                orientation = _exif_orientation(image)  # after loading, by which Pillow turns TIFF
            return _to_array(image, orientation)
        except InputError:
            raise
        except MemoryError:
            raise InputError(f"{name} does not fit in memory.") from None
        except Exception as error:  # broken files fail in as many ways as there are formats
            raise InputError(
                f"{name} is a {format_name} image that is damaged or cut off: {reason_of(error)}. Copy or export it "
                "again."
            ) from error
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS:
        raise InputError(
            f"{name} is a HEIC image, as iPhones take them. To read it: `pip install pillow-heif`; or convert it to "
            "JPEG."
        )
    if prefix.startswith(b"PK\x03\x04"):
        raise InputError(f"{name} is a zip archive. Unpack it, and give the folder.")
    known = ", ".join(format_name for format_name, _, _ in _readers())
    raise InputError(
        f"{name} is no image that can be read, whatever its name says: it starts with {prefix[:8]!r}. "
        f"Expected one of {known}."
    )


def _tell_of_others(image: ImageFile.ImageFile, name: str) -> None:
    with suppress(Exception):  # what is damaged behind the first image does not concern it
        if (count := sum(1 for _ in shown_images(image))) > 1:
            _warn_of_others(name, count)
    if image.tell():
        image.seek(0)


@functools.lru_cache(maxsize=1000)
def _warn_of_others(name: str, count: int) -> None:
    """Say once of each file that others of its images are left out."""
    logger.warning(
        "%s holds %d images, and only the first is read. To read all of them, as frames of a video, give the path of "
        "the file to a pipeline.",
        name,
        count,
    )


def shown_images(image: ImageFile.ImageFile) -> Iterator[int]:
    """Numbers of the images in an opened file that are shown one after the other."""
    yield 0
    for number in range(1, getattr(image, "n_frames", 1)):
        if not _is_reduced(image, number):
            yield number


def _is_reduced(image: Any, number: int) -> bool:
    """Whether a page of a TIFF is a smaller copy of another."""
    if image.format != "TIFF":
        return False
    tag, bit = _REDUCED
    image.seek(number)
    return bool(image.tag_v2.get(tag, 0) & bit)


def _decoding_scale(size: tuple[int, int], max_side: int | None) -> int:
    """By how much a JPEG of a width and height can be divided and still be as large as it shall be."""
    if max_side is None:
        return 1
    return max(scale for scale in (1, 2, 4, 8) if scale == 1 or max(size) >= scale * max_side)


def _decode_jpeg(file: IO[bytes], scale: int) -> np.ndarray | None:
    """A JPEG with colors -> RGB array, sooner than by Pillow and with the same pixels; None for what Pillow shall
    judge.

    `scale`, 1, 2, 4 or 8, divides width and height.
    """
    import cv2

    file.seek(0)
    data = file.read()
    if not data.endswith(_JPEG_END):  # OpenCV fills up a file that was cut off
        return None
    # The flags of reduced sizes say nothing of the order of colors but for the bit that means BGR.
    reduced = 0 if scale == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{scale}") & ~cv2.IMREAD_COLOR
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION | reduced
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


@functools.cache
def _readers() -> tuple[tuple[str, Callable[..., ImageFile.ImageFile], Callable[[bytes], bool | str]], ...]:
    """(format, class that opens it, test of the first 16 bytes) of every format that is read.

    The classes are called here and not through `Image.open` because that warns about large images (`_check_size` is in
    its place) and about oddities of JPEG metadata that do not concern the pixels.
    """
    from PIL import Image, JpegImagePlugin

    class QuietJpeg(JpegImagePlugin.JpegImageFile):
        def _read_dpi_from_exif(self) -> None:
            """Leave out the resolution, whose reading warns when the EXIF block is broken."""

    for plugin, _ in _FORMATS.values():
        with suppress(ImportError):  # AVIF came later than the oldest Pillow that is supported
            if plugin:
                importlib.import_module(f"PIL.{plugin}ImagePlugin")
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    readers = [(name, *Image.OPEN[name]) for name in _FORMATS if name in Image.OPEN]
    return tuple(
        (name, QuietJpeg if name == "JPEG" else factory, accept) for name, factory, accept in readers if accept
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's remarks on odd but readable files.

    Filters of warnings belong to the whole process, so two threads that change them at once can leave them changed.
    The formats that people have thousands of files of are therefore read without this.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_size(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse what Pillow refuses, an image of more than twice `Image.MAX_IMAGE_PIXELS`, and say how to go on."""
    from PIL import Image

    pixels = image.width * image.height
    if Image.MAX_IMAGE_PIXELS is not None and pixels > 2 * Image.MAX_IMAGE_PIXELS:
        raise InputError(
            f"{name} has {image.width}x{image.height} pixels, more than Pillow's limit of "
            f"{2 * Image.MAX_IMAGE_PIXELS}. Scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file."
        )


def _exif_orientation(image: Image.Image) -> int:
    """Orientation (1 to 8) in an image's EXIF block, 1 where there is none or the block is broken."""
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken block fails in as many ways as there are cameras; the pixels do not need it
        return 1
