"""Random changes of training samples: geometry as one affine warp, then colors, blur and a cut-out.

Source: the training pipelines of RTMPose and RTMDet, that is `mmpose.datasets.transforms` (`RandomFlip`,
`RandomHalfBody`, `RandomBBoxTransform`, `TopdownAffine`), `mmdet.datasets.transforms` (`RandomResize`, `RandomCrop`,
`YOLOXHSVRandomAug`) and albumentations (`Blur`, `MedianBlur`, `CoarseDropout`).

Everything random comes from a `numpy.random.Generator` that the caller gives, so that a sample is a function of its
seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from hfpose.keypoints import KeypointSchema
from hfpose.models.shared.top_down import box_centers_and_scales, crop_matrices
from hfpose.ops.affine import warp_affine
from hfpose.ops.boxes import extents

# Conditions of the half body: labeled keypoints in all, of the upper and of the lower body.
MIN_KEYPOINTS, MIN_UPPER_KEYPOINTS, MIN_LOWER_KEYPOINTS = 9, 2, 3
UPPER_BODY_PROBABILITY = 0.7
HALF_BODY_PADDING = 1.5

BLUR_SIZES = (3, 5, 7)

# Share of a run at whose end the augmentation is the later one, as in RTMPose's training (30 of 420 epochs).
LATE_SHARE = 30 / 420

# Boxes of which less than this is left, in pixels of the network's input, are no objects any more.
MIN_BOX_SIDE = 2.0


@dataclass(frozen=True)
class PersonSample:
    """A person: image (H, W, 3), box (4,) x1, y1, x2, y2, keypoints (K, 2) in pixels, visibility (K,)."""

    image: np.ndarray
    box: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray


@dataclass(frozen=True)
class ImageSample:
    """An image (H, W, 3) with boxes (n, 4) x1, y1, x2, y2 in pixels and their classes (n,)."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class InstancesSample:
    """An image (H, W, 3) with n instances: boxes (n, 4), keypoints (n, K, 2) in pixels, visibility (n, K), areas
    (n,)."""

    image: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class PixelAugmentation:
    """Random changes of colors and sharpness.

    Args:
        hue, saturation, value: greatest change of each, in steps of OpenCV's HSV (hue to 180, the others to 255).
        blur_probability: of a box blur, and again of a median blur.
        cutout_probability: of a black rectangle.
        cutout_range: minimum and maximum side of it, relative to the image's.
    """

    hue: float = 5.0
    saturation: float = 30.0
    value: float = 30.0
    blur_probability: float = 0.0
    cutout_probability: float = 0.0
    cutout_range: tuple[float, float] = (0.2, 0.4)


@dataclass(frozen=True)
class PoseAugmentation:
    """Random changes of a person. The defaults are those of RTMPose's training.

    Args:
        flip_probability: of the flipped image, with left and right keypoints swapped.
        half_body_probability: of a crop around the upper or the lower body alone, where enough keypoints are labeled.
        scale_range: minimum and maximum factor on the size of the region.
        shift: greatest shift relative to the padded box.
        shift_probability: of a shift.
        rotation: greatest rotation in degrees.
        rotation_probability: of a rotation.
        pixels: changes of the crop's pixels.
    """

    flip_probability: float = 0.5
    half_body_probability: float = 0.3
    scale_range: tuple[float, float] = (0.6, 1.4)
    shift: float = 0.16
    shift_probability: float = 0.3
    rotation: float = 80.0
    rotation_probability: float = 0.6
    pixels: PixelAugmentation = PixelAugmentation(blur_probability=0.1, cutout_probability=1.0)

    @classmethod
    def late(cls) -> PoseAugmentation:
        """The weaker changes with which RTMPose's training ends."""
        return cls(
            scale_range=(0.75, 1.25),
            shift_probability=0.0,
            rotation=60.0,
            pixels=PixelAugmentation(blur_probability=0.1, cutout_probability=0.5),
        )


@dataclass(frozen=True)
class DetectionAugmentation:
    """Random changes of an image with boxes. The defaults are those with which RTMDet's training ends.

    Args:
        flip_probability: of the flipped image.
        scale_range: minimum and maximum factor on the size at which the image just fits; what reaches out is
            cropped, what is missing padded.
        pixels: changes of the pixels.
    """

    flip_probability: float = 0.5
    scale_range: tuple[float, float] = (0.5, 1.5)
    pixels: PixelAugmentation = PixelAugmentation()


