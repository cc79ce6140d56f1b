"""What transformers knows after `import hfpose`."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub.errors import HFValidationError

import hfpose
from hfpose.models.auto import ALL_FAMILIES, FAMILIES
from processes import run_python
from small_backbones import SMALL_BACKBONES
from small_models import small_model
from transformers_common.tiny_models import NAMES, tiny_models


@pytest.fixture(scope="module")
def tiny():
    """Class and small configuration of every family."""
    return tiny_models()


def run_interpreter(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


HFPOSE_FIRST = "import hfpose, transformers"
TRANSFORMERS_FIRST = """
import time, transformers.models.auto.image_processing_auto, transformers.models.auto.modeling_auto, transformers.pipelines
start = time.process_time()
import hfpose
assert time.process_time() - start < 1.5, "the import costs more than little beyond transformers"
"""
KNOWS_MODELS = """
from transformers.models.auto.modeling_auto import MODEL_FOR_POSE_ESTIMATION_MAPPING
config = transformers.AutoConfig.for_model("rtmpose")
assert type(config) is hfpose.RTMPoseConfig
assert type(config) in MODEL_FOR_POSE_ESTIMATION_MAPPING
"""
WITHOUT_HFPOSE = """
import sys
from transformers.models.auto import configuration_auto, modeling_auto
for name in [name for name in sys.modules if name.partition(".")[0] == "hfpose"]:
    del sys.modules[name]
for mapping in (configuration_auto.CONFIG_MAPPING, modeling_auto.MODEL_FOR_POSE_ESTIMATION_MAPPING):
    mapping._extra_content.clear()
"""


@pytest.mark.parametrize("imports", [HFPOSE_FIRST, WITHOUT_HFPOSE + TRANSFORMERS_FIRST])
def test_auto_classes_know_the_models_whatever_is_imported_first(imports, tmp_path):
    """Forked off a process that has imported hfpose first."""
    run_python(imports + KNOWS_MODELS, tmp_path, {})


@pytest.mark.slow
@pytest.mark.parametrize("imports", [HFPOSE_FIRST, TRANSFORMERS_FIRST])
def test_auto_classes_know_the_models_in_a_fresh_interpreter(imports):
    run_interpreter(imports + KNOWS_MODELS)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_every_family_is_exported_and_consistent(family):
    for kind, name in family.classes.items():
        assert getattr(hfpose, name) is family.load(kind)
    assert family.load("modeling").config_class is family.load("configuration")
    assert family.load("configuration").model_type == family.model_type


def test_transformers_common_tests_run_over_every_registered_model(tiny):
    configs = [config for _, config in tiny.values()] + [make() for make, _ in SMALL_BACKBONES.values()]
    tested = {type(config) for config in configs}
    assert {family.load("configuration") for family in ALL_FAMILIES} <= tested
    assert tuple(tiny) == NAMES


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = hfpose.nonsense


def test_object_detection_pipeline_of_transformers_loads_a_converted_folder(person_detector, photo, caplog):
    detector = transformers.pipeline("object-detection", model=str(person_detector))
    found = detector(str(photo), threshold=0.6)
    assert [each["label"] for each in found] == ["person"] * 4
    expected = {"xmin": 452, "ymin": 205, "xmax": 631, "ymax": 414}
    assert found[0]["box"] == expected
    assert not caplog.records


def test_auto_classes_load_folders(tiny_pose, person_detector):
    pose = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose)
    assert isinstance(pose, hfpose.RTMPoseForPoseEstimation)
    assert isinstance(transformers.AutoImageProcessor.from_pretrained(tiny_pose), hfpose.RTMPoseImageProcessor)
    detector = transformers.AutoModelForObjectDetection.from_pretrained(person_detector)
    assert isinstance(detector, hfpose.RTMDetForObjectDetection)


@pytest.mark.slow
def test_results_are_the_same_where_torchvision_is_said_to_be_installed(tiny_pose):
    """transformers chooses another backend of image processors where torchvision is there; ours has but one."""
    code = f"""
import numpy as np, transformers.utils.import_utils as utils
if {{installed}}:
    from transformers.models.auto import image_processing_auto as auto
    auto.is_torchvision_available = lambda *args, **kwargs: True
