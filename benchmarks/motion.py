"""How true motions in 3D are: twelve clips of figures with known joints, seen by a camera and found with a pose
model's errors.

    python benchmarks/motion.py --write-docs       # the tables in docs/motion.md; nothing is drawn, keypoints are projected
    python benchmarks/motion.py --model human3d    # of another pipeline
    python benchmarks/motion.py --parts clips      # what people do alone, or --parts streams

Walks, runs, jumps, a circle and two people who cross, 25 frames a second. The lifter sees COCO's keypoints with errors
as the demo's pose model makes them (`rendered_people.motions.PoseNoise`), and the camera's field of view is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

import measuring
from hfpose import PoseOutput, load_schema, pipeline
from hfpose.keypoints.angles import joint_angles
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.pipelines.options import LiftingOptions
from measuring import ROOT, processor_seconds, table, write_report
from rendered_people.activities import random_activity
from rendered_people.anatomy import Body, rotation
from rendered_people.camera import Camera, to_joint_frame
from rendered_people.face import face_keypoints
from rendered_people.motions import PoseNoise, Views
from rendered_people.people import coco_keypoints, crown_height, h36m_joints, place_figures

PAGE = ROOT / "docs" / "motion.md"
RATE, FRAMES = 25.0, 150
CAMERA = Camera(1280, 720, focal=1100.0, elevation=1.4, pitch=5.0)
FIELD_OF_VIEW = float(np.rad2deg(2 * np.arctan(CAMERA.width / 2 / CAMERA.focal)))
FLESH, SOLE = 0.06, 0.03
_NAMES = load_schema("h36m").keypoint_names
FEET = [_NAMES.index("left_foot"), _NAMES.index("right_foot")]
# The world of figures (x right, y away, z up) as 3D results have it (x left, y toward the camera).
TO_RESULTS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Clip:
    """Joints (P, T, 17, 3) of people in the axes of results about a point below the camera, and what is seen of
    them."""

    name: str
    joints: np.ndarray
    frames: list[PoseOutput]


def clips() -> Iterator[Clip]:
    for number, heading in enumerate((0, 50, 90, 150)):
        yield clip(f"walk {heading}°", [figure(number, "walk", heading)], number)
    for number, heading in enumerate((40, 90)):
        yield clip(f"run {heading}°", [figure(10 + number, "run", heading)], 10 + number)
    for number, height in enumerate((0.15, 0.35)):
        yield clip(f"jump {height} m", [figure(20 + number, "stand", 20, jump=height)], 20 + number)
    yield clip("jumping jack", [figure(22, "jumping_jack", 0)], 22)
    yield clip("circle", [figure(30, "walk", 0, radius=1.5)], 30)
    for number in (40, 43):
        yield clip("two cross", [figure(number, "walk", 85), figure(number + 1, "walk", -95, away=1.3)], number)


def figure(
    seed: int, activity: str, heading: float, jump: float = 0.0, radius: float = 0.0, away: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """COCO's keypoints and Human3.6M's joints (T, 17, 3) of a figure in the world, about 6 m away."""
    rng = np.random.default_rng([seed, 7])
    body = Body.random(rng)
    doing = random_activity(rng, body, activity)
    times = np.arange(FRAMES) / RATE
    poses = [doing.pose(t) for t in times.tolist()]
    rest = np.broadcast_to(body.joints, (FRAMES, *body.joints.shape))
    turned = np.full(FRAMES, float(heading))
    rotations, bones, walked = place_figures(poses, poses[:1] * FRAMES, [0.0] * FRAMES, rest)
    walked[:, 2] += SOLE - bones[..., 2].min(1)
    walked[:, 2] += flights(times, jump)
    if radius:  # the way is bent
        speed = -np.gradient(walked[:, 1], times)
        turned = np.rad2deg(np.cumsum(speed) / RATE / radius)
    turns = rotation(2, turned)
    steps = np.diff(walked, axis=0, prepend=walked[:1]) * (1, 1, 0)
    way = np.cumsum(np.einsum("tij,tj->ti", turns, steps), axis=0)
    coco = coco_keypoints(rotations, bones, np.repeat(face_keypoints(body)[None], FRAMES, axis=0))
    joints = h36m_joints(rotations, bones, np.full(FRAMES, crown_height(body)))
    width, depth = np.ptp(way[:, :2], axis=0)
    in_view = 1.1 * width * CAMERA.focal / CAMERA.width + depth / 2
    place = np.array([0, max(6.0, 3.0 + depth / 2, in_view) + away, 0])
    place -= (way.min(0) + way.max(0)) / 2 * (1, 1, 0)
    shift = (way + place + walked * (0, 0, 1))[:, None]
    seen, lifted = (np.einsum("tij,tkj->tki", turns, each) + shift for each in (coco, joints))
    return seen, lifted


def flights(times: np.ndarray, height: float) -> np.ndarray:
    """Height (T,) of a jump every 1.5 seconds."""
    since = (times % 1.5) - 0.75
    half = np.sqrt(2 * height / 9.81)
    return np.where(np.abs(since) < half, height - 9.81 / 2 * since**2, 0.0)


def clip(name: str, people: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> Clip:
    coco, joints = (CAMERA.to_camera(np.stack(each)) for each in zip(*people, strict=True))
    assert joints[..., 2].min() > 0.5, name
    pixels = CAMERA.project(np.concatenate((coco, joints), axis=2))
    flesh = FLESH * CAMERA.focal / joints[:, :, :1, 2]
    boxes = np.concatenate((pixels.min(2) - flesh, pixels.max(2) + flesh), axis=-1)
    relative = to_joint_frame(joints)
    views = Views(CAMERA.project(coco), boxes, relative - relative[:, :, :1])
    keypoints, boxes, scores = PoseNoise().observe(views, np.random.default_rng([seed, 8]))
    frames = [
        PoseOutput(
            keypoints[:, i],
            scores[:, i].clip(0, 1),
            boxes=boxes[:, i],
            box_scores=np.ones(len(people)),
            track_ids=np.arange(len(people)),
            schema=load_schema("coco"),
            image_size=(CAMERA.width, CAMERA.height),
            frame_index=i,
            timestamp=i / RATE,
        )
        for i in range(FRAMES)
    ]
    return Clip(name, np.stack([each for _, each in people]) * TO_RESULTS, frames)


def lifted(pipe: Any, made: Clip, **settings: Any) -> np.ndarray:
    """Keypoints (P, T, 17, 3) that a pipeline finds; people are told apart without error."""
    people = [[frame.select([person]) for frame in made.frames] for person in range(len(made.joints))]
    settings["track"] = False
    return np.stack([np.stack([frame.keypoints[0] for frame in run(pipe, each, **settings)]) for each in people])


def run(pipe: Any, seen: Sequence[PoseOutput], **settings: Any) -> list[PoseOutput]:
    item, info = MediaItem(0, "video", "clip"), VideoInfo(RATE, CAMERA.width, CAMERA.height, FRAMES)
    frames = (Frame(item, frame_index=i, video=info, timestamp=i / RATE) for i in range(FRAMES))
    return [output for _, output in pipe.complete(zip(frames, seen, strict=True), LiftingOptions(**settings))]


def stances(joints: np.ndarray) -> np.ndarray:
    """Whether each foot (T, 2) stands: low, and slow."""
    feet = joints[:, FEET]
    speed = np.linalg.norm(np.gradient(feet[..., :2], 1 / RATE, axis=0), axis=-1)
    return (feet[..., 2] < feet[..., 2].min() + 0.04) & (speed < 0.3)


def jumps(joints: np.ndarray) -> np.ndarray:
    """Height of the lowest foot over where it stands, in each jump of a clip that has them."""
    low = joints[:, FEET, 2].min(1)
    return low - np.percentile(low, 20)


def figures(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """What is measured of one person: found and true keypoints (T, 17, 3)."""
    relative, expected = (each - each[:, :1] for each in (found, true))
    error = np.linalg.norm(relative - expected, axis=-1).mean()
    speed = np.linalg.norm(np.diff(relative - expected, axis=0), axis=-1).mean() * RATE
    standing = stances(true)
    sliding, own = (
        np.linalg.norm(np.gradient(each[:, FEET, :2], 1 / RATE, axis=0), axis=-1)[standing].mean()
        for each in (found, true)
    )
    way, true_way = (np.linalg.norm(np.diff(each[::5, 0, :2], axis=0), axis=-1).sum() for each in (found, true))
    high, true_high = jumps(found), jumps(true)
    angles = [joint_angles(each, load_schema("h36m")) for each in (found, true)]
    off = [angles[0][name] - angles[1][name] for name in angles[0] if name.endswith("_flexion")]
    result = {"MPJPE (mm)": 1000 * error, "velocity (m/s)": speed, "sliding (m/s)": sliding, "true sliding": own}
    result["flexions (°)"] = float(np.median(np.abs((np.array(off) + 180) % 360 - 180)))
    if true_way > 2:
        result["path (%)"] = 100 * (way / true_way - 1)
    elif true_high.max() > 0.05:
        peaks = [slice(i, i + 38) for i in range(0, FRAMES - 37, 37)]
        result["jump (%)"] = 100 * (
            np.mean([high[peak].max() for peak in peaks]) / np.mean([true_high[peak].max() for peak in peaks]) - 1
        )
    return result


def measure(find: Callable[[Clip], np.ndarray]) -> list[tuple[str, dict[str, float]]]:
    rows = []
    for made in clips():
        found = find(made)
        each = [figures(*pair) for pair in zip(found, made.joints, strict=True)]
        rows.append((made.name, {name: float(np.mean([one[name] for one in each])) for name in each[0]}))
    return rows


_FORMATS = {"MPJPE (mm)": ".0f", "flexions (°)": ".1f", "path (%)": "+.1f", "jump (%)": "+.1f"}
_WITHOUT = ("sliding (m/s)", "path (%)")  # columns that tell what they are without contacts, too


def clips_report(pipe: Any) -> tuple[str, dict[str, Any]]:
    """What people do, with the contacts of their feet and in brackets without."""
    settings = {"root": "planar", "field_of_view": FIELD_OF_VIEW, "smooth": True}
    found = measure(lambda made: lifted(pipe, made, **settings))
    with mock.patch("hfpose.ops.foot_contacts._standing", lambda feet, *_: np.zeros((len(feet) - 1, feet.shape[1]))):
        free = measure(lambda made: lifted(pipe, made, **settings))
    names = [name for name in dict.fromkeys(name for _, row in found for name in row) if name != "true sliding"]
    lines = []
    for (clip_name, row), (_, other) in zip(found, free, strict=True):
        cells = [f"{row[name]:{_FORMATS.get(name, '.2f')}}" if name in row else "" for name in names]
        for i, name in enumerate(names):
            if name in _WITHOUT and cells[i]:
                cells[i] += f" ({other[name]:{_FORMATS.get(name, '.2f')}})"
        lines.append([clip_name, *cells])
    return table(["clip", *names], lines), {"clips": found, "without contacts": free}


def streams_report(pipe: Any) -> tuple[str, dict[str, Any]]:
    """Mean MPJPE of single people lifted with a lookahead, and what a frame of two people costs."""
    ways = {"clip as a whole": {}, **{f"lookahead {n}": {"online": True, "lookahead": n} for n in (0, 4, 8, 16, 32)}}
    alone = [made for made in clips() if len(made.joints) == 1]
    errors = {}
    for name, way in ways.items():
        rows = [figures(lifted(pipe, made, **way)[0], made.joints[0]) for made in alone]
        errors[name] = float(np.mean([row["MPJPE (mm)"] for row in rows]))
    spent = dict(zip(ways, costs(pipe, list(clips())[-1], list(ways.values())).tolist(), strict=True))
    lines = [[name, f"{errors[name]:.0f}", f"{spent[name]:.1f}"] for name in ways]
    return table(["", "MPJPE (mm)", "ms a frame"], lines), {"MPJPE (mm)": errors, "ms a frame": spent}


def costs(pipe: Any, made: Clip, ways: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Milliseconds of processor time a frame, of all people, for each of several ways to lift them, measured in
    turns."""
    times = np.empty((4, len(ways)))
    for turn in range(len(times)):
        for number, settings in enumerate(ways):
            lift = partial(run, pipe, made.frames, track=False, **settings)
            times[turn, number] = 1000 * processor_seconds(lift) / FRAMES
    return np.median(times[1:], axis=0)


def main() -> None:
    parser = measuring.parser(__doc__, ("clips", "streams"), page=PAGE)
    parser.add_argument("--model", default="demo3d")
    parser.add_argument("--backend", default="auto")
    options = parser.parse_args()
    pipe = pipeline("pose-estimation-3d", model=options.model, device="cpu", backend=options.backend)
    for part in options.parts:
        text, facts = (clips_report if part == "clips" else streams_report)(pipe)
        facts["lifter"] = pipe.backends["lifter"]
        write_report(f"motion_{part}", options.output, text, facts, options.write_docs, PAGE)


if __name__ == "__main__":
    main()
