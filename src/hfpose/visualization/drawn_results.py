"""Results seen: drawn on their image, saved, shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hfpose.errors import InputError
from hfpose.media.files import output_path, write_text
from hfpose.media.images import SAVE_SUFFIXES, load_image, save_image
from hfpose.media.sources import is_live
from hfpose.media.video import read_frame
from hfpose.results import PoseOutput
from hfpose.visualization.poses import draw_poses
from hfpose.visualization.poses_3d import draw_poses_side_by_side

_TIMEOUT = 30.0  # seconds for images behind a URL


def draw_result(output: PoseOutput, image: Any = None, **options: Any) -> np.ndarray:
    """The result drawn on its image: 2D keypoints, or these with the 3D skeletons beside them.

    Args:
        image: RGB image, or a path, URL or PIL image of it. Default: the one that the result is of, read again from
            its `source` where it is not kept.
        options: of `draw_poses`, in 3D of `draw_poses_side_by_side`; `keypoint_threshold` is by default that of the
            call which gave the result.

    Returns:
        RGB image (H, W, 3), uint8.

    Raises:
        InputError: if there is no image to draw on.
    """
    pixels = result_image(output) if image is None else load_image(image)
    draw = draw_poses_side_by_side if output.keypoints.shape[2] == 3 else draw_poses
    if output.keypoint_threshold is not None:
        options = {"keypoint_threshold": output.keypoint_threshold, **options}
    return draw(pixels, output, **options)


def result_image(output: PoseOutput) -> np.ndarray:
    """The image (H, W, 3), uint8, RGB, that a result is of.

    Raises:
        InputError: if it is not kept and cannot be read again.
    """
    if output.image is not None:
        return output.image
    if output.source is None or is_live(output.source):
        raise InputError("This result does not keep its image and has no file to read it from. Give it: draw(image).")
    if output.frame_index is None:
        return load_image(output.source)
    image = read_frame(output.source, output.frame_index, output.timestamp, _TIMEOUT)
    if image is None:
        raise InputError(
            f"Frame {output.frame_index} of {output.source!r} cannot be read again. Give its image: draw(image)."
        )
    return image


def save_result(output: PoseOutput, path: str | Path, **options: Any) -> None:
    """Write the drawn result as an image, or the result as JSON, by the ending of the path.

    Raises:
        InputError: for another ending or an address, if there is no image to draw on, or if the path is that of the
            input.
    """
    source, path = Path(output.source or ""), output_path(path)
    if source.is_file() and path.exists() and source.samefile(path):
        raise InputError(f"{str(path)!r} is the input that this result is of; give another name.")
    if path.suffix.lower() == ".json":
        write_text(path, output.to_json(indent=2) + "\n")
    elif path.suffix.lower() not in SAVE_SUFFIXES:
        raise InputError(
            f"Cannot write {str(path)!r}: its ending must be .json or one of {', '.join(SAVE_SUFFIXES)}. Tables are "
            "written by pandas: `to_dataframe().to_csv(...)`."
        )
    else:
        save_image(path, draw_result(output, **options))


def show_result(output: PoseOutput, **options: Any) -> None:
    """Show the drawn result: in a notebook below the cell, else in the system's image viewer."""
    image = Image.fromarray(draw_result(output, **options))
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython, display = lambda: None, None
    if getattr(get_ipython(), "kernel", None) is not None and display is not None:
        display(image)
    else:
        image.show()


def result_png(output: PoseOutput) -> bytes | None:
    """The drawn result as the bytes of a PNG file, for notebooks; None where there is no image."""
    try:
        pixels = output.visualization if output.visualization is not None else draw_result(output)
    except InputError:
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
