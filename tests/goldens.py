"""The reference's recorded outputs, and the seeded weights and inputs that they were computed with."""

from __future__ import annotations

import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Golden:
    """One spec: `spec` says how it was computed, `arrays` what came out."""

    folder: Path
    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @classmethod
    def load(cls, shared: Path, kind: str, name: str) -> Golden:
        """The spec called `name` of `kind` ("pose2d", "detect" or "pose3d")."""
        folder = shared / "golden"
        with np.load(folder / kind / f"{name}.npz") as arrays:
            return cls(folder, json.loads((folder / kind / f"{name}.json").read_text()), dict(arrays))

    @property
    def image(self) -> np.ndarray:
        """RGB pixels of the spec's picture."""
        return cv2.imread(str(self.folder.parent / "images" / self.spec["image"]))[..., ::-1]

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Shape of every tensor of the reference."""
        return self.spec["state_dict"]

    def state_dict(self) -> dict[str, Tensor]:
        """The reference's tensors with seeded values."""
        tensor_for = _seedweights(self.folder).tensor_for
        return {name: torch.from_numpy(np.asarray(tensor_for(name, shape))) for name, shape in self.shapes.items()}

    def input(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The seeded network input called `name`."""
        return torch.from_numpy(_seedweights(self.folder).array_for(name, shape))


def relative_error(given: np.ndarray | Tensor, expected: np.ndarray) -> float:
    """Greatest difference in units of the expected values' standard deviation."""
    return float(np.abs(np.asarray(given) - expected).max() / expected.std())


@functools.cache
def _seedweights(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("seedweights", folder / "seedweights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
