"""Hashes in file names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfpose.hub.checkpoint_files import stated_hash


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.pth", "e48f03d0"),
        ("rtmdet_m_8xb32-100e_coco-obj365-person-235e8209.pth", "235e8209"),
        ("rtmpose-m_simcc-coco-wholebody-hand_pt-aic-coco_210e-256x256-99477206_20230228.pth", "99477206"),
        ("rtmpose-m_simcc-hand5_pt-aic-coco_210e-256x256-74fb594_20230320.pth", "74fb594"),
        ("rtmw-dw-l-m_simcc-cocktail14_270e-256x192-20231122.pth", None),
        ("run-00010000.pth", None),
        ("epoch_200.pth", None),
        ("best_coco_AP_epoch_20.pth", None),
        ("my-model.pth", None),
        ("model-20230504_20230601.pth", None),
    ],
)
def test_hash_that_a_name_states(name: str, expected: str | None) -> None:
    assert stated_hash(name) == expected


def test_hashes_of_the_published_names(shared: Path) -> None:
    models = json.loads((shared / "facts/pose_models.json").read_text())
    models += json.loads((shared / "facts/detector_models.json").read_text())["detectors"]
    stated = {m["checkpoint_url"].rpartition("/")[2]: m["sha256_prefix"] for m in models if m.get("checkpoint_url")}
    assert len(stated) > 80
    for name, prefix in stated.items():
        assert stated_hash(name) == (None if "_13274d7c" in name else prefix), name  # not after a hyphen
