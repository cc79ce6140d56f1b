"""Solutions: a detector and a pose model that belong together, from a BGR image to arrays.

Source: `rtmlib.tools.solution`; reimplemented over hfpose's pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np

from hfpose.backends.base_backend import BACKENDS, Backend
from hfpose.errors import ConfigError
from hfpose.hub.modes import Mode, ModePair, models_for_mode
from hfpose.hub.zoo import WHOLE_IMAGE, Task, list_entries
from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor
from hfpose.ops import boxes as box_operations
from hfpose.pipelines import WholeBody3DPipeline, pipeline
from hfpose.pipelines.detection_stage import PIXEL_OFFSET
from hfpose.results import PoseOutput
from hfpose.visualization.openpose import to_openpose

Size = tuple[int, int]

_ONNX_SUFFIXES = (".onnx", ".zip")
_DETECTORS, _POSE_MODELS = ("YOLOX", "RTMDet"), ("RTMPose", "ViTPose", "RTMO", "RTMPose3d")

# Minimum score of a box, before a pose model and of one that finds people itself; greatest IoU of two boxes of the
# latter. In rtmlib's files of detectors boxes are suppressed already, as the models' own settings say.
_BOX_THRESHOLD, _ONE_STAGE_THRESHOLD, _ONE_STAGE_IOU = 0.3, 0.7, 0.45


class Solution:
    """Base of the solutions.

    Args:
        det: detector: the name or URL of one of rtmlib's ONNX files, which stands for the zoo's model of the same
            weights, or what `hfpose.pipeline` takes. Default: that of `mode`.
        det_input_size: taken for rtmlib's sake; a model knows its own.
        pose: pose model, the same way; `"rtmo"` is the RTMO of `mode`.
        pose_input_size: as `det_input_size`.
        mode: `"performance"`, `"balanced"` or `"lightweight"`.
        to_openpose: give keypoints in OpenPose's order, with a neck.
        backend: `"onnxruntime"` or another of hfpose's; `"opencv"` is computed by torch.
        device: where the models go.

    Raises:
        ConfigError: for an ONNX file that the zoo has no weights of, or an unknown mode or backend.
    """

    alias: ClassVar[str]

    def __init__(
        self,
        det: str | None = None,
        det_input_size: Size | None = None,
        pose: str | None = None,
        pose_input_size: Size | None = None,
        mode: Mode = "balanced",
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        default = self.models(mode)
        if pose == "rtmo":
            pose = models_for_mode(pose, mode).pose
        detector = None if pose is not None and "rtmo" in pose else det or default.detector
        self._load(pose or default.pose, detector, None, to_openpose, backend, device)

    def models(self, mode: Mode) -> ModePair:
        """The models of a mode."""
        return models_for_mode(self.alias, mode)

    def _load(
        self,
        pose: str,
        detector: str | None,
        labels: Iterable[int] | None,
        to_openpose: bool,
        backend: str,
        device: str,
    ) -> None:
        self.to_openpose = to_openpose
        self.pipeline: Any = pipeline(
            "pose-estimation",
            _model_of(pose, "pose"),
            detector=None if detector is None else _model_of(detector, "detector"),
            detector_labels=labels,
            backend=_backend_of(backend),
            device=device,
        )
        processor = self.pipeline.estimator.stage.image_processor
        if isinstance(processor, RTMPoseImageProcessor):
            processor.mean_scores = True

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """
        Args:
            image: BGR image (H, W, 3), uint8.

        Returns:
            `keypoints` (N, K, 2) in pixels and `scores` (N, K). Where the detector finds nothing the image is taken as
            one box.
        """
        return self.arrays(self.estimate(image))

    def estimate(self, image: np.ndarray, boxes: np.ndarray | None = None) -> PoseOutput:
        """What the pipeline finds in a BGR image, in `boxes` (N, 4) x1, y1, x2, y2 where they are given."""
        rgb = np.ascontiguousarray(image[..., ::-1])
        if self.pipeline.is_one_stage:
            return self.pipeline(rgb, box_threshold=_ONE_STAGE_THRESHOLD, nms_threshold=_ONE_STAGE_IOU)
        options = {"reference_mode": "vis"} if self.is_3d else {}
        return self.pipeline(
            rgb,
            boxes=boxes,
            box_threshold=_BOX_THRESHOLD,
            nms_threshold=1.0,
            whole_image_fallback=True,
            **options,
        )

    @property
    def is_3d(self) -> bool:
        """Whether keypoints have a depth."""
        return isinstance(self.pipeline, WholeBody3DPipeline)

    def arrays(self, output: PoseOutput) -> tuple[np.ndarray, ...]:
        """What a call returns for a result of `estimate`: keypoints (N, K, 2) in pixels and scores (N, K); in 3D see
        `Wholebody3d`.
        """
        keypoints, scores = output.keypoints, output.keypoint_scores
        if self.is_3d:
            assert output.keypoints_2d is not None
            processor = self.pipeline.estimator.stage.image_processor
            depths = (keypoints[..., 2:] / (processor.depth_size / 2) - 1) * processor.depth_range
            return np.concatenate((keypoints[..., :2], depths), axis=-1), scores, keypoints, output.keypoints_2d
        if self.to_openpose:
            keypoints, scores, _ = to_openpose(keypoints, scores, self.pipeline.schema)
        return keypoints, scores


class Body(Solution):
    """17 keypoints of COCO, see [`Solution`]; with an RTMO for `pose` there is no detector."""

    alias = "human"


class BodyWithFeet(Solution):
    """26 keypoints of Halpe, see [`Solution`]. In OpenPose's order there are 18 without feet."""

    alias = "body26"


