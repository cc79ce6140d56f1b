"""Several frames: images for a model that takes some of a video, and 2D poses in time for a lifter.

Source: `mmpose.apis.inference` and `mmpose.apis.inference_3d`; reimplemented.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from hfpose.compat.mmpose.structures import InstanceData, PoseDataSample
from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import load_schema
from hfpose.keypoints.human36m import keypoints_to_h36m

PoseFrames = Sequence[Sequence[PoseDataSample]]


def collect_multi_frames(
    video: Sequence[np.ndarray], frame_id: int, indices: Sequence[int], online: bool = False
) -> list[np.ndarray]:
    """A frame of a video, and after it those at some distances from it.

    Args:
        video: the frames, (H, W, 3) each.
        frame_id: index of the frame that comes first.
        indices: distances of the others, such as `[-1, 1]`; 0 is passed over. At the ends of the video the nearest
            frame is taken.
        online: take no frame from the future.
    """
    last = frame_id if online else len(video) - 1
    return [video[frame_id], *(video[min(max(frame_id + index, 0), last)] for index in indices if index)]


def extract_pose_sequence(
    pose_results: PoseFrames, frame_idx: int, causal: bool, seq_len: int, step: int = 1
) -> list[Sequence[PoseDataSample]]:
    """The frames around one, as many as a lifter takes; the first and the last one are repeated beyond the ends.

    Args:
        pose_results: for each frame a data sample for each person.
        frame_idx: index of the frame in the middle, or with `causal` at the end.
        causal: take no frame from the future.
        seq_len: number of frames.
        step: distance of two frames.

    Raises:
        InputError: if there are no frames.
    """
    if not pose_results:
        raise InputError("There are no frames to take a sequence from.")
    before = seq_len - 1 if causal else (seq_len - 1) // 2
    after = 0 if causal else before
    places = np.clip(frame_idx + step * np.arange(-before, after + 1), 0, len(pose_results) - 1)
    return [pose_results[place] for place in places.tolist()]


def collate_pose_sequence(
    pose_results_2d: PoseFrames, with_track_id: bool = True, target_frame: int = -1
) -> list[PoseDataSample]:
    """The poses of T frames, person by person.

    Args:
        pose_results_2d: for each frame a data sample for each person, with one instance: `keypoints` (1, K, C).
        with_track_id: tell people apart by the samples' `track_id`; else they come in the same order in each frame.
        target_frame: index of the frame whose people are meant.

    Returns:
        For each person of that frame its data sample, with the `keypoints` (1, T, K, C) of all frames. Where a person
        is not seen, the nearest pose stands in.

    Raises:
        InputError: if there are no frames, or people cannot be told apart.
    """
    sequences = []
    for clip in person_clips(pose_results_2d, with_track_id, target_frame):
        target = clip[target_frame]
        pred_instances = target.pred_instances.clone()
        pred_instances.keypoints = np.stack([first(sample.pred_instances.keypoints) for sample in clip])[None]
        gt_instances = target.get("gt_instances", InstanceData()).clone()
        sequences.append(PoseDataSample(gt_instances=gt_instances, pred_instances=pred_instances))
    return sequences


def person_clips(frames: PoseFrames, with_track_id: bool, target_frame: int) -> list[list[PoseDataSample]]:
    """For each person of one frame the samples in all frames; see `collate_pose_sequence`."""
    if not frames:
        raise InputError("There are no frames to lift.")
    target = range(len(frames))[target_frame]
    return [_clip(frames, target, person, with_track_id) for person in range(len(frames[target]))]


def _clip(frames: PoseFrames, target: int, person: int, with_track_id: bool) -> list[PoseDataSample]:
    """A person's sample in each frame; from the first frame without them on, outwards, the last one is repeated."""
    wanted = frames[target][person]
    if with_track_id and "track_id" not in wanted:
        raise InputError("The samples have no track_id to tell people apart by; set it, or with_track_id=False.")

    def find(frame: Sequence[PoseDataSample]) -> PoseDataSample | None:
        if with_track_id:
            return next((sample for sample in frame if sample.track_id == wanted.track_id), None)
        if person >= len(frame):
            raise InputError("Without track_id every frame needs the same number of people.")
        return frame[person]

    def follow(others: PoseFrames) -> Iterator[PoseDataSample]:
        last, is_lost = wanted, False
        for frame in others:
            found = None if is_lost else find(frame)
            is_lost = found is None
            last = found or last
            yield last

    before = list(follow(frames[:target][::-1]))
    return [*before[::-1], wanted, *follow(frames[target + 1 :])]


def first(rows: np.ndarray | torch.Tensor) -> np.ndarray:
    """The only row (...) of an array or tensor (1, ...), as an array."""
    return np.asarray(rows.cpu() if isinstance(rows, torch.Tensor) else rows)[0]


def convert_keypoint_definition(keypoints: np.ndarray, pose_det_dataset: str, pose_lift_dataset: str) -> np.ndarray:
    """2D keypoints of one data set as those that a lifter was trained with.

    Args:
        keypoints: (N, K, 2), or (N, K, 3) with their scores.
        pose_det_dataset: name of their schema, such as "coco".
        pose_lift_dataset: "h36m".

    Returns:
        (N, 17, 2), or (N, 17, 3) with scores that are averaged as places are.

    Raises:
        ConfigError: for another lifter's data set, or where it is not known how the keypoints are converted.
    """
    if pose_lift_dataset != "h36m":
        raise ConfigError(f"pose_lift_dataset must be 'h36m', got {pose_lift_dataset!r}.")
    converted, _ = keypoints_to_h36m(np.asarray(keypoints), None, load_schema(pose_det_dataset))
    return converted
