"""Where the stages of a pipeline run: on devices with memory to spare, spread over several, or in turns on one.

Stages are placed whole where they fit. One that fits nowhere is split between its layers by accelerate, over what is
left of the accelerators, then the CPU's memory, then the disk; weights that are not on an accelerator come to it layer
by layer.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from transformers import PreTrainedModel

from hfpose.errors import InputError
from hfpose.models.shared.devices import accelerate_hook, default_device, existing_device
from hfpose.ops.quiet import without_warnings_of
from hfpose.pipelines.stage import Stage, is_graph_device

Device = int | str
"""As accelerate names devices: the number of an accelerator, `"mps"`, `"cpu"` or `"disk"`."""

Memory = Mapping[Device, int | str]
"""Bytes, or text such as `"2GB"`, for each device."""

DeviceMap = str | Mapping[str, torch.device | str | int]

STAGE_NAMES = ("detector", "pose", "lifter")
POLICIES = ("auto", "balanced")

# Beyond its weights a stage needs room for what the allocator rounds up and fragments.
_WEIGHT_MARGIN = 1.1
# Of free memory this share is used, and on accelerators this much is left for images and activations.
_USABLE_SHARE = 0.9
_WORKING_MEMORY = 1 << 30


class StagedPipeline:
    """A pipeline of stages that can be put on devices, and pushed to the Hub."""

    @property
    def stages(self) -> dict[str, Stage]:
        """Its models by what they are for, in the order in which they run."""
        raise NotImplementedError

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload what `save_pretrained` writes, with a card; the repository is made if it is not there.

        Args:
            repo_id: `organization/name`, or a name of your own account.
            token: for the Hub; by default the one that is logged in with.
            private: whether a new repository is private.
            revision: branch to write to, which is made if it is not there; None for main.
            create_pr: open a pull request instead of writing to the branch.

        Returns:
            The full id of the repository.

        Raises:
            UploadError: if the Hub refuses.
        """
        from hfpose.hub.uploads import push_saved_pipeline

        pipe: Any = self
        return push_saved_pipeline(
            pipe, repo_id, token=token, private=private, revision=revision, create_pr=create_pr
        ).repo_id

    @property
    def device_map(self) -> dict[str, Any]:
        """Where each stage is: its device, or for one that is split the device of each part."""
        return {name: _whereabouts(stage) for name, stage in self.stages.items()}

    @property
    def backends(self) -> dict[str, str]:
        """What runs each stage, and what its inner layers compute in, such as `"openvino bfloat16"`."""
        return {name: stage.backend for name, stage in self.stages.items()}

    def to(
        self, device: torch.device | torch.dtype | str | int | None = None, dtype: torch.dtype | str | None = None
    ) -> Self:
        """Put all stages on one device, wherever they were, and give them a floating point type, which may stand alone
        as with `torch.nn.Module.to`; returns the pipeline.

        Raises:
            InputError: if this machine has no such device, or for an unknown type.
        """
        if isinstance(device, torch.dtype):
            if dtype is not None:
                raise InputError(f"The type is given twice, as {device} and {dtype}; put the device first.")
            device, dtype = None, device
        target = None if device is None else existing_device(device)
        for stage in self.stages.values():
            if target is not None:
                release(stage.model)
                torch.nn.Module.to(stage.model, device=target)
            if dtype is not None:
                stage.cast(dtype)
        return self.refresh()

    def half(self) -> Self:
        """All stages in float16, as `to(dtype="float16")`; returns the pipeline."""
        return self.to(dtype=torch.float16)

    def bfloat16(self) -> Self:
        """All stages in bfloat16, as `to(dtype="bfloat16")`; returns the pipeline."""
        return self.to(dtype=torch.bfloat16)

    def float(self) -> Self:
        """All stages in float32, as `to(dtype="float32")`; returns the pipeline."""
        return self.to(dtype=torch.float32)

    def cuda(self, device: torch.device | str | int | None = None) -> Self:
        """All stages on an Nvidia GPU, as `to("cuda")`; returns the pipeline."""
        return self.to("cuda" if device is None else device)

    def cpu(self) -> Self:
        """All stages in main memory, as `to("cpu")`; returns the pipeline."""
        return self.to("cpu")

    def refresh(self) -> Self:
        """Note that models of the pipeline were moved, cast or given other tensors without it; returns the pipeline.

        What runs a model keeps what it made of it at its first call, until weights are changed in place, as
        `load_state_dict` does. `to`, `place` and `enable_model_cpu_offload` call this by themselves.
        """
        for stage in self.stages.values():
            stage.refresh()
        return self

    def place(
        self,
        device_map: DeviceMap,
        max_memory: Memory | None = None,
        offload_folder: str | Path | None = None,
    ) -> Self:
        """Spread the stages over devices; returns the pipeline.

        Args:
            device_map: `"auto"` uses as few devices as hold the stages, `"balanced"` gives each accelerator about as
                much. A dict says where each stage goes, such as `{"detector": "cpu", "pose": "cuda:1"}`; `"disk"`
                keeps its weights in files and loads them layer by layer. Stages that are not in it go to the default
                device.
            max_memory: what may be used of each device for weights, as in transformers: `{0: "2GB", "cpu": "8GB"}`.
                Default: what is free, less some room to work in.
            offload_folder: where weights go that no memory holds. They are deleted with the pipeline. Default: the
                system's folder for temporary files.

        Raises:
            InputError: for a stage or device that is not there, or `max_memory` with a dict.
        """
        stages = self.stages
        if isinstance(device_map, str):
            if device_map not in POLICIES:
                raise InputError(
                    f"device_map is {device_map!r}; expected {', '.join(map(repr, POLICIES))}, or a dict such as "
                    '{"pose": "cuda:0"}. For one device for everything use device=... instead.'
                )
            memory = usable_memory(max_memory)
            for stage in stages.values():
                release(stage.model)
            _place_by_memory(stages, memory, device_map == "balanced", offload_folder)
            return self.refresh()
        if max_memory is not None:
            raise InputError(
                "max_memory has no effect with a dict of devices; give it with device_map='auto' or 'balanced'."
            )
        targets = _checked_devices(device_map, stages)
        for name, stage in stages.items():
            release(stage.model)
            _spread(stage.model, {"": targets[name]}, offload_folder)
        return self.refresh()

    def enable_model_cpu_offload(self, device: torch.device | str | int | None = None) -> None:
        """Keep the stages in the CPU's memory and bring each to `device` (default: the accelerator) while it runs.

        One stage at most is on the device at any time: each sends the others away before it comes. A large
        `batch_size` lets them take turns less often.

        Raises:
            InputError: if this machine has no such device.
        """
        from accelerate.hooks import add_hook_to_module

        target = existing_device(device)
        models = [stage.model for stage in self.stages.values()]
        for model in models:
            release(model)
        for model in models:
            add_hook_to_module(model, _turn_taker(target, [other for other in models if other is not model]))
        self.refresh()


