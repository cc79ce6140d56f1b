"""Fine-tuning a model of the zoo, the Hub or a folder on annotated images: what `hfpose train` does."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations import is_tensorboard_available

from hfpose.annotations import (
    CocoFile,
    Split,
    annotated_schema,
    check_keypoints,
    image_boxes,
    pose_instances,
    read_annotations,
    read_schema,
    unnamed_categories,
)
from hfpose.errors import ConfigError, InputError, listed
from hfpose.evaluation.coco import read_sigmas, require_pycocotools
from hfpose.evaluation.evaluation_run import evaluate_detector, evaluate_pose_pipeline
from hfpose.evaluation.metrics import Metrics
from hfpose.hub.card_results import add_results
from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.media.files import write_json, write_text
from hfpose.models.shared.losses import heatmap_loss
from hfpose.models.vitpose.experts import forward_arguments
from hfpose.pipelines import PoseEstimationPipeline
from hfpose.pipelines.stage import Stage
from hfpose.pipelines.whole_image_stage import is_one_stage
from hfpose.training.augmentation import (
    DetectionAugmentation,
    FittedImages,
    FittedInstances,
    InstanceAugmentation,
    PersonCrops,
    PoseAugmentation,
)
from hfpose.training.collators import DetectionCollator, InstanceCollator, PoseCollator
from hfpose.training.data_faults import find_faults
from hfpose.training.data_report import describe_schema
from hfpose.training.datasets import AnnotatedImages, AnnotatedInstances, AnnotatedPeople, Samples, SampleStream
from hfpose.training.parts import load_part, trained_part
from hfpose.training.relabeling import with_labels
from hfpose.training.training_run import (
    CHECKPOINTS,
    RunOptions,
    TrainingSettings,
    TrainingSummary,
    last_checkpoint,
    train,
)
from hfpose.training.validation import BestWeights, comparison, metrics_before

# Standard deviation, in cells, of the targets of transformers' models, whose configuration does not say it.
HEATMAP_SIGMAS = {"vitpose": 2.0, "sapiens2": 6.0}

WARMUP_STEPS, WARMUP_SHARE = 1000, 0.05

# The validation loss, which is measured at each checkpoint, is that of the first so many samples.
VALIDATION_SAMPLES = 1000

_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class FineTuning(RunOptions):
    """What to train on what, beside the options of a run.

    Args:
        model: alias, zoo name, hub repository or folder of a pose model or a detector.
        data: annotations in COCO's format.
        output: folder for the model, its card, checkpoints and logs.
        images: folder of the images; None: that of the annotations.
        validation_data, validation_images: the same for images to measure the model on; None takes `images` where
            none of them is in the folder of the annotations.
        schema: name or JSON file of the keypoints; None: those that the annotations name, else the model's.
        sigmas: JSON file of the keypoints' sigmas, see `hfpose.evaluation.coco.read_sigmas`.
        part: `"pose"` or `"detector"`, where the model is a pipeline or an alias of both; None: the pose model where
            the annotations have keypoints.
        patience: checkpoints without a better validation metric after which training stops; None: it does not.
        allow_faults: train although the annotations look wrong, see `hfpose.training.data_faults`.
        epochs: passes over the data; `num_steps`, where given, counts instead.
        num_steps: optimizer steps.
    """

    model: str
    data: Path
    output: Path
    images: Path | None = None
    validation_data: Path | None = None
    validation_images: Path | None = None
    schema: str | None = None
    sigmas: Path | None = None
    part: str | None = None
    patience: int | None = None
    allow_faults: bool = False
    epochs: float = 20.0
    num_steps: int | None = None

    def settings(self, num_samples: int) -> TrainingSettings:
        """Settings of the run over so many samples, of which each process takes a batch in a step."""
        steps = self.num_steps or max(math.ceil(num_samples * self.epochs / (self.batch_size * world_size())), 1)
        options = {option.name: getattr(self, option.name) for option in fields(RunOptions)}
        warmup_steps = min(WARMUP_STEPS, math.ceil(steps * WARMUP_SHARE))
        return TrainingSettings(num_steps=steps, warmup_steps=warmup_steps, **options)


@dataclass
class _Plan:
    """What a kind of model needs to be trained."""

    stage: Stage
    samples: Samples
    make: Callable[..., Mapping[str, Any]]
    collator: Callable[[Any], dict[str, Any]]
    validation: SampleStream | None = None
    model_loss: Callable[[nn.Module, dict[str, Any]], tuple[Tensor, Any]] | None = None
    messages: list[str] = field(default_factory=list)
    schema: KeypointSchema | None = None

    @property
    def protocol(self) -> str:
        """How the model is measured, in a few words."""
        if self.schema is None:
            return "detection"
        return "boxes of its own" if is_one_stage(self.stage) else "annotated boxes"


def fine_tune(task: FineTuning, tell: Callable[[str], None] = print) -> TrainingSummary:
    """Train, and write a folder that `pipeline` loads: model, image processor, card.

    A run that was interrupted goes on when it is called again with the same settings. `tell` takes messages for the
    user.

    Raises:
        InputError: if the annotations cannot be used.
        ConfigError: if the model cannot be trained, or the folder holds a run with other settings.
        UnknownModelError: if nothing has the model's name.
    """
    is_first = int(os.environ.get("RANK", "0")) == 0
    tell = tell if is_first else lambda message: None
    coco = _checked_data(task.data, task.images, task.allow_faults, tell)
    validation = None
    if task.validation_data is not None:
        require_pycocotools()
        validation = _validation_data(task, task.validation_data, tell)
    part = trained_part(task.model, coco, task.part)
    plan = (_plan_detector if part == "detector" else _plan_pose_model)(task, coco, validation)
    for message in [*_left_out(coco), *(_left_out(validation) if validation else []), *plan.messages]:
        tell(message)
    settings = task.settings(len(plan.samples))
    num_samples = settings.num_steps * settings.batch_size * world_size()
    stream = SampleStream(plan.samples, plan.make, num_samples, seed=task.seed)
    _claim_folder(task, len(plan.samples))
    if not is_tensorboard_available():
        tell("TensorBoard is not installed, so there are no logs for it: pip install tensorboard.")
    if (checkpoint := last_checkpoint(task.output)) is not None:
        tell(f"Going on from {checkpoint}.")
    tell(f"Training {part} model on {len(plan.samples)} samples for {settings.num_steps} steps.")
    best, before = None, {}
    if validation is not None:
        measure = partial(_measured, plan, validation)
        folder, is_new = task.output / CHECKPOINTS, checkpoint is None
        before = metrics_before(folder, measure, is_new)
        best = BestWeights(plan.stage.model, measure, folder, task.patience, tell, is_new)
    summary = train(
        plan.stage.model,
        stream,
        plan.collator,
        task.output,
        settings,
        validation=plan.validation,
        model_loss=plan.model_loss,
        callbacks=[] if best is None else [best],
    )
    if is_first:
        _finish(task, plan, summary, best, before, tell)
    return summary


def world_size() -> int:
    """How many processes train together, as torchrun tells each of them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _checked_data(
    path: Path, images: Path | None, allow_faults: bool, tell: Callable[[str], None], split: Split = "train"
) -> CocoFile:
    """Annotations, whose faults are told.

    Raises:
        InputError: if nothing can be learned from them.
    """
    coco = read_annotations(path, images, split=split)
    faults = find_faults(coco)
    if not allow_faults:
        faults.refuse(path)
    for line in faults.lines():
        tell(f"Fault of {path}: {line}")
    return coco


