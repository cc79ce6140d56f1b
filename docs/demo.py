"""`make demo`: find the people of a rendered scene with the small models that come with hfpose, without a network.

The scene is that of seed 90051, which no model was trained on:
`render_scene(90051, size=(960, 640), detail=3)` of `rendered_people`.
"""

from __future__ import annotations

import json
from pathlib import Path

from hfpose import pipeline
from hfpose.media.files import atomic_path
from hfpose.media.images import load_image, save_image
from hfpose.visualization import draw_poses

ROOT = Path(__file__).resolve().parents[1]
SCENE = ROOT / "docs" / "pictures" / "scene.jpg"
OUT = ROOT / "out"
KEYPOINT_THRESHOLD = 0.3


def main() -> None:
    people = pipeline("pose-estimation", model="demo", device="cpu")(SCENE)
    print(f"{SCENE.relative_to(ROOT)}: {people.num_instances} people")
    for person in people.predictions:
        left, top, right, bottom = (round(value) for value in person["bbox"])
        seen = sum(score >= KEYPOINT_THRESHOLD for score in person["keypoint_scores"])
        print(
            f"  score {person['bbox_score']:.2f}, box x {left} to {right}, y {top} to {bottom}, "
            f"{seen} of {len(person['keypoints'])} keypoints"
        )
    image, predictions = OUT / SCENE.with_suffix(".png").name, OUT / SCENE.with_suffix(".json").name
    save_image(image, draw_poses(load_image(SCENE), people, draw_boxes=True))
    with atomic_path(predictions) as partial:
        partial.write_text(json.dumps(people.predictions, indent=2) + "\n", encoding="utf-8")
    print(f"Wrote {image.relative_to(ROOT)} and {predictions.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
