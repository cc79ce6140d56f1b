from __future__ import annotations

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from hfpose.media.glb import glb_bytes
from hfpose.media.skeleton import skeleton_motion
from motion_files import read_glb
from rendered_people.activities import ACTIVITIES
from rendered_people.motions import look_at, random_motion

NAMES = load_schema("h36m").keypoint_names


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_animation_gives_the_joints_back(activity: str) -> None:
    views = look_at(random_motion(3, 12, activity), [0], 12, np.random.default_rng(3))
    keypoints, times = views.joints[0], np.cumsum(np.full(12, 0.04))
    found_times, people = read_glb(glb_bytes({"track7": skeleton_motion(keypoints, NAMES, "h36m")}, times))
    assert found_times == pytest.approx(times - times[0])
    points = np.stack([people["track7"][name] for name in NAMES], axis=1)
    found = np.stack((-points[..., 0], points[..., 2], points[..., 1]), axis=-1)
    assert np.abs(found - keypoints).max() < 1e-4
