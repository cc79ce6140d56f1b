from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golden import Golden, share_within
from hfpose.hub.zoo import get_entry
from hfpose.keypoints import load_schema
from hfpose.media.images import load_image
from hfpose.models.internet.convert_internet import image_processor_from_reference
from hfpose.models.internet.image_processing_internet import InterNetImageProcessor
from hfpose.models.internet.modeling_internet import InterNetForHandPose, InterNetOutput

BOX = np.array([[0, 0, 256, 256]], np.float32)


@pytest.fixture
def processor() -> InterNetImageProcessor:
    return InterNetImageProcessor()


def outputs_with_peaks(cells: list[tuple[int, int, int]], values: list[float], **others: Any) -> InterNetOutput:
    """Outputs of one crop whose heatmaps are 0 but for `values` at `cells` (x, y, z)."""
    heatmaps = torch.zeros(1, len(cells), 64, 64, 64)
    for keypoint, ((x, y, z), value) in enumerate(zip(cells, values, strict=True)):
        heatmaps[0, keypoint, z, y, x] = value
    settings: dict[str, Any] = {"root_depth": torch.tensor([[32.0]]), "hand_type": torch.tensor([[1.0, 1.0]])}
    return InterNetOutput(heatmaps=heatmaps, **(settings | others))


def test_hands_are_those_of_the_reference(shared: Path, seeded_model: InterNetForHandPose, golden: Golden) -> None:
    processor = image_processor_from_reference(get_entry(golden.name).reference)
    image = load_image(shared / "images" / "interhand_69148.jpg")
    boxes = golden.arrays["e2e/bboxes"]
    with torch.no_grad():
        outputs = seeded_model(**processor(image, boxes=[boxes], return_tensors="pt"))
    keypoints, scores = processor.decode(outputs, boxes)
    assert share_within(keypoints, golden.arrays["e2e/keypoints"]) >= 0.99
    np.testing.assert_allclose(scores, golden.arrays["e2e/keypoint_scores"], rtol=1e-4)
    hand_type, relative_depth = processor.decode_hands(outputs)
    np.testing.assert_array_equal(hand_type, golden.arrays["e2e/hand_type"])
    np.testing.assert_allclose(relative_depth, golden.arrays["e2e/rel_root_depth"], rtol=1e-4)


def test_peak_tells_place_and_depth(processor: InterNetImageProcessor) -> None:
    outputs = outputs_with_peaks([(16, 8, 48), (32, 32, 32)], [200.0, 100.0])
    keypoints, scores = processor.decode(outputs, BOX)
    # The crop shows 1.25 times the box, 5 pixels of the image a cell, from -32 on.
    np.testing.assert_allclose(keypoints[0], [[48, 8, 100], [128, 128, 0]])
    np.testing.assert_allclose(scores, [[200, 100]])


def test_keypoint_without_response_lies_before_the_origin(processor: InterNetImageProcessor) -> None:
    keypoints, scores = processor.decode(outputs_with_peaks([(1, 1, 1)], [0.0]), BOX)
    np.testing.assert_allclose(keypoints[0, 0], [-37, -37, -206.25])
    assert scores[0, 0] == 0


def test_left_hand_moves_by_the_depth_between_the_wrists(processor: InterNetImageProcessor) -> None:
    outputs = outputs_with_peaks([(32, 32, 32)] * 2, [200.0] * 2, root_depth=torch.tensor([[40.0]]))
    keypoints, _ = processor.assemble_hands(
        *processor.decode(outputs, BOX), *processor.decode_hands(outputs), axes="camera"
    )
    np.testing.assert_allclose(keypoints[0, :, 2], [0, 50])


def test_absent_hand_has_score_zero(processor: InterNetImageProcessor) -> None:
    outputs = outputs_with_peaks([(3, 4, 5)] * 2, [204.0, 102.0], hand_type=torch.tensor([[-2.0, 3.0]]))
    _, scores = processor.assemble_hands(*processor.decode(outputs, BOX), *processor.decode_hands(outputs))
    np.testing.assert_allclose(scores, [[0, 0.4]])


