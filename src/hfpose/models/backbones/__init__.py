"""Backbones: which there are, and how those of the reference become ours. Nothing is imported before it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig

    from hfpose.keypoints import KeypointSchema
    from hfpose.models.shared.conversion import RenameRules


@dataclass(frozen=True)
class BackboneFamily:
    """Where a family of backbones is.

    Args:
        file: name of its file in this folder, without ending.
        class_prefix: what the names of its classes, `...BackboneConfig` and `...Backbone`, begin with. None for a
            network of transformers, for which the file only holds the conversion.
        reference_types: names of its backbones in the reference.
    """

    file: str
    class_prefix: str | None
    reference_types: tuple[str, ...]

    auto_class: ClassVar[str] = "AutoBackbone"

    @property
    def model_type(self) -> str:
        """`model_type` of its configuration."""
        return f"{self.file}_backbone" if self.class_prefix else self.file

    @property
    def classes(self) -> dict[str, str]:
        """Kind of class -> its name, for classes of ours."""
        if self.class_prefix is None:
            return {}
        return {"configuration": f"{self.class_prefix}BackboneConfig", "modeling": f"{self.class_prefix}Backbone"}

    def module(self, kind: str = "conversion") -> str:
        """Name of the module that holds the class of that kind: there is one for all."""
        return f"hfpose.models.backbones.{self.file}"

    def load(self, kind: str) -> type:
        """The class of that kind."""
        return getattr(importlib.import_module(self.module(kind)), self.classes[kind])


BACKBONES = (
    BackboneFamily("cpm", "CPM", ("CPM",)),
    BackboneFamily("csp_darknet", "CSPDarknet", ("CSPDarknet",)),
    BackboneFamily("cspnext", "CSPNeXt", ("CSPNeXt",)),
    BackboneFamily("hourglass", "Hourglass", ("HourglassNet",)),
    BackboneFamily("hrformer", "HRFormer", ("HRFormer",)),
    BackboneFamily("hrnet", "HRNet", ("HRNet",)),
    BackboneFamily("lite_hrnet", "LiteHRNet", ("LiteHRNet",)),
    BackboneFamily("mspn", "MSPN", ("MSPN",)),
    BackboneFamily("alexnet", "AlexNet", ("AlexNet",)),
    BackboneFamily("mobilenet_v2", "MobileNetV2", ("MobileNetV2",)),
    BackboneFamily("pvt", "PVT", ("PyramidVisionTransformer", "PyramidVisionTransformerV2")),
    BackboneFamily("shufflenet_v1", "ShuffleNetV1", ("ShuffleNetV1",)),
    BackboneFamily("shufflenet_v2", "ShuffleNetV2", ("ShuffleNetV2",)),
    BackboneFamily("swin", None, ("SwinTransformer",)),
    BackboneFamily("vgg", "VGG", ("VGG",)),
    BackboneFamily("vipnas_mobilenet_v3", "ViPNASMobileNetV3", ("ViPNAS_MobileNetV3",)),
    BackboneFamily("vipnas_resnet", "ViPNASResNet", ("ViPNAS_ResNet",)),
    BackboneFamily("resnet", "ResNet", ("ResNet", "ResNetV1d", "SEResNet", "ResNeXt", "ResNeSt", "SCNet")),
    BackboneFamily("rsn", "RSN", ("RSN",)),
)


def backbone_from_reference(backbone: Mapping[str, Any]) -> PreTrainedConfig:
    """Configuration for the reference's settings of a backbone.

    Raises:
        ConfigError: for a backbone, or a setting of it, that is not supported.
    """
    kind = str(backbone.get("type")).rsplit(".")[-1]
    family = next((family for family in BACKBONES if kind in family.reference_types), None)
    if family is None:
        from hfpose.errors import ConfigError

        known = sorted(name for family in BACKBONES for name in family.reference_types)
        raise ConfigError(f"The backbone {kind} is not supported; known ones are {', '.join(known)}.")
    return importlib.import_module(family.module()).config_from_reference({**backbone, "type": kind})


def estimator_arguments(
    reference: Mapping[str, Any], num_keypoints: int, schema: KeypointSchema | None
) -> dict[str, Any]:
    """Configuration arguments for the reference's settings of an estimator: its backbone and its keypoints."""
    from hfpose.models.shared.conversion import keypoint_arguments

    return {
        "backbone_config": backbone_from_reference(reference["backbone"]),
        **keypoint_arguments(num_keypoints, schema),
    }


def convert_backbone(state_dict: Mapping[str, Tensor], config: PreTrainedConfig) -> dict[str, Tensor]:
    """The reference's tensors, those below `backbone.` under our names, the others as they are.

    Args:
        config: of its backbone.
    """
    from hfpose.models.shared.conversion import rename_state_dict

    family = next(family for family in BACKBONES if family.model_type == config.model_type)
    module = importlib.import_module(family.module())
    prefix = "backbone."
    inner = {name.removeprefix(prefix): tensor for name, tensor in state_dict.items() if name.startswith(prefix)}
    if hasattr(module, "convert_state_dict"):  # where renaming is not enough
        converted = module.convert_state_dict(inner, config)
    else:
        converted = rename_state_dict(inner, module.RENAMES)
    others = {name: tensor for name, tensor in state_dict.items() if not name.startswith(prefix)}
    return {prefix + name: tensor for name, tensor in converted.items()} | others


def convert_estimator(
    state_dict: Mapping[str, Tensor],
    config: Any,
    renames: RenameRules,
    backbone_config: PreTrainedConfig | None = None,
) -> dict[str, Tensor]:
    """The tensors of an estimator or detector under our names: its backbone's by their own rules, then all others by
    `renames`. `backbone_config` is for a configuration without one."""
    from hfpose.models.shared.conversion import rename_state_dict

    return rename_state_dict(convert_backbone(state_dict, backbone_config or config.backbone_config), renames)
