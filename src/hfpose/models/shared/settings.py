"""Image processors whose settings are attributes of their classes, as those of transformers' own are."""

import copy
import inspect
from typing import Any

from transformers.image_processing_utils import BaseImageProcessor

from hfpose.hub.push_mixin import PushWithCode


class SettingsImageProcessor(PushWithCode, BaseImageProcessor):
    """Base of the image processors.

    The annotated attributes of a class are its settings, and their values the defaults; it is made with any of them by name.
    transformers saves a None only where the class has another default.
    """

    def __init__(self, **settings: Any) -> None:
        defaults = {name: copy.deepcopy(getattr(type(self), name)) for name in self.setting_names()}
        settings = {
            name: list(value) if isinstance(value, tuple) else value for name, value in (defaults | settings).items()
        }
        super().__init__(**settings)

    @classmethod
    def setting_names(cls) -> list[str]:
        """Names of the settings, those of the class itself first."""
        kinds = cls.__mro__[: cls.__mro__.index(SettingsImageProcessor)]
        annotations = {name: str(kind) for each in kinds for name, kind in inspect.get_annotations(each).items()}
        return [name for name, kind in annotations.items() if "ClassVar" not in kind and hasattr(cls, name)]
