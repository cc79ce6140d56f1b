"""MMPose's inferencers.

Source: `mmpose.apis.inferencers`; reimplemented over hfpose's pipelines, readers and writers.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from transformers import PreTrainedModel

from hfpose.checkpoints.reference_config import reference_variables
from hfpose.compat.mmdet import DetectionModel, DetInferencer
from hfpose.compat.mmpose.aliases import SCOPE, check_scope
from hfpose.compat.mmpose.bgr_images import rgb_inputs
from hfpose.compat.mmpose.call_options import CallOptions
from hfpose.compat.mmpose.data_samples import data_sample_of
from hfpose.compat.mmpose.inference import PoseModel
from hfpose.compat.mmpose.visualizers import PoseLocalVisualizer
from hfpose.errors import ConfigError, InputError
from hfpose.hub.zoo import WHOLE_IMAGE
from hfpose.media.frames import Frame
from hfpose.media.json_results import mmpose_instances
from hfpose.media.sources import Source, is_live, open_source
from hfpose.media.writers import WriterGroup
from hfpose.models.shared.letterbox import LetterboxImageProcessor
from hfpose.ops.pose_nms import suppress_similar_poses
from hfpose.pipelines import (
    HandPose3DPipeline,
    PoseEstimation3DPipeline,
    PoseEstimationPipeline,
    PosePipeline,
    pipeline,
)
from hfpose.pipelines.direct_3d import Direct3DPipeline
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import PoseTracker
from hfpose.visualization import draw_heatmaps
from hfpose.visualization.windows import VIDEO_WAIT, Window

logger = logging.getLogger(__name__)

Model = str | Path | PreTrainedModel
Results = Generator[tuple[Frame, PoseOutput], None, None]
InferencerT = TypeVar("InferencerT", bound="BaseInferencer")


class BaseInferencer:
    """What the inferencers share: from a call to its results, batch by batch.

    Attributes:
        model: the model (in 3D the lifter), as `init_model` returns it.
        cfg: its config.
        detector: `DetInferencer` of the detector, or None.
        visualizer: draws 2D results; its colors, opacity and `show_keypoint_weight` may be changed, sizes are those of
            a call.
    """

    def __init__(self, pipe: Any, show_progress: bool = False, model: Any = None) -> None:
        self.pipeline = pipe
        self.show_progress = show_progress
        stage = pipe.lifter if isinstance(pipe, PoseEstimation3DPipeline) else pipe.estimator.stage
        variables = reference_variables(model) if isinstance(model, (str, Path)) else None
        self.model = PoseModel(stage, variables)
        self.cfg = self.model.cfg
        self.detector = None if pipe.detector is None else DetInferencer(DetectionModel(pipe.detector.stage))
        self.visualizer = PoseLocalVisualizer()
        self.visualizer.set_dataset_meta(self.model.dataset_meta)

    @classmethod
    def from_pipeline(cls: type[InferencerT], pipe: Any, show_progress: bool = False) -> InferencerT:
        """An inferencer over a pipeline that is there already."""
        inferencer = cls.__new__(cls)
        BaseInferencer.__init__(inferencer, pipe, show_progress)
        return inferencer

    def _options(self, call: CallOptions) -> dict[str, Any]:
        """What of a call goes to each kind of pipeline. As in the reference, the one-stage models that suppress boxes
        have a detector's thresholds, the others their own."""
        processor = self.pipeline.estimator.stage.image_processor
        own = self.pipeline.is_one_stage and not isinstance(processor, LetterboxImageProcessor)
        return {
            "box_threshold": None if own else call.bbox_thr,
            "nms_threshold": None if own else call.nms_thr,
            "batch_size": call.batch_size,
            "detect_every": call.detect_every,
            "whole_image_fallback": True,
        }

    @property
    def _flips(self) -> bool:
        """Whether to average over flipped crops or poses: by default where the reference does so with this model."""
        return bool(self.cfg.model.test_cfg.flip_test)

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        """
        Args:
            inputs: path or URL of an image or video, a folder, "webcam" or "webcam:1", a BGR array (H, W, 3), or a
                list or generator of images.
            return_datasamples, batch_size, out_dir, kwargs: see [`CallOptions`]. As in MMPose, arguments for 3D have
                no effect in 2D and the other way around.

        Returns:
            A generator that works as it is read. Each result is a dict for `batch_size` images (the last may hold
            fewer): `predictions` has for each image the list of its instances, dicts of `keypoints`,
            `keypoint_scores`, `bbox` (in a tuple, as in MMPose), `bbox_score`; `visualization` the drawn images.

        Raises:
            TypeError: for an unknown argument.
            InputError: while results are read, if a single image cannot be used. Among several it is logged.
        """
        options = {"return_datasamples": return_datasamples, "batch_size": batch_size, "out_dir": out_dir, **kwargs}
        call = CallOptions.parse(options, isinstance(inputs, str) and is_live(inputs))
        return self._run(open_source(rgb_inputs(inputs), index_digits=6), call)

    def _run(self, source: Source, call: CallOptions) -> Iterator[dict[str, Any]]:
        from tqdm import tqdm

        with ExitStack() as stack:
            writers = stack.enter_context(call.writers(source))
            window = stack.enter_context(Window(type(self).__name__)) if call.show else None
            total = source.num_frames if self.show_progress else None
            progress = stack.enter_context(
                tqdm(total=total, desc="Inference", unit="frame", disable=not self.show_progress, file=sys.stderr)
            )
            stream = stack.enter_context(closing(self._stream(source, call)))
            results = stack.enter_context(closing(_handle(stream, source.is_single, writers, window, call.wait_time)))
            processor = self.pipeline.estimator.stage.image_processor
            while batch := list(islice(results, call.batch_size)):
                progress.update(len(batch))
                yield {
                    "visualization": [output.visualization for _, output in batch] if call.return_vis else [],
                    "predictions": [
                        data_sample_of(frame, part, processor) if call.return_datasamples else mmpose_instances(part)
                        for frame, output in batch
                        for part in self._parts(output, call)
                    ],
                }

    def _parts(self, output: PoseOutput, call: CallOptions) -> list[PoseOutput]:
        """What is an entry of `predictions` each: the result of an image, or of each of its people."""
        if call.merge_results or self.pipeline.is_one_stage:
            return [output]
        return [output.select([person]) for person in range(len(output))]

    def _stream(self, source: Source, call: CallOptions) -> Results:
        """The frames with their results, drawn where the call needs it."""
        raise NotImplementedError


