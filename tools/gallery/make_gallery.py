"""`make gallery`: the images of the docs, from rendered scenes and the models of the package.

    python tools/gallery/make_gallery.py             # all of them, in some five minutes
    python tools/gallery/make_gallery.py schemas 3d  # only some

Keypoints are those of the packaged models or, where it is said, the true ones of the renderer. Layouts of schemas are
drawings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "rendered_people"), str(ROOT / "tools" / "gallery")]

from angle_drawing import angle_image  # noqa: E402
from circling_people import walking_world  # noqa: E402
from hfpose import PoseOutput, load_schema, pipeline  # noqa: E402
from hfpose.keypoints import list_schemas  # noqa: E402
from hfpose.media.video_writing import VideoFile  # noqa: E402
from hfpose.visualization import (  # noqa: E402
    axis_limits_3d,
    draw_heatmaps,
    draw_poses,
    draw_poses_3d,
    draw_poses_side_by_side,
)
from hfpose.visualization.plots import plot_tracks  # noqa: E402
from layouts import layout  # noqa: E402
from rendered_people.background import random_background  # noqa: E402
from rendered_people.camera import Camera  # noqa: E402
from rendered_people.people import Crowd, Person  # noqa: E402
from rendered_people.scenes import Lamp, World, render_scene  # noqa: E402
from skeletons import schema_image  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
# Seeds of scenes that the packaged models were not trained on.
STREET, KICK, STAGE, WALK = 90202, 90205, 90311, 90304
CLIP_RATE = 12.5


def save(name: str, image: np.ndarray, quality: int | None = 80) -> None:
    """Writes an image below docs/pictures, lossless with `quality` None."""
    path = PICTURES / f"{name}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=quality or 100, lossless=quality is None, method=6)
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB")


def save_clip(name: str, frames: Sequence[np.ndarray], quality: int = 50) -> None:
    """Writes frames as an animated WebP that begins again."""
    path = PICTURES / f"{name}.webp"
    first, *others = map(Image.fromarray, frames)
    first.save(
        path, save_all=True, append_images=others, duration=round(1000 / CLIP_RATE), loop=0, quality=quality, method=6
    )
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB")


def options() -> None:
    """Every option of `draw_poses`."""
    pipe = pipeline("pose-estimation", model="demo", device="cpu")
    scene = render_scene(STREET, size=(480, 360), num_people=5, detail=3).image
    people = pipe(scene)
    tracked = replace(people, track_ids=np.arange(len(people)))
    names = [f"person {letter}" for letter in "ABCDEFGHIJ"[: len(people)]]
    variants: dict[str, tuple[PoseOutput, dict[str, Any]]] = {
        "side": (people, {}),
        "instance": (people, {"color_by": "instance"}),
        "track": (tracked, {"color_by": "track", "draw_boxes": True, "draw_scores": False}),
        "boxes": (people, {"draw_boxes": True}),
        "box_color": (people, {"draw_boxes": True, "box_color": (255, 210, 0)}),
        "labels": (people, {"labels": names}),
        "indices": (people, {"draw_keypoint_indices": True}),
        "sizes": (people, {"radius": 5, "thickness": 4}),
        "dots": (people, {"thickness": 0}),
        "threshold": (people, {"keypoint_threshold": 0.6}),
        "black": (people, {"black_background": True}),
        "openpose": (people, {"skeleton_style": "openpose"}),
        "controlnet": (people, {"skeleton_style": "openpose", "black_background": True}),
    }
    for name, (output, chosen) in variants.items():
        save(f"options/{name}", draw_poses(scene, output, **chosen))


def whole_body() -> None:
    """The image for ControlNets with hands and face, of a drawn figure."""
    schema = load_schema("coco_wholebody")
    points, names = layout(schema), list(schema.keypoint_names)
    points[23:91] = 0.2 * layout(load_schema("coco_wholebody_face")) + points[names.index("nose")]
    for side, root in (("left", 91), ("right", 112)):
        hand = points[root : root + 21]
        points[root : root + 21] = 0.35 * (hand - hand[0]) + points[names.index(f"{side}_wrist")]
    figure = PoseOutput(210 * points[None] + (256, 440), np.ones((1, len(points))), schema=schema)
    canvas = np.zeros((768, 512, 3), np.uint8)
    save("options/controlnet_wholebody", draw_poses(canvas, figure, skeleton_style="openpose", black_background=True))


def heatmaps() -> None:
    """Heatmaps of the pose model over the image."""
    pipe = pipeline("pose-estimation", model="demo", device="cpu")
    scene = render_scene(KICK, size=(480, 360), num_people=4, detail=3).image
    people = pipe(scene, return_heatmaps=True)
    save("heatmaps", draw_heatmaps(scene, people))


def panels() -> None:
    """Poses in space: beside the image, alone, and from other sides."""
    scene = render_scene(KICK, size=(480, 360), num_people=4, detail=3).image
    people = pipeline("pose-estimation-3d", model="demo3d", device="cpu")(scene)
    save("3d/side_by_side", draw_poses_side_by_side(scene, people))
    one = people[:1]
    views = [draw_poses_3d(one, size=280, azimuth=azimuth) for azimuth in (20, 70, 120, 250)]
    save("3d/views", np.concatenate(views, axis=1))


def motion() -> None:
    """A clip of three people who move, with poses in space; it opens the README."""
    frames = _frames(_stage(STAGE, ("dance", "jumping_jack", "kick"), (480, 344)), 32)
    with TemporaryDirectory() as folder:  # as a file, which tells its rate: what is fast is not smoothed away
        clip = VideoFile(Path(folder) / "clip.mp4", frames[0].shape[1::-1], fps=CLIP_RATE)
        for frame in frames:
            clip.write(frame)
        clip.finish()
        pipe = pipeline("pose-estimation-3d", model="demo3d", device="cpu")
        results = list(pipe(str(Path(folder) / "clip.mp4"), track=True, batch_size=8))
    limits = axis_limits_3d(results)
    save_clip(
        "motion",
        [
            draw_poses_side_by_side(frame, people, num_instances=3, axis_limits=limits, draw_scores=False)
            for frame, people in zip(frames, results, strict=True)
        ],
    )


def tracking() -> None:
    """A clip of two people who walk past each other and keep their identities, and their keypoints and angles over
    time."""
    frames = _frames(walking_world(WALK, (480, 384), detail=2), 44)
    pipe = pipeline("pose-estimation", model="demo", device="cpu")
    results = list(pipe(iter(frames), track="oks", smooth=True, batch_size=8))
    timed = [replace(people, timestamp=index / CLIP_RATE) for index, people in enumerate(results)]
    figure = plot_tracks(timed, keypoints=["left_wrist", "right_wrist", "left_ankle", "right_ankle"])
    figure.set_dpi(70)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    save("plots", np.asarray(canvas.buffer_rgba())[..., :3])
    save_clip(
        "tracking",
        [
            draw_poses(frame, people, color_by="track", draw_boxes=True, draw_scores=False)
            for frame, people in zip(frames, results, strict=True)
        ],
    )


def _frames(world: World, count: int) -> list[np.ndarray]:
    return [world.render(index / CLIP_RATE, index).image for index in range(count)]


def _stage(seed: int, activities: Sequence[str], size: tuple[int, int]) -> World:
    """People side by side who do those things and stay where they are."""
    looks, surroundings = (np.random.default_rng([seed, stream]) for stream in range(2))
    people = [Person.random(looks, activity) for activity in activities]
    camera = Camera(*size, focal=1.2 * size[0], elevation=1.3, pitch=3.0)
    places = np.array([camera.ground_point(size[0] * (0.17 + 0.33 * place), 5.2) for place in range(len(people))])
    background, ground = random_background(surroundings, camera, 6.0)
    lamp = Lamp.random(surroundings)
    return World(Crowd(people, 3, looks), places, camera, lamp, background, shadow=0.35 if ground else 0.0, seed=seed)


def schemas() -> None:
    """The skeleton of each keypoint schema, with numbers and names."""
    for name in list_schemas():
        try:
            image = schema_image(load_schema(name))
        except (KeyError, ValueError) as error:
            print(f"{name}: no layout for {error}")
            continue
        save(f"schemas/{name}", image, quality=None)


def angles() -> None:
    """The signs of joint angles."""
    save("angles", angle_image(), quality=None)


PARTS: dict[str, Callable[[], None]] = {
    "options": options,
    "whole_body": whole_body,
    "heatmaps": heatmaps,
    "3d": panels,
    "motion": motion,
    "tracking": tracking,
    "schemas": schemas,
    "angles": angles,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=PARTS, metavar="part", help="%(choices)s; default: all of them")
    for name in parser.parse_args().parts or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
