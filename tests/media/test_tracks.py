from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.media import open_writers
from hfpose.media.c3d import MOST_FRAMES
from hfpose.media.files import OUTPUT_MARKER, FolderOfFiles
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.motions import MotionFormat, MotionOptions, PersonMotion, write_motions
from hfpose.media.tracks import TrackWriter, save_motion
from hfpose.ops.axes import turn_axes
from hfpose.results import PoseOutput
from motion_files import read_bvh, read_glb, read_trc

VIDEO = VideoInfo(20.0, 64, 48, None)
MARKERS = [
    "Hip",
    "RHip",
    "RKnee",
    "RAnkle",
    "LHip",
    "LKnee",
    "LAnkle",
    "Spine",
    "Neck",
    "Nose",
    "Head",
    "LShoulder",
    "LElbow",
    "LWrist",
    "RShoulder",
    "RElbow",
    "RWrist",
]


def frame(number: int | None, name: str = "clip", index: int = 0) -> Frame:
    item = MediaItem(index, "image" if number is None else "video", name)
    return Frame(item, frame_index=number, video=None if number is None else VIDEO)


def people(*tracks: int, shift: float = 0.0, schema: str = "h36m") -> PoseOutput:
    """Keypoint k of track t at (t, shift, k / 10)."""
    keypoints = np.zeros((len(tracks), load_schema(schema).num_keypoints, 3))
    keypoints[..., 0], keypoints[..., 1] = np.array(tracks)[:, None], shift
    keypoints[..., 2] = np.arange(keypoints.shape[1]) / 10
    return PoseOutput(
        keypoints=keypoints,
        keypoint_scores=np.ones(keypoints.shape[:2]),
        track_ids=np.array(tracks, np.int64),
        schema=load_schema(schema),
    )


def write(writer: TrackWriter, *results: tuple[Frame, PoseOutput]) -> None:
    for result in results:
        writer.write(*result)
    writer.close()


def test_trc_is_in_millimeters_with_y_up(tmp_path: Path) -> None:
    write(TrackWriter(tmp_path, "trc"), (frame(0), people(2, shift=0.5)), (frame(1), people(2, shift=0.75)))
    header, names, rows = read_trc((tmp_path / "clip" / "clip_track2.trc").read_text())
    assert (header["Units"], header["NumFrames"], header["NumMarkers"]) == ("mm", "2", "17")
    assert float(header["DataRate"]) == 20
    assert names == MARKERS
    assert rows[:, :2].tolist() == [[1, 0], [2, 0.05]]
    # x left, y toward the camera, z up -> x toward the camera, y up, z left: right for whoever looks at the camera
    assert rows[1, 2 + 3 * 4 : 5 + 3 * 4] == pytest.approx([750, 400, 2000])


def test_columns_of_trc_are_where_pandas_and_pose2sim_look(tmp_path: Path) -> None:
    write(TrackWriter(tmp_path, "trc"), (frame(0), people(2)), (frame(1), people(2)))
    table = (tmp_path / "clip" / "clip_track2.trc").read_text().splitlines()[4:]
    assert {line.count("\t") for line in table if line} == {2 + 3 * len(MARKERS)}


@pytest.mark.parametrize("axes", ["camera", "mmpose"])
def test_results_in_other_axes_are_turned(axes: str, tmp_path: Path) -> None:
    keypoints = np.random.default_rng(0).normal(size=(1, 17, 3)).astype(np.float32)  # in the camera's axes
    for name in ("world", axes):
        given = PoseOutput(turn_axes(keypoints, name), np.ones((1, 17)), schema=load_schema("h36m"), axes=name)
        save_motion([replace(given, track_ids=np.array([1]))], tmp_path / name / "clip", "trc")
    files = [(tmp_path / name / "clip" / "clip_track1.trc").read_text() for name in ("world", axes)]
    assert files[0] == files[1]