def _validation_data(task: FineTuning, path: Path, tell: Callable[[str], None]) -> CocoFile:
    try:
        return _checked_data(path, task.validation_images, True, tell, "val")
    except InputError:
        if task.validation_images is not None or task.images is None:
            raise
        return _checked_data(path, task.images, True, tell, "val")  # one folder for both, as many have it


def _left_out(coco: CocoFile) -> list[str]:
    return [f"Left out of {coco.path}: {line}" for line in coco.left_out.lines()]


def _validation_stream(samples: Samples, make: Callable[..., Mapping[str, Any]]) -> SampleStream:
    return SampleStream(samples, make, min(len(samples), VALIDATION_SAMPLES), shuffle=False)


# Pose models


def _plan_pose_model(task: FineTuning, coco: CocoFile, validation: CocoFile | None) -> _Plan:
    stage = load_part(task.model, "pose")
    own = schema_for_config(stage.model.config)
    schema = _data_schema(coco, task.schema, own)
    if task.sigmas is not None:
        schema = read_sigmas(task.sigmas, schema)
    instances = pose_instances(coco, schema)
    stage, messages = _with_schema(stage, own, schema, task.seed)
    messages += [*describe_schema(schema, instances), *unnamed_categories(coco)]
    processor = stage.image_processor
    samples: Any = AnnotatedPeople
    make: Any = PersonCrops(processor, schema, PoseAugmentation(), PoseAugmentation.late())
    collator: Any = PoseCollator(processor)
    if is_one_stage(stage):
        samples, collator = AnnotatedInstances, InstanceCollator(processor)
        make = FittedInstances(processor, schema, InstanceAugmentation())
    plan = _Plan(stage, samples(instances), make, collator, messages=messages, schema=schema)
    sigma = HEATMAP_SIGMAS.get(stage.model.config.model_type)
    if sigma is not None:
        plan.model_loss = _heatmap_loss(stage, sigma)
    if validation is not None:
        check_keypoints(validation, schema)
        held_out = samples(pose_instances(validation, schema))
        plan.validation = _validation_stream(held_out, type(make)(processor, schema, None))
    return plan


