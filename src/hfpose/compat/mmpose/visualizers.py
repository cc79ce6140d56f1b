"""What MMPose's inference guide uses to look at results: `VISUALIZERS` and `visualize`.

Source: `mmpose.visualization.PoseLocalVisualizer`; reimplemented over hfpose's drawing.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor

from hfpose.compat.mmpose.bgr_images import rgb_image
from hfpose.compat.mmpose.dataset_meta import dataset_meta_of, schema_of
from hfpose.compat.mmpose.structures import InstanceData, PoseDataSample
from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import Color, KeypointSchema
from hfpose.keypoints.library import numbered_schema
from hfpose.media.images import save_image
from hfpose.results import PoseOutput
from hfpose.visualization import SkeletonStyle, Window, draw_heatmaps, draw_poses

_WINDOW = "visualization"
BLACK: Color = (0, 0, 0)
# Where mmcv's colors have other values than CSS's.
_COLOR_NAMES: dict[str, Color] = {"green": (0, 255, 0)}
# A color, or one for each part: a name, three numbers, or a list of three numbers.
Colors = Any


@dataclass(eq=False, repr=False)
class PoseLocalVisualizer:
    """Draws data samples.

    A color is a name ("red", "green", ...) or red, green and blue from 0 to 255.

    Args:
        name: for the title of a window that is given none.
        image: RGB image that `get_image` gives before anything is drawn.
        vis_backends: names `LocalVisBackend`, which saves images below `save_dir`; there is no other.
        save_dir: folder that drawn images are saved in. Default: they are saved only where a call says so.
        bbox_color: of boxes.
        kpt_color: of keypoints, one for all or one for each. `set_dataset_meta` replaces it by those of the data set.
        link_color: the same of links; without any, none are drawn.
        text_color: None leaves out the labels of boxes. What it is makes no difference: labels are black or white.
        skeleton: links, pairs of keypoint indices.
        line_width: of links and boxes, in pixels.
        radius: of keypoints, in pixels.
        show_keypoint_weight: draw what has a low score more faintly.
        backend: "opencv" or "matplotlib"; all is drawn with OpenCV.
        alpha: opacity of what is drawn, 0 to 1.

    Raises:
        ConfigError: for another backend, or a color that is unknown.
    """

    name: str = "visualizer"
    image: InitVar[np.ndarray | None] = None
    vis_backends: InitVar[Sequence[Mapping[str, Any]] | Mapping[str, Any] | None] = None
    save_dir: str | Path | None = None
    bbox_color: Colors = "green"
    kpt_color: Colors | None = "red"
    link_color: Colors | None = None
    text_color: Colors | None = (255, 255, 255)
    skeleton: Sequence[Sequence[int]] | None = None
    line_width: int = 1
    radius: int = 3
    show_keypoint_weight: bool = False
    backend: InitVar[str] = "opencv"
    alpha: float = 1.0
    dataset_meta: Mapping[str, Any] = field(init=False, default_factory=dict)
    skeleton_style: SkeletonStyle = field(init=False, default="mmpose")

    def __post_init__(self, image: np.ndarray | None, vis_backends: Any, backend: str) -> None:
        backends = [vis_backends] if isinstance(vis_backends, Mapping) else list(vis_backends or ())
        unknown = [str(each.get("type")) for each in backends if each.get("type") != "LocalVisBackend"]
        if unknown or backend not in ("opencv", "matplotlib"):
            raise ConfigError(
                f"There is no visualization backend {(unknown or [backend])[0]!r}: images are drawn with OpenCV and "
                "saved by LocalVisBackend."
            )
        self._schema: KeypointSchema | None = None
        self._image = image
        for colors in (self.bbox_color, self.kpt_color, self.link_color, self.text_color):
            _colors(colors, 0)

    def set_dataset_meta(self, dataset_meta: Mapping[str, Any], skeleton_style: SkeletonStyle = "mmpose") -> None:
        """What the keypoints mean, which says how to draw them: its colors and links replace those of the visualizer.

        Args:
            dataset_meta: of the model (`model.dataset_meta`), or some of its entries.
            skeleton_style: "mmpose", or "openpose": then `add_datasample` draws so without being told.

        Raises:
            ConfigError: if its values disagree.
        """
        names_keypoints = {"keypoint_info", "keypoint_id2name", "from_file"} & dataset_meta.keys()
        self._schema = schema_of(dataset_meta) if names_keypoints else None
        self.dataset_meta = dict(dataset_meta)
        self.skeleton_style = skeleton_style
        meta = dataset_meta if self._schema is None else {**dataset_meta_of(self._schema), **dataset_meta}
        self.bbox_color = meta.get("bbox_color", self.bbox_color)
        self.kpt_color = meta.get("keypoint_colors", self.kpt_color)
        self.link_color = meta.get("skeleton_link_colors", self.link_color)
        self.skeleton = meta.get("skeleton_links", self.skeleton)

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
        step: int = 0,
    ) -> np.ndarray:
        """Draw a data sample.

        Args:
            name: title of the window.
            image: RGB image (H, W, 3).
            data_sample: what to draw.
            draw_gt, draw_pred: whether to draw the ground truth and the prediction; with both, they stand side by
                side.
            draw_heatmap: draw the heatmaps below, where there are any.
            draw_bbox: draw the boxes.
            show_kpt_idx: write the index beside each keypoint.
            skeleton_style: "mmpose" or "openpose".
            show: show the image in a window.
            wait_time: seconds to show it; 0 waits for a key.
            out_file: where to save the image. Default: with a `save_dir`, `vis_data/vis_image/{name}_{step}.png` below
                it.
            kpt_thr: minimum score of a keypoint that is drawn.
            step: number of the image.

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
        if out_file is None and self.save_dir is not None:
            out_file = Path(self.save_dir) / "vis_data" / "vis_image" / f"{name}_{step}.png"
        if out_file is not None:
            save_image(out_file, drawn)
        if show:
            with Window(name or self.name) as window:
                window.show(drawn, wait_time)
        return drawn

    def get_image(self) -> np.ndarray:
        """The image that was drawn last: (H, W, 3), uint8, RGB.

        Raises:
            InputError: if there is none.
        """
        if self._image is None:
            raise InputError("Nothing has been drawn yet; call add_datasample first.")
        return self._image

    def draw(self, image: np.ndarray, output: PoseOutput, **options: Any) -> np.ndarray:
        """A result drawn on its RGB image (H, W, 3) in the visualizer's colors and sizes, with options of
        `draw_poses`."""
        if not output.num_instances:
            return draw_poses(image, output, **options)
        schema = self._schema_for(output.keypoints.shape[1])
        options = {
            "radius": self.radius,
            "thickness": self.line_width,
            "schema": schema,
            "color_by": "side",
            "box_color": _colors(self.bbox_color, 1)[0],
            "draw_scores": False,
            **options,
        }
        drawn = draw_poses(image, output, **options)
        if self.show_keypoint_weight and options.get("skeleton_style") != "openpose":
            return _blend(image, drawn, self.alpha * _weights(image, output, options))
        return drawn if self.alpha >= 1 else _blend(image, drawn, self.alpha)

    def _schema_for(self, count: int) -> KeypointSchema:
        """The keypoints of the data set, or of another number ones without names, in the visualizer's colors."""
        schema = self._schema
        if schema is None or schema.num_keypoints != count:
            schema = numbered_schema(count)
        links = () if self.skeleton is None or self.link_color is None else tuple((a, b) for a, b in self.skeleton)
        try:
            return replace(
                schema,
                upper_body_ids=(),  # dots and links of faces and hands are as large as those of bodies
                lower_body_ids=(),
                skeleton=links,
                keypoint_colors=_colors(self.kpt_color, count),
                skeleton_colors=_colors(self.link_color, len(links)),
            )
        except ConfigError:  # the links or colors of a data set of other keypoints
            return schema

    def _draw_side(
        self, image: np.ndarray, sample: PoseDataSample, side: str, draw_heatmap: bool, options: Mapping[str, Any]
    ) -> np.ndarray:
        """The image with the ground truth ("gt") or prediction ("pred"), and below its heatmaps if there are any."""
        instances = sample.get(f"{side}_instances")
        fields = sample.get(f"{side}_fields")
        heatmaps = fields.get("heatmaps") if fields is not None else None
        output = _output_of(instances, heatmaps)
        drawn = image.copy()
        if output.num_instances:
            drawn = self.draw(image, output, labels=self._labels(instances, options["draw_boxes"]), **options)
        if draw_heatmap and heatmaps is not None:
            drawn = np.concatenate([drawn, draw_heatmaps(image, output)])
        return drawn

    def _labels(self, instances: InstanceData | None, draws_boxes: bool) -> list[str] | None:
        """What is written at boxes that have classes."""
        if instances is None or "labels" not in instances or not draws_boxes or self.text_color is None:
            return None
        classes = self.dataset_meta.get("classes")
        return [f"class {int(label)}" if classes is None else classes[int(label)] for label in instances.labels]


