"""People out of heatmaps and tags."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfpose.errors import InputError
from hfpose.models.associative_embedding.image_processing_associative_embedding import (
    AssociativeEmbeddingImageProcessor,
    group_by_tags,
)
from hfpose.models.associative_embedding.modeling_associative_embedding import AssociativeEmbeddingOutput


def test_candidates_with_near_tags_make_an_instance() -> None:
    values = np.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.05]])
    tags = np.array([[1.0, 9.0], [9.2, 1.1], [8.9, 1.0]])[..., None]
    assert group_by_tags(values, tags, (0, 1, 2), 0.1, 1.0).tolist() == [[0, 1, -1], [1, 0, 0]]


def test_a_tag_too_far_from_all_begins_an_instance() -> None:
    values, tags = np.full((2, 2), 0.5), np.array([[1.0, 9.0], [1.2, 4.0]])[..., None]
    assert group_by_tags(values, tags, (0, 1), 0.1, 1.0).tolist() == [[0, 0], [1, -1], [-1, 1]]


def test_the_order_of_the_keypoints_decides_which_instances_come_first() -> None:
    values, tags = np.array([[0.5], [0.5]]), np.array([[1.0], [5.0]])[..., None]
    assert group_by_tags(values, tags, (1, 0), 0.1, 1.0).tolist() == [[-1, 0], [0, -1]]


def test_instances_move_their_mean_tag() -> None:
    """1.0, then 1.8 whose mean is 1.4, so 2.3 is near, which 1.0 alone is not."""
    values, tags = np.full((3, 1), 0.5), np.array([[1.0], [1.8], [2.3]])[..., None]
    assert group_by_tags(values, tags, (0, 1, 2), 0.1, 1.0).tolist() == [[0, 0, 0]]


def test_instances_that_begin_with_the_same_number_are_one() -> None:
    """As the reference's dictionary of instances has it; the later candidate begins again."""
    values = np.array([[0.9, 0.9, 0.8], [0.7, 0.6, 0.5]])
    tags = np.array([[[1.0, 0.0], [1.0, 3.0], [5.0, 0.0]], [[1.0, 0.0], [5.0, 2.0], [8.0, 8.0]]])
    assert group_by_tags(values, tags, (0, 1), 0.1, 1.0).tolist() == [[1, 0], [2, 1], [-1, 2]]


def test_a_keypoint_at_the_border_of_the_image_is_of_one_person() -> None:
    """Enlarged maps repeat their first and last cells, which are peaks both."""
    heatmaps, tags = torch.zeros(1, 2, 16, 16), torch.ones(1, 2, 16, 16)
    heatmaps[0, :, 6, 0] = 0.9
    processor = AssociativeEmbeddingImageProcessor(keypoint_order=(0, 1), size={"height": 64, "width": 64})
    (found,) = processor.instances(AssociativeEmbeddingOutput(heatmaps=heatmaps, tags=tags), [(64, 64)])
    assert len(found.boxes) == 1


def maps() -> AssociativeEmbeddingOutput:
    """Two people of two keypoints; the second keypoint of the second person is weak."""
    heatmaps, tags = torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16)
    for keypoint, x, y, value, tag in ((0, 3, 4, 0.9, 1), (1, 5, 9, 0.8, 1), (0, 11, 4, 0.7, 5), (1, 12, 9, 0.06, 5)):
        heatmaps[0, keypoint, y, x] = value
        tags[0, keypoint, y - 1 : y + 2, x - 1 : x + 2] = tag
    return AssociativeEmbeddingOutput(heatmaps=heatmaps, tags=tags)


def test_missing_keypoints_are_filled_in_where_tag_and_response_fit_best() -> None:
    processor = AssociativeEmbeddingImageProcessor(
        keypoint_order=(0, 1), restore_size=False, size={"height": 64, "width": 64}, center_shift=0.5
    )
    (some,) = processor.instances(maps(), [(64, 64)])
    np.testing.assert_allclose(some.keypoints, [[[14, 18], [22, 38]], [[46, 18], [48, 36]]])
    np.testing.assert_allclose(some.keypoint_scores, [[0.9, 0.8], [0.7, 0.06]], rtol=1e-6)
    np.testing.assert_allclose(some.box_scores, [0.85, 0.35], rtol=1e-6)


def test_a_model_of_other_keypoints_has_them_in_their_own_order() -> None:
    processor = AssociativeEmbeddingImageProcessor(size={"height": 64, "width": 64})
    heatmaps, tags = torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16)
    heatmaps[0, :, 4, 4] = 1
    (found,) = processor.instances({"heatmaps": heatmaps, "tags": tags}, [(64, 64)])
    assert found.keypoints.shape == (1, 2, 2)


def test_a_kernel_of_an_even_size_is_refused() -> None:
    with pytest.raises(InputError, match="nms_kernel_size is 4; expected an odd number from 1"):
        AssociativeEmbeddingImageProcessor(nms_kernel_size=4)


def test_restored_maps_give_finer_places() -> None:
    processor = AssociativeEmbeddingImageProcessor(keypoint_order=(0, 1), size={"height": 64, "width": 64})
    (some,) = processor.instances(maps(), [(64, 64)])
    np.testing.assert_allclose(some.keypoints[0], [[14, 18], [22, 38]], atol=1)
