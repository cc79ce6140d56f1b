"""The app as a program asks it."""

from __future__ import annotations

import csv
import json
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hfpose.hub.resolve import PACKAGED_SCENES
from hfpose.keypoints import load_schema
from hfpose.media.images import load_image, save_image
from hfpose.media.video_writing import VideoFile
from hfpose.results import PoseOutput

client_package = pytest.importorskip("gradio_client")
pytest.importorskip("gradio")
pytest.importorskip("plotly")

SCENE = PACKAGED_SCENES / "300.jpg"


@pytest.fixture(scope="module")
def client(app_url, gradio_files):
    return client_package.Client(app_url, verbose=False, download_files=gradio_files, httpx_kwargs={"timeout": 60})


def settings(path: Path, model: str = "demo", style: str = "left and right", heatmaps: bool = False) -> tuple:
    return client_package.handle_file(str(path)), model, "default", 0.3, 0.3, style, heatmaps


def by_ending(files: list[str]) -> dict[str, Path]:
    return {Path(file).suffix: Path(file) for file in files}


def clip(folder: Path, frames: int, fps: float = 10.0) -> Path:
    video = VideoFile(folder / "clip.mp4", (320, 320), fps=fps)
    for _ in range(frames):
        video.write(load_image(SCENE)[:320, :320].copy(), None)
    video.finish()
    return folder / "clip.mp4"


def test_an_image_is_drawn_and_its_results_are_files(client):
    drawn, _, told, files = client.predict(*settings(SCENE), api_name="/image")
    assert told.startswith("3 found, 17 keypoints")
    assert np.abs(load_image(drawn).astype(int) - load_image(SCENE)).mean() > 0.5
    found = by_ending(files)
    assert found.keys() == {".json", ".csv"}
    assert len(json.loads(found[".json"].read_text())["predictions"]) == 3
    assert len(list(csv.DictReader(found[".csv"].open()))) >= 3


def test_gradio_makes_an_interface_of_a_pipeline():
    import gradio
    import transformers
    from gradio.pipelines_utils import handle_transformers_pipeline

    import hfpose

    poses = hfpose.pipeline(model="demo", device="cpu")
    pipe = transformers.pipeline("pose-estimation", model=poses)
    interface = gradio.Interface.from_pipeline(pipe)
    assert isinstance(interface.output_components[0], gradio.AnnotatedImage)
    # What the interface does, by its two ends: gradio 6.31 itself looks for a module that transformers 5 has no more.
    ends = handle_transformers_pipeline(pipe)
    shown, boxes = ends["postprocess"](pipe(**ends["preprocess"](str(SCENE))), str(SCENE))
    assert shown == str(SCENE)
    assert [label for _, label in boxes] == ["instance"] * 3
    assert [list(box) for box, _ in boxes] == poses(SCENE).boxes.round().astype(int).tolist()


def test_heatmaps_and_styles_are_drawn(client):
    drawn = client.predict(*settings(SCENE, heatmaps=True), api_name="/image")[0]
    height, width = load_image(SCENE).shape[:2]
    assert load_image(drawn).shape == (2 * height, width, 3)
    controlnet = client.predict(*settings(SCENE, style="ControlNet"), api_name="/image")[0]
    assert np.median(load_image(controlnet)) < 10


def test_people_in_3d_can_be_turned_and_taken_home_as_motions(client):
    _, figure, _, files = client.predict(*settings(SCENE, "demo3d"), api_name="/image")
    assert figure["visible"] and "scatter3d" in figure["value"]["plot"]
    assert {".json", ".csv", ".trc", ".bvh"} <= by_ending(files).keys()


def test_a_video_has_identities_plots_and_a_drawn_video(client, tmp_path):
    results = client.predict(*settings(clip(tmp_path, 8)), api_name="/video")
    _, drawn, told, tracks, _, _, plot, _, files = results
    assert told == "8 frames." and Path(drawn).suffix == ".mp4"
    assert [row[3] for row in tracks["data"]] == [8] * len(tracks["data"]) and tracks["data"]
    assert "seconds" in plot["plot"] and {".json", ".csv", ".mp4"} == by_ending(files).keys()


def test_who_has_no_identity_is_in_no_table_and_no_plot():
    from hfpose.app.upload_handling import plot_keypoint, track_rows

    schema = load_schema("coco")
    output = PoseOutput(np.zeros((2, 17, 2)), np.ones((2, 17)), track_ids=[-1, 4], schema=schema, timestamp=0.5)
    assert [row[0] for row in track_rows([output])] == [4]
    assert {line.name for line in plot_keypoint([output], "nose").data} == {"#4 x", "#4 y"}


def test_a_video_of_one_frame_has_results_too(client, tmp_path):
    told, tracks = client.predict(*settings(clip(tmp_path, 1)), api_name="/video")[2:4]
    assert told == "1 frames." and len(tracks["data"]) == 3


def test_ten_uploads_at_once_are_all_answered(client):
    jobs = [client.submit(*settings(SCENE), api_name="/image") for _ in range(10)]
    assert {job.result(timeout=60)[2] for job in jobs} == {"3 found, 17 keypoints each."}


def test_a_broken_file_is_told_by_its_name_and_loses_nobody_else(client, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image at all")
    bad, good = (client.submit(*settings(path), api_name="/image") for path in (broken, SCENE))
    with pytest.raises(Exception, match=r"'broken\.jpg' is no image that can be read"):
        bad.result(timeout=60)
    assert good.result(timeout=60)[2].startswith("3 found")
    video = tmp_path / "broken.mp4"
    video.write_bytes(b"no video at all")
    with pytest.raises(Exception, match=r"broken\.mp4"):
        client.predict(*settings(video), api_name="/video")


def test_an_animation_is_told_where_an_image_is_expected(client, tmp_path):
    images = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    images[0].save(tmp_path / "two.gif", save_all=True, append_images=images[1:])
    with pytest.raises(Exception, match=r"two\.gif holds several images"):
        client.predict(*settings(tmp_path / "two.gif"), api_name="/image")


def test_what_is_over_a_limit_is_refused_with_the_limit(client, tmp_path):
    with pytest.raises(Exception, match="lasts 4 s; this app takes 3 s"):
        client.predict(*settings(clip(tmp_path, 4, fps=1.0)), api_name="/video")
    save_image(tmp_path / "large.png", np.zeros((2001, 2000, 3), np.uint8))
    with pytest.raises(Exception, match="2000x2001 pixels; this app takes 4 million"):
        client.predict(*settings(tmp_path / "large.png"), api_name="/image")


def test_other_models_than_those_of_the_app_are_not_loaded(client):
    with pytest.raises(Exception, match="not in the list of choices"):
        client.predict(*settings(SCENE, str(PACKAGED_SCENES.parent / "demo")), api_name="/image")


def test_a_cancelled_video_makes_way_for_the_next_upload(client, tmp_path):
    job = client.submit(*settings(clip(tmp_path, 29)), api_name="/video")
    job.cancel()
    following = client.submit(*settings(clip(tmp_path / "next", 2)), api_name="/video")
    assert following.result(timeout=60)[2] == "2 frames."


def test_an_image_does_not_wait_for_the_end_of_a_video():
    from hfpose.app import build_app

    queues = {each.api_name: each.concurrency_id for each in build_app().fns.values()}
    assert queues["image"] != queues["video"]


def test_the_app_listens_on_this_machine_alone(app_url):
    port = int(app_url.rstrip("/").rpartition(":")[2])
    assert app_url.startswith("http://127.0.0.1")
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))  # would answer if it listened everywhere