def _colors(colors: Colors | None, count: int) -> tuple[Color, ...]:
    """`count` colors, given as one for all or one for each."""
    if colors is None:
        return (BLACK,) * count
    if isinstance(colors, str):
        try:
            return (_COLOR_NAMES.get(colors) or ImageColor.getrgb(colors)[:3],) * count
        except ValueError as error:
            raise ConfigError(f"There is no color {colors!r}; give its name or red, green and blue.") from error
    values = np.asarray(colors, dtype=int)
    if values.ndim == 1:
        values = np.broadcast_to(values, (count, 3))
    return tuple(map(tuple, values.tolist()))


def _blend(below: np.ndarray, above: np.ndarray, opacity: float | np.ndarray) -> np.ndarray:
    mixed = below + (above.astype(np.float32) - below) * opacity
    return np.rint(mixed).astype(np.uint8)


def _weights(image: np.ndarray, output: PoseOutput, options: Mapping[str, Any]) -> np.ndarray:
    """How opaque each pixel of a drawing (H, W, 1) is where keypoints are by their scores, and links by the mean of
    theirs."""
    schema: KeypointSchema = options["schema"]
    canvas = np.zeros_like(image)
    for person in range(output.num_instances):
        scores = output.keypoint_scores[person].clip(0, 1)
        links = scores[np.array(schema.skeleton, dtype=int).reshape(-1, 2)].mean(axis=1)
        gray = [tuple((round(255 * weight),) * 3 for weight in part) for part in (scores, links)]
        shades = replace(schema, keypoint_colors=gray[0], skeleton_colors=gray[1])
        one = {**options, "schema": shades, "box_color": (255, 255, 255), "black_background": True, "labels": None}
        canvas = np.maximum(canvas, draw_poses(image, output.select([person]), **one))
    return canvas[..., :1].astype(np.float32) / 255


