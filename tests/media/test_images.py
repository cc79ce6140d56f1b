from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from file_server import Fault, FileServer
from hfpose.errors import InputError
from hfpose.media import images
from hfpose.media.images import is_image_path, load_image, save_image
from processes import finished


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def jpeg(tmp_path: Path, photo: np.ndarray) -> Path:
    path = tmp_path / "photo.jpg"
    cv2.imwrite(str(path), photo[:, :, ::-1])
    return path


def imread(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[:, :, ::-1]


def error_of(source: object) -> str:
    with pytest.raises(InputError) as caught:
        load_image(source)
    return str(caught.value)


# Every kind of source


def test_jpeg_is_bit_identical_to_opencv(jpeg: Path) -> None:
    image = load_image(jpeg)
    assert image.dtype == np.uint8 and image.flags.writeable and image.flags.c_contiguous
    assert np.array_equal(image, imread(jpeg))


def test_jpeg_with_bytes_after_its_end(tmp_path: Path, jpeg: Path) -> None:
    longer = tmp_path / "longer.jpg"
    longer.write_bytes(jpeg.read_bytes() + b"of another program")
    np.testing.assert_array_equal(load_image(longer), load_image(jpeg))


def test_photographs_are_bit_identical_to_opencv(shared: Path) -> None:
    paths = sorted((shared / "images").glob("*.jpg"))
    assert paths
    for path in paths:
        assert np.array_equal(load_image(path), imread(path)), path.name


def test_same_pixels_from_every_kind_of_source(jpeg: Path) -> None:
    expected = imread(jpeg)
    data = jpeg.read_bytes()
    with Image.open(jpeg) as opened:
        for source in (str(jpeg), jpeg.as_uri(), data, bytearray(data), opened, expected):
            assert np.array_equal(load_image(source), expected), type(source)


def test_file_address_with_escaped_characters(tmp_path: Path, jpeg: Path) -> None:
    path = jpeg.rename(tmp_path / "a photo äé%20.jpg")
    assert load_image(path.as_uri()).shape == (48, 64, 3)


def test_rgb_array_is_not_copied(photo: np.ndarray) -> None:
    assert np.shares_memory(load_image(photo), photo)


def test_gray_array_is_repeated(photo: np.ndarray) -> None:
    gray = photo[:, :, 0]
    for array in (gray, gray[:, :, None]):
        image = load_image(array)
        assert all(np.array_equal(image[:, :, channel], gray) for channel in range(3))


def test_alpha_of_array_is_dropped(photo: np.ndarray) -> None:
    assert np.array_equal(load_image(np.dstack([photo, photo[:, :, 0]])), photo)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((4, 4, 3), np.float32), ["float32", "(array * 255).round().astype(numpy.uint8)"]),
        (np.full((4, 4, 3), 200.0), ["float64", "convert it with array.astype(numpy.uint8)"]),
        (np.full((4, 4, 3), -1.5), ["-1.5", "before it was normalized"]),
        (np.full((4, 4, 3), np.nan), ["nan", "before it was normalized"]),
        (np.full((4, 4, 3), -100, np.int8), ["int8", "-100", "before it was normalized"]),
        (np.full((4, 4, 3), 60000, np.float16), ["float16", "(array / 257).astype(numpy.uint8)", "16 bits"]),
        (np.full((4, 4, 3), np.inf, np.float16), ["inf", "before it was normalized"]),
        (np.full((4, 4, 3), 60000, np.uint16), ["uint16", "(array >> 8).astype(numpy.uint8)", "16 bits"]),
        (np.full((4, 4), 200, np.int32), ["int32", "between 0 and 255", "array.astype(numpy.uint8)"]),
        (np.zeros((3, 40, 50), np.uint8), ["(3, 40, 50)", "transpose(1, 2, 0)"]),
        (np.zeros((2, 4, 4, 3), np.uint8), ["(2, 4, 4, 3)", "list"]),
        (np.zeros((4,), np.uint8), ["(4,)"]),
        (np.zeros((0, 4, 3), np.uint8), ["no pixels"]),
    ],
)
def test_unusable_arrays(array: np.ndarray, words: list[str]) -> None:
    message = error_of(array)
    assert all(word in message for word in words), message


