"""Anything that holds images as one stream of frames: paths, folders, videos, webcams, arrays, collections,
generators."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import numpy as np

from hfpose.errors import InputError
from hfpose.media.animations import is_animation
from hfpose.media.cameras import read_webcam
from hfpose.media.files import OUTPUT_MARKER, is_folder, read_lines
from hfpose.media.frames import Frame, ItemKind, MediaItem
from hfpose.media.image_folders import list_images
from hfpose.media.images import is_image_path, is_url, load_image, local_path
from hfpose.media.inputs import elements, plain_input
from hfpose.media.left_out import LeftOut
from hfpose.media.live import Live, LiveSource, read_in_step, read_live
from hfpose.media.naming import Namer, base_name
from hfpose.media.read_ahead import Job, read_ahead, read_in_turn
from hfpose.media.video import VIDEO_SUFFIXES, count_frames, is_stream, read_video

IMAGE_KEYS = ("image", "img")
"""Keys under which a dict, such as an item of a `datasets.Dataset`, holds its image."""

_LIST_SUFFIX = ".txt"
_PathKind = Literal["image", "video", "webcam", "stream", "folder", "list"]
_CAMERA = re.compile(r"(?:webcam:|/dev/video)?(\d+)|webcam", re.IGNORECASE)


@dataclass(frozen=True)
class _Options:
    recursive: bool = False
    skip: Callable[[MediaItem], bool] | None = None
    num_workers: int = 1
    read_ahead: int = 8
    timeout: float = 30.0
    index_digits: int = 10
    capture_factory: Callable[[int], Any] | None = None
    live: Live = "all"
    reconnect: float = 0.0


def open_source(
    inputs: Any,
    *,
    recursive: bool = False,
    skip: Callable[[MediaItem], bool] | None = None,
    num_workers: int = 1,
    read_ahead: int = 8,
    timeout: float = 30.0,
    index_digits: int = 10,
    capture_factory: Callable[[int], Any] | None = None,
    live: Live = "all",
    reconnect: float = 0.0,
) -> Source:
    """Turn whatever a pipeline is given into a stream of frames.

    Nothing is read yet. What cannot be read becomes a `Frame` with an error in its place, so that one bad input never
    loses the others; only an exception inside a generator of the caller goes through to the caller.

    Args:
        inputs: one image (all that `load_image` takes, or a dict with one under `"image"` or `"img"`), a video (path
            or URL), a folder (its images, sorted by name), a list file (`.txt`: a path or URL in each line, relative
            to the file's folder), a webcam (`"webcam"`, `"webcam:1"`, `1` or `"/dev/video1"`), a network stream
            (`rtsp://`, `rtmp://`, `udp://`, `srt://`, HLS: `http://.../live.m3u8`), a camera in the network
            (`http://.../video.mjpg` or, whatever its address ends with, `webcam:http://.../video`), a 4D array (a
            stack of images), or a collection of these: list, generator, `datasets.Dataset`, transformers'
            `KeyDataset`, anything iterable.
        recursive: whether to look for images in the subfolders of a folder too.
        skip: called with each item before it is read; true leaves it out.
        num_workers: threads that decode images. With at least one, frames are read ahead in the background, and a
            generator is run there too; with 0 everything happens in the thread that iterates.
        read_ahead: how many frames may wait in memory.
        timeout: seconds that a download, or waiting for a video behind a URL, may take.
        index_digits: digits of the names of items without one, such as arrays, which are named by their number.
        capture_factory: opens a camera by number, as `cv2.VideoCapture` does, which is the default.
        live: of webcams and network streams give `"all"` frames, or the `"latest"` and drop what came before it. Where
            there are several, they are read at the same time, after all other inputs.
        reconnect: seconds for which it is tried to open a webcam or network stream again that was lost.

    Raises:
        InputError: if `inputs` are none of this, or `live` is neither.
    """
    if live not in get_args(Live):
        raise InputError(f"live is {live!r}; expected 'latest' or 'all'.")
    ahead = max(1, read_ahead)
    options = _Options(recursive, skip, num_workers, ahead, timeout, index_digits, capture_factory, live, reconnect)
    return Source(inputs, options)


def open_frames(frames: Callable[[], Iterable[Frame]]) -> Source:
    """A source of frames that `frames` makes, called each time it is iterated; they are read ahead in the
    background."""
    return _FrameSource(frames)


class Source:
    """A stream of frames, made by `open_source`: iterable, and a context manager that stops reading at its end.

    Leaving a loop over it early, by `break` or by an exception, stops the reading too. Lists, folders and files can be
    iterated again, generators once.
    """

    def __init__(self, inputs: Any, options: _Options) -> None:
        self.is_list = isinstance(inputs, (list, tuple))
        """Whether all results are wanted at once: of a list, a tuple, an array of them, or a stack of images."""
        is_array = isinstance(inputs, np.ndarray)
        inputs = plain_input(inputs)
        self.is_list |= is_array and isinstance(inputs, list)
        self.is_list |= isinstance(inputs, np.ndarray) and inputs.ndim == 4
        self._inputs = inputs
        self._options = options
        self._readers: list[Generator[Frame, None, None]] = []
        self.left_out = LeftOut()
        """What looks like an input and was not read, complete once the source was iterated to its end."""
        self.on_frame: Callable[[Frame], object] | None = None
        """Called with each frame that is handed over: results may wait for the end of a video."""
        if isinstance(inputs, Mapping) and not _is_image(inputs):
            raise InputError(_no_image(inputs))
        if not isinstance(inputs, (str, Path)) and not _is_image(inputs) and not _is_collection(inputs):
            raise InputError(
                f"Cannot read images from {type(inputs).__name__}: give a path, a URL, a folder, 'webcam', a PIL "
                "image, a numpy array, a torch tensor, an open file, or a list or generator of these."
            )
        if self._kind == "folder" and is_image_path(inputs) and not str(inputs).endswith(("/", os.sep)):
            raise InputError(
                f"{str(inputs)!r} is a folder, though it is named as an image. To read the images in it give "
                f"{str(inputs) + os.sep!r}."
            )

    @functools.cached_property
    def _kind(self) -> _PathKind | None:
        """What a path or an address leads to; None for other inputs."""
        return _path_kind(self._inputs) if isinstance(self._inputs, (str, Path)) else None

    @property
    def is_single(self) -> bool:
        """Whether the input is one image, so that one result is expected and not a stream."""
        return _is_image(self._inputs) if self._kind is None else self._kind == "image"

    @property
    def is_video(self) -> bool:
        """Whether the input is one video, webcam or network stream."""
        return self._kind in ("video", "webcam", "stream")

    @property
    def is_live(self) -> bool:
        """Whether a webcam or a network stream, whose images are wanted at once, is an input or in the list of
        inputs."""
        return any(isinstance(each, (str, int)) and is_live(str(each)) for each in self._values)

    @property
    def is_stream(self) -> bool:
        """Whether the frames follow each other in time or their number is unknown: video, webcam, network stream,
        generator."""
        if self._kind is not None:
            return self.is_video
        return _is_collection(self._inputs) and not isinstance(self._inputs, Sized)

    @functools.cached_property
    def num_frames(self) -> int | None:
        """How many frames there will be if nothing is skipped or fails, as far as that is known without reading
        them."""
        if self._is_unlisted:
            return len(self._inputs) if isinstance(self._inputs, Sized) else None
        counts = [_count_frames(leaf, self._options) for leaf in self._leaves()]
        return None if None in counts else sum(count for count in counts if count is not None)

    def file_places(self) -> tuple[set[Path], set[Path]]:
        """The subfolders that output names lie in, and all local input files with their folders, resolved, as far as
        they are known without reading. Of folders only the folders themselves are listed, since they may hold millions
        of files.
        """
        subfolders, inputs = {Path()}, set()
        for value in self._values:
            if not isinstance(value, (str, Path)) or is_url(value):
                continue
            if _path_kind(value) not in ("image", "video", "folder"):
                continue
            path = local_path(value)
            inputs |= {path.resolve(), path.resolve() if is_folder(path) else path.resolve().parent}
            if is_folder(path) and self._options.recursive:
                below = {Path(current) for current, _, _ in os.walk(path)}
                subfolders |= {folder.relative_to(path) for folder in below}
                inputs |= {folder.resolve() for folder in below if not (folder / OUTPUT_MARKER).exists()}
        return subfolders, inputs

    def count_items(self, *kinds: ItemKind) -> int | None:
        """How many inputs of some kinds there are, as far as that is known without reading them."""
        if self._is_unlisted:
            return None
        return sum(leaf.kind in kinds for leaf in self._leaves())

    @property
    def _values(self) -> Sequence[Any]:
        """The inputs of a list, or the one input."""
        return self._inputs if isinstance(self._inputs, (list, tuple)) else [self._inputs]

    @property
    def _is_unlisted(self) -> bool:
        """Whether the inputs are known when they are read: a data set or a generator."""
        return _is_collection(self._inputs) and not isinstance(self._inputs, (list, tuple))

    def __iter__(self) -> Iterator[Frame]:
        reader = self._frames()
        self._readers.append(reader)
        return reader

    def _frames(self) -> Generator[Frame, None, None]:
        with closing(self._read()) as frames:
            for frame in frames:
                if self.on_frame is not None:
                    self.on_frame(frame)
                yield frame

    def _read(self) -> Generator[Frame, None, None]:
        options = self._options
        live: list[LiveSource] = []
        if options.num_workers < 1 or self.is_single:  # there is nothing to read ahead of one image
            yield from read_in_turn(self._jobs(live))
        else:
            yield from read_ahead(self._jobs(live), options.num_workers, options.read_ahead)
        yield from read_in_step(live) if options.num_workers < 1 else read_live(live, options.live)

    def close(self) -> None:
        """Stop reading and release files and cameras."""
        while self._readers:
            self._readers.pop().close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _leaves(self, left_out: LeftOut | None = None) -> Iterator[_Leaf]:
        left_out = LeftOut() if left_out is None else left_out
        return _leaves(self._inputs, self._options.recursive, left_out, self._kind)

    def items(self) -> Iterator[tuple[MediaItem, str | None]]:
        """The inputs, and of those that cannot be read why, as far as listing them tells. Nothing is read."""
        for item, leaf in self._items():
            yield item, leaf.error

    def _items(self) -> Iterator[tuple[MediaItem, _Leaf]]:
        namer = Namer(self._options.index_digits)
        for index, leaf in enumerate(self._leaves(self.left_out)):
            suffix = Path(leaf.source).suffix if leaf.source and leaf.kind in ("image", "video") else ""
            name = namer.index_name(index) if leaf.name is None else namer.unique(leaf.name, suffix)
            item = MediaItem(index, leaf.kind, name, leaf.source)
            if self._options.skip is None or not self._options.skip(item):
                yield item, leaf

    def _jobs(self, live: list[LiveSource]) -> Generator[Job, None, None]:
        """Frames of videos, which are decoded in order, and for each image a function that decodes it. What is live is
        added to a list."""
        options = self._options
        for item, leaf in self._items():
            if leaf.error is not None:
                yield Frame(item, error=leaf.error)
            elif leaf.kind == "webcam":
                connect = functools.partial(read_webcam, item, leaf.payload, options.capture_factory)
                live.append(LiveSource(item, connect, options.reconnect))
            elif leaf.kind == "stream":
                connect = functools.partial(read_video, item, leaf.payload, options.timeout)
                live.append(LiveSource(item, connect, options.reconnect))
            else:
                yield from _read_file(item, leaf.payload, options.timeout)


def _read_file(item: MediaItem, payload: Any, timeout: float) -> Iterator[Job]:
    if item.kind in ("video", "stream"):
        yield from read_video(item, payload, timeout)
    else:
        yield functools.partial(_read_image, item, payload, timeout)


def open_items(items: Sequence[MediaItem]) -> Source:
    """A source of some of the files that another source has listed, under the names and numbers that they have
    there."""
    source = _FrameSource(lambda: (job for item in items for job in _read_file(item, item.source, _Options.timeout)))
    source.is_video = len(items) == 1 and items[0].kind == "video"
    return source


class _FrameSource(Source):
    """See `open_frames`."""

    is_video = False
    num_frames: Any = None

    def __init__(self, frames: Callable[[], Iterable[Job]]) -> None:
        super().__init__([], _Options())
        self._make_frames = frames

    def count_items(self, *kinds: ItemKind) -> None:
        """Not known."""

    def _jobs(self, live: list[LiveSource]) -> Generator[Job, None, None]:
        yield from self._make_frames()


@dataclass(frozen=True)
class _Leaf:
    """One item of the inputs before it is numbered; `payload` is what to read, `name` the wished base name."""

    kind: ItemKind
    payload: Any = None
    name: str | None = None
    source: str | None = None
    error: str | None = None


def _is_image(value: Any) -> bool:
    """Whether a value that is no path stands for one image (in whatever shape, to be judged by `load_image`)."""
    if isinstance(value, np.ndarray):
        return value.ndim != 4
    if isinstance(value, Mapping):
        return not value.keys().isdisjoint((*IMAGE_KEYS, "bytes"))
    # Of the type, since asking a PIL image decodes it.
    return isinstance(value, (bytes, bytearray, memoryview)) or hasattr(type(value), "__array_interface__")


def _is_collection(value: Any) -> bool:
    if isinstance(value, (str, Path, Mapping)) or _is_image(value):
        return False
    return isinstance(value, Iterable) or hasattr(value, "__getitem__")


def _path_kind(source: str | Path) -> _PathKind:
    if (live := _live_kind(source)) is not None:
        return live
    if is_url(source):
        return "video" if Path(urlsplit(str(source)).path).suffix.lower() in VIDEO_SUFFIXES else "image"
    path = local_path(source)
    if is_folder(path):
        return "folder"
    if path.suffix.lower() == _LIST_SUFFIX:
        return "list"
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES or is_animation(path) else "image"


def is_live(source: str | Path) -> bool:
    """Whether a path or an address leads to a webcam or a network stream; no file is opened."""
    return _live_kind(source) is not None


def _live_kind(source: str | Path) -> Literal["webcam", "stream"] | None:
    text = str(source)
    if is_stream(source):
        return "stream"
    if isinstance(source, str) and (_camera(text) is not None or text.lower().startswith("webcam:")):
        return "webcam"
    return None


def _camera(text: str) -> int | None:
    """The number of the camera that a text names, None for other texts. Files go before numbers."""
    found = _CAMERA.fullmatch(text)
    if found is None or (text.isdecimal() and Path(text).exists()):
        return None
    return int(found[1] or 0)


def _leaves(inputs: Any, recursive: bool, left_out: LeftOut, kind: _PathKind | None = None) -> Iterator[_Leaf]:
    """The single items of any input, folders and collections opened."""
    if isinstance(inputs, (str, Path)):
        yield from _path_leaves(inputs, recursive, left_out, kind)
    elif _is_image(inputs):
        yield _image_leaf(inputs)
    else:
        for value in elements(inputs):
            yield from _value_leaves(value, recursive, left_out)


def _value_leaves(value: Any, recursive: bool, left_out: LeftOut) -> Iterator[_Leaf]:
    """Leaf of an item of a collection that is no path, or may become one."""
    try:
        if isinstance(value, InputError):
            raise value
        plain = plain_input(value)
    except InputError as error:
        yield _Leaf("image", error=str(error))
        return
    if isinstance(plain, (str, Path)) or (isinstance(plain, list) and isinstance(value, str)):
        for path in plain if isinstance(plain, list) else [plain]:
            yield from _path_leaves(path, recursive, left_out)
    else:
        yield _image_leaf(plain)


def _path_leaves(
    source: str | Path, recursive: bool, left_out: LeftOut, kind: _PathKind | None = None
) -> Iterator[_Leaf]:
    kind = kind or _path_kind(source)
    if kind == "folder":
        yield from _folder_leaves(local_path(source), recursive, left_out)
    elif kind == "list":
        yield from _list_leaves(local_path(source), recursive, left_out)
    elif kind == "webcam":
        number = _camera(str(source))
        error = f"{source!r} names no camera: expected 'webcam', 'webcam:1', '1' or '/dev/video1'."
        yield _Leaf("webcam", number, "webcam", str(source), error if number is None else None)
    else:
        yield _Leaf(kind, source, base_name(source), str(source))


def _list_leaves(path: Path, recursive: bool, left_out: LeftOut) -> Iterator[_Leaf]:
    """What the lines of a list file name; empty lines and those that begin with `#` are comments."""
    try:
        for line in read_lines(path, "list of inputs"):
            if not line or line.startswith("#"):
                continue
            if is_url(line) or is_live(line):
                yield from _path_leaves(line, recursive, left_out)
            elif _path_kind(entry := path.parent / line) == "list":
                yield _Leaf("image", None, base_name(entry), str(entry), f"{str(path)!r} lists another list.")
            else:
                yield from _path_leaves(entry, recursive, left_out)
    except InputError as error:
        yield _Leaf("image", None, base_name(path), str(path), str(error))


def _folder_leaves(folder: Path, recursive: bool, left_out: LeftOut) -> Iterator[_Leaf]:
    found = False
    try:
        for path in list_images(folder, recursive, left_out):
            found = True
            name = path.relative_to(folder).with_name(base_name(path)).as_posix()
            yield _Leaf("image", path, name, str(path))
    except OSError as error:
        failure = f"Cannot list the folder {str(folder)!r}: {error.strerror}."
        yield _Leaf("image", None, folder.name, str(folder), failure)
        return
    if not found:
        hint = "" if recursive else " To look into its subfolders, set recursive (`--recursive`)."
        yield _Leaf("image", None, folder.name, str(folder), f"The folder {str(folder)!r} holds no images.{hint}")


def _no_image(value: Mapping[Any, Any]) -> str:
    keys = ", ".join(map(repr, value))
    return f"A dict must hold its image under 'image' or 'img'; this one has the keys {keys}."


def _image_leaf(value: Any) -> _Leaf:
    """Leaf of a value that is no path: array, PIL image, bytes, or a dict with one of these or a path."""
    if isinstance(value, Mapping):
        key = next((key for key in IMAGE_KEYS if key in value), None)
        if key is not None:
            if isinstance(value[key], (list, tuple)):
                return _Leaf(
                    "image", error=f"Several images under one {key!r}, as in a slice: give data[{key!r}] alone."
                )
            try:
                return _image_leaf(plain_input(value[key]))
            except InputError as error:
                return _Leaf("image", error=str(error))
        if value.get("bytes") is not None or value.get("path") is not None:  # an image that `datasets` did not decode
            path = value.get("path")
            payload = path if value.get("bytes") is None else value["bytes"]
            return _Leaf("image", payload, base_name(path) if path else None, path)
        return _Leaf("image", error=_no_image(value))
    if isinstance(value, (str, Path)):
        return _Leaf("image", value, base_name(value), str(value))
    if isinstance(value, (list, tuple)):
        return _Leaf("image", error=f"A {type(value).__name__} inside a collection is not read: give one flat list.")
    path = getattr(value, "filename", None)  # PIL images that were opened from a file know it
    if isinstance(path, str) and path:
        return _Leaf("image", value, base_name(path), path)
    return _Leaf("image", value)


def _count_frames(leaf: _Leaf, options: _Options) -> int | None:
    if leaf.kind == "image" or leaf.error is not None:
        return 1
    if leaf.kind in ("webcam", "stream"):
        return None
    try:
        return count_frames(leaf.payload, options.timeout)
    except InputError:
        return 1


def _read_image(item: MediaItem, payload: Any, timeout: float) -> Frame:
    try:
        return Frame(item, load_image(payload, timeout=timeout))
    except InputError as error:
        return Frame(item, error=str(error))
