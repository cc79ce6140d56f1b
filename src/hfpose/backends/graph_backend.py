"""Stages that ONNX Runtime or OpenVINO computes from a graph."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfpose.backends.base_backend import Runner, check_whole
from hfpose.backends.extras import is_installed, require
from hfpose.backends.graph_files import check_graph_folder
from hfpose.backends.onnx_cache import cached_graph, compiled_cache
from hfpose.backends.onnx_graphs import check_exportable
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.backends.openvino_sessions import OpenVinoSession
from hfpose.errors import ConfigError
from hfpose.hub.model_folders import GRAPH_NAME, OPENVINO_NAME
from hfpose.models.shared.lifting import FlippedLifting

GraphBackend = Literal["onnxruntime", "openvino"]
GraphSession = OnnxSession | OpenVinoSession

# Sessions of a forked child's parent: to delete one would wait for its threads, which do not exist in the child.
_LEFT_BEHIND: list[GraphSession | None] = []


class GraphRunner(Runner):
    """Runs a model from a graph, which is written when it is needed and loaded when the runner is made.

    Args:
        model: of a family of ours, or transformers' ViTPose.
        inner_dtype: what inner layers compute in; None: the type of the model's weights. ONNX Runtime computes in
            float32, and in float16 where it does not run on a CPU.
        folder: an exported folder that has the weights, which `model` then need not have. None: the cache.
        device: as the backend names it, with inputs and outputs on the CPU; None: where the model is.
        weights: file that the model's weights have just been mapped from; None: they may be others.

    Raises:
        ConfigError: for another model, a type or device that the backend cannot use, or if a package is missing.
        CheckpointError: if the graph in `folder` is damaged, or one that is written does not compute what torch
            computes.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        image_processor: Any,
        backend: GraphBackend = "onnxruntime",
        inner_dtype: torch.dtype | None = None,
        folder: Path | None = None,
        device: str | None = None,
        weights: Path | None = None,
    ) -> None:
        check_exportable(model)
        super().__init__(model, inner_dtype, weights)
        self.name: GraphBackend = backend
        self.folder = folder
        self._image_processor = image_processor
        self._device = device
        self._process = os.getpid()
        require(backend, f'backend="{backend}"')
        if folder is not None:
            check_graph_folder(folder, model, image_processor)
        elif not is_installed("onnx"):  # which is imported when a graph is written, for it takes a third of a second
            require("onnx", f'backend="{backend}"')
        if model.device.type != "meta":
            _ = self.made  # so that errors appear here

    @property
    def input_dtype(self) -> torch.dtype:
        return torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.name == "openvino" else torch.contiguous_format

    @property
    def computing_dtype(self) -> torch.dtype:
        dtype = super().computing_dtype
        # What "auto" chose for other backends.
        return torch.float32 if self.name == "onnxruntime" and not self._computes(dtype) else dtype

    def __call__(self, *, flip_test: bool = False, **inputs: Tensor) -> ModelOutput:
        """Outputs of the model by name.

        Args:
            flip_test: of a lifter, average over the flipped clip.
            inputs: as the model's `forward` takes them.

        Raises:
            ConfigError: for a flip test that lies within the network, of which the file has only the plain one.
        """
        if flip_test and not isinstance(self.model, FlippedLifting):
            raise ConfigError(
                f"The graph of {type(self.model).__name__} cannot average over flipped images, as its flip test lies "
                'within the network. Leave flip_test out, or use backend="torch".'
            )
        check_whole(self.model, self.name)
        session = self.current
        if isinstance(self.model, FlippedLifting):
            return ModelOutput(keypoints_3d=self._lift(session, flip_test, **inputs))
        return ModelOutput(**_computed(session, inputs))

    def _lift(
        self, session: GraphSession, flip_test: bool, keypoints_2d: Tensor, frame_mask: Tensor | None = None
    ) -> Tensor:
        model: Any = self.model
        mask = keypoints_2d.new_ones(keypoints_2d.shape[:2], dtype=torch.bool) if frame_mask is None else frame_mask
        return model.lift_with(
            lambda clips: _computed(session, {"keypoints_2d": clips, "frame_mask": mask})["keypoints_3d"],
            keypoints_2d,
            flip_test,
        )

    @property
    def made(self) -> GraphSession:
        if self._process != os.getpid():  # a forked child has no threads of its parent's
            _LEFT_BEHIND.append(self._made)
            self._made, self._process = None, os.getpid()
        session: GraphSession = super().made
        return session

    def _check_placement(self) -> None:
        if self.name == "openvino":
            if self.model.device.type != "cpu":
                raise ConfigError(
                    f'backend="openvino" cannot follow the {type(self.model).__name__} to {self.model.device}. For '
                    'OpenVINO\'s own devices give device="gpu" or "npu", else use backend="torch".'
                )
        elif not self._computes(self.model.dtype):
            raise ConfigError(
                f'The {type(self.model).__name__} is in {self.model.dtype}, but backend="onnxruntime" computes in '
                'float32, and on accelerators in float16. Leave dtype out, or use backend="torch" or "openvino".'
            )

    def _computes(self, dtype: torch.dtype) -> bool:
        """Whether ONNX Runtime computes in a type on this device."""
        is_on_cpu = (self._device or self.model.device.type) == "cpu"
        return dtype == torch.float32 or (dtype == torch.float16 and not is_on_cpu)

    def _make(self) -> GraphSession:
        check_whole(self.model, self.name)
        self._check_placement()
        kind: type[GraphSession] = OnnxSession if self.name == "onnxruntime" else OpenVinoSession
        path, device = self._graph(kind), self._device or str(self.model.device)
        settings = f"{device}-{self.computing_dtype}".replace("torch.", "").replace(":", ".")
        compiles = self.name == "openvino" or device != "cpu"
        return kind(
            path, device, self.computing_dtype, compiled_cache(path, self.name, settings) if compiles else None
        )

    def _graph(self, session: Any) -> Path:
        """The file to load."""
        if self.folder is None:
            return cached_graph(self.model, self._image_processor, session=session, weights=self._weights)
        names = (OPENVINO_NAME, GRAPH_NAME) if self.name == "openvino" else (GRAPH_NAME,)
        found = next((self.folder / name for name in names if (self.folder / name).is_file()), None)
        if found is None:
            raise ConfigError(
                f"{self.folder} has no {GRAPH_NAME}, which backend={self.name!r} needs. Use "
                'backend="openvino", or export the model with `--format onnx`.'
            )
        return found


def _computed(session: GraphSession, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of a session by name; for an empty batch, which no graph takes, those of one image without that."""
    if all(len(value) for value in inputs.values()):
        return session(inputs)
    one = {name: value.new_ones((1, *value.shape[1:])) for name, value in inputs.items()}
    return {name: value[:0] for name, value in session(one).items()}
