"""Stages that ONNX Runtime computes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfpose.backends.base import MAKING, check_whole
from hfpose.backends.onnx_cache import cached_graph
from hfpose.backends.onnx_graphs import check_exportable
from hfpose.backends.onnx_packages import require
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.errors import ConfigError
from hfpose.hub.resolve import GRAPH_NAME
from hfpose.models.shared.lifting import MirroredLifting

# Sessions of a forked child's parent: to delete one would wait for its threads, which do not exist in the child.
_LEFT_BEHIND: list[OnnxSession | None] = []


class OnnxRunner:
    """Runs a model from an ONNX file, which is written when it is needed.

    Args:
        model: of a family of ours, or transformers' ViTPose, in float32.
        image_processor: the one that belongs to it.
        folder: an exported folder that has the weights, which `model` then need not have. None: the cache.

    Raises:
        ConfigError: for another model, or if a package of the extra `onnx` is missing.
    """

    memory_format = torch.contiguous_format

    def __init__(self, model: PreTrainedModel, image_processor: Any, folder: Path | None = None) -> None:
        check_exportable(model)
        require("onnxruntime", 'backend="onnxruntime"')
        if folder is None:
            require("onnx", 'backend="onnxruntime"')
        self.model = model
        self.folder = folder
        self._image_processor = image_processor
        self._session: OnnxSession | None = None
        self._process = os.getpid()

    def __call__(self, *, flip_test: bool = False, **inputs: Tensor) -> ModelOutput:
        """Outputs of the model by name.

        Args:
            flip_test: of a lifter, average over the mirrored clip.
            inputs: as the model's `forward` takes them.

        Raises:
            ConfigError: for a flip test that lies within the network, of which the file has only the plain one.
        """
        if flip_test and not isinstance(self.model, MirroredLifting):
            raise ConfigError(
                f"The ONNX file of {type(self.model).__name__} cannot average over mirrored images, as its flip test lies "
                'within the network. Leave flip_test out, or use backend="torch".'
            )
        session = self._current_session()
        if isinstance(self.model, MirroredLifting):
            return ModelOutput(keypoints_3d=self._lift(session, flip_test, **inputs))
        return ModelOutput(**session(inputs))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_session": None}  # made anew where it is loaded

    def refresh(self) -> None:
        self._session = None

    def _lift(
        self, session: OnnxSession, flip_test: bool, keypoints_2d: Tensor, frame_mask: Tensor | None = None
    ) -> Tensor:
        model: Any = self.model
        mask = torch.ones(keypoints_2d.shape[:2], dtype=torch.bool) if frame_mask is None else frame_mask
        return model.lift_with(
            lambda clips: session({"keypoints_2d": clips, "frame_mask": mask})["keypoints_3d"], keypoints_2d, flip_test
        )

    def _current_session(self) -> OnnxSession:
        check_whole(self.model, "onnxruntime")
        if self.model.dtype != torch.float32:
            raise ConfigError(
                f'The {type(self.model).__name__} is in {self.model.dtype}, but backend="onnxruntime" computes in float32. '
                'Leave dtype out, or use backend="torch".'
            )
        with MAKING:
            if self._session is None or self._process != os.getpid():  # a forked child has no threads of its parent's
                path = self.folder / GRAPH_NAME if self.folder else cached_graph(self.model, self._image_processor)
                if self._process != os.getpid():
                    _LEFT_BEHIND.append(self._session)
                self._session, self._process = OnnxSession(path, self.model.device), os.getpid()
            return self._session