@dataclass(frozen=True)
class InstanceAugmentation:
    """Random changes of an image with instances. The defaults are like those of RTMO's training, without its mosaics.

    Args:
        flip_probability: of the flipped image, with left and right keypoints swapped.
        scale_range: minimum and maximum factor on the size at which the image just fits.
        shift: greatest shift relative to the network input.
        rotation: greatest rotation in degrees.
        pixels: changes of the pixels.
    """

    flip_probability: float = 0.5
    scale_range: tuple[float, float] = (0.75, 1.25)
    shift: float = 0.1
    rotation: float = 10.0
    pixels: PixelAugmentation = PixelAugmentation()


# People


@dataclass(frozen=True)
class PersonCrops:
    """Makes crops of people as a model is trained with them.

    Args:
        image_processor: a `TopDownImageProcessor`; tells size and geometry of crops.
        schema: of the K keypoints.
        augmentation: random changes, None for the crop that the image processor makes.
        late_augmentation: those at the end of the run, see `LATE_SHARE`.
    """

    image_processor: Any
    schema: KeypointSchema
    augmentation: PoseAugmentation | None
    late_augmentation: PoseAugmentation | None = None

    def __call__(self, sample: PersonSample, rng: np.random.Generator, progress: float = 0.0) -> dict[str, np.ndarray]:
        """`image` (h, w, 3), uint8; `keypoints` (K, 2) float32 in its pixels; `weights` (K,) float32, 1 for labeled
        ones.

        `progress` is that of the run, from 0 to 1.
        """
        size = (self.image_processor.size["width"], self.image_processor.size["height"])
        labeled = sample.visibility > 0
        is_late = self.late_augmentation is not None and progress >= 1 - LATE_SHARE
        augmentation = self.late_augmentation if is_late else self.augmentation
        if augmentation is None:
            padding, use_udp = self.image_processor.box_padding, self.image_processor.use_udp
            matrix, is_flipped = _region_matrix(sample.box, padding, size, use_udp), False
        else:
            matrix, is_flipped = _random_matrix(sample, self.schema, self.image_processor, augmentation, rng)
        crop = warp_affine(sample.image, matrix, size)
        if augmentation is not None:
            crop = change_pixels(crop, augmentation.pixels, rng)
        moved = transform_points(sample.keypoints, matrix)
        if is_flipped:
            order = list(self.schema.required_flip_indices())
            moved, labeled = moved[order], labeled[order]
        return {"image": crop, "keypoints": moved.astype(np.float32), "weights": labeled.astype(np.float32)}


def _region_matrix(
    box: np.ndarray,
    padding: float,
    size: tuple[int, int],
    use_udp: bool,
    shift: np.ndarray | tuple[float, float] = (0, 0),
    factor: float = 1.0,
) -> np.ndarray:
    """Matrix (2, 3) that crops the region around a box (4,), moved by `shift` of the padded box and then scaled.

    The box is measured before it gets the aspect ratio of the crop, as in the reference, so that a tall one moves
    less.
    """
    centers, scales = box_centers_and_scales(box[None], size[0] / size[1], padding)
    moved = centers + (box[2:] - box[:2]) * padding * np.asarray(shift)
    return crop_matrices(moved, scales * factor, size, use_udp)[0]


def _random_matrix(
    sample: PersonSample,
    schema: KeypointSchema,
    image_processor: Any,
    augmentation: PoseAugmentation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, bool]:
    """Matrix (2, 3) of a random crop, and whether it flips."""
    box, padding, use_udp = sample.box, image_processor.box_padding, image_processor.use_udp
    size = (image_processor.size["width"], image_processor.size["height"])
    half = _half_body(sample, schema, rng) if rng.random() < augmentation.half_body_probability else None
    if half is not None:
        box, padding = half, HALF_BODY_PADDING
    low, high = augmentation.scale_range
    normal = truncated_normal(rng, 4)
    shift = normal[:2] * augmentation.shift * (rng.random() < augmentation.shift_probability)
    factor = (low + high) / 2 + normal[2] * (high - low) / 2
    angle = normal[3] * augmentation.rotation * (rng.random() < augmentation.rotation_probability)
    is_flipped = bool(rng.random() < augmentation.flip_probability) and schema.flip_indices is not None
    matrix = _region_matrix(box, padding, size, use_udp, shift, factor)
    return _turned(matrix, (np.asarray(size) - int(use_udp)) / 2, angle, is_flipped), is_flipped


