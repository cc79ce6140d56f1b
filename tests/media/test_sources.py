from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from clips import Camera
from file_server import FileServer
from hfpose.errors import InputError
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.images import save_image
from hfpose.media.sources import Source, open_frames, open_source
from processes import finished


@pytest.fixture(params=[0, 1, 3], ids=lambda n: f"{n} workers")
def read(request: pytest.FixtureRequest) -> Callable[..., list[Frame]]:
    return lambda inputs, **options: list(open_source(inputs, num_workers=request.param, **options))


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """b.png, A.jpg, a10.png, a2.png; below it sub/b.png and sub/deep/c.png; and what is no image."""
    root = tmp_path / "folder"
    for number, name in enumerate(("b.png", "A.jpg", "a10.png", "a2.png", "sub/b.png", "sub/deep/c.png")):
        save_image(root / name, photo + np.uint8(number))
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes((root / "b.png").read_bytes())
    (root / "folder.png").mkdir()
    return root


def names(frames: list[Frame]) -> list[str]:
    return [frame.name for frame in frames]


# One image


def test_everything_that_is_one_image(folder: Path, photo: np.ndarray, read: Callable[..., list[Frame]]) -> None:
    path = folder / "b.png"
    with Image.open(path) as opened:
        for inputs, name, source in [
            (path, "b", str(path)),
            (str(path), "b", str(path)),
            (path.as_uri(), "b", path.as_uri()),
            (opened, "b", str(path)),
            (photo, "0000000000", None),
            (Image.fromarray(photo), "0000000000", None),
            (path.read_bytes(), "0000000000", None),
            ({"image": photo, "label": 3}, "0000000000", None),
            ({"img": str(path)}, "b", str(path)),
        ]:
            frame = read(inputs)[0]
            assert np.array_equal(frame.image, photo) and frame.error is None
            assert (frame.name, frame.source) == (name, source)
            assert (frame.frame_index, frame.video, frame.item.kind) == (None, None, "image")
            source_of = open_source(inputs)
            assert (source_of.is_single, source_of.is_stream, source_of.num_frames) == (True, False, 1)


def test_url(folder: Path, photo: np.ndarray, read: Callable[..., list[Frame]]) -> None:
    with FileServer({"/x/b.png": (folder / "b.png").read_bytes()}) as server:
        url = f"{server.url}/x/b.png"
        assert open_source(url).is_single
        (frame,) = read(url)
    assert np.array_equal(frame.image, photo) and (frame.name, frame.source) == ("b", url)


def test_bad_single_input_is_a_frame_with_an_error(tmp_path: Path, read: Callable[..., list[Frame]]) -> None:
    source = open_source(tmp_path / "nowhere.jpg")
    assert source.is_single and source.num_frames == 1
    (frame,) = read(tmp_path / "nowhere.jpg")
    assert frame.image is None and "nowhere.jpg" in (frame.error or "")


def test_a_pil_image_that_cannot_be_decoded_is_a_frame_with_an_error(
    tmp_path: Path, photo: np.ndarray, read: Callable[..., list[Frame]]
) -> None:
    save_image(tmp_path / "whole.jpg", photo)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "whole.jpg").read_bytes()[:-40])
    with Image.open(cut) as image:
        (frame,) = read(image)
    assert frame.image is None and "cannot be decoded" in (frame.error or "")


@pytest.mark.parametrize("inputs", [None, True, 1.5])
def test_what_cannot_be_an_input(inputs: Any) -> None:
    with pytest.raises(InputError, match="Cannot read images from"):
        open_source(inputs)


# Folders


def test_folder_is_sorted_and_holds_images_only(folder: Path, read: Callable[..., list[Frame]]) -> None:
    assert names(read(folder)) == ["A", "a10", "a2", "b"]
    source = open_source(str(folder))
    assert (source.is_single, source.is_stream, source.num_frames) == (False, False, 4)


def test_recursive_folder_keeps_subfolders_in_names(folder: Path, read: Callable[..., list[Frame]]) -> None:
    frames = read(folder, recursive=True)
    assert names(frames) == ["A", "a10", "a2", "b", "sub/b", "sub/deep/c"]
    assert open_source(folder, recursive=True).num_frames == 6
    assert frames[5].source == str(folder / "sub" / "deep" / "c.png")


def test_frames_are_told_of_when_they_are_handed_over(folder: Path) -> None:
    source, told = open_source([folder / "a2.png", folder / "b.png"]), list[Frame]()
    source.on_frame = told.append
    for count, frame in enumerate(source, start=1):
        assert len(told) == count and told[-1] is frame


def test_links_in_a_circle(folder: Path, read: Callable[..., list[Frame]]) -> None:
    (folder / "sub" / "up").symlink_to(folder)
    assert len(read(folder, recursive=True)) == 6


