"""InstanceData, PixelData and PoseDataSample behave like MMPose's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from hfpose.compat.mmpose import (
    InstanceData,
    PixelData,
    PoseDataSample,
    merge_data_samples,
    revert_heatmap,
    split_instances,
)
from hfpose.errors import InputError


def people(count: int = 3) -> InstanceData:
    return InstanceData(
        metainfo={"img_shape": (4, 5)},
        keypoints=np.arange(count * 4.0).reshape(count, 2, 2),
        scores=torch.arange(float(count)),
        names=[f"person {i}" for i in range(count)],
    )


def test_fields_are_attributes_and_entries():
    instances = people()
    assert len(instances) == 3
    assert instances.scores is instances["scores"] is instances.get("scores")
    assert "keypoints" in instances
    assert "boxes" not in instances
    assert instances.get("boxes", 7) == 7
    assert instances.keys() == ["keypoints", "scores", "names"]
    assert instances.img_shape == (4, 5)
    assert instances.all_keys()[0] == "img_shape"
    with pytest.raises(AttributeError, match="it has img_shape, keypoints, scores, names"):
        _ = instances.boxes


def test_fields_are_set_replaced_and_removed():
    instances = people()
    instances.labels = np.zeros(3)
    instances.set_field([1, 2, 3], "labels", dtype=list)
    assert instances.labels == [1, 2, 3]
    del instances.labels
    assert "labels" not in instances
    assert instances.pop("names") == ["person 0", "person 1", "person 2"]
    with pytest.raises(TypeError, match="must be of"):
        instances.set_field(3, "labels", dtype=list)
    with pytest.raises(AttributeError, match="as metainfo"):
        instances.img_shape = (1, 2)
    with pytest.raises(AttributeError, match="itself"):
        instances.keys = 3


def test_every_field_has_a_row_for_each_instance():
    with pytest.raises(ValueError, match="2 rows, but there are 3"):
        people().labels = [1, 2]
    with pytest.raises(TypeError, match="one row for each"):
        people().labels = 5


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (1, [1]),
        (-1, [2]),
        (slice(0, 2), [0, 1]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        (torch.tensor([False, True, False]), [1]),
        (torch.tensor([2, 1]), [2, 1]),
    ],
)
def test_some_of_the_instances(index, expected):
    some = people()[index]
    assert some.scores.tolist() == expected
    np.testing.assert_array_equal(some.keypoints, people().keypoints[expected])
    assert some.names == [f"person {i}" for i in expected]
    assert some.img_shape == (4, 5)


def test_an_instance_that_is_not_there():
    with pytest.raises(IndexError, match="3 instances"):
        people()[3]


def test_concatenation():
    both = InstanceData.cat([people(2), people(1)])
    assert both.scores.tolist() == [0, 1, 0]
    assert both.names == ["person 0", "person 1", "person 0"]
    assert both.keypoints.shape == (3, 2, 2)
    with pytest.raises(InputError, match="cannot be concatenated"):
        InstanceData.cat([people(), InstanceData(scores=np.ones(1))])
    with pytest.raises(InputError, match="at least one"):
        InstanceData.cat([])


def test_tensors_and_arrays():
    sample = PoseDataSample(pred_instances=people())
    assert isinstance(sample.numpy().pred_instances.scores, np.ndarray)
    assert isinstance(sample.to_tensor().pred_instances.keypoints, torch.Tensor)
    assert sample.to(torch.float64).pred_instances.scores.dtype == torch.float64
    assert sample.cpu().pred_instances.scores.device.type == "cpu"
    assert isinstance(sample.pred_instances.scores, torch.Tensor)  # itself unchanged


def test_copies_share_nothing():
    instances = people()
    for other in (instances.clone(), copy.deepcopy(instances), pickle.loads(pickle.dumps(instances))):
        other.keypoints[0] = -1
        assert other.img_shape == (4, 5)
    assert (instances.keypoints[0] != -1).all()
    assert people().new(scores=np.ones(2)).keys() == ["scores"]


def test_the_types_of_a_sample():
    sample = PoseDataSample(metainfo={"img_path": "a.jpg"}, pred_instances=people())
    assert sample.metainfo == {"img_path": "a.jpg"}
    assert sample.img_path == "a.jpg"
    with pytest.raises(TypeError, match="InstanceData"):
        sample.pred_instances = [1, 2]
    with pytest.raises(TypeError, match="PixelData"):
        sample.pred_fields = people()
    sample.track_id = 3
    assert sample.get("track_id", 1e4) == 3
    text = repr(sample)
    assert text.startswith("<PoseDataSample(")
    assert "img_path: 'a.jpg'" in text
    assert "pred_instances: <InstanceData(" in text


def test_pixel_data():
    fields = PixelData(heatmaps=np.zeros((4, 5)))
    assert fields.heatmaps.shape == (1, 4, 5)
    assert fields.shape == (4, 5)
    with pytest.raises(ValueError, match="covers"):
        fields.mask = np.zeros((2, 2))
    with pytest.raises(TypeError, match="shape"):
        fields.mask = [1]


def sample(center: tuple[float, float], score: float) -> PoseDataSample:
    """One person, whose heatmaps (1, 4, 4) cover 8x8 pixels around `center`, with a peak in the middle."""
    heatmaps = np.zeros((1, 4, 4), np.float32)
    heatmaps[0, 2, 2] = score
    return PoseDataSample(
        metainfo={"ori_shape": (30, 40), "input_center": np.array(center), "input_scale": np.array([8.0, 8.0])},
        gt_instances=InstanceData(bboxes=np.ones((1, 4))),
        pred_instances=InstanceData(keypoint_scores=np.array([[score]])),
        pred_fields=PixelData(heatmaps=heatmaps),
    )


def test_merging_keeps_all_instances_and_the_highest_heatmaps():
    merged = merge_data_samples([sample((10, 12), 0.5), sample((30, 20), 0.75)])
    assert merged.pred_instances.keypoint_scores.ravel().tolist() == [0.5, 0.75]
    assert len(merged.gt_instances) == 2
    assert merged.ori_shape == (30, 40)
    heatmaps = merged.pred_fields.heatmaps
    assert heatmaps.shape == (1, 30, 40)
    assert np.unravel_index(heatmaps[0].argmax(), (30, 40)) == (20, 30)  # the crop's third cell, at its middle
    assert heatmaps[0, 12, 10] == pytest.approx(0.5)
    assert not heatmaps[:, :5].any()


def test_a_sample_as_a_dict():
    sample = PoseDataSample(metainfo={"img_path": "a.jpg"}, pred_instances=InstanceData(keypoints=np.ones((1, 2, 2))))
    assert list(sample.to_dict()) == ["img_path", "pred_instances"]
    assert sample.to_dict()["pred_instances"]["keypoints"].shape == (1, 2, 2)


def test_a_heatmap_of_a_crop_over_its_image():
    over = revert_heatmap(torch.ones(3, 8, 6), np.array([30.0, 40.0]), np.array([[12.0, 16.0]]), (60, 80))
    assert over.shape == (3, 60, 80) and over[0, 40, 30] == 1 and over[0, 5, 5] == 0
    assert revert_heatmap(np.ones((8, 6)), [30, 40], [12, 16], (60, 80)).shape == (60, 80)


def test_merging_nothing_and_something_else():
    assert merge_data_samples([]).all_keys() == []
    with pytest.raises(ValueError, match="PoseDataSample"):
        merge_data_samples([people()])
    with pytest.raises(ValueError, match="PoseDataSample"):
        merge_data_samples(sample((1, 1), 1))


def test_instances_are_split_into_plain_dicts():
    instances = InstanceData(
        keypoints=np.array([[[1.5, 2.5]], [[np.nan, 4.0]]]),
        keypoint_scores=torch.tensor([[0.5], [0.25]]),
        bboxes=np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]),
        bbox_scores=np.array([0.5, 1.0]),
    )
    first, second = split_instances(instances)
    assert first == {
        "keypoints": [[1.5, 2.5]], "keypoint_scores": [0.5], "bbox": ([1.0, 2.0, 3.0, 4.0],), "bbox_score": 0.5
    }  # fmt: skip
    assert second["keypoints"] == [[None, 4.0]]
    assert split_instances(None) == []
