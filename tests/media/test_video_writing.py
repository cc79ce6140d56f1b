from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.media.frames import MediaItem
from hfpose.media.video import read_video
from hfpose.media.video_writing import VideoFile
from processes import finished


def probe(path: Path) -> tuple[float, int, int, int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        count = sum(1 for _ in container.decode(stream))
        return float(stream.average_rate), stream.width, stream.height, count


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv"])
@pytest.mark.parametrize("fps", [5.0, 29.97, 60.0])
def test_written_video(tmp_path: Path, photo: np.ndarray, suffix: str, fps: float) -> None:
    path = tmp_path / "new" / f"out{suffix}"
    file = VideoFile(path, (64, 48), fps=fps)
    for _ in range(20):
        file.write(photo)
        assert not path.exists()
    file.finish()
    assert probe(path) == (pytest.approx(fps, abs=0.01), 64, 48, 20)
    frames = list(read_video(MediaItem(0, "video", "out", str(path)), path, timeout=10))
    assert frames[0].image is not None
    assert np.abs(frames[0].image.astype(int) - photo).mean() < 12  # RGB in, RGB out
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_frames_of_another_size_are_scaled(tmp_path: Path, photo: np.ndarray) -> None:
    file = VideoFile(tmp_path / "out.mp4", (64, 48), fps=25)
    for image in (photo, photo[:24, :32], photo):
        file.write(image)
    file.finish()
    assert probe(tmp_path / "out.mp4") == (25, 64, 48, 3)


def test_abandoned_video_does_not_take_its_name(tmp_path: Path, photo: np.ndarray) -> None:
    file = VideoFile(tmp_path / "out.mp4", (64, 48), fps=25)
    file.write(photo)
    file.abandon()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.mp4.part")


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".out.mp4.part").mkdir()  # the name that is written first is taken
    with pytest.raises(InputError, match=r"out\.mp4"):
        VideoFile(tmp_path / "out.mp4", (64, 48), fps=25)


def test_full_disk_leaves_no_broken_video(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from hfpose.media.video_writing import VideoFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # writing beyond fails as on a full disk
file = VideoFile(Path(sys.argv[1]), (320, 240), fps=25)
rng = np.random.default_rng(0)
try:
    for _ in range(60):
        file.write(rng.integers(0, 255, (240, 320, 3), np.uint8))
    file.finish()
except OSError as error:
    print(error)
"""
    pytest.importorskip("resource", reason="limits of file sizes are POSIX's")
    path = tmp_path / "out.mp4"
    done = finished(program, tmp_path, {}, (path,))
    assert "Is the disk full?" in done.stdout and not path.exists()