def test_small_scores_are_taken_for_probabilities(processor: InterNetImageProcessor) -> None:
    outputs = outputs_with_peaks([(3, 4, 5)] * 2, [0.9, 0.5])
    _, scores = processor.assemble_hands(*processor.decode(outputs, BOX), *processor.decode_hands(outputs))
    np.testing.assert_allclose(scores, [[0.9, 0.5]])


def test_hands_stand_on_the_ground(processor: InterNetImageProcessor) -> None:
    # The keypoint of the absent left hand is lower, but does not count.
    cells = [(10, 10, 32), (10, 20, 16), (10, 5, 32), (10, 50, 32)]
    outputs = outputs_with_peaks(cells, [200.0] * 4, hand_type=torch.tensor([[1.0, -1.0]]))
    keypoints, _ = processor.assemble_hands(*processor.decode(outputs, BOX), *processor.decode_hands(outputs))
    np.testing.assert_allclose(keypoints[0, :2], [[18, 0, 50], [18, -100, 0]])


def test_no_hand_at_all_stands_on_the_ground_too(processor: InterNetImageProcessor) -> None:
    outputs = outputs_with_peaks([(1, 2, 3), (4, 5, 6)], [9.0, 9.0], hand_type=torch.tensor([[-1.0, -1.0]]))
    (hands,) = processor.post_process_pose_estimation(outputs, [BOX])
    assert hands[0]["keypoints"][:, 2].min() == 0
    assert hands[0]["scores"].tolist() == [0, 0]
    assert hands[0]["hand_type"].tolist() == [False, False]


def test_hands_come_back_by_image(processor: InterNetImageProcessor) -> None:
    heatmaps = torch.rand(3, 42, 4, 4, 4)
    outputs = InterNetOutput(heatmaps=heatmaps, root_depth=torch.full((3, 1), 32.0), hand_type=torch.ones(3, 2))
    boxes = [np.repeat(BOX, 2, axis=0), np.zeros((0, 4)), BOX]
    people = processor.post_process_pose_estimation(outputs, boxes, threshold=0.98)
    assert [len(hands) for hands in people] == [2, 0, 1]
    hand = people[0][1]
    kept = heatmaps[1].flatten(1).max(1).values > 0.98
    assert hand["labels"].tolist() == kept.nonzero()[:, 0].tolist()
    assert hand["keypoints"].shape == (kept.sum(), 3)
    assert hand["keypoints_2d"].shape == (kept.sum(), 2)


def test_no_boxes_give_no_hands(processor: InterNetImageProcessor) -> None:
    outputs = InterNetOutput(
        heatmaps=torch.zeros(0, 42, 4, 4, 4), root_depth=torch.zeros(0, 1), hand_type=torch.zeros(0, 2)
    )
    assert processor.post_process_pose_estimation(outputs, [np.zeros((0, 4))]) == [[]]


def test_merging_with_the_mirrored_crop_is_symmetric(processor: InterNetImageProcessor) -> None:
    flip_indices = load_schema("interhand3d").flip_indices
    cells = torch.rand(1, 42, 4, 4, 4)
    outputs = InterNetOutput(heatmaps=cells, root_depth=torch.tensor([[40.0]]), hand_type=torch.tensor([[3.0, -1.0]]))
    mirrored = InterNetOutput(
        heatmaps=cells[:, list(flip_indices)].flip(-1),
        root_depth=torch.tensor([[24.0]]),
        hand_type=torch.tensor([[-1.0, 3.0]]),
    )
    merged = processor.merge_flipped(outputs, mirrored, flip_indices)
    for name, value in outputs.items():
        torch.testing.assert_close(merged[name], value)


def test_folder_gives_back_the_same_processor(tmp_path: Path) -> None:
    InterNetImageProcessor(depth_bound=300.0, do_rebase_height=False).save_pretrained(tmp_path)
    loaded = InterNetImageProcessor.from_pretrained(tmp_path)
    assert (loaded.depth_bound, loaded.do_rebase_height) == (300.0, False)
    assert dict(loaded.size) == {"height": 256, "width": 256}