def test_frames_without_the_person_are_empty_in_trc(tmp_path: Path) -> None:
    results = [(frame(3), people(0, 1)), (frame(4), people(1)), (frame(5), people()), (frame(6), people(0))]
    write(TrackWriter(tmp_path, "trc"), *results)
    header, _, rows = read_trc((tmp_path / "clip" / "clip_track0.trc").read_text())
    assert rows[:, 0].tolist() == [4, 5, 6, 7] and rows[:, 1] == pytest.approx([0.15, 0.2, 0.25, 0.3])
    assert np.isnan(rows[:, 2:]).all(1).tolist() == [False, True, True, False]
    assert header["OrigDataStartFrame"] == "4"
    _, _, rows = read_trc((tmp_path / "clip" / "clip_track1.trc").read_text())
    assert rows[:, 0].tolist() == [4, 5]


def test_bvh_holds_the_pose_and_says_where_it_begins(tmp_path: Path) -> None:
    lifted = [people(0, shift=shift) for shift in (0.0, 0.3, 0.6)]
    results = [(frame(2), lifted[0]), (frame(3), lifted[1]), (frame(4), people()), (frame(5), lifted[2])]
    write(TrackWriter(tmp_path, "bvh"), *results)
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == ["clip_track0_from2.bvh", "gaps.csv"]
    gaps = (tmp_path / "clip" / "gaps.csv").read_text().splitlines()
    assert gaps[:2] == ["person,keypoint,first_frame,last_frame", "track0,all,4,4"] and len(gaps) == 2
    file = read_bvh((tmp_path / "clip" / "clip_track0_from2.bvh").read_text())
    assert file.frame_time == pytest.approx(0.05)
    assert file.joints()["Hips"][:, 2] == pytest.approx([0, 0.3, 0.3, 0.6])


def test_each_video_has_a_folder_that_appears_when_it_is_complete(tmp_path: Path) -> None:
    writer = TrackWriter(tmp_path, "bvh")
    first, second = frame(0, "a/one", 0), frame(0, "two", 1)
    writer.write(first, people(0))
    assert not writer.is_complete(first.item) and not (tmp_path / "a" / "one").exists()
    writer.write(second, people(0, 4))
    assert writer.outputs(first.item) == [tmp_path / "a" / "one"]
    assert [path.name for path in (tmp_path / "a" / "one").iterdir()] == ["one_track0.bvh"]
    writer.abandon()
    assert not writer.is_complete(second.item)


def test_a_video_without_people_has_an_empty_folder(tmp_path: Path) -> None:
    writer = TrackWriter(tmp_path, "trc")
    empty = PoseOutput(np.zeros((0, 17, 2)), np.zeros((0, 17)), schema=load_schema("h36m"))
    write(writer, (frame(0), empty))
    assert writer.is_complete(frame(0).item) and list((tmp_path / "clip").iterdir()) == []


def test_people_of_an_image_are_numbered(tmp_path: Path) -> None:
    writer = TrackWriter(tmp_path, "trc")
    output = people(-1, -1)
    writer.write(frame(None, "photo"), output)
    assert writer.is_complete(frame(None, "photo").item)
    names = sorted(path.name for path in (tmp_path / "photo").glob("*.trc"))
    assert names == ["photo_person0.trc", "photo_person1.trc"]


def test_who_has_no_identity_in_a_video_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(TrackWriter(tmp_path, "bvh"), (frame(0), people(-1, 5)))
    assert "clip: 1 of 2 poses have no identity and are in no file of format bvh" in caplog.text
    assert [path.name for path in (tmp_path / "clip").iterdir()] == ["clip_track5.bvh"]
    untracked = replace(people(3), track_ids=None)
    with pytest.raises(InputError, match=r"no identities: .* track=True"):
        save_motion([untracked, untracked], tmp_path / "other", "bvh")


