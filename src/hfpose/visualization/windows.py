"""A window on the screen, through OpenCV."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from hfpose.errors import InputError
from hfpose.visualization.canvas import check_image

VIDEO_WAIT = 1e-5
"""Seconds for which a frame of a video is shown: until the next one is ready."""

_STOP_KEYS = (27, ord("q"))  # Esc
_POLL_SECONDS = 0.05
_ADVICE = "Write files instead (out_dir, vis_out_dir), or show on a machine with a screen."


class Window:
    """Shows one image after the other, and a context manager that closes the window at its end.

    Raises:
        InputError: if there is no screen.
    """

    def __init__(self, title: str) -> None:
        check_screen()
        self._title = title
        self._is_open = False
        self._tells_closing = False

    def show(self, image: np.ndarray, wait_time: float = 0.0) -> bool:
        """Show an RGB image (H, W, 3).

        Args:
            wait_time: seconds until this returns, or a key is pressed; 0 waits for a key.

        Returns:
            Whether to go on: False after Esc or q, or when the window was closed.
        """
        check_image(image)
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_AUTOSIZE)
            cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        except cv2.error as error:
            raise InputError(
                f"This build of OpenCV cannot show windows ({error.err or error}); opencv-python can, "
                f"opencv-python-headless cannot. {_ADVICE}"
            ) from error
        if not self._is_open:
            self._is_open = True
            self._tells_closing = self._is_visible()  # not every window system does
        return self._wait(wait_time)

    def close(self) -> None:
        """Take the window from the screen."""
        if self._is_open:
            self._is_open = False
            with suppress(cv2.error):  # it is gone already
                cv2.destroyWindow(self._title)
                cv2.waitKey(1)  # lets the window system work off what is due

    def _wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds if seconds > 0 else float("inf")
        while True:
            remaining = max(0.0, min(_POLL_SECONDS, end - time.monotonic()))
            key = cv2.waitKey(max(1, round(remaining * 1000)))
            if key & 0xFF in _STOP_KEYS or (self._tells_closing and not self._is_visible()):
                return False
            if key != -1 or time.monotonic() >= end:
                return True

    def _is_visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt has ended with its last window
            return False

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_screen() -> None:
    """Raises InputError where a window would fail. OpenCV's Qt ends the whole process then, so it is not tried."""
    if not sys.platform.startswith("linux"):
        return
    display = os.environ.get("DISPLAY")
    if display:
        if not _x_server_answers(display):
            raise InputError(f"There is no screen to show on: nothing answers at DISPLAY={display!r}. {_ADVICE}")
    elif not os.environ.get("WAYLAND_DISPLAY"):
        raise InputError(
            f"There is no screen to show on: neither DISPLAY nor WAYLAND_DISPLAY is set in the environment. {_ADVICE}"
        )
    elif not _knows_wayland():
        raise InputError(
            "This build of OpenCV shows windows through X alone, and there is only Wayland (DISPLAY is not set). Run "
            f"XWayland. Or: {_ADVICE}"
        )


def _x_server_answers(display: str) -> bool:
    """Whether a server listens where `host:number.screen` says; without a host it is a socket of this machine."""
    host, _, number = display.rpartition(":")
    try:
        server = int(number.split(".")[0])
        if host not in ("", "unix"):
            socket.create_connection((host, 6000 + server), timeout=3).close()
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as local:
            try:
                local.connect(f"/tmp/.X11-unix/X{server}")
            except OSError:
                local.connect(f"\0/tmp/.X11-unix/X{server}")
        return True
    except (OSError, ValueError):
        return False


def _knows_wayland() -> bool:
    """Whether OpenCV's own Qt, which packages from PyPI bring along, can speak to Wayland; True if it has none."""
    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    return not plugins.is_dir() or any(plugins.glob("*wayland*"))
