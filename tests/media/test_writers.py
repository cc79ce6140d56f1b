from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from clips import Camera
from hfpose.errors import InputError
from hfpose.media.files import OUTPUT_MARKER, partial_path
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.images import load_image, save_image
from hfpose.media.json_results import JsonWriter, frames_of_video, mmpose_instances
from hfpose.media.run import Run
from hfpose.media.sources import open_source
from hfpose.media.writers import WriterGroup, open_writers
from hfpose.results import PoseOutput
from processes import RunningPython

MakeOutput = Callable[..., PoseOutput]


def run(writers: WriterGroup, inputs: Any, make_output: MakeOutput, **options: Any) -> list[Frame]:
    frames = []
    with writers, open_source(inputs, **options) as source:
        for frame in source:
            writers.write(frame, make_output(frame))
            frames.append(frame)
    return frames


def files(folder: Path) -> dict[str, Any]:
    """The bytes of files by name; of videos the times, since x264 gives other bytes for the same images now and
    then."""
    return {
        str(path.relative_to(folder)): [frame.timestamp for frame in open_source(path)]
        if path.suffix == ".mp4"
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != OUTPUT_MARKER
    }


@pytest.fixture
def images(tmp_path: Path, photo: np.ndarray) -> Path:
    for name in ("a.png", "b.png", "sub/a.png"):
        save_image(tmp_path / "images" / name, photo)
    return tmp_path / "images"


# JSON


def test_json_of_an_image_says_what_it_holds(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    (frame,) = run(open_writers(pred_out_dir=tmp_path / "out"), images / "a.png", make_output)
    document = json.loads((tmp_path / "out" / "a.json").read_text())
    assert document == make_output(frame).to_dict()
    assert document["predictions"] and document["schema_version"] == 1 and document["units"] == "pixels"


def test_json_as_mmpose_nests_it(
    images: Path, write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput
) -> None:
    writers = open_writers(pred_out_dir=tmp_path / "out", formats=["mmpose"])
    frames = run(writers, [images / "a.png", write_video(num_frames=2)], make_output)
    lists = [json.loads(json.dumps(mmpose_instances(make_output(frame)))) for frame in frames]
    assert [np.shape(one["bbox"]) for one in lists[0]] == [(1, 4)] * len(lists[0])
    assert json.loads((tmp_path / "out" / "a.json").read_text()) == lists[0]
    expected = [{"frame_id": i, "timestamp": i / 25, "instances": lists[i + 1]} for i in range(2)]
    assert json.loads((tmp_path / "out" / "clip.json").read_text()) == expected


@pytest.mark.parametrize("size", [(0, 0), (-5, 9), (512, 0)])
def test_a_canvas_without_pixels_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="expected 1 or more"):
        open_writers(pred_out_dir=tmp_path, formats=["openpose"], canvas_size=size)


def test_two_formats_with_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose one"):
        open_writers(pred_out_dir=tmp_path, formats=["json", "mmpose"])


@pytest.mark.parametrize("format", ["json", "mmpose"])
def test_the_frames_of_a_video_are_read_back(
    format: str, write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput
) -> None:
    frames = run(open_writers(pred_out_dir=tmp_path, formats=[format]), write_video(num_frames=3), make_output)
    found = frames_of_video(json.loads((tmp_path / "clip.json").read_text()))
    assert [(frame.frame_index, frame.timestamp) for frame in found] == [(i, i / 25) for i in range(3)]
    assert [frame.instances[0]["keypoints"] for frame in found] == [
        make_output(frame).predictions[0]["keypoints"] for frame in frames
    ]


def test_json_of_a_video_has_an_entry_for_each_frame(
    write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput
) -> None:
    frames = run(open_writers(pred_out_dir=tmp_path / "out"), write_video(num_frames=7), make_output)
    document = json.loads((tmp_path / "out" / "clip.json").read_text())
    assert document.pop("frames") == [
        {"frame_index": i, "timestamp": i / 25, "predictions": make_output(frame).predictions}
        for i, frame in enumerate(frames)
    ]
    of_a_frame = ("frame_index", "timestamp", "predictions")
    assert document == {key: value for key, value in make_output(frames[0]).to_dict().items() if key not in of_a_frame}
    assert list(files(tmp_path / "out")) == ["clip.json"]


