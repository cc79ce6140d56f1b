"""The 2D pipeline: images to people with keypoints."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from hfpose.backends.torch_backend import Backend
from hfpose.errors import ConfigError, InputError
from hfpose.hub.resolve import child_path, resolve
from hfpose.hub.zoo import WHOLE_IMAGE
from hfpose.keypoints import KeypointSchema
from hfpose.media.background import in_background
from hfpose.media.sources import Frame, Source, open_source
from hfpose.models.shared.devices import accelerate_hook
from hfpose.models.shared.top_down import check_image_boxes
from hfpose.pipelines.detection import BoxDetector
from hfpose.pipelines.device_placement import DeviceMap, Memory, Placement, StagedPipeline
from hfpose.pipelines.index import read_index, write_index
from hfpose.pipelines.one_stage import OneStageEstimator, is_one_stage
from hfpose.pipelines.stage import Stage, load_stage
from hfpose.pipelines.top_down import TopDownEstimator
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import Association, KeypointSmoother, PoseTracker
from hfpose.visualization import draw_poses

DEFAULT_FRAME_RATE = 30.0
# Boxes of a detector that overlap by more than this are one.
NMS_THRESHOLD = 0.3
# Seconds within which a network surely comes back from a batch.
_PATIENCE = 30.0


@dataclass(frozen=True)
class _Settings:
    """What a call asks for, see `PoseEstimationPipeline.__call__`."""

    flip_test: bool
    box_threshold: float | None
    nms_threshold: float | None
    pose_batch_size: int | None
    return_heatmaps: bool
    whole_image_fallback: bool


@dataclass(frozen=True)
class _Image:
    """A frame that can be used, with the boxes (N, 4) that the caller gave, if any."""

    frame: Frame
    image: np.ndarray
    boxes: np.ndarray | None


@dataclass(frozen=True)
class _Batch:
    """Frames that were read together.

    `checked` holds for each of them its image or what is wrong with it; `images` are those that can be used, and
    `found` holds for each of these the boxes (N, 4) and their scores (N,).
    """

    frames: Sequence[Frame]
    checked: Sequence[_Image | str]
    images: Sequence[_Image]
    found: Sequence[tuple[np.ndarray, np.ndarray]]


_NO_BOXES = object()  # where a caller's boxes end before the images do


class PoseEstimationPipeline(StagedPipeline):
    """
    Finds people (hands, faces, animals) in images and the keypoints of each.

    Where the detector finds nothing there is nobody: the result has no instances. (MMPose takes the whole image
    for a person then, as `hfpose.compat.mmpose` does; `detector="whole_image"` does so for every image.)

    Args:
        model: pose model.
        image_processor: its image processor; None loads the one beside the model.
        detector: object detection model, a `Stage` of it, `"whole_image"` for the image as the one box, or None: then
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
        if not isinstance(model, Stage):
            model = load_stage(model, "pose", image_processor, device=device, dtype=dtype)
        self.estimator: TopDownEstimator | OneStageEstimator
        self.estimator = OneStageEstimator(model) if is_one_stage(model) else TopDownEstimator(model)
        if detector is not None and self.is_one_stage:
            raise ConfigError(
                f"The {type(model.model).__name__} finds people in whole images by itself, so no detector goes before it. "
                "Leave `detector` out."
            )
        self.whole_image = detector == WHOLE_IMAGE
        self.detector: BoxDetector | None = None
        if detector is not None and not self.whole_image:
            if not isinstance(detector, Stage):
                detector = load_stage(detector, "detector", device=device, dtype=dtype)
            self.detector = BoxDetector(detector, detector_labels)

    @property
    def is_one_stage(self) -> bool:
        """Whether the pose model finds instances in whole images, so that there is no detector and no boxes are taken."""
        return isinstance(self.estimator, OneStageEstimator)

    @property
    def schema(self) -> KeypointSchema:
        """What the keypoints of the results mean."""
        return self.estimator.schema

    @property
    def stages(self) -> dict[str, Stage]:
        """The detector, where there is one, and the pose model."""
        detector = {} if self.detector is None else {"detector": self.detector.stage}
        return {**detector, "pose": self.estimator.stage}

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
        box_threshold: float | None = 0.3,
        nms_threshold: float | None = None,
        keypoint_threshold: float = 0.3,
        batch_size: int = 1,
        pose_batch_size: int | None = None,
        num_workers: int = 1,
        track: bool | Association = False,
        tracking_threshold: float = 0.3,
        smooth: bool = False,
        return_heatmaps: bool = False,
        return_visualization: bool = False,
    ) -> PoseOutput | Iterator[PoseOutput]:
        """
        Args:
            inputs: an image (path, URL, PIL image, RGB array), or several: a list, a folder, a video, a webcam, a
                generator, a data set.
            boxes: x1, y1, x2, y2 in pixels, one list per image (for a single image just its list); with them the
                detector is not asked.
            flip_test: average over the mirrored crops, for twice the cost.
            box_threshold: least score of a box; None for what the model's own image processor says.
            nms_threshold: of two boxes that overlap by more than this the worse one goes. Default: 0.3; a model that finds
                people without a detector has its own.
            keypoint_threshold: least score of a keypoint that is drawn.
            batch_size: images that are read and go through the detector at once.
            pose_batch_size: crops that go through the pose model at once, whichever images they are of; default 8 on a
                CPU, 64 on an accelerator.
            num_workers: threads that decode images ahead; with 0 they are decoded when they are needed.
            track: give people identities over the frames of a video (`track_ids`), judged by the overlap of their boxes
                (True or `"iou"`) or by their keypoints (`"oks"`). Several images count as frames of one video.
            tracking_threshold: least such overlap.
            smooth: smooth the keypoints of each identity with the One-Euro filter; needs `track`.
            return_heatmaps: keep what the network said of each place: `heatmaps` and `heatmap_boxes` of each output.
            return_visualization: draw the result: `visualization` of each output.

        Returns:
            For one image a `PoseOutput`. For anything else an iterator of them, in the order of the inputs, that
            works as it is read.

        Raises:
            InputError: if the one image or its boxes cannot be used. Among several images a bad one does not stop
                the others: its output has no instances and says why in `error`.
        """
        source = open_source(inputs, num_workers=num_workers)
        results = self.stream(
            source,
            boxes=boxes,
            flip_test=flip_test,
            box_threshold=box_threshold,
            nms_threshold=nms_threshold,
            batch_size=batch_size,
            pose_batch_size=pose_batch_size,
            track=track,
            tracking_threshold=tracking_threshold,
            smooth=smooth,
            return_heatmaps=return_heatmaps,
        )
        if return_visualization:
            results = ((frame, _with_visualization(frame, output, keypoint_threshold)) for frame, output in results)
        return single_output(results) if source.is_single else announcing_errors(results)

    def stream(
        self,
        source: Source,
        *,
        boxes: Any = None,
        flip_test: bool = False,
        box_threshold: float | None = 0.3,
        nms_threshold: float | None = None,
        batch_size: int = 1,
        pose_batch_size: int | None = None,
        track: bool | Association = False,
        tracking_threshold: float = 0.3,
        smooth: bool = False,
        return_heatmaps: bool = False,
        whole_image_fallback: bool = False,
    ) -> Iterator[tuple[Frame, PoseOutput]]:
        """The frames of a source with their results, for callers that write or draw them.

        Args:
            source: what `hfpose.media.sources.open_source` makes of images, videos, webcams and collections of them.
            boxes: as for a call; may be an iterator that gives one list of boxes per frame.
            flip_test, box_threshold, nms_threshold, batch_size, pose_batch_size, track, tracking_threshold, smooth,
                return_heatmaps: as for a call.
            whole_image_fallback: where there is no box, take the image as one, as MMPose does.

        Returns:
            Pairs in the order of the source, computed as they are read. What cannot be used has no people and says why
            in `error`.

        Raises:
            InputError: if there is neither a detector nor boxes, or boxes for another number of images.
        """
        _check_positive(batch_size=batch_size, pose_batch_size=pose_batch_size)
        if smooth and not track:
            raise InputError("smooth=True needs track=True: keypoints are smoothed along the frames of each identity.")
        if isinstance(self.estimator, OneStageEstimator):
            self.estimator.check(boxes, flip_test, return_heatmaps)
        elif boxes is None and self.detector is None and not self.whole_image:
            raise InputError(
                "This pipeline has no detector. Give `boxes=[[[x1, y1, x2, y2], ...]]`, or make the pipeline with "
                '`detector=...` (a model, or "whole_image" to take each image as one box).'
            )
        if boxes is not None:
            boxes = [_boxes_of_single(boxes)] if source.is_single else _boxes_per_image(boxes, source.num_frames)
        settings = _Settings(
            flip_test, box_threshold, nms_threshold, pose_batch_size, return_heatmaps, whole_image_fallback
        )
        overlaps = not (source.is_single or source.is_live or isinstance(boxes, Iterator)) and self._overlaps
        results = self._stream(source, boxes, batch_size, settings, overlaps)
        if overlaps:
            results = in_background(results, batch_size, "hfpose-pose", _PATIENCE)
        if not track:
            return results
        tracker = PoseTracker("iou" if track is True else track, tracking_threshold)
        return track_people(results, tracker, smooth)

    @property
    def _overlaps(self) -> bool:
        """Whether the detector, the pose model and what the caller does with the results work side by side.

        An accelerator would wait for the others else. The cores of a CPU have enough to do, and models that come to a
        device by turns have to keep to them.
        """
        stages = self.stages.values()
        on_accelerator = any(stage.device.type != "cpu" for stage in stages)
        return on_accelerator and all(accelerate_hook(stage.model) is None for stage in stages)

    def _stream(
        self, source: Source, boxes: Iterable[Any] | None, batch_size: int, settings: _Settings, overlaps: bool
    ) -> Generator[tuple[Frame, PoseOutput], None, None]:
        batches = self._batches(source, boxes, batch_size, settings)
        if overlaps:
            batches = in_background(batches, 1, "hfpose-detect", _PATIENCE)
        with source, closing(batches):
            for batch in batches:
                yield from zip(batch.frames, self._process(batch, settings), strict=True)

    def _batches(
        self, source: Source, boxes: Iterable[Any] | None, batch_size: int, settings: _Settings
    ) -> Generator[_Batch, None, None]:
        """The frames of the source with the boxes in them."""
        given = repeat(None) if boxes is None else iter(boxes)
        frames = iter(source)
        while batch := list(islice(frames, batch_size)):
            checked = [_check(frame, next(given, _NO_BOXES)) for frame in batch]
            images = [image for image in checked if isinstance(image, _Image)]
            yield _Batch(batch, checked, images, self._find_boxes(images, settings) if images else [])

    def _process(self, batch: _Batch, settings: _Settings) -> list[PoseOutput]:
        """Results of a batch of frames, in their order."""
        results = iter(self._estimate(batch, settings))
        return [
            next(results)
            if isinstance(image, _Image)
            else PoseOutput.failed(image, source=frame.source, schema=self.schema, frame_index=frame.frame_index)
            for frame, image in zip(batch.frames, batch.checked, strict=True)
        ]

    def _estimate(self, batch: _Batch, settings: _Settings) -> Iterator[PoseOutput]:
        """Results of the images of a batch, in their order."""
        if not batch.images:
            return
        if isinstance(self.estimator, OneStageEstimator):
            yield from self._find_instances(self.estimator, batch.images, settings)
            return
        poses = self.estimator(
            [image.image for image in batch.images],
            [boxes for boxes, _ in batch.found],
            flip_test=settings.flip_test,
            batch_size=settings.pose_batch_size,
            return_heatmaps=settings.return_heatmaps,
        )
        for image, (boxes, box_scores), people in zip(batch.images, batch.found, poses, strict=True):
            height, width = image.image.shape[:2]
            yield PoseOutput(
                keypoints=people.keypoints,
                keypoint_scores=people.scores,
                heatmaps=people.heatmaps,
                heatmap_boxes=people.heatmap_boxes,
                boxes=boxes,
                box_scores=box_scores,
                schema=self.schema,
                image_size=(width, height),
                source=image.frame.source,
                frame_index=image.frame.frame_index,
                **people.fields,
            )

    def _find_instances(
        self, estimator: OneStageEstimator, images: Sequence[_Image], settings: _Settings
    ) -> Iterator[PoseOutput]:
        """Results of images for a model that goes without a detector, in their order."""
        found = estimator(
            [image.image for image in images],
            box_threshold=settings.box_threshold,
            nms_threshold=settings.nms_threshold,
            flip_test=settings.flip_test,
        )
        for image, instances in zip(images, found, strict=True):
            height, width = image.image.shape[:2]
            yield PoseOutput(
                **instances._asdict(),
                schema=self.schema,
                image_size=(width, height),
                source=image.frame.source,
                frame_index=image.frame.frame_index,
            )

    def _find_boxes(self, images: Sequence[_Image], settings: _Settings) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes (N, 4) and scores (N,) of each image: given, detected, or the image itself."""
        given = [image.boxes for image in images if image.boxes is not None]
        if given:  # a call gives boxes for all images or for none
            found = [(boxes, np.ones(len(boxes), np.float32)) for boxes in given]
        elif self.detector is not None:
            overlap = NMS_THRESHOLD if settings.nms_threshold is None else settings.nms_threshold
            found = self.detector([image.image for image in images], settings.box_threshold or 0.0, overlap)
        else:
            return [_whole_image(image.image) for image in images]
        if not settings.whole_image_fallback:
            return found
        return [
            boxes if len(boxes[0]) else _whole_image(image.image) for image, boxes in zip(images, found, strict=True)
        ]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the pipeline: an index file, and a folder for each part that its class loads alone."""
        write_index(folder, {"pipeline": type(self).__name__, **self.save_parts(Path(folder))})

    def save_parts(self, folder: Path) -> dict[str, Any]:
        """Write the parts into folders below `folder`; returns what an index file says of them."""
        self.estimator.stage.save_pretrained(folder / "pose")
        parts: dict[str, Any] = {"pose": "pose"}
        if self.detector is not None:
            self.detector.stage.save_pretrained(folder / "detector")
            parts |= {"detector": "detector", "detector_labels": self.detector.label_ids}
        elif self.whole_image:
            parts["detector"] = WHOLE_IMAGE
        return parts

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str | int | None = None,
        device_map: DeviceMap | None = None,
        max_memory: Memory | None = None,
        offload_folder: str | Path | None = None,
        dtype: torch.dtype | str | None = None,
        backend: Backend = "torch",
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> PoseEstimationPipeline:
        """The pipeline that `save_pretrained` wrote to a folder, or that was pushed to a repository.

        For where it goes (`device`, `device_map`, `max_memory`, `offload_folder`) and `backend` see `hfpose.pipeline`.

        Raises:
            ConfigError: if there is no index file, or it cannot be used.
            CheckpointError: if the index names a part outside of the folder.
        """
        root = resolve(folder, "pose", revision=revision, token=token)
        placement = Placement(device, device_map, max_memory, offload_folder)
        return placement.apply(cls.from_parts(root, read_index(root), placement.loading_device, dtype, backend))

    @classmethod
    def from_parts(
        cls,
        root: Path,
        index: dict[str, Any],
        device: torch.device | str,
        dtype: torch.dtype | str | None,
        backend: Backend = "torch",
    ) -> PoseEstimationPipeline:
        """The pipeline whose parts `index` names, in folders below `root`.

        Raises:
            CheckpointError: if the index names a part outside of the folder.
        """
        detector: Stage | str | None = index.get("detector")
        if isinstance(detector, str) and detector != WHOLE_IMAGE:
            place = child_path(root, detector)
            detector = load_stage(place, "detector", device=device, dtype=dtype, backend=backend)
        place = child_path(root, index["pose"])
        pose = load_stage(place, "pose", device=device, dtype=dtype, backend=backend)
        return cls(pose, detector=detector, detector_labels=index.get("detector_labels"))


