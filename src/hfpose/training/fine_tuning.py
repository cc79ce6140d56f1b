"""Fine-tuning a model of the zoo, the Hub or a folder on annotated images: what `hfpose train` does."""

from __future__ import annotations

import copy
import inspect
import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hfpose.annotations import (
    CocoFile,
    annotated_schema,
    check_keypoints,
    image_boxes,
    pose_instances,
    read_coco,
    read_schema,
)
from hfpose.errors import ConfigError, HFPoseError, InputError
from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.media.files import atomic_path
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.losses import heatmap_loss
from hfpose.pipelines.one_stage import is_one_stage
from hfpose.pipelines.stage import Stage, load_stage, task_of
from hfpose.training.augmentation import DetectionAugmentation, InstanceAugmentation, PoseAugmentation
from hfpose.training.collators import DetectionCollator, InstanceCollator, PoseCollator
from hfpose.training.datasets import (
    AnnotatedImages,
    AnnotatedInstances,
    AnnotatedPeople,
    FittedImages,
    FittedInstances,
    PersonCrops,
    Samples,
    SampleStream,
)
from hfpose.training.runs import CHECKPOINTS, TrainingSettings, TrainingSummary, last_checkpoint, train

# Standard deviation, in cells, of the targets of heatmap models whose configuration does not say it.
HEATMAP_SIGMA = 2.0

WARMUP_STEPS, WARMUP_SHARE = 1000, 0.05

# The validation loss, which is measured at each checkpoint, is that of the first so many samples.
VALIDATION_SAMPLES = 1000

_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class FineTuning:
    """What to train on what.

    Args:
        model: alias, zoo name, hub repository or folder of a pose model or a detector.
        data: annotations in COCO's format.
        output: folder for the model, its card, checkpoints and logs.
        images: folder of the images; None: that of the annotations.
        validation_data, validation_images: the same for images to measure the model on.
        schema: name or JSON file of the keypoints; None: those that the annotations name, else the model's.
        epochs: passes over the data; `num_steps`, where given, counts instead.
        num_steps: optimizer steps.
        batch_size, learning_rate, average_decay, seed, num_workers, log_steps, save_steps, precision, use_cpu: see
            `TrainingSettings`.
    """

    model: str
    data: Path
    output: Path
    images: Path | None = None
    validation_data: Path | None = None
    validation_images: Path | None = None
    schema: str | None = None
    epochs: float = 20.0
    num_steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 5e-4
    average_decay: float = 0.9998
    seed: int = 0
    num_workers: int = 2
    log_steps: int = 20
    save_steps: int = 200
    precision: str = "float32"
    use_cpu: bool = False

    def settings(self, num_samples: int) -> TrainingSettings:
        """Settings of the run over so many samples."""
        steps = self.num_steps or max(math.ceil(num_samples * self.epochs / self.batch_size), 1)
        return TrainingSettings(
            num_steps=steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup_steps=min(WARMUP_STEPS, math.ceil(steps * WARMUP_SHARE)),
            average_decay=self.average_decay,
            seed=self.seed,
            num_workers=self.num_workers,
            log_steps=self.log_steps,
            save_steps=self.save_steps,
            precision=self.precision,
            use_cpu=self.use_cpu,
        )


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


def fine_tune(task: FineTuning, tell: Callable[[str], None] = print) -> TrainingSummary:
    """Train, and write a folder that `pipeline` loads: model, image processor, card.

    A run that was interrupted goes on when it is called again with the same settings.

    Args:
        task: what to train on what.
        tell: takes messages for the user.

    Raises:
        InputError: if the annotations cannot be used.
        ConfigError: if the model cannot be trained, or the folder holds a run with other settings.
        UnknownModelError: if nothing has the model's name.
    """
    coco = read_coco(task.data, task.images)
    validation = None
    if task.validation_data is not None:
        _require_pycocotools()
        validation = read_coco(task.validation_data, task.validation_images)
    is_detector = _trainable_task(task.model) == "detector"
    plan = (_plan_detector if is_detector else _plan_pose_model)(task, coco, validation)
    for message in [*_left_out(coco), *(_left_out(validation) if validation else []), *plan.messages]:
        tell(message)
    settings = task.settings(len(plan.samples))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    stream = SampleStream(
        plan.samples, plan.make, settings.num_steps * settings.batch_size * world_size, seed=task.seed
    )
    _claim_folder(task, len(plan.samples))
    if (checkpoint := last_checkpoint(task.output)) is not None:
        tell(f"Going on from {checkpoint}.")
    tell(f"Training on {len(plan.samples)} samples for {settings.num_steps} steps.")
    summary = train(
        plan.stage.model,
        stream,
        plan.collator,
        task.output,
        settings,
        validation=plan.validation,
        model_loss=plan.model_loss,
    )
    if int(os.environ.get("RANK", "0")) == 0:
        _write_folder(task, plan, summary)
        if task.validation_data is not None:
            _measure(task, plan.stage, is_detector, tell)
    return summary


def _trainable_task(model: str) -> str:
    task = task_of(model)
    if task == "lifter":
        raise ConfigError(f"{model} lifts 2D keypoints to 3D; `hfpose train` trains pose models and detectors.")
    return task


