"""transformers' tests of image processors, over those of every family that takes images."""

from __future__ import annotations

import unittest
from typing import Any

from transformers_tests.test_image_processing_common import ImageProcessingTester, ImageProcessingTestMixin

from hfpose.models.auto import FAMILIES, LIFTER_TYPES

# Tests that say nothing of a processor, and why.
NOT_APPLICABLE = {
    "test_call_numpy_4_channels": "the networks take three channels, in the order that the processor says",
    "test_new_models_require_torchvision_backend": "one implementation for both, as torchvision must not change a result",
    "test_valid_kwargs_set": "options are the parameters of `__init__`, not a class of transformers'",
}
# The size is that of the shorter side, or the least one of an image whose shape is kept.
VARY_IN_SIZE = ("edpose", "dekr", "cid", "associative_embedding")
SIZE_VARIES = "the network input keeps the shape of the image"


class ProcessorTester(ImageProcessingTester):
    """What transformers' tests ask for settings and images."""

    processor_class: type
    size = {"height": 64, "width": 64}

    def _get_image_processing_classes(self) -> dict[str, type]:
        return {"pil": self.processor_class}

    def prepare_image_processor_dict(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.2]}
        return settings | ({} if self.processor_class.__name__ == "EDPoseImageProcessor" else {"size": self.size})


for _family in FAMILIES:
    if _family.model_type not in LIFTER_TYPES:
        _name = f"{_family.model_type} image processor"
        _skipped = dict(NOT_APPLICABLE)
        if _family.model_type in VARY_IN_SIZE:
            _skipped |= dict.fromkeys(("test_call_pil", "test_call_numpy", "test_call_pytorch"), SIZE_VARIES)
        _processor_class = _family.load("image_processing")
        _tester = type("Tester", (ProcessorTester,), {"processor_class": _processor_class, "__module__": __name__})
        _attributes: dict[str, Any] = {test: unittest.skip(why)(lambda self: None) for test, why in _skipped.items()}
        _attributes |= {"image_processor_tester_class": _tester, "__module__": __name__}
        globals()[f"Test:{_name}"] = type(f"Test:{_name}", (ImageProcessingTestMixin, unittest.TestCase), _attributes)
