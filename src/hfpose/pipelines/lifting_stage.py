"""The stage that lifts 2D keypoints to 3D, over time.

A lifter sees a person's whole clip where it can: as many frames as the model takes at once, longer clips in windows
that overlap and fade into each other. A stream is lifted frame by frame from the frames so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.ops.axes import Axes
from hfpose.pipelines.options import Temporal
from hfpose.pipelines.person_clips import INTERPOLATED, PersonClip, join_clips
from hfpose.pipelines.stage import Stage
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import UNTRACKED, boxes_around


class TemporalLifter:
    """3D poses of people in a sequence of frames.

    People are told apart by `track_ids`; those without one are lifted from their frame alone.

    Args:
        stage: a lifting model with its processor.
        temporal: `"clip"` to see as many frames as the model takes, `"frame"` to lift each frame by itself, as the
            reference's inferencer does.
        window: most frames that the model sees at once, at most the model's own number, which is the default.
        overlap: frames that windows share at least; default a third of the window.
        max_gap: a person who is not seen for up to so many frames is interpolated, with more a new clip begins.
        box_smoothing: frames over which boxes are averaged (the standard deviation of a Gaussian) before poses are
            normalized by them. The swing of an arm changes a box, and with a box of every frame's own it would seem as
            if the whole body shrank; 0 takes each frame's own box.
        batch_size: windows that go through the model at once, whichever people they are of.
        flip_test: average over the flipped clip, for twice the cost.
        do_normalize_boxes, do_root_relative, axes: replace the processor's own, see
            `MotionBertImageProcessor`.

    Raises:
        InputError: for settings out of range.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        temporal: Temporal = "clip",
        window: int | None = None,
        overlap: int | None = None,
        max_gap: int = 5,
        box_smoothing: float = 15.0,
        batch_size: int = 8,
        flip_test: bool = False,
        do_normalize_boxes: bool | None = None,
        do_root_relative: bool | None = None,
        axes: Axes | None = None,
    ) -> None:
        if temporal not in get_args(Temporal):
            raise InputError(f"temporal must be one of {', '.join(get_args(Temporal))}, got {temporal!r}.")
        longest = stage.model.config.max_frames
        window = longest if window is None else window
        overlap = window // 3 if overlap is None else overlap
        if not 0 < window <= longest or not 0 <= overlap < window:
            raise InputError(
                f"window must be 1 to {longest} frames, the most that the model takes, and overlap 0 or more but less "
                f"than window; got window={window} and overlap={overlap}."
            )
        if max_gap < 0 or box_smoothing < 0 or batch_size < 1:
            raise InputError(
                "max_gap and box_smoothing must be 0 or more and batch_size 1 or more; got "
                f"{max_gap}, {box_smoothing} and {batch_size}."
            )
        self.stage = stage
        self.schema: KeypointSchema = schema_for_config(stage.model.config)
        alone = temporal == "frame"
        self.window, self.overlap = (1, 0) if alone else (window, overlap)
        self.context = (0, 0) if alone else _context(stage.model.config)
        self.max_gap, self.box_smoothing = (0, 0.0) if alone else (max_gap, box_smoothing)
        self.batch_size = batch_size
        self.flip_test = flip_test
        self._encoding = {"do_normalize_boxes": do_normalize_boxes}
        self._decoding: dict[str, Any] = {
            "do_normalize_boxes": do_normalize_boxes,
            "do_root_relative": do_root_relative,
            "axes": axes,
            "do_rebase_height": False,
        }

    def lift(self, frames: Sequence[PoseOutput]) -> list[PoseOutput]:
        """All frames of a video or image at once, each person's clip as a whole.

        Args:
            frames: 2D results in the order of time, with `track_ids`, `image_size` and `schema`. Frames without people
                and frames with an `error` have none in 3D.

        Returns:
            Their N people in 3D: `keypoints` (N, K, 3) in meters, `keypoints_2d` (N, K, 2) the pixels that they were
            lifted from. First the people of the 2D result in their order, then those who are `interpolated`: not seen
            in this frame but in frames around it.

        Raises:
            InputError: if a frame with people has no `image_size` or no `schema`.
            ConfigError: if keypoints of a schema cannot be lifted.
        """
        clips = self._clips(frames)
        people: list[list[LiftedPerson]] = [[] for _ in frames]
        for clip, poses in zip(clips, self.lift_clips(clips), strict=True):
            for index, pose in enumerate(poses):
                people[clip.start + index].append(LiftedPerson(clip, index, pose))
        return [self.assemble(frame, found) for frame, found in zip(frames, people, strict=True)]

    def lift_clips(self, clips: Sequence[PersonClip]) -> list[np.ndarray]:
        """Keypoints (L, K, 3) in meters of each clip, whose keypoints are the lifter's."""
        encoded = self.encode(clips, [smooth_rows(clip.boxes, self.box_smoothing) for clip in clips])
        spans = [(clip, span) for clip in range(len(encoded)) for span in self._spans(len(encoded[clip]))]
        windows = self.run([encoded[clip][start:end] for clip, (start, end, _) in spans])
        blended = [torch.zeros(*clip.shape[:2], 3, dtype=torch.float32, device="cpu") for clip in encoded]
        for (clip, (start, end, weights)), poses in zip(spans, windows, strict=True):
            blended[clip][start:end] += torch.from_numpy(weights)[:, None, None] * poses
        return self.decode(blended, clips)

    def _clips(self, frames: Sequence[PoseOutput]) -> list[PersonClip]:
        """The people of the frames; those with an identity as one clip for all frames without a long gap."""
        done: list[PersonClip] = []
        runs: dict[int, list[PersonClip]] = {}
        for number, frame in enumerate(frames):
            for person in self.observe(frame, number):
                if self.is_alone(person):
                    done.append(person)
                    continue
                run = runs.setdefault(person.track_id, [])
                if run and person.start - run[-1].end > self.max_gap:
                    done.append(join_clips(run))
                    run.clear()
                run.append(person)
        return done + [join_clips(run) for run in runs.values()]

    def is_alone(self, person: PersonClip) -> bool:
        """Whether a person is lifted from one frame only."""
        return self.window == 1 or person.track_id == UNTRACKED

    def observe(self, frame: PoseOutput, number: int) -> list[PersonClip]:
        """Each person of a frame as a clip of one frame."""
        if frame.num_instances == 0:
            return []
        if frame.image_size is None or frame.schema is None:
            raise InputError(
                "Keypoints are lifted relative to the size of their image and by their schema, but this 2D result "
                f"has image_size={frame.image_size} and schema={frame.schema}. Give it both."
            )
        found = np.isfinite(frame.keypoints).all(-1)
        boxes = boxes_around(frame.keypoints, found) if frame.boxes is None else frame.boxes
        centers = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        keypoints, scores = self.stage.image_processor.convert_keypoints(
            np.where(found[..., None], frame.keypoints, centers),
            np.where(found, frame.keypoint_scores, 0),
            frame.schema,
        )
        box_scores = np.ones(len(boxes), np.float32) if frame.box_scores is None else frame.box_scores
        width = np.float32(frame.image_size[0])
        is_filled = np.zeros(len(boxes), bool) if frame.interpolated is None else frame.interpolated
        return [
            PersonClip(
                track_id=track_id,
                start=number,
                image_size=frame.image_size,
                keypoints=keypoints[row, None] / width,
                scores=scores[row, None],
                boxes=boxes[row, None] / width,
                box_scores=box_scores[row, None],
                rows=np.array([INTERPOLATED if is_filled[row] else row]),
            )
            for row, track_id in enumerate(_identities(frame))
        ]

    def encode(self, clips: Sequence[PersonClip], boxes: Sequence[np.ndarray]) -> list[Tensor]:
        """Network inputs (L, K, C) for clips, normalized by their `boxes` (L, 4) in widths of the frame."""
        if not clips:
            return []
        lengths = [len(each) for each in boxes]
        sizes = _sizes(clips, lengths)
        widths = sizes[:, :1].astype(np.float32)
        takes_scores = self.stage.image_processor.do_use_scores
        inputs = self.stage.image_processor(
            np.concatenate([clip.keypoints for clip in clips]) * widths[..., None],
            sizes,
            boxes=np.concatenate(boxes) * widths,
            visibility=np.concatenate([clip.scores for clip in clips]) if takes_scores else None,
            schema=self.schema,
            **self._encoding,
        )
        return list(torch.from_numpy(inputs["keypoints_2d"][0]).split(lengths))

    def decode(self, poses: Sequence[Tensor], clips: Sequence[PersonClip]) -> list[np.ndarray]:
        """Keypoints (L, K, 3) in meters from the model's outputs for frames of clips."""
        if not clips:
            return []
        lengths = [len(each) for each in poses]
        decoded = self.stage.image_processor.post_process_pose_lifting(
            torch.cat(list(poses))[None], _sizes(clips, lengths), **self._decoding
        )
        return [decoded[0, end - length : end] for length, end in zip(lengths, accumulate(lengths), strict=True)]

    def _spans(self, length: int) -> list[tuple[int, int, np.ndarray]]:
        """First frame and end of the windows over a clip, and the weights of each one's frames, which add up to 1."""
        if length <= self.window:
            return [(0, length, np.ones(length, np.float32))]
        if any(self.context):
            return self._blocks(length)
        count = -(-(length - self.window) // (self.window - self.overlap)) + 1
        starts = np.round(np.linspace(0, length - self.window, count)).astype(int)
        fades = np.diff(starts, prepend=starts[0] - self.window, append=starts[-1] + self.window)
        weights = [
            _fade(self.window, self.window - fades[i]) * _fade(self.window, self.window - fades[i + 1])[::-1]
            for i in range(count)
        ]
        total = np.zeros(length)
        for start, weight in zip(starts, weights, strict=True):
            total[start : start + self.window] += weight
        return [
            (int(start), int(start) + self.window, (weight / total[start : start + self.window]).astype(np.float32))
            for start, weight in zip(starts, weights, strict=True)
        ]

    def _blocks(self, length: int) -> list[tuple[int, int, np.ndarray]]:
        """The same for a convolution: windows that do not fade, each with the frames around it that it is lifted
        from."""
        spans = []
        for first in range(0, length, self.window):
            last = min(first + self.window, length)
            start, end = max(first - self.context[0], 0), min(last + self.context[1], length)
            numbers = np.arange(start, end)
            spans.append((start, end, ((first <= numbers) & (numbers < last)).astype(np.float32)))
        return spans

    @torch.inference_mode()
    def run(self, windows: Sequence[Tensor]) -> list[Tensor]:
        """Outputs (L, K, 3) of the model for windows (L, K, C) of at most `window` frames each."""
        results: list[Tensor] = [torch.empty(0)] * len(windows)
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))  # so that little is padded
        device, dtype = self.stage.device, self.stage.dtype
        for first in range(0, len(order), self.batch_size):
            part = order[first : first + self.batch_size]
            some = [windows[i] for i in part]
            inputs = torch.nn.utils.rnn.pad_sequence(some, batch_first=True).to(device, dtype)
            lengths = torch.tensor([len(window) for window in some], device=device)
            arguments: dict[str, Any] = {}
            if (lengths < inputs.shape[1]).any():
                arguments["frame_mask"] = torch.arange(inputs.shape[1], device=device) < lengths[:, None]
            outputs = self.stage.run(keypoints_2d=inputs, flip_test=self.flip_test, **arguments)
            for i, output in zip(part, outputs.keypoints_3d.float().cpu(), strict=True):
                results[i] = output[: len(windows[i])]
        return results

    def assemble(self, frame: PoseOutput, people: Sequence[LiftedPerson]) -> PoseOutput:
        """The result for a frame with its people."""
        # A frame that could not be read has no people, not even interpolated ones, and may have no size.
        people = [] if frame.error is not None else sorted(people, key=lambda person: person.rank)
        width = np.float32(frame.image_size[0] if frame.image_size is not None else 1)
        count = self.schema.num_keypoints
        ids = np.array([person.clip.track_id for person in people], np.int64)

        def stacked(name: str, *shape: int) -> np.ndarray:
            return np.array([getattr(person.clip, name)[person.index] for person in people]).reshape(-1, *shape)

        return PoseOutput(
            keypoints=np.array([person.pose for person in people]).reshape(-1, count, 3),
            keypoint_scores=stacked("scores", count),
            boxes=stacked("boxes", 4) * width,
            box_scores=stacked("box_scores"),
            track_ids=ids if frame.track_ids is not None or (ids != UNTRACKED).any() else None,
            keypoints_2d=stacked("keypoints", count, 2) * width,
            schema=self.schema,
            image_size=frame.image_size,
            source=frame.source,
            frame_index=frame.frame_index,
            timestamp=frame.timestamp,
            error=frame.error,
            interpolated=stacked("rows") == INTERPOLATED,
            axes=self._decoding["axes"] or self.stage.image_processor.axes,
            units="meters",
        )


