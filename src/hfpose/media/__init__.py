"""Images, videos and cameras in, results out: `images` and `sources` read, `writers` writes."""

from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.images import load_image, save_image
from hfpose.media.motions import MotionOptions
from hfpose.media.sources import Source, open_source
from hfpose.media.tracks import save_motion
from hfpose.media.writers import WriterGroup, open_writers

__all__ = [
    "Frame",
    "MediaItem",
    "MotionOptions",
    "Source",
    "VideoInfo",
    "WriterGroup",
    "load_image",
    "open_source",
    "open_writers",
    "save_image",
    "save_motion",
]
