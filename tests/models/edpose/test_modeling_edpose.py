"""ED-Pose: boxes, then keypoints."""

from __future__ import annotations

import math

import numpy as np
import torch

from hfpose.models.edpose.modeling_edpose import EDPoseDeformableAttention, inverse_sigmoid, sines


def test_outputs_have_a_row_for_each_instance(model, processor):
    image = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    with torch.no_grad():
        outputs = model(**processor(image, return_tensors="pt"), output_hidden_states=True)
    assert outputs.logits.shape == (1, 5, 2)
    assert outputs.pred_boxes.shape == (1, 5, 4)
    assert outputs.pred_keypoints.shape == (1, 5, 17, 2)
    assert len(outputs.hidden_states) == 3
    (some,) = processor.instances(outputs, [(70, 100)])
    assert some.keypoints.shape == (4, 17, 2)  # the best four
    assert (np.diff(some.box_scores) <= 0).all()
    assert (some.keypoint_scores == some.box_scores[:, None]).all()
    best = int(outputs.logits[0].amax(-1).argmax())
    np.testing.assert_allclose(some.keypoints[0], outputs.pred_keypoints[0, best] * torch.tensor([100, 70]), rtol=1e-5)
    (better,) = processor.instances(outputs, [(70, 100)], threshold=float(some.box_scores[1]))
    assert len(better.boxes) >= 2


def test_a_person_does_not_look_at_the_keypoints_of_another(model):
    hidden = model.decoder._hidden(2 * 18, torch.device("cpu"))
    box, keypoint, other_box, other_keypoint = 0, 1, 18, 19
    assert not hidden[box, keypoint]
    assert not hidden[keypoint, box]
    assert not hidden[box, other_box]
    assert hidden[keypoint, other_box]
    assert hidden[keypoint, other_keypoint]
    assert hidden[box, other_keypoint]


def test_attention_reads_the_cells_it_points_at(model):
    """With one place for each head and map, without offsets, at a cell's middle: the mean of these cells of all
    maps."""
    attention = EDPoseDeformableAttention(model.config)
    for layer in (attention.sampling_offsets, attention.attention_weights):
        torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    for layer in (attention.value_proj, attention.output_proj):
        torch.nn.init.eye_(layer.weight), torch.nn.init.zeros_(layer.bias)
    shapes = [(4, 4), (2, 2), (2, 2), (1, 1)]
    cells = torch.randn(1, 25, 32)
    references = torch.tensor([0.125, 0.375]).expand(1, 1, 4, 2).clone()  # column 0, row 1 of four
    references[:, :, 1:3] = torch.tensor([0.25, 0.75])
    references[:, :, 3] = 0.5
    with torch.no_grad():
        found = attention(torch.randn(1, 1, 32), cells, torch.zeros(1, 25, dtype=torch.bool), references, shapes)
        is_padding = torch.zeros(1, 25, dtype=torch.bool)
        is_padding[:, 4] = True
        without_padding = attention(torch.randn(1, 1, 32), cells, is_padding, references, shapes)
    torch.testing.assert_close(found[0, 0], cells[0, [4, 18, 22, 24]].mean(0))
    torch.testing.assert_close(without_padding[0, 0], cells[0, [18, 22, 24]].sum(0) / 4)


def test_sines_and_logits():
    expected = [math.sin(0.5), math.cos(0.5), math.sin(0.05), math.cos(0.05)]
    torch.testing.assert_close(sines(torch.tensor(0.5), 4, 100.0), torch.tensor(expected))
    torch.testing.assert_close(inverse_sigmoid(torch.tensor([0.2, 0.9])).sigmoid(), torch.tensor([0.2, 0.9]))
    assert inverse_sigmoid(torch.tensor([0.0, 1.0])).isfinite().all()
