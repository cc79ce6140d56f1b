import numpy as np
import torch

from hfpose.models.shared.one_stage import Instances, OneStageProcessing


class FixedInstances(OneStageProcessing):
    """Finds one instance in the first image and none in the second."""

    def instances(self, outputs, target_sizes, threshold=None, nms_threshold=None):
        found = Instances(
            boxes=np.array([[1, 2, 30, 40]], dtype=np.float32),
            box_scores=np.array([0.75], dtype=np.float32),
            keypoints=np.array([[[5, 6], [7, 8], [9, 10]]], dtype=np.float32),
            keypoint_scores=np.array([[0.9, 0.2, 0.6]], dtype=np.float32),
        )
        return [found, Instances(*(array[:0] for array in found))]


def test_instances_become_dicts_as_transformers_has_them():
    first, second = FixedInstances().post_process_pose_estimation(None, [(48, 64), (48, 64)])
    assert second == []
    (person,) = first
    assert person["bbox"].tolist() == [1, 2, 30, 40]
    assert person["bbox_score"].item() == 0.75
    assert person["labels"].tolist() == [0, 1, 2]
    torch.testing.assert_close(person["keypoints"], torch.tensor([[5.0, 6], [7, 8], [9, 10]]))


def test_keypoints_below_the_threshold_are_left_out():
    (person,), _ = FixedInstances().post_process_pose_estimation(None, [(48, 64), (48, 64)], threshold=0.5)
    assert person["labels"].tolist() == [0, 2]
    assert person["keypoints"].tolist() == [[5, 6], [9, 10]]