def test_a_missing_keypoint_leaves_the_others_of_its_frame(tmp_path: Path) -> None:
    broken = people(0)
    broken.keypoints[0, [3, 16], 1] = np.nan  # the last marker is the last field of a row
    for kind in ("trc", "bvh"):
        results = [(frame(0), people(0)), (frame(1), broken), (frame(2), people(0, shift=1))]
        write(TrackWriter(tmp_path, kind), *results)  # type: ignore[arg-type]
        (tmp_path / "clip").rename(tmp_path / kind)
    _, _, rows = read_trc((tmp_path / "trc" / "clip_track0.trc").read_text())
    markers = rows[1, 2:].reshape(17, 3)
    assert np.flatnonzero(np.isnan(markers).any(1)).tolist() == [3, 16]
    assert not np.isnan(rows[[0, 2]]).any()
    joints = read_bvh((tmp_path / "bvh" / "clip_track0.bvh").read_text()).joints()
    assert joints["RightFoot"][:, 2] == pytest.approx([0, 0, 1], abs=1e-5)


def test_opensim_reads_gaps(tmp_path: Path) -> None:
    opensim = pytest.importorskip("opensim", reason="checks TRC and MOT with OpenSim itself, where it is installed")
    broken = people(0)
    broken.keypoints[0, [0, 16]] = np.nan
    write(TrackWriter(tmp_path, "trc"), (frame(0), people(0)), (frame(1), broken), (frame(3), people(0)))
    table = opensim.TimeSeriesTableVec3(str(tmp_path / "clip" / "clip_track0.trc"))
    assert list(table.getColumnLabels()) == MARKERS
    read = np.array([[list(table.getRowAtIndex(row)[k].to_numpy()) for k in range(17)] for row in range(4)])
    missing = np.isnan(read).any(-1)
    assert missing.sum(1).tolist() == [0, 2, 17, 0] and missing[1, [0, 16]].all()
    assert read[0, 4] == pytest.approx([0, 400, 0], abs=1e-3)
    assert opensim.MarkerSet(str(tmp_path / "clip" / "markers.xml")).getSize() == 16
    write(TrackWriter(tmp_path / "mot", "mot"), (frame(0), people(0)), (frame(1), broken), (frame(3), people(0)))
    assert opensim.Storage(str(tmp_path / "mot" / "clip" / "clip_track0.mot")).getSize() == 4


def test_results_that_the_formats_do_not_hold_are_named(tmp_path: Path) -> None:
    flat = PoseOutput(np.zeros((1, 17, 2)), np.zeros((1, 17)), schema=load_schema("coco"))
    for output, told in ((flat, "2D"), (people(0, schema="interhand3d"), "'interhand3d'")):
        with pytest.raises(InputError, match=f"format trc.*{told}"):
            TrackWriter(tmp_path, "trc").write(frame(0), output)
    nameless = people(0)
    nameless.schema = None
    with pytest.raises(InputError, match="schema None"):
        TrackWriter(tmp_path, "bvh").write(frame(0), nameless)


def test_formats_are_checked_before_a_run(tmp_path: Path) -> None:
    writers = open_writers(pred_out_dir=tmp_path / "3d", formats=("json", "trc", "bvh"))
    writers.check(load_schema("h36m"), is_3d=True)
    with pytest.raises(InputError, match="--pose3d"):
        writers.check(load_schema("coco"), is_3d=False)
    open_writers(pred_out_dir=tmp_path, formats=("json", "csv")).check(load_schema("coco"), is_3d=False)


def test_both_formats_have_folders_of_their_own(tmp_path: Path) -> None:
    with open_writers(pred_out_dir=tmp_path, formats=("trc", "bvh")) as writers:
        writers.write(frame(0), people(1))
    found = sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*") if path.name != OUTPUT_MARKER
    )
    assert found == ["bvh/clip/clip_track1.bvh", "trc/clip/clip_track1.trc", "trc/clip/markers.xml"]