def test_unusable_type() -> None:
    assert "NoneType" in error_of(None)


# Modes of files


def test_modes_of_png_are_read_as_opencv_reads_them(tmp_path: Path, photo: np.ndarray) -> None:
    pixels = Image.fromarray(photo)
    palette = pixels.convert("P", palette=Image.Palette.ADAPTIVE)
    alpha = np.dstack([photo, photo[:, :, 0]])
    files: dict[str, tuple[Image.Image, dict]] = {
        "rgb": (pixels, {}),
        "gray": (pixels.convert("L"), {}),
        "gray_alpha": (pixels.convert("LA"), {}),
        "bilevel": (pixels.convert("1"), {}),
        "rgba": (Image.fromarray(alpha), {}),
        "palette": (palette, {}),
        "palette_one_transparent": (palette, {"transparency": 3}),
        "palette_alphas": (palette, {"transparency": bytes(range(256))}),
        "rgb_transparent_color": (pixels, {"transparency": tuple(map(int, photo[0, 0]))}),
    }
    for name, (image, options) in files.items():
        path = tmp_path / f"{name}.png"
        image.save(path, **options)
        assert np.array_equal(load_image(path), imread(path)), name


def test_alpha_is_dropped_and_not_blended(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "invisible.png"
    Image.fromarray(np.dstack([photo, np.zeros_like(photo[:, :, 0])])).save(path)
    assert np.array_equal(load_image(path), photo)


def test_transparent_palette_of_pil_image(photo: np.ndarray) -> None:
    palette = Image.fromarray(photo).convert("P")
    expected = np.asarray(palette.convert("RGB"))
    palette.info["transparency"] = bytes(256)
    assert np.array_equal(load_image(palette), expected)
    assert "transparency" in palette.info  # the caller's image stays as it was


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    samples = photo[:, :, 0].astype(np.uint16) * 257
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), samples)
    image = load_image(path)
    assert np.array_equal(image[:, :, 1], photo[:, :, 0])
    assert np.array_equal(image, imread(path))


def test_16_bit_color(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), photo[:, :, ::-1].astype(np.uint16) * 256 + 200)
    assert np.array_equal(load_image(path), photo)


