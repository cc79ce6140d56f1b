"""`hfpose env`: what a report of a problem should say of the machine."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from hfpose.version import __version__

_PACKAGES = (
    "torch", "torchvision", "transformers", "huggingface_hub", "safetensors", "accelerate", "numpy", "opencv-python",
    "opencv-python-headless", "pillow", "pillow-heif", "onnx", "onnxruntime", "openvino", "pyarrow",
)  # fmt: skip


def env() -> None:
    """Print the versions, devices and caches that hfpose uses, for reports of problems."""
    rows = [("hfpose", __version__), ("Python", f"{platform.python_version()}, {sys.executable}")]
    rows += [("system", platform.platform()), *((name, _version(name)) for name in _PACKAGES)]
    rows += [*_devices(), *_caches()]
    width = max(len(name) for name, _ in rows) + 2
    for name, value in rows:
        print(f"{name:<{width}}{value}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> list[tuple[str, str]]:
    import torch

    rows = [("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")]
    rows += [(f"cuda:{i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
    return [*rows, ("mps", "available")] if torch.backends.mps.is_available() else rows


def _caches() -> list[tuple[str, str]]:
    from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

    from hfpose.hub.downloads import cache_dir

    hub = f"{HF_HUB_CACHE}{', offline' if HF_HUB_OFFLINE else ''}"
    return [("cache", str(cache_dir())), ("cache of the Hub", hub)]