def test_whole_bodies_have_feet_face_and_hands(tmp_path: Path) -> None:
    schema = load_schema("coco_wholebody")
    keypoints = np.random.default_rng(0).normal(size=(1, 133, 3)).astype(np.float32)
    output = PoseOutput(keypoints, np.ones((1, 133)), schema=schema)
    for kind in ("trc", "bvh"):
        writer = TrackWriter(tmp_path / kind, kind)  # type: ignore[arg-type]
        writer.check(schema, is_3d=True)
        writer.write(Frame(MediaItem(0, "image", "a")), output)
        writer.close()
    _, names, rows = read_trc((tmp_path / "trc" / "a" / "a_person0.trc").read_text())
    assert len(names) == len(set(names)) == 135  # and Hip and Neck, in the middle
    places = rows[0, 2:].reshape(-1, 3)[:, [2, 0, 1]] / 1000
    for marker, keypoint in (
        ("LBigToe", 17),
        ("RHeel", 22),
        ("Nose", 0),
        ("RThumb", 114),
        ("LIndex", 96),
        ("face_0", 23),
    ):
        assert places[names.index(marker)] == pytest.approx(keypoints[0, keypoint], abs=1e-6)
    joints = read_bvh((tmp_path / "bvh" / "a" / "a_person0.bvh").read_text()).joints()
    assert {"LeftToeBase", "RightHandThumb4", "LeftHandPinky1"} <= set(joints) and len(joints) == 21 + 2 + 40


@pytest.mark.parametrize("kind", ["c3d", "glb", "mot", "angles"])
def test_whole_bodies_go_into_every_format(kind: MotionFormat, tmp_path: Path) -> None:
    if kind == "c3d":
        pytest.importorskip("ezc3d")
    keypoints = np.random.default_rng(0).normal(size=(1, 133, 3))
    output = PoseOutput(keypoints, np.ones((1, 133)), track_ids=[4], schema=load_schema("coco_wholebody"))
    save_motion([output, output], tmp_path / "clip", kind)
    (path,) = (tmp_path / "clip").glob("clip_track4.*")
    content = path.read_bytes()
    names = {"c3d": b"RBigToe", "glb": b"LeftHandPinky4", "mot": b"ankle_angle_r", "angles": b"left_ankle_flexion"}
    assert names[kind] in content


@pytest.mark.slow
def test_blender_reads_bvh_and_glb(tmp_path: Path) -> None:
    bpy = pytest.importorskip("bpy", reason="checks files with Blender itself, where it is installed")
    outputs = [replace(people(0, shift=i / 4), frame_index=i, timestamp=i / 25) for i in range(5)]
    for kind in ("bvh", "glb"):
        save_motion(outputs, tmp_path / kind, kind)  # type: ignore[arg-type]
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.scene.render.fps = 25
        path = str(tmp_path / kind / f"{kind}_track0.{kind}")
        if kind == "bvh":
            bpy.ops.import_anim.bvh(filepath=path, axis_forward="-Z", axis_up="Y")
        else:
            bpy.ops.import_scene.gltf(filepath=path)
        (armature,) = (each for each in bpy.context.scene.objects if each.type == "ARMATURE")
        bpy.context.scene.frame_set(4 if kind == "bvh" else 3)
        hips = armature.matrix_world @ armature.pose.bones["Hips"].head
        assert list(hips) == pytest.approx([0, -0.75, 0], abs=1e-4)  # x left, y away from the camera, z up


def test_feet_of_26_points_are_markers_that_opensim_knows(tmp_path: Path) -> None:
    write(TrackWriter(tmp_path, "trc"), (frame(0), people(0, schema="halpe26")))
    _, names, _ = read_trc((tmp_path / "clip" / "clip_track0.trc").read_text())
    assert {"Hip", "Neck", "Head", "LBigToe", "RSmallToe", "RHeel", "LEye"} <= set(names) and "Spine" not in names
    markers = ElementTree.parse(tmp_path / "clip" / "markers.xml").findall("MarkerSet/objects/Marker")
    known = {marker.get("name"): marker for marker in markers}
    assert set(names) - set(known) == {"LEar", "REar"}
    assert known["LBigToe"].findtext("socket_parent_frame") == "/bodyset/toes_l"
    left, right = (np.array(known[name].findtext("location").split(), float) for name in ("LHeel", "RHeel"))
    assert left == pytest.approx(right * (1, 1, -1))