def test_bad_files_in_a_folder_do_not_lose_the_others(folder: Path, read: Callable[..., list[Frame]]) -> None:
    (folder / "a.jpg").write_text("no image")
    frames = read(folder)
    assert names(frames) == ["A", "a_jpg", "a10", "a2", "b"]
    assert [frame.error is None for frame in frames] == [True, False, True, True, True]


def test_folder_without_images(tmp_path: Path, read: Callable[..., list[Frame]]) -> None:
    (frame,) = read(tmp_path)
    assert "no images" in (frame.error or "") and not open_source(tmp_path).is_single


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX access rights")
def test_folder_that_may_not_be_listed(folder: Path) -> None:
    folder.chmod(0o111)
    root = os.geteuid() == 0
    parents = [p for p in folder.parents if p.stat().st_mode & 0o7777 == 0o700]
    try:
        if root:  # may list everything, so be nobody for a moment
            for parent in parents:
                parent.chmod(0o711)
            os.seteuid(65534)
        (frame,) = list(open_source(folder, num_workers=0))
    finally:
        if root:
            os.seteuid(0)
            for parent in parents:
                parent.chmod(0o700)
        folder.chmod(0o700)
    assert "Cannot list" in (frame.error or "")


# Collections


def test_mixed_list(folder: Path, photo: np.ndarray, write_video: Callable[..., Path], read: Callable) -> None:
    clip = write_video("b.mp4", num_frames=3)
    inputs = [folder / "b.png", clip, photo, folder, {"image": photo}, str(folder / "b.png"), None, [photo]]
    frames = read(inputs)
    expected = "b b_mp4 b_mp4 b_mp4 0000000002 A a10 a2 b_png 0000000007 b_png_2 0000000009 0000000010"
    assert names(frames) == expected.split()
    assert [frame.frame_index for frame in frames[:5]] == [None, 0, 1, 2, None]
    assert [frame.item.index for frame in frames] == [0, 1, 1, 1, *range(2, 11)]
    assert [i for i, frame in enumerate(frames) if frame.error] == [11, 12]
    assert "NoneType" in (frames[11].error or "") and "flat list" in (frames[12].error or "")
    source = open_source(inputs)
    assert (source.is_single, source.is_stream, source.num_frames) == (False, False, 13)


def test_empty_list(read: Callable[..., list[Frame]]) -> None:
    assert read([]) == [] and open_source([]).num_frames == 0 and not open_source([]).is_single


def test_generator(photo: np.ndarray, read: Callable[..., list[Frame]]) -> None:
    frames = read(photo + np.uint8(i) for i in range(20))
    assert names(frames) == [f"{i:010d}" for i in range(20)]
    assert all(np.array_equal(frame.image, photo + np.uint8(i)) for i, frame in enumerate(frames))
    source = open_source(iter([photo]))
    assert (source.is_single, source.is_stream, source.num_frames) == (False, True, None)


def test_exception_of_a_generator_goes_through(photo: np.ndarray, read: Callable[..., list[Frame]]) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield photo
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read(failing())


def test_stack_of_images(photo: np.ndarray, read: Callable[..., list[Frame]]) -> None:
    stack = np.stack([photo, photo + np.uint8(1)])
    frames = read(stack)
    assert [np.array_equal(frame.image, image) for frame, image in zip(frames, stack, strict=True)] == [True, True]
    assert not open_source(stack).is_single and open_source(stack).num_frames == 2


