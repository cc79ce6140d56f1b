"""Animations and pages in files of images: frames of a video where a path is given, else a word that the first is
read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from hfpose import pipeline
from hfpose.media.images import load_image
from hfpose.media.sources import open_source
from hfpose.media.video import count_frames, read_frame

LEVELS = (0, 80, 160, 240)
MILLISECONDS = (100, 200, 100, 300)
NAMES = ("a.gif", "a.png", "a.webp", "a.tif", "a.avif")


def save(path: Path, levels: tuple[int, ...] = LEVELS, **options: object) -> Path:
    if path.suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    first, *others = (Image.new("RGB", (32, 24), (level,) * 3) for level in levels)
    times = {"duration": list(MILLISECONDS[: len(levels)])} if path.suffix != ".tif" and others else {}
    first.save(path, save_all=True, append_images=others, **times, **options)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_path_gives_all_images_at_their_times(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name)
    source = open_source(path)
    frames = list(source)
    assert source.is_video and source.num_frames == len(LEVELS)
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3]
    levels = [frame.image.mean() for frame in frames if frame.image is not None]
    np.testing.assert_allclose(levels, LEVELS, atol=3)
    times = [None] * 4 if name == "a.tif" else [0.0, 0.1, 0.3, 0.4]
    assert [frame.timestamp for frame in frames] == (times if None in times else pytest.approx(times, abs=1e-3))


@pytest.mark.parametrize("name", NAMES)
def test_one_image_is_no_video(tmp_path: Path, name: str) -> None:
    assert open_source(save(tmp_path / name, levels=(80,))).is_single


@pytest.mark.parametrize("name", NAMES)
def test_the_first_image_of_bytes_is_read_and_that_is_said_once(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save(folder / name)
    for _ in range(2):
        (frame,) = open_source(folder)
        assert frame.image is not None and frame.image.max() < 4
    (record,) = caplog.records
    assert name in record.getMessage() and "4 images" in record.getMessage()


def test_a_smaller_copy_in_a_tiff_is_no_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from PIL import TiffImagePlugin

    path = tmp_path / "a.tif"
    small = Image.new("RGB", (8, 6), "red")
    reduced = TiffImagePlugin.ImageFileDirectory_v2()
    reduced[254] = 1
    small.encoderinfo = {"tiffinfo": reduced}  # type: ignore[attr-defined]
    Image.new("RGB", (32, 24), "blue").save(path, save_all=True, append_images=[small])
    assert Image.open(path).n_frames == 2
    assert open_source(path).is_single
    assert load_image(path).shape == (24, 32, 3) and not caplog.records


def test_the_second_image_of_a_phone_is_no_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "phone.jpg"
    first, second = (Image.new("RGB", (32, 24), color) for color in ("red", "blue"))
    first.save(path, "MPO", save_all=True, append_images=[second])
    for image in (path, path.read_bytes(), Image.open(path)):
        (frame,) = open_source(image)
        assert frame.image is not None and frame.image[..., 0].min() > 200
    assert open_source(path).is_single and not caplog.records


def test_an_animation_that_breaks_off_keeps_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pages = [Image.fromarray(np.full((64, 64, 3), level, np.uint8)) for level in LEVELS]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    data = bytearray(path.read_bytes())
    with Image.open(path) as image:
        image.seek(2)
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    data[start : start + length] = b"\xff" * length
    path.write_bytes(data)
    *whole, last = open_source(path)
    assert len(whole) == 2 and "2 of 4" in (last.error or "")


def test_a_frame_is_read_again(tmp_path: Path) -> None:
    path = save(tmp_path / "a.webp", lossless=True)
    image = read_frame(path, 2, 0.3, 10)
    assert image is not None and image.mean() == 160
    assert count_frames(path, 10) == 4


def test_a_pipeline_draws_an_animation(tmp_path: Path) -> None:
    pipe = pipeline("pose-estimation", model="demo", backend="torch", dtype="float32")
    outputs = list(pipe(save(tmp_path / "a.webp", lossless=True)))
    assert [output.frame_index for output in outputs] == [0, 1, 2, 3]
    assert outputs[3].draw().shape == (24, 32, 3)
