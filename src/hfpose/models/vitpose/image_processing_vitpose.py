from typing import Any, ClassVar

from hfpose.models.heatmap.image_processing_heatmap import HeatmapImageProcessor
from hfpose.models.shared.heatmaps import UDP, Decoding


class ViTPoseImageProcessor(HeatmapImageProcessor):
    """Crops for transformers' [`VitPoseForPoseEstimation`] and keypoints from its heatmaps.

    Does what transformers' own [`VitPoseImageProcessor`] does, with the same files: each loads what the other has
    saved. This one needs neither scipy nor torchvision, works on all crops at once, takes boxes as x1, y1, x2, y2 (not
    x, y, width, height) and smooths heatmaps as the reference does.

    Args:
        use_udp, heatmap_decoding, shift_flipped_heatmaps: see [`HeatmapImageProcessor`]. The defaults are ViTPose's,
            so that files written by transformers, which do not state them, mean what they should.
    """

    transformers_name: ClassVar[str] = "VitPoseImageProcessor"

    use_udp: bool = True
    heatmap_decoding: Decoding = UDP
    shift_flipped_heatmaps: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All settings, under the name of transformers' class, so that its Auto classes know what to load."""
        return {**super().to_dict(), "image_processor_type": self.transformers_name}
