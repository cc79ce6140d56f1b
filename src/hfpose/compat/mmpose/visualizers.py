"""What MMPose's inference guide uses to look at results: `VISUALIZERS`, `visualize` and mmcv's `imread`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hfpose.compat.mmpose.dataset_meta import schema_of
from hfpose.compat.mmpose.structures import InstanceData, PoseDataSample
from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.images import load_image, save_image
from hfpose.results import PoseOutput
from hfpose.visualization import SkeletonStyle, Window, draw_heatmaps, draw_poses

_WINDOW = "visualization"


def imread(img: str | Path | np.ndarray, channel_order: str = "bgr") -> np.ndarray:
    """Read an image, as `mmcv.imread` does; an array is returned as it is.

    Args:
        img: path or URL.
        channel_order: "bgr" or "rgb".

    Raises:
        InputError: if it cannot be read.
        ValueError: for another channel order.
    """
    if channel_order not in ("bgr", "rgb"):
        raise ValueError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}.")
    if isinstance(img, np.ndarray):
        return img
    image = load_image(img)
    return image if channel_order == "rgb" else np.ascontiguousarray(image[..., ::-1])


class PoseLocalVisualizer:
    """Draws data samples.

    Args:
        name: for the title of a window that is given none.
        line_width: of links and boxes, in pixels.
        radius: of keypoints, in pixels.
        alpha: opacity of what is drawn, 0 to 1.
    """

    def __init__(self, name: str = "visualizer", line_width: int = 1, radius: int = 3, alpha: float = 1.0) -> None:
        self.name = name
        self.line_width = line_width
        self.radius = radius
        self.alpha = alpha
        self.dataset_meta: Mapping[str, Any] = {}
        self.skeleton_style: SkeletonStyle = "mmpose"
        self._schema: KeypointSchema | None = None
        self._image: np.ndarray | None = None

    def set_dataset_meta(self, dataset_meta: Mapping[str, Any], skeleton_style: SkeletonStyle = "mmpose") -> None:
        """What the keypoints mean, which says how to draw them.

        Args:
            dataset_meta: of the model (`model.dataset_meta`).
            skeleton_style: "mmpose", or "openpose": then `add_datasample` draws so without being told.

        Raises:
            ConfigError: if it describes no keypoints.
        """
        self._schema = schema_of(dataset_meta)
        self.dataset_meta = dict(dataset_meta)
        self.skeleton_style = skeleton_style

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: PoseDataSample,
        draw_gt: bool = True,
        draw_pred: bool = True,
        draw_heatmap: bool = False,
        draw_bbox: bool = False,
        show_kpt_idx: bool = False,
        skeleton_style: SkeletonStyle = "mmpose",
        show: bool = False,
        wait_time: float = 0,
        out_file: str | Path | None = None,
        kpt_thr: float = 0.3,
    ) -> np.ndarray:
        """Draw a data sample.

        Args:
            name: title of the window.
            image: RGB image (H, W, 3).
            data_sample: what to draw.
            draw_gt, draw_pred: whether to draw the ground truth and the prediction; with both, they stand side by side.
            draw_heatmap: draw the heatmaps below, where there are any.
            draw_bbox: draw the boxes.
            show_kpt_idx: write the index beside each keypoint.
            skeleton_style: "mmpose" or "openpose".
            show: show the image in a window.
            wait_time: seconds to show it; 0 waits for a key.
            out_file: where to save the image.
            kpt_thr: least score of a keypoint that is drawn.

        Returns:
            RGB image.

        Raises:
            InputError: if the image cannot be drawn on, or shown because there is no screen.
        """
        options: dict[str, Any] = {
            "draw_boxes": draw_bbox,
            "draw_keypoint_indices": show_kpt_idx,
            "skeleton_style": skeleton_style if skeleton_style != "mmpose" else self.skeleton_style,
            "keypoint_threshold": kpt_thr,
        }
        sides = [side for side, wanted in (("gt", draw_gt), ("pred", draw_pred)) if wanted]
        images = [self._draw_side(image, data_sample, side, draw_heatmap, options) for side in sides]
        height = max((len(drawn) for drawn in images), default=0)
        # A side without heatmaps shows the plain image below, as in the reference.
        images = [each if len(each) == height else np.concatenate([each, image]) for each in images]
        drawn = np.concatenate(images, axis=1) if images else image.copy()
        self._image = drawn
        if out_file is not None:
            save_image(out_file, drawn)
        if show:
            with Window(name or self.name) as window:
                window.show(drawn, wait_time)
        return drawn

    def get_image(self) -> np.ndarray:
        """The image that was drawn last, RGB.

        Raises:
            InputError: if there is none.
        """
        if self._image is None:
            raise InputError("Nothing has been drawn yet; call add_datasample first.")
        return self._image

    def _draw_side(
        self, image: np.ndarray, sample: PoseDataSample, side: str, draw_heatmap: bool, options: Mapping[str, Any]
    ) -> np.ndarray:
        """The image with the ground truth ("gt") or prediction ("pred"), and below its heatmaps if there are any."""
        fields = sample.get(f"{side}_fields")
        heatmaps = fields.get("heatmaps") if fields is not None else None
        output = _output_of(sample.get(f"{side}_instances"), heatmaps, self._schema)
        drawn = image.copy()
        if output.num_instances:
            drawn = draw_poses(image, output, radius=self.radius, thickness=self.line_width, **options)
            if self.alpha < 1:
                drawn = cv2.addWeighted(drawn, self.alpha, image, 1 - self.alpha, 0)
        if draw_heatmap and heatmaps is not None:
            drawn = np.concatenate([drawn, draw_heatmaps(image, output)])
        return drawn


def _output_of(instances: InstanceData | None, heatmaps: Any, schema: KeypointSchema | None) -> PoseOutput:
    """Instances (those without keypoints count as none) and heatmaps (K, H, W) over the image as a result."""
    if instances is None or "keypoints" not in instances:
        return PoseOutput(np.zeros((0, 0, 2)), np.zeros((0, 0)), heatmaps=heatmaps)
    instances = instances.numpy()
    keypoints = np.asarray(instances.keypoints)[..., :2]
    scores = instances.get("keypoints_visible", instances.get("keypoint_scores"))
    return PoseOutput(
        keypoints,
        np.ones(keypoints.shape[:2]) if scores is None else scores,
        boxes=instances.get("bboxes"),
        heatmaps=heatmaps,
        schema=schema if schema is not None and schema.num_keypoints == keypoints.shape[1] else None,
    )


class _Visualizers:
    """Stands in for MMPose's registry, which makes objects of classes that a config names."""

    def build(self, cfg: Mapping[str, Any]) -> PoseLocalVisualizer:
        """The visualizer that `model.cfg.visualizer` describes.

        Args:
            cfg: `type` and arguments of [`PoseLocalVisualizer`].

        Raises:
            ConfigError: for another type, or arguments that it does not know.
        """
        options = {key: value for key, value in cfg.items() if key != "type"}
        kind = cfg.get("type", PoseLocalVisualizer.__name__)
        if kind != PoseLocalVisualizer.__name__:
            raise ConfigError(f"There is no visualizer {kind!r}; expected 'PoseLocalVisualizer'.")
        try:
            return PoseLocalVisualizer(**options)
        except TypeError as error:
            raise ConfigError(
                f"PoseLocalVisualizer takes name, line_width, radius and alpha, got {', '.join(options)}."
            ) from error


