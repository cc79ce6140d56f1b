"""Keypoints from heatmaps, checked against the reference's rules written out for one keypoint at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.models.shared.heatmaps import blur_heatmaps, blur_matrix, decode_heatmaps, flip_heatmaps

HEIGHT, WIDTH = 20, 16


def gaussians(points: np.ndarray, size: tuple[int, int] = (HEIGHT, WIDTH), sigma: float = 2.0) -> Tensor:
    """Heatmaps (N, K, H, W) with peaks of 1 at `points` (N, K, 2), in cells."""
    y, x = np.mgrid[: size[0], : size[1]]
    squared = (x - points[..., 0, None, None]) ** 2 + (y - points[..., 1, None, None]) ** 2
    return torch.from_numpy(np.exp(-squared / (2 * sigma**2)).astype(np.float32))


def random_heatmaps(seed: int = 0) -> Tensor:
    """Smooth heatmaps (3, 40, H, W) with maxima everywhere, borders and corners included, some of them not
    positive."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(3, 40, HEIGHT, WIDTH)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(heatmap, (5, 5), 0) for heatmap in noise.reshape(-1, HEIGHT, WIDTH)])
    smooth = smooth.reshape(noise.shape)
    smooth[0, ::5] -= 10
    smooth[1, 0], smooth[1, 1] = 0.0, -1.0
    smooth[2] *= 100
    return torch.from_numpy(smooth)