def test_a_frame_of_another_size_says_so(tmp_path: Path) -> None:
    item, video = MediaItem(0, "video", "clip"), VideoInfo(25, 9, 7, None)
    with open_writers(pred_out_dir=tmp_path) as writers:
        for number, size in enumerate([(9, 7), (4, 6)]):
            output = PoseOutput(np.zeros((0, 17, 2)), np.zeros((0, 17)), image_size=size)
            writers.write(Frame(item, frame_index=number, video=video), output)
    document = json.loads((tmp_path / "clip.json").read_text())
    assert [PoseOutput.from_dict({**document, **each}).image_size for each in document["frames"]] == [(9, 7), (4, 6)]
    assert "image_size" not in document["frames"][0]


def test_json_of_a_video_grows_with_every_frame(
    write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput
) -> None:
    writer = JsonWriter(tmp_path / "out")
    path = tmp_path / "out" / "clip.json"
    for count, frame in enumerate(open_source(write_video()), start=1):
        writer.write(frame, make_output(frame))
        assert len(json.loads(partial_path(path).read_text())["frames"]) == count and not path.exists()
    writer.close()
    assert path.exists()


def test_frame_whose_result_failed_keeps_its_place(write_video: Callable[..., Path], tmp_path: Path) -> None:
    with open_writers(pred_out_dir=tmp_path) as writers:
        for frame in open_source(write_video(num_frames=3)):
            writers.write(frame, PoseOutput.failed("no memory left"))
    entries = json.loads((tmp_path / "clip.json").read_text())["frames"]
    told = {"error": "no memory left", "predictions": []}
    assert entries == [{"frame_index": i, "timestamp": i / 25, **told} for i in range(3)]


def test_bad_inputs_write_nothing(tmp_path: Path, make_output: MakeOutput) -> None:
    (tmp_path / "empty.mp4").touch()
    inputs = [tmp_path / "nowhere.jpg", tmp_path / "empty.mp4"]
    formats = ("json", "openpose")
    frames = run(open_writers(out_dir=tmp_path / "out", formats=formats), inputs, make_output)
    assert len(frames) == 2 and not files(tmp_path / "out")


