"""Where people are in space: from 2D keypoints, poses relative to the root, and what is known of the camera.

Everything is in the axes of 3D results about the camera: x left, y toward the camera (what is seen has y < 0), z up,
meters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hfpose.tracking.filters import smooth_zero_phase

# Hz. The size of a person in the image, which tells the depth, is known less well than the place: it errs with their
# pose, so with every stride and jump, which come faster than this.
_DEPTH_CUTOFF, _PLACE_CUTOFF = 0.7, 6.0
# Feet within so many meters of the ground stand on it.
_STANCE = 0.04
# Share of what lies above the ground in the first guess, as feet in the air do.
_ABOVE = 0.05
# Square meters that the places of feet spread over, across the view and in depth, from which on they tell more of how
# the ground leans than that it is level; cameras roll little and are tilted more.
_SPREAD = (2.0, 0.015)
_ROUNDS = 5


def root_places(
    keypoints: np.ndarray,
    keypoints_2d: np.ndarray,
    scores: np.ndarray,
    times: np.ndarray,
    focal_length: float,
    center: np.ndarray,
) -> np.ndarray:
    """Where the root of a person is in each frame.

    Their bones are taken to be as long as they are in `keypoints`: of a person who is larger everything is farther
    away.

    Args:
        keypoints: (T, K, 3) relative to the root.
        keypoints_2d: (T, K, 2) pixels.
        scores: (T, K) weights of the keypoints.
        times: (T,) seconds.
        focal_length: in pixels.
        center: (2,) pixel that the camera looks at.

    Returns:
        (T, 3) meters.
    """
    usable = np.isfinite(keypoints).all(-1) & np.isfinite(keypoints_2d).all(-1)
    weights = np.where(usable, np.clip(scores, 1e-3, 1), 0)[..., None]
    poses = np.where(usable[..., None], keypoints, 0)
    slopes = (np.where(usable[..., None], keypoints_2d, center) - center) / focal_length  # of the ray to a keypoint
    across, depths = poses[..., [0, 2]], poses[..., 1:2]
    # A keypoint lies on its ray: across + root across = slopes * (depths + root depth), linear in the root.
    target = slopes * depths - across
    total = np.maximum(weights.sum(1), 1e-9)
    mean_slope, mean_target = (weights * slopes).sum(1) / total, (weights * target).sum(1) / total
    spread, residual = slopes - mean_slope[:, None], target - mean_target[:, None]
    energy = (weights * spread**2).sum((1, 2))
    root_depth = -(weights * spread * residual).sum((1, 2)) / np.maximum(energy, 1e-12)
    root_depth = -np.exp(smooth_zero_phase(np.log(np.maximum(-root_depth, 0.1)), times, _DEPTH_CUTOFF))
    places = mean_slope * root_depth[:, None] + mean_target
    places = smooth_zero_phase(places, times, _PLACE_CUTOFF)
    return np.stack((places[:, 0], root_depth, places[:, 1]), axis=-1)


@dataclass(frozen=True)
class Ground:
    """The plane z = height + slope_x * x + slope_y * y."""

    height: float
    slope_x: float
    slope_y: float

    @property
    def up(self) -> np.ndarray:
        """(3,) unit vector."""
        normal = np.array([-self.slope_x, -self.slope_y, 1.0])
        return normal / np.linalg.norm(normal)

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Meters of points (..., 3) above the plane."""
        return (points - (0, 0, self.height)) @ self.up


def fit_ground(feet: np.ndarray) -> Ground:
    """The plane on which a person's feet stand.

    The lowest foot of each frame stands on it unless the person is in the air, so it is fitted to those of them that
    are not above the others. Where they do not tell how it leans, it is level.

    Args:
        feet: (T, F, 3) meters; those that are not finite are not there.
    """
    feet = feet[np.isfinite(feet).all((1, 2))]
    if not len(feet):
        return Ground(0.0, 0.0, 0.0)
    middle = feet.mean((0, 1)) * (1, 1, 0)
    prior = np.diag([1e-9, *_SPREAD])
    plane = np.zeros(3)

    def lowest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Terms (T, 3) of the plane, heights (T,) of the lowest feet in them, and above the plane."""
        all_terms = np.concatenate((np.ones((*feet.shape[:2], 1)), (feet - middle)[..., :2]), axis=-1)
        above = feet[..., 2] - all_terms @ plane
        rows = np.arange(len(feet)), above.argmin(1)
        return all_terms[rows], feet[..., 2][rows], above[rows]

    for weigh in (np.ones_like, _mostly_below, _near_the_lower):
        for _ in range(_ROUNDS):
            terms, heights, above = lowest()
            weights = weigh(above)
            weights = weights / max(weights.sum(), 1e-9)
            plane = np.linalg.solve(terms.T @ (weights[:, None] * terms) + prior, terms.T @ (weights * heights))
    return Ground(float(plane[0] - plane[1:] @ middle[:2]), float(plane[1]), float(plane[2]))


def _mostly_below(above: np.ndarray) -> np.ndarray:
    return np.where(above > 0, _ABOVE, 1.0)


def _near_the_lower(above: np.ndarray) -> np.ndarray:
    """1 for heights (T,) near the middle of the lower half, which stand, else 0."""
    return (np.abs(above - np.percentile(above, 25)) < _STANCE).astype(float)


def even_size(keypoints: np.ndarray, skeleton: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Keypoints (T, K, 3), scaled in each frame so that all bones together are as long as they are over the clip.

    A person does not grow. A lifter that sees poses in their boxes takes one who turns or bends for larger or smaller.

    Args:
        keypoints: (T, K, 3) relative to the root.
        skeleton: (L, 2) keypoints that bones join.
        times: (T,) seconds.
    """
    bones = keypoints[:, skeleton[:, 0]] - keypoints[:, skeleton[:, 1]]
    lengths = np.nansum(np.linalg.norm(bones, axis=-1), axis=1)
    sizes = smooth_zero_phase(np.log(np.maximum(lengths, 1e-6)), times, _DEPTH_CUTOFF)
    return keypoints * np.exp(np.median(sizes) - sizes)[:, None, None].astype(keypoints.dtype)