def _check_trainable(model: PreTrainedModel) -> None:
    if "labels" not in inspect.signature(model.forward).parameters:
        raise ConfigError(
            f"{type(model).__name__} computes no loss, so it cannot be trained. RTMPose, heatmap models, ViTPose and RTMDet can."
        )


def _require_pycocotools() -> None:
    try:
        import pycocotools  # noqa: F401
    except ModuleNotFoundError as error:
        raise HFPoseError(
            "Measuring on validation data needs pycocotools, which is not installed: pip install 'hfpose[eval]'."
        ) from error


def _left_out(coco: CocoFile) -> list[str]:
    return [f"Left out of {coco.path}: {line}" for line in coco.left_out.lines()]


def _validation_stream(samples: Samples, make: Callable[..., Mapping[str, Any]]) -> SampleStream:
    return SampleStream(samples, make, min(len(samples), VALIDATION_SAMPLES), shuffle=False)


# Pose models


def _plan_pose_model(task: FineTuning, coco: CocoFile, validation: CocoFile | None) -> _Plan:
    stage = load_stage(task.model, "pose")
    _check_trainable(stage.model)
    own = schema_for_config(stage.model.config)
    schema = _data_schema(coco, task.schema, own)
    instances = pose_instances(coco, schema)
    stage, messages = _with_schema(stage, own, schema, task.seed)
    if schema.flip_indices is None:
        messages.append(
            "No image is mirrored: which keypoints change places in a mirror is unknown, their names tell no left and right. "
            "Give a schema with `flip_indices`."
        )
    processor = stage.image_processor
    if is_one_stage(stage):
        plan = _Plan(
            stage,
            AnnotatedInstances(instances),
            FittedInstances(processor, schema, InstanceAugmentation()),
            InstanceCollator(processor),
            messages=messages,
        )
        if validation is not None:
            check_keypoints(validation, schema)
            held_out = AnnotatedInstances(pose_instances(validation, schema))
            plan.validation = _validation_stream(held_out, FittedInstances(processor, schema, None))
        return plan
    crops = PersonCrops(processor, schema, PoseAugmentation(), PoseAugmentation.late())
    plan = _Plan(stage, AnnotatedPeople(instances), crops, PoseCollator(processor), messages=messages)
    if stage.model.config.model_type == "vitpose":
        plan.model_loss = _vitpose_loss(processor, getattr(stage.model.config.backbone_config, "num_experts", 1))
    if validation is not None:
        check_keypoints(validation, schema)
        people = AnnotatedPeople(pose_instances(validation, schema))
        plan.validation = _validation_stream(people, PersonCrops(processor, schema, None))
    return plan


def _data_schema(coco: CocoFile, given: str | None, own: KeypointSchema) -> KeypointSchema:
    """The schema of the data: given, named by the annotations, or else the model's."""
    if given is not None:
        schema = read_schema(given)
        check_keypoints(coco, schema)
        return schema
    annotated = annotated_schema(coco)
    # Schemas with the same names, such as "coco" and "humanart", differ in nothing that matters here.
    return own if annotated is None or annotated.keypoint_names == own.keypoint_names else annotated


def _with_schema(stage: Stage, own: KeypointSchema, schema: KeypointSchema, seed: int) -> tuple[Stage, list[str]]:
    """The stage with a model for the keypoints of `schema`, and what there is to say about it."""
    if schema.keypoint_names == own.keypoint_names:
        return stage, []
    model, layers = with_labels(stage.model, schema.keypoint_names, seed, keypoint_schema=schema.to_dict())
    message = (
        f"The model finds the {own.num_keypoints} keypoints of {own.name!r}, the data have the {schema.num_keypoints} of "
        f"{schema.name!r}: initialized anew {', '.join(layers)}."
    )
    return Stage(model, stage.image_processor), [message]


def with_labels(
    model: PreTrainedModel, labels: Sequence[str], seed: int = 0, **changes: Any
) -> tuple[PreTrainedModel, list[str]]:
    """A model that finds other keypoints or classes, with the weights of `model` wherever they do not depend on these.

    Args:
        model: to take the weights of.
        labels: names of the keypoints or classes.
        seed: of the weights that are new.
        changes: of the configuration.

    Returns:
        The model, and the names of its new tensors.
    """
    new_tensors = label_tensors(model)
    torch.manual_seed(seed)
    changed = type(model)(_relabeled(model, labels, **changes))
    kept = {name: tensor for name, tensor in model.state_dict().items() if name not in new_tensors}
    changed.load_state_dict(kept, strict=False)
    return changed, new_tensors


def label_tensors(model: PreTrainedModel) -> list[str]:
    """Names of the tensors whose shape depends on the number of keypoints or classes."""
    with torch.device("meta"):
        larger = type(model)(_relabeled(model, [str(index) for index in range(label_count(model.config) + 1)]))
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return [name for name, tensor in larger.state_dict().items() if tensor.shape != shapes[name]]


