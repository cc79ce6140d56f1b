"""Image processors whose settings are attributes of their classes, as those of transformers' own are."""

import copy
import inspect
import math
from collections.abc import Mapping
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from hfpose.errors import InputError
from hfpose.hub.push_mixin import PushWithCode
from hfpose.models.shared.configuration import MAX_SIZE

Positive = Annotated[float, "a finite number above 0"]
Count = Annotated[int, f"a whole number from 1 to {MAX_SIZE}"]
Odd = Annotated[int, f"an odd number from 1 to {MAX_SIZE}"]

_WORDS: dict[type, str] = {
    bool: "True or False",
    int: "a whole number, not below 0",
    float: "a finite number",
    str: "a text",
    NoneType: "None",
}


class SettingsImageProcessor(PushWithCode, BaseImageProcessor):
    """Base of the image processors.

    The annotated attributes of a class are its settings, and their values the defaults; it is made with any of them by
    name. transformers saves a None only where the class has another default.

    Raises:
        InputError: for a setting of a wrong type, or a number that is not finite or asks for more than any memory
            holds.
    """

    def __init__(self, **settings: Any) -> None:
        kinds = self.setting_kinds()
        defaults = {name: copy.deepcopy(getattr(type(self), name)) for name in kinds}
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in (defaults | self.given(settings)).items()
        }
        for name, kind in kinds.items():
            if not _fits(settings[name], kind):
                raise InputError(f"{name} is {repr(settings[name])[:200]}; expected {_described(kind)}.")
        super().__init__(**settings)

    def __call__(self, *inputs: Any, **options: Any) -> BatchFeature:
        """What `preprocess` makes of its arguments.

        Args:
            options: arguments of `preprocess`; `device`, where the tensors shall be; and settings of the processor
                that shall be others for this call alone, as `size` or `do_normalize`.

        Raises:
            InputError: for an option that the processor does not know.
        """
        device, arguments = options.pop("device", None), self._arguments()
        settings = {name: options.pop(name) for name in options.keys() - arguments}
        made: Any = self.with_settings(**settings).preprocess(*inputs, **options)
        return made if device is None else made.to(device)

    def with_settings(self, **settings: Any) -> Self:
        """The processor with other settings; itself where there are none.

        Raises:
            InputError: for a setting that the processor does not have.
        """
        settings = self.given(settings)
        if not settings:
            return self
        known = {name: getattr(self, name) for name in self.setting_kinds()}
        if unknown := sorted(settings.keys() - known.keys()):
            names = sorted({*known, *self._arguments(), "device"})
            raise InputError(f"{type(self).__name__} has no option {', '.join(unknown)}; it takes {', '.join(names)}.")
        return type(self)(**known | settings)

    @classmethod
    @cache
    def _arguments(cls) -> frozenset[str]:
        """Names of the arguments of `preprocess`."""
        return frozenset(inspect.signature(cls.preprocess).parameters) - {"self"}

    @classmethod
    @cache
    def setting_kinds(cls) -> dict[str, Any]:
        """The settings and the types of their values, each as the nearest class has it."""
        classes = cls.__mro__[: cls.__mro__.index(SettingsImageProcessor)]
        kinds = [item for each in classes for item in inspect.get_annotations(each, eval_str=True).items()]
        return {
            name: kind for name, kind in reversed(kinds) if get_origin(kind) is not ClassVar and hasattr(cls, name)
        }

    @classmethod
    def given(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings without those that are None, which means that they are not given, unless None is a value of
        theirs."""
        kinds = cls.setting_kinds()
        return {name: v for name, v in settings.items() if v is not None or _fits(None, kinds.get(name, NoneType))}

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """A processor of the settings in a file; keyword arguments replace them."""
        given = {name: kwargs.pop(name) for name in list(kwargs) if name in cls.setting_kinds()}
        return super().from_dict({**image_processor_dict, **given}, **kwargs)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; whole numbers are numbers too, and lists do for any sequence."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in args)
    if origin is Literal:
        return value in args
    if origin is Annotated:
        most = math.inf if kind is Positive else MAX_SIZE
        return _fits(value, args[0]) and 0 < value <= most and (kind is not Odd or value % 2 == 1)
    if origin is dict:
        return isinstance(value, Mapping) and all(_fits(item, args[1]) for item in value.values())
    if origin is not None:
        return isinstance(value, (list, tuple)) and all(_fits(item, args[0]) for item in value)
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0
    return isinstance(value, kind)


def _described(kind: Any) -> str:
    """The values of a type, in words."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_described, args))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin is Annotated:
        return str(args[1])
    if origin is not None:
        return f"a {origin.__name__.lower()}, each value {_described(args[-1])}"
    return _WORDS[kind]