def test_16_bit_pgm(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "deep.pgm"
    path.write_bytes(b"P5 64 48 65535\n" + (photo[:, :, 0].astype(">u2") * 257).tobytes())
    assert np.array_equal(load_image(path)[:, :, 0], photo[:, :, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bit_samples_have_no_known_range(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray(np.ones((4, 4), dtype)).save(path)
    assert "8 bits" in error_of(path)


def test_cmyk_jpeg(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(photo).convert("CMYK").save(path, quality=95)
    image = load_image(path).astype(int)
    assert np.abs(image - imread(path)).max() <= 1  # two roundings of the same formula
    assert np.abs(image - photo).mean() < 4


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_first_frame_of_animation(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving{suffix}"
    first, second = (Image.new("RGB", (8, 6), color) for color in ("red", "blue"))
    first.save(path, save_all=True, append_images=[second], lossless=True)
    assert np.array_equal(load_image(path), np.asarray(first))


def test_one_pixel() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (1, 2, 3)).save(buffer, "PNG")
    assert load_image(buffer.getvalue()).tolist() == [[[1, 2, 3]]]


# EXIF orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_orientation_of_files(tmp_path: Path, photo: np.ndarray, suffix: str, orientation: int) -> None:
    path = tmp_path / f"turned{suffix}"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95} if suffix == ".jpg" else {}
    Image.fromarray(photo).save(path, exif=exif, **options)
    image = load_image(path)
    shown = upright(photo, orientation)
    if suffix == ".jpg":
        assert np.array_equal(image, imread(path))
        assert np.abs(image.astype(int) - shown).mean() < 4
    else:
        assert np.array_equal(image, shown)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_pil_images(photo: np.ndarray, orientation: int) -> None:
    image = Image.fromarray(photo)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    assert np.array_equal(load_image(image), upright(photo, orientation))


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image as the EXIF standard says that a viewer shows it: which side row 0 and column 0 are."""
    transposed = image.transpose(1, 0, 2)
    return {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: transposed,
        6: transposed[:, ::-1],
        7: transposed[::-1, ::-1],
        8: transposed[::-1],
    }[orientation]


def test_big_endian_orientation(jpeg: Path) -> None:
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = jpeg.read_bytes()
    assert load_image(with_app1(data, block)).shape == (64, 48, 3)


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01",
        b"Exif\0\0garbage",
        b"Exif\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",
    ],
)
def test_broken_exif_is_no_orientation_and_no_warning(jpeg: Path, block: bytes) -> None:
    assert np.array_equal(load_image(with_app1(jpeg.read_bytes(), block)), imread(jpeg))


def with_app1(jpeg: bytes, block: bytes) -> bytes:
    """The JPEG with a metadata block right after its start, and without its JFIF header."""
    after_jfif = 4 + int.from_bytes(jpeg[4:6], "big")
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[after_jfif:]


# Scaled down


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_larger_images_are_scaled_down(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    large = cv2.resize(photo, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    save_image(tmp_path / f"large{suffix}", large)
    height, width = large.shape[:2]
    side = max(height, width) * 3 // 10  # a JPEG is decoded at a half for it
    found = load_image(tmp_path / f"large{suffix}", max_side=side)
    assert max(found.shape[:2]) == side
    assert found.shape[0] / found.shape[1] == pytest.approx(height / width, rel=0.01)
    expected = cv2.resize(large, found.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected).mean() < 3


@pytest.mark.parametrize(("side", "scale"), [(64, 1), (33, 1), (32, 2), (16, 4), (8, 8), (1, 8)])
def test_jpeg_is_decoded_as_small_as_will_do(
    jpeg: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, side: int, scale: int
) -> None:
    assert max(photo.shape) == 64
    decode, scales = images._decode_jpeg, []
    monkeypatch.setattr(images, "_decode_jpeg", lambda file, scale: scales.append(scale) or decode(file, scale))
    assert max(load_image(jpeg, max_side=side).shape[:2]) == side
    assert scales == [scale]
    with jpeg.open("rb") as file:
        decoded = decode(file, scale)
    assert decoded is not None and max(decoded.shape[:2]) == 64 // scale


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_reduced_jpeg_has_the_pixels_of_pillow(jpeg: Path, scale: int) -> None:
    with jpeg.open("rb") as file:
        found = images._decode_jpeg(file, scale)
    assert found is not None
    with Image.open(jpeg) as image:
        image.draft(None, (found.shape[1], found.shape[0]))
        np.testing.assert_array_equal(found, np.asarray(image))


def test_smaller_images_stay_as_they_are(jpeg: Path, photo: np.ndarray) -> None:
    np.testing.assert_array_equal(load_image(jpeg, max_side=max(photo.shape)), load_image(jpeg))
    assert np.shares_memory(load_image(photo, max_side=5000), photo)


def test_arrays_and_pil_images_are_scaled_down_too(photo: np.ndarray) -> None:
    found = load_image(photo, max_side=20)
    assert max(found.shape[:2]) == 20
    np.testing.assert_array_equal(load_image(Image.fromarray(photo), max_side=20), found)


def test_turned_images_are_scaled_down_as_they_are_shown(tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(photo).save(tmp_path / "turned.jpg", exif=exif)
    height, width = load_image(tmp_path / "turned.jpg").shape[:2]
    found = load_image(tmp_path / "turned.jpg", max_side=max(height, width) // 2)
    assert found.shape[:2] == (height // 2, width // 2)


def test_one_row_of_pixels_keeps_it() -> None:
    assert load_image(np.zeros((1, 1000, 3), np.uint8), max_side=10).shape == (1, 10, 3)


def test_longest_side_below_one_pixel() -> None:
    with pytest.raises(InputError, match="max_side is 0"):
        load_image(np.zeros((2, 2, 3), np.uint8), max_side=0)


# Files that cannot be read


def test_missing_file(tmp_path: Path) -> None:
    message = error_of(tmp_path / "nowhere.jpg")
    assert "nowhere.jpg" in message and "no file" in message


def test_text_file_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("hello there")
    message = error_of(path)
    assert "note.jpg" in message and "hello" in message and "JPEG" in message


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert "0 bytes" in error_of(path)


def test_folder(tmp_path: Path) -> None:
    assert "folder" in error_of(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000 + ".jpg"])
def test_impossible_names(name: str) -> None:
    assert "Cannot open" in error_of(name)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX access rights")
def test_permission_denied(jpeg: Path) -> None:
    jpeg.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:  # may read everything, so be nobody for a moment
            os.seteuid(65534)
        message = error_of(jpeg)
    finally:
        if root:
            os.seteuid(0)
    assert "ermission" in message and "photo.jpg" in message


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, None])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".webp", ".bmp"])
def test_cut_off_files_raise_or_are_complete(
    tmp_path: Path, photo: np.ndarray, suffix: str, part: float | None
) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(photo).save(path)
    whole = load_image(path)
    data = path.read_bytes()
    path.write_bytes(data[:-4] if part is None else data[: int(len(data) * part)])
    try:
        image = load_image(path)
    except InputError as error:
        assert "cut" in str(error)
    else:  # all pixels were there, only the end mark is missing
        assert part is None and np.array_equal(image, whole)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_half_a_file(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"half{suffix}"
    Image.fromarray(photo).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged or cut off" in error_of(path)


def test_damaged_files_never_raise_anything_else(tmp_path: Path, photo: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged"
    for kind, options in (
        ("JPEG", {}),
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("PPM", {}),
    ):
        buffer = io.BytesIO()
        Image.fromarray(photo).save(buffer, kind, **options)
        for _ in range(10):
            data = bytearray(buffer.getvalue())
            for position in rng.integers(8, len(data), 20):
                data[position] = rng.integers(256)
            path.write_bytes(data)
            try:
                assert load_image(path).dtype == np.uint8
            except InputError as error:
                assert kind in str(error) or "32 bits" in str(error) or "limit" in str(error)


def test_tiff_with_broken_directory(tmp_path: Path, photo: np.ndarray) -> None:
    path = tmp_path / "broken.tif"
    Image.fromarray(photo).save(path)
    data = bytearray(path.read_bytes())
    data[4:8] = b"\xff\xff\xff\x00"
    path.write_bytes(data)
    assert "TIFF" in error_of(path)


def test_postscript_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "program.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    assert "no image" in error_of(path)


def test_over_pillows_limit(monkeypatch: pytest.MonkeyPatch, jpeg: Path) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2 - 1)
    message = error_of(jpeg)
    assert "64x48" in message and "MAX_IMAGE_PIXELS" in message


def test_where_pillow_only_warns_the_image_is_read(monkeypatch: pytest.MonkeyPatch, jpeg: Path) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 // 2)
    assert load_image(jpeg).shape == (48, 64, 3)


def test_limit_can_be_lifted(monkeypatch: pytest.MonkeyPatch, jpeg: Path) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(jpeg).shape == (48, 64, 3)


def test_closed_pil_image(jpeg: Path) -> None:
    with Image.open(jpeg) as opened:
        pass
    assert "PIL image" in error_of(opened)


def test_nothing_on_stderr(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).convert("P").save(tmp_path / "a.png", transparency=bytes(256))
    Image.fromarray(photo).save(tmp_path / "b.jpg")
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    program = (
        "import sys\nfrom PIL import Image\nfrom hfpose.media.images import load_image\n"
        "Image.MAX_IMAGE_PIXELS = 64 * 48 - 1  # where Pillow warns\n"
        "for path in sys.argv[1:]:\n  try: load_image(path)\n  except ValueError: print('refused')"
    )
    done = finished(program, tmp_path, {}, tuple(sorted(tmp_path.iterdir())))
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")


def test_threads_read_at_once(jpeg: Path) -> None:
    expected, results = imread(jpeg), []
    threads = [threading.Thread(target=lambda: results.append(load_image(jpeg))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all(np.array_equal(image, expected) for image in results)


# URLs


def test_url(jpeg: Path) -> None:
    with FileServer({"/a/photo.jpg": jpeg.read_bytes()}) as server:
        assert np.array_equal(load_image(f"{server.url}/a/photo.jpg"), imread(jpeg))


def test_missing_url() -> None:
    with FileServer() as server:
        message = error_of(f"{server.url}/photo.jpg")
    assert "404" in message and "/photo.jpg" in message


def test_page_instead_of_image() -> None:
    with FileServer({"/photo.jpg": b"<html>Please log in</html>"}) as server:
        assert "<html>" in error_of(f"{server.url}/photo.jpg")


def test_broken_connection(jpeg: Path) -> None:
    with FileServer({"/photo.jpg": jpeg.read_bytes()}) as server:
        server.add_fault("/photo.jpg", Fault(cut_after=100))
        assert "Cannot download" in error_of(f"{server.url}/photo.jpg")


def test_no_server() -> None:
    with FileServer() as server:
        url = f"{server.url}/photo.jpg"
    assert "Cannot download" in error_of(url)


def test_server_that_does_not_answer(jpeg: Path) -> None:
    with FileServer({"/photo.jpg": jpeg.read_bytes()}) as server:
        server.add_fault("/photo.jpg", Fault(hang=20))
        with pytest.raises(InputError, match="Cannot download"):
            load_image(f"{server.url}/photo.jpg", timeout=0.2)


def test_server_that_drips() -> None:
    with FileServer({"/photo.jpg": bytes(1 << 20)}) as server:
        server.add_fault("/photo.jpg", Fault(delay=0.1))
        with pytest.raises(InputError, match="longer than"):
            load_image(f"{server.url}/photo.jpg", timeout=0.3)


def test_too_large_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_DOWNLOAD_BYTES", 1 << 16)
    with FileServer({"/photo.jpg": bytes(1 << 20)}) as server:
        assert "limit" in error_of(f"{server.url}/photo.jpg")


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:99999/a.jpg", "https://[bad/a.jpg"])
def test_malformed_urls(url: str) -> None:
    assert "Cannot download" in error_of(url)


# Names


def test_is_image_path() -> None:
    assert all(map(is_image_path, ("a.jpg", "b.JPEG", Path("c/d.png"), "http://host/e.webp?size=3", "f.tiff")))
    assert not any(map(is_image_path, ("a.mp4", "jpg", "a.txt", "http://host/page?file=a.jpg", "a.svg")))


# Writing


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
def test_save_lossless(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    path = tmp_path / "new" / f"out{suffix}"
    save_image(path, photo)
    assert np.array_equal(load_image(path), photo)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_quality_makes_a_difference(tmp_path: Path, photo: np.ndarray, suffix: str) -> None:
    best, worst = tmp_path / f"best{suffix}", tmp_path / f"worst{suffix}"
    save_image(best, photo)
    save_image(worst, photo, quality=10)
    assert worst.stat().st_size < best.stat().st_size
    assert np.abs(load_image(best).astype(int) - photo).mean() < 4


def test_save_leaves_nothing_else(tmp_path: Path, photo: np.ndarray) -> None:
    save_image(tmp_path / "out.jpg", photo)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


def test_save_to_unknown_ending(tmp_path: Path, photo: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\.jpg"):
        save_image(tmp_path / "out.xyz", photo)


def test_save_too_large_for_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="65500"):
        save_image(tmp_path / "out.jpg", np.zeros((1, 65501, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_failed_save_keeps_the_old_file(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    save_image(path, photo)
    before = path.read_bytes()

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(bytes(data)[:10])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_image(path, photo[::2])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["out.png"]