PipelineT = TypeVar("PipelineT", bound=StagedPipeline)


@dataclass(frozen=True)
class Placement:
    """Where a pipeline that is to be loaded goes: on one device, or spread as `StagedPipeline.place` does.

    Raises:
        InputError: if the arguments contradict each other.
    """

    device: torch.device | str | int | None = None
    device_map: DeviceMap | None = None
    max_memory: Memory | None = None
    offload_folder: str | Path | None = None

    def __post_init__(self) -> None:
        if self.device_map is None and (self.max_memory is not None or self.offload_folder is not None):
            raise InputError("max_memory and offload_folder need device_map='auto' or 'balanced', which uses them.")
        if self.device_map is not None and self.device is not None:
            raise InputError(f"Give device={self.device!r} for one device for everything, or device_map, not both.")

    @property
    def loading_device(self) -> torch.device | str:
        """Where the stages are loaded: what is to be spread is loaded into the CPU's memory."""
        if is_graph_device(self.device):
            return str(self.device)
        if self.device_map is not None:
            return torch.device("cpu")
        if self.device is None or self.device == "auto":
            return default_device()
        if self.device == -1:  # as in transformers
            return torch.device("cpu")
        return existing_device(self.device)

    def apply(self, pipeline: PipelineT) -> PipelineT:
        """Spread what has been loaded, if that is wanted."""
        if self.device_map is not None:
            pipeline.place(self.device_map, self.max_memory, self.offload_folder)
        return pipeline


