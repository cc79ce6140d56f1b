from huggingface_hub.dataclasses import strict

from hfpose.models.rtmw.configuration_rtmw import RTMWConfig


@strict
class RTMW3DConfig(RTMWConfig):
    """Configuration of [`RTMW3DForPoseEstimation`]. The defaults are those of RTMW3D-l, but for the backbone's size.

    The other settings are those of [`RTMWConfig`].

    Args:
        depth_size: extent of a crop along depth, in pixels as its width and height.
        depth_range: depth in meters from the hips to either end of that extent.
        simcc_sigma: standard deviations, in bins along x, y and z, of the targets in training.
    """

    model_type = "rtmw3d"

    image_size: list[int] | tuple[int, int] = (384, 288)
    depth_size: int = 288
    depth_range: float = 2.1744869
    simcc_sigma: list[float] | tuple[float, ...] = (6.0, 6.93, 6.0)
    simcc_beta: float = 10.0