def _relabeled(model: PreTrainedModel, labels: Sequence[str], **changes: Any) -> Any:
    config = copy.deepcopy(model.config)
    if hasattr(config, "keypoint_schema"):
        config.keypoint_schema = None  # that of the labels before
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def _vitpose_loss(image_processor: Any, num_experts: int) -> Callable[[nn.Module, dict[str, Any]], tuple[Tensor, Any]]:
    """The loss of transformers' ViTPose, which computes none itself."""

    def loss(model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        pixel_values = inputs["pixel_values"]
        arguments: dict[str, Tensor] = {}
        if num_experts > 1:  # one for each data set; those of the first are trained
            arguments["dataset_index"] = pixel_values.new_zeros(len(pixel_values), dtype=torch.long)
        outputs = model(pixel_values=pixel_values, **arguments)
        value = heatmap_loss(
            outputs.heatmaps,
            inputs["labels"],
            inputs["keypoint_weights"],
            image_size=pixel_values.shape[2:],
            sigma=HEATMAP_SIGMA,
            encoding=image_processor.heatmap_decoding,
        )
        return value, outputs

    return loss


# Detectors


def _plan_detector(task: FineTuning, coco: CocoFile, validation: CocoFile | None) -> _Plan:
    stage = load_stage(task.model, "detector")
    _check_trainable(stage.model)
    labels, messages = data_labels(coco), []
    own = [name for _, name in sorted((stage.model.config.id2label or {}).items())]
    if sorted(map(str.lower, labels)) == sorted(map(str.lower, own)):
        labels = own
    else:
        model, layers = with_labels(stage.model, labels, task.seed)
        stage = Stage(model, stage.image_processor)
        messages.append(
            f"The detector knows {_listed(own)}, the data have {_listed(labels)}: initialized anew {', '.join(layers)}."
        )
    processor = stage.image_processor
    images = AnnotatedImages(image_boxes(coco, _class_indices(coco, labels)))
    plan = _Plan(
        stage,
        images,
        FittedImages(processor, DetectionAugmentation()),
        DetectionCollator(processor),
        messages=messages,
    )
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
            f"{coco.path} needs categories with different names for its annotations; it has {_listed(names)}."
        )
    return names


def _class_indices(coco: CocoFile, labels: Sequence[str]) -> dict[Any, int]:
    """Category id -> class of the detector, by name."""
    by_name = {label.lower(): index for index, label in enumerate(labels)}
    names = {category.get("id"): str(category.get("name")).lower() for category in coco.categories}
    return {category_id: by_name[name] for category_id, name in names.items() if name in by_name}


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])} and {len(names) - 5} more" if len(names) > 5 else ", ".join(names) or "nothing"


# Folders


def _claim_folder(task: FineTuning, num_samples: int) -> None:
    """Note the settings of the run in its folder, so that no run with other settings goes on from its checkpoints.

    Raises:
        ConfigError: if the folder holds a run with other settings.
    """
    ignored = ("output", "num_workers", "log_steps", "use_cpu")  # they may change between two calls
    given = {name: _plain(value) for name, value in asdict(task).items() if name not in ignored}
    given["num_samples"] = num_samples
    path = task.output / CHECKPOINTS / _SETTINGS_FILE
    if path.is_file() and last_checkpoint(task.output) is not None:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{key}={before.get(key)!r}, now {value!r}" for key, value in given.items() if before.get(key) != value
        ]
        if changed:
            raise ConfigError(
                f"{task.output} holds the checkpoints of a run with other settings: {'; '.join(changed)}. Go on with the "
                f"same settings, choose another output folder, or delete {task.output / CHECKPOINTS}."
            )
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return str(value.resolve()) if isinstance(value, Path) else value


def _write_folder(task: FineTuning, plan: _Plan, summary: TrainingSummary) -> None:
    from hfpose.checkpoints.conversion import save_folder
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
    card = model_card(model, name, training=rows)
    with atomic_path(task.output / "README.md") as partial:
        partial.write_text(card.content, encoding="utf-8")


def hardware_name(use_cpu: bool = False) -> str:
    """What this machine computes with, for cards."""
    if not use_cpu and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"


def _measure(task: FineTuning, stage: Stage, is_detector: bool, tell: Callable[[str], None]) -> None:
    """Measure the model on the validation data, on annotated boxes, and write the numbers into the card."""
    from hfpose.evaluation.runs import evaluate_detector, evaluate_pose_pipeline
    from hfpose.hub.card_results import add_results
    from hfpose.pipelines import PoseEstimationPipeline

    assert task.validation_data is not None
    coco = read_coco(task.validation_data, task.validation_images)
    if is_detector:
        protocol, evaluation = "detection", evaluate_detector(stage, coco)
    else:
        protocol, boxes = (
            ("boxes of its own", "detector") if is_one_stage(stage) else ("annotated boxes", "annotations")
        )
        evaluation = evaluate_pose_pipeline(PoseEstimationPipeline(stage), coco, boxes)  # type: ignore[arg-type]
    add_results(task.output, task.validation_data.name, protocol, evaluation.metrics)
    tell(f"On {task.validation_data.name}, {protocol}: {_numbers(evaluation.metrics)}.")


def _numbers(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if value == value)