def plan_stages(
    sizes: Mapping[str, int], memory: Mapping[Device, int], balanced: bool = False
) -> tuple[dict[str, Device | None], dict[Device, int]]:
    """The device of each stage, None for one that fits on none as a whole, and what is left of each device's memory.

    The largest stage chooses first: the first accelerator with room for it, or with `balanced` the one with most room.
    The CPU counts only where there is no accelerator.

    Args:
        sizes: bytes of each stage.
        memory: bytes of each device, in order of preference.
        balanced: whether to spread the load.
    """
    left, devices = dict(memory), _computing_devices(memory)
    plan: dict[str, Device | None] = dict.fromkeys(sizes)
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        fitting = [device for device in devices if left[device] >= sizes[name]]
        if fitting:
            chosen = max(fitting, key=lambda device: left[device]) if balanced else fitting[0]
            left[chosen] -= sizes[name]
            plan[name] = chosen
    return plan, left


def usable_memory(max_memory: Memory | None = None) -> dict[Device, int]:
    """Bytes that weights may take of each device, accelerators first.

    Args:
        max_memory: limits that the caller gives, taken as they are. Default: a share of what is free, with working
            memory left on accelerators.

    Raises:
        InputError: for a device that this machine does not have, or a size that is none.
    """
    from accelerate.utils import get_max_memory

    if max_memory is None:
        usable = {device: int(_USABLE_SHARE * size) for device, size in get_max_memory().items()}
        return {device: size if device == "cpu" else max(0, size - _WORKING_MEMORY) for device, size in usable.items()}
    for device in max_memory:
        if device != "disk":
            existing_device(device)
    try:
        return get_max_memory({device: size for device, size in max_memory.items() if device != "disk"})
    except ValueError as error:
        raise InputError(
            f"max_memory is {dict(max_memory)}: {error} Expected bytes or text such as '2GB' for accelerators by "
            "their number and for 'cpu'."
        ) from error