def _check_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, it must be 1 or more.")


def _boxes_of_single(boxes: Any) -> Any:
    """Boxes of one image, given as a list of boxes or as a list with that list in it."""
    holds_a_list = len(boxes) > 0 and np.ndim(boxes[0]) != 1
    if holds_a_list and len(boxes) != 1:
        raise InputError(f"Got boxes for {len(boxes)} images, but one image.")
    return boxes[0] if holds_a_list else boxes


def _boxes_per_image(boxes: Any, num_images: int | None) -> Any:
    if num_images is not None and isinstance(boxes, Sized) and len(boxes) != num_images:
        raise InputError(
            f"Got boxes for {len(boxes)} images, but there are {num_images}. "
            "Give one list of boxes [x1, y1, x2, y2] per image, an empty one where there is nobody."
        )
    return boxes


def _whole_image(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image as a box (1, 4) and its score (1,)."""
    return np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32), np.ones(1, np.float32)


def track_people(
    results: Iterable[tuple[Frame, PoseOutput]], tracker: PoseTracker, smooth: bool
) -> Iterator[tuple[Frame, PoseOutput]]:
    """The results with identities, and with smooth keypoints where asked; each video begins anew."""
    item, smoother = None, None
    for frame, output in results:
        if item is None or (frame.item != item and "video" in (frame.item.kind, item.kind)):
            tracker.reset()
            smoother = keypoint_smoother(frame) if smooth else None
        item = frame.item
        output = tracker.update(output)
        yield frame, output if smoother is None else smoother.update(output)


def keypoint_smoother(frame: Frame) -> KeypointSmoother:
    """A smoother for the frame rate of the video that a frame is of."""
    return KeypointSmoother((frame.video and frame.video.fps) or DEFAULT_FRAME_RATE)


def single_output(results: Iterator[tuple[Frame, PoseOutput]]) -> PoseOutput:
    """The one result of a single input.

    Raises:
        InputError: if the input could not be used.
    """
    _, output = next(results)
    if output.error is not None:
        raise InputError(output.error)
    return output


def announcing_errors(results: Iterable[tuple[Frame, PoseOutput]]) -> Iterator[PoseOutput]:
    """The results of several inputs; what is wrong with some of them is told on stderr too."""
    for frame, output in results:
        if output.error is not None:
            print(f"hfpose: {frame.source or frame.name}: {output.error}", file=sys.stderr)
        yield output


def _with_visualization(frame: Frame, output: PoseOutput, keypoint_threshold: float) -> PoseOutput:
    if frame.image is not None and output.error is None:
        output.visualization = draw_poses(frame.image, output, keypoint_threshold=keypoint_threshold)
    return output


def _check(frame: Frame, boxes: Any) -> _Image | str:
    """The image of a frame with the boxes that were given for it, or what is wrong with either."""
    if frame.image is None or frame.error is not None:
        return frame.error or "There is no image."
    if boxes is _NO_BOXES:
        return "No boxes were given for this image; give one list of boxes per image."
    if boxes is None:
        return _Image(frame, frame.image, None)
    try:
        checked = check_image_boxes(boxes)
        _check_on_image(checked, frame.image)
    except InputError as error:
        return str(error)
    return _Image(frame, frame.image, checked)


def _check_on_image(boxes: np.ndarray, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    outside = (boxes[:, 2:] <= 0).any(1) | (boxes[:, 0] >= width) | (boxes[:, 1] >= height)
    if outside.any():
        first = int(outside.argmax())
        raise InputError(
            f"Box {first} is {boxes[first].tolist()} and lies outside the image of {width}x{height} pixels. "
            "Boxes are x1, y1, x2, y2 in pixels of the image as it is shown."
        )
