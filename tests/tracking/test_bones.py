from __future__ import annotations

import numpy as np

from hfpose.keypoints import load_schema
from hfpose.tracking.bones import constant_bones

H36M = load_schema("h36m")


def test_bones_keep_directions_and_have_one_length() -> None:
    rng = np.random.default_rng(0)
    keypoints = rng.normal(size=(9, 17, 3)).astype(np.float32)
    keypoints[4, H36M.index("left_knee")] = np.nan
    found = constant_bones(keypoints, H36M)
    np.testing.assert_array_equal(found[:, 0], keypoints[:, 0])
    start, end = np.array(H36M.skeleton).T
    before, after = keypoints[:, end] - keypoints[:, start], found[:, end] - found[:, start]
    lengths = np.linalg.norm(after, axis=-1)
    assert np.nanstd(lengths, axis=0).max() < 1e-5
    cosine = (before * after).sum(-1) / np.linalg.norm(before, axis=-1) / lengths
    assert np.nanmin(cosine) > 1 - 1e-5
    missing = [H36M.index("left_knee"), H36M.index("left_foot")]
    assert np.flatnonzero(np.isnan(found[4]).any(1)).tolist() == missing and not np.isnan(found[5]).any()


def test_left_bones_are_as_long_as_right_ones() -> None:
    keypoints = np.random.default_rng(1).normal(size=(5, 17, 3))
    found = constant_bones(keypoints, H36M)

    def length(side: str) -> float:
        joints = [H36M.index(f"{side}_{name}") for name in ("hip", "knee")]
        return float(np.linalg.norm(np.diff(found[0, joints], axis=0)))

    assert abs(length("left") - length("right")) < 1e-6