@dataclass(frozen=True)
class LiftedPerson:
    """A person in a frame: their clip, where in it the frame is, and their pose (K, 3) in meters."""

    clip: PersonClip
    index: int
    pose: np.ndarray

    @property
    def rank(self) -> tuple[bool, int]:
        """Place in the result: in the order of the 2D result, then those who are not in it by identity."""
        row = int(self.clip.rows[self.index])
        return row == INTERPOLATED, self.clip.track_id if row == INTERPOLATED else row


def _sizes(clips: Sequence[PersonClip], lengths: Sequence[int]) -> np.ndarray:
    """Width and height (sum of `lengths`, 2) of the image of each frame of the clips."""
    return np.repeat([clip.image_size for clip in clips], lengths, axis=0)


def _context(config: PreTrainedConfig) -> tuple[int, int]:
    """Frames before and after a frame that a convolution over time lifts it from; none for other lifters."""
    return getattr(config, "frames_before", 0), getattr(config, "frames_after", 0)


def _identities(frame: PoseOutput) -> list[int]:
    """Identity of each person of a frame; who has one that another has already counts as without."""
    if frame.track_ids is None:
        return [UNTRACKED] * frame.num_instances
    _, first = np.unique(frame.track_ids, return_index=True)
    ids = np.full(frame.num_instances, UNTRACKED)
    ids[first] = frame.track_ids[first]
    return ids.tolist()