import hfpose, transformers
processor = transformers.AutoImageProcessor.from_pretrained({str(tiny_pose)!r})
image = np.random.default_rng(0).integers(0, 256, (100, 80, 3), dtype=np.uint8)
values = processor(image, boxes=[[[10, 10, 60, 90]]], return_tensors="pt")["pixel_values"]
print(type(processor).__name__, float(values.double().sum()))
"""
    with_it = run_interpreter(code.replace("{installed}", "True"))
    without = run_interpreter(code.replace("{installed}", "False"))
    assert with_it == without
    assert with_it.startswith("RTMPoseImageProcessor")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_load_in_half_precision(tiny_pose, dtype):
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image", dtype=dtype, device="cpu")
    assert np.isfinite(pipe(np.zeros((64, 48, 3), np.uint8)).keypoints).all()


def test_models_load_by_device_map_without_anything_left_on_meta(tiny_pose, person_detector):
    for cls, folder in (
        (hfpose.RTMPoseForPoseEstimation, tiny_pose),
        (hfpose.RTMDetForObjectDetection, person_detector),
    ):
        model = cls.from_pretrained(folder, device_map="cpu")
        tensors = [*model.parameters(), *model.buffers()]
        assert {tensor.device.type for tensor in tensors} == {"cpu"}


def test_plain_tuples_and_hidden_states(tiny_pose):
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose).eval()
    pixel_values = torch.rand(1, 3, 256, 192)
    with torch.inference_mode():
        simcc_x, simcc_y = model(pixel_values, return_dict=False)
        states = model(pixel_values, output_hidden_states=True).hidden_states
    assert simcc_x.shape == (1, 17, 384)
    assert simcc_y.shape == (1, 17, 512)
    assert [state.shape[-1] for state in states] == [48, 48, 24, 12, 6]


def test_fresh_models_have_finite_weights_everywhere(tiny):
    """`_init_weights` reaches every parameter and buffer, also those that were made on the meta device."""
    torch.use_deterministic_algorithms(True)  # new memory holds NaN
    try:
        models = {name: cls(config) for name, (cls, config) in tiny.items()}
    finally:
        torch.use_deterministic_algorithms(False)
    for name, model in models.items():
        assert all(torch.isfinite(tensor).all() for tensor in [*model.parameters(), *model.buffers()]), name


def test_fresh_heads_start_from_small_answers():
    """Initialization reaches layers whose parents hold no parameters themselves."""
    detector = hfpose.RTMDetForObjectDetection(hfpose.RTMDetConfig(width_multiplier=0.25, neck_size=64))
    biases = torch.cat([prediction.bias for prediction in detector.head.class_predictions])
    torch.testing.assert_close(biases.sigmoid(), torch.full_like(biases, 0.01))
    assert all(0.005 < prediction.weight.std() < 0.02 for prediction in detector.head.box_predictions)
    pose = hfpose.RTMPoseForPoseEstimation(
        hfpose.RTMPoseConfig(backbone_config=hfpose.CSPNeXtBackboneConfig(width_multiplier=0.25))
    )
    assert 0.0005 < pose.head.keypoint_features.weight.std() < 0.002
    assert 0.005 < pose.head.classifier_x.weight.std() < 0.02


@pytest.mark.parametrize(
    "name", ["RTMPoseConfig", "HRNetBackboneConfig", "RTMDetConfig", "YOLOXConfig", "SSDLiteConfig"]
)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_number_of_labels_survives_saving(name, count, tmp_path):
    """transformers leaves two labels out of files, as its default."""
    cls = getattr(hfpose, name)
    cls(num_labels=count).save_pretrained(tmp_path)
    assert cls.from_pretrained(tmp_path).num_labels == count


@pytest.mark.parametrize("name", ["rtmpose", "heatmap", "rtmo", "dekr", "internet", "rtmdet", "yolox", "ssdlite"])
def test_auto_model_loads_the_backbone_of_a_model(name, tmp_path):
    model, _ = small_model(name)
    model.save_pretrained(tmp_path)
    backbone = transformers.AutoModel.from_pretrained(tmp_path, out_indices=[0, 2]).eval()
    pixel_values = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        stem, second = backbone(pixel_values).feature_maps
        states = model.backbone(pixel_values, output_hidden_states=True).hidden_states
    torch.testing.assert_close((stem, second), (states[0], states[2]))


def test_ssdlite_reads_files_with_the_old_name_of_its_stages(tmp_path):
    settings = hfpose.SSDLiteConfig(backbone_stages=(1, 7)).to_dict()
    settings["out_indices"] = settings.pop("backbone_stages")
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert hfpose.SSDLiteConfig.from_pretrained(tmp_path).backbone_stages == [1, 7]


def test_auto_backbone_reads_no_folder_of_transformers_own_models_either(tmp_path):
    """It takes every name for one of the Hub; names there work, see tests/hub/test_push_routes.py."""
    theirs = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])
    for config in (theirs, SMALL_BACKBONES["hrnet"][0]()):
        transformers.AutoBackbone.from_config(config).save_pretrained(tmp_path)
        with pytest.raises(HFValidationError):
            transformers.AutoBackbone.from_pretrained(tmp_path)


def test_auto_backbone_knows_models_and_backbones():
    config = small_model("rtmpose")[0].config
    from_model = transformers.AutoBackbone.from_config(config, out_indices=[1, 4])
    assert type(from_model) is type(transformers.AutoModel.from_config(config.backbone_config))
    assert from_model.channels == [4, 32]
    assert config.backbone_config.out_indices == [4]  # the configuration stays as it was
