"""Trains the models of the offline default on rendered scenes: `python -m train_demo --output DIR`.

A small RTMDet finds the people of a scene, a small RTMPose their keypoints. Scenes are rendered as they are needed,
one seed after the other, and each is gone after a few samples. How many steps fit into the given minutes is measured
once at the start and noted in `plan.json`; called again after an interrupt, the run goes on with that plan.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

import hfpose
from hfpose.annotations import read_coco
from hfpose.hub.card_results import CARD_NAME, add_results
from hfpose.keypoints import load_schema
from hfpose.media.files import write_json, write_text
from hfpose.models.shared.devices import default_device
from hfpose.pipelines import PoseEstimationPipeline
from hfpose.pipelines.stage import Stage
from hfpose.training.augmentation import (
    DetectionAugmentation,
    FittedImages,
    PersonCrops,
    PixelAugmentation,
    PoseAugmentation,
)
from hfpose.training.collators import DetectionCollator, PoseCollator
from hfpose.training.datasets import Samples, SampleStream
from hfpose.training.fine_tuning import hardware_name
from hfpose.training.training_run import PRECISIONS, TrainingSettings, adamw, train
from rendered_people.datasets import RenderedImages, RenderedPeople
from rendered_people.optimizers import RestingLayers
from rendered_people.scene_files import write_scenes
from rendered_people.styles import VariedImages
from rendered_people.varied import render_training_scene

SEED = 0

# Scenes for the numbers in the card, for the validation loss, and for training; no scene is in two of them.
TEST_SEEDS = range(200)
VALIDATION_SEEDS = range(100_000, 100_100)
DETECTOR_SEEDS = range(1_000_000, 100_000_000)
POSE_SEEDS = range(100_000_000, 200_000_000)

# Samples of each scene, which takes as long to render as to learn from: crops, of about three people, and images.
PEOPLE_PER_SCENE, IMAGES_PER_SCENE = 5, 2

# Steps before the rate is measured, while workers fill their queues, and steps over which it is.
SETTLING_STEPS, MEASURED_STEPS = 8, 16
# Share of the time that goes into steps; the rest is for checkpoints and the validation loss.
TIME_IN_STEPS = 0.93
MINUTES_BETWEEN_CHECKPOINTS = 4.0

# What the detector sees changes its colors too. Keypoints gain nothing on photographs from that, nor from varied
# scenes.
UNCHANGED = PixelAugmentation(hue=0, saturation=0, value=0)
COLORS = PixelAugmentation(
    hue=9, saturation=35, value=35, blur_probability=0.05, cutout_probability=0.1, cutout_range=(0.1, 0.3)
)

# Side of the packaged detector's input, larger than in training: people on photographs are found better so.
PACKAGED_SIZE = 416

PLAN = "plan.json"


@dataclass(frozen=True)
class Recipe:
    """How one of the models is trained.

    Args:
        name: of its folder.
        stage: a new model with its image processor.
        samples, validation: rendered scenes.
        make: from a scene to a training sample.
        make_validation: the same without chance.
        collator: from samples to a batch.
        batch_size, learning_rate: of the run.
        share: of the minutes.
        make_optimizer: see `train`.
        rest: shares of the run between which the stem and the first stage rest, as they do when networks are
            fine-tuned. With the largest maps they take a third of the time and have little to learn after the
            beginning.
        model_loss: as for `train`.
    """

    name: str
    stage: Stage
    samples: Samples
    validation: Samples
    make: Callable[..., Mapping[str, Any]]
    make_validation: Callable[..., Mapping[str, Any]]
    collator: Callable[[Any], dict[str, Any]]
    batch_size: int
    learning_rate: float
    share: float
    make_optimizer: Callable[[nn.Module, TrainingSettings], torch.optim.Optimizer] = adamw
    rest: tuple[float, float] | None = None
    model_loss: Callable[[nn.Module, dict[str, Any]], tuple[Tensor, Any]] | None = None

    def stream(self, num_steps: int) -> SampleStream:
        return SampleStream(self.samples, self.make, num_steps * self.batch_size, seed=SEED, shuffle=False)

    def validation_stream(self) -> SampleStream:
        return SampleStream(self.validation, self.make_validation, len(self.validation), shuffle=False)

    def resting(self, num_steps: int) -> list[RestingLayers]:
        if self.rest is None:
            return []
        backbone: Any = self.stage.model.backbone
        start, end = (round(share * num_steps) for share in self.rest)
        return [RestingLayers((backbone.stem, backbone.stages[0]), start, end)]

    def settings(
        self, num_steps: int, save_steps: int, num_workers: int, precision: str, cpu: bool
    ) -> TrainingSettings:
        return TrainingSettings(
            num_steps=num_steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            final_learning_rate=0.01,
            warmup_steps=min(300, num_steps // 10),
            seed=SEED,
            num_workers=num_workers,
            log_steps=max(min(50, num_steps // 4), 1),
            save_steps=save_steps,
            precision=precision,
            use_cpu=cpu,
        )


def detector_recipe() -> Recipe:
    """RTMDet for images of 320x320 pixels, 1.2 million parameters."""
    torch.manual_seed(SEED)
    config = hfpose.RTMDetConfig(
        depth_multiplier=0.167,
        width_multiplier=0.1875,
        neck_size=48,
        num_neck_blocks=1,
        id2label={0: "person"},
        label2id={"person": 0},
    )
    processor = hfpose.RTMDetImageProcessor(size={"height": 320, "width": 320})
    augmentation = DetectionAugmentation(pixels=COLORS)
    return Recipe(
        "detector",
        Stage(hfpose.RTMDetForObjectDetection(config), processor),
        RenderedImages(DETECTOR_SEEDS, IMAGES_PER_SCENE, render_training_scene),
        RenderedImages(VALIDATION_SEEDS, 1, render_training_scene),
        VariedImages(FittedImages(processor, augmentation)),
        FittedImages(processor, None),
        DetectionCollator(processor),
        batch_size=16,
        learning_rate=2e-3,
        share=0.4,
        rest=(0.5, 1.0),
    )


def pose_recipe() -> Recipe:
    """RTMPose for crops of 192x160 pixels, 2.3 million parameters."""
    torch.manual_seed(SEED)
    schema = load_schema("coco")
    height, width = 192, 160
    config = hfpose.RTMPoseConfig(
        image_size=(height, width),
        backbone_config=hfpose.CSPNeXtBackboneConfig(depth_multiplier=0.167, width_multiplier=0.3125),
        hidden_size=192,
        attention_size=96,
        # As in the reference's configurations, a quarter of the square root of the number of bins.
        simcc_sigma=((2 * width) ** 0.5 / 4, (2 * height) ** 0.5 / 4),
        id2label=dict(enumerate(schema.keypoint_names)),
        keypoint_schema=schema.to_dict(),
    )
    processor = hfpose.RTMPoseImageProcessor(size={"height": height, "width": width})
    augmentation = PoseAugmentation(
        half_body_probability=0.0,
        scale_range=(0.85, 1.2),
        shift=0.08,
        shift_probability=0.5,
        rotation=20.0,
        rotation_probability=0.5,
        pixels=UNCHANGED,
    )
    model = hfpose.RTMPoseForPoseEstimation(config)
    return Recipe(
        "pose",
        Stage(model, processor),
        RenderedPeople(POSE_SEEDS, PEOPLE_PER_SCENE),
        RenderedPeople(VALIDATION_SEEDS, 1),
        PersonCrops(processor, schema, augmentation),
        PersonCrops(processor, schema, None),
        PoseCollator(processor),
        batch_size=32,
        learning_rate=2e-3,
        share=0.6,
        rest=(0.35, 0.75),
        model_loss=DenseSupervision(model),
    )


class DenseSupervision:
    """The loss of an RTMPose, and beside it where in its feature maps the keypoints are.

    SimCC alone takes tens of thousands of samples to see more in a crop than the pose that people have on average.
    Here the first channels of an early stage's output, one for each keypoint, and the maps of the head's first layer
    are taken as logits over their cells, and the cross-entropy of the keypoints' cells is added. That needs no weights
    of its own.

    Args:
        model: whose feature maps are looked at.
    """

    STAGE = 2  # of stride 16
    WEIGHT = 1.5
    SCALE = 4.0  # activations are of the order of 1, which is little for a logit

    def __init__(self, model: hfpose.RTMPoseForPoseEstimation) -> None:
        self.image_size = model.config.image_size
        self._maps: list[Tensor] = []
        stage, head = model.backbone.stages[self.STAGE], model.head.keypoint_features
        stage.register_forward_hook(lambda module, args, output: self._maps.append(output * self.SCALE))
        head.register_forward_hook(lambda module, args, output: self._maps.append(output))

    def __call__(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        self._maps.clear()
        outputs = model(**inputs)
        labels, weights = inputs["labels"], inputs["keypoint_weights"]
        # The model's loss, a sum over people and a mean over bins, as nats a keypoint like the others.
        loss = outputs.loss / len(labels) * outputs.simcc_x.shape[-1]
        for maps in self._maps:
            loss = loss + self.WEIGHT * self._cell_loss(maps[:, : labels.shape[1]].float(), labels, weights)
        self._maps.clear()
        return loss, outputs

    def _cell_loss(self, maps: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """Cross-entropy of the cells that keypoints (B, K, 2) lie in, for maps (B, K, h, w) as logits."""
        height, width = maps.shape[-2:]
        scale = labels.new_tensor([width / self.image_size[1], height / self.image_size[0]])
        column, row = (labels * scale).floor().long().unbind(-1)
        is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        cells = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        losses = F.cross_entropy(maps.flatten(2).flatten(0, 1), cells.flatten(), reduction="none")
        counts = (is_inside * weights).flatten()
        return (losses * counts).sum() / counts.sum().clamp(min=1)


def seconds_per_step(recipe: Recipe, num_workers: int, precision: str, device: torch.device) -> float:
    """Time that rendering and training take together, measured on a copy of the model."""
    model = copy.deepcopy(recipe.stage.model).train()
    nn.Module.to(model, device=device)
    settings = TrainingSettings(num_steps=1, learning_rate=1e-6, weight_decay=0.0)
    optimizer = recipe.make_optimizer(model, settings)
    loader = DataLoader(
        recipe.stream(SETTLING_STEPS + MEASURED_STEPS),
        batch_size=recipe.batch_size,
        collate_fn=recipe.collator,
        num_workers=num_workers,
    )
    start = 0.0
    for step, batch in enumerate(loader):
        if step == SETTLING_STEPS:
            start = time.monotonic()
        inputs = _on_device(batch, device)
        with torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32"):
            loss = model(**inputs).loss if recipe.model_loss is None else recipe.model_loss(model, inputs)[0]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.monotonic() - start) / MEASURED_STEPS


def _on_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return {key: _on_device(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_on_device(item, device) for item in value]
    return value.to(device)


def run_recipe(
    recipe: Recipe, folder: Path, minutes: float, num_workers: int, precision: str, cpu: bool
) -> dict[str, Any]:
    """Train one of the models in place.

    Returns:
        Its plan: `num_steps`, `batch_size`, `seconds_per_step` as measured, `save_steps`, `hardware`, and the
        `seconds` that the run took, without calls that were interrupted.
    """
    path = folder / PLAN
    model = recipe.stage.model
    _set_memory_format(model, torch.channels_last)  # faster convolutions
    if path.is_file():
        plan = json.loads(path.read_text(encoding="utf-8"))
    else:
        device = torch.device("cpu") if cpu else default_device()
        pace = seconds_per_step(recipe, num_workers, precision, device)
        budget = minutes * 60 * recipe.share * TIME_IN_STEPS
        steps = max(int(budget / pace), 10)
        plan = {
            "num_steps": steps,
            "batch_size": recipe.batch_size,
            "seconds_per_step": round(pace, 4),
            "save_steps": max(min(int(MINUTES_BETWEEN_CHECKPOINTS * 60 / pace), steps), 1),
            "hardware": hardware_name(cpu),
            "seconds": 0.0,
        }
        write_json(path, plan)
    pace = plan["seconds_per_step"]
    print(f"{recipe.name}: {plan['num_steps']} steps of {plan['batch_size']} samples, {pace:.2f} s each", flush=True)
    summary = train(
        model,
        recipe.stream(plan["num_steps"]),
        recipe.collator,
        folder,
        recipe.settings(plan["num_steps"], plan["save_steps"], num_workers, precision, cpu),
        validation=recipe.validation_stream(),
        model_loss=recipe.model_loss,
        make_optimizer=recipe.make_optimizer,
        callbacks=recipe.resting(plan["num_steps"]),
    )
    plan["seconds"] = round(plan["seconds"] + summary.seconds * bool(summary.new_steps), 1)
    write_json(path, plan)
    return plan


def write_pipeline(folder: Path, stages: Mapping[str, Stage], plans: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the trained models as a pipeline with its card, and measure it.

    Args:
        folder: where to.
        stages: `detector` and `pose`; their models are changed to float16.
        plans: of both, see `run_recipe`.
    """
    stages["detector"].image_processor.size = {"height": PACKAGED_SIZE, "width": PACKAGED_SIZE}
    halves = {name: Stage(to_half(stage.model), stage.image_processor) for name, stage in stages.items()}
    PoseEstimationPipeline(halves["pose"], detector=halves["detector"]).save_pretrained(folder)
    write_card(folder, {name: stage.model for name, stage in stages.items()}, plans)
    for protocol, metrics in measure(folder).items():
        add_results(folder, f"{len(TEST_SEEDS)} scenes", protocol, metrics)
        print(f"{protocol}: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()), flush=True)


def begin_with(model: PreTrainedModel, folder: Path) -> None:
    """Give a new model the weights of a folder, of the same network."""
    state = load_file(folder / "model.safetensors")
    model.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in state.items()})


