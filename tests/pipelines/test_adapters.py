"""Models with LoRA adapters of peft: saved alone, loaded again, merged; quantized and offloaded ones."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import hfpose
from hfpose.errors import CheckpointError, ConfigError, UnknownModelError

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="needs peft, which hfpose does not depend on")

IMAGE = np.random.default_rng(0).integers(0, 255, (256, 192, 3), dtype=np.uint8)


@pytest.fixture
def adapted(tiny_pose):
    """RTMPose with a LoRA adapter on its tokens that changes what it finds."""
    import peft

    model = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose)
    config = peft.LoraConfig(target_modules=["embedding", "classifier_x"], lora_alpha=64, init_lora_weights=False)
    return peft.get_peft_model(model, config).eval()


def keypoints(model, folder):
    processor = hfpose.RTMPoseImageProcessor.from_pretrained(folder)
    pipe = hfpose.pipeline(
        "pose-estimation", model=model, image_processor=processor, detector="whole_image", device="cpu"
    )
    return pipe(IMAGE).keypoints


@needs_peft
def test_an_adapter_loads_to_the_same_keypoints(adapted, tiny_pose, tmp_path):
    import peft

    plain = keypoints(transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose), tiny_pose)
    expected = keypoints(adapted.base_model.model, tiny_pose)
    assert not np.allclose(expected, plain, atol=0.1)
    adapted.save_pretrained(tmp_path)
    model = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose)
    again = peft.PeftModel.from_pretrained(model, tmp_path).eval()
    np.testing.assert_allclose(keypoints(again.base_model.model, tiny_pose), expected, atol=1e-3)
    np.testing.assert_allclose(keypoints(again, tiny_pose), expected, atol=1e-3)
    by_folder = transformers.AutoModelForPoseEstimation.from_pretrained(tmp_path)
    np.testing.assert_allclose(keypoints(by_folder, tiny_pose), expected, atol=1e-3)
    pipe = hfpose.pipeline(model=tmp_path, detector="whole_image", device="cpu")
    np.testing.assert_allclose(pipe(IMAGE).keypoints, expected, atol=1e-3)


@needs_peft
def test_a_merged_model_is_saved_as_any_other(adapted, tiny_pose, tmp_path):
    expected = keypoints(adapted.base_model.model, tiny_pose)
    adapted.merge_and_unload().save_pretrained(tmp_path)
    hfpose.RTMPoseImageProcessor.from_pretrained(tiny_pose).save_pretrained(tmp_path)
    merged = hfpose.pipeline("pose-estimation", model=tmp_path, detector="whole_image", device="cpu")
    np.testing.assert_allclose(merged(IMAGE).keypoints, expected, atol=0.01)


@pytest.fixture
def adapter(tiny_pose, tmp_path):
    """Folder of an adapter of a linear layer and a convolution, as peft writes it."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"head.embedding": ((4, 48), (64, 4)), "head.keypoint_features": ((2, 128, 7, 7), (17, 2, 1, 1))}
    tensors = {
        f"base_model.model.{layer}.lora_{matrix}.weight": torch.randn(shape, generator=generator)
        for layer, both in shapes.items()
        for matrix, shape in zip("AB", both, strict=True)
    }
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "lora_alpha": 8, "r": 4, "base_model_name_or_path": str(tiny_pose)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_an_adapter_folder_is_a_model_with_changed_weights(adapter, tiny_pose):
    pipe = hfpose.pipeline(model=adapter, detector="whole_image", device="cpu")
    found, plain = (
        model.state_dict()
        for model in (
            pipe.estimator.stage.model, transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose),
        )
    )  # fmt: skip
    tensors = load_file(adapter / "adapter_model.safetensors")
    a, b = (tensors[f"base_model.model.head.embedding.lora_{matrix}.weight"] for matrix in "AB")
    torch.testing.assert_close(found["head.embedding.weight"], plain["head.embedding.weight"] + b @ a * 2)
    a, b = (tensors[f"base_model.model.head.keypoint_features.lora_{matrix}.weight"] for matrix in "AB")
    change = torch.einsum("or,rihw->oihw", b[:, :, 0, 0], a) * 4
    torch.testing.assert_close(found["head.keypoint_features.weight"], plain["head.keypoint_features.weight"] + change)
    assert {key for key in plain if not torch.equal(plain[key], found[key])} == {
        "head.embedding.weight", "head.keypoint_features.weight",
    }  # fmt: skip
    assert np.isfinite(pipe(IMAGE).keypoints).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"peft_type": "LOHA"}, ConfigError, "LOHA; plain LoRA is supported"),
        ({"use_dora": True}, ConfigError, "use_dora"),
        ({"base_model_name_or_path": None}, ConfigError, "does not say what model"),
        ({"base_model_name_or_path": "human7"}, UnknownModelError, "adapter in"),
        ({"lora_alpha": "x"}, ConfigError, "lora_alpha"),
        ({"lora_alpha": float("nan")}, ConfigError, "lora_alpha"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_one_sentence(adapter, change, error, message):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(error, match=message):
        hfpose.pipeline(model=adapter, detector="whole_image", device="cpu")


def test_an_adapter_of_another_model_is_refused(adapter, tmp_path):
    save_file(
        {"base_model.model.head.embedding.lora_A.weight": torch.zeros(4, 9)}, adapter / "adapter_model.safetensors"
    )
    with pytest.raises(CheckpointError, match="one of two matrices"):
        hfpose.pipeline(model=adapter, detector="whole_image", device="cpu")
    save_file({"base_model.model.neck.weight": torch.zeros(4)}, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="no such layer"):
        hfpose.pipeline(model=adapter, detector="whole_image", device="cpu")


def test_an_adapter_under_another_name_is_not_found(adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"has no adapter_model.safetensors that can be read"):
        hfpose.pipeline(model=adapter, detector="whole_image", device="cpu")


def test_a_pickled_adapter_is_not_read(adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="no weights as safetensors"):
        hfpose.pipeline(model=adapter, detector="whole_image", device="cpu")


def test_a_model_object_whose_weights_are_on_disk(tiny_pose, tmp_path):
    expected = hfpose.pipeline(model=tiny_pose, detector="whole_image", device="cpu")(IMAGE)
    options = {"device_map": {"backbone": "cpu", "head": "disk"}, "offload_folder": tmp_path}
    model = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose, **options)
    assert model.head.embedding.weight.device.type == "meta"
    found = hfpose.pipeline(model=model, detector="whole_image")(IMAGE)
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)


@pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao, whose import prints what it cannot load")
def test_models_quantized_by_torchao(tiny_pose):
    from torchao.quantization import Int8WeightOnlyConfig

    quantization = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    plain = hfpose.pipeline(model=tiny_pose, detector="whole_image", device="cpu")(IMAGE)
    options = {"quantization_config": quantization, "dtype": "float32"}
    model = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose, **options)
    pipes = [
        hfpose.pipeline(model=model, detector="whole_image", device="cpu"),
        hfpose.pipeline(model=tiny_pose, detector="whole_image", device="cpu", quantization_config=quantization),
    ]
    for pipe in pipes:
        weight = pipe.estimator.stage.model.head.embedding.weight
        assert type(weight).__module__.startswith("torchao.")
        found = pipe(IMAGE)
        assert np.abs(found.keypoint_scores - plain.keypoint_scores).max() > 0
        assert np.median(np.abs(found.keypoints - plain.keypoints)) < 5
    np.testing.assert_array_equal(pipes[0](IMAGE).keypoints, pipes[1](IMAGE).keypoints)
