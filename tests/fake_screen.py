"""Stands in for the screen that OpenCV shows windows on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

NO_KEY = -1


@dataclass
class FakeScreen:
    """Keeps what is shown, and has keys pressed.

    Args:
        shown: window titles and the images (RGB) that they showed, in order.
        waits: milliseconds of each wait for a key.
        keys: what is pressed, one for each wait; nothing where it is empty.
        open: titles of the windows that are on the screen.
    """

    shown: list[tuple[str, np.ndarray]] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    open: set[str] = field(default_factory=set)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeScreen:
        monkeypatch.setattr("hfpose.visualization.windows.check_screen", lambda: None)
        monkeypatch.setattr(cv2, "namedWindow", lambda title, flags=0: self.open.add(title))
        monkeypatch.setattr(cv2, "imshow", self._show)
        monkeypatch.setattr(cv2, "waitKey", self._wait)
        monkeypatch.setattr(cv2, "destroyWindow", self.open.discard)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda title, prop: float(title in self.open))
        return self

    def _show(self, title: str, image: np.ndarray) -> None:
        self.shown.append((title, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)))

    def _wait(self, delay: int = 0) -> int:
        self.waits.append(delay)
        time.sleep(delay / 1000)
        return self.keys.pop(0) if self.keys else NO_KEY