def blurred_by_opencv(heatmap: np.ndarray, kernel: int = 11) -> np.ndarray:
    padded = cv2.GaussianBlur(np.pad(heatmap, kernel // 2), (kernel, kernel), 0)
    blurred = padded[kernel // 2 : -(kernel // 2), kernel // 2 : -(kernel // 2)]
    return blurred * (heatmap.max() / blurred.max())


def decoded_singly(heatmaps: np.ndarray, decoding: str) -> np.ndarray:
    """The reference's rules for the heatmaps (K, H, W) of one person, keypoint by keypoint."""
    keypoints = []
    for index, heatmap in enumerate(heatmaps):
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        if heatmap.max() <= 0:
            x = y = -1
        rule = {"quarter": quarter_rule, "dark": dark_rule, "udp": udp_rule}[decoding]
        keypoints.append(np.array([x, y]) + rule(heatmaps, index, int(x), int(y)))
    return np.stack(keypoints)


def quarter_rule(heatmaps: np.ndarray, index: int, x: int, y: int) -> np.ndarray:
    step = np.zeros(2)
    if 1 < x < WIDTH - 1 and 0 < y < HEIGHT:
        step[0] = np.sign(heatmaps[index, y, x + 1] - heatmaps[index, y, x - 1])
    if 1 < y < HEIGHT - 1 and 0 < x < WIDTH:
        step[1] = np.sign(heatmaps[index, y + 1, x] - heatmaps[index, y - 1, x])
    return 0.25 * step


def dark_rule(heatmaps: np.ndarray, index: int, x: int, y: int) -> np.ndarray:
    if not (1 < x < WIDTH - 2 and 1 < y < HEIGHT - 2):
        return np.zeros(2)
    log = np.log(np.maximum(blurred_by_opencv(heatmaps[index]), 1e-10)).astype(np.float64)
    gradient_y, gradient_x = np.gradient(log)
    second_yy, _ = np.gradient(gradient_y)
    second_xy, second_xx = np.gradient(gradient_x)
    hessian = np.array([[second_xx[y, x], second_xy[y, x]], [second_xy[y, x], second_yy[y, x]]])
    return -np.linalg.solve(hessian, (gradient_x[y, x], gradient_y[y, x]))


def udp_rule(heatmaps: np.ndarray, index: int, x: int, y: int) -> np.ndarray:
    padded = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for heatmap in heatmaps:
            log = np.log(np.clip(blurred_by_opencv(heatmap), 1e-3, 50)).astype(np.float64)
            padded.append(np.pad(log, 1, mode="edge"))
    flat = np.stack(padded).ravel()
    at = ((index * (HEIGHT + 2)) + y + 1) * (WIDTH + 2) + x + 1

    def value(dx: int, dy: int) -> float:
        return flat[at + dx + dy * (WIDTH + 2)]  # before the first one numpy reads from the end

    dx = 0.5 * (value(1, 0) - value(-1, 0))
    dy = 0.5 * (value(0, 1) - value(0, -1))
    dxx = value(1, 0) - 2 * value(0, 0) + value(-1, 0)
    dyy = value(0, 1) - 2 * value(0, 0) + value(0, -1)
    cross = value(1, 1) - value(1, 0) - value(0, 1) + 2 * value(0, 0) - value(-1, 0) - value(0, -1) + value(-1, -1)
    hessian = np.array([[dxx, 0.5 * cross], [0.5 * cross, dyy]]) + np.finfo(np.float32).eps * np.eye(2)
    return -np.linalg.solve(hessian, (dx, dy)) if np.isfinite(hessian).all() else np.zeros(2)


@pytest.mark.parametrize("decoding", ["quarter", "dark", "udp"])
def test_batches_are_decoded_as_single_keypoints_are(decoding: str) -> None:
    heatmaps = random_heatmaps()
    keypoints, scores = decode_heatmaps(heatmaps, decoding)
    expected = np.stack([decoded_singly(person, decoding) for person in heatmaps.numpy()])
    # Where the curvature is next to nothing, rounding decides how far the peak is.
    calm = np.abs(expected - expected.round()).max(-1) < 2
    assert calm.mean() > 0.95
    np.testing.assert_allclose(keypoints.numpy()[calm], expected[calm], atol=2e-3)
    np.testing.assert_array_equal(scores.numpy(), heatmaps.numpy().max((2, 3)))


def combined_singly(heatmaps: np.ndarray, blur_kernel_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The reference's rules for the maps (3 * K, H, W) of one person, keypoint by keypoint."""
    keypoints, scores = [], []
    radius = 0.1 * max(HEIGHT, WIDTH)
    offsets = [heatmaps[1::3].ravel(), heatmaps[2::3].ravel()]
    for index, responses in enumerate(heatmaps[::3]):
        size = 2 * blur_kernel_size + 1
        blurred = cv2.GaussianBlur(responses, (size, size), 0)
        y, x = np.unravel_index(blurred.argmax(), blurred.shape) if blurred.max() > 0 else (-1, -1)
        place = x + y * WIDTH + index * WIDTH * HEIGHT  # before the first one numpy reads from the end
        keypoints.append([x + offsets[0][place] * radius, y + offsets[1][place] * radius])
        scores.append(blurred.max())
    return np.array(keypoints), np.array(scores)


def test_offsets_are_read_where_the_smoothed_responses_are_greatest() -> None:
    heatmaps = random_heatmaps()[:, :39]
    heatmaps[2] /= 100
    keypoints, scores = decode_heatmaps(heatmaps, "udp_combined", blur_kernel_size=3, radius_factor=0.1)
    expected = [combined_singly(person, 3) for person in heatmaps.numpy()]
    np.testing.assert_allclose(keypoints.numpy(), np.stack([each[0] for each in expected]), atol=1e-4)
    np.testing.assert_allclose(scores.numpy(), np.stack([each[1] for each in expected]), atol=1e-5)


def megvii_singly(heatmaps: np.ndarray, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """The reference's rules for the heatmaps (K, H, W) of one person, keypoint by keypoint."""
    keypoints, scores = [], []
    for heatmap in heatmaps:
        blurred = blurred_by_opencv(heatmap, kernel)
        y, x = np.unravel_index(blurred.argmax(), blurred.shape) if blurred.max() > 0 else (-1, -1)
        step = np.zeros(2)
        if 1 < x < WIDTH - 1 and 1 < y < HEIGHT - 1:
            slopes = [blurred[y, x + 1] - blurred[y, x - 1], blurred[y + 1, x] - blurred[y - 1, x]]
            step = np.sign(slopes) * 0.25 + 0.5
        keypoints.append(np.array([x, y]) + step)
        scores.append(blurred.max() / 255 + 0.5)
    return np.array(keypoints), np.array(scores)


def test_megvii_heatmaps_are_decoded_as_single_keypoints_are() -> None:
    heatmaps = random_heatmaps()[:1]
    keypoints, scores = decode_heatmaps(heatmaps, "megvii", blur_kernel_size=5)
    expected = [megvii_singly(person, 5) for person in heatmaps.numpy()]
    np.testing.assert_array_equal(keypoints.numpy(), np.stack([each[0] for each in expected]))
    np.testing.assert_allclose(scores.numpy(), np.stack([each[1] for each in expected]), rtol=1e-5)


@pytest.mark.parametrize("decoding", ["dark", "udp"])
def test_peaks_are_found_between_cells(decoding: str) -> None:
    points = np.random.default_rng(1).uniform(6, 41, (4, 17, 2))
    keypoints, scores = decode_heatmaps(gaussians(points, (64, 48)), decoding)
    assert np.abs(keypoints.numpy() - points).max() < 0.02
    assert scores.min() > 0.9


def test_quarter_step_goes_to_the_greater_neighbor() -> None:
    points = np.array([[[5.4, 8.6], [5.0, 8.0], [9.6, 8.3]]])
    keypoints, _ = decode_heatmaps(gaussians(points))
    assert keypoints.tolist() == [[[5.25, 8.75], [5.0, 8.0], [9.75, 8.25]]]


@pytest.mark.parametrize("decoding", ["quarter", "dark", "udp"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_maps_without_a_response_lie_outside(decoding: str, value: float) -> None:
    keypoints, _ = decode_heatmaps(torch.full((2, 3, HEIGHT, WIDTH), value), decoding)
    np.testing.assert_allclose(keypoints.numpy(), -1, atol=1e-6)


@pytest.mark.parametrize("decoding", ["quarter", "dark", "udp"])
def test_flat_maps_give_finite_keypoints(decoding: str) -> None:
    keypoints, scores = decode_heatmaps(torch.full((1, 2, HEIGHT, WIDTH), 100.0), decoding)
    assert keypoints.isfinite().all()
    assert scores.tolist() == [[100.0, 100.0]]


@pytest.mark.parametrize("decoding", ["quarter", "dark", "udp"])
def test_no_people(decoding: str) -> None:
    keypoints, scores = decode_heatmaps(torch.zeros(0, 17, HEIGHT, WIDTH), decoding)
    assert keypoints.shape == (0, 17, 2)
    assert scores.shape == (0, 17)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_with_gradients(dtype: torch.dtype) -> None:
    heatmaps = gaussians(np.full((1, 3, 2), 8.0)).to(dtype).requires_grad_()
    keypoints, scores = decode_heatmaps(heatmaps, "udp")
    assert keypoints.dtype == scores.dtype == torch.float32
    np.testing.assert_allclose(keypoints.numpy(), 8, atol=0.02)


def test_unknown_decoding() -> None:
    with pytest.raises(ConfigError, match=r"'softmax'.*'quarter', 'dark', 'udp'"):
        decode_heatmaps(torch.zeros(1, 1, 4, 4), "softmax")


@pytest.mark.parametrize("kernel", [3, 7, 11, 17])
def test_blur_is_that_of_opencv(kernel: int) -> None:
    heatmaps = random_heatmaps()[2:]
    expected = np.stack([blurred_by_opencv(heatmap, kernel) for heatmap in heatmaps[0].numpy()])
    np.testing.assert_allclose(blur_heatmaps(heatmaps, kernel)[0].numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [3, 11, 23])
def test_blur_that_mirrors_values_is_that_of_opencv(kernel: int) -> None:
    heatmap = random_heatmaps()[0, 1]
    along_y, along_x = (blur_matrix(size, kernel, reflects=True) for size in heatmap.shape)
    expected = cv2.GaussianBlur(heatmap.numpy(), (kernel, kernel), 0)
    np.testing.assert_allclose((along_y @ heatmap @ along_x.T).numpy(), expected, atol=1e-5)


def test_flipping_turns_x_offsets_around() -> None:
    flipped = torch.rand(2, 6, 4, 5)
    restored = flip_heatmaps(flipped, (1, 0), shift=False, combined=True)
    for part, sign in enumerate((1, -1, 1)):
        torch.testing.assert_close(restored[:, part], sign * flipped[:, 3 + part].flip(-1))


def test_flipping_swaps_mirror_images() -> None:
    flipped = torch.rand(2, 3, 4, 5)
    restored = flip_heatmaps(flipped, (0, 2, 1), shift=False)
    torch.testing.assert_close(restored[:, 1], flipped[:, 2].flip(-1))
    torch.testing.assert_close(restored[:, 0], flipped[:, 0].flip(-1))


def test_flipping_moves_mirror_images_by_a_cell() -> None:
    flipped = torch.rand(2, 3, 4, 5)
    shifted = flip_heatmaps(flipped, (0, 2, 1), shift=True)
    plain = flip_heatmaps(flipped, (0, 2, 1), shift=False)
    torch.testing.assert_close(shifted[..., 1:], plain[..., :-1])
    torch.testing.assert_close(shifted[..., 0], plain[..., 0])