class _DirectInferencer(BaseInferencer):
    """An inferencer whose model finds keypoints in images, with no lifter after it."""

    kind: ClassVar[type[PosePipeline]]

    def __init__(
        self,
        model: Model,
        weights: str | None = None,
        device: str | None = None,
        scope: str | None = SCOPE,
        det_model: Model | None = None,
        det_weights: str | None = None,
        det_cat_ids: int | Sequence[int] | None = None,
        show_progress: bool = False,
    ) -> None:
        detector = _detector(det_model, det_weights, det_cat_ids)
        pipe = _build("pose-estimation", model, weights, device, scope, **detector)
        super().__init__(_expect(pipe, self.kind, model), show_progress, model)


class Pose2DInferencer(_DirectInferencer):
    """Finds people (hands, faces, animals) in images and the keypoints of each.

    Where no person is found, the whole image is taken for one. The flip test is done where the
    model's config in MMPose does it.

    Args:
        model: alias (`"human"`), config name or path of a config file; also a hub repository, a folder or a model.
        weights: path or URL of the checkpoint, for a config of your own. Default: the published one.
        device: `"cpu"`, `"cuda:0"`, ...; default: the accelerator if there is one.
        scope: `"mmpose"`.
        det_model: the same as `model` for the detector, or `"whole_image"`. Default: the one that goes with the model.
        det_weights: the same as `weights` for the detector.
        det_cat_ids: ids of the detector's classes to keep. Default: those that the model is made for.
        show_progress: show a progress bar on stderr.
    """

    pipeline: PoseEstimationPipeline
    kind = PoseEstimationPipeline

    def _stream(self, source: Source, call: CallOptions) -> Results:
        boxes, scores = _boxes_and_scores(call.bboxes, source.is_single)
        results = self.pipeline.stream(
            source,
            boxes=boxes,
            flip_test=self._flips,
            return_heatmaps=call.draw_heatmap and (call.draws or call.return_datasamples),
            **self._options(call),
        )
        for frame, output in _with_scores(results, scores):
            if call.pose_based_nms:
                output = suppress_similar_poses(output)
            if call.draws and frame.image is not None and output.error is None:
                output.visualization = self._draw(frame.image, output, call)
            yield frame, output

    def _draw(self, image: np.ndarray, output: PoseOutput, call: CallOptions) -> np.ndarray:
        below = np.zeros_like(image) if call.black_background else image
        drawn = self.visualizer.draw(
            below,
            output,
            keypoint_threshold=call.kpt_thr,
            draw_boxes=call.draw_bbox,
            radius=call.radius,
            thickness=call.thickness,
            skeleton_style=call.skeleton_style,
        )
        if not call.draw_heatmap:
            return drawn
        return np.concatenate([drawn, draw_heatmaps(below, output)])


