"""Training data: annotated images and rendered scenes as streams of samples for transformers' `Trainer`.

A stream is one long pass in which sample n follows from the seed and n alone: which image it shows and all that is
random about it. It does not matter how many workers load it, or whether a run was interrupted on the way.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset, get_worker_info

from hfpose.annotations import ImageBoxes, PoseInstances
from hfpose.errors import InputError
from hfpose.media.images import load_image
from hfpose.ops.pose_similarity import AREA_OF_BOX
from hfpose.training.augmentation import ImageSample, InstancesSample, PersonSample

logger = logging.getLogger(__name__)

# Images in a row that may be unreadable before training stops.
MAX_UNREADABLE = 20

# What the streams of random numbers of one seed are for.
_ORDER, _CHANGES = 0, 1


class Samples(Protocol):
    """Where samples come from."""

    def __len__(self) -> int: ...

    def load(self, index: int, rng: np.random.Generator) -> Any:
        """A sample; `rng` is for sources that choose.

        Raises:
            InputError: if its image cannot be read.
        """


@dataclass(frozen=True)
class AnnotatedPeople:
    """The instances of an annotation file, one sample each."""

    instances: PoseInstances

    def __len__(self) -> int:
        return len(self.instances)

    def load(self, index: int, rng: np.random.Generator) -> PersonSample:
        people = self.instances
        image = load_image(people.images[people.image_indices[index]].path)
        return PersonSample(image, people.boxes[index], people.keypoints[index], people.visibility[index])


class AnnotatedInstances:
    """The images of an annotation file that show instances with keypoints, one sample each."""

    def __init__(self, instances: PoseInstances) -> None:
        self.instances = instances
        self.shown = np.unique(instances.image_indices)

    def __len__(self) -> int:
        return len(self.shown)

    def load(self, index: int, rng: np.random.Generator) -> InstancesSample:
        people, image = self.instances, self.instances.images[self.shown[index]]
        rows = np.flatnonzero(people.image_indices == self.shown[index])
        boxes = people.boxes[rows]
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) * AREA_OF_BOX
        return InstancesSample(load_image(image.path), boxes, people.keypoints[rows], people.visibility[rows], areas)


@dataclass(frozen=True)
class AnnotatedImages:
    """The images of an annotation file with their boxes, one sample each."""

    images: Sequence[ImageBoxes]

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int, rng: np.random.Generator) -> ImageSample:
        one = self.images[index]
        return ImageSample(load_image(one.image.path), one.boxes, one.labels)


class SampleStream(Dataset):
    """Passes over samples, one after the other, as one long pass.

    Args:
        make: from a sample, a random number generator and the progress of the run (0 to 1) to what the collator takes.
        num_samples: length of the stream.
        seed: of everything random.
        shuffle: whether each pass has an order of its own.
    """

    def __init__(
        self,
        samples: Samples,
        make: Callable[[Any, np.random.Generator, float], Mapping[str, Any]],
        num_samples: int,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.samples = samples
        self.make = make
        self.num_samples = num_samples
        self.seed = seed
        self.shuffle = shuffle
        self._order: tuple[int, np.ndarray] | None = None
        self._is_settled = False
        self._told: set[str] = set()

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> Mapping[str, Any]:
        """Sample at a position. An image that cannot be read is told once, and the next one takes its place.

        Raises:
            InputError: if many in a row cannot be read.
        """
        self._settle_in_worker()
        rng = np.random.default_rng([self.seed, _CHANGES, position])
        error: InputError | None = None
        for skipped in range(MAX_UNREADABLE):
            try:
                sample = self.samples.load(self._index(position + skipped), rng)
            except InputError as caught:
                error = caught
                self._tell(str(caught))
                continue
            return self.make(sample, rng, position / self.num_samples)
        raise InputError(f"{MAX_UNREADABLE} samples in a row cannot be read, so training stops. The last one: {error}")

    def _index(self, position: int) -> int:
        """Index of the sample at a position."""
        count = len(self.samples)
        passes, place = divmod(position, count)
        if not self.shuffle:
            return place
        if self._order is None or self._order[0] != passes:
            self._order = (passes, np.random.default_rng([self.seed, _ORDER, passes]).permutation(count))
        return int(self._order[1][place])

    def _settle_in_worker(self) -> None:
        """In a worker there is a process for each core, and OpenCV's threads do not survive the fork that made it.
        What interrupts a run is for the main process, which needs the worker until its step is done.
        """
        if not self._is_settled and get_worker_info() is not None:
            import cv2

            cv2.setNumThreads(0)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if hasattr(signal, "sigwaitinfo"):  # Linux
                # torch's handler would end this process wherever a thread unblocks the signal again.
                signal.signal(signal.SIGTERM, lambda *_: None)
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
                threading.Thread(target=_end_with_parent, daemon=True).start()
            self._is_settled = True

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            logger.warning("Left out of training: %s", message)


def _end_with_parent() -> None:
    """End this process at a SIGTERM of its parent's, and not at one that a whole group of processes gets."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
