"""Rendered clips of people with known identities, and what is found in them, for the benchmark of tracking.

    python benchmarks/rendered_clips.py [--folder out/benchmarks/rendered_clips] [--seed 0] [--only exits_4_1 ...]

12 clips of 600 frames: people of `tools/rendered_people` who cross, who leave the image and come back, who are seen by
a camera that pans and shakes, and crowds of 8. What is found in each is found three times: by the packaged `demo`
models, with the features for the appearance; and as the true boxes and keypoints with noise, 10 % missed and 5 %
false, without and with merged boxes, as `moving_people` has them; with the motion of the camera beside it. Files that
are there already are kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hfpose import pipeline
from hfpose.keypoints import load_schema
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.video import read_video
from hfpose.media.video_writing import VideoFile
from hfpose.ops.assignment import cheapest_pairs
from hfpose.ops.boxes import extents, pairwise_iou
from hfpose.results import PoseOutput
from measuring import OUT
from moving_people import FRAME_RATE, HIDDEN, Finder, Seen, camera_motions, covered_share, ways
from rendered_people.background import random_background
from rendered_people.camera import Camera
from rendered_people.motion import Activity, Pose
from rendered_people.people import Crowd, Person
from rendered_people.scenes import Lamp, Scene, World

FOLDER = OUT / "rendered_clips"
SIZE, NUM_FRAMES = (480, 272), 600
KINDS = {"cross": (2, 4, 6), "exits": (2, 4, 6), "pan and shake": (2, 4, 6), "crowd": (8, 8, 8)}
CONDITIONS = ("boxes with noise", "merged boxes", "demo models")
_FOCAL, _EYE, _PITCH = 0.8 * SIZE[0], 1.6, 4.0
_MARGIN = (280, 30)  # pixels that the camera may turn to each side
_ACTIVITIES = ("walk", "walk", "walk", "run", "dance", "wave", "stretch", "pick_up")
_OF_PEOPLE = ("boxes", "keypoints", "depths", "covered")
_FOUND = ("keypoints", "keypoint_scores", "boxes", "box_scores", "features")

_Arrays = dict[str, Any]  # of numpy


class _Turned(Camera):
    """A camera that has turned a little: its image is a window of a larger one, `shift` (2,) pixels to the right and
    down."""

    def __init__(self, shift: np.ndarray) -> None:
        super().__init__(*SIZE, _FOCAL, _EYE, _PITCH)
        self.__dict__["center"] = (np.array(SIZE) - 1) / 2 - shift


@dataclass
class RenderedClip:
    """A clip with what is found in it under one of `CONDITIONS`, and the `camera_motions`."""

    kind: str
    num_people: int
    frames: list[Seen]
    motions: np.ndarray
    path: Path
    _reader: Iterator[Frame] = field(default_factory=lambda: iter(()))

    def image(self, index: int) -> np.ndarray | None:
        """RGB image of a frame, None where the camera stands; frames are asked for in their order."""
        if self.kind != "pan and shake":
            return None
        if index == 0:
            self._reader = _read(self.path)
        return next(self._reader).image


def clip_names(seed: int = 0) -> dict[str, tuple[str, int, int]]:
    """Kind, people and number of each of the 12 clips of a seed, by its name."""
    return {
        f"{kind}_{people}_{number}".replace(" ", "_"): (kind, people, number)
        for kind, counts in KINDS.items()
        for number, people in enumerate(counts, seed * len(counts))
    }


def rendered_clip(name: str, condition: str, folder: Path, seed: int = 0) -> RenderedClip:
    """A clip with what is found in it, made where it is not there yet."""
    kind, people, number = clip_names(seed)[name]
    path, found_path = folder / f"{name}.mp4", folder / f"{name}_{condition}.npz".replace(" ", "_")
    if not path.exists():
        _render(path, _scenes(np.random.default_rng([number, people, list(KINDS).index(kind)]), kind, people))
    truth = _load(path.with_suffix(".npz"))
    if not found_path.exists():
        _save(found_path, _find(condition, path, truth, people, np.random.default_rng([7, number, people])))
    seen, motions_path = _seen(truth, _load(found_path)), found_path.with_suffix(".npy")
    if not motions_path.exists():
        np.save(motions_path, camera_motions((frame.image for frame in _read(path)), seen))
    return RenderedClip(kind, people, seen, np.load(motions_path), path)


def _scenes(rng: np.random.Generator, kind: str, people: int, frames: int = NUM_FRAMES) -> Iterator[Scene]:
    """People who go to and fro along rows of their own, as those of `moving_people` do."""
    rows = 4.5 + (3.5 if kind == "crowd" else 3.0) / people * rng.permutation(people)
    depth, across, turns = ways(rng, rows, frames, 0.5 * SIZE[0] / _FOCAL, (0.3, 0.6), kind == "exits")
    places = np.stack((across, depth, np.zeros_like(depth)), axis=-1)
    crowd = Crowd([_on_the_spot(rng, turn) for turn in np.rad2deg(turns).T], 1, rng)
    wide = Camera(SIZE[0] + 2 * _MARGIN[0], SIZE[1] + 2 * _MARGIN[1], _FOCAL, _EYE, _PITCH)
    background, has_ground = random_background(rng, wide, float(depth.max()))
    world = World(crowd, places[0], wide, Lamp.random(rng), background, shadow=0.35 if has_ground else 0.0)
    shifts = np.zeros((frames, 2), int)
    if kind == "pan and shake":
        time = np.arange(frames)[:, None] / FRAME_RATE
        pan = 0.75 * _MARGIN[0] * np.sin(time[:, 0] * rng.uniform(0.6, 0.9) + rng.uniform(0, 7))
        shake = rng.normal(0, 2, (frames, 2)) + 12 * np.sin(30 * time * [0.11, 0.17])
        shifts = (
            (shake + np.stack((pan, np.zeros(frames)), -1)).round().clip(np.negative(_MARGIN), _MARGIN).astype(int)
        )
    for index, (x, y) in enumerate(shifts + _MARGIN):
        window = background[y : y + SIZE[1], x : x + SIZE[0]]
        camera = _Turned(shifts[index])
        yield replace(world, places=places[index], camera=camera, background=window).render(index / FRAME_RATE, index)


def _on_the_spot(rng: np.random.Generator, turns: np.ndarray) -> Person:
    """A person who does something without getting away, turned by degrees (T,)."""
    person = Person.random(rng, str(rng.choice(_ACTIVITIES)))
    curve, times = person.activity.pose, np.arange(len(turns)) / FRAME_RATE

    def pose(time: float) -> Pose:
        return replace(curve(time), heading=float(np.interp(time, times, turns)), forward=0.0, sideways=0.0)

    return replace(person, activity=Activity("walk", pose), start=0.0, heading=float(turns[0]))


def _render(path: Path, scenes: Iterator[Scene]) -> None:
    """Write a clip, and the truth beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file, truth = VideoFile(path, SIZE, fps=FRAME_RATE), []
    for scene in scenes:
        file.write(scene.image)
        depths = -scene.roots_3d[:, 1]
        whole = extents(scene.keypoints)
        truth.append(
            {
                "boxes": scene.boxes,
                "keypoints": scene.keypoints,
                "depths": depths,
                "covered": covered_share(whole, depths),
                "ids": scene.track_ids,
            }
        )
    _save(path.with_suffix(".npz"), truth)
    file.finish()