def stage_size(model: torch.nn.Module) -> int:
    """Bytes to set aside for a model: its parameters and buffers, and a tenth more."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return int(_WEIGHT_MARGIN * sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))


def _part_size(model: torch.nn.Module, part: str) -> int:
    """Bytes of the weights of a module of a model, or of one weight."""
    names = model.state_dict(keep_vars=True).items()
    inside = (tensor for name, tensor in names if not part or f"{name}.".startswith(f"{part}."))
    return sum(tensor.numel() * tensor.element_size() for tensor in inside)


def release(model: torch.nn.Module) -> None:
    """Undo what placement has done to a model: no hooks, and all weights in memory."""
    if accelerate_hook(model) is None and not hasattr(model, "hf_device_map"):
        return
    from accelerate.hooks import remove_hook_from_module

    remove_hook_from_module(model, recurse=True)
    model.__dict__.pop("hf_device_map", None)


def _computing_devices(memory: Iterable[Device]) -> list[Device]:
    """The accelerators, or the CPU where there is none."""
    accelerators = [device for device in memory if device not in ("cpu", "disk")]
    return accelerators or [device for device in memory if device == "cpu"]


def _place_by_memory(
    stages: Mapping[str, Stage], memory: Mapping[Device, int], balanced: bool, offload_folder: str | Path | None
) -> None:
    # Whole models are run as a copy that is made for inference, so there are two of each.
    sizes = {name: stage_size(stage.model) * (1 if stage.runner is None else 2) for name, stage in stages.items()}
    plan, left = plan_stages(sizes, memory, balanced)
    for name, device in plan.items():
        if device is not None:
            _spread(stages[name].model, {"": device}, offload_folder)
    for name in (name for name, device in plan.items() if device is None):
        model = stages[name].model
        parts = split_model(model, left)
        for part, device in parts.items():
            if device != "disk":
                left[device] = max(0, left[device] - _part_size(model, part))
        _spread(model, parts, offload_folder, is_split=True)


def split_model(model: PreTrainedModel, memory: Mapping[Device, int]) -> dict[str, Device]:
    """The device of each part of a model, so that no device takes more than `memory` says; `"disk"` takes the rest.

    Parts that must stay together are those of the classes in the model's `_no_split_modules`.
    """
    from accelerate import infer_auto_device_map

    classes = list(getattr(model, "_no_split_modules", None) or ())
    with without_warnings_of("accelerate"):
        return dict(infer_auto_device_map(model, dict(memory), no_split_module_classes=classes))


def _spread(
    model: torch.nn.Module, parts: Mapping[str, Device], offload_folder: str | Path | None, is_split: bool = False
) -> None:
    """Put the parts of a model on their devices; those on the CPU or the disk run on an accelerator if one has a part.

    A model that `is_split` is run as it is, without a copy, even where in the end one device has all of it.
    """
    devices = set(parts.values())
    if len(devices) == 1 and "disk" not in devices and not is_split:
        torch.nn.Module.to(model, device=torch.device(devices.pop()))
        return
    from accelerate import dispatch_model

    folder = None
    if "disk" in devices:
        # A folder of its own, since accelerate takes weights that already lie in the one it is given for the model's.
        folder = tempfile.mkdtemp(prefix="hfpose-weights-", dir=offload_folder)
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    main = next(iter(_computing_devices(parts.values())), default_device().type)
    if "" in parts:  # accelerate writes no file for a model as one part
        own = [name for name, _ in (*model.named_children(), *model.named_parameters(recurse=False))]
        parts = dict.fromkeys(own, parts[""])
    with without_warnings_of("accelerate"):  # that weights are offloaded
        dispatch_model(model, dict(parts), main_device=main, offload_dir=folder, force_hooks=True)


def _turn_taker(device: torch.device, others: list[torch.nn.Module]) -> Any:
    """A hook that brings a stage to the device when it is called, after the others have left it."""
    from accelerate.hooks import CpuOffload
    from accelerate.utils.memory import clear_device_cache

    class TurnTaker(CpuOffload):
        def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            leaving = [other for other in others if next(other.parameters()).device.type != "cpu"]
            for other in leaving:
                torch.nn.Module.to(other, device="cpu")
            if leaving:
                clear_device_cache()
            return super().pre_forward(module, *args, **kwargs)

    return TurnTaker(execution_device=device)


def _checked_devices(device_map: Mapping[str, Any], stages: Mapping[str, Stage]) -> dict[str, Device]:
    """A device for each stage, from a dict that the caller gave."""
    for name in device_map:
        if name not in stages:
            known = ", ".join(stages)
            reason = "This pipeline has no such stage" if name in STAGE_NAMES else "There is no such stage"
            raise InputError(f"device_map has a device for {name!r}. {reason}; it has: {known}.")
    return {
        name: "disk" if device_map.get(name) == "disk" else str(existing_device(device_map.get(name)))
        for name in stages
    }


def _whereabouts(stage: Stage) -> Any:
    parts = dict(getattr(stage.model, "hf_device_map", None) or {"": str(stage.device)})
    devices = set(parts.values())
    return parts if len(devices) > 1 else devices.pop()