class MapDataset:
    """As torch's: no iterator, and no IndexError at the end."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index % len(self.items)]


def test_datasets(folder: Path, photo: np.ndarray, read: Callable[..., list[Frame]]) -> None:
    path = folder / "b.png"
    items = [
        {"image": Image.fromarray(photo), "label": 1},
        {"img": photo},
        {"image": {"bytes": path.read_bytes(), "path": "somewhere/else.png"}},  # as `datasets` gives it undecoded
        {"image": {"bytes": None, "path": str(path)}},
        {"image": torch.from_numpy(photo).permute(2, 0, 1)},  # as `with_format("torch")` gives it
        {"label": 2},
    ]
    frames = read(MapDataset(items))
    assert [np.array_equal(frame.image, photo) for frame in frames if frame.error is None] == [True] * 5
    assert names(frames) == ["0000000000", "0000000001", "else", "b", "0000000004", "0000000005"]
    assert "'label'" in (frames[5].error or "")
    source = open_source(MapDataset(items))
    assert (source.is_single, source.is_stream, source.num_frames) == (False, False, 6)
    (frame,) = read(items[2]["image"])
    assert np.array_equal(frame.image, photo)


def test_key_dataset_of_transformers(photo: np.ndarray, read: Callable[..., list[Frame]]) -> None:
    pipelines = pytest.importorskip("transformers.pipelines.pt_utils", reason="its module needs torch")
    dataset = pipelines.KeyDataset(MapDataset([{"image": photo}] * 3), "image")
    assert len(read(dataset)) == 3 and open_source(dataset).num_frames == 3


# Skipping, reading again, closing


def test_skipped_items_are_not_read_and_keep_their_names(folder: Path, read: Callable[..., list[Frame]]) -> None:
    asked: list[MediaItem] = []

    def skip(item: MediaItem) -> bool:
        asked.append(item)
        return item.index in (0, 2)

    inputs = [folder / "b.png", folder / "b.png", folder / "nowhere.png", folder / "b.png"]
    frames = read(inputs, skip=skip)
    assert names(frames) == ["b_png", "b_png_2"]
    assert [item.name for item in asked] == ["b", "b_png", "nowhere", "b_png_2"]


def test_sources_can_be_read_twice(folder: Path) -> None:
    source = open_source(folder)
    assert names(list(source)) == names(list(source))


def test_close_stops_reading(photo: np.ndarray) -> None:
    made = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            made.append(None)
            yield photo

    with open_source(endless(), read_ahead=3) as source:
        frames = iter(source)
        next(frames)
    assert list(frames) == [] and len(made) < 10
    assert not [thread for thread in threading.enumerate() if thread.name == "hfpose-read"]


def test_read_ahead_is_bounded(photo: np.ndarray) -> None:
    made = []

    def counted() -> Iterator[np.ndarray]:
        for i in range(50):
            made.append(i)
            yield photo

    for read, _ in enumerate(open_source(counted(), read_ahead=4), start=1):
        assert len(made) <= read + 4 + 1


@pytest.mark.parametrize("read_ahead", [0, 1])
def test_smallest_queue(photo: np.ndarray, read_ahead: int) -> None:
    assert len(list(open_source([photo] * 5, read_ahead=read_ahead))) == 5


def test_memory_of_a_large_folder(tmp_path: Path, photo: np.ndarray) -> None:
    """600 images of 300x200 (108 MB of pixels) pass with less than 40 MB more memory than the first 50."""
    data = cv2.imencode(".jpg", cv2.resize(photo, (300, 200)))[1]
    for i in range(600):
        (tmp_path / f"{i}.jpg").write_bytes(data)
    program = """
import sys
from pathlib import Path
from hfpose.media.sources import open_source
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
for i, frame in enumerate(open_source(sys.argv[1], num_workers=2)):
    if i == 50:
        before = resident()
print(i + 1, resident() - before)
"""
    if not Path("/proc/self/statm").is_file():
        pytest.skip("memory is read from /proc, which this system does not have")
    done = finished(program, tmp_path, {}, (tmp_path,))
    count, growth = map(int, done.stdout.split())
    assert count == 600 and growth < 40e6


# Videos and cameras as inputs


def test_video(write_video: Callable[..., Path], read: Callable[..., list[Frame]]) -> None:
    clip = write_video(num_frames=12)
    frames = read(str(clip))
    assert [frame.frame_index for frame in frames] == list(range(12))
    assert {frame.item for frame in frames} == {MediaItem(0, "video", "clip", str(clip))}
    source = open_source(clip)
    assert (source.is_single, source.is_stream, source.num_frames) == (False, True, 12)


def test_upper_case_ending(write_video: Callable[..., Path], tmp_path: Path) -> None:
    clip = write_video().rename(tmp_path / "CLIP.MP4")
    assert len(list(open_source(clip))) == 12


def test_broken_video_between_images(folder: Path, cut_video: Path, read: Callable[..., list[Frame]]) -> None:
    frames = read([folder / "b.png", cut_video, folder / "b.png"])
    errors = [frame for frame in frames if frame.error]
    assert len(errors) == 1 and errors[0].name == "cut" and "breaks off" in (errors[0].error or "")
    assert frames[-1].name == "b_png" and frames[-1].error is None


RED = np.full((48, 64, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize(("inputs", "number"), [("webcam", 0), ("webcam:0", 0), ("webcam:2", 2), ("WEBCAM:1", 1)])
def test_webcam_and_its_loss(inputs: str, number: int, read: Callable[..., list[Frame]]) -> None:
    asked, camera = [], Camera([RED] * 6, fps=15.0)
    frames = read(inputs, capture_factory=lambda number: asked.append(number) or camera)
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3, 4, 5, None]
    assert all(np.array_equal(frame.image, RED) for frame in frames[:-1])
    assert "stopped after 6 frames" in (frames[-1].error or "")
    assert (frames[0].name, frames[0].item.kind) == ("webcam", "webcam")
    video = frames[0].video
    assert video is not None and (video.fps, video.width, video.height, video.num_frames) == (15.0, 64, 48, None)
    assert asked == [number] and camera.is_released
    source = open_source(inputs)
    assert (source.is_single, source.is_stream, source.num_frames) == (False, True, None)


def test_webcam_that_fails_with_an_exception(read: Callable[..., list[Frame]]) -> None:
    frames = read("webcam", capture_factory=lambda number: Camera([RED] * 3, failure=OSError("device gone")))
    assert len(frames) == 4 and "stopped after 3 frames" in (frames[-1].error or "")


def test_webcam_that_is_not_there(read: Callable[..., list[Frame]]) -> None:
    camera = Camera()
    (frame,) = read("webcam:9", capture_factory=lambda number: camera)
    assert "Camera 9 cannot be opened" in (frame.error or "") and camera.is_released


def test_camera_number_that_is_none(read: Callable[..., list[Frame]]) -> None:
    (frame,) = read("webcam:front")
    assert "'webcam:front'" in (frame.error or "")


def test_webcam_is_released_on_early_exit() -> None:
    shown = itertools.count()
    camera = Camera(RED for _ in shown)
    with open_source("webcam", capture_factory=lambda number: camera) as source:
        for frame in source:
            if frame.frame_index == 5:
                break
    assert camera.is_released and next(shown) < 20  # read only a little ahead of what was shown


def test_real_camera_that_is_missing_is_no_noise(tmp_path: Path) -> None:
    program = """
