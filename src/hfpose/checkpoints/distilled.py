"""The student of a checkpoint that was saved in the middle of a distillation, as DWPose's are.

Source: DWPose (Yang et al., 2023, https://arxiv.org/abs/2307.15880); `mmpose.models.distillers.DWPoseDistiller` and
`tools/misc/pth_transfer.py` of MMPose.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from torch import Tensor

logger = logging.getLogger(__name__)

_STUDENT, _TEACHER, _LOSSES = "student.", "teacher.", "distill_losses."


def student_of(state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of the student, under the names that the model itself has; others stay as they are.

    In the first stage the student is a whole model beside a larger teacher. In the second one the teacher is the
    student of the first: only the student's head is trained, on the teacher's features, so backbone and neck are the
    teacher's.
    """
    if not any(name.startswith(f"{_STUDENT}head.") for name in state_dict):
        return state_dict
    parts = [name for name in state_dict if name.startswith((_STUDENT, _TEACHER, _LOSSES))]
    if len(parts) < len(state_dict):
        return state_dict  # a model of another kind with such names
    is_second = _shapes(state_dict, _STUDENT) == _shapes(state_dict, _TEACHER)
    wanted = (f"{_TEACHER}backbone.", f"{_TEACHER}neck.", f"{_STUDENT}head.") if is_second else _STUDENT
    taken = {name.split(".", 1)[1]: state_dict[name] for name in parts if name.startswith(wanted)}
    stage = "second stage: head of the student, backbone of the teacher" if is_second else "first stage: the student"
    logger.warning("The checkpoint is of a distillation (%s); the rest of it is left out.", stage)
    return taken


def _shapes(state_dict: Mapping[str, Tensor], owner: str) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix(owner): tuple(each.shape) for name, each in state_dict.items() if name.startswith(owner)}
