"""transformers' tests of models and configurations, over every family and every backbone."""

from __future__ import annotations

import copy
import inspect
import unittest
from typing import Any

import torch
from tiny_models import BATCH_SIZE, CLIP_FRAMES, SIDE, inputs_for, tiny_models
from transformers import AutoBackbone, PreTrainedConfig, PreTrainedModel
from transformers_tests.test_backbone_common import BackboneTesterMixin
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin

from small_backbones import SMALL_BACKBONES

HAVE_ATTENTIONS = ("motionbert", "rtmo")
TRAINED_ALONE = ("dekr",)  # its rescoring network has no part in the loss

# Tests that say nothing of a model, by its name, and why.
NOT_APPLICABLE = {
    ("motionbert", "test_num_layers_is_small"): "what it counts are attentions, of which a layer has four",
    ("internet", "test_config"): "it gives the model five keypoints, and two hands have an even number",
    **dict.fromkeys(
        ((detector, "test_can_set_attention_dynamically") for detector in ("rtmdet", "yolox", "ssdlite")),
        "no attention, and the configuration of the backbone is made of the model's",
    ),
    ("cpm backbone", "test_model_is_small"): "all widths but two are fixed by the paper",
    ("hourglass backbone", "test_model_is_small"): "the widths of the stem are fixed by the paper",
}
FEATURE_MAPS = (
    "it takes the first output for a tensor, and a backbone's is a tuple; transformers' backbones skip it too"
)
FEW_STAGES = "it asks for four feature maps, and the default configuration has fewer"


def labels_for(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> dict[str, Any]:
    """Labels that ask for the loss."""
    count = config.num_labels
    if model_class.__name__.endswith("ForPoseLifting"):
        return {"labels": torch.rand(BATCH_SIZE, CLIP_FRAMES, count, 3)}
    if model_class.__name__.endswith("ForObjectDetection"):
        boxes = torch.tensor([[0.4, 0.5, 0.5, 0.7]])
        return {"labels": [{"class_labels": torch.zeros(1, dtype=torch.long), "boxes": boxes}] * BATCH_SIZE}
    if getattr(config, "image_size", None) is not None:
        dimensions = 3 if config.model_type == "rtmw3d" else 2
        return {"labels": torch.rand(BATCH_SIZE, count, dimensions) * SIDE}
    instance = {
        "boxes": torch.tensor([[8.0, 8, 40, 56]]),
        "keypoints": torch.rand(1, count, 2) * 40 + 8,
        "keypoint_weights": torch.ones(1, count),
        "areas": torch.tensor([1000.0]),
    }
    return {"labels": [instance] * BATCH_SIZE}


class ModelTester:
    """What transformers' tests ask for a configuration and inputs."""

    batch_size = BATCH_SIZE

    def __init__(self, model_class: type[PreTrainedModel], config: PreTrainedConfig) -> None:
        self.model_class, self.config = model_class, config
        self.is_training = "labels" in inspect.signature(model_class.forward).parameters
        is_rtmo = config.model_type == "rtmo"
        # What has attentions: four parts of a block of MotionBERT, and the layers over RTMO's coarsest feature map.
        self.num_hidden_layers = config.num_encoder_layers if is_rtmo else 4 * getattr(config, "num_hidden_layers", 0)
        self.num_attention_heads = getattr(config, "num_attention_heads", 0)
        self.seq_length = (SIDE // 32) ** 2 if is_rtmo else config.num_labels

    def prepare_config_and_inputs_for_common(self) -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
        return copy.deepcopy(self.config), inputs_for(self.model_class, self.config)


class NetworkTests(ModelTesterMixin):
    """Flags of networks without embeddings of tokens."""

    test_resize_embeddings = False
    model_class: type[PreTrainedModel]
    small_config: PreTrainedConfig

    def setUp(self) -> None:
        torch.manual_seed(0)
        self.all_model_classes = (self.model_class,)
        self.model_tester = ModelTester(self.model_class, self.small_config)

    def _prepare_for_class(self, inputs: Any, model_class: Any, return_labels: bool = False) -> Any:
        torch.manual_seed(0)
        labels = labels_for(model_class, self.small_config) if return_labels else {}
        return copy.deepcopy(inputs) | labels

    def test_config(self) -> None:
        tester = ConfigTester(self, type(self.small_config), has_text_modality=False, common_properties=[])
        tester.run_common_tests()

    def test_hidden_states_output(self) -> None:
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        with torch.no_grad():
            asked = self.model_class(config).eval()(**inputs, output_hidden_states=True).hidden_states
            config.output_hidden_states = True
            configured = self.model_class(config).eval()(**inputs).hidden_states
        assert len(asked) == len(configured) > 0

    @unittest.skip("no embeddings of tokens")
    def test_model_get_set_embeddings(self) -> None: ...

    @unittest.skip("no embeddings of tokens")
    def test_inputs_embeds(self) -> None: ...

    @unittest.skip("no feed forward network of a text model")
    def test_feed_forward_chunking(self) -> None: ...


class BackboneTests(NetworkTests, BackboneTesterMixin):
    has_attentions = False

    @unittest.skip(FEATURE_MAPS)
    def test_retain_grad_hidden_states_attentions(self) -> None: ...

    def test_config_save_pretrained(self) -> None:
        if len(self.config_class().stage_names) < 4:
            self.skipTest(FEW_STAGES)
        super().test_config_save_pretrained()


def _test_case(name: str, base: type, **attributes: Any) -> None:
    for (model, test), reason in NOT_APPLICABLE.items():
        if model == name:
            attributes[test] = unittest.skip(reason)(lambda self: None)
    globals()[f"Test:{name}"] = type(f"Test:{name}", (base, unittest.TestCase), {**attributes, "__module__": __name__})


for _name, (_model_class, _config) in tiny_models().items():
    _test_case(
        _name,
        NetworkTests,
        model_class=_model_class,
        small_config=_config,
        has_attentions=_name in HAVE_ATTENTIONS,
        test_all_params_have_gradient=_name not in TRAINED_ALONE,
    )

for _name, (_make_config, _) in SMALL_BACKBONES.items():
    _config = _make_config()
    _model_class = type(AutoBackbone.from_config(_config))
    if _model_class.__module__.startswith("hfpose."):
        _test_case(
            f"{_name} backbone",
            BackboneTests,
            model_class=_model_class,
            config_class=type(_config),
            small_config=_config,
        )
