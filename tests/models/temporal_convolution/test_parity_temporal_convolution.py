from __future__ import annotations

import numpy as np
import pytest
import torch

from golden import Golden, relative_error
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry, list_entries
from seedweights import array_for


def with_root_left_out(golden: Golden, poses: np.ndarray) -> np.ndarray:
    return poses[..., poses.shape[-2] - golden.spec["head"]["num_joints"] :, :]


def test_outputs_are_those_of_the_reference(golden: Golden) -> None:
    """Of a clip as long as the receptive field the reference gives the frame in the middle."""
    frames = golden.spec["frames"]
    model = build_model(ModelSource.from_entry(get_entry(golden.name)), golden.state_dict(), golden.name).eval()
    clips = torch.from_numpy(array_for("x", (2, 34, frames))).transpose(1, 2).unflatten(-1, (17, 2))
    with torch.no_grad():
        lifted = model(clips).keypoints_3d[:, frames // 2]
    given = torch.from_numpy(with_root_left_out(golden, lifted.numpy()))
    assert relative_error(given, golden.arrays["raw/out"]) < 1e-4


def test_track_is_encoded_lifted_and_decoded_as_by_the_reference(golden: Golden) -> None:
    frames = golden.spec["frames"]
    source = ModelSource.from_entry(get_entry(golden.name))
    model = build_model(source, golden.state_dict(), golden.name).eval()
    processor = source.conversion.image_processor_from_reference(source.reference)
    keypoints = golden.arrays["codec/keypoints2d"]
    inputs = processor(keypoints, (1000, 1000), do_normalize_boxes=False, return_tensors="pt")
    encoded = inputs["keypoints_2d"][0].flatten(1).T
    np.testing.assert_allclose(encoded, golden.arrays["codec/encoded"], rtol=0, atol=1e-5)
    with torch.no_grad():
        outputs = model(**inputs).keypoints_3d[:, frames // 2 : frames // 2 + 1]
    assert (
        relative_error(
            torch.from_numpy(with_root_left_out(golden, outputs[:, 0].numpy())), golden.arrays["codec/model_out"]
        )
        < 1e-4
    )
    root = golden.arrays["codec/decoded"] - np.pad(
        golden.arrays["codec/model_out"], [(0, 0), (17 - golden.spec["head"]["num_joints"], 0), (0, 0)]
    )
    decoded = processor.post_process_pose_lifting(
        outputs, (1000, 1000), roots=root[:, 0], axes="camera", do_rebase_height=False
    )
    assert relative_error(torch.from_numpy(decoded[0]), golden.arrays["codec/decoded"]) < 1e-4


@pytest.mark.parametrize(
    "entry",
    [entry for entry in list_entries("lifter") if entry.family == "temporal_convolution"],
    ids=lambda entry: entry.name,
)
def test_every_published_model_builds(entry) -> None:
    source = ModelSource.from_entry(entry)
    with torch.device("meta"):
        model = source.conversion.MODEL_CLASS(source.conversion.config_from_reference(source.reference, source.schema))
    stated = 1 if entry.name.startswith("image") else int(entry.name.split("frm")[0].split("-")[-1])
    assert model.config.receptive_field == stated


def test_trajectory_of_semi_supervised_training_is_left_out() -> None:
    entry = get_entry("video-pose-lift_tcn-27frm-semi-supv_8xb64-200e_h36m")
    source = ModelSource.from_entry(entry)
    config = source.conversion.config_from_reference(source.reference)
    tensors = {name: torch.zeros(1) for name in ("traj_head.conv.weight", "keypoint_head.conv.weight", "other")}
    assert list(source.conversion.convert_state_dict(tensors, config)) == ["head.weight", "other"]
