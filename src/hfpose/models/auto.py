"""The model families, and their registration with transformers' Auto classes."""

import copy
import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

from hfpose.models.backbones import BACKBONES, BackboneFamily


@dataclass(frozen=True)
class Family:
    """Where the classes of one model family are.

    Args:
        model_type: name of its folder, and `model_type` of its configuration.
        class_prefix: what the names of its classes begin with.
        auto_class: name of the class of transformers that loads its models.
        reference_heads: names of its heads in the reference, by which a config tells its family.
        class_suffix: what the name of its model class ends with; default: what that of `auto_class` does.
    """

    model_type: str
    class_prefix: str
    auto_class: str
    reference_heads: tuple[str, ...]
    class_suffix: str | None = None

    @property
    def classes(self) -> dict[str, str]:
        """Kind of file -> the public class in it."""
        suffix = self.class_suffix or self.auto_class.removeprefix("AutoModel")
        return {
            "configuration": f"{self.class_prefix}Config",
            "modeling": f"{self.class_prefix}{suffix}",
            "image_processing": f"{self.class_prefix}ImageProcessor",
        }

    def module(self, kind: str) -> str:
        """Name of the module that holds the class of that kind."""
        return f"hfpose.models.{self.model_type}.{kind}_{self.model_type}"

    def load(self, kind: str) -> type:
        """The class of that kind."""
        return getattr(importlib.import_module(self.module(kind)), self.classes[kind])


POSE, DETECTION, BASE = "AutoModelForPoseEstimation", "AutoModelForObjectDetection", "AutoModel"
FAMILIES = (
    Family("rtmpose", "RTMPose", POSE, ("RTMCCHead",)),
    Family("rtmw", "RTMW", POSE, ("RTMWHead",)),
    Family("rtmw3d", "RTMW3D", POSE, ("RTMW3DHead",)),
    Family("heatmap", "Heatmap", POSE, ("HeatmapHead", "ViPNASHead", "CPMHead", "MSPNHead")),
    Family("regression", "Regression", POSE, ("RegressionHead", "RLEHead", "IntegralRegressionHead", "DSNTHead")),
    Family("simcc", "SimCC", POSE, ("SimCCHead",)),
    Family("rtmo", "RTMO", POSE, ("RTMOHead",)),
    Family("yolox_pose", "YOLOXPose", POSE, ("YOLOXPoseHead",)),
    Family("dekr", "DEKR", POSE, ("DEKRHead",)),
    Family("cid", "CID", POSE, ("CIDHead",)),
    Family("associative_embedding", "AssociativeEmbedding", POSE, ("AssociativeEmbeddingHead",)),
    Family("edpose", "EDPose", POSE, ("EDPoseHead",)),
    Family("internet", "InterNet", POSE, ("InternetHead",), "ForHandPose"),
    Family("motionbert", "MotionBert", BASE, ("MotionRegressionHead",), "ForPoseLifting"),
    Family("temporal_convolution", "TemporalConvolution", BASE, ("TemporalRegressionHead",), "ForPoseLifting"),
    Family("rtmdet", "RTMDet", DETECTION, ("RTMDetSepBNHead",)),
    Family("yolox", "YOLOX", DETECTION, ("YOLOXHead",)),
    Family("ssdlite", "SSDLite", DETECTION, ("SSDHead",)),
)
# Backbones of transformers need no registration.
ALL_FAMILIES: tuple[Family | BackboneFamily, ...] = (*FAMILIES, *(family for family in BACKBONES if family.classes))

# `model_type` of the pose models of transformers -> name of our image processor, which takes the files of theirs.
TRANSFORMERS_TYPES = {"vitpose": "ViTPoseImageProcessor", "sapiens2": "Sapiens2ImageProcessor"}

LIFTER_TYPES = frozenset(family.model_type for family in FAMILIES if family.auto_class == BASE)
"""`model_type` of the models that lift 2D keypoints to 3D."""


def processor_for_transformers(model_type: str) -> Any:
    """The class of our image processor for a pose model of transformers; None for other models."""
    name = TRANSFORMERS_TYPES.get(model_type)
    if name is None:
        return None
    return getattr(importlib.import_module(f"hfpose.models.{model_type}.image_processing_{model_type}"), name)


def own_processor(name: str | None) -> Any:
    """The class of our image processor of that name; None for others."""
    return next(
        (family.load("image_processing") for family in FAMILIES if family.classes["image_processing"] == name), None
    )


class BackboneOf:
    """What `AutoModel` and `AutoBackbone` make of a model with a head: its backbone, with the weights of the model."""

    config_class: ClassVar[type]
    model_class: ClassVar[Any]

    @classmethod
    def from_pretrained(cls, *args: Any, out_indices: Any = None, out_features: Any = None, **kwargs: Any) -> Any:
        """The backbone of a saved model; `out_indices` or `out_features` choose its feature maps."""
        return cls._select(cls.model_class.from_pretrained(*args, **kwargs), out_indices, out_features)

    @classmethod
    def _from_config(cls, config: Any, out_indices: Any = None, out_features: Any = None, **kwargs: Any) -> Any:
        own = copy.deepcopy(config)  # of which the choice of feature maps is a part
        return cls._select(cls.model_class._from_config(own, **kwargs), out_indices, out_features)

    @staticmethod
    def _select(model: Any, out_indices: Any, out_features: Any) -> Any:
        if out_indices is not None or out_features is not None:
            model.backbone.config.set_output_features_output_indices(out_features, out_indices)
        return model.backbone


def register_models() -> None:
    """Register the classes of every family with transformers' Auto classes. Imports torch."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES

    for family in ALL_FAMILIES:
        config_class, model_class = family.load("configuration"), family.load("modeling")
        transformers.AutoConfig.register(family.model_type, config_class)
        getattr(transformers, family.auto_class).register(config_class, model_class)
        if isinstance(family, BackboneFamily):
            transformers.AutoModel.register(config_class, model_class)
        elif family.auto_class != BASE:
            names = {"config_class": config_class, "model_class": model_class, "__module__": __name__}
            backbone_class = type(f"BackboneOf{family.class_prefix}", (BackboneOf,), names)
            transformers.AutoModel.register(config_class, backbone_class)
            transformers.AutoBackbone.register(config_class, backbone_class)
        if "image_processing" in family.classes:
            # The same class for both, since torchvision must not change a result.
            processors = dict.fromkeys(("pil", "torchvision"), family.load("image_processing"))
            transformers.AutoImageProcessor.register(config_class, image_processor_classes=processors)
        if family.auto_class == DETECTION:  # transformers' pipeline knows detectors by the names of their classes
            MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES[family.model_type] = family.classes["modeling"]
