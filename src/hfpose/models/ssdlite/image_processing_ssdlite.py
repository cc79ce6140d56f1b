from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hfpose.models.shared.detection import DetectionImageProcessor
from hfpose.models.shared.pixels import ChannelOrder
from hfpose.models.shared.settings import Count


class SSDLiteImageProcessor(DetectionImageProcessor):
    """Images for [`SSDLiteForObjectDetection`] and boxes from its outputs, see [`DetectionImageProcessor`].

    Args:
        anchors_per_place: number of anchors at each anchor point of each feature level.
    """

    size: dict[str, Count] = {"height": 320, "width": 320}
    keep_aspect_ratio: bool = False
    channel_order: ChannelOrder = "rgb"
    score_threshold: float = 0.02
    nms_threshold: float | None = 0.45
    max_detections: int | None = 200
    strides: Sequence[Count] = (16, 32, 64, 128, 256, 512)
    anchors_per_place: Sequence[Count] = (6, 6, 6, 6, 6, 6)

    def _scores(self, outputs: Any) -> Tensor:
        """Probability (B, P, C) of each class at each anchor, against the others and the background."""
        return outputs.logits.float().softmax(-1)[..., :-1]

    def _boxes_per_level(self) -> list[int]:
        places = super()._boxes_per_level()
        return [count * anchors for count, anchors in zip(places, self.anchors_per_place, strict=True)]