def test_c3d_is_read_by_another_library(tmp_path: Path) -> None:
    pytest.importorskip("ezc3d")
    c3d = pytest.importorskip("c3d")
    broken = people(0, shift=0.5)
    broken.keypoints[0, 3] = np.nan
    write(TrackWriter(tmp_path, "c3d"), (frame(5), people(0)), (frame(6), broken), (frame(8), people(0)))
    with (tmp_path / "clip" / "clip_track0.c3d").open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = c3d.Reader(file)
        frames = [points for _, points, _ in reader.read_frames()]
    assert [label.strip() for label in reader.point_labels] == MARKERS
    assert (reader.point_rate, reader.first_frame, len(frames)) == (20, 6, 4)
    assert frames[0][4, :3] == pytest.approx([0, 0, 400]) and frames[1][4, :3] == pytest.approx([0, 500, 400])
    invalid = [np.flatnonzero(points[:, 3] < 0).tolist() for points in frames]
    assert invalid == [[], [3], list(range(17)), []]


@pytest.mark.parametrize("kind", ["bvh", "glb"])
def test_people_of_a_video_may_share_a_file(kind: str, tmp_path: Path) -> None:
    options = MotionOptions("mixamo", "centimeters", together=True)
    writer = TrackWriter(tmp_path, kind, options)  # type: ignore[arg-type]
    write(writer, (frame(2), people(0)), (frame(3), people(0, 1, shift=0.5)), (frame(4), people(1)))
    (path,) = (tmp_path / "clip").glob(f"*.{kind}")
    assert path.name == f"clip_from2.{kind}"
    if kind == "bvh":
        roots = read_bvh(path.read_text()).joints()
        hips = [roots[f"track{i}:mixamorig:Hips"][:, 2] for i in (0, 1)]
        assert hips[0] == pytest.approx([0, 50, 50]) and hips[1] == pytest.approx([50, 50, 0])
    else:
        times, joints = read_glb(path.read_bytes())
        assert times == pytest.approx([0, 0.05, 0.1]) and set(joints) == {"track0", "track1"}
        assert joints["track0"]["mixamorig:Hips"][:, 2] == pytest.approx([0, 0.5, 0.5])
    gaps = (tmp_path / "clip" / "gaps.csv").read_text().splitlines()
    assert gaps[1:] == ["track0,all,4,4", "track1,all,2,2"]


@pytest.mark.parametrize("kind", ["trc", "angles", "mot"])
def test_who_has_a_file_alone_has_their_own_frames_in_it(kind: MotionFormat, tmp_path: Path) -> None:
    files = []
    for together in (False, True):
        results = [(frame(0), people(0)), (frame(1), people(0, 1)), (frame(2), people(1)), (frame(3), people(0))]
        write(TrackWriter(tmp_path / str(together), kind, MotionOptions(together=together)), *results)
        (path,) = (tmp_path / str(together) / "clip").glob("clip_track1.*")
        files.append(path.read_text())
    assert files[0] == files[1]


def test_results_of_a_call_are_saved(tmp_path: Path) -> None:
    outputs = [replace(people(0, shift=i / 4), frame_index=i, timestamp=i / 8, image_size=(64, 48)) for i in range(3)]
    save_motion(outputs, tmp_path / "walk", "bvh")
    file = read_bvh((tmp_path / "walk" / "walk_track0.bvh").read_text())
    assert file.frame_time == pytest.approx(1 / 8) and len(file.frames) == 3


@pytest.mark.parametrize("settings", [{"joint_names": "vicon"}, {"length_unit": "inches"}])
def test_unknown_names_and_units_are_explained(settings: dict[str, str]) -> None:
    with pytest.raises(InputError, match="must be one of"):
        MotionOptions(**settings)  # type: ignore[arg-type]


TIMES = [0.0, 0.12, 0.2, 0.32, 0.4, 0.92, 1.4]


def write_at_times(writer: TrackWriter) -> None:
    results = [(replace(frame(i), timestamp=time), people(0, shift=time)) for i, time in enumerate(TIMES)]
    write(writer, *results)


