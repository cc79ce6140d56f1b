"""Copies of models that compute the same in less time, for inference alone.

Batch normalization scales and shifts each channel by numbers that stand still in inference, so they can be multiplied
into the convolution before it (Jacob et al., 2018, https://arxiv.org/abs/1712.05877, section 3.2). On the CPU a
convolution can then hand its result to the activation without going through memory, and keep its weights in the order
that oneDNN reads.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

_PACKING = threading.Lock()

Convolution = nn.Conv2d | nn.ConvTranspose2d
ModelT = TypeVar("ModelT", bound=nn.Module)
# A module, and the names of a convolution, a normalization and perhaps an activation in it that run one after the
# other.
_Sequence = tuple[nn.Module, tuple[str, ...]]

# Modules, by the name of their class, that run these children one after the other and nothing between them: a
# convolution, its normalization and an activation, where there is one.
_SEQUENCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "ConvNormAct": (("conv", "norm", "activation"),),
    "DeconvNormAct": (("conv", "norm", "activation"),),
    "ResNetConvLayer": (("convolution", "normalization", "activation"),),
    "ResNetShortCut": (("convolution", "normalization"),),
    "VitPoseClassicDecoder": (("deconv1", "batchnorm1", "relu1"), ("deconv2", "batchnorm2", "relu2")),
}

# oneDNN's name and parameters of the activations that it computes together with a convolution.
_FUSED_ACTIVATIONS: dict[str, tuple[str, list[float]]] = {
    "SiLU": ("swish", []),
    "SiLUActivation": ("swish", []),
    "Swish": ("swish", []),
    "ReLU": ("relu", []),
    "ReLU6": ("hardtanh", [0.0, 6.0]),
    "Identity": ("none", []),
    "LinearActivation": ("none", []),
}


def inference_copy(model: ModelT, inner_dtype: torch.dtype | None = None) -> ModelT:
    """A copy that computes the same as `model` in evaluation mode, up to rounding, in less time.

    Weights that stay as they are belong to both. The copy is for calling only: it cannot be trained, saved or moved.

    Args:
        inner_dtype: floating point type of all between the first convolution and the module `head`, which keep the
            model's own, and in float16 of the first convolution too; None: of everything the model's own.
    """
    fast, sequences = _folded_copy(model)
    if inner_dtype is not None:
        _lower_inner_layers(fast, sequences, inner_dtype)
    weight = next(fast.parameters(), None)
    if weight is not None and weight.device.type == "cpu" and _has_fused_convolutions():
        _pack_convolutions(fast, sequences)
    else:
        _put_channels_last(fast)
    return fast


def fold_batch_norms(model: ModelT) -> ModelT:
    """A copy of a model in evaluation mode whose convolutions do the work of the batch normalizations after them.

    Weights that stay as they are belong to both models.
    """
    return _folded_copy(model)[0]


def _folded_copy(model: ModelT) -> tuple[ModelT, list[_Sequence]]:
    """See `fold_batch_norms`; with the modules in which a convolution is followed by what was folded into it."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    folded = _copy_of_modules(model, shared).eval()
    _separate_shared_convolutions(folded)
    sequences = list(_sequences(folded))
    for module, (conv, norm, *_) in sequences:
        if isinstance(getattr(module, norm), nn.BatchNorm2d):
            setattr(module, conv, folded_convolution(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
    return folded, sequences


def _copy_of_modules(module: ModelT, memo: dict[int, Any]) -> ModelT:
    """What `copy.deepcopy` gives, in a fraction of its time: most of what a module holds are empty dictionaries.

    Args:
        memo: by `id`, what is not copied or is copied already.
    """
    if id(module) in memo or hasattr(type(module), "__deepcopy__"):
        return copy.deepcopy(module, memo)
    copied = memo[id(module)] = module.__new__(type(module))
    for name, value in vars(module).items():
        if name == "_modules":
            value = {key: child if child is None else _copy_of_modules(child, memo) for key, child in value.items()}
        elif name in ("_parameters", "_buffers"):
            value = {key: copy.deepcopy(tensor, memo) for key, tensor in value.items()}
        elif isinstance(value, (dict, set)) and not value:
            value = value.copy()
        else:
            value = copy.deepcopy(value, memo)
        vars(copied)[name] = value
    return copied


def _lower_inner_layers(model: nn.Module, sequences: Iterable[_Sequence], dtype: torch.dtype) -> None:
    """Cast what lies between the first convolution and the head of a folded copy, and what goes in and out of it."""
    head: nn.Module = model.get_submodule("head")
    outer = next(head.parameters()).dtype
    first, _ = next((module, names) for module, names in sequences if module is not head)
    kept = {*head.modules()}
    if dtype == torch.float16:  # which holds pixels to a tenth of a level
        _take_in(first, dtype)
    else:
        kept |= {*first.modules()}
        first.register_forward_hook(lambda module, inputs, output: output.to(dtype))
    for module in model.modules():
        if module not in kept:
            for weights in (module._parameters, module._buffers):
                # Instead of what is there, which belongs to the model too.
                weights |= {
                    name: _frozen(value.to(dtype)) if isinstance(value, nn.Parameter) else value.to(dtype)
                    for name, value in weights.items()
                    if value is not None and value.is_floating_point()
                }
    _take_in(head, outer)


def _take_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Let a module cast the tensors that it is given."""
    module.register_forward_pre_hook(lambda _, inputs: tree_map_only(Tensor, lambda value: value.to(dtype), inputs))


def folded_convolution(conv: Convolution, norm: nn.BatchNorm2d) -> Convolution:
    """One convolution for a convolution and the batch normalization after it."""
    assert norm.running_mean is not None and norm.running_var is not None
    weight, bias = _exact(conv.weight), -_exact(norm.running_mean)
    if conv.bias is not None:
        bias = bias + _exact(conv.bias)
    factor = (_exact(norm.running_var) + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * _exact(norm.weight)
    bias = bias * factor
    if norm.affine:
        bias = bias + _exact(norm.bias)
    if isinstance(conv, nn.ConvTranspose2d):  # weights (in, out / groups, h, w), output channels group by group
        per_input = factor.view(conv.groups, 1, -1).expand(-1, conv.in_channels // conv.groups, -1)
        factor = per_input.reshape(conv.in_channels, -1, 1, 1)
    else:
        factor = factor.view(-1, 1, 1, 1)
    folded = copy.copy(conv)
    folded._parameters = {
        "weight": _frozen((weight * factor).to(conv.weight)),
        "bias": _frozen(bias.to(conv.weight)),
    }
    return folded


class PackedConv2d(nn.Module):
    """A convolution and an activation in one step of oneDNN, with the weights in its own order.

    That order depends on the size of the input. It is chosen for the first input, and fits others of that height and
    width, whatever their number.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.weight: Tensor = conv.weight.detach()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.settings = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        self.fused, self.constants = _FUSED_ACTIVATIONS[type(activation).__name__]
        self.is_packed = False

    def forward(self, hidden_state: Tensor) -> Tensor:
        if not self.is_packed:
            self._pack(hidden_state)
        return torch.ops.mkldnn._convolution_pointwise(
            hidden_state, self.weight, self.bias, *self.settings, self.fused, self.constants, ""
        )

    def _pack(self, hidden_state: Tensor) -> None:
        with _PACKING:
            if self.is_packed:  # by another thread
                return
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, *self.settings, list(hidden_state.shape)
            )
            self.is_packed = True


def _has_fused_convolutions() -> bool:
    if not torch.backends.mkldnn.is_available() or not torch.backends.mkldnn.enabled:
        return False
    names = ("_reorder_convolution_weight", "_convolution_pointwise", "_is_mkldnn_bf16_supported")
    return all(hasattr(torch.ops.mkldnn, name) for name in names)


def _is_fused_in(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes fused convolutions in a type; torch alone computes in more."""
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _pack_convolutions(model: nn.Module, sequences: Iterable[_Sequence]) -> None:
    for module, (conv, _, *activations) in sequences:
        following = [name for name in activations if type(getattr(module, name)).__name__ in _FUSED_ACTIVATIONS]
        convolution = getattr(module, conv)
        if following and _can_be_packed(convolution):
            setattr(module, conv, PackedConv2d(convolution, getattr(module, following[0])))
            setattr(module, following[0], nn.Identity())
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _can_be_packed(child):
                setattr(parent, name, PackedConv2d(child, nn.Identity()))


def _put_channels_last(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight = _frozen(module.weight.contiguous(memory_format=torch.channels_last))


def _can_be_packed(module: object) -> TypeGuard[nn.Conv2d]:
    """Whether a module does what `torch.nn.Conv2d` does with numbers for padding, and nothing else, in a type that
    oneDNN fuses."""
    if not isinstance(module, nn.Conv2d) or type(module).forward is not nn.Conv2d.forward:
        return False
    is_padded_with_zeros = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return is_padded_with_zeros and _is_fused_in(module.weight.dtype)


def _separate_shared_convolutions(model: nn.Module) -> None:
    """Replace modules that share convolutions between normalizations by what they tell they are without sharing."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            separate = getattr(child, "without_sharing", None)
            if callable(separate):
                setattr(parent, name, separate())


def _sequences(model: nn.Module) -> Iterator[_Sequence]:
    for module in model.modules():
        for names in _SEQUENCES.get(type(module).__name__, ()):
            yield module, names
        if isinstance(module, nn.Sequential):
            children = list(module._modules.items())  # `named_children` leaves out what comes twice
            for (conv, first), (norm, second), (activation, _) in zip(
                children, children[1:], [*children[2:], ("", None)], strict=False
            ):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    yield module, tuple(name for name in (conv, norm, activation) if name)


def _exact(tensor: Tensor) -> Tensor:
    """In double precision, on the CPU because not every accelerator has it."""
    return tensor.detach().to("cpu", torch.float64)


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach(), requires_grad=False)
