"""Written videos play in a browser: headless Chromium, where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hfpose.media.frames import MediaItem
from hfpose.media.video import read_video
from hfpose.media.video_writing import VideoFile
from video_files import KINDS, colored_image, make_video

NAMES = (os.environ.get("HFPOSE_BROWSER", ""), "chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in NAMES if name and (found := shutil.which(name))), None)
PAGE = """<!doctype html><html><body>{}<script>
for (const video of document.querySelectorAll("video")) {{
  const tell = (what) => video.setAttribute("data-end", what);
  video.addEventListener("canplay", () => tell(`can play ${{video.videoWidth}}x${{video.videoHeight}} ${{video.duration.toFixed(2)}}`));
  video.addEventListener("error", () => tell(`error ${{video.error.code}} ${{video.error.message}}`));
  video.load();
}}
</script></body></html>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium; HFPOSE_BROWSER may name one")


def what_a_browser_says(*videos: Path) -> list[str]:
    """How it goes with each of some videos in one folder."""
    folder = videos[0].parent
    page = folder / "page.html"
    page.write_text(PAGE.format("".join(f'<video muted src="{video.name}"></video>' for video in videos)))
    assert BROWSER is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command = [BROWSER, *options, "--virtual-time-budget=20000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return re.findall('data-end="([^"]*)"', done.stdout) or [done.stderr]


@pytest.mark.parametrize("sound", [None, "aac"])
def test_a_written_video_plays(tmp_path: Path, sound: str | None) -> None:
    source = make_video(tmp_path / "source.mp4", sound=sound)
    file = VideoFile(tmp_path / "out.mp4", (65, 49), fps=25, sound_of=str(source))  # an odd size is made even
    for i in range(25):
        file.write(colored_image(i % 8, 65, 49), i / 25)
    file.finish()
    (says,) = what_a_browser_says(tmp_path / "out.mp4")
    assert says.startswith("can play 66x50 1.0"), says


def test_what_is_no_video_does_not(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"no video" * 100)
    (says,) = what_a_browser_says(tmp_path / "out.mp4")
    assert says.startswith("error 4")


@pytest.mark.slow
def test_every_kind_of_video_plays_when_it_is_written(tmp_path: Path) -> None:
    videos = []
    for name, options in KINDS.items():
        source = make_video(tmp_path / name, **options)
        frames = list(read_video(MediaItem(0, "video", "clip", str(source)), source, timeout=10))
        info = frames[0].video
        assert info is not None
        path = tmp_path / f"{name}.out.mp4"
        size = (info.width, info.height)
        file = VideoFile(path, size, fps=info.fps or 25, time_base=info.time_base, sound_of=str(source))
        for frame in frames:
            assert frame.image is not None
            file.write(frame.image, frame.timestamp)
        file.finish()
        videos.append(path)
    says = what_a_browser_says(*videos)
    assert len(says) == len(videos)
    assert [
        (path.name, each) for path, each in zip(videos, says, strict=True) if not each.startswith("can play")
    ] == []