def _half_body(sample: PersonSample, schema: KeypointSchema, rng: np.random.Generator) -> np.ndarray | None:
    """Box (4,) around the upper or the lower body, centered on the mean of its keypoints; None where they are too
    few."""
    labeled = sample.visibility > 0
    if labeled.sum() < MIN_KEYPOINTS:
        return None
    upper = [index for index in schema.upper_body_ids if labeled[index]]
    lower = [index for index in schema.lower_body_ids if labeled[index]]
    prefers_upper = rng.random() < UPPER_BODY_PROBABILITY
    has_upper, has_lower = len(upper) >= MIN_UPPER_KEYPOINTS, len(lower) >= MIN_LOWER_KEYPOINTS
    if not has_upper and not has_lower:
        return None
    chosen = sample.keypoints[upper if has_upper and (prefers_upper or not has_lower) else lower]
    half = np.maximum(chosen.max(0) - chosen.min(0), 1) / 2
    center = chosen.mean(0)
    return np.concatenate((center - half, center + half))


def _turned(matrix: np.ndarray, center: np.ndarray, degrees: float, is_flipped: bool) -> np.ndarray:
    """A crop's matrix (2, 3), followed by a flip along x and a rotation, both about `center` (2,) of the crop."""
    radians = np.deg2rad(degrees)
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    if is_flipped:
        turn = turn * np.array([-1.0, 1.0])
    turned = turn @ matrix
    turned[:, 2] += center - turn @ center
    return turned


