"""Base of all pipelines: a detector, a pose model, and results for a stream of frames."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar, Self, overload

import numpy as np
import torch
from transformers import PreTrainedModel

from hfpose.backends.base_backend import Backend
from hfpose.errors import ConfigError, InputError
from hfpose.hub.model_folders import PIPELINE_INDEX, child_path
from hfpose.hub.resolve import resolve
from hfpose.hub.zoo import WHOLE_IMAGE
from hfpose.keypoints import KeypointSchema
from hfpose.media.background import in_background
from hfpose.media.files import make_folder, output_path, write_json
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.sources import Source, open_source
from hfpose.models.shared.devices import accelerate_hook, on_own_stream
from hfpose.pipelines.box_following import BoxFollower, is_person_lost
from hfpose.pipelines.detection_stage import BoxDetector
from hfpose.pipelines.device_placement import DeviceMap, Memory, Placement, StagedPipeline
from hfpose.pipelines.given_boxes import NO_BOXES, ImageBoxes, UsableImage, boxes_per_image, check_frame
from hfpose.pipelines.identities import follow_people
from hfpose.pipelines.index import read_index
from hfpose.pipelines.options import CallOptions, call_signature, make_options
from hfpose.pipelines.stage import Stage, load_stage
from hfpose.pipelines.top_down_stage import TopDownEstimator
from hfpose.pipelines.whole_image_stage import OneStageEstimator, is_one_stage
from hfpose.results import PoseOutput

logger = logging.getLogger(__name__)

Results = Generator[tuple[Frame, PoseOutput], None, None]

# Seconds to wait for the network to finish a batch when a run is stopped.
_PATIENCE = 30.0


@dataclass(frozen=True)
class _Batch:
    """Frames that were read together.

    `checked` holds for each frame its image or an error message; `images` are the usable ones, and
    `found` holds the boxes (N, 4) and scores (N,) of each of these.
    """

    frames: Sequence[Frame]
    checked: Sequence[UsableImage | str]
    images: Sequence[UsableImage]
    found: Sequence[ImageBoxes]


class PosePipeline(StagedPipeline):
    """
    Base of the pipelines: finds boxes, and the keypoints in each. A subclass turns them into its results in
    `complete`, and draws them in `_draw`.

    Args:
        model: pose model, or a `Stage` of it.
        image_processor: its image processor; None loads the one beside the model.
        detector: object detection model, a `Stage` of it, `"whole_image"` for the image as the one box, or None: then
            every call needs `boxes`.
        detector_labels: ids or names of the detector's classes to keep; None keeps all.
        device: where the models go; None leaves them where they are.
        dtype: floating point type of the models; None leaves them as they are.
    """

    options_class: ClassVar[type[CallOptions]] = CallOptions

    def __init_subclass__(cls) -> None:
        """Give the class a call of its own, so that `help` and completion show its options."""
        if "__call__" not in vars(cls):
            call: Any = FunctionType(PosePipeline.__call__.__code__, globals(), "__call__")
            call.__doc__ = PosePipeline.__call__.__doc__
            call.__signature__ = call_signature(cls.options_class)
            cls.__call__ = call  # type: ignore[method-assign]

    def __init__(
        self,
        model: PreTrainedModel | Stage,
        image_processor: Any = None,
        detector: PreTrainedModel | Stage | str | None = None,
        detector_labels: Iterable[int | str] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        self.call_defaults: dict[str, Any] = {}
        """Default options of calls, such as `batch_size`."""
        if not isinstance(model, Stage):
            model = load_stage(model, "pose", image_processor, device=device, dtype=dtype)
        self.estimator: TopDownEstimator | OneStageEstimator
        self.estimator = OneStageEstimator(model) if is_one_stage(model) else TopDownEstimator(model)
        if detector is not None and self.is_one_stage:
            raise ConfigError(
                f"The {type(model.model).__name__} finds people in whole images by itself, so it takes no detector. "
                "Leave `detector` out."
            )
        self.whole_image = detector == WHOLE_IMAGE
        self.detector: BoxDetector | None = None
        if detector is not None and not self.whole_image:
            if not isinstance(detector, Stage):
                detector = load_stage(detector, "detector", device=device, dtype=dtype)
            self.detector = BoxDetector(detector, detector_labels)

    def __repr__(self) -> str:
        stages = [f"{name}={type(stage.model).__name__}" for name, stage in self.stages.items()]
        if self.whole_image:
            stages.insert(0, f"detector={WHOLE_IMAGE!r}")
        return f"{type(self).__name__}({', '.join(stages)}, schema={self.schema.name!r}, device={str(self.device)!r})"

    @property
    def is_one_stage(self) -> bool:
        """Whether the pose model finds instances in whole images, so that there is no detector and no boxes are
        taken."""
        return isinstance(self.estimator, OneStageEstimator)

    @property
    def schema(self) -> KeypointSchema:
        """Keypoint schema of the results."""
        return self.estimator.schema

    @property
    def model(self) -> PreTrainedModel:
        """The pose model. Weights that are changed in place count from the next call on."""
        return self.estimator.stage.model

    @property
    def image_processor(self) -> Any:
        """The image processor of the pose model."""
        return self.estimator.stage.image_processor

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the pose model's weights; `backends` tells what inner layers compute in."""
        return self.model.dtype

    @property
    def stages(self) -> dict[str, Stage]:
        """The detector, where there is one, and the pose model."""
        detector = {} if self.detector is None else {"detector": self.detector.stage}
        return {**detector, "pose": self.estimator.stage}

    @property
    def parts(self) -> dict[str, Any]:
        """Arguments of the class that make the same pipeline."""
        found = self.detector
        return {
            "model": self.estimator.stage,
            "detector": (WHOLE_IMAGE if self.whole_image else None) if found is None else found.stage,
            "detector_labels": None if found is None else found.label_ids,
        }

    @property
    def device(self) -> torch.device:
        """Where the last model is."""
        return list(self.stages.values())[-1].device

    @overload
    def __call__(self, inputs: str | PathLike[str], **options: Any) -> Any: ...
    @overload
    def __call__(self, inputs: np.ndarray | bytes, **options: Any) -> PoseOutput: ...
    @overload
    def __call__(self, inputs: list[Any] | tuple[Any, ...], **options: Any) -> list[PoseOutput]: ...
    @overload
    def __call__(self, inputs: Any, **options: Any) -> Any: ...
    def __call__(self, inputs: Any, **options: Any) -> Any:
        """
        Args:
            inputs: an image (path, URL, PIL image, RGB array), or several: a list, a folder, a video, a webcam, a
                generator, a data set.
            options: see `CallOptions`, in 3D `CallOptions3D` and `LiftingOptions`.

        Returns:
            For one image a `PoseOutput`, for a list or a stack of images a list of them. For anything else (a folder,
            a video, a webcam, a generator, a data set) an iterator, in the order of the inputs, computed while it is
            read; with a lifter the first result of a video comes after its last frame was read.

        Raises:
            InputError: if the one image or its boxes cannot be used. Among several images a bad one does not stop
                the others: its output has no instances and says why in `error`.
            TypeError: for an unknown option.
        """
        chosen = make_options(self.options_class, options, self.call_defaults)
        source = open_source(inputs, num_workers=chosen.num_workers, live=chosen.live, reconnect=chosen.reconnect)
        chosen.check_source(source, options)
        results = self.complete(self.find_poses(source, chosen), chosen)
        if "keypoint_threshold" in {**self.call_defaults, **options}:
            results = _with_threshold(results, chosen.keypoint_threshold)
        if not source.is_single:
            outputs = announcing_errors(results)
            # A list with a live source in it would never end.
            return list(outputs) if source.is_list and not source.is_live else outputs
        frame, output = next(results)
        if output.error is not None:
            raise InputError(output.error)
        output.image = frame.image
        return output

    def stream(self, source: Source, **options: Any) -> Results:
        """The frames of a source with their results, for callers that write or draw them.

        Args:
            source: what `hfpose.media.sources.open_source` makes of images, videos, webcams and collections of them.
            options: as for a call.

        Returns:
            Pairs in the order of the source, computed as they are read. What cannot be used has no instances and says
            why in `error`.

        Raises:
            InputError: if there is neither a detector nor boxes, or boxes for another number of images.
            TypeError: for an unknown option.
        """
        chosen = make_options(self.options_class, options, self.call_defaults)
        chosen.check_source(source, options)
        return self.complete(self.find_poses(source, chosen), chosen)

    def complete(self, results: Results, options: CallOptions) -> Results:
        """The results of a call from those of `find_poses`: with identities, lifted, drawn, by the options."""
        if options.tracks or options.people is not None:
            results = follow_people(results, options)
        return self._drawn(results, options) if options.draws else results

    def _drawn(self, results: Results, options: CallOptions) -> Results:
        for frame, output in results:
            if frame.image is not None and output.error is None:
                output = replace(output, visualization=self._draw(frame, output, options))
            yield frame, output

    def _draw(self, frame: Frame, output: PoseOutput, options: CallOptions) -> np.ndarray:
        """The image (H, W, 3) of a frame, which has one, with the result."""
        raise NotImplementedError

    def find_poses(self, source: Source, options: CallOptions) -> Results:
        """The frames of a source with what the detector and the pose model find in them; `stream` without `complete`.

        Raises:
            InputError: if there is neither a detector nor boxes, boxes for another number of images, or an option that
                the models have no use for.
        """
        boxes = options.boxes
        if options.detect_every > 1 and self.detector is None:
            raise InputError(f"detect_every={options.detect_every} has no effect here: this pipeline has no detector.")
        if isinstance(self.estimator, OneStageEstimator):
            self.estimator.check(options)
        elif boxes is not None:
            boxes = boxes_per_image(boxes, source)
        elif self.detector is None and not self.whole_image:
            raise InputError(
                "This pipeline has no detector. Give `boxes=[[[x1, y1, x2, y2], ...]]`, or make the pipeline with "
                '`detector=...` (a model, or "whole_image" to take each image as one box).'
            )
        overlaps = not (source.is_single or source.is_live or isinstance(boxes, Iterator)) and self._overlaps
        results = self._find_poses(source, boxes, options, overlaps)
        if not overlaps:
            return results
        return in_background(
            on_own_stream(results, self.estimator.stage.device), options.batch_size, "hfpose-pose", _PATIENCE
        )

    @property
    def _overlaps(self) -> bool:
        """Whether the detector, the pose model and what the caller does with the results work side by side.

        Otherwise an accelerator would wait. The cores of a CPU are busy anyway, and models that are moved to a device
        in turns cannot run side by side.
        """
        stages = self.stages.values()
        on_accelerator = any(stage.device.type != "cpu" for stage in stages)
        return on_accelerator and all(accelerate_hook(stage.model) is None for stage in stages)

    def _find_poses(
        self, source: Source, boxes: Iterable[Any] | None, options: CallOptions, overlaps: bool
    ) -> Results:
        if options.detect_every > 1 and boxes is None:
            yield from self._follow_people(source, options)
            return
        batches = self._batches(source, boxes, options)
        if overlaps:
            first, *_ = self.stages.values()
            batches = in_background(on_own_stream(batches, first.device), 1, "hfpose-detect", _PATIENCE)
        with source, closing(batches):
            for batch in batches:
                pixels = [image.image for image in batch.images]
                poses: Iterator[Mapping[str, Any]]
                if isinstance(self.estimator, OneStageEstimator):
                    poses = (instances._asdict() for instances in self.estimator(pixels, options))
                else:
                    poses = iter(self.estimator(pixels, [boxes for boxes, _ in batch.found], options))
                found = iter(batch.found)
                for frame, image in zip(batch.frames, batch.checked, strict=True):
                    if isinstance(image, str):
                        yield frame, self._failure(frame, image)
                    else:
                        yield frame, self._output(image, next(found), next(poses))

    def _follow_people(self, source: Source, options: CallOptions) -> Results:
        """The frames one by one, with the detector on every `detect_every`th and where a person was lost."""
        assert self.detector is not None and isinstance(self.estimator, TopDownEstimator)
        followers: defaultdict[MediaItem | None, BoxFollower] = defaultdict(partial(BoxFollower, options.detect_every))
        with source:
            for frame in source:
                image = check_frame(frame, None)
                if isinstance(image, str):
                    yield frame, self._failure(frame, image)
                    continue
                follower = followers[frame.item if frame.item.is_live else None]  # live sources take turns
                found = follower.boxes(frame)
                output = None if found is None else self._poses_in(image, found, options)
                is_detected = output is None or is_person_lost(output)
                if output is None or is_detected:
                    output = self._poses_in(image, self._boxes([image], options)[0], options)
                follower.update(output, is_detected)
                yield frame, output

    def _poses_in(self, image: UsableImage, found: ImageBoxes, options: CallOptions) -> PoseOutput:
        """The result of one image with boxes."""
        assert isinstance(self.estimator, TopDownEstimator)
        return self._output(image, found, self.estimator([image.image], [found[0]], options)[0])

    def _batches(
        self, source: Source, boxes: Iterable[Any] | None, options: CallOptions
    ) -> Generator[_Batch, None, None]:
        """The frames of the source with the boxes in them."""
        given = repeat(None) if boxes is None else iter(boxes)
        for batch in _in_batches(source, options.batch_size):
            checked = [check_frame(frame, self._usable(next(given, NO_BOXES))) for frame in batch]
            images = [image for image in checked if isinstance(image, UsableImage)]
            yield _Batch(batch, checked, images, self._boxes(images, options))

    def _usable(self, boxes: Any) -> Any:
        """The boxes that are given for an image; None only where they need not be given."""
        finds_them = self.detector is not None or self.whole_image or self.is_one_stage
        return boxes if boxes is not None or finds_them else NO_BOXES

    def _boxes(self, images: Sequence[UsableImage], options: CallOptions) -> list[ImageBoxes]:
        """Boxes (N, 4) and scores (N,) of each image: given, of the detector, or the whole image.

        A one-stage model needs none; the whole image stands in their place.
        """
        unknown = [image for image in images if image.boxes is None]
        if self.detector is None:
            found = iter([image.whole for image in unknown])
        else:
            pixels = [image.image for image in unknown]
            detections = self.detector.detections(pixels, options.least_box_score) if unknown else []
            found = iter(self.detector.select(detections, options.detector_nms_threshold))
        boxes = [
            next(found) if image.boxes is None else (image.boxes, np.ones(len(image.boxes), np.float32))
            for image in images
        ]
        if not options.whole_image_fallback:
            return boxes
        return [some if len(some[0]) else image.whole for image, some in zip(images, boxes, strict=True)]

    def _output(self, image: UsableImage, found: ImageBoxes, poses: Mapping[str, Any]) -> PoseOutput:
        """The result of an image from its boxes and what the pose model made of them."""
        height, width = image.image.shape[:2]
        fields = {"boxes": found[0], "box_scores": found[1], **poses}
        return PoseOutput(**fields, image_size=(width, height), **self._about(image.frame))

    def _failure(self, frame: Frame, reason: str) -> PoseOutput:
        return PoseOutput.failed(reason, **self._about(frame))

    def _about(self, frame: Frame) -> dict[str, Any]:
        """What is known of a result beforehand."""
        names = ("source", "frame_index", "timestamp")
        return {"schema": self.estimator.schema, **{name: getattr(frame, name) for name in names}}

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write the pipeline: an index file, and a folder for each part that its class loads alone.

        Args:
            options: of `save_pretrained` of the models, such as `max_shard_size`.
        """
        folder = make_folder(output_path(folder))
        index: dict[str, Any] = {"pipeline": type(self).__name__}
        for name, stage in self.stages.items():
            stage.save_pretrained(folder / name, **options)
            index[name] = name
        if self.detector is not None:
            index["detector_labels"] = self.detector.label_ids
        elif self.whole_image:
            index["detector"] = WHOLE_IMAGE
        write_json(folder / PIPELINE_INDEX, index)  # last, so that a folder with one is complete

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str | int | None = None,
        device_map: DeviceMap | None = None,
        max_memory: Memory | None = None,
        offload_folder: str | Path | None = None,
        dtype: torch.dtype | str | None = "auto",
        backend: Backend = "auto",
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> Self:
        """The pipeline that `save_pretrained` wrote to a folder, or that was pushed to a repository.

        For where it goes (`device`, `device_map`, `max_memory`, `offload_folder`), `dtype` and `backend` see
        `hfpose.pipeline`.

        Raises:
            ConfigError: if there is no index file, it cannot be used, or it does not name all parts.
            CheckpointError: if the index names a part outside of the folder.
        """
        root = resolve(folder, "pose", revision=revision, token=token)
        placement = Placement(device, device_map, max_memory, offload_folder)
        options = {"device": placement.loading_device, "dtype": dtype, "backend": backend}
        return placement.apply(cls(**cls._load_parts(root, read_index(root), options)))

    @classmethod
    def _load_parts(cls, root: Path, index: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the class, from the folders below `root` that an index names; `options` are of `load_stage`."""
        pose = load_stage(child_path(root, index["pose"]), "pose", **options)
        detector = index.get("detector")
        if isinstance(detector, str) and detector != WHOLE_IMAGE:
            detector = load_stage(child_path(root, detector), "detector", **options)
        return {"model": pose, "detector": detector, "detector_labels": index.get("detector_labels")}


def _in_batches(frames: Iterable[Frame], size: int) -> Generator[list[Frame], None, None]:
    """Frames, `size` at a time. Those that came before an error, as of a caller's generator, come before it."""
    batch: list[Frame] = []
    try:
        for frame in frames:
            batch.append(frame)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _with_threshold(results: Results, keypoint_threshold: float) -> Results:
    """The results, which `draw`, `save` and `show` draw with the threshold of the call."""
    for frame, output in results:
        output.keypoint_threshold = keypoint_threshold
        yield frame, output


def announcing_errors(results: Iterable[tuple[Frame, PoseOutput]]) -> Iterator[PoseOutput]:
    """The results of several inputs; what is wrong with some of them is logged too."""
    for frame, output in results:
        if output.error is not None:
            logger.error("%s: %s", frame.source or frame.name, output.error)
        if frame.item.kind == "image" and frame.source is None:
            output.image = frame.image  # else it is read again where it is wanted
        yield output