def test_trc_has_the_times_of_a_variable_rate(tmp_path: Path) -> None:
    write_at_times(TrackWriter(tmp_path, "trc"))
    _, _, rows = read_trc((tmp_path / "clip" / "clip_track0.trc").read_text())
    assert rows[:, 1].tolist() == TIMES


def test_bvh_brings_a_variable_rate_to_an_even_one(tmp_path: Path) -> None:
    write_at_times(TrackWriter(tmp_path, "bvh"))
    file = read_bvh((tmp_path / "clip" / "clip_track0.bvh").read_text())
    assert file.frame_time == pytest.approx(0.12)
    forward = file.joints()["Hips"][:, 2]  # `shift` is toward the camera and grows by one in a second
    assert forward == pytest.approx(np.minimum(0.12 * np.arange(len(forward)), 1.4), abs=1e-4)


@pytest.mark.parametrize("kind", ["bvh", "glb"])
@pytest.mark.parametrize("known", [slice(0, 1), slice(16, 17), slice(0)], ids=["root", "wrist", "one place"])
def test_who_has_no_bones_has_no_skeleton(known: slice, kind: MotionFormat, tmp_path: Path) -> None:
    results = [replace(people(1, 2), frame_index=number) for number in range(3)]
    for each in results:
        pose = each.keypoints[1].copy()
        each.keypoints[1] = np.nan if pose[known].size else pose[0]
        each.keypoints[1, known] = pose[known]
    save_motion(results, tmp_path / "clip", kind)
    assert [path.name for path in (tmp_path / "clip").glob(f"*.{kind}")] == [f"clip_track1.{kind}"]


@pytest.mark.slow
def test_c3d_goes_on_in_another_file_where_its_numbers_end(tmp_path: Path) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    files, frames = FolderOfFiles(tmp_path / "clip"), MOST_FRAMES + 2
    keypoints = np.zeros((frames, 17, 3), np.float32) + np.arange(frames)[:, None, None]
    person = PersonMotion("track1", 5, np.arange(frames) / 50, 50.0, keypoints, load_schema("h36m"))
    write_motions("c3d", files, "clip", [person], MotionOptions())
    files.finish()
    assert (tmp_path / "clip" / "clip_track1.c3d").stat().st_size > MOST_FRAMES * 17 * 16
    rest = ezc3d.c3d(str(tmp_path / "clip" / f"clip_track1_from{MOST_FRAMES + 5}.c3d"))["data"]["points"]
    np.testing.assert_allclose(rest[0, 0] / 1000, [MOST_FRAMES, MOST_FRAMES + 1])


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip").write_text("mine")
    for place in (tmp_path / "clip", tmp_path / "clip" / "below"):
        with pytest.raises(InputError, match="clip' is a file"):
            save_motion([people(1)], place, "trc")
    assert (tmp_path / "clip").read_text() == "mine"


def test_steps_are_looked_for_where_the_root_is_not_seen_at_first(tmp_path: Path) -> None:
    results = [replace(people(1, shift=number / 10), frame_index=number) for number in range(20)]
    results[0].keypoints[0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_motion(results, tmp_path / "clip", "angles")
    assert (tmp_path / "clip" / "clip_track1.csv").is_file()


@pytest.mark.parametrize("kind", ["trc", "bvh", "c3d", "glb", "angles", "mot"])
def test_a_clock_that_stands_still_goes_on_at_the_rate_of_the_video(kind: MotionFormat, tmp_path: Path) -> None:
    if kind == "c3d":
        pytest.importorskip("ezc3d")
    writer = TrackWriter(tmp_path, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [(replace(frame(number), timestamp=2.0), people(1, shift=number)) for number in range(4)]
        write(writer, *results)
    if kind == "trc":
        text = (tmp_path / "clip" / "clip_track1.trc").read_text()
        assert [line.split("\t")[1] for line in text.splitlines()[6:]] == [
            "2.000000",
            "2.050000",
            "2.100000",
            "2.150000",
        ]
