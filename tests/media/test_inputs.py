"""Inputs that people have at hand."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hfpose.errors import InputError
from hfpose.media.sources import open_source

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


class OwnPath:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def images(inputs) -> list[np.ndarray]:
    return [frame.image for frame in open_source(inputs)]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
        torch.from_numpy(PIXELS).to(torch.float64).requires_grad_(True) / 255,
    ],
)
def test_a_tensor_is_one_image_whichever_order_it_has(tensor):
    assert open_source(tensor).is_single
    np.testing.assert_array_equal(images(tensor)[0], PIXELS)


@pytest.mark.parametrize("tensor", [torch.zeros(3, 9, 9, device="meta"), torch.zeros(3, 9, 9).to_sparse()])
def test_a_tensor_without_plain_data_is_one_sentence(tensor):
    with pytest.raises(InputError, match="cannot be read as an image"):
        open_source(tensor)


def test_a_batch_of_tensors_is_a_list_of_images():
    batch = torch.from_numpy(np.stack([PIXELS, PIXELS[::-1]])).permute(0, 3, 1, 2)
    assert open_source(batch).is_list
    np.testing.assert_array_equal(images(batch)[1], PIXELS[::-1])


def test_open_files_bytes_own_paths_and_data_addresses(path):
    address = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    with path.open("rb") as file:
        for value in (file, io.BytesIO(path.read_bytes()), OwnPath(path), address, address.partition(",")[2]):
            source = open_source(value)
            assert source.is_single
            np.testing.assert_array_equal(next(iter(source)).image, PIXELS)


def test_the_same_inside_a_list(path):
    values = [io.BytesIO(path.read_bytes()), OwnPath(path), torch.from_numpy(PIXELS), Image.open(path)]
    for image in images(values):
        np.testing.assert_array_equal(image, PIXELS)


def test_base64_may_have_line_breaks(path):
    text = base64.encodebytes(path.read_bytes()).decode()
    for given in (text, f"data:image/png;base64,{text}"):
        np.testing.assert_array_equal(images(given)[0], PIXELS)


def test_a_data_loader_of_batches_says_what_to_give(path):
    loader = torch.utils.data.DataLoader([str(path)] * 3, batch_size=2)
    with pytest.raises(InputError, match=re.escape("pipe(loader.dataset, batch_size=2)")):
        open_source(loader)
    np.testing.assert_array_equal(images(torch.utils.data.DataLoader([str(path)], batch_size=None))[0], PIXELS)


def test_a_pattern_gives_what_it_matches_in_order(path):
    Image.fromarray(PIXELS[::-1]).save(path.with_name("b.png"))
    found = images(str(path.parent / "*.png"))
    np.testing.assert_array_equal(found[1], PIXELS[::-1])
    assert len(found) == 2
    Image.fromarray(PIXELS).save(path.with_name("c[1].png"))  # a name, and no pattern
    assert open_source(str(path.with_name("c[1].png"))).is_single


def closed_file() -> io.BytesIO:
    file = io.BytesIO(b"data")
    file.close()
    return file


class Camera:
    """As `cv2.VideoCapture` is read."""

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "empty string"),
        ("  ", "empty string"),
        ("nowhere/*.jpg", "matches no file"),
        ("data:image/png;base64,&&&", "cannot be decoded"),
        (io.StringIO("text"), "opened as text"),
        (Camera(), "gives no bytes of an image"),
        (closed_file(), "cannot be read: I/O operation on closed file"),
        (torch.zeros(5), "is no image"),
        ("s3://bucket/a.jpg", "'s3://' are not read"),
        (torch.randn(3, 8, 8) * 4, "from 0 to 1"),
    ],
)
def test_what_cannot_be_used_is_told_at_the_call(value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        open_source(value)
    (frame,) = open_source([value])
    assert message in frame.error


def test_tables_and_several_data_sets_say_what_to_give():
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    table = pandas.DataFrame({"photo": ["a.jpg"]})
    several = datasets.DatasetDict(train=datasets.Dataset.from_dict({"image": ["a.jpg"]}))
    for value, message in ((table, "table['photo']"), (several, "data['train']")):
        with pytest.raises(InputError, match=re.escape(message)):
            open_source(value)


def test_what_a_data_set_cannot_decode_does_not_end_it(path):
    datasets = pytest.importorskip("datasets")
    (broken := path.with_name("b.png")).write_bytes(path.read_bytes()[:200])
    data = datasets.Dataset.from_dict({"image": [str(path), str(broken), str(path)]})
    data = data.cast_column("image", datasets.Image())
    for inputs in (data, data["image"]):
        first, second, third = open_source(inputs)
        np.testing.assert_array_equal(third.image, first.image)
        assert "Item 1" in second.error


def test_an_array_of_paths_is_a_list(path):
    source = open_source(np.array([str(path), path], dtype=object))
    assert source.is_list and len(list(source)) == 2


def test_a_file_that_was_just_written_is_read_from_its_beginning(path):
    buffer = io.BytesIO()
    Image.open(path).save(buffer, "PNG")
    np.testing.assert_array_equal(images(buffer)[0], PIXELS)


def test_the_home_folder_may_be_a_tilde(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    np.testing.assert_array_equal(images("~/a.png")[0], PIXELS)


def test_a_dict_without_an_image_says_where_one_belongs():
    with pytest.raises(InputError, match="under 'image' or 'img'; this one has the keys 'photo'"):
        open_source({"photo": PIXELS})


def test_a_slice_of_a_data_set_says_what_to_give():
    (frame,) = open_source({"image": [PIXELS, PIXELS]})
    assert "give data['image'] alone" in frame.error


def test_a_folder_named_as_an_image(path):
    folder = path.with_name("x.jpg")
    folder.mkdir()
    path.rename(folder / "a.png")
    with pytest.raises(InputError, match="is a folder"):
        open_source(folder)
    np.testing.assert_array_equal(images(f"{folder}/")[0], PIXELS)


def test_a_path_is_looked_at_once(path, monkeypatch):
    from hfpose.media import sources

    looked, is_folder = [], sources.is_folder
    monkeypatch.setattr(sources, "is_folder", lambda one: looked.append(one) or is_folder(one))
    with open_source(path) as source:
        assert source.is_single and source.num_frames == 1
        assert len(list(source)) == 1
    assert len(looked) == 1
