#!/usr/bin/env python
"""Fine-tune a pose model or a detector of hfpose on a data set of the Hub, with transformers' `Trainer`.

The data set has a column `image` and a column `objects` as COCO has them: for each image lists of `bbox` (x, y, width,
height), `category`, and for pose models `keypoints` (x, y, visibility, ... for each object). `hfpose train` does the
same for annotation files, with augmentation, averaged weights and an evaluation.

    python run_pose_estimation.py --model_name_or_path someone/rtmpose-m --dataset_name someone/poses \
        --output_dir out --num_train_epochs 10 --learning_rate 5e-4 --do_train --do_eval --push_to_hub

One argument alone that ends in .json is a file with all of these.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForObjectDetection,
    AutoModelForPoseEstimation,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES

import hfpose  # noqa: F401  (makes its models known to transformers)

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """Which model to start from."""

    model_name_or_path: str = field(metadata={"help": "Folder or repository of a model."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the repository."})
    token: str | None = field(default=None, metadata={"help": "Token of the Hub; default: the one logged in with."})


@dataclass
class DataArguments:
    """What to train on."""

    dataset_name: str = field(metadata={"help": "Data set of the Hub, or folder of `save_to_disk`."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the data set."})
    train_val_split: float = field(
        default=0.15, metadata={"help": "Share held out where there is no validation split."}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "Use the first so many samples alone."})


def load_splits(arguments: DataArguments, seed: int) -> DatasetDict:
    """Splits `train` and `validation`, without images that show no object.

    Raises:
        ValueError: for other columns, or no object at all.
    """
    if Path(arguments.dataset_name).is_dir():
        loaded = load_from_disk(arguments.dataset_name)
    else:
        loaded = load_dataset(arguments.dataset_name, arguments.dataset_config_name)
    splits = DatasetDict({"train": loaded}) if isinstance(loaded, Dataset) else loaded
    if "validation" not in splits:
        parts = splits["train"].train_test_split(arguments.train_val_split, seed=seed)
        splits = DatasetDict({"train": parts["train"], "validation": parts["test"]})
    for name, split in splits.items():
        first: Mapping[str, Any] = next(iter(split), {})
        fields = first.get("objects", ()) if "image" in first else ()
        if "bbox" not in fields:
            raise ValueError(
                f"The split {name} has the columns {split.column_names}, objects with {[*fields]}. Expected `image`, "
                "and `objects` with `bbox`, `keypoints` or `category`; rename them with "
                "`datasets.Dataset.rename_column`."
            )
    splits = splits.filter(lambda objects: len(objects["bbox"]) > 0, input_columns="objects")
    if len(splits["train"]) == 0:
        raise ValueError("No image of the split train has an object with a `bbox`, so there is nothing to learn.")
    if arguments.max_train_samples is not None:
        splits["train"] = splits["train"].select(range(min(arguments.max_train_samples, len(splits["train"]))))
    return splits


def coco_annotation(index: int, objects: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The objects of an image as the image processor takes them."""
    names = {"bbox": "bbox", "category": "category_id", "keypoints": "keypoints", "area": "area"}
    columns = {name: objects[column] for column, name in names.items() if column in objects}
    return {
        "image_id": index,
        "annotations": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    }


def collate(samples: Sequence[Mapping[str, Any]], image_processor: Any) -> dict[str, Any]:
    """Network input and labels: one input an image for detectors and one-stage models, one a person for top-down
    models."""
    images = [sample["image"].convert("RGB") for sample in samples]
    annotations = [coco_annotation(index, sample["objects"]) for index, sample in enumerate(samples)]
    return dict(image_processor(images, annotations=annotations, return_tensors="pt"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure the loss, save and push."""
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments))  # type: ignore[arg-type]
    given = sys.argv[1:] if arguments is None else arguments
    is_file = len(given) == 1 and given[0].endswith(".json")
    read = parser.parse_json_file(given[0]) if is_file else parser.parse_args_into_dataclasses(given)
    model_arguments, data_arguments, training_arguments = read
    logging.basicConfig(
        format="%(asctime)s %(message)s", handlers=[logging.StreamHandler(sys.stdout)], level=logging.INFO
    )
    set_seed(training_arguments.seed)
    splits = load_splits(data_arguments, training_arguments.seed)

    origin = {"revision": model_arguments.model_revision, "token": model_arguments.token}
    config = AutoConfig.from_pretrained(model_arguments.model_name_or_path, **origin)
    is_detector = config.model_type in MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES
    model_class = AutoModelForObjectDetection if is_detector else AutoModelForPoseEstimation
    model = model_class.from_pretrained(model_arguments.model_name_or_path, config=config, **origin)
    image_processor = AutoImageProcessor.from_pretrained(model_arguments.model_name_or_path, **origin)

    # The columns are images and objects until they are collated, and the loss is what is measured.
    training_arguments.remove_unused_columns = False
    training_arguments.prediction_loss_only = True
    trainer = Trainer(
        model=model,
        args=training_arguments,
        train_dataset=splits["train"] if training_arguments.do_train else None,
        eval_dataset=splits["validation"] if training_arguments.do_eval else None,
        processing_class=image_processor,
        data_collator=partial(collate, image_processor=image_processor),
    )
    if training_arguments.do_train:
        result = trainer.train(resume_from_checkpoint=training_arguments.resume_from_checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
    if training_arguments.do_eval:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    if training_arguments.push_to_hub:
        trainer.push_to_hub()


if __name__ == "__main__":
    main()
