from __future__ import annotations

import torch
from torch import Tensor

from hfpose.checkpoints.distilled import student_of


def model(size: int, value: float) -> dict[str, Tensor]:
    names = ("backbone.stem.weight", "neck.weight", "head.weight")
    return {name: torch.full((size,), value) for name in names}


def distiller(student: dict[str, Tensor], teacher: dict[str, Tensor], **losses: Tensor) -> dict[str, Tensor]:
    parts = {"student": student, "teacher": teacher, "distill_losses": losses}
    return {f"{owner}.{name}": each for owner, tensors in parts.items() for name, each in tensors.items()}


def values(state_dict: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(each[0]) for name, each in state_dict.items()}


def test_first_stage_gives_the_student() -> None:
    given = distiller(model(2, 1.0), model(3, 2.0), align=torch.zeros(1))
    assert values(dict(student_of(given))) == values(model(2, 1.0))


def test_second_stage_gives_the_teacher_with_the_head_of_the_student() -> None:
    given = distiller(model(2, 1.0), model(2, 2.0))
    expected = {"backbone.stem.weight": 2.0, "neck.weight": 2.0, "head.weight": 1.0}
    assert values(dict(student_of(given))) == expected


def test_other_checkpoints_stay_as_they_are() -> None:
    plain = model(2, 1.0)
    assert student_of(plain) is plain
    mixed = distiller(model(2, 1.0), model(2, 2.0)) | plain
    assert student_of(mixed) is mixed
