"""People out of DEKR's poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfpose.models.dekr.image_processing_dekr import DEKRImageProcessor
from hfpose.models.dekr.modeling_dekr import DEKROutput


def outputs() -> DEKROutput:
    """Three poses of four keypoints: the second is the first moved a little, the last has a weak center."""
    pose = torch.tensor([[0.0, 0], [100, 0], [0, 100], [100, 100]])
    return DEKROutput(
        pred_keypoints=torch.stack((pose, pose + 1, pose * 2))[None],
        keypoint_scores=torch.tensor([[[0.5] * 4, [0.8] * 4, [0.9] * 4]]),
        center_scores=torch.tensor([[0.9, 0.8, 0.005]]),
        pose_scores=torch.tensor([[1.0, 0.5, 1.0]]),
    )


def test_close_poses_and_weak_centers_go() -> None:
    (some,) = DEKRImageProcessor(size={"height": 256, "width": 256}).instances(outputs(), [(256, 256)])
    np.testing.assert_allclose(some.boxes, [[1, 1, 101, 101]])
    np.testing.assert_allclose(some.keypoint_scores, [[0.8 * 0.5 * 0.8] * 4], rtol=1e-6)
    np.testing.assert_allclose(some.box_scores, [0.32], rtol=1e-6)


def test_thresholds_of_the_call_replace_those_of_the_processor() -> None:
    processor = DEKRImageProcessor(size={"height": 256, "width": 256}, center_threshold=0.0)
    assert len(processor.instances(outputs(), [(256, 256)], nms_threshold=0)[0].boxes) == 3
    assert len(processor.instances(outputs(), [(256, 256)], threshold=0.1, nms_threshold=0)[0].boxes) == 2


@pytest.mark.parametrize("limit", [1, None])
def test_no_more_instances_than_asked_for(limit: int | None) -> None:
    processor = DEKRImageProcessor(max_instances=limit, nms_threshold=0)
    assert len(processor.instances(outputs(), [(512, 512)])[0].boxes) == (limit or 2)
