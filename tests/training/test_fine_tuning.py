"""Fine-tuning from annotations to a folder that a pipeline loads."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hfpose
from coco_files import people_content, write_json, write_people
from hfpose.annotations import image_boxes, read_coco
from hfpose.errors import ConfigError, InputError
from hfpose.media.images import save_image
from hfpose.models.auto import processor_for_transformers
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.training.augmentation import FittedImages, PersonCrops
from hfpose.training.collators import DetectionCollator
from hfpose.training.datasets import AnnotatedImages, SampleStream
from hfpose.training.fine_tuning import FineTuning, fine_tune
from hfpose.training.parts import load_part, trained_part
from hfpose.training.relabeling import label_tensors, with_labels
from hfpose.training.training_run import TrainingSettings, train
from small_models import small_model

NAMES = ("head", "left_hand", "right_hand", "left_foot", "right_foot")


@pytest.fixture(scope="module")
def small_pose(tmp_path_factory):
    """Folder of an RTMPose for crops of 64x64 pixels."""
    schema = hfpose.load_schema("coco")
    torch.manual_seed(0)
    model = hfpose.RTMPoseForPoseEstimation(
        hfpose.RTMPoseConfig(
            backbone_config=ResNetBackboneConfig(
                stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic"
            ),
            image_size=(64, 64), hidden_size=32, attention_size=16,
            id2label=dict(enumerate(schema.keypoint_names)), keypoint_schema=schema.to_dict(),
        )
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "small-pose"
    model.save_pretrained(folder)
    hfpose.RTMPoseImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def small_detector(tmp_path_factory):
    """Folder of an RTMDet for images of 64x64 pixels that knows chairs and people."""
    torch.manual_seed(0)
    config = hfpose.RTMDetConfig(
        depth_multiplier=0.167, width_multiplier=0.125, neck_size=16, id2label={0: "chair", 1: "person"}
    )
    folder = tmp_path_factory.mktemp("models") / "small-detector"
    hfpose.RTMDetForObjectDetection(config).save_pretrained(folder)
    hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def make_task(model, folder):
    (folder / "data").mkdir()
    data = write_people(folder / "data")
    return FineTuning(
        str(model), data, folder / "out", num_steps=2, batch_size=2, num_workers=0, use_cpu=True, save_steps=1
    )


@pytest.fixture
def task(small_pose, tmp_path):
    return make_task(small_pose, tmp_path)


@pytest.fixture(scope="module")
def measured(small_pose, tmp_path_factory):
    """A task that has run, and its messages."""
    task = make_task(small_pose, tmp_path_factory.mktemp("measured"))
    task = replace(task, num_steps=3, validation_data=task.data)
    return task, run(task)


def run(task: FineTuning) -> list[str]:
    """Trains; returns the messages."""
    messages: list[str] = []
    fine_tune(task, tell=messages.append)
    return messages


def animals(folder, count: int = 5):
    """A file of people who have other keypoints."""
    content = people_content(folder)
    for annotation in content["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][: 3 * count]
        annotation["num_keypoints"] = count
    content["categories"][0] |= {"keypoints": list(NAMES[:count]), "skeleton": [[1, 2], [1, 3]]}
    return write_json(folder / "animals.json", content)


def test_the_folder_is_loaded_by_pipeline_and_has_a_card_with_its_numbers(measured):
    task, messages = measured
    assert "Training pose model on 8 samples for 3 steps." in messages
    assert messages[-1].startswith("On people.json, annotated boxes: AP ")
    pipe = hfpose.pipeline("pose-estimation", model=task.output, detector="whole_image", device="cpu")
    assert pipe(str(task.data.parent / "0.png")).keypoints.shape == (1, 17, 2)
    card = (task.output / "README.md").read_text()
    for text in (
        "library_name: hfpose",
        "Fine-tuned from",
        "`people.json`, 8 samples",
        "CPU cores",
        "- people.json, ",
    ):
        assert text in card


def test_weights_change_and_the_base_model_does_not(task, small_pose):
    before = (small_pose / "model.safetensors").read_bytes()
    messages = run(replace(task, log_steps=1))
    assert (small_pose / "model.safetensors").read_bytes() == before
    assert (task.output / "model.safetensors").read_bytes() != before
    assert messages[-1].startswith("Loss ")  # there are no validation data


def test_validation_images_may_lie_with_those_of_the_training(task, tmp_path):
    annotations = tmp_path / "val.json"
    annotations.write_bytes(task.data.read_bytes())
    task = replace(task, num_steps=1, validation_data=annotations)
    with pytest.raises(InputError, match="None of the"):
        run(task)
    messages = run(replace(task, images=task.data.parent))
    assert messages[-1].startswith("On val.json, annotated boxes: ")


def test_other_keypoints_initialize_the_layers_that_depend_on_them_and_say_so(task, tmp_path):
    data = animals(tmp_path / "data")
    messages = run(replace(task, data=data))
    (message,) = [message for message in messages if "newly initialized" in message]
    assert "17 keypoints of 'coco'" in message and "5 of 'unnamed'" in message
    assert "head.keypoint_features.weight, head.keypoint_features.bias" in message
    pipe = hfpose.pipeline("pose-estimation", model=task.output, detector="whole_image", device="cpu")
    assert pipe.schema.keypoint_names == NAMES
    assert pipe.schema.flip_indices == (0, 2, 1, 4, 3)
    assert pipe.schema.skeleton == ((0, 1), (0, 2))
    assert pipe(str(tmp_path / "data/0.png")).keypoints.shape == (1, 5, 2)


def test_as_many_keypoints_of_other_names_are_other_keypoints(task, tmp_path):
    content = people_content(tmp_path / "data")
    content["categories"][0]["keypoints"] = list(hfpose.load_schema("ap10k").keypoint_names)
    messages = run(replace(task, data=write_json(tmp_path / "data/animals.json", content)))
    assert any("17 of 'ap10k': newly initialized" in message for message in messages)


def test_a_schema_can_be_given_where_the_data_name_none(task, tmp_path):
    data = animals(tmp_path / "data")
    content = json.loads(data.read_text())
    del content["categories"][0]["keypoints"]
    write_json(data, content)
    with pytest.raises(InputError, match="8 x 15 keypoint values instead of 3 x 17"):
        run(replace(task, data=data))
    schema = {"name": "mine", "keypoint_names": list(NAMES)}
    messages = run(replace(task, data=data, schema=str(write_json(tmp_path / "mine.json", schema))))
    assert any("5 of 'mine'" in message for message in messages)


def test_what_is_left_out_is_told(task, tmp_path):
    content = people_content(tmp_path / "data")
    content["annotations"][0]["bbox"] = [900, 900, 10, 10]
    (tmp_path / "data/3.png").unlink()
    messages = run(replace(task, data=write_json(tmp_path / "data/people.json", content)))
    assert any("1 x bbox outside of the image: annotation 100 of image 1" in message for message in messages)
    assert any("1 x image that is missing: 3.png" in message for message in messages)
    assert any("Training pose model on 5 samples" in message for message in messages)


def test_a_folder_with_a_run_of_other_settings_is_not_continued(task):
    run(task)
    with pytest.raises(ConfigError, match=r"learning_rate=0.0005, now 0.1"):
        run(replace(task, learning_rate=0.1))
    assert any(
        "Going on from" in line for line in run(replace(task, num_workers=1))
    )  # what does not matter may change


def test_the_number_of_steps_follows_from_the_epochs(task):
    settings = replace(task, num_steps=None, epochs=2.5, batch_size=3).settings(num_samples=8)
    assert settings.num_steps == 7
    assert 1 <= settings.warmup_steps <= 7


def test_several_processes_share_the_epochs(task, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert replace(task, num_steps=None, epochs=2.5, batch_size=3).settings(num_samples=8).num_steps == 4


def test_detectors_learn_boxes_and_are_measured(task, small_detector, tmp_path):
    content = people_content(tmp_path / "data")
    content["categories"].append({"id": 7, "name": "chair"})
    content["annotations"].append({"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 30, 40]})
    data = write_json(tmp_path / "data/both.json", content)
    messages = run(replace(task, model=str(small_detector), data=data, validation_data=data))
    assert not any("newly initialized" in message for message in messages)
    assert messages[-1].startswith("On both.json, detection: AP ")
    trained = hfpose.RTMDetForObjectDetection.from_pretrained(task.output)
    assert trained.config.id2label == {0: "chair", 1: "person"}


def test_a_detector_for_other_classes_gets_new_class_layers(task, small_detector):
    messages = run(replace(task, model=str(small_detector)))
    (message,) = [message for message in messages if "newly initialized" in message]
    assert message.startswith("The detector knows chair, person, the data have person: newly initialized head.class_")
    assert "box_predictions" not in message
    assert hfpose.RTMDetForObjectDetection.from_pretrained(task.output).config.id2label == {0: "person"}


def test_new_layers_are_as_of_a_new_model_and_the_others_are_kept(small_detector):
    model = hfpose.RTMDetForObjectDetection.from_pretrained(small_detector)
    changed, names = with_labels(model, ["a", "b", "c"], seed=5)
    assert set(names) == {f"head.class_predictions.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")}
    old, new = model.state_dict(), changed.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old if name not in names)
    assert new["head.class_predictions.0.weight"].shape[0] == 3
    np.testing.assert_allclose(new["head.class_predictions.0.bias"], -np.log(99), rtol=1e-5)
    again = with_labels(model, ["a", "b", "c"], seed=5)[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in new.items())


def vitpose():
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    backbone = VitPoseBackboneConfig(
        image_size=(64, 48), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2, out_indices=[1]
    )
    schema = hfpose.load_schema("coco")
    config = VitPoseConfig(
        backbone_config=backbone, id2label=dict(enumerate(schema.keypoint_names)), keypoint_schema=schema.to_dict()
    )
    return VitPoseForPoseEstimation(config)


def sapiens2():
    from transformers import Sapiens2Config, Sapiens2ForPoseEstimation

    config = Sapiens2Config(
        image_size=(64, 48), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_register_tokens=1, num_labels=17,
        head_config={"upsample_out_channels": [8], "conv_out_channels": [8], "conv_kernel_sizes": [1]},
    )  # fmt: skip
    return Sapiens2ForPoseEstimation(config)


def hrnet():
    backbone = hfpose.HRNetBackboneConfig(
        stem_channels=8, stage_modules=(1, 1), stage_blocks=((1,), (1, 1)), stage_channels=((4,), (4, 8)),
        stage_block_types=("bottleneck", "basic"),
    )  # fmt: skip
    config = hfpose.HeatmapConfig(
        backbone_config=backbone, image_size=(64, 64), deconv_channels=(), deconv_kernel_sizes=(), num_labels=17
    )
    return hfpose.HeatmapForPoseEstimation(config)


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (vitpose, ["head.conv.weight", "head.conv.bias"]),
        (hrnet, ["head.heatmaps.weight", "head.heatmaps.bias"]),
    ],
)
def test_tensors_that_depend_on_the_keypoints_are_found_in_any_family(make, layers):
    assert label_tensors(make()) == layers


@pytest.mark.parametrize("make", [vitpose, sapiens2])
def test_models_of_transformers_are_trained_although_they_have_no_loss_of_keypoints(make, task, tmp_path):
    folder, model = tmp_path / "model", make()
    model.save_pretrained(folder)
    processor_for_transformers(model.config.model_type)(size={"height": 64, "width": 48}).save_pretrained(folder)
    run(replace(task, model=str(folder), data=animals(tmp_path / "data")))
    pipe = hfpose.pipeline("pose-estimation", model=task.output, detector="whole_image", device="cpu")
    assert pipe(str(tmp_path / "data/0.png")).keypoints.shape == (1, 5, 2)


@pytest.mark.parametrize("name", ["ssdlite", "rtmw3d", "motionbert_dstformer-243frm_8xb32-240e_h36m"])
def test_models_that_cannot_be_trained_say_so(task, name, tmp_path):
    if name in ("ssdlite", "rtmw3d"):
        model, processor = small_model("ssdlite")
        for part in (model, processor):
            part.save_pretrained(tmp_path / name)
        name = str(tmp_path / name)
    with pytest.raises(ConfigError, match=r"computes no loss|lifts 2D keypoints|keypoints with a depth"):
        run(replace(task, model=name))


def boxes_and_discs(folder, count: int, seed: int):
    """Images of noise with a box and a disc each, and their annotations."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    images, annotations = [], []
    for index in range(count):
        pixels = rng.integers(60, 140, (160, 200, 3), dtype=np.uint8)
        for kind, left in enumerate(rng.permutation([0, 100]).tolist(), start=1):
            side = int(rng.integers(30, 60))
            x, y = rng.integers(4, (96 - side, 156 - side)).tolist()
            x += left
            if kind == 1:
                cv2.rectangle(pixels, (x, y), (x + side, y + side), (220, 60, 60), -1)
            else:
                cv2.circle(pixels, (x + side // 2, y + side // 2), side // 2, (60, 90, 230), -1)
            entry = {"id": len(annotations) + 1, "image_id": index + 1, "category_id": kind}
            annotations.append(entry | {"bbox": [x, y, side, side]})
        save_image(folder / f"{index}.png", pixels)
        images.append({"id": index + 1, "file_name": f"{index}.png", "width": 200, "height": 160})
    categories = [{"id": 1, "name": "box"}, {"id": 2, "name": "disc"}]
    return write_json(folder / "things.json", {"images": images, "annotations": annotations, "categories": categories})


@pytest.mark.slow
def test_the_packaged_detector_learns_own_classes(tmp_path):
    data, held_out = boxes_and_discs(tmp_path / "train", 24, 1), boxes_and_discs(tmp_path / "val", 6, 2)
    messages = run(
        FineTuning(
            "demo", data, tmp_path / "out", validation_data=held_out, num_steps=50, batch_size=6, learning_rate=2e-3,
            num_workers=0, use_cpu=True,
        )
    )  # fmt: skip
    before, after = map(float, re.search(r"AP (\d\.\d+) -> (\d\.\d+)", messages[-1]).groups())
    assert before < 0.05 and after > 0.6


@pytest.mark.slow
def test_the_packaged_detector_learns_four_images_by_heart(tmp_path):
    """Without augmentation its loss falls to next to nothing."""
    coco = read_coco(boxes_and_discs(tmp_path / "data", 4, 1))
    stage = load_part("demo", "detector")
    model, _ = with_labels(stage.model, ["box", "disc"], seed=0)
    stage.image_processor.size = {"height": 160, "width": 160}
    samples = AnnotatedImages(image_boxes(coco, {1: 0, 2: 1}))
    stream = SampleStream(samples, FittedImages(stage.image_processor, None), 200 * 4)
    settings = TrainingSettings(
        num_steps=200, batch_size=4, learning_rate=4e-3, weight_decay=0.0, num_workers=0, log_steps=20, save_steps=1000,
        use_cpu=True,
    )  # fmt: skip
    summary = train(model, stream, DetectionCollator(stage.image_processor), tmp_path / "run", settings)
    assert summary.losses[-1] < 0.05


def test_what_training_does_with_keypoints_is_told_at_its_start(task, tmp_path):
    messages = run(replace(task, data=animals(tmp_path / "data")))
    assert "5 keypoints of 'unnamed', 4.5 of them labeled in the mean (4 to 5)." in messages
    assert any("has no sigmas: 0.05 is taken" in line for line in messages)
    mirrored = "50% of the crops are flipped; 2 flip pairs: left_hand and right_hand, left_foot and right_foot."
    assert mirrored in messages
    sigmas = write_json(tmp_path / "sigmas.json", [0.1, 0.1, 0.1, 0.2, 0.2])
    messages = run(replace(task, data=tmp_path / "data/animals.json", sigmas=sigmas, output=tmp_path / "other"))
    assert "Sigmas: 0.1 to 0.2." in messages


def test_a_model_is_measured_before_and_after_and_the_best_weights_are_kept(measured):
    task, messages = measured
    steps = [line for line in messages if line.startswith("Step ")]
    assert [line.split(":")[0] for line in steps] == ["Step 1", "Step 2", "Step 3"]
    assert re.match(
        r"On people.json, annotated boxes: AP \d.\d{3} -> \d.\d{3}, .*\(weights of step \d\)", messages[-1]
    )
    best = load_file(task.output / "checkpoints/best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in load_file(task.output / "model.safetensors").items())


def test_training_stops_when_nothing_gets_better(task):
    messages = run(replace(task, num_steps=20, learning_rate=0.0, validation_data=task.data, patience=2))
    # Statistics of norms go on changing, so a step after the first can be the best.
    (end,) = re.findall(r"Nothing better in 2 checkpoints, so training stops at step (\d+)\.", "\n".join(messages))
    assert int(end) < 20 and f"(weights of step {int(end) - 2})" in messages[-1]


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interrupt_saves_a_checkpoint_and_says_how_to_go_on(task, monkeypatch):
    steps, raised = [], []
    usual = signal.getsignal(signal.SIGINT)

    def interrupting(self, sample, rng, progress):
        steps.append(progress)
        # Samples are made before the run begins as well, when an interrupt would end the tests.
        if len(steps) >= 3 and not raised and signal.getsignal(signal.SIGINT) is not usual:
            raised.append(True)
            signal.raise_signal(signal.SIGINT)
        return made(self, sample, rng, progress)

    made = PersonCrops.__call__
    monkeypatch.setattr(PersonCrops, "__call__", interrupting)
    long = replace(task, num_steps=6, save_steps=100)
    messages = run(long)
    assert re.match(r"Interrupted after step [1-5]; the checkpoint is .*checkpoint-[1-5]\. ", messages[-1])
    assert messages[-1].endswith("To go on, run the same command again.")
    assert not (task.output / "config.json").exists()
    again = run(long)
    assert any("Going on from" in line for line in again)
    assert (task.output / "config.json").exists()


def test_of_a_pipeline_the_part_is_trained_that_the_data_are_for(small_pose, small_detector, tmp_path):
    pipe = hfpose.pipeline("pose-estimation", model=small_pose, detector=small_detector, device="cpu")
    folder = tmp_path / "pipe"
    pipe.save_pretrained(folder)
    content = people_content(tmp_path)
    with_keypoints = read_coco(write_json(tmp_path / "people.json", content))
    for annotation in content["annotations"]:
        del annotation["keypoints"]
    boxes = read_coco(write_json(tmp_path / "boxes.json", content))
    assert [trained_part(str(folder), coco) for coco in (with_keypoints, boxes)] == ["pose", "detector"]
    assert [trained_part("demo", coco) for coco in (with_keypoints, boxes)] == ["pose", "detector"]
    assert trained_part(str(folder), with_keypoints, "detector") == "detector"
    with pytest.raises(ConfigError, match="is a pose model, so it has no part 'detector'"):
        trained_part(str(small_pose), with_keypoints, "detector")
    stage = load_part("demo", "pose")  # stored in float16
    assert {value.dtype for value in stage.model.parameters()} == {torch.float32}


def test_faults_stop_training_unless_they_are_allowed(task, tmp_path):
    content = people_content(tmp_path / "data")
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]
    data = write_json(tmp_path / "data/corners.json", content)
    with pytest.raises(InputError, match="4 x bbox that looks like x1, y1, x2, y2"):
        run(replace(task, data=data))
    assert any(line.startswith("Fault of") for line in run(replace(task, data=data, allow_faults=True)))