def to_half(model: PreTrainedModel) -> PreTrainedModel:
    """The model, in place, with weights in float16, as files keep them; pipelines load them as float32."""
    nn.Module.to(model, device="cpu", dtype=torch.float16)
    _set_memory_format(model, torch.contiguous_format)
    return model


def _set_memory_format(model: nn.Module, memory_format: torch.memory_format) -> None:
    nn.Module.to(model, memory_format=memory_format)  # type: ignore[call-overload]


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Numbers of the pipeline in a folder on `TEST_SEEDS`, by name of what was measured."""
    from hfpose.evaluation.evaluation_run import evaluate_detector, evaluate_pose_pipeline

    pipe = PoseEstimationPipeline.from_pretrained(folder)
    assert pipe.detector is not None
    with tempfile.TemporaryDirectory() as scenes:
        coco = read_coco(write_scenes(Path(scenes), TEST_SEEDS))
        return {
            "detected boxes": evaluate_pose_pipeline(pipe, coco).metrics,
            "detected boxes, flip test, box threshold 0.1, NMS threshold 0.65": evaluate_pose_pipeline(
                pipe, coco, box_threshold=0.1, nms_threshold=0.65, flip_test=True
            ).metrics,
            "annotated boxes": evaluate_pose_pipeline(pipe, coco, "annotations").metrics,
            "annotated boxes, flip test": evaluate_pose_pipeline(pipe, coco, "annotations", flip_test=True).metrics,
            "boxes of the detector": evaluate_detector(pipe.detector.stage, coco).metrics,
        }


def write_card(folder: Path, models: Mapping[str, PreTrainedModel], plans: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the card of the pipeline: what it is for, data, time and hardware; `add_results` adds the numbers."""
    rows = "\n".join(
        f"| {name} | {type(models[name]).__name__}, {models[name].num_parameters() / 1e6:.1f} million parameters | "
        f"{plan['num_steps']} steps of {plan['batch_size']} samples | {plan['seconds'] / 60:.0f} minutes on "
        f"{plan['hardware']} |"
        for name, plan in plans.items()
    )
    text = f"""---
library_name: hfpose
pipeline_tag: keypoint-detection
license: apache-2.0
tags:
- hfpose
- pose-estimation
- pipeline
---

# demo

Finds people and COCO's 17 keypoints in rendered scenes, and some of them on photographs, **of which it has never seen
one**. It is for demonstrations and for tests without a network.

## Training

From scratch on scenes that `rendered_people` renders, by `python -m train_demo`. Each scene gives a few
samples in a row and does not come again; those that the results below were measured on (seeds {TEST_SEEDS.start} to
{TEST_SEEDS.stop - 1}) were not among them. The weights are moving averages in float16.

| Part | Model | Training | Time |
| --- | --- | --- | --- |
{rows}
"""
    write_text(folder / CARD_NAME, text)


def main(
    output: Annotated[Path, typer.Option(help="Folder for checkpoints and, in `demo`, the finished pipeline.")],
    minutes: Annotated[float, typer.Option(min=0.1, help="Time for both models together.")] = 180.0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that render scenes.")] = 1,
    precision: Annotated[str, typer.Option(help=f"Of the forward pass: {', '.join(PRECISIONS)}.")] = "float32",
    start: Annotated[
        Path | None, typer.Option(help="Pipeline whose weights to begin with, as the packaged one.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use the CPU even where there is an accelerator.")] = False,
) -> None:
    """Train the models of the offline default. Called again after an interrupt, it goes on where it was."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(max((os.cpu_count() or 1) - workers, 1))
    stages, plans = {}, {}
    for recipe in (detector_recipe(), pose_recipe()):
        if start is not None:
            begin_with(recipe.stage.model, start / recipe.name)
        plans[recipe.name] = run_recipe(recipe, output / recipe.name, minutes, workers, precision, cpu)
        stages[recipe.name] = recipe.stage
    folder = output / "demo"
    write_pipeline(folder, stages, plans)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    print(f"Wrote {folder}, {size / 1e6:.1f} MB of weights.")


if __name__ == "__main__":
    typer.run(main)
