"""What of ONNX Runtime computes on a device: its execution providers with their options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hfpose.errors import ConfigError

# By kind of device: the provider, and the package that has it.
_PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime, on macOS"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml, on Windows"),
}
# What computes the operators that the first one does not have, apart from the CPU.
_ALSO = {"tensorrt": "cuda"}


def providers(
    device: str, available: Sequence[str], is_half: bool = False, cache: Path | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Providers for a device with their options, as `onnxruntime.InferenceSession` takes them, the first choice first.

    Args:
        device: `"cpu"`, `"cuda"`, `"tensorrt"`, `"coreml"` or `"directml"`, with `":1"` added for the second of its
            kind.
        available: what the onnxruntime that is installed offers.
        is_half: whether inner layers compute in float16.
        cache: folder for what a provider compiles; None compiles every time.

    Raises:
        ConfigError: if onnxruntime does not offer the provider.
    """
    kind, _, number = device.partition(":")
    provider, package = _PROVIDERS.get(kind, (None, ""))
    if provider not in available:
        install = f"Install {package} in its place" if provider else f"Devices are {', '.join(_PROVIDERS)}"
        raise ConfigError(
            f'backend="onnxruntime" cannot run on {device}: the onnxruntime that is installed offers '
            f'{", ".join(available)}. {install}, or use device="cpu" or backend="torch".'
        )
    kinds = [kind, _ALSO.get(kind, "cpu")]
    chosen = {_PROVIDERS[each][0]: _options(each, int(number or 0), is_half, cache) for each in (*kinds, "cpu")}
    return [(name, options) for name, options in chosen.items() if name in available]


def _options(kind: str, number: int, is_half: bool, cache: Path | None) -> dict[str, Any]:
    if kind in ("cuda", "directml"):
        return {"device_id": number}
    if kind == "tensorrt":
        stored = {} if cache is None else {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(cache),
        }  # fmt: skip
        return {"device_id": number, "trt_fp16_enable": is_half, **stored}
    if kind == "coreml":
        return {"ModelFormat": "MLProgram", **({} if cache is None else {"ModelCacheDirectory": str(cache)})}
    return {}
