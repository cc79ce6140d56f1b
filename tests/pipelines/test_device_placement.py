"""Placing stages on devices: plans on paper, and offloading for real on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.utils import send_to_device
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import hfpose
from hfpose.errors import InputError
from hfpose.pipelines.device_placement import (
    _part_size,
    _turn_taker,
    plan_stages,
    split_model,
    stage_size,
)
from small_models import small_model

GB = 1 << 30
BOXES = [[40.0, 30.0, 120.0, 200.0], [150.0, 20.0, 260.0, 220.0]]
LABELS = dict(enumerate(hfpose.load_schema("coco").keypoint_names))
POSE = {"id2label": LABELS, "keypoint_schema": hfpose.load_schema("coco").to_dict()}


@pytest.fixture(scope="module")
def tiny_detector(tmp_path_factory) -> Path:
    """Folder of a small detector with random weights, whose scores are all different."""
    torch.manual_seed(1)
    config = hfpose.RTMDetConfig(depth_multiplier=0.167, width_multiplier=0.125, neck_size=16, id2label={0: "person"})
    folder = tmp_path_factory.mktemp("models") / "tiny-detector"
    model = hfpose.RTMDetForObjectDetection(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)  # the initialization for training finds nothing
    model.save_pretrained(folder)
    hfpose.RTMDetImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def make(tiny_pose, tiny_detector):
    """Makes a 2D pipeline of small models."""
    return partial(hfpose.pipeline, "pose-estimation", model=tiny_pose, detector=tiny_detector)


@pytest.fixture(scope="module")
def make_3d(tiny_pose, tiny_detector):
    """Makes a 3D pipeline of small models."""
    torch.manual_seed(0)
    config = hfpose.MotionBertConfig(hidden_size=192, num_hidden_layers=4, num_attention_heads=2, max_frames=9)
    lifter, processor = hfpose.MotionBertForPoseLifting(config), hfpose.MotionBertImageProcessor()
    lifter.save_pretrained(tiny_pose.parent / "lifter")
    processor.save_pretrained(tiny_pose.parent / "lifter")
    return partial(
        hfpose.pipeline,
        "pose-estimation-3d",
        model=tiny_pose.parent / "lifter",
        pose=tiny_pose,
        detector=tiny_detector,
    )


@pytest.fixture(scope="module")
def plain(make):
    """A 2D pipeline on the CPU that no test changes."""
    return make(device="cpu")


@pytest.fixture(scope="module")
def plain_3d(make_3d):
    """The same in 3D."""
    return make_3d(device="cpu")


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def assert_same_results(pipe, other):
    # Of the detector with random weights a threshold of 0 takes what there is, apart from each other, so that its
    # outputs count.
    for options in ({"boxes": BOXES}, {"box_threshold": 0.0, "nms_threshold": 0.0}):
        found, expected = pipe(image(), **options), other(image(), **options)
        assert found.num_instances == expected.num_instances > 0
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
        np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-3)


def weights_on(pipe, kind: str) -> set[str]:
    """Stages with parameters on a kind of device."""
    return {
        name for name, stage in pipe.stages.items() if any(p.device.type == kind for p in stage.model.parameters())
    }


def planned(*args: Any, **options: Any) -> dict[str, Any]:
    """The device of each stage."""
    return plan_stages(*args, **options)[0]


def test_stages_share_the_first_accelerator_that_holds_them():
    memory = {0: 6 * GB, 1: 8 * GB, "cpu": 64 * GB}
    assert planned({"detector": GB, "pose": 4 * GB}, memory) == {"detector": 0, "pose": 0}
    assert planned({"detector": GB, "pose": 7 * GB}, memory) == {"detector": 0, "pose": 1}


def test_the_largest_stage_chooses_first():
    sizes = {"detector": 2 * GB, "pose": 5 * GB, "lifter": GB}
    assert planned(sizes, {0: 6 * GB, 1: 3 * GB}) == {"detector": 1, "pose": 0, "lifter": 0}


def test_balanced_gives_the_next_stage_to_the_emptiest_accelerator():
    sizes = {"detector": 2 * GB, "pose": 5 * GB, "lifter": GB}
    memory = {0: 10 * GB, 1: 10 * GB, "cpu": 64 * GB}
    assert planned(sizes, memory, balanced=True) == {"detector": 1, "pose": 0, "lifter": 1}


def test_the_cpu_is_for_machines_without_accelerator():
    assert planned({"pose": GB}, {"cpu": 2 * GB}) == {"pose": "cpu"}
    assert planned({"pose": 3 * GB}, {"cpu": 2 * GB}) == {"pose": None}
    assert planned({"pose": 3 * GB}, {"mps": 2 * GB, "cpu": 64 * GB}) == {"pose": None}


def test_what_is_left_for_stages_that_are_split():
    sizes, memory = {"detector": GB, "pose": 9 * GB}, {0: 6 * GB, "cpu": 64 * GB}
    assert plan_stages(sizes, memory) == ({"detector": 0, "pose": None}, {0: 5 * GB, "cpu": 64 * GB})


def test_a_split_fills_devices_in_order_up_to_their_memory(plain_3d):
    model = plain_3d.stages["lifter"].model
    size = stage_size(model)
    memory = {0: size * 2 // 3, 1: size // 4, "cpu": size // 2}
    parts = split_model(model, memory)
    assert list(dict.fromkeys(parts.values())) == [0, 1, "cpu"]
    for device, limit in memory.items():
        assert 0 < sum(_part_size(model, part) for part, where in parts.items() if where == device) <= limit


def test_what_must_stay_together_is_not_split(plain_3d):
    model = plain_3d.stages["lifter"].model
    for share in range(2, 12):
        parts = split_model(model, {0: stage_size(model) * share // 12, 1: stage_size(model)})
        assert not any("layers." in part and part.count(".") > 2 for part in parts)


def small_hrnet() -> nn.Module:
    backbone = hfpose.HRNetBackboneConfig(
        stage_modules=[1, 1, 1, 1], stage_channels=[[8], [4, 8], [4, 8, 16], [4, 8, 16, 32]]
    )
    return hfpose.HeatmapForPoseEstimation(hfpose.HeatmapConfig(backbone_config=backbone, **POSE))


FAMILIES = ("rtmpose", "heatmap", "rtmdet", "yolox", "ssdlite", "motionbert", "internet", "vitpose")


@pytest.mark.parametrize(
    "make_model",
    [small_hrnet, *(lambda name=name: small_model(name)[0] for name in FAMILIES)],
    ids=["hrnet", *FAMILIES],
)
def test_every_family_may_be_split_wherever_it_says_it_may(make_model, monkeypatch):
    """With each part on an imagined device of its own, nothing in a forward pass mixes tensors of two devices."""
    model = make_model().eval()
    parts = list(smallest_parts(model))
    assert len(parts) > 3
    configs = (model.config, getattr(model.config, "backbone_config", None))
    size = next((size for config in configs if (size := getattr(config, "image_size", None))), (320, 320))
    height, width = (size["height"], size["width"]) if isinstance(size, dict) else size
    shape = (1, 9, 17, 3) if model.main_input_name == "keypoints_2d" else (1, 3, height, width)
    make_tensor = torch.tensor
    with FakeTensorMode() as mode, torch.no_grad():
        # It makes constants on the CPU, whatever device is asked for.
        monkeypatch.setattr(torch, "tensor", lambda *a, device=None, **k: make_tensor(*a, **k).to(device or "cpu"))
        for number, part in enumerate(parts):
            imagine_on_device(model, part, torch.device("cpu", number + 1), mode)
        outputs = model(torch.zeros(shape, device="cpu:1"))
    assert all(torch.isnan(value.new_zeros(1)).shape == (1,) for value in outputs.values())


def smallest_parts(model: nn.Module, name: str = "") -> Iterator[str]:
    """Names of the modules and parameters that accelerate would not split."""
    module = model.get_submodule(name)
    if type(module).__name__ in model._no_split_modules or not list(module.children()):
        if next(module.parameters(), None) is not None:
            yield name
        return
    yield from (f"{name}.{key}".lstrip(".") for key, _ in module.named_parameters(recurse=False))
    for key, _ in module.named_children():
        yield from smallest_parts(model, f"{name}.{key}".lstrip("."))


def imagine_on_device(model: nn.Module, part: str, device: torch.device, mode: FakeTensorMode) -> None:
    """Put a module or parameter on a device that is not there; a module's inputs are moved to it, as accelerate
    does."""
    owner, _, leaf = part.rpartition(".")
    if leaf in dict(model.get_submodule(owner).named_parameters(recurse=False)):
        holders = {model.get_submodule(owner): [leaf]}
    else:
        module = model.get_submodule(part)
        holders = {held: [*held._parameters, *held._buffers] for held in module.modules()}
        module.register_forward_pre_hook(
            lambda _, args, kwargs: (send_to_device(args, device), send_to_device(kwargs, device)), with_kwargs=True
        )
    for holder, names in holders.items():
        for name in names:
            if (tensor := getattr(holder, name)) is not None:
                moved = mode.from_tensor(tensor).to(device)
                setattr(holder, name, nn.Parameter(moved) if name in holder._parameters else moved)


def test_auto_puts_everything_on_the_cpu_of_a_machine_without_accelerator(make, plain):
    pipe = make(device_map="auto", max_memory={"cpu": "1GB"})
    assert pipe.device_map == {"detector": "cpu", "pose": "cpu"}
    assert_same_results(pipe, plain)


@pytest.mark.parametrize("policy", ["auto", "balanced"])
def test_a_stage_that_no_memory_holds_is_split_onto_the_disk(make_3d, plain_3d, tmp_path, policy):
    limit = stage_size(plain_3d.stages["lifter"].model) * 9 // 10
    assert limit > 2 * sum(stage_size(plain_3d.stages[name].model) for name in ("detector", "pose"))
    pipe = make_3d(device_map=policy, max_memory={"cpu": limit}, offload_folder=tmp_path)
    assert pipe.device_map["detector"] == pipe.device_map["pose"] == "cpu"
    assert set(pipe.device_map["lifter"].values()) == {"cpu", "disk"}
    assert weights_on(pipe, "meta") == {"lifter"}
    assert pipe.stages["lifter"].device == torch.device("cpu")
    assert_same_results(pipe, plain_3d)


def test_a_stage_for_which_there_is_room_but_not_twice_is_run_without_a_copy(make):
    plain = make(detector="whole_image", device="cpu")
    size = stage_size(plain.stages["pose"].model)
    for limit, is_copied in ((2 * size, True), (2 * size - 1, False)):
        pipe = make(detector="whole_image", device_map="auto", max_memory={"cpu": limit})
        assert weights_on(pipe, "meta") == set()
        assert pipe.device_map == {"pose": "cpu"}
        assert hasattr(pipe.stages["pose"].model, "_hf_hook") != is_copied
        np.testing.assert_allclose(pipe(image()).keypoints, plain(image()).keypoints, atol=1e-3)


def test_a_dict_sends_stages_to_devices_and_the_disk(make, plain, tmp_path, caplog):
    pipe = make(device_map={"pose": "disk"}, offload_folder=tmp_path)
    assert pipe.device_map["pose"] == "disk"
    assert weights_on(pipe, "meta") == {"pose"}
    assert_same_results(pipe, plain)
    assert caplog.text == ""


def test_offloaded_weights_go_with_the_pipeline(make, tmp_path):
    pipe = make(device_map={"pose": "disk"}, offload_folder=tmp_path)
    assert list(tmp_path.iterdir())
    pipe.to("cpu")
    del pipe
    import gc

    gc.collect()
    assert not list(tmp_path.iterdir())


def test_pipelines_in_3d_are_split_too(make_3d, plain_3d, tmp_path):
    pipe = make_3d(device_map={"detector": "disk", "pose": "disk", "lifter": "disk"}, offload_folder=tmp_path)
    assert weights_on(pipe, "meta") == {"detector", "pose", "lifter"}
    assert_same_results(pipe, plain_3d)
    pipe.to("cpu")
    assert_same_results(pipe, plain_3d)


@pytest.mark.slow
def test_saved_pipelines_are_spread_as_they_are_loaded(make, make_3d, tmp_path):
    for maker, kind in ((make, hfpose.PoseEstimationPipeline), (make_3d, hfpose.PoseEstimation3DPipeline)):
        plain = maker()
        folder = tmp_path / kind.__name__
        plain.save_pretrained(folder)
        again = kind.from_pretrained(folder, device_map={"pose": "disk"}, offload_folder=tmp_path)
        assert weights_on(again, "meta") == {"pose"}
        assert_same_results(again, plain)
        through_factory = hfpose.pipeline(model=folder, device_map="auto", max_memory={"cpu": 0})
        assert weights_on(through_factory, "meta") == set(plain.stages)
        assert_same_results(through_factory, plain)


def test_an_offloaded_pipeline_is_saved_whole(make, plain, tmp_path):
    make(device_map={"pose": "disk"}).save_pretrained(tmp_path / "saved")
    assert_same_results(hfpose.pipeline(model=tmp_path / "saved"), plain)


def test_offloading_between_stages_changes_no_result(make_3d, plain_3d):
    pipe = make_3d()
    pipe.enable_model_cpu_offload("cpu")
    assert_same_results(pipe, plain_3d)
    pipe.to("cpu")
    assert not any(hasattr(stage.model, "_hf_hook") for stage in pipe.stages.values())


def test_stages_take_turns_on_the_device():
    """One at most is there; imagined, with devices that are only noted."""

    class Stage(nn.Linear):
        where = "cpu"

        def parameters(self, recurse: bool = True):
            return iter([torch.empty(0, device="meta" if self.where == "meta" else "cpu")])

    moves = []

    def note(module, device):
        module.where = torch.device(device).type
        moves.append((names[module], module.where))
        return module

    stages = [Stage(1, 1) for _ in range(3)]
    names = dict(zip(stages, "dpl", strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "to", note)
        hooks = [_turn_taker(torch.device("meta"), [s for s in stages if s is not stage]) for stage in stages]
        for turn in "dppdpldp":
            place = "dpl".index(turn)
            hooks[place].pre_forward(stages[place])
            assert [stage.where for stage in stages].count("meta") == 1
            assert stages[place].where == "meta"
    moved = [(name, where) for name, where in moves if where == "meta"]
    assert [name for name, _ in moved] == list("dpdpldp")


def test_a_type_can_be_chosen_later(make):
    pipe = make().to(dtype="bfloat16")
    assert {stage.model.dtype for stage in pipe.stages.values()} == {torch.bfloat16}
    assert pipe.to("cpu", torch.float32) is pipe
    assert_same_results(pipe.to("cpu", dtype="float32"), pipe)


def test_types_and_devices_as_modules_of_torch_take_them(make):
    pipe = make()
    for change, dtype in ((pipe.bfloat16, "bfloat16"), (pipe.half, "float16"), (pipe.float, "float32")):
        assert change() is pipe
        assert {stage.model.dtype for stage in pipe.stages.values()} == {getattr(torch, dtype)}
    assert pipe.to(torch.bfloat16).cpu().estimator.stage.model.dtype == torch.bfloat16
    with pytest.raises(InputError, match="twice"):
        pipe.to(torch.float16, torch.float32)
    with pytest.raises(InputError, match="This machine has: cpu"):
        pipe.cuda()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device_map": "fast"}, "expected 'auto', 'balanced'"),
        ({"device_map": {"poze": "cpu"}}, "no such stage; it has: detector, pose"),
        ({"device_map": {"lifter": "cpu"}}, "This pipeline has no such stage"),
        ({"device_map": {"pose": "cuda:9"}}, "no device 'cuda:9'. This machine has: cpu"),
        ({"device_map": {"pose": "gpu"}}, "'gpu' names no device"),
        ({"device_map": "auto", "device": "cpu"}, "not both"),
        ({"device_map": "auto", "max_memory": {7: "2GB"}}, "no device"),
        ({"device_map": "auto", "max_memory": {"cpu": "much"}}, "2GB"),
        ({"device_map": {"pose": "cpu"}, "max_memory": {"cpu": "2GB"}}, "no effect"),
        ({"max_memory": {"cpu": "2GB"}}, "need device_map"),
        ({"offload_folder": "x"}, "need device_map"),
    ],
)
def test_mistakes_are_explained(make, plain, options, message):
    models = {"model": plain.estimator.stage.model, "detector": plain.detector.stage.model}
    with pytest.raises(InputError, match=message):
        make(**models, **options)


def test_a_device_that_is_not_there(plain):
    with pytest.raises(InputError, match="cuda:9"):
        plain.to("cuda:9")
