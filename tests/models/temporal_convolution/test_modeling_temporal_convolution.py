from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hfpose.backends.onnx_graphs import export_graph
from hfpose.errors import ConfigError, InputError
from hfpose.models.temporal_convolution.configuration_temporal_convolution import TemporalConvolutionConfig
from hfpose.models.temporal_convolution.image_processing_temporal_convolution import TemporalConvolutionImageProcessor
from hfpose.models.temporal_convolution.modeling_temporal_convolution import TemporalConvolutionForPoseLifting
from networks import losses_of_steps


def made(**settings: object) -> TemporalConvolutionForPoseLifting:
    torch.manual_seed(0)
    return TemporalConvolutionForPoseLifting(TemporalConvolutionConfig(hidden_size=16, **settings)).eval()


@torch.no_grad()
def lifted(model: TemporalConvolutionForPoseLifting, clips: torch.Tensor, **inputs: object) -> torch.Tensor:
    return model(clips, **inputs).keypoints_3d


@pytest.mark.parametrize(("causal", "before", "after"), [(False, 4, 4), (True, 8, 0)])
def test_frames_of_the_receptive_field_count(causal: bool, before: int, after: int) -> None:
    model = made(kernel_sizes=(3, 3), is_causal=causal)
    clip = torch.randn(1, 30, 17, 2)
    changed = clip.clone()
    changed[:, 15] += 1
    moved = (lifted(model, changed) - lifted(model, clip)).abs().amax((0, 2, 3)) > 1e-6
    assert moved.nonzero()[:, 0].tolist() == list(range(15 - after, 15 + before + 1))


def test_ends_of_a_clip_are_repeated(small_model: TemporalConvolutionForPoseLifting) -> None:
    clip = torch.randn(2, 5, 17, 2)
    longer = torch.cat((clip[:, :1].expand(-1, 4, -1, -1), clip, clip[:, -1:].expand(-1, 4, -1, -1)), dim=1)
    torch.testing.assert_close(lifted(small_model, longer)[:, 4:9], lifted(small_model, clip))


def test_padded_frames_do_not_change_the_others(small_model: TemporalConvolutionForPoseLifting) -> None:
    clips = torch.randn(2, 12, 17, 2)
    mask = torch.arange(12) < torch.tensor([[7], [12]])
    masked = lifted(small_model, clips, frame_mask=mask)
    torch.testing.assert_close(masked[:1, :7], lifted(small_model, clips[:1, :7]))
    torch.testing.assert_close(masked[1:], lifted(small_model, clips[1:]))


def test_root_that_is_not_predicted_is_zero() -> None:
    model = made(kernel_sizes=(1, 1), predicts_root=False, root_index=2, loss_type="mse")
    clip = torch.randn(1, 3, 17, 2)
    keypoints = lifted(model, clip)
    assert keypoints.shape == (1, 3, 17, 3)
    assert (keypoints[:, :, 2] == 0).all()
    labels = keypoints.clone()
    labels[:, :, 2] = 7  # nothing is learned from it
    assert model(clip, labels=labels).loss < 1e-9
    torch.testing.assert_close(model(clip, labels=labels + 2).loss, torch.tensor(4.0))


def test_loss_is_the_mean_distance(small_model: TemporalConvolutionForPoseLifting) -> None:
    clip = torch.randn(2, 5, 17, 2)
    labels = lifted(small_model, clip) + torch.tensor([3.0, 4.0, 0.0])
    torch.testing.assert_close(small_model(clip, labels=labels).loss, torch.tensor(5.0))


def test_flip_test_makes_the_lifter_symmetric(small_model: TemporalConvolutionForPoseLifting) -> None:
    clip = torch.randn(1, 4, 17, 2)
    mirrored = (clip * torch.tensor([-1.0, 1.0]))[:, :, small_model.flip_indices]
    other = lifted(small_model, mirrored, flip_test=True) * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(other[:, :, small_model.flip_indices], lifted(small_model, clip, flip_test=True))


def test_loss_learns_a_few_clips_by_heart() -> None:
    model = made(kernel_sizes=(3, 3), hidden_dropout_prob=0.0).train()
    clips, labels = torch.randn(4, 5, 17, 2), torch.randn(4, 5, 17, 3)
    losses = losses_of_steps(model, 50, 2e-2, keypoints_2d=clips, labels=labels)
    assert losses[-1] < 0.3 * losses[0]


def test_folder_gives_back_the_same_model_and_processor(tmp_path: Path) -> None:
    model = made(kernel_sizes=(1, 1), predicts_root=False)
    processor = TemporalConvolutionImageProcessor(
        target_mean=np.ones((17, 3)).tolist(), target_std=np.ones((17, 3)).tolist()
    )
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    clip = torch.randn(1, 2, 17, 2)
    again = TemporalConvolutionForPoseLifting.from_pretrained(tmp_path)
    torch.testing.assert_close(lifted(again, clip), lifted(model, clip))
    assert TemporalConvolutionImageProcessor.from_pretrained(tmp_path).target_mean == processor.target_mean


@pytest.mark.parametrize("settings", [{"kernel_sizes": (3, 3)}, {"kernel_sizes": (1, 1), "predicts_root": False}])
def test_graph_computes_clips_of_any_length(settings: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    differences = export_graph(made(**settings), TemporalConvolutionImageProcessor(), tmp_path / "model.onnx")
    assert differences["keypoints_3d"].relative < 1e-4


@pytest.mark.parametrize(
    "settings", [{"kernel_sizes": (2,)}, {"kernel_sizes": ()}, {"kernel_sizes": (3,) * 20}, {"hidden_size": 10**9}]
)
def test_unreasonable_sizes_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"kernel_sizes|hidden_size"):
        TemporalConvolutionConfig(**settings)


def test_wrong_shapes_are_explained(small_model: TemporalConvolutionForPoseLifting) -> None:
    with pytest.raises(InputError, match="frames, 17, 2"):
        small_model(torch.zeros(1, 3, 17, 3))


def test_statistics_come_in_pairs() -> None:
    with pytest.raises(ConfigError, match="keypoints_mean and keypoints_std"):
        TemporalConvolutionImageProcessor(keypoints_mean=[[0, 0]])