from hfpose.media.sources import open_source
print([frame.error for frame in open_source("webcam:87")])
"""
    done = finished(program, tmp_path, {})
    assert "Camera 87 cannot be opened" in done.stdout and done.stderr == ""


def test_type_of_source(photo: np.ndarray) -> None:
    assert isinstance(open_source(photo), Source)


def test_a_list_file_names_inputs_relative_to_its_folder(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "lists" / "list.txt"
    listed.parent.mkdir()
    lines = ["# mine", "", "../folder/b.png", "../folder/sub", "missing.png", "other.txt"]
    listed.write_text("\n".join(lines), encoding="utf-8")
    source = open_source(listed)
    assert not source.is_single
    assert source.num_frames == source.count_items("image") == 4
    assert source.count_items("video") == 0
    frames = list(source)
    assert names(frames) == ["b", "b_png", "missing", "other"]
    assert [frame.error is None for frame in frames] == [True, True, False, False]
    assert "lists another list" in (frames[-1].error or "")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_file_may_begin_with_a_byte_order_mark(folder: Path, encoding: str) -> None:
    (listed := folder / "list.txt").write_text("b.png\r\n", encoding=encoding)
    (frame,) = open_source(listed)
    assert frame.error is None


def test_a_list_file_may_have_the_line_ends_of_the_first_macs(folder: Path) -> None:
    (listed := folder / "list.txt").write_bytes(b"b.png\r# none\rb.png\r")
    assert [frame.error for frame in open_source(listed)] == [None, None]


def test_names_in_a_list_file_may_be_quoted(folder: Path) -> None:
    quoted = (folder / "b.png").rename(folder / "'b.png'")
    (folder / "c.png").symlink_to(quoted)
    (listed := folder / "list.txt").write_text("\"c.png\"\n'b.png'\n")
    assert [frame.error for frame in open_source(listed)] == [None, None]


def test_a_list_file_that_is_not_there(tmp_path: Path) -> None:
    (frame,) = open_source(tmp_path / "list.txt")
    assert "no file" in (frame.error or "")


def test_frames_that_somebody_else_reads(photo: np.ndarray) -> None:
    source = open_frames(lambda: (Frame(MediaItem(0, "video", "clip"), photo, frame_index=i) for i in range(20)))
    for _ in range(2):
        assert [frame.frame_index for frame in source] == list(range(20))
    assert not source.is_single


def test_what_a_folder_holds_beside_images_is_named(folder: Path, photo: np.ndarray) -> None:
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "clip.mp4").write_bytes(b"")
    (folder / "raw.CR2").write_bytes(b"")
    (folder / "linked").symlink_to(folder / "sub")
    (folder / "loop").symlink_to(folder / "loop")
    source = open_source(folder)
    assert [frame.name for frame in source] == ["A", "a10", "a2", "b"]
    named = {Path(name).name for names in source.left_out.names.values() for name in names}
    assert {"loop.png", "pipe.jpg", "clip.mp4", "raw.CR2", "sub", "linked"} <= named


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (frame,) = open_source(tmp_path / "pipe.jpg")
    assert "named pipe" in (frame.error or "")


@pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="pillow-heif is installed and reads it")
def test_heic_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (frame,) = open_source(tmp_path)
    assert "HEIC" in (frame.error or "") and "pillow-heif" in (frame.error or "")