def _data_schema(coco: CocoFile, given: str | None, own: KeypointSchema) -> KeypointSchema:
    """The schema of the data: given, named by the annotations, or else the model's."""
    if given is not None:
        schema = read_schema(given)
        check_keypoints(coco, schema)
        return schema
    annotated = annotated_schema(coco)
    if coco.has_whole_bodies and coco.keypoint_names == own.keypoint_names:
        return own  # the body of a file of whole bodies
    # Schemas with the same names, such as "coco" and "humanart", differ in nothing that matters here.
    return own if annotated is None or annotated.keypoint_names == own.keypoint_names else annotated


def _with_schema(stage: Stage, own: KeypointSchema, schema: KeypointSchema, seed: int) -> tuple[Stage, list[str]]:
    """The stage with a model for the keypoints of `schema`, and what there is to say about it."""
    if schema.keypoint_names == own.keypoint_names:
        return stage, []
    model, layers = with_labels(stage.model, schema.keypoint_names, seed, keypoint_schema=schema.to_dict())
    message = (
        f"The model finds the {own.num_keypoints} keypoints of {own.name!r}, the data have the {schema.num_keypoints} "
        f"of {schema.name!r}: newly initialized {', '.join(layers)}."
    )
    return Stage(model, stage.image_processor), [message]


def _heatmap_loss(stage: Stage, sigma: float) -> Callable[[nn.Module, dict[str, Any]], tuple[Tensor, Any]]:
    """The loss of transformers' pose models, which compute none of keypoints themselves."""

    def loss(model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        pixel_values = inputs["pixel_values"]
        outputs = model(pixel_values=pixel_values, **forward_arguments(stage.model, len(pixel_values)))
        value = heatmap_loss(
            outputs.heatmaps,
            inputs["labels"],
            inputs["keypoint_weights"],
            image_size=pixel_values.shape[2:],
            sigma=sigma,
            encoding=stage.image_processor.heatmap_decoding,
        )
        return value, outputs

    return loss


# Detectors


def _plan_detector(task: FineTuning, coco: CocoFile, validation: CocoFile | None) -> _Plan:
    stage = load_part(task.model, "detector")
    labels, messages = data_labels(coco), []
    own = [name for _, name in sorted((stage.model.config.id2label or {}).items())]
    if sorted(map(str.lower, labels)) == sorted(map(str.lower, own)):
        labels = own
    else:
        model, layers = with_labels(stage.model, labels, task.seed)
        stage = Stage(model, stage.image_processor)
        messages.append(
            f"The detector knows {listed(own)}, the data have {listed(labels)}: newly initialized {', '.join(layers)}."
        )
    processor = stage.image_processor
    images = AnnotatedImages(image_boxes(coco, _class_indices(coco, labels)))
    make = FittedImages(processor, DetectionAugmentation())
    plan = _Plan(stage, images, make, DetectionCollator(processor), messages=messages)
    if validation is not None:
        held_out = AnnotatedImages(image_boxes(validation, _class_indices(validation, labels)))
        plan.validation = _validation_stream(held_out, FittedImages(processor, None))
    return plan


def data_labels(coco: CocoFile) -> list[str]:
    """Names of the categories that have annotations, in the order of the file.

    Raises:
        InputError: if there are none, or two of the same name.
    """
    used = {annotation.get("category_id") for annotation in coco.annotations}
    names = [str(category.get("name")) for category in coco.categories if category.get("id") in used]
    if not names or len(set(map(str.lower, names))) < len(names):
        raise InputError(
            f"{coco.path} needs categories with different names for its annotations; it has {listed(names)}."
        )
    return names


def _class_indices(coco: CocoFile, labels: Sequence[str]) -> dict[Any, int]:
    """Category id -> class of the detector, by name."""
    by_name = {label.lower(): index for index, label in enumerate(labels)}
    names = {category.get("id"): str(category.get("name")).lower() for category in coco.categories}
    return {category_id: by_name[name] for category_id, name in names.items() if name in by_name}


# Folders


def _claim_folder(task: FineTuning, num_samples: int) -> None:
    """Note the settings of the run in its folder, so that no run with other settings goes on from its checkpoints.

    Raises:
        ConfigError: if the folder holds a run with other settings.
    """
    # They may change between two calls.
    ignored = ("output", "num_workers", "log_steps", "use_cpu", "patience", "allow_faults")
    settings = {name: value for name, value in asdict(task).items() if name not in ignored}
    given = {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in settings.items()}
    given["num_samples"] = num_samples
    path = task.output / CHECKPOINTS / _SETTINGS_FILE
    if path.is_file() and last_checkpoint(task.output) is not None:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{key}={before.get(key)!r}, now {value!r}" for key, value in given.items() if before.get(key) != value
        ]
        if changed:
            raise ConfigError(
                f"{task.output} holds the checkpoints of a run with other settings: {'; '.join(changed)}. Go on with "
                f"the same settings, choose another output folder, or delete {task.output / CHECKPOINTS}."
            )
    write_json(path, given)


