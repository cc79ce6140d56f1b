"""Windows: what they show, how long they wait, and machines without a screen."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from fake_screen import NO_KEY
from hfpose.errors import InputError
from hfpose.visualization import Window

SPACE, ESCAPE = 32, 27


def image(red: int = 200) -> np.ndarray:
    return np.full((20, 30, 3), (red, 10, 0), np.uint8)


def test_images_are_shown_in_one_window_with_their_colors(screen):
    with Window("clip") as window:
        window.show(image(), wait_time=1e-5)
        window.show(image(100), wait_time=1e-5)
        assert screen.open == {"clip"}
    assert [title for title, _ in screen.shown] == ["clip", "clip"]
    np.testing.assert_array_equal(screen.shown[1][1], image(100))
    assert screen.open == set()


def test_an_image_stays_for_its_time(screen):
    start = time.monotonic()
    assert Window("w").show(image(), wait_time=0.15)
    assert 0.15 <= time.monotonic() - start < 10
    assert sum(screen.waits) >= 1


def test_no_time_means_until_a_key_is_pressed(screen):
    screen.keys = [NO_KEY, NO_KEY, NO_KEY, SPACE]
    assert Window("w").show(image())
    assert len(screen.waits) == 4


@pytest.mark.parametrize("key", [ESCAPE, ord("q")])
def test_some_keys_end_the_show(screen, key):
    screen.keys = [NO_KEY, key]
    assert not Window("w").show(image())


def test_closing_the_window_ends_the_show(screen, monkeypatch):
    def press_the_cross(delay=0):
        screen.open.clear()
        return NO_KEY

    monkeypatch.setattr(cv2, "waitKey", press_the_cross)
    assert not Window("w").show(image())


def test_a_build_without_windows_is_explained(screen, monkeypatch):
    def refuse(*_):
        raise cv2.error("The function is not implemented")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(InputError, match="opencv-python-headless cannot"):
        Window("w").show(image())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a screen")
class TestWithoutScreen:
    @pytest.fixture(autouse=True)
    def bare_environment(self, monkeypatch):
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def test_no_screen_at_all(self):
        with pytest.raises(InputError, match="neither DISPLAY nor WAYLAND_DISPLAY"):
            Window("w")

    @pytest.mark.parametrize("display", [":4321", ":4321.0", "127.0.0.1:1", "nonsense"])
    def test_a_screen_that_is_gone(self, monkeypatch, display):
        monkeypatch.setenv("DISPLAY", display)
        with pytest.raises(InputError, match="nothing answers"):
            Window("w")

    def test_a_screen_of_another_machine(self, monkeypatch):
        with socket.socket() as server:
            try:
                server.bind(("127.0.0.1", 6017))
            except OSError:
                pytest.skip("port 6017 is taken")
            server.listen()
            monkeypatch.setenv("DISPLAY", "127.0.0.1:17.0")
            Window("w")

    def test_wayland_alone_is_not_enough_for_a_qt_that_does_not_know_it(self, monkeypatch, tmp_path):
        plugins = tmp_path / "qt" / "plugins" / "platforms"
        plugins.mkdir(parents=True)
        (plugins / "libqxcb.so").touch()
        monkeypatch.setattr(cv2, "__file__", str(tmp_path / "__init__.py"))
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
        with pytest.raises(InputError, match="XWayland"):
            Window("w")
        (plugins / "libqwayland-egl.so").touch()
        Window("w")


REAL = """
import numpy as np
from hfpose.visualization import Window
with Window("real") as window:
    print(window.show(np.zeros((20, 30, 3), np.uint8), wait_time=0.05))
    print(window.show(np.zeros((20, 30, 3), np.uint8), wait_time=1e-5))
"""


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a screen in memory")
def test_a_real_window():
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "200x150x24"], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    try:
        with os.fdopen(read) as number:
            display = f":{number.readline().strip()}"
        done = subprocess.run(
            [sys.executable, "-c", REAL],
            env={**os.environ, "DISPLAY": display},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.split() == ["True", "True"], done.stderr
    finally:
        server.terminate()
        server.wait(timeout=10)