class Pose3DInferencer(BaseInferencer):
    """Finds people in images and videos and their poses in meters.

    As in MMPose, each frame is lifted alone; `pipeline("pose-estimation-3d")` lifts whole clips, which is better.

    Args:
        model: lifter: alias (`"human3d"`), config name or path of a config file; also a folder or a model.
        weights: path or URL of its checkpoint, for a config of your own.
        pose2d_model, pose2d_weights: the same for the 2D model before it. Default: the one that goes with the lifter.
        device, scope, det_model, det_weights, det_cat_ids, show_progress: see [`Pose2DInferencer`].
    """

    pipeline: PoseEstimation3DPipeline

    def __init__(
        self,
        model: Model,
        weights: str | None = None,
        pose2d_model: Model | None = None,
        pose2d_weights: str | None = None,
        device: str | None = None,
        scope: str | None = SCOPE,
        det_model: Model | None = None,
        det_weights: str | None = None,
        det_cat_ids: int | Sequence[int] | None = None,
        show_progress: bool = False,
    ) -> None:
        before = {"pose": pose2d_model, "pose_weights": pose2d_weights}
        before |= _detector(det_model, det_weights, det_cat_ids)
        pipe = _build("pose-estimation-3d", model, weights, device, scope, **before)
        super().__init__(_expect(pipe, PoseEstimation3DPipeline, model), show_progress, model)

    def _stream(self, source: Source, call: CallOptions) -> Results:
        boxes, _ = _boxes_and_scores(call.bboxes, source.is_single)
        # Identities continue from frame to frame in a video, and start again with each of several images.
        is_one = source.is_video or source.is_single
        tracker = PoseTracker("oks" if call.use_oks_tracking else "iou", call.tracking_thr)
        results = self.pipeline.stream(
            source,
            boxes=boxes,
            flip_test=bool(self.pipeline.estimator.stage.image_processor.flip_test),
            # The reference compares each frame's people with a list that stays empty, so none has frames before.
            temporal="frame",
            online=True if source.is_video else None,
            lifter_flip_test=self._flips,
            do_normalize_boxes=False if call.disable_norm_pose_2d else None,
            do_root_relative=not self.model.lifts_one_frame,
            ground=None if call.disable_rebase_keypoint else "frame",
            axes="mmpose",
            track=tracker if is_one else False,
            drawing=_drawing_3d(call),
            **self._options(call),
        )
        for frame, output in results:
            output = replace(output, boxes=None, box_scores=None)
            if output.track_ids is not None:  # people in the order of their identities, as in the reference
                output = output.select(np.argsort(output.track_ids, kind="stable"))
            yield frame, output


class Hand3DInferencer(_DirectInferencer):
    """Finds pairs of hands in images and the place of their joints in space.

    Without a detector or boxes, the whole image is taken for one pair of hands.

    Args:
        model: alias (`"hand3d"`), config name or path of a config file; also a folder or a model.
        weights, device, scope, det_model, det_weights, det_cat_ids, show_progress: see [`Pose2DInferencer`].
    """

    pipeline: Direct3DPipeline
    kind = HandPose3DPipeline

    def _stream(self, source: Source, call: CallOptions) -> Results:
        boxes, scores = _boxes_and_scores(call.bboxes, source.is_single)
        results = self.pipeline.stream(
            source,
            boxes=boxes,
            flip_test=self._flips,
            ground=None if call.disable_rebase_keypoint else "frame",
            drawing=_drawing_3d(call),
            **self._options(call),
        )
        yield from _with_scores(results, scores)


class MMPoseInferencer(BaseInferencer):
    """One inferencer for all: 2D with `pose2d`, 3D with `pose3d`.

    Args:
        pose2d: 2D model: alias (`"human"`), config name or path of a config file; also a hub repository, a folder or a
            model. Beside `pose3d` it is the 2D model before the lifter.
        pose2d_weights: path or URL of its checkpoint, for a config of your own. Default: the published one.
        pose3d, pose3d_weights: the same for the lifter (`"human3d"`), the model of hands (`"hand3d"`) or of whole
            bodies (`"wholebody3d"`), in meters relative to the hips.
        device, scope, det_model, det_weights, det_cat_ids, show_progress: see [`Pose2DInferencer`].

    Raises:
        InputError: without any model.
    """

    def __init__(
        self,
        pose2d: Model | None = None,
        pose2d_weights: str | None = None,
        pose3d: Model | None = None,
        pose3d_weights: str | None = None,
        device: str | None = None,
        scope: str | None = SCOPE,
        det_model: Model | None = None,
        det_weights: str | None = None,
        det_cat_ids: int | Sequence[int] | None = None,
        show_progress: bool = False,
    ) -> None:
        before = _detector(det_model, det_weights, det_cat_ids)
        if pose3d is not None:
            if "hand3d" not in str(pose3d):  # as in the reference, these have nothing before them, whatever is given
                before |= {"pose": pose2d, "pose_weights": pose2d_weights}
            pipe = _build("pose-estimation-3d", pose3d, pose3d_weights, device, scope, **before)
        elif pose2d is not None:
            pipe = _build("pose-estimation", pose2d, pose2d_weights, device, scope, **before)
        else:
            raise InputError('Give a model: pose2d="human" or another for 2D, pose3d="human3d" or another for 3D.')
        super().__init__(pipe, show_progress, pose2d if pose3d is None else pose3d)

    @property
    def inferencer(self) -> BaseInferencer:
        """The inferencer of the pipeline's kind, which does the work."""
        kind = _inferencer_class(self.pipeline)
        inferencer = kind.__new__(kind)
        vars(inferencer).update(vars(self))
        return inferencer

    def _stream(self, source: Source, call: CallOptions) -> Results:
        return self.inferencer._stream(source, call)


