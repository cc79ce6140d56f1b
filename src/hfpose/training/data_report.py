"""What there is to see of training data: samples as the network gets them, and how boxes and keypoints are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hfpose.annotations import PoseInstances
from hfpose.errors import InputError
from hfpose.evaluation.coco import with_sigmas
from hfpose.keypoints import KeypointSchema
from hfpose.results import PoseOutput
from hfpose.training.augmentation import PoseAugmentation
from hfpose.training.datasets import SampleStream
from hfpose.visualization.canvas import draw_lines
from hfpose.visualization.poses import draw_poses

SAMPLES = 16
BAR_WIDTH = 40


def describe_schema(schema: KeypointSchema, instances: PoseInstances) -> list[str]:
    """What training and measuring make of keypoints: flip pairs, sigmas, how many are labeled, whether crops are
    flipped."""
    names = schema.keypoint_names
    flips = schema.flip_indices or range(len(names))
    pairs = [f"{names[i]} and {names[other]}" for i, other in enumerate(flips) if i < other]
    labeled = (instances.visibility > 0).sum(1)
    lines = [
        f"{schema.num_keypoints} keypoints of {schema.name!r}, {labeled.mean():.1f} of them labeled in the mean "
        f"({labeled.min()} to {labeled.max()}).",
        *with_sigmas(schema)[1],
    ]
    if schema.sigmas is not None:
        lines.append(f"Sigmas: {min(schema.sigmas):g} to {max(schema.sigmas):g}.")
    if schema.flip_indices is None:
        lines.append(
            "No image is flipped: the flip pairs are unknown, as the names of keypoints tell no left and right. "
            "Give a schema with `flip_indices`."
        )
    else:
        share = PoseAugmentation().flip_probability
        shown = ", ".join([*pairs[:5], *(["..."] if len(pairs) > 5 else [])])
        lines.append(f"{share:.0%} of the crops are flipped; {len(pairs)} flip pairs: {shown}.")
    return lines


def draw_samples(stream: SampleStream, schema: KeypointSchema | None) -> np.ndarray:
    """The samples of a stream of `PersonCrops` or, without a schema, `FittedImages` with their targets, in four
    columns.

    Returns:
        RGB pixels (H, W, 3), uint8.

    Raises:
        InputError: if no image can be read.
    """
    tiles = [_drawn(stream[position], schema) for position in range(len(stream))]
    if not tiles:
        raise InputError("There is no sample to draw.")
    columns = min(4, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], 1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def _drawn(sample: Any, schema: KeypointSchema | None) -> np.ndarray:
    if schema is not None:
        scores = sample["weights"][None]
        output = PoseOutput(keypoints=sample["keypoints"][None], keypoint_scores=scores, schema=schema)
        return draw_poses(sample["image"], output, keypoint_threshold=0.5)
    image = np.ascontiguousarray(sample["image"])
    for x1, y1, x2, y2 in sample["boxes"]:
        corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        draw_lines(image, corners, np.roll(corners, -1, 0), [(0, 255, 0)] * 4, 1)
    return image


def histogram(title: str, values: np.ndarray, edges: Sequence[float]) -> list[str]:
    """A title, and lines with a bar for the values (N,) from each edge, in ascending order, up to the next."""
    counts = np.histogram(values, [*edges, np.inf])[0]
    lines = [title]
    for low, count in zip(edges, counts, strict=True):
        bar = "#" * int(np.ceil(BAR_WIDTH * count / max(counts.max(), 1)))
        lines.append(f"{low:>8g} and more {bar:<{BAR_WIDTH}} {count}")
    return lines