def _fade(length: int, fading: int) -> np.ndarray:
    """Weights (length,) that rise over the first `fading` frames as a squared sine, and then are 1."""
    weights = np.ones(length)
    weights[:fading] = np.sin(np.pi / 2 * (np.arange(fading) + 0.5) / max(fading, 1)) ** 2
    return weights


def smooth_rows(values: np.ndarray, deviation: float) -> np.ndarray:
    """Rows (L, D) averaged with a Gaussian over their neighbors; near the ends over those that there are."""
    reach = min(round(3 * deviation), len(values) - 1)
    if reach == 0:
        return values
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / deviation) ** 2)
    inside = slice(reach, reach + len(values))
    columns = np.column_stack((values, np.ones(len(values))))
    sums = np.stack([np.convolve(column, kernel)[inside] for column in columns.T], axis=-1)
    return (sums[:, :-1] / sums[:, -1:]).astype(values.dtype)


def smooth_last_rows(values: np.ndarray, deviation: float, count: int) -> np.ndarray:
    """The last `count` of the rows (L, D) that `smooth_rows` gives, (count, D), without the others."""
    reach = min(round(3 * deviation), len(values) - 1)
    if reach == 0:
        return values[-count:]
    near = values[-count - reach :]
    offsets = np.arange(len(near)) - np.arange(len(near) - count, len(near))[:, None]
    weights = np.exp(-0.5 * (offsets / deviation) ** 2) * (np.abs(offsets) <= reach)
    return (weights @ near / weights.sum(1, keepdims=True)).astype(values.dtype)