def _write_folder(task: FineTuning, plan: _Plan, summary: TrainingSummary) -> None:
    from hfpose.checkpoints.convert_checkpoint import save_folder
    from hfpose.hub.cards import model_card

    model = plan.stage.model
    save_folder(task.output, model, plan.stage.image_processor)
    name = task.output.resolve().name
    rows = [
        ("Fine-tuned from", f"`{task.model}`"),
        ("Trained on", f"`{task.data.name}`, {len(plan.samples)} samples"),
        ("Steps", f"{summary.num_steps} of {task.batch_size} samples, learning rate {task.learning_rate:g}"),
        ("Seed", str(task.seed)),
        ("Time", f"{summary.new_steps} steps in {summary.seconds / 60:.1f} minutes on {hardware_name(task.use_cpu)}"),
    ]
    write_text(task.output / "README.md", model_card(model, name, training=rows).content)


def hardware_name(use_cpu: bool = False) -> str:
    """What this machine computes with, for cards."""
    if not use_cpu and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def _finish(
    task: FineTuning,
    plan: _Plan,
    summary: TrainingSummary,
    best: BestWeights | None,
    before: Mapping[str, float],
    tell: Callable[[str], None],
) -> None:
    """Write the folder with the best weights, and tell what training has changed."""
    if summary.is_interrupted:
        tell(
            f"Interrupted after step {summary.num_steps}; the checkpoint is {last_checkpoint(task.output)}. To go on, "
            "run the same command again."
        )
        return
    if best is None:
        _write_folder(task, plan, summary)
        if summary.losses:
            tell(f"Loss {summary.losses[0]:.4f} -> {summary.losses[1]:.4f}. Give --val-data to measure the model.")
        return
    if best.last_step != summary.num_steps:
        best.add(summary.num_steps, dict(best.measure()))
    best.apply()
    _write_folder(task, plan, summary)
    assert task.validation_data is not None
    after = best.record.get("metrics", {})
    add_results(task.output, task.validation_data.name, plan.protocol, after)
    step = best.record.get("step", summary.num_steps)
    tell(f"On {task.validation_data.name}, {plan.protocol}: {comparison(before, after)} (weights of step {step}).")


def _measured(plan: _Plan, coco: CocoFile) -> Metrics:
    """Metrics of the model as it is on validation data."""
    if plan.schema is None:
        return evaluate_detector(plan.stage, coco).metrics
    boxes = "detector" if is_one_stage(plan.stage) else "annotations"
    return evaluate_pose_pipeline(PoseEstimationPipeline(plan.stage), coco, boxes, schema=plan.schema).metrics  # type: ignore[arg-type]
