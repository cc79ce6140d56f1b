"""`make demo`: find people on photographs with a small real detector, without a network.

The detector's checkpoint and the photographs lie in ../shared, beside the checkout, where that folder is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm
from transformers import pipeline
from transformers.utils import logging

import hfpose
from hfpose.media.images import load_image, save_image
from hfpose.visualization import draw_poses

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
OUT = ROOT / "out"
DETECTOR = "rtmdet_nano_320-8xb32_coco-person"
THRESHOLD = 0.3


def main() -> int:
    checkpoint = SHARED / "weights" / "rtmdet_nano_person_folded.pth"
    if not checkpoint.is_file():
        print(f"The demo needs {checkpoint}, which is not there. With a network, try instead:")
        print("    hfpose predict photo.jpg --pose2d human --out-dir out")
        return 1
    logging.disable_progress_bar()
    folder = hfpose.convert_checkpoint(DETECTOR, checkpoint, OUT / DETECTOR)
    print(f"Converted {checkpoint.name} to {folder.relative_to(ROOT)}")
    detector = pipeline("object-detection", model=str(folder))
    for path in tqdm(sorted((SHARED / "images").glob("*.jpg")), disable=None):
        found = detector(str(path), threshold=THRESHOLD)
        picture = OUT / f"{path.stem}.png"
        save_image(picture, draw_boxes(load_image(path), found))
        scores = ", ".join(f"{each['score']:.2f}" for each in found) or "nobody"
        tqdm.write(f"{path.name}: {scores} -> {picture.relative_to(ROOT)}", file=sys.stdout)
    return 0


def draw_boxes(image: np.ndarray, found: list[dict]) -> np.ndarray:
    """The picture with the boxes that transformers' object detection pipeline returned."""
    boxes = np.array([list(each["box"].values()) for each in found], np.float32).reshape(-1, 4)
    people = hfpose.PoseOutput(
        keypoints=np.zeros((len(found), 0, 2)), keypoint_scores=np.zeros((len(found), 0)), boxes=boxes
    )
    labels = [f"{each['label']} {each['score']:.2f}" for each in found]
    return draw_poses(image, people, draw_boxes=True, labels=labels)


if __name__ == "__main__":
    sys.exit(main())