def test_cut_off_video_keeps_what_was_read(cut_video: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    frames = run(open_writers(out_dir=tmp_path / "out"), cut_video, make_output)
    entries = json.loads((tmp_path / "out" / "predictions" / "cut.json").read_text())["frames"]
    assert len(entries) == len(frames) - 1 > 20
    capture = cv2.VideoCapture(str(tmp_path / "out" / "visualizations" / "cut.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == len(entries)


# Images and videos


def test_out_dir_has_both_folders(
    images: Path, write_video: Callable[..., Path], tmp_path: Path, photo: np.ndarray, make_output: MakeOutput
) -> None:
    run(open_writers(out_dir=tmp_path / "out"), [images, write_video()], make_output)
    assert list(files(tmp_path / "out")) == [
        *(f"predictions/{name}.json" for name in ("a", "b", "clip")),
        *(f"visualizations/{name}" for name in ("a.jpg", "b.jpg", "clip.mp4")),
    ]
    drawn = load_image(tmp_path / "out" / "visualizations" / "a.jpg")
    assert np.abs(drawn.astype(int) - photo).mean() < 4


@pytest.mark.parametrize(("argument", "written"), [("pred_out_dir", "a.json"), ("vis_out_dir", "a.jpg")])
def test_single_folders(images: Path, tmp_path: Path, make_output: MakeOutput, argument: str, written: str) -> None:
    writers = open_writers(**{argument: tmp_path / "out"})  # type: ignore[arg-type]
    assert writers.wants_visualization == (argument == "vis_out_dir")
    run(writers, images / "a.png", make_output)
    assert list(files(tmp_path / "out")) == [written]


def test_single_folder_goes_before_out_dir(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    writers = open_writers(out_dir=tmp_path / "out", vis_out_dir=tmp_path / "drawn")
    run(writers, images / "a.png", make_output)
    assert (tmp_path / "out" / "predictions" / "a.json").is_file() and (tmp_path / "drawn" / "a.jpg").is_file()
    assert not (tmp_path / "out" / "visualizations").exists()


@pytest.mark.parametrize("fps", [12.5, 29.97])
def test_drawn_video_has_the_frames_rate_and_size_of_its_source(
    write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput, fps: float
) -> None:
    run(open_writers(vis_out_dir=tmp_path / "out"), write_video(num_frames=9, fps=fps), make_output)
    (frame, *others) = open_source(tmp_path / "out" / "clip.mp4")
    assert len(others) == 8
    assert frame.video is not None and frame.image is not None
    assert frame.video.fps == pytest.approx(fps, abs=0.01) and frame.image.shape == (48, 64, 3)


@pytest.mark.parametrize(("name", "fps", "size"), [("demo", 5.0, (960, 540)), ("people", 30.0, (1280, 720))])
def test_reference_clips(
    shared: Path, tmp_path: Path, make_output: MakeOutput, name: str, fps: float, size: tuple[int, int]
) -> None:
    run(open_writers(out_dir=tmp_path), shared / "videos" / f"{name}.mp4", make_output)
    drawn = list(open_source(tmp_path / "visualizations" / f"{name}.mp4"))
    entries = json.loads((tmp_path / "predictions" / f"{name}.json").read_text())["frames"]
    assert len(drawn) == 5 and [entry["frame_index"] for entry in entries] == [0, 1, 2, 3, 4]
    video = drawn[0].video
    assert video is not None and (video.fps, video.width, video.height, video.num_frames) == (fps, *size, 5)


@pytest.mark.parametrize("name", ["drawn.png", "drawn.JPG"])
def test_one_image_into_one_file(images: Path, tmp_path: Path, make_output: MakeOutput, name: str) -> None:
    run(open_writers(vis_out_dir=tmp_path / "out" / name), images / "a.png", make_output)
    assert list(files(tmp_path / "out")) == [name]


def test_one_video_into_one_file(write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput) -> None:
    run(open_writers(vis_out_dir=tmp_path / "out" / "drawn.mp4"), write_video(), make_output)
    assert len(list(open_source(tmp_path / "out" / "drawn.mp4"))) == 12


def test_folder_with_the_name_of_an_image(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    (tmp_path / "out.jpg").mkdir()
    run(open_writers(vis_out_dir=tmp_path / "out.jpg"), images, make_output)
    assert list(files(tmp_path / "out.jpg")) == ["a.jpg", "b.jpg"]


def test_several_images_do_not_fit_into_one_file(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    with pytest.raises(InputError, match="give a folder"):
        run(open_writers(vis_out_dir=tmp_path / "out.jpg"), images, make_output)


def test_a_video_is_no_image(write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput) -> None:
    with pytest.raises(InputError, match=r"\.mp4"):
        run(open_writers(vis_out_dir=tmp_path / "out.jpg"), write_video(), make_output)


# Names


def test_same_base_names_do_not_overwrite_each_other(
    images: Path, write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput
) -> None:
    inputs = [images / "a.png", write_video("a.mp4"), images / "a.png", images / "sub" / "a.png"]
    run(open_writers(out_dir=tmp_path / "out"), inputs, make_output)
    assert list(files(tmp_path / "out")) == [
        *(f"predictions/{name}.json" for name in ("a", "a_mp4", "a_png", "a_png_2")),
        *(f"visualizations/{name}" for name in ("a.jpg", "a_mp4.mp4", "a_png.jpg", "a_png_2.jpg")),
    ]


def test_subfolders_are_kept(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    run(open_writers(out_dir=tmp_path / "out"), images, make_output, recursive=True)
    assert [name for name in files(tmp_path / "out") if "sub" in name] == [
        "predictions/sub/a.json",
        "visualizations/sub/a.jpg",
    ]


def test_arrays_are_numbered(photo: np.ndarray, tmp_path: Path, make_output: MakeOutput) -> None:
    run(open_writers(pred_out_dir=tmp_path), iter([photo, photo]), make_output)
    assert list(files(tmp_path)) == ["0000000000.json", "0000000001.json"]


# Mistakes


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"xml.*json, mmpose, coco, openpose, csv"):
        open_writers(out_dir=tmp_path, formats=("json", "xml"))


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot make the folder"):
        open_writers(out_dir=tmp_path / "file")


def test_no_writers() -> None:
    group = open_writers()
    assert not group.writers and not group.wants_visualization


# Runs that break off


def test_streams_that_take_turns_have_a_file_each(tmp_path: Path, make_output: MakeOutput) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    items = [MediaItem(i, "stream", f"camera{i}", f"rtsp://{i}") for i in range(2)]
    with Run(tmp_path, resume=False) as run:
        writers = open_writers(out_dir=tmp_path, formats=["json", "openpose"])
        run.begin(writers.outputs, writers.is_complete)
        with writers:
            for number in range(6):
                frame = Frame(items[number % 2], image, None, number // 2, VideoInfo(25, 64, 48, None), number / 25)
                output = make_output(frame)
                writers.write(frame, output)
                run.note(frame, output)
    for item in items:
        frames = json.loads((tmp_path / "predictions" / f"{item.name}.json").read_text())["frames"]
        assert [frame["frame_index"] for frame in frames] == [0, 1, 2]
        assert len(list((tmp_path / "predictions" / "openpose" / item.name).iterdir())) == 3
        assert len(list(open_source(tmp_path / "visualizations" / f"{item.name}.mp4"))) == 3
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [(line["name"], line["frames"], line["status"]) for line in lines] == [
        ("camera0", 3, "ok"),
        ("camera1", 3, "ok"),
    ]


def test_webcam_recording_is_finished_however_it_ends(tmp_path: Path, make_output: MakeOutput) -> None:
    camera = Camera([np.zeros((48, 64, 3), np.uint8)] * 6)
    formats = ("json", "coco", "openpose", "csv")
    writers = open_writers(out_dir=tmp_path, formats=formats)
    with (
        pytest.raises(KeyboardInterrupt),
        writers,
        open_source("webcam", capture_factory=lambda number: camera) as source,
    ):
        for frame in source:
            writers.write(frame, make_output(frame))
            if frame.frame_index == 4:
                raise KeyboardInterrupt
    assert len(json.loads((tmp_path / "predictions" / "webcam.json").read_text())["frames"]) == 5
    drawn = list(open_source(tmp_path / "visualizations" / "webcam.mp4"))
    assert len(drawn) == 5 and drawn[-1].error is None
    assert not [name for name in files(tmp_path) if ".part" in name]


def test_interrupted_video_keeps_its_temporary_name(
    write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput
) -> None:
    def interrupting(frame: Frame) -> PoseOutput:
        if frame.frame_index == 5:
            raise KeyboardInterrupt
        return make_output(frame)

    formats = ("json", "coco", "openpose", "csv")
    out = tmp_path / "out"
    clip = write_video()
    with pytest.raises(KeyboardInterrupt):
        run(open_writers(out_dir=out, formats=formats), clip, interrupting)
    assert all(".part" in name for name in files(out)) and files(out)
    assert len(json.loads((out / "predictions" / ".clip.json.part").read_text())["frames"]) == 5
    run(open_writers(out_dir=out, formats=formats), clip, make_output)
    run(open_writers(out_dir=tmp_path / "undisturbed", formats=formats), clip, make_output)
    assert files(out) == files(tmp_path / "undisturbed")


@pytest.fixture
def start() -> Iterator[Callable[..., RunningPython]]:
    """Starts tests/media/run_with_writers.py, and ends it with the test."""
    with ExitStack() as stack:

        def start_process(out: Path, *inputs: Path, delay: float = 0, resume: bool = False) -> RunningPython:
            script = Path(__file__).with_name("run_with_writers.py")
            arguments = (out, delay, int(resume), ALL_FORMATS, *inputs)
            return stack.enter_context(RunningPython(script, out.parent, {}, arguments))

        yield start_process


ALL_FORMATS = "json,coco,openpose,csv"


@pytest.mark.parametrize("kill_after", [4, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 7, 11))])
def test_killed_run_leaves_nothing_half_written_and_can_be_resumed(
    images: Path,
    write_video: Callable[..., Path],
    tmp_path: Path,
    start: Callable[..., RunningPython],
    kill_after: int,
) -> None:
    for i in range(3):
        (images / f"c{i}.png").write_bytes((images / "a.png").read_bytes())
    inputs = [images, write_video("long.mp4", num_frames=6), images / "a.png"]
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    process = start(out, *inputs, delay=0.05)
    process.wait_for_lines(kill_after)
    process.kill()
    process.communicate()
    whole = start(undisturbed, *inputs)
    assert whole.communicate()[0].count("\n") == 12
    expected = files(undisturbed)
    for name, data in files(out).items():
        if ".part" not in name:
            assert data == expected[name], name
        elif name.endswith("json.part"):
            json.loads(data)
    resumed = start(out, *inputs, resume=True)
    printed = resumed.communicate()[0].count("\n")
    assert files(out) == expected
    assert printed <= 12 - kill_after + 6  # what was complete is not done again, but for the clip (or the last image)


def test_resuming_a_finished_run_does_nothing(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    formats = ("json", "coco", "openpose", "csv")
    out = tmp_path / "out"
    run(open_writers(out_dir=out, formats=formats), images, make_output)
    before = files(out)
    writers = open_writers(out_dir=out, formats=formats, resume=True)
    assert run(writers, images, make_output, skip=writers.is_complete) == []
    assert files(out) == before


def test_resuming_does_what_is_new_or_was_lost(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    formats = ("json", "coco", "csv")
    out = tmp_path / "out"
    inputs = [images / "a.png", images / "b.png"]
    run(open_writers(out_dir=out, formats=formats), inputs, make_output)
    before = files(out)
    (out / "visualizations" / "b.jpg").unlink()
    writers = open_writers(out_dir=out, formats=formats, resume=True)
    done = run(writers, [*inputs, images / "sub" / "a.png"], make_output, skip=writers.is_complete)
    assert [frame.name for frame in done] == ["b", "a_png"]
    after = files(out)
    assert {name for name in after if after[name] != before.get(name)} == {
        "predictions/a_png.json",
        "predictions/results.coco.json",
        "predictions/results.csv",
        "visualizations/a_png.jpg",
    }
    assert [row["file_name"] for row in json.loads(after["predictions/results.coco.json"])] == ["a", "b", "a_png"]


@pytest.mark.parametrize("table", ["coco", "csv"])
def test_tables_without_a_manifest_are_resumed(
    images: Path, tmp_path: Path, make_output: MakeOutput, table: str
) -> None:
    def interrupting(frame: Frame) -> PoseOutput:
        if frame.name == "a_png":
            raise KeyboardInterrupt
        return make_output(frame)

    options = {"pred_out_dir": tmp_path / "out", "formats": ["json", table]}
    inputs = [images / "a.png", images / "b.png", images / "sub" / "a.png"]
    with pytest.raises(KeyboardInterrupt):
        run(open_writers(**options), inputs, interrupting)
    with Run(None, resume=True) as resumed:
        writers = open_writers(**options, resume=True)
        resumed.begin(writers.outputs, writers.is_complete)
        assert [frame.name for frame in run(writers, inputs, make_output, skip=resumed.skip)] == ["b", "a_png"]


def test_without_resume_everything_is_new(images: Path, tmp_path: Path, make_output: MakeOutput) -> None:
    run(open_writers(out_dir=tmp_path / "out", formats=("coco", "csv")), images, make_output)
    run(open_writers(out_dir=tmp_path / "out", formats=("coco", "csv")), images / "b.png", make_output)
    rows = json.loads((tmp_path / "out" / "predictions" / "results.coco.json").read_text())
    assert [row["file_name"] for row in rows] == ["b"]


# Folders that are inputs too, and other runs


@pytest.mark.parametrize("target", ["", "a.png", "."])
def test_drawings_are_never_written_over_inputs(images: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images)
    place = Path() if target == "." else images / target
    inputs = images / "a.png" if target else images
    with pytest.raises(InputError, match="over inputs"):
        open_writers(vis_out_dir=place, source=open_source(inputs))


def test_drawings_of_subfolders_are_not_written_over_those_of_others(images: Path) -> None:
    with pytest.raises(InputError, match="over inputs"):
        open_writers(vis_out_dir=images / "sub", source=open_source(images, recursive=True))


def test_results_inside_of_the_inputs_are_not_read_again(images: Path, make_output: MakeOutput) -> None:
    def names() -> list[str]:
        return [frame.name for frame in open_source(images, recursive=True)]

    before = names()
    run(open_writers(out_dir=images / "out"), open_source(images, recursive=True), make_output)
    assert names() == before
    source = open_source(images, recursive=True)
    list(source)
    assert source.left_out.counts == {"subfolder with results of an earlier run": 1}


def test_a_second_run_keeps_away_from_the_folder(tmp_path: Path) -> None:
    with open_writers(out_dir=tmp_path), pytest.raises(InputError, match="Another run"):
        open_writers(out_dir=tmp_path)
    with open_writers(out_dir=tmp_path):
        pass


def test_a_writer_that_cannot_be_opened_does_not_keep_the_folder(tmp_path: Path) -> None:
    (tmp_path / "predictions" / ".results.csv.part").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as told:
        open_writers(out_dir=tmp_path, formats=["json", "csv"])
    assert told.value.filename  # which holds on to where it was raised, as notebooks do
    with open_writers(out_dir=tmp_path):
        pass


def test_a_writer_that_fails_at_the_end_does_not_keep_others_from_it(
    write_video: Callable[..., Path], tmp_path: Path, make_output: MakeOutput
) -> None:
    (tmp_path / "predictions" / "results.csv" / "in the way").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        run(open_writers(out_dir=tmp_path, formats=["json", "csv"]), write_video(), make_output)
    assert (tmp_path / "visualizations" / "clip.mp4").is_file()
    with open_writers(out_dir=tmp_path):
        pass


def test_an_empty_name_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MMPose's layer says "" for nothing."""
    monkeypatch.chdir(tmp_path)
    with open_writers(pred_out_dir="", vis_out_dir=""):
        pass
    assert not list(tmp_path.iterdir())