class Wholebody(Solution):
    """133 keypoints of body, feet, face and hands, see [`Solution`]."""

    alias = "wholebody"


class Hand(Solution):
    """21 keypoints of hands, see [`Solution`]. All modes are the same."""

    alias = "hand"


class Wholebody3d(Solution):
    """133 keypoints in 3D, see [`Solution`]; all modes are the same.

    A call returns `keypoints` (N, 133, 3), x and y in pixels of the crop and z in meters relative to the hips;
    `scores` (N, 133); `keypoints_simcc` (N, 133, 3), the same with z in pixels of the crop's depth; `keypoints_2d`
    (N, 133, 2) in pixels of the image.
    """

    alias = "wholebody3d"

    def models(self, mode: Mode) -> ModePair:
        return ModePair(self.alias, models_for_mode(Wholebody.alias, "balanced").detector)


class Animal(Solution):
    """17 keypoints of AP-10K, see [`Solution`].

    Args:
        det_categories: ids of the classes of COCO to keep; default: the animals.
    """

    alias = "animal"

    def __init__(
        self,
        det: str | None = None,
        det_categories: Iterable[int] | None = None,
        det_input_size: Size | None = None,
        pose: str | None = None,
        pose_input_size: Size | None = None,
        mode: Mode = "balanced",
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        default = self.models(mode)
        self._load(pose or default.pose, det or default.detector, det_categories, False, backend, device)


class Custom(Solution):
    """A detector and a pose model of the caller's choice, see [`Solution`].

    Args:
        det_class: `"YOLOX"` or `"RTMDet"`; None for no detector.
        det: the detector; what it is, it says itself.
        det_mode: `"human"` keeps the detector's first class, `"multiclass"` all.
        det_categories: ids of the classes to keep.
        pose_class: `"RTMPose"`, `"ViTPose"`, `"RTMO"` or `"RTMPose3d"`.
        pose: the pose model.
        mode: has no use.

    Raises:
        ConfigError: for another class, or one without its model.
    """

    def __init__(
        self,
        det_class: str | None = None,
        det: str | None = None,
        det_input_size: Size | None = None,
        det_mode: str = "human",
        det_categories: Iterable[int] | None = None,
        pose_class: str | None = None,
        pose: str | None = None,
        pose_input_size: Size | None = None,
        mode: Mode | None = None,
        to_openpose: bool = False,
        backend: str = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        if det_class is None:
            detector, labels = None if pose_class == "RTMO" else WHOLE_IMAGE, None
        else:
            detector = _checked(det, det_class, _DETECTORS)
            labels = det_categories or ([0] if det_mode == "human" else None)
        self._load(_checked(pose, pose_class, _POSE_MODELS), detector, labels, to_openpose, backend, device)


def _checked(model: str | None, kind: str | None, kinds: tuple[str, ...]) -> str:
    """The model of a class of rtmlib's."""
    if kind not in kinds or model is None:
        raise ConfigError(
            f"Custom takes a model with its class, one of {', '.join(kinds)}; got {model!r} with {kind!r}."
        )
    return model


def _backend_of(name: str) -> Backend:
    if name == "opencv":
        return "torch"
    if name not in BACKENDS:
        raise ConfigError(f"backend must be one of {', '.join((*BACKENDS, 'opencv'))}, got {name!r}.")
    return name


def _model_of(given: str, task: Task) -> str:
    """The zoo's model of the weights in one of rtmlib's ONNX files, which have the name of the checkpoint; else as
    given."""
    if not str(given).endswith(_ONNX_SUFFIXES):
        return given
    name = next(
        (entry.name for entry in list_entries(task) if _stem(entry.checkpoint_url or "") == _stem(given)), None
    )
    if name is None:
        raise ConfigError(
            f"{given!r} is an ONNX file that hfpose knows no checkpoint of; ONNX files themselves are not read. Name "
            "a model (`hfpose models`), a hub repository or a folder, such as `hfpose convert` and `hfpose export` "
            "write."
        )
    return name


def _stem(address: str) -> str:
    """Name of a file without its ending; dates are set off by either line."""
    return PurePosixPath(address).stem.replace("_", "-")


def nms(boxes: np.ndarray, scores: np.ndarray, nms_thr: float) -> list[int]:
    """Indices of the boxes (N, 4) that no better one overlaps by more than `nms_thr`, best first; pixels count
    whole."""
    return box_operations.nms(boxes, scores, nms_thr, offset=PIXEL_OFFSET).tolist()
