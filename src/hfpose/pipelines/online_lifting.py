"""The stage that lifts the frames of a stream as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import cast

import torch
from torch import Tensor

from hfpose.errors import InputError
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting
from hfpose.models.motionbert.online_motionbert import OnlineMotionBert
from hfpose.models.shared.devices import accelerate_hook
from hfpose.pipelines.lifting_stage import LiftedPerson, TemporalLifter, smooth_last_rows
from hfpose.pipelines.person_clips import PersonClip, join_clips
from hfpose.results import PoseOutput

_SEEN_ANEW = 0.25  # share of the frames before a frame that the network sees again when its window is full


@dataclass
class _Track:
    """A person of a stream.

    Args:
        clip: their last frames.
        done: number of the first frame that is not lifted.
        poses: outputs (K, 3) of the network for frames that are lifted and wait, by number.
        row: of the network's memory with the frames from `first` to `done`.
    """

    clip: PersonClip
    done: int
    poses: dict[int, Tensor] = field(default_factory=dict)
    row: int | None = None
    first: int = 0


class OnlineLifter:
    """3D poses of a stream, each frame from those before it and a few after it.

    Frames are lifted `stride` at a time. A transformer keeps what it has seen of the frames that are lifted, and looks
    at them again only when its window is full, so that a frame costs about as much as in a clip.

    Memory stays the same however long the stream is: at most a window of frames for each person who was seen in the
    last frames.

    Args:
        lookahead: for how many later frames a frame may wait; its result comes so many frames late. People who are not
            seen are interpolated if they come back while the frame waits.
        stride: how many frames are lifted at a time; the last of them sees `stride - 1` frames less of those to come.
            Default: half of those that wait; with a convolution as many as have all the frames that it looks at.

    Raises:
        InputError: if `lookahead` is not less than the lifter's window, or `stride` is greater than `lookahead + 1`.
    """

    def __init__(self, lifter: TemporalLifter, lookahead: int = 0, stride: int | None = None) -> None:
        if not 0 <= lookahead < lifter.window:
            raise InputError(
                f"lookahead must be 0 or more frames and less than the window of {lifter.window}, got {lookahead}."
            )
        before, after = lifter.context
        if stride is None:
            stride = max(1, lookahead + 1 - after if any(lifter.context) else (lookahead + 1) // 2)
        if not 1 <= stride <= lookahead + 1:
            raise InputError(f"stride must be 1 to lookahead + 1 = {lookahead + 1} frames, got {stride}.")
        self.lifter = lifter
        self.lookahead = lookahead
        self.stride = stride
        self._before = before or lifter.window - lookahead - 1  # frames that a frame is lifted with, at most
        self._kept = max(lifter.window, before + 1 + lookahead)  # frames of a person
        self._count = 0  # frames so far
        # Frames that wait, with the people of whom there is but a frame.
        self._waiting: deque[tuple[PoseOutput, list[PersonClip]]] = deque()
        self._tracks: dict[int, _Track] = {}
        self._ended: list[_Track] = []

    @cached_property
    def _network(self) -> OnlineMotionBert | None:
        """The network that keeps what it has seen, with weights of its own, which a check of settings does not
        need."""
        return _online_network(self.lifter)

    def push(self, frame: PoseOutput) -> PoseOutput | None:
        """Take the next frame; returns the frame that is now complete, if one is.

        Args:
            frame: 2D results with `track_ids`, `image_size` and `schema`.

        Raises:
            InputError: if a frame with people has no `image_size` or no `schema`.
            ConfigError: if keypoints of a schema cannot be lifted.
        """
        people = self.lifter.observe(frame, self._count)
        self._waiting.append((frame, [person for person in people if self.lifter.is_alone(person)]))
        self._count += 1
        for person in people:
            if not self.lifter.is_alone(person):
                self._follow(person)
        return self._complete() if len(self._waiting) > self.lookahead else None

    def finish(self) -> Iterator[PoseOutput]:
        """The frames that still wait, when the stream is over."""
        while self._waiting:
            yield self._complete()

    def _follow(self, person: PersonClip) -> None:
        """Add a person of the last frame to their track, or begin one."""
        track = self._tracks.get(person.track_id)
        if track is not None and person.start - track.clip.end > self.lifter.max_gap:
            self._ended.append(track)
            track = None
        if track is None:
            self._tracks[person.track_id] = _Track(person, done=person.start)
        else:
            track.clip = join_clips((track.clip, person)).last(self._kept)

    def _complete(self) -> PoseOutput:
        """The result for the frame that waits longest."""
        frame, alone = self._waiting.popleft()
        number = self._count - len(self._waiting) - 1
        tracks = [
            track for track in (*self._ended, *self._tracks.values()) if track.clip.start <= number < track.clip.end
        ]
        self._lift([track for track in tracks if track.done <= number], number)
        poses = [track.poses.pop(number) for track in tracks]
        clips = [track.clip for track in tracks] + alone
        if alone:
            encoded = self.lifter.encode(alone, [clip.boxes for clip in alone])
            poses += [pose[0] for pose in self.lifter.run(encoded)]
        decoded = self.lifter.decode([pose[None] for pose in poses], clips)
        people = [LiftedPerson(clip, number - clip.start, pose[0]) for clip, pose in zip(clips, decoded, strict=True)]
        self._forget(number)
        return self.lifter.assemble(frame, people)

    def _lift(self, tracks: Sequence[_Track], number: int) -> None:
        """The poses of people in frame `number` and those that follow, as many as `stride`."""
        starts = [self._start(track, number) for track in tracks]
        for track in tracks:
            track.done = min(number + self.stride, track.clip.end)
        inputs = self._encoded(tracks, starts)
        wanted = [slice(number - start, track.done - start) for track, start in zip(tracks, starts, strict=True)]
        if self._network is None:
            outputs = [poses[part] for poses, part in zip(self.lifter.run(inputs), wanted, strict=True)]
        else:
            outputs = self._run_new(self._network, tracks, inputs, wanted)
        for track, poses in zip(tracks, outputs, strict=True):
            track.poses = dict(enumerate(poses.clone(), number))

    def _start(self, track: _Track, number: int) -> int:
        """The first frame that the network is given to lift a person in frame `number`."""
        if self._network is None:
            return max(track.clip.start, number - self._before)
        if track.row is None or track.clip.end - track.first > self.lifter.window:
            track.first = max(
                track.clip.start,
                min(track.done, number) - round(_SEEN_ANEW * self._before),
                track.clip.end - self.lifter.window,
            )
            track.row = self._free_row(self._network) if track.row is None else track.row
            self._network.lengths[track.row] = 0
            return track.first
        return track.done

    def _free_row(self, network: OnlineMotionBert) -> int:
        """A row of the network's memory that is no person's."""
        used = {track.row for track in (*self._ended, *self._tracks.values())}
        row = next(row for row in count() if row not in used)
        return row if row < len(network.lengths) else network.add_row()

    def _run_new(
        self, network: OnlineMotionBert, tracks: Sequence[_Track], inputs: Sequence[Tensor], wanted: Sequence[slice]
    ) -> list[Tensor]:
        """Outputs (wanted, K, 3) for inputs (L, K, C) of people of whom the network keeps what comes before."""
        rows = [cast(int, track.row) for track in tracks]
        outputs: list[Tensor] = [torch.empty(0)] * len(tracks)
        groups: dict[tuple[int, int, int], list[int]] = {}  # who can go through the network together
        for i in sorted(range(len(tracks)), key=rows.__getitem__):
            groups.setdefault((len(inputs[i]), wanted[i].start, wanted[i].stop), []).append(i)
        for (_, start, stop), group in groups.items():
            for first in range(0, len(group), self.lifter.batch_size):
                part = group[first : first + self.lifter.batch_size]
                found = network(torch.stack([inputs[i] for i in part]), [rows[i] for i in part], slice(start, stop))
                for i, poses in zip(part, found.unbind(), strict=True):
                    outputs[i] = poses
        for track, row in zip(tracks, rows, strict=True):
            # Frames that wait are lifted again, when those after them are there.
            network.lengths[row] -= track.clip.end - track.done
        return outputs

    def _encoded(self, tracks: Sequence[_Track], starts: Sequence[int]) -> list[Tensor]:
        """Network inputs (L, K, C) for people from frame `starts` on, with boxes that are smooth over all their
        frames."""
        clips = [track.clip.last(track.clip.end - start) for track, start in zip(tracks, starts, strict=True)]
        boxes = [
            smooth_last_rows(track.clip.boxes, self.lifter.box_smoothing, len(clip.rows))
            for track, clip in zip(tracks, clips, strict=True)
        ]
        return self.lifter.encode(clips, boxes)

    def _forget(self, number: int) -> None:
        """Drop who is neither in a frame after `number` nor can go on."""
        self._ended = [track for track in self._ended if track.clip.end > number + 1]
        oldest = self._count - self.lifter.max_gap
        self._tracks = {
            track_id: track
            for track_id, track in self._tracks.items()
            if track.clip.end > number + 1 or track.clip.end >= oldest
        }


def _online_network(lifter: TemporalLifter) -> OnlineMotionBert | None:
    """The network that keeps what it has seen of frames, which torch runs whatever the backend; None where there is
    none."""
    model = lifter.stage.model
    is_plain = {parameter.dtype for parameter in model.parameters()} == {model.dtype}  # not quantized
    has_weights = model.device.type != "meta" and accelerate_hook(model) is None  # not in a graph alone, nor elsewhere
    if not isinstance(model, MotionBertForPoseLifting) or not is_plain or not has_weights:
        return None
    return OnlineMotionBert(model, lifter.window) if lifter.window > 1 and not lifter.flip_test else None