def _find(
    condition: str, path: Path, truth: Sequence[_Arrays], people: int, rng: np.random.Generator
) -> list[_Arrays]:
    """What is found in each frame: fields of `PoseOutput`."""
    if condition == "demo models":
        pipe = pipeline("pose-estimation", model="demo", device="cpu", backend="torch")
        settings = {"appearance": 1.0, "camera_motion": False}  # for the features
        outputs = pipe(str(path), batch_size=4, pose_batch_size=16, track=True, tracking=settings)
        return [{name: getattr(output, name) for name in _FOUND} for output in outputs]
    finder = Finder(rng, len(truth), people, condition == "merged boxes", SIZE)
    found = []
    for index, frame in enumerate(truth):
        everyone = {name: np.zeros((people, *frame[name].shape[1:])) for name in _OF_PEOPLE}
        for name, values in everyone.items():
            values[frame["ids"]] = frame[name]
        output, _ = finder.find(index, frame["ids"][frame["covered"] < HIDDEN], **everyone)
        found.append({name: getattr(output, name) for name in _FOUND if name != "features"})
    return found


def _seen(truth: Sequence[_Arrays], found: Sequence[_Arrays]) -> list[Seen]:
    schema, seen = load_schema("coco"), []
    for index, (frame, each) in enumerate(zip(truth, found, strict=True)):
        output = PoseOutput(**each, schema=schema, image_size=SIZE, frame_index=index, timestamp=index / FRAME_RATE)
        overlap = pairwise_iou(frame["boxes"], each["boxes"])
        owners = np.full(len(each["boxes"]), -1)
        for person, row in zip(*cheapest_pairs(-overlap), strict=True) if overlap.size else ():
            if overlap[person, row] > 0.5:
                owners[row] = frame["ids"][person]
        is_hidden = frame["covered"] >= HIDDEN
        boxes = frame["boxes"]
        seen.append(Seen(frame["ids"][~is_hidden], boxes[~is_hidden], output, owners, boxes[is_hidden]))
    return seen


def _read(path: Path) -> Iterator[Frame]:
    return read_video(MediaItem(0, "video", path.stem, str(path)), path, timeout=10)


def _save(path: Path, frames: Sequence[_Arrays]) -> None:
    """Write arrays (N, ...) of frames as one file."""
    some = [frame for frame in frames if len(frame["boxes"])]  # others may lack features
    arrays: _Arrays = {name: np.concatenate([frame[name] for frame in some]) for name in some[0]}
    counts = [len(frame["boxes"]) for frame in frames]
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, counts=counts, **arrays)
    part.replace(path)


def _load(path: Path) -> list[_Arrays]:
    arrays = dict(np.load(path))
    ends = np.cumsum(arrays.pop("counts"))[:-1]
    split = {name: np.split(array, ends) for name, array in arrays.items()}
    return [dict(zip(split, rows, strict=True)) for rows in zip(*split.values(), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="names of clips")
    options = parser.parse_args()
    for name in options.only or clip_names(options.seed):
        for condition in CONDITIONS:
            rendered_clip(name, condition, options.folder, options.seed)
            print(name, condition, flush=True)


if __name__ == "__main__":
    main()
