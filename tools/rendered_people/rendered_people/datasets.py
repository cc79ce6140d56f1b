"""Rendered scenes as training data, beside the annotated images of `hfpose.training.datasets`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from hfpose.training.augmentation import ImageSample, PersonSample
from rendered_people.scenes import Scene, render_scene


@lru_cache(maxsize=2)
def _rendered(render: Callable[[int], Scene], seed: int) -> Scene:
    return render(seed)


class RenderedPeople:
    """People of rendered scenes with COCO's keypoints, some from each scene, chosen by chance.

    Args:
        seeds: of the scenes.
        people_per_scene: samples in a row that come from the same scene.
    """

    def __init__(self, seeds: range, people_per_scene: int = 2) -> None:
        self.seeds = seeds
        self.people_per_scene = people_per_scene

    def __len__(self) -> int:
        return len(self.seeds) * self.people_per_scene

    def load(self, index: int, rng: np.random.Generator) -> PersonSample:
        scene = _rendered(render_scene, self.seeds[index // self.people_per_scene])
        first = index % self.people_per_scene
        # Different people where there are as many; who comes first is up to the scene's seed.
        person = (
            (scene.seed + first) % scene.num_people if first < scene.num_people else rng.integers(scene.num_people)
        )
        return PersonSample(scene.image, scene.boxes[person], scene.keypoints[person], scene.visibility[person])


class RenderedImages:
    """Rendered scenes with the boxes of their people, one sample each; the one class is "person".

    Args:
        seeds: of the scenes.
        times: samples in a row that show the same scene, each augmented in its own way.
        render: from a seed to a scene.
    """

    def __init__(self, seeds: range, times: int = 1, render: Callable[[int], Scene] = render_scene) -> None:
        self.seeds = seeds
        self.times = times
        self.render = render

    def __len__(self) -> int:
        return len(self.seeds) * self.times

    def load(self, index: int, rng: np.random.Generator) -> ImageSample:
        scene = _rendered(self.render, self.seeds[index // self.times])
        return ImageSample(scene.image, scene.boxes, np.zeros(scene.num_people, np.int64))
