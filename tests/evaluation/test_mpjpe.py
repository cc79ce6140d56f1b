"""Human3.6M's protocols: results of MMPose 1.3.2's evaluator, and lifters that are run on the annotated 2D
keypoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import hfpose
from hfpose.errors import InputError
from hfpose.evaluation.metrics import Metrics
from hfpose.evaluation.mpjpe import evaluate_human36m, lift_human36m, read_array
from hfpose.pipelines.stage import Stage

FOCAL_LENGTH, CENTER = 1150.0, 505.0
CLIPS = ("S9_Directions_1.54138969", "S11_Walking.58860488")


def measure(data: Path, results: Path) -> Metrics:
    return evaluate_human36m(data, read_array(results, "keypoints"), source=results)


def human36m_files(folder: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(3)
    target = np.concatenate([rng.normal(size=(40, 17, 3)) * 0.4, rng.uniform(size=(40, 17, 1)) > 0.1], -1)
    takes = ["Directions_1.54138969", "SittingDown.54138969", "Walking_2.58860488", "Walking.58860488"] * 10
    names = np.array([f"S9/S9_{take}/S9_{take}_{index:06d}.jpg" for index, take in enumerate(takes)])
    predicted = target[..., :3] * rng.uniform(0.8, 1.2, (40, 1, 1)) + rng.normal(size=(40, 17, 3)) * 0.05
    predicted += rng.normal(size=(40, 1, 3)) * 0.1
    np.savez(folder / "data.npz", S=target, imgname=names)
    np.savez(folder / "results.npz", keypoints=predicted)
    return folder / "data.npz", folder / "results.npz"


def test_human36m_has_two_protocols_and_its_actions(tmp_path):
    expected = {
        "MPJPE": 0.1920144, "MPJPE Directions": 0.1844319, "MPJPE SittingDown": 0.1865568, "MPJPE Walking": 0.1986401,
        "P-MPJPE": 0.0806986, "P-MPJPE Directions": 0.0806495, "P-MPJPE SittingDown": 0.0733121,
        "P-MPJPE Walking": 0.0843177,
    }  # fmt: skip
    assert measure(*human36m_files(tmp_path)) == pytest.approx(expected, abs=5e-6)


def test_human36m_results_of_another_number_are_refused(tmp_path):
    data, results = human36m_files(tmp_path)
    np.savez(results, keypoints=np.zeros((39, 17, 3)))
    with pytest.raises(InputError, match=r"\(39, 17, 3\)"):
        measure(data, results)


def filmed(folder: Path, frames: int = 4) -> tuple[Path, np.ndarray]:
    """Two clips of people who stand before cameras without distortion, frames of which alternate; (2, T, 17, 3)."""
    rng = np.random.default_rng(5)
    people = rng.normal(size=(2, 1, 17, 3)) * 0.3 + rng.normal(size=(2, frames, 17, 3)) * 0.02
    people += np.array([[0.4, 0.1, 4.0], [-0.3, 0.2, 5.5]])[:, None, None]
    pixels = people[..., :2] / people[..., 2:] * FOCAL_LENGTH + CENTER
    names = [f"{CLIPS[clip]}_{index + 1:06d}.jpg" for index in range(frames) for clip in (0, 1)]
    target = np.concatenate((people, np.ones((*people.shape[:3], 1))), -1)
    in_turns = target.swapaxes(0, 1).reshape(-1, 17, 4)
    path = folder / "filmed.npz"
    np.savez(path, S=in_turns, part=pixels.swapaxes(0, 1).reshape(-1, 17, 2), imgname=np.array(names, bytes))
    return path, people


def motionbert() -> Stage:
    config = hfpose.MotionBertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, representation_size=16, max_frames=8
    )
    return Stage(hfpose.MotionBertForPoseLifting(config), hfpose.MotionBertImageProcessor())


def temporal_convolution() -> Stage:
    config = hfpose.TemporalConvolutionConfig(hidden_size=16, kernel_sizes=(3, 1))
    return Stage(hfpose.TemporalConvolutionForPoseLifting(config), hfpose.TemporalConvolutionImageProcessor())


@pytest.mark.parametrize("make", [motionbert, temporal_convolution])
def test_lifters_are_measured_on_annotated_keypoints(tmp_path, make):
    torch.manual_seed(0)
    stage, (data, people) = make(), filmed(tmp_path)
    stage.model.eval()
    errors = []
    for own, height in zip(people, (1002, 1000), strict=True):
        pixels = own[..., :2] / own[..., 2:] * FOCAL_LENGTH + CENTER
        encoded = (pixels - np.array([500, height / 2])) / 500
        if make is motionbert:
            encoded = np.concatenate((encoded, np.ones((*encoded.shape[:2], 1))), -1)
        with torch.no_grad():
            lifted = stage.model(torch.tensor(encoded[None], dtype=torch.float32)).keypoints_3d[0].double().numpy()
        if make is motionbert:  # half images of 1000 pixels, each as wide as it is at the depth of the root
            lifted[:, 0] = 0
            lifted *= 500 * own[:, :1, 2:] / FOCAL_LENGTH
        errors.append(np.linalg.norm(lifted - (own - own[:, :1]), axis=-1))
    metrics = evaluate_human36m(data, lift_human36m(stage, data))
    assert metrics["MPJPE"] == pytest.approx(np.mean(errors), abs=5e-6)
    assert metrics["MPJPE Directions"] == pytest.approx(np.mean(errors[0]), abs=5e-6)
    assert set(evaluate_human36m(data, lift_human36m(stage, data), ["P-MPJPE"])) == {
        "P-MPJPE", "P-MPJPE Directions", "P-MPJPE Walking"
    }  # fmt: skip


def test_results_relative_to_the_root_are_compared_so(tmp_path):
    data, people = filmed(tmp_path)
    relative = (people - people[:, :, :1]).swapaxes(0, 1).reshape(-1, 17, 3)
    assert evaluate_human36m(data, relative)["MPJPE"] == pytest.approx(0)


def test_a_lifter_in_pixels_needs_keypoints_before_the_camera(tmp_path):
    data, _ = filmed(tmp_path)
    content = dict(np.load(data))
    content["S"][..., :3] -= content["S"][:, :1, :3]
    np.savez(data, **content)
    with pytest.raises(InputError, match="not relative to the root"):
        lift_human36m(motionbert(), data)
