"""Models with LoRA adapters of peft: saved alone, loaded again, merged."""

from __future__ import annotations

import numpy as np
import pytest
import transformers

import hfpose

peft = pytest.importorskip("peft", reason="needs peft, which hfpose does not depend on")

IMAGE = np.random.default_rng(0).integers(0, 255, (256, 192, 3), dtype=np.uint8)


@pytest.fixture
def adapted(tiny_pose):
    """RTMPose with a LoRA adapter on its tokens that changes what it finds."""
    model = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose)
    config = peft.LoraConfig(target_modules=["embedding", "classifier_x"], lora_alpha=64, init_lora_weights=False)
    return peft.get_peft_model(model, config).eval()


def keypoints(model, folder):
    processor = hfpose.RTMPoseImageProcessor.from_pretrained(folder)
    pipe = hfpose.pipeline(
        "pose-estimation", model=model, image_processor=processor, detector="whole_image", device="cpu"
    )
    return pipe(IMAGE).keypoints


def test_an_adapter_loads_to_the_same_keypoints(adapted, tiny_pose, tmp_path):
    plain = keypoints(transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose), tiny_pose)
    expected = keypoints(adapted.base_model.model, tiny_pose)
    assert not np.allclose(expected, plain, atol=0.1)
    adapted.save_pretrained(tmp_path)
    model = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose)
    again = peft.PeftModel.from_pretrained(model, tmp_path).eval()
    np.testing.assert_allclose(keypoints(again.base_model.model, tiny_pose), expected, atol=1e-3)
    by_folder = transformers.AutoModelForPoseEstimation.from_pretrained(tmp_path)
    np.testing.assert_allclose(keypoints(by_folder, tiny_pose), expected, atol=1e-3)


def test_a_merged_model_is_saved_as_any_other(adapted, tiny_pose, tmp_path):
    expected = keypoints(adapted.base_model.model, tiny_pose)
    adapted.merge_and_unload().save_pretrained(tmp_path)
    hfpose.RTMPoseImageProcessor.from_pretrained(tiny_pose).save_pretrained(tmp_path)
    merged = hfpose.pipeline("pose-estimation", model=tmp_path, detector="whole_image", device="cpu")
    np.testing.assert_allclose(merged(IMAGE).keypoints, expected, atol=0.01)
