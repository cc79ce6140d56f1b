"""The 2D pipeline: pictures to people with keypoints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.sources import Frame, open_source
from hfpose.models.shared.top_down import check_image_boxes
from hfpose.pipelines.detection import BoxDetector
from hfpose.pipelines.loading import Stage, default_device, load_stage
from hfpose.pipelines.pose import TopDownEstimator
from hfpose.results import PoseOutput
from hfpose.zoo import WHOLE_IMAGE

INDEX_NAME = "pose_pipeline.json"
DEFAULT_POSE_BATCH_SIZE = 32


class PoseEstimationPipeline:
    """
    Finds people (hands, faces, animals) in pictures and the keypoints of each.

    Where the detector finds nothing there is nobody: the result has no instances. (MMPose takes the whole picture
    for a person then; `detector="whole_image"` asks for that, and `hfpose.compat.mmpose` does it.)

    Args:
        model: pose model.
        image_processor: its image processor; None loads the one beside the model.
        detector: object detection model, a `Stage` of it, `"whole_image"` for the picture as the one box, or None: then
            every call needs `boxes`.
        detector_labels: ids or names of the detector's classes to keep; None keeps all.
        device: where both models go; None leaves them where they are.
        dtype: floating point type of both models; None leaves them as they are.

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation", model="human")
    >>> people = pipe("photo.jpg")
    >>> people.keypoints.shape
    (2, 17, 2)
    ```
    """

    def __init__(
        self,
        model: PreTrainedModel | Stage,
        image_processor: Any = None,
        detector: PreTrainedModel | Stage | str | None = None,
        detector_labels: Iterable[int | str] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        options = {"device": device, "dtype": dtype}
        pose = model if isinstance(model, Stage) else load_stage(model, "pose", image_processor, **options)
        self.estimator = TopDownEstimator(pose)
        self.whole_image = detector == WHOLE_IMAGE
        self.detector: BoxDetector | None = None
        if detector is not None and not self.whole_image:
            stage = detector if isinstance(detector, Stage) else load_stage(detector, "detector", **options)
            self.detector = BoxDetector(stage, detector_labels)

    @property
    def schema(self) -> KeypointSchema:
        """What the keypoints of the results mean."""
        return self.estimator.schema

    @property
    def device(self) -> torch.device:
        """Where the pose model is."""
        return self.estimator.stage.device

    def __call__(
        self,
        inputs: Any,
        *,
        boxes: Any = None,
        flip_test: bool = False,
        box_threshold: float = 0.3,
        nms_threshold: float = 0.3,
        keypoint_threshold: float = 0.3,
        batch_size: int = 1,
        pose_batch_size: int = DEFAULT_POSE_BATCH_SIZE,
        return_visualization: bool = False,
    ) -> PoseOutput | Iterator[PoseOutput]:
        """
        Args:
            inputs: a picture (path, URL, PIL image, RGB array), or several: a list, a folder, a video, a webcam, a
                generator, a data set.
            boxes: x1, y1, x2, y2 in pixels, one list per picture (for a single picture just its list); with them the
                detector is not asked.
            flip_test: average over the mirrored crops, for twice the cost.
            box_threshold: least score of a box.
            nms_threshold: of two boxes that overlap by more than this the worse one goes.
            keypoint_threshold: least score of a keypoint that is drawn.
            batch_size: pictures that are read and go through the detector at once.
            pose_batch_size: crops that go through the pose model at once, whichever pictures they are of.
            return_visualization: draw the result: `visualization` of each output.

        Returns:
            For one picture a `PoseOutput`. For anything else an iterator of them, in the order of the inputs, that
            works as it is read.

        Raises:
            InputError: if the one picture or its boxes cannot be used. Among several pictures a bad one does not stop
                the others: its output has no instances and says why in `error`.
        """
        _check_positive(batch_size=batch_size, pose_batch_size=pose_batch_size)
        if boxes is None and self.detector is None and not self.whole_image:
            raise InputError(
                "This pipeline has no detector. Give `boxes=[[[x1, y1, x2, y2], ...]]`, or make the pipeline with "
                '`detector=...` (a model, or "whole_image" to take each picture as one box).'
            )
        source = open_source(inputs)
        settings = {
            "flip_test": flip_test,
            "box_threshold": box_threshold,
            "nms_threshold": nms_threshold,
            "keypoint_threshold": keypoint_threshold,
            "pose_batch_size": pose_batch_size,
            "return_visualization": return_visualization,
        }
        if source.is_single:
            if boxes is not None:
                boxes = [_boxes_of_single(boxes)]
            output = next(self._stream(source, boxes, 1, settings))
            if output.error is not None:
                raise InputError(output.error)
            return output
        if boxes is not None:
            boxes = _boxes_per_image(boxes, source.num_frames)
        return self._stream(source, boxes, batch_size, settings)

    def _stream(
        self, source: Any, boxes: Iterable[Any] | None, batch_size: int, settings: dict[str, Any]
    ) -> Iterator[PoseOutput]:
        remaining = None if boxes is None else iter(boxes)
        with source:
            frames = iter(source)
            while batch := list(islice(frames, batch_size)):
                given = None if remaining is None else list(islice(remaining, len(batch)))
                yield from self._process(batch, given, **settings)

    def _process(
        self,
        frames: Sequence[Frame],
        given_boxes: Sequence[Any] | None,
        *,
        flip_test: bool,
        box_threshold: float,
        nms_threshold: float,
        keypoint_threshold: float,
        pose_batch_size: int,
        return_visualization: bool,
    ) -> list[PoseOutput]:
        """Results of a batch of frames, in their order."""
        errors = [frame.error for frame in frames]
        boxes: list[np.ndarray | None] = [None] * len(frames)
        if given_boxes is not None:
            boxes, errors = _checked_boxes(frames, given_boxes)
        good = [index for index, error in enumerate(errors) if error is None]
        images = [frames[index].image for index in good]
        found = self._find_boxes(images, [boxes[index] for index in good], box_threshold, nms_threshold)
        poses = self.estimator(
            images, [each for each, _ in found], flip_test=flip_test, batch_size=pose_batch_size
        )
        outputs = [_failed(frame, error, self.schema) for frame, error in zip(frames, errors, strict=True)]
        for index, (frame_boxes, box_scores), (keypoints, scores) in zip(good, found, poses, strict=True):
            image = frames[index].image
            outputs[index] = PoseOutput(
                keypoints=keypoints,
                keypoint_scores=scores,
                boxes=frame_boxes,
                box_scores=box_scores,
                schema=self.schema,
                image_size=(image.shape[1], image.shape[0]),
                source=frames[index].source,
                frame_index=frames[index].frame_index,
            )
            if return_visualization:
                from hfpose.visualization import draw_poses

                outputs[index].visualization = draw_poses(
                    image, outputs[index], keypoint_threshold=keypoint_threshold
                )
        return outputs

    def _find_boxes(
        self,
        images: Sequence[np.ndarray],
        given: Sequence[np.ndarray | None],
        box_threshold: float,
        nms_threshold: float,
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes (N, 4) and scores (N,) of each picture: given, detected, or the picture itself."""
        if not images:
            return []
        if self.detector is not None and any(boxes is None for boxes in given):
            return self.detector(images, box_threshold, nms_threshold)
        whole = [np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32) for image in images]
        chosen = [whole_box if boxes is None else boxes for whole_box, boxes in zip(whole, given, strict=True)]
        return [(boxes, np.ones(len(boxes), np.float32)) for boxes in chosen]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the pipeline: an index file, and a folder for each part that its class loads alone."""
        folder = Path(folder)
        self.estimator.stage.save_pretrained(folder / "pose")
        parts: dict[str, Any] = {"pipeline": type(self).__name__, "pose": "pose"}
        if self.detector is not None:
            self.detector.stage.save_pretrained(folder / "detector")
            parts |= {"detector": "detector", "detector_labels": self.detector.label_ids}
        elif self.whole_image:
            parts["detector"] = WHOLE_IMAGE
        (folder / INDEX_NAME).write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        **hub_options: Any,
    ) -> PoseEstimationPipeline:
        """The pipeline that `save_pretrained` wrote to a folder, or that was pushed to a repository.

        Raises:
            ConfigError: if there is no index file, or it cannot be used.
        """
        from hfpose import hub

        root = Path(hub.resolve_pipeline(folder, **hub_options))
        index = read_index(root)
        options = {"device": device or default_device(), "dtype": dtype}
        detector: Stage | str | None = index.get("detector")
        if isinstance(detector, str) and detector != WHOLE_IMAGE:
            detector = load_stage(part_folder(root, detector), "detector", **options)
        pose = load_stage(part_folder(root, index["pose"]), "pose", **options)
        return cls(pose, detector=detector, detector_labels=index.get("detector_labels"))


def read_index(folder: Path) -> dict[str, Any]:
    """The index file of a pipeline folder.

    Raises:
        ConfigError: if it is missing or not what `save_pretrained` writes.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {INDEX_NAME}, so it is no pipeline folder. "
            "For a folder of one model use `pipeline(\"pose-estimation\", model=folder)`."
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(index, dict) or not isinstance(index.get("pose"), str):
        raise ConfigError(f"{path} does not name its pose model; write the folder anew with `save_pretrained`.")
    return index


def part_folder(root: Path, name: str) -> Path:
    """Folder of a part that an index file names.

    Raises:
        ConfigError: for anything but the plain name of a folder inside `root`.
    """
    if Path(name).name != name or name in ("", ".", ".."):
        raise ConfigError(f"{root / INDEX_NAME} names the part {name!r}; expected the name of a folder beside it.")
    return root / name


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, it must be 1 or more.")


def _boxes_of_single(boxes: Any) -> Any:
    """Boxes of one picture, given as a list of boxes or as a list with that list in it."""
    if np.ndim(boxes[0]) == 2 if len(boxes) == 1 else False:
        return boxes[0]
    return boxes


def _boxes_per_image(boxes: Any, num_images: int | None) -> Any:
    if num_images is not None and len(boxes) != num_images:
        raise InputError(
            f"Got boxes for {len(boxes)} pictures, but there are {num_images}. "
            "Give one list of boxes [x1, y1, x2, y2] per picture, an empty one where there is nobody."
        )
    return boxes


def _checked_boxes(
    frames: Sequence[Frame], given: Sequence[Any]
) -> tuple[list[np.ndarray | None], list[str | None]]:
    """Boxes (N, 4) for each frame, and what is wrong with the frame or with its boxes."""
    boxes: list[np.ndarray | None] = [None] * len(frames)
    errors = [frame.error for frame in frames]
    for index, frame in enumerate(frames):
        if errors[index] is not None:
            continue
        try:
            if index >= len(given):
                raise InputError("No boxes were given for this picture; give one list of boxes per picture.")
            boxes[index] = check_image_boxes(given[index], index)
            _check_on_image(boxes[index], frame.image)
        except InputError as error:
            errors[index] = str(error)
    return boxes, errors


def _check_on_image(boxes: np.ndarray, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    outside = (boxes[:, 2:] <= 0).any(1) | (boxes[:, 0] >= width) | (boxes[:, 1] >= height)
    if outside.any():
        first = int(outside.argmax())
        raise InputError(
            f"Box {first} is {boxes[first].tolist()} and lies outside the picture of {width}x{height} pixels. "
            "Boxes are x1, y1, x2, y2 in pixels of the picture as it is shown."
        )


def _failed(frame: Frame, error: str | None, schema: KeypointSchema) -> PoseOutput:
    """The result of a frame that cannot be used, told on stderr too."""
    message = error or "not processed"
    if error is not None:
        print(f"hfpose: {frame.source or frame.name}: {error}", file=sys.stderr)
    return PoseOutput.failed(message, source=frame.source, schema=schema, frame_index=frame.frame_index)
