"""What RTMO's and YOLOX-Pose's outputs become."""

from __future__ import annotations

import torch

from hfpose.models.yolox_pose.image_processing_yolox_pose import YOLOXPoseImageProcessor


def test_no_more_than_the_best_candidates_are_suppressed():
    boxes = torch.tensor([[0.0, 0, 20, 20], [40, 40, 60, 60], [0, 0, 20, 21]])
    outputs = {
        "logits": torch.tensor([[2.0, 1.0, 3.0]]),
        "objectness": torch.full((1, 3), 9.0),
        "pred_boxes": boxes[None],
        "pred_keypoints": torch.zeros(1, 3, 17, 2),
        "keypoint_logits": torch.zeros(1, 3, 17),
    }
    for limit, left in ((None, [2, 1]), (2, [2]), (1, [2])):
        processor = YOLOXPoseImageProcessor(size=64, max_candidates=limit)
        (found,) = processor.instances(outputs, [(64, 64)])
        assert found.boxes.tolist() == boxes[left].tolist()
