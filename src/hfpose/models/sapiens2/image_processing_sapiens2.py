from hfpose.models.shared.settings import Count
from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor


class Sapiens2ImageProcessor(ViTPoseImageProcessor):
    """Crops for transformers' [`Sapiens2ForPoseEstimation`] and keypoints from its heatmaps, by the rules of ViTPose.

    Does for poses what transformers' own [`Sapiens2ImageProcessor`] does, with the same files: each loads what the
    other has saved. This one needs no torchvision and takes boxes as x1, y1, x2, y2 (not x, y, width, height).
    """

    enlarges_cubically = True
    transformers_name = "Sapiens2ImageProcessor"

    size: dict[str, Count] = {"height": 1024, "width": 768}