def truncated_normal(rng: np.random.Generator, count: int) -> np.ndarray:
    """Values (count,) of a standard normal distribution cut off at -1 and 1."""
    normal = NormalDist()
    low, high = normal.cdf(-1), normal.cdf(1)
    return np.array([normal.inv_cdf(share) for share in rng.uniform(low, high, count)])


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (N, 2) under an affine matrix (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


# Images with boxes


@dataclass(frozen=True)
class FittedImages:
    """Makes images with boxes as a detector is trained with them.

    Args:
        image_processor: a `DetectionImageProcessor`; tells size and padding.
        augmentation: random changes, None for the image that the image processor makes.
    """

    image_processor: Any
    augmentation: DetectionAugmentation | None

    def __call__(self, sample: ImageSample, rng: np.random.Generator, progress: float = 0.0) -> dict[str, np.ndarray]:
        """`image` (h, w, 3), uint8; `boxes` (m, 4) float32 in its pixels, cut off at its borders; their `labels`
        (m,)."""
        image_processor, augmentation = self.image_processor, self.augmentation
        height, width = image_processor.size["height"], image_processor.size["width"]
        scales = image_processor.scale_factors(*sample.image.shape[:2]).astype(np.float64)
        signs, offsets, content = np.ones(2), np.zeros(2), np.array(sample.image.shape[1::-1]) * scales
        if augmentation is not None:
            factor = rng.uniform(*augmentation.scale_range)
            scales, content = scales * factor, content * factor
            offsets = -rng.uniform(0, np.maximum(content - (width, height), 0))
            content = np.minimum(content, (width, height))
            if rng.random() < augmentation.flip_probability:
                signs, offsets = np.array([-1.0, 1.0]), np.array([content[0] - offsets[0], offsets[1]])
        linear = signs * scales
        # Sides of boxes lie between pixels, whose centers lie half a pixel further.
        shift = offsets + 0.5 * linear - 0.5
        matrix = np.array([[linear[0], 0, shift[0]], [0, linear[1], shift[1]]])
        fill = (image_processor.pad_value,) * 3
        fitted = warp_affine(sample.image, matrix, (width, height), borderValue=fill)
        if augmentation is not None:
            fitted = change_pixels(fitted, augmentation.pixels, rng)
        moved = extents(sample.boxes.reshape(-1, 2, 2) * linear + offsets)
        moved = moved.clip(0, np.tile(content, 2)).astype(np.float32)
        is_left = (moved[:, 2:] - moved[:, :2] >= MIN_BOX_SIDE).all(1)
        return {"image": fitted, "boxes": moved[is_left], "labels": sample.labels[is_left]}


# Images with instances


@dataclass(frozen=True)
class FittedInstances:
    """Makes images as a one-stage or bottom-up model is trained with them, in the middle of the network input.

    Args:
        image_processor: tells size and padding.
        schema: of the K keypoints.
        augmentation: random changes, None for none.
    """

    image_processor: Any
    schema: KeypointSchema
    augmentation: InstanceAugmentation | None

    def __call__(
        self, sample: InstancesSample, rng: np.random.Generator, progress: float = 0.0
    ) -> dict[str, np.ndarray]:
        """`image` (h, w, 3), uint8, and in its pixels, float32, for the m instances that are left in it: `boxes` (m,
        4), `keypoints` (m, K, 2), `keypoint_weights` (m, K), 0 for those outside too, and `areas` (m,).
        """
        image_processor, schema, augmentation = self.image_processor, self.schema, self.augmentation
        size = np.array([image_processor.size["width"], image_processor.size["height"]], dtype=np.float64)
        extent = np.array(sample.image.shape[1::-1], dtype=np.float64)
        factor, angle, shift, is_flipped = (size / extent).min(), 0.0, np.zeros(2), False
        if augmentation is not None:
            factor *= rng.uniform(*augmentation.scale_range)
            angle = rng.uniform(-1, 1) * augmentation.rotation
            shift = rng.uniform(-1, 1, 2) * augmentation.shift * size
            is_flipped = bool(rng.random() < augmentation.flip_probability) and schema.flip_indices is not None
        centered = np.column_stack((np.eye(2) * factor, size / 2 - factor * extent / 2))
        matrix = _turned(centered, size / 2, angle, is_flipped)
        matrix[:, 2] += shift
        fill = (getattr(image_processor, "pad_value", 0),) * 3
        whole = (int(size[0]), int(size[1]))
        fitted = warp_affine(sample.image, matrix, whole, borderValue=fill)
        if augmentation is not None:
            fitted = change_pixels(fitted, augmentation.pixels, rng)
        moved, visibility = transform_points(sample.keypoints.reshape(-1, 2), matrix), sample.visibility
        moved = moved.reshape(sample.keypoints.shape)
        if is_flipped:
            order = list(schema.required_flip_indices())
            moved, visibility = moved[:, order], visibility[:, order]
        inside = (visibility > 0) & (moved >= 0).all(-1) & (moved < size).all(-1)
        corners = sample.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
        fitted_boxes = extents(transform_points(corners, matrix).reshape(-1, 4, 2).clip(0, size))
        is_left = (fitted_boxes[:, 2:] - fitted_boxes[:, :2] >= MIN_BOX_SIDE).all(1) & inside.any(1)
        labels = {
            "boxes": fitted_boxes,
            "keypoints": moved,
            "keypoint_weights": inside,
            "areas": sample.areas * factor**2,
        }
        return {"image": fitted, **{name: value[is_left].astype(np.float32) for name, value in labels.items()}}


# Pixels


def change_pixels(image: np.ndarray, augmentation: PixelAugmentation, rng: np.random.Generator) -> np.ndarray:
    """RGB pixels (H, W, 3), uint8, with random changes of colors and sharpness and a cut-out."""
    import cv2

    image = change_colors(image, augmentation, rng)
    if rng.random() < augmentation.blur_probability:
        size = int(rng.choice(BLUR_SIZES))
        image = cv2.blur(image, (size, size))
    if rng.random() < augmentation.blur_probability:
        image = cv2.medianBlur(image, int(rng.choice(BLUR_SIZES)))
    if rng.random() < augmentation.cutout_probability:
        cut_out(image, augmentation.cutout_range, rng)
    return image


def change_colors(image: np.ndarray, augmentation: PixelAugmentation, rng: np.random.Generator) -> np.ndarray:
    """RGB pixels (H, W, 3), uint8, of which hue, saturation and value are each moved with a probability of a half."""
    import cv2

    limits = np.array([augmentation.hue, augmentation.saturation, augmentation.value])
    hue, saturation, value = (rng.uniform(-1, 1, 3) * limits * rng.integers(0, 2, 3)).astype(int).tolist()
    if not (hue or saturation or value):
        return image
    levels = np.arange(256)
    tables = [(levels + hue) % 180, (levels + saturation).clip(0, 255), (levels + value).clip(0, 255)]
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    changed = cv2.LUT(hsv, np.stack(tables, -1).astype(np.uint8)[None])
    return cv2.cvtColor(changed, cv2.COLOR_HSV2RGB)


def cut_out(image: np.ndarray, side_range: tuple[float, float], rng: np.random.Generator) -> None:
    """Blacken a random rectangle of pixels (H, W, 3), in place; its sides are relative to the image's."""
    height, width = image.shape[:2]
    sides = (rng.uniform(*side_range, 2) * (height, width)).astype(int)
    top, left = (rng.integers(0, limit + 1) for limit in (height - sides[0], width - sides[1]))
    image[top : top + sides[0], left : left + sides[1]] = 0
