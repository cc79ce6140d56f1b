"""What a stream of images is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class MediaItem:
    """One image, video or webcam among the inputs.

    Args:
        index: number of the item, from 0. The images of a folder are items of their own.
        kind: what it is. Inputs that turn out to be unreadable count as images.
        name: base name for output files, without ending, different for each item of a source and the same in each run
            over the same inputs. With `recursive` it may lie in subfolders (`a/b`).
        source: path or URL that it comes from; None for arrays and the like.
    """

    index: int
    kind: Literal["image", "video", "webcam"]
    name: str
    source: str | None = None


@dataclass(frozen=True)
class VideoInfo:
    """What a video says about itself: frames per second (None if unknown), size in pixels as shown, and number of frames
    (None if unknown; the number in the file, which need not be the number of frames that can be read)."""

    fps: float | None
    width: int
    height: int
    num_frames: int | None


@dataclass(eq=False)
class Frame:
    """One image of a stream, or the reason why there is none.

    Args:
        item: the input that it belongs to.
        image: uint8 RGB array (H, W, 3), or None if there is an error.
        error: why the input could not be read (any further), or None.
        frame_index: number in the video, from 0; None for images and for errors that concern the whole video.
        video: what is known of the video, or None for images.
        seconds: time of the frame in the video, or None where it is not known.
    """

    item: MediaItem
    image: np.ndarray | None = None
    error: str | None = None
    frame_index: int | None = None
    video: VideoInfo | None = None
    seconds: float | None = None

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def source(self) -> str | None:
        return self.item.source