def _detector(model: Model | None, weights: str | None, category_ids: int | Sequence[int] | None) -> dict[str, Any]:
    """The arguments of `pipeline` that say which boxes to use."""
    if model in (WHOLE_IMAGE, "whole-image"):  # the reference leaves the other two unused then
        return {"detector": WHOLE_IMAGE}
    labels = [category_ids] if isinstance(category_ids, int) else category_ids
    return {"detector": model, "detector_weights": weights, "detector_labels": labels}


def _build(task: str, model: Model, weights: str | None, device: str | None, scope: str | None, **before: Any) -> Any:
    """The pipeline that an inferencer's arguments describe; it takes images whole where there is no detector."""
    check_scope(scope)
    # Computed as the reference does.
    given = {"model": model, "weights": weights, "device": device, **before}
    pipe = pipeline(task, dtype="float32", backend="torch", **given)
    if pipe.detector is None and not pipe.is_one_stage:
        pipe.whole_image = True
    return pipe


def _expect(pipe: Any, kind: type, model: Model) -> Any:
    """The pipeline, if it is of the expected class."""
    if type(pipe) is not kind:
        name = type(model).__name__ if isinstance(model, PreTrainedModel) else model
        raise ConfigError(f"{name} is a model for {_inferencer_class(pipe).__name__}.")
    return pipe


def _inferencer_class(pipe: Any) -> type[BaseInferencer]:
    if isinstance(pipe, PoseEstimation3DPipeline):
        return Pose3DInferencer
    return Hand3DInferencer if isinstance(pipe, Direct3DPipeline) else Pose2DInferencer


def _handle(
    stream: Results, is_single: bool, writers: WriterGroup, window: Window | None, wait_time: float
) -> Results:
    """Write and show results on their way, and report what could not be used.

    Raises:
        InputError: if the only image cannot be used.
    """
    for frame, output in stream:
        if output.error is not None and is_single:
            raise InputError(output.error)
        writers.write(frame, output)
        if output.error is not None:
            logger.error("%s: %s", frame.source or frame.name, output.error)
            if frame.image is None and frame.item.kind != "image":
                continue  # a video that broke off, not one of its frames
        elif window is not None and output.visualization is not None:
            goes_on = window.show(output.visualization, wait_time if frame.frame_index is None else VIDEO_WAIT)
            if not goes_on and frame.item.is_live:
                yield frame, output
                return
        yield frame, output


def _drawing_3d(call: CallOptions) -> dict[str, Any] | None:
    """Options of drawing in 3D, None where a call needs no drawn images."""
    if not call.draws:
        return None
    return {
        "keypoint_threshold": call.kpt_thr,
        "num_instances": None if call.num_instances < 0 else call.num_instances,
        "draw_boxes": call.draw_bbox,
        "radius": call.radius,
        "thickness": call.thickness,
        "color_by": "side",
        "draw_scores": False,
    }


def _with_scores(results: Iterable[tuple[Frame, PoseOutput]], scores: Sequence[np.ndarray] | None) -> Results:
    """The results with the scores (N,) that were given with the boxes of each image, if any."""
    for index, (frame, output) in enumerate(results):
        if scores is not None and output.error is None and len(scores[index]) == output.num_instances:
            output = replace(output, box_scores=scores[index])
        yield frame, output


def _boxes_and_scores(
    bboxes: Sequence[Any] | None, is_single: bool
) -> tuple[list[Any] | None, list[np.ndarray] | None]:
    """Boxes (N, 4) for each image, and the scores (N,) of those that were given with a fifth number."""
    if bboxes is None:
        return None, None
    is_flat = is_single and len(bboxes) > 0 and np.ndim(bboxes[0]) == 1
    images = [bboxes] if is_flat else list(bboxes)
    arrays = [np.asarray(boxes) for boxes in images]
    scored = [array.ndim == 2 and array.shape[1] == 5 for array in arrays]
    boxes = [array[:, :4] if has else array for array, has in zip(arrays, scored, strict=True)]
    if not any(scored):
        return boxes, None
    scores = [
        array[:, 4].astype(np.float32) if has else np.ones(len(array), np.float32)
        for array, has in zip(arrays, scored, strict=True)
    ]
    return boxes, scores
