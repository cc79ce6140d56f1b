"""What is compared: hfpose with each of its backends, and rtmlib with two on an export of the same weights."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from measuring import Stopwatch, wait_for
from work import BOX_THRESHOLD, NMS_THRESHOLD, Workload

# In the order of a run.
STAGES = ("read", "detector", "crop", "pose", "decode", "draw", "rest")
RTMLIB = "rtmlib"
RTMLIB_OPENVINO = "rtmlib openvino"  # in the precision that OpenVINO chooses, as rtmlib leaves it
INT8 = "onnxruntime int8"
EAGER = "torch eager"  # operations that Python starts one by one, without CUDA graphs or replays
# By name what runs both stages of hfpose, and in which type.
BACKENDS: dict[str, tuple[str, str]] = {
    "auto": ("auto", "auto"),
    "torch": ("torch", "auto"),
    "torch float32": ("torch", "float32"),
    "openvino float32": ("openvino", "float32"),
    "onnxruntime": ("onnxruntime", "float32"),
    INT8: ("onnxruntime", "float32"),
    "compile": ("compile", "float32"),
}
THRESHOLDS: dict[str, Any] = {"box_threshold": BOX_THRESHOLD, "nms_threshold": NMS_THRESHOLD}


class System(Protocol):
    """Something that finds poses. What it spends goes to `watch` by the names of `STAGES`."""

    watch: Stopwatch

    def image(self, path: Path, boxes: list[list[float]] | None) -> Any:
        """What is found in an image file."""

    def draw(self, found: Any) -> None:
        """Draw what `image` found last."""

    def clip(self, path: Path, boxes: list[list[float]] | None) -> Iterator[int]:
        """The number of people in each frame of a video."""

    def keypoints(self, path: Path, boxes: list[list[float]]) -> np.ndarray:
        """Keypoints (N, K, 2) in given boxes (N, 4) of an image file, for comparison."""


def system_names(backends: list[str]) -> list[str]:
    """Names of what can be compared here: rtmlib only where it and what runs its networks are installed."""
    rivals = {RTMLIB: "onnxruntime", RTMLIB_OPENVINO: "openvino"}
    found = [name for name, package in rivals.items() if all(map(importlib.util.find_spec, ("rtmlib", package)))]
    return [*(f"hfpose {backend}" for backend in backends), *found]


def make_system(name: str, workload: Workload, threads: int | None, clip_batch: int) -> System:
    """A system by its name, with so many threads for everything in it; None leaves them as they are."""
    if threads is not None:
        cv2.setNumThreads(threads)
    model, _, name = name.rpartition(", ")  # of a one-stage model before the comma, where there is one
    if name.startswith(RTMLIB):
        return RtmlibSystem(workload, threads, "openvino" if name == RTMLIB_OPENVINO else "onnxruntime", model)
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if model:
        assert workload.one_stage is not None
        workload = replace(workload, pose=workload.one_stage[model], detector=None)
    return HfposeSystem(workload, name.removeprefix("hfpose "), clip_batch)


class HfposeSystem:
    """A pipeline of hfpose.

    Args:
        workload: names the models, which are exported first for `INT8`.
        backend: of both stages, one of `BACKENDS`, or `EAGER`.
        clip_batch: frames of a video that go through the detector at once.
        device, dtype: of both stages; by default the type that goes with the backend.
    """

    def __init__(
        self, workload: Workload, backend: str, clip_batch: int, device: str = "cpu", dtype: str | None = None
    ) -> None:
        from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
        from hfpose.pipelines.stage import load_stage

        self.watch = Stopwatch()
        self.forward_seconds: list[float] = []
        self.forward_batches: list[tuple[str, int]] = []
        folders: dict[Any, Path | None] = {"pose": workload.pose, "detector": workload.detector}
        if backend == INT8:
            from eight_bits import export_eight_bits

            folders |= export_eight_bits(workload)
        self.device = device
        name, own_dtype = BACKENDS["torch" if backend == EAGER else backend]
        options: dict[str, Any] = {"backend": name, "device": device, "dtype": dtype or own_dtype}
        stages: dict[Any, Any] = {}
        for task, folder in folders.items():
            if folder is not None:
                stage = load_stage(folder, task, **options)
                runner = _eager(stage.runner) if backend == EAGER else stage.runner
                stages[task] = replace(stage, runner=self._counted(task, runner))
        pose, detector = stages["pose"], stages.get("detector")
        self.unwatched = PoseEstimationPipeline(pose, detector=detector)
        processor = copy(pose.image_processor)
        self.watch.wrap(processor, "pixel_values", "crop")
        self.watch.wrap(processor, "decode" if hasattr(processor, "decode") else "instances", "decode")
        runner = _Watched(pose.runner, self.watch, "pose")
        self.pipeline = PoseEstimationPipeline(
            replace(pose, image_processor=processor, runner=runner), detector=detector
        )
        for method in ("detections", "select") if self.pipeline.detector is not None else ():
            self.watch.wrap(self.pipeline.detector, method, "detector")
        self.clip_batch = clip_batch

    def _counted(self, stage: str, runner: Any) -> Any:
        return _Counted(stage, runner, self.device, self.forward_seconds, self.forward_batches)

    def plain_image(self, path: Path, boxes: list[list[float]] | None) -> Any:
        """What a user calls; nothing but forward passes is timed, since timing takes time too."""
        return self.unwatched(str(path), boxes=boxes, **THRESHOLDS)

    def image(self, path: Path, boxes: list[list[float]] | None) -> Any:
        from hfpose.media.images import load_image

        with self.watch.measure("read"):
            image = load_image(path)
        return image, self.pipeline(image, boxes=boxes, **THRESHOLDS)

    def draw(self, found: Any) -> None:
        from hfpose.visualization import draw_poses

        draw_poses(*found)

    def clip(self, path: Path, boxes: list[list[float]] | None) -> Iterator[int]:
        given = None if boxes is None else _forever(boxes)
        for output in self.pipeline(path, boxes=given, batch_size=self.clip_batch):
            yield output.num_instances

    def keypoints(self, path: Path, boxes: list[list[float]]) -> np.ndarray:
        return self.image(path, boxes)[1].keypoints


def _forever(boxes: list[list[float]]) -> Iterator[list[list[float]]]:
    while True:
        yield boxes


def _eager(runner: Any) -> Any:
    """What runs a stage with torch, without graphs or replays."""
    from hfpose.backends.fuse import inference_copy
    from hfpose.backends.torch_backend import TorchRunner

    class EagerRunner(TorchRunner):
        def _make(self) -> Any:
            return inference_copy(self.model, self.inner_dtype)

    return EagerRunner(runner.model, runner.inner_dtype)


class _Counted:
    """A runner that notes how long each forward pass took, and of how many images or crops it was."""

    def __init__(
        self, stage: str, inner: Any, device: str, times: list[float], batches: list[tuple[str, int]]
    ) -> None:
        self.stage = stage
        self.inner = inner
        self.device = device
        self.times = times
        self.batches = batches

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.inner, attribute)

    def __call__(self, **inputs: Any) -> Any:
        self.batches.append((self.stage, len(inputs["pixel_values"])))
        wait_for(self.device)
        start = time.perf_counter()
        outputs = self.inner(**inputs)
        wait_for(self.device)
        self.times.append(time.perf_counter() - start)
        return outputs


class _Watched:
    """A callable object whose calls are measured."""

    def __init__(self, inner: Any, watch: Stopwatch, name: str) -> None:
        self.inner = inner
        self.watch = watch
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.watch.measure(self.name):
            return self.inner(*args, **kwargs)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.inner, attribute)


class RtmlibSystem:
    """rtmlib's classes for RTMDet and RTMPose, as its own solutions chain them, or for RTMO.

    Args:
        workload: names the ONNX files.
        threads: of each network; None leaves the backend's default, the number of cores.
        backend: of rtmlib.
        one_stage: name of a model of the workload that needs no detector.
    """

    def __init__(self, workload: Workload, threads: int | None, backend: str, one_stage: str = "") -> None:
        import contextlib
        import io

        import rtmlib

        assert workload.rtmlib_files is not None
        files = {name: str(path) for name, path in workload.rtmlib_files.items()}
        with contextlib.redirect_stdout(io.StringIO()):  # it says which file it loads
            self.is_one_stage = bool(one_stage)
            self.detector = None
            if one_stage:
                self.pose = rtmlib.RTMO(
                    files[one_stage], score_thr=BOX_THRESHOLD, nms_thr=NMS_THRESHOLD, backend=backend
                )
            else:
                self.pose = rtmlib.RTMPose(files["pose"], backend=backend)
            if "detector" in files and not one_stage:
                self.detector = rtmlib.RTMDet(files["detector"], (320, 320), backend=backend)
        self.watch = Stopwatch()
        tools = {"pose": self.pose} | ({"detector": self.detector} if self.detector is not None else {})
        for name, tool in tools.items():
            if threads is not None:
                _set_threads(tool, threads)
            self.watch.wrap(tool, "preprocess", "crop" if name == "pose" else name)
            self.watch.wrap(tool, "inference", name)
            self.watch.wrap(tool, "postprocess", "decode" if name == "pose" else name)

    def image(self, path: Path, boxes: list[list[float]] | None) -> Any:
        with self.watch.measure("read"):
            image: Any = cv2.imread(str(path))
        return (image, *self._find(image, boxes))

    def _find(self, image: np.ndarray, boxes: list[list[float]] | None) -> Any:
        if self.is_one_stage:
            return self.pose(image)
        found = boxes if self.detector is None else self.detector(image)
        return self.pose(image, found)

    def draw(self, found: Any) -> None:
        import rtmlib

        image, keypoints, scores = found
        rtmlib.draw_skeleton(image.copy(), keypoints, scores, kpt_thr=0.3)

    def clip(self, path: Path, boxes: list[list[float]] | None) -> Iterator[int]:
        capture = cv2.VideoCapture(str(path))
        try:
            while True:
                ok, image = capture.read()
                if not ok:
                    return
                yield len(self._find(image, boxes)[0])
        finally:
            capture.release()

    def keypoints(self, path: Path, boxes: list[list[float]]) -> np.ndarray:
        # Its tool for poses does not turn BGR into RGB, which the network was made for.
        image: Any = cv2.imread(str(path))
        return self.pose(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), boxes)[0]


def _set_threads(tool: Any, threads: int) -> None:
    if tool.backend == "openvino":
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        tool.compiled_model = openvino.Core().compile_model(tool.onnx_model, "CPU", settings)
        tool.input_layer, tool._ov_outputs = tool.compiled_model.input(0), list(tool.compiled_model.outputs)
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    tool.session = onnxruntime.InferenceSession(tool.onnx_model, options, providers=["CPUExecutionProvider"])
