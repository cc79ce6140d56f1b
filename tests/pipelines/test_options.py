"""Options that have no effect beside the others, or on the inputs, are refused."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from hfpose import pipeline
from hfpose.errors import ConfigError, InputError
from hfpose.media.sources import open_source
from hfpose.pipelines.foreign_arguments import OF_CALLS, OF_PIPELINES
from hfpose.pipelines.options import CallOptions, CallOptions3D, LiftingOptions, make_options
from hfpose.tracking.trackers import make_tracker
from hfpose.visualization import draw_poses


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"smooth": True}, "track=True"),
        ({"fill_gaps": 0.5}, "track=True"),
        ({"link_tracks": True}, "track=True"),
        ({"tracking": {"max_gap": 1.0}}, "track=True"),
        ({"track": False, "people": 1, "tracking_threshold": 0.5}, "track=True"),
        ({"track": True, "smooth": "median", "smooth_cutoff": 3.0}, "smooth='butterworth' or 'gaussian'"),
        ({"track": True, "smooth_cutoff": 3.0}, "smooth='butterworth' or 'gaussian'"),
        ({"track": True, "smooth": True, "smooth_window": 0.5}, "smooth='median' or 'hampel'"),
        ({"track": True, "smooth": "median", "outlier_threshold": 2.0}, "smooth='hampel'"),
        ({"track": True, "smooth": "gaussian", "smooth_beta": 2.0}, "smooth='one-euro'"),
        ({"boxes": [[0, 0, 9, 9]], "detect_every": 5}, "a detector"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_without_an_effect(given: dict[str, Any], needed: str) -> None:
    with pytest.raises(InputError, match=f"{list(given)[-1]}=.* has no effect here: it needs .*{needed}"):
        make_options(CallOptions, given)
    assert make_options(CallOptions, {}, given)  # defaults of many calls need no effect in each


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"num_instances": 2}, "return_visualization=True"),
        ({"return_heatmaps": True}, "a pipeline without a lifter"),
        ({"online": False, "lookahead": 3}, "online=True"),
        ({"temporal": "frame", "window": 9}, "temporal='clip'"),
        ({"temporal": "frame", "max_gap": 9}, "temporal='clip'"),
        ({"online": True, "link_tracks": True}, "a clip"),
        ({"track": False, "constant_bones": True}, "track=True"),
        ({"track": False, "root": "planar"}, "track=True"),
        ({"ground": "frame", "height": 1.8}, "root='planar' or 'camera', or ground='clip'"),
        ({"online": True, "field_of_view": 60.0}, "a clip"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_of_a_lifter_without_an_effect(given: dict[str, Any], needed: str) -> None:
    with pytest.raises(InputError, match=f"{list(given)[-1]}=.* has no effect here: it needs .*{needed}"):
        make_options(LiftingOptions, given)
    assert make_options(LiftingOptions, {}, given)


@pytest.mark.parametrize("given", [{"lookahead": 3}, {"stride": 1}])
def test_frames_to_come_are_waited_for_in_streams_alone(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"has no effect here: none of the inputs is a webcam .* online=True"):
        make_options(LiftingOptions, given).check_source(open_source("clip.mp4"), given)
    make_options(LiftingOptions, given).check_source(open_source("webcam"), given)
    make_options(LiftingOptions, {**given, "online": True}).check_source(open_source("clip.mp4"), given)


def test_values_out_of_range_are_told_before_a_run() -> None:
    for given in ({"fill_gaps": -1.0, "track": True}, {"smooth_min_cutoff": 0.0}, {"num_workers": -1}):
        with pytest.raises(InputError, match=f"{next(iter(given))} is .* it must be"):
            make_options(CallOptions, given)
    for smooth in (1, None, ["mean"]):
        with pytest.raises(InputError, match=r"smooth is .*; expected True, False or 'one-euro'"):
            make_options(CallOptions, {"smooth": smooth, "track": True})
    assert not make_options(CallOptions, {"smooth": [], "track": True}).smooths_by_frame("a stream")
    with pytest.raises(InputError, match="axes must be one of world, camera, mmpose, got 'up'"):
        make_options(CallOptions3D, {"axes": "up"})


def test_options_of_drawing_are_told_before_a_run() -> None:
    with pytest.raises(TypeError, match=r"drawing has no option 'thicknes'. Did you mean 'thickness'"):
        make_options(LiftingOptions, {"drawing": {"thicknes": 2}})
    with pytest.raises(InputError, match="expected options of draw_poses"):
        make_options(CallOptions, {"drawing": ["thickness"]})


def test_options_with_an_effect() -> None:
    smooth = {"smooth": ["hampel", "one-euro"], "smooth_window": 0.5, "outlier_threshold": 2.0, "smooth_beta": 3.0}
    assert make_options(CallOptions, {"track": True, "tracking_threshold": 0.5, **smooth})
    assert make_options(CallOptions, {"people": "largest", "smooth": True, "smooth_cutoff": 3.0, "smooth_beta": 3.0})
    assert make_options(LiftingOptions, {"smooth": "gaussian", "smooth_cutoff": 3.0, "tracking": {"max_gap": 1.0}})


@pytest.mark.parametrize("given", [{"detect_every": 5}, {"live": "all"}, {"reconnect": 1.0}])
def test_options_for_other_inputs(given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    options = make_options(CallOptions, given)
    with pytest.raises(InputError, match="has no effect here: none of the inputs is a webcam or a stream"):
        options.check_source(open_source(tmp_path), given)
    options.check_source(open_source([tmp_path, "webcam", "clip.mp4"]), given)
    options.check_source(open_source(path for path in [tmp_path]), given)  # it is not known before they come


@pytest.mark.parametrize("given", [{"root": "planar"}, {"constant_bones": True}])
def test_people_are_placed_over_clips_alone(given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match="has no effect here: none of the inputs is a video"):
        make_options(LiftingOptions, given).check_source(open_source(tmp_path), given)
    tracked = {**given, "track": True}  # images that are one clip
    make_options(LiftingOptions, tracked).check_source(open_source(tmp_path), tracked)
    make_options(LiftingOptions, given).check_source(open_source("clip.mp4"), given)


def test_options_of_other_pipelines_are_told() -> None:
    for kind in (CallOptions, CallOptions3D):
        with pytest.raises(TypeError, match=r"no option 'root'.* pipelines that lift people to 3D"):
            make_options(kind, {"root": "planar"})
    with pytest.raises(InputError, match="ground must be 'clip', 'frame' or None, got 'floor'"):
        make_options(CallOptions3D, {"ground": "floor"})


def test_settings_of_another_tracker() -> None:
    pytest.importorskip("trackers", reason="needs trackers: pip install 'hfpose[tracking]'")
    with pytest.raises(InputError, match=r"tracking_threshold=.* has no effect here: .*others have own thresholds"):
        make_options(CallOptions, {"track": "bytetrack", "tracking_threshold": 0.5})
    message = "'bytetrack' has no setting 'appearance', only lost_track_buffer.* one of track=True, 'iou' and 'oks'"
    with pytest.raises(InputError, match=message):
        make_tracker("bytetrack", settings={"appearance": 1.0})
    with pytest.raises(InputError, match="True has no setting 'lost_track_buffer', only association"):
        make_tracker(True, settings={"lost_track_buffer": 9})


def test_names_of_other_libraries_are_told_by_ours() -> None:
    for name, ours in (("conf", "box_threshold"), ("threshold", "box_threshold"), ("kpt_thr", "keypoint_threshold")):
        with pytest.raises(TypeError, match=f"no option '{name}'. Did you mean '{ours}'"):
            make_options(CallOptions, {name: 0.5})


@pytest.mark.parametrize("foreign", [OF_CALLS, OF_PIPELINES])
def test_what_is_suggested_is_there(foreign: dict[str, str]) -> None:
    calls = CallOptions.__dataclass_fields__.keys()
    known = {*calls, *inspect.signature(pipeline).parameters, *inspect.signature(draw_poses).parameters}
    named = re.findall(r"mean '(\w+)'|([a-z_]+)=", " ".join(foreign.values()))
    assert {name for names in named for name in names if name} <= known
    assert not foreign.keys() & (calls if foreign is OF_CALLS else known - calls)


def test_options_of_calls_may_be_given_to_the_pipeline() -> None:
    pipe = pipeline(model="demo", box_threshold=0.99)
    assert pipe.call_defaults == {"box_threshold": 0.99}
    assert pipe.dtype == pipe.model.dtype and pipe.image_processor is pipe.estimator.stage.image_processor
    for name, reason in (("weigths", "mean 'weights'"), ("half", "dtype='float16'"), ("boxes", "belong to a call")):
        with pytest.raises(TypeError, match=reason):
            pipeline(model="demo", **{name: 1})


def test_a_score_above_one_is_refused() -> None:
    with pytest.raises(InputError, match="box_threshold is 30, but scores"):
        make_options(CallOptions, {"box_threshold": 30})


def test_a_model_that_is_given_as_the_task_is_told() -> None:
    with pytest.raises(ValueError, match=r"'human' is a model: pipeline\(model='human'\)"):
        pipeline("human")
    with pytest.raises(ConfigError, match="the model 'demo' has its own"):
        pipeline(model="demo", weights="a.pth")


def test_a_mode_does_not_go_with_a_model_that_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"^Given mode, but the RTMPoseForPoseEstimation that is given is loaded"):
        pipeline(model=pipeline(model="demo").model, mode="balanced")
