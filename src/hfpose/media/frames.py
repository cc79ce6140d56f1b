"""What a stream of images is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np

ItemKind = Literal["image", "video", "webcam", "stream"]

DEFAULT_FPS = 30.0
"""Frames per second of a video that does not state them."""


@dataclass(frozen=True)
class MediaItem:
    """One image, video, webcam or network stream among the inputs.

    Args:
        index: number of the item, from 0. The images of a folder are items of their own.
        kind: what it is. Inputs that turn out to be unreadable count as images.
        name: base name for output files, without ending, different for each item of a source and the same in each run
            over the same inputs. With `recursive` it may lie in subfolders (`a/b`).
        source: path or URL that it comes from; None for arrays and the like.
    """

    index: int
    kind: ItemKind
    name: str
    source: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is a webcam or a network stream, which may end no other way than by breaking off."""
        return self.kind in ("webcam", "stream")


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself.

    Args:
        fps: frames per second, of a variable rate the mean; None if unknown.
        width: in pixels as shown.
        height: the same.
        num_frames: the number in the file, which need not be the number of frames that can be read; None if unknown.
        time_base: seconds that the container's times are multiples of; None if unknown.
    """

    fps: float | None
    width: int
    height: int
    num_frames: int | None
    time_base: Fraction | None = field(default=None, compare=False)


@dataclass(eq=False)
class Frame:
    """One image of a stream, or the reason why there is none.

    Args:
        item: the input that it belongs to.
        image: uint8 RGB array (H, W, 3), or None if there is an error.
        error: why the input could not be read (any further), or None.
        frame_index: number in the video, from 0, counting frames of a live source that are dropped; None for images
            and for errors that concern the whole video.
        video: what is known of the video, or None for images.
        timestamp: seconds since the beginning of the video, from its container, or of the recording of a webcam; None
            where it is not known.
        received: of a live source: when the frame came, in seconds of a clock that only grows.
    """

    item: MediaItem
    image: np.ndarray | None = None
    error: str | None = None
    frame_index: int | None = None
    video: VideoInfo | None = None
    timestamp: float | None = None
    received: float | None = None

    @property
    def name(self) -> str:
        """Base name for output files, see `MediaItem`."""
        return self.item.name

    @property
    def source(self) -> str | None:
        """Path or URL that the frame comes from; None for arrays and the like."""
        return self.item.source

    @property
    def fps(self) -> float:
        """Frames per second of its video, see `DEFAULT_FPS`."""
        return (self.video and self.video.fps) or DEFAULT_FPS