def _output_of(instances: InstanceData | None, heatmaps: Any) -> PoseOutput:
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
    )


class _Visualizers:
    """Stands in for MMPose's registry, which makes objects of classes that a config names."""

    def build(self, cfg: Mapping[str, Any]) -> PoseLocalVisualizer:
        """The visualizer that `model.cfg.visualizer` describes: `type` and arguments of [`PoseLocalVisualizer`].

        Raises:
            ConfigError: for another type, or arguments that it does not know.
        """
        options = {key: value for key, value in cfg.items() if key != "type"}
        kind = cfg.get("type", PoseLocalVisualizer.__name__)
        if kind != PoseLocalVisualizer.__name__:
            raise ConfigError(f"There is no visualizer {kind!r}; expected 'PoseLocalVisualizer'.")
        known = list(inspect.signature(PoseLocalVisualizer).parameters)
        if not options.keys() <= set(known):
            raise ConfigError(f"PoseLocalVisualizer takes {', '.join(known)}, got {', '.join(options)}.")
        return PoseLocalVisualizer(**options)


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
        visualizer: whose colors, radius, line width and opacity to use; it is not changed.
        show_kpt_idx: write the index beside each keypoint.
        skeleton_style: "mmpose" or "openpose".
        show: show the image in a window until a key is pressed.
        kpt_thr: minimum score of a keypoint that is drawn.

    Returns:
        RGB image (H, W, 3).
    """
    given = visualizer or PoseLocalVisualizer()
    drawing = copy(given)
    drawing.save_dir = None
    if metainfo is not None:
        drawing.set_dataset_meta(metainfo if isinstance(metainfo, Mapping) else dataset_meta_of(schema_of(metainfo)))
    instances = InstanceData(keypoints=keypoints)
    if keypoint_score is not None:
        instances.keypoint_scores = keypoint_score
    return drawing.add_datasample(
        _WINDOW,
        rgb_image(img),
        PoseDataSample(pred_instances=instances),
        draw_gt=False,
        show_kpt_idx=show_kpt_idx,
        skeleton_style=skeleton_style,
        show=show,
        kpt_thr=kpt_thr,
    )
