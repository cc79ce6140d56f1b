"""Arrays of other types than those of images."""

from __future__ import annotations

import numpy as np


def way_to_uint8(array: np.ndarray) -> str:
    """The rest of a sentence on how an array (H, W, C) of another type becomes uint8 without loss, by its values."""
    kind = array.dtype.kind
    if kind == "b":
        return ". Convert it with array.astype(numpy.uint8) * 255."
    if kind not in "iuf" or not array.size:
        return "."
    least, greatest = float(array.min()), float(array.max())  # float16 cannot be compared with 65535
    if not (least >= 0 and greatest <= np.iinfo(np.uint16).max):  # NaN too
        return f" with values from {least:g} to {greatest:g}. Give the image as it was before it was normalized."
    if greatest > 255:
        way = "array >> 8" if kind in "iu" else "array / 257"
        return f" with values up to {greatest:g}. Convert it with ({way}).astype(numpy.uint8) if they use 16 bits."
    if kind == "f" and greatest <= 1:
        return ". Convert it with (array * 255).round().astype(numpy.uint8) if its values are between 0 and 1."
    return ". Its values are between 0 and 255: convert it with array.astype(numpy.uint8)."
