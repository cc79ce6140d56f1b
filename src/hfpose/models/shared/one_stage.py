"""What the one-stage and bottom-up estimators have in common: people of an image from one pass, without a detector.

RTMO, YOLOX-Pose, DEKR, CID, associative embedding and ED-Pose share this contract, so that pipelines treat them alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hfpose.models.shared.coco_labels import instance_labels
from hfpose.models.shared.pixels import check_target_sizes, detached, pose_dict

# Outputs of a model for one image by name, and height and width of an image in pixels.
ImageOutputs = Mapping[str, Tensor]
ImageSize = tuple[int, int]


class Instances(NamedTuple):
    """Instances of one image, best first; coordinates are pixels of the original image.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        box_scores: (N,).
        keypoints: (N, K, 2) x and y.
        keypoint_scores: (N, K).
    """

    boxes: np.ndarray
    box_scores: np.ndarray
    keypoints: np.ndarray
    keypoint_scores: np.ndarray


class OneStageProcessing:
    """Mixin of the image processors: what follows from `image_instances`, which a family adds.

    Args:
        size: `{"height", "width"}` of the network input.
        flip_test: whether the reference averages over the flipped image when it evaluates this model.
    """

    is_one_stage: ClassVar[bool] = True
    # Outputs of the model that instances are made of, the first of which is always there.
    decoded_outputs: ClassVar[tuple[str, ...]]

    size: dict[str, int]
    flip_test: bool = False

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the network input for an image of this size."""
        return self.size["height"], self.size["width"]

    def fit_matrix(self, height: int, width: int) -> np.ndarray:
        """Affine matrix (2, 3) from pixels of an image of this size to pixels of the network input."""
        raise NotImplementedError

    def labels(self, image: np.ndarray, objects: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """What the loss takes for the objects of an image (h, w, 3), see `instance_labels`."""
        return instance_labels(objects, self.fit_matrix(*image.shape[:2]))

    def instances(
        self,
        outputs: Any,
        target_sizes: Tensor | Sequence[tuple[int, int]],
        threshold: float | None = None,
        nms_threshold: float | None = None,
    ) -> list[Instances]:
        """Instances of each image of a batch.

        Args:
            target_sizes: (height, width) of each original image.
            threshold: minimum score of an instance; None for the processor's own.
            nms_threshold: IoU above which the worse of two instances goes; None for the processor's own.

        Raises:
            InputError: unless there is one target size for each image.
        """
        given = {name: outputs[name] for name in self.decoded_outputs if outputs.get(name) is not None}
        check_target_sizes(target_sizes, len(given[self.decoded_outputs[0]]))
        found = []
        for index, (height, width) in enumerate(target_sizes):
            one = {name: values[index] for name, values in given.items()}
            found.append(self.image_instances(one, (int(height), int(width)), threshold, nms_threshold))
        return found

    def image_instances(
        self, outputs: ImageOutputs, target_size: ImageSize, threshold: float | None, nms_threshold: float | None
    ) -> Instances:
        """What `instances` finds in one image, from the `decoded_outputs` for it."""
        raise NotImplementedError

    def post_process_pose_estimation(
        self,
        outputs: Any,
        target_sizes: Tensor | Sequence[tuple[int, int]],
        threshold: float | None = None,
        box_threshold: float | None = None,
        nms_threshold: float | None = None,
    ) -> list[list[dict[str, Tensor]]]:
        """Instances of each image, in the form of transformers' pose processors.

        Args:
            target_sizes: (height, width) of each original image.
            threshold: leave out keypoints with a lower score; None keeps all.
            box_threshold, nms_threshold: `threshold` and `nms_threshold` of `instances`.

        Returns:
            For each image a list of dicts, best instance first: `keypoints` (K, 2) x, y in pixels of the image,
            `scores` (K,), `labels` (K,) the index of each keypoint, `bbox` (4,) x1, y1, x2, y2, `bbox_score` ().
        """
        found = self.instances(detached(outputs), target_sizes, box_threshold, nms_threshold)
        return [
            [
                pose_dict(box, keypoints, scores, threshold)
                | {"bbox_score": torch.tensor(float(box_score), dtype=torch.float32, device="cpu")}
                for box, box_score, keypoints, scores in zip(*some, strict=True)
            ]
            for some in found
        ]
