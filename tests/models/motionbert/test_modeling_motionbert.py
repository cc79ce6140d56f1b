from __future__ import annotations

import pytest
import torch

from golden import Golden, relative_error
from hfpose.errors import InputError
from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting
from seedweights import array_for


@pytest.mark.parametrize("frames", [1, 27, pytest.param(243, marks=pytest.mark.slow)])
def test_outputs_are_those_of_the_reference(
    frames: int, seeded_model: MotionBertForPoseLifting, golden: Golden
) -> None:
    clips = 1 if frames == 243 else 2  # one of the two long clips is enough, and takes half the time
    inputs = torch.from_numpy(array_for(f"x{frames}", (2, frames, 17, 3))[:clips])
    with torch.no_grad():
        keypoints_3d = seeded_model(inputs).keypoints_3d
    assert relative_error(keypoints_3d, golden.arrays[f"raw/T{frames}"][:clips]) < 1e-4


def test_padded_frames_do_not_change_the_others(small_model: MotionBertForPoseLifting) -> None:
    clip = torch.randn(2, 9, 17, 3)
    padded = torch.cat((clip, torch.full((2, 3, 17, 3), 7.0)), dim=1)
    mask = torch.arange(12).expand(2, 12) < 9
    with torch.no_grad():
        expected = small_model(clip).keypoints_3d
        masked = small_model(padded, frame_mask=mask).keypoints_3d[:, :9]
        unmasked = small_model(padded).keypoints_3d[:, :9]
    torch.testing.assert_close(masked, expected, rtol=0, atol=1e-5)
    assert (unmasked - expected).abs().max() > 1e-2


def test_flip_test_makes_the_lifter_symmetric(small_model: MotionBertForPoseLifting) -> None:
    flip_indices = small_model.flip_indices
    clip = torch.randn(1, 4, 17, 3)
    sign = torch.tensor([-1.0, 1.0, 1.0])
    with torch.no_grad():
        lifted = small_model(clip, flip_test=True).keypoints_3d
        mirrored = small_model((clip * sign)[:, :, flip_indices], flip_test=True).keypoints_3d
        plain = small_model(clip).keypoints_3d
    torch.testing.assert_close((mirrored * sign)[:, :, flip_indices], lifted)
    assert (plain - lifted).abs().max() > 1e-2


def test_loss_is_that_of_the_reference(small_model: MotionBertForPoseLifting) -> None:
    clip, labels = torch.randn(2, 5, 17, 3), torch.randn(2, 5, 17, 3)
    output = small_model(clip, labels=labels)
    predicted = output.keypoints_3d
    energy = predicted.square().sum(-1, keepdim=True).mean(-2, keepdim=True)
    scale = (labels * predicted).sum(-1, keepdim=True).mean(-2, keepdim=True) / energy
    expected = (
        (predicted - labels).norm(dim=-1).mean()
        + 0.5 * (scale * predicted - labels).norm(dim=-1).mean()
        + 20 * ((predicted[:, 1:] - predicted[:, :-1]) - (labels[:, 1:] - labels[:, :-1])).norm(dim=-1).mean()
    )
    torch.testing.assert_close(output.loss, expected)


def test_loss_of_a_padded_batch_looks_at_real_frames_only(small_model: MotionBertForPoseLifting) -> None:
    clip, labels = torch.randn(1, 12, 17, 3), torch.randn(1, 12, 17, 3)
    mask = torch.arange(12)[None] < 7
    changed = labels.clone()
    changed[:, 7:] += 5
    loss = small_model(clip, frame_mask=mask, labels=labels).loss
    torch.testing.assert_close(small_model(clip, frame_mask=mask, labels=changed).loss, loss)
    torch.testing.assert_close(loss, small_model(clip[:, :7], labels=labels[:, :7]).loss)


def test_loss_of_a_single_frame_is_finite(small_model: MotionBertForPoseLifting) -> None:
    loss = small_model(torch.randn(1, 1, 17, 3), labels=torch.randn(1, 1, 17, 3)).loss
    assert torch.isfinite(loss)


def test_new_model_fuses_both_streams_alike() -> None:
    model = MotionBertForPoseLifting(MotionBertConfig(hidden_size=16, num_hidden_layers=1, max_frames=3))
    fusion = model.backbone.layers[0].fusion
    assert fusion.weight.abs().max() == 0
    assert fusion.bias.tolist() == [0.5, 0.5]
    assert 0 < model.backbone.embeddings.temporal_embeddings.std() < 0.05


def test_streams_can_be_averaged(small_model: MotionBertForPoseLifting) -> None:
    config = MotionBertConfig(hidden_size=16, num_hidden_layers=1, max_frames=3, use_attention_fusion=False)
    model = MotionBertForPoseLifting(config).eval()
    assert not [name for name, _ in model.named_parameters() if "fusion" in name]
    assert model(torch.randn(1, 3, 17, 3)).keypoints_3d.shape == (1, 3, 17, 3)


def test_return_dict_false_gives_a_tuple(small_model: MotionBertForPoseLifting) -> None:
    (keypoints_3d,) = small_model(torch.randn(1, 3, 17, 3), return_dict=False)
    assert keypoints_3d.shape == (1, 3, 17, 3)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 3, 16, 3), "frames, 17, 3"), ((3, 17, 3), "frames, 17, 3"), ((1, 13, 17, 3), "1 to 12")],
)
def test_wrong_shapes_are_explained(
    shape: tuple[int, ...], message: str, small_model: MotionBertForPoseLifting
) -> None:
    with pytest.raises(InputError, match=message):
        small_model(torch.zeros(shape))


def test_schema_follows_the_number_of_keypoints() -> None:
    assert MotionBertConfig().keypoint_schema["name"] == "h36m"
    assert MotionBertConfig().id2label[0] == "root"
    assert MotionBertConfig(num_labels=18).keypoint_schema["name"] == "unnamed"


def test_loss_learns_a_clip_by_heart() -> None:
    torch.manual_seed(0)
    config = MotionBertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, representation_size=32, max_frames=3,
        initializer_range=0.1, velocity_loss_weight=2.0,
    )  # fmt: skip
    model = MotionBertForPoseLifting(config).train()
    clips = torch.randn(1, 3, 17, 3)
    labels = 0.3 * torch.randn(1, 1, 17, 3) + 0.03 * torch.randn(1, 3, 17, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=40)
    losses = []
    for _ in range(40):
        loss = model(clips, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        lifted = model.eval()(clips).keypoints_3d
    assert (lifted - labels).norm(dim=-1).mean() < 0.1 * labels.norm(dim=-1).mean()


def test_linear_layers_are_called_as_such_so_that_adapters_fit(small_model: MotionBertForPoseLifting) -> None:
    calls: list[bool] = []

    def note(layer: torch.nn.Linear, given: tuple[torch.Tensor, ...], _: object) -> None:
        calls.append(len(given) == 1 and given[0].shape[-1] == layer.in_features)

    layers = [module for module in small_model.modules() if isinstance(module, torch.nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    small_model(torch.randn(1, 2, 17, 3))
    for hook in hooks:
        hook.remove()
    assert len(calls) == len(layers)
    assert all(calls)