VISUALIZERS = _Visualizers()


def visualize(
    img: str | Path | np.ndarray,
    keypoints: np.ndarray,
    keypoint_score: np.ndarray | None = None,
    metainfo: str | Path | Mapping[str, Any] | None = None,
    visualizer: PoseLocalVisualizer | None = None,
    show_kpt_idx: bool = False,
    skeleton_style: SkeletonStyle = "mmpose",
    show: bool = False,
    kpt_thr: float = 0.3,
) -> np.ndarray:
    """Draw 2D keypoints on an image.

    Args:
        img: path, URL or BGR image (H, W, 3).
        keypoints: (N, K, 2) pixels.
        keypoint_score: (N, K); without them all are drawn.
        metainfo: what the keypoints mean: a file like `configs/_base_/datasets/coco.py`, or a dict; see
            `hfpose.compat.mmpose.dataset_meta.schema_of`.
        visualizer: whose radius, line width and opacity to use; it is not changed.
        show_kpt_idx: write the index beside each keypoint.
        skeleton_style: "mmpose" or "openpose".
        show: show the image in a window until a key is pressed.
        kpt_thr: least score of a keypoint that is drawn.

    Returns:
        RGB image (H, W, 3).
    """
    given = visualizer or PoseLocalVisualizer()
    drawing = PoseLocalVisualizer(given.name, given.line_width, given.radius, given.alpha)
    meta = given.dataset_meta if metainfo is None else metainfo
    if meta:
        drawing._schema = schema_of(meta)
    instances = InstanceData(keypoints=keypoints)
    if keypoint_score is not None:
        instances.keypoint_scores = keypoint_score
    image = img[..., ::-1] if isinstance(img, np.ndarray) else imread(img, channel_order="rgb")
    return drawing.add_datasample(
        _WINDOW,
        np.ascontiguousarray(image),
        PoseDataSample(pred_instances=instances),
        draw_gt=False,
        show_kpt_idx=show_kpt_idx,
        skeleton_style=skeleton_style,
        show=show,
        kpt_thr=kpt_thr,
    )
