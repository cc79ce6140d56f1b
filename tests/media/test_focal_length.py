from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hfpose.media.focal_length import recorded_focal_length


def photo(path: Path, focal_length: int | None) -> str:
    image = Image.new("RGB", (60, 40))
    exif = image.getexif()
    if focal_length is not None:
        exif.get_ifd(0x8769)[0xA405] = focal_length
    image.save(path, exif=exif)
    return str(path)


def test_exif_tells_the_focal_length(tmp_path: Path) -> None:
    found = recorded_focal_length(photo(tmp_path / "a.jpg", 50), (3600, 2400))
    assert found == pytest.approx(5000)  # a frame of 36 x 24 mm at 100 pixels a millimeter


def test_what_says_nothing_has_none(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    silent = [photo(tmp_path / "b.jpg", None), str(tmp_path / "text.jpg"), str(tmp_path), "rtsp://camera/1", None]
    assert [recorded_focal_length(source, (60, 40)) for source in silent] == [None] * 5
