"""Model cards: what the Hub shows of a model, written from what the zoo or the model itself knows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hfpose.errors import listed
from hfpose.hub.zoo import WHOLE_IMAGE, ModelEntry, ModelFamily, get_family
from hfpose.keypoints import KeypointSchema, load_schema, schema_for_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TEMPLATE = Path(__file__).with_name("card_template.md")
_MAX_LABELS = 30  # the 133 keypoints of a whole body would fill the page

_PIPELINE_TAGS = {"pose": "keypoint-detection", "lifter": "keypoint-detection", "detector": "object-detection"}

# Families whose keypoints lie in space.
_FAMILIES_3D = ("motionbert", "temporal_convolution", "internet", "rtmw3d")

_SUBJECTS = {
    **dict.fromkeys(("aic", "coco", "coco_aic", "h36m", "jhmdb", "mpii", "posetrack18"), "people"),
    **dict.fromkeys(("300w", "aflw", "coco_wholebody_face", "lapa", "wflw"), "human faces"),
    **dict.fromkeys(("coco_wholebody_hand", "freihand", "onehand10k", "rhd2d"), "hands"),
    "300wlp": "human faces, also in profile",
    "animalkingdom": "animals of many kinds",
    "animalpose": "cats, dogs, cows, horses and sheep",
    "ap10k": "four-legged animals",
    "coco_wholebody": "people, with their faces, hands and feet",
    "cofw": "human faces, also hidden ones",
    "crowdpose": "people, also in crowds",
    "deepfashion2": "clothes of 13 kinds",
    "deepfashion_full": "dresses and other clothes of the whole body",
    "deepfashion_lower": "clothes of the lower body",
    "deepfashion_upper": "clothes of the upper body",
    "exlpose": "people, also in the dark",
    "halpe26": "people, with their feet",
    "humanart": "people, in photographs, paintings and sculptures",
    "interhand3d": "hands, also two that touch each other",
    "locust": "desert locusts",
    "zebra": "zebras seen from above",
}

_CLASSES = {"person": "people", "hand": "hands", "face": "human faces"}

_LICENSE = (
    "The weights are published under Apache-2.0. The data sets that they were trained on have licenses of their own, "
    "some for research only; whether a use of the weights is covered is for you to judge."
)
_UNKNOWN_LICENSE = "Not stated. Ask the people who trained the weights."
_UNKNOWN_TRAINING = "Nothing was written down about training data and results. Ask the people who trained it."
_LIMITS = {
    "pose": (
        "Made to find keypoints of {subject}. It needs a box, from a detector or from you: without a good box there "
        "is no good pose."
    ),
    "one_stage": "Made to find keypoints of {subject}. It takes whole images and needs no detector.",
    "detector": "Made to find {subject} in images, as the first stage before a pose model or alone.",
    "lifter": (
        "Made to turn 2D keypoints of one person over time into 3D. Positions are relative to the hips; the place of "
        "a person, by `root=`, is as exact as the person's height and the camera are known."
    ),
}
_SCORES = {
    "pose": "Every keypoint has a score. Hidden or cut-off ones get a guess and a low score: look at it before you "
    "rely on them.",
    "detector": "Every box has a score, and nothing below your threshold is shown. Boxes of low score are often "
    "wrong.",
    "lifter": "Errors of the 2D keypoints go on into the third dimension.",
}
_COMMON_LIMITS = (
    "Quality differs with size, view, clothing, light and how much the training data have of a kind of people or "
    "scene. Measure on data of your own first, the more so where mistakes can harm someone.",
    "Not made to identify people, nor to infer health, emotion, age, sex or origin from a pose.",
)


def entry_card(entry: ModelEntry, repo_id: str | None = None, image: str | None = None) -> ModelCard:
    """Card of a model of the zoo.

    Args:
        repo_id: repository that the card is for; its snippets then load from there, else by the zoo name.
        image: address of the image of the skeleton, relative to the card.
    """
    family = get_family(entry.family)
    schema = load_schema(entry.schema) if entry.schema else None
    results = _eval_results(entry)
    if schema is None:
        alone = [_detector_snippet(repo_id)] if repo_id else []
        snippets = [_pose_snippet_with_detector(entry, repo_id or entry.name), *alone]
    else:
        snippets = [_snippet(repo_id or entry.name, schema, _is_3d(entry))]
    return _render(
        _entry_data(entry, _tags(entry), model_name=entry.name if results else None, eval_results=results or None),
        schema or entry.labels,
        title=f"{family.title}: {entry.name}",
        summary=_summary(entry, family, schema),
        snippets=snippets,
        details=_details(entry, schema),
        limits=_limits(entry),
        image=image if schema else None,
        image_text=f"The {schema.num_keypoints} keypoints of the schema {schema.name}" if schema else None,
        metrics=[(result.dataset_name, _with_unit(result.metric_type), result.metric_value) for result in results],
        source=_source(entry),
        citation=_citation(entry.family, family),
    )


def pipeline_card(entry: ModelEntry, repo_id: str, parts: Iterable[str] = ()) -> ModelCard:
    """Card of a repository with a whole pipeline: a pose model of the zoo and its detector.

    `parts` are the repositories of its models, where they have been pushed alone too.
    """
    schema = load_schema(str(entry.schema))
    names = [f"`{part.name}`" for part in (entry, *entry.companions())]
    return _render(
        _entry_data(entry, [*_tags(entry), "pipeline"], base_model=list(parts) or None),
        schema,
        title=f"Pose pipeline: {entry.name}",
        summary=_pipeline_summary(_subject(entry), _is_3d(entry)),
        snippets=[_snippet(repo_id, schema, _is_3d(entry))],
        details=[("Parts", ", ".join(names)), *_details(entry, schema)],
        limits=_limits(entry),
        citation=_citation(entry.family, get_family(entry.family)),
    )


def saved_pipeline_card(schema: KeypointSchema, repo_id: str, is_3d: bool) -> ModelCard:
    """Card of a pipeline of any models, for instance ones that you trained. It claims nothing about them."""
    tags = ["hfpose", "pose-estimation", "pipeline", *(["3d"] if is_3d else [])]
    return _render(
        ModelCardData(library_name="hfpose", pipeline_tag=_PIPELINE_TAGS["pose"], tags=tags),
        schema,
        title=repo_id.split("/")[-1],
        summary=_pipeline_summary(f"the schema {schema.name}", is_3d),
        snippets=[_snippet(repo_id, schema, is_3d)],
        details=[("Keypoints", f"{schema.num_keypoints} (schema `{schema.name}`)")],
        limits=[_UNKNOWN_TRAINING, *_COMMON_LIMITS],
        license_text=_UNKNOWN_LICENSE,
    )


def model_card(model: PreTrainedModel, repo_id: str, training: Sequence[tuple[str, str]] = ()) -> ModelCard:
    """Card of any of hfpose's models, for instance one that you trained, from its configuration alone.

    It claims nothing that the model does not say: no results and, without `training`, no training data.

    Args:
        repo_id: repository or folder that the card is for.
        training: what is known of the training, as names and values for the table.
    """
    config = model.config
    schema = None if type(model).__name__.endswith("ForObjectDetection") else schema_for_config(config)
    classes = tuple((config.id2label or {}).values())
    family = get_family(config.model_type)
    data = ModelCardData(
        library_name="hfpose",
        pipeline_tag=_PIPELINE_TAGS["pose" if schema else "detector"],
        tags=["hfpose", "pose-estimation", config.model_type],
    )
    if schema is None:
        finds, snippet = f"that finds objects of {len(classes)} classes in images", _detector_snippet(repo_id)
    else:
        finds = f"for the {schema.num_keypoints} keypoints of the schema {schema.name}"
        snippet = _snippet(repo_id, schema, config.model_type in _FAMILIES_3D)
    return _render(
        data,
        schema or classes,
        title=repo_id.split("/")[-1],
        summary=f"A {family.title} model {finds}.",
        snippets=[snippet],
        details=[("Architecture", type(model).__name__), ("Parameters", f"{model.num_parameters():,}"), *training],
        limits=[*([] if training else [_UNKNOWN_TRAINING]), *_COMMON_LIMITS],
        license_text=_UNKNOWN_LICENSE,
        citation=_citation(config.model_type, family),
    )


def _entry_data(entry: ModelEntry, tags: list[str], **more: Any) -> ModelCardData:
    """What the Hub reads in the card of a model of the zoo."""
    return ModelCardData(
        license="apache-2.0",
        library_name="hfpose",
        pipeline_tag=_PIPELINE_TAGS[entry.task],
        tags=tags,
        datasets=[_slug(name) for name in entry.training_data],
        **more,
    )


def _render(
    data: ModelCardData, found: KeypointSchema | tuple[str, ...], license_text: str = _LICENSE, **content: Any
) -> ModelCard:
    """A card with what the template shows; sections without content are left out. `found` are the keypoints that the
    model finds, or the names of its classes."""
    if isinstance(found, KeypointSchema):
        content |= {"labels_title": "Keypoints", "labels": _listed(found.keypoint_names)}
    else:
        content |= {"labels_title": "Classes", "labels": _listed(found)}
    card = ModelCard.from_template(data, template_path=str(_TEMPLATE), license_text=license_text, **content)
    card.text = card.text.strip("\n") + "\n"
    return card


def _limits(entry: ModelEntry) -> list[str]:
    kind = "one_stage" if entry.task == "pose" and entry.default_detector is None else entry.task
    return [_LIMITS[kind].format(subject=_subject(entry)), _SCORES[entry.task], *_COMMON_LIMITS]


def _pipeline_summary(subject: str, is_3d: bool) -> str:
    space = "3D " if is_3d else ""
    return (
        f"A pipeline that finds {space}keypoints of {subject} in images and videos. Each of its models lies in a "
        "folder of its own."
    )


def _summary(entry: ModelEntry, family: ModelFamily, schema: KeypointSchema | None) -> str:
    paper = f"[{family.title}]({family.paper.url})"
    if entry.task == "lifter":
        return f"{paper} for {_subject(entry)}: turns sequences of 2D keypoints into 3D keypoints."
    if schema is None:
        return f"{paper} that detects {_subject(entry)}."
    space = "3D " if _is_3d(entry) else ""
    return f"{paper} that finds {schema.num_keypoints} {space}keypoints of {_subject(entry)}."


def _subject(entry: ModelEntry) -> str:
    if entry.schema is not None:
        return _SUBJECTS[entry.schema]
    trained = [label for label in entry.labels if not label.startswith("unused_")]
    if len(trained) > 1:
        return f"objects of {len(trained)} classes"
    return _CLASSES[entry.labels[0]]


def _snippet(name: str, schema: KeypointSchema, is_3d: bool) -> str:
    if is_3d:
        units = "x and y in pixels, z in millimeters" if schema.name == "interhand3d" else "x, y and z in meters"
        return f'''\
from hfpose import pipeline

pipe = pipeline("pose-estimation-3d", model="{name}")
for result in pipe("video.mp4"):
    result.keypoints  # (N, {schema.num_keypoints}, 3): {units} for each of N found'''
    return f'''\
from hfpose import pipeline

pipe = pipeline("pose-estimation", model="{name}")
result = pipe("photo.jpg")
result.keypoints  # (N, {schema.num_keypoints}, 2): x and y in pixels for each of N found
result.keypoint_scores  # (N, {schema.num_keypoints})'''


def _pose_snippet_with_detector(entry: ModelEntry, name: str) -> str:
    subject = _subject(entry)
    model = {"hands": "hand", "human faces": "face"}.get(subject, "human")
    labels = ', detector_labels=["person"]' if len(entry.labels) > 1 else ""
    return f'''\
from hfpose import pipeline

pipe = pipeline("pose-estimation", model="{model}", detector="{name}"{labels})
result = pipe("photo.jpg")
result.boxes  # (N, 4): left, top, right, bottom in pixels'''


def _detector_snippet(repo_id: str) -> str:
    return f'''\
import hfpose  # makes transformers know the model
from transformers import pipeline

detect = pipeline("object-detection", model="{repo_id}")
detect("photo.jpg")'''


def _frames(backbone: Mapping[str, Any]) -> str:
    """What a lifter with this backbone of the reference looks at."""
    if "seq_len" in backbone:
        return f"up to {backbone['seq_len']} frames of 2D keypoints"
    frames = math.prod(backbone["kernel_sizes"])
    return "2D keypoints of one frame" if frames == 1 else f"2D keypoints of {frames} frames around the lifted one"


def _details(entry: ModelEntry, schema: KeypointSchema | None) -> list[tuple[str, str]]:
    rows = [("Architecture", get_family(entry.family).title)]
    if entry.input_size is not None:
        rows.append(("Input", f"{entry.input_size[0]} x {entry.input_size[1]} pixels (width x height)"))
    elif entry.task == "lifter":
        rows.append(("Input", _frames(entry.reference["backbone"])))
    if schema is not None:
        rows.append(("Keypoints", f"{schema.num_keypoints} (schema `{schema.name}`)"))
    else:
        rows.append(("Classes", str(len(entry.labels))))
    if entry.default_detector is not None:
        whole = "none: the image is the box"
        rows.append(("Detector", whole if entry.default_detector == WHOLE_IMAGE else f"`{entry.default_detector}`"))
    rows.append(("Trained on", ", ".join(entry.training_data)))
    if entry.aliases:
        rows.append(("Names in hfpose", ", ".join(f"`{name}`" for name in (*entry.aliases, entry.name))))
    return rows


def _source(entry: ModelEntry) -> str:
    command = f"`hfpose convert {entry.name} --checkpoint FILE --output DIR`"
    url = entry.checkpoint_url
    if url is None:
        return f"OpenMMLab publishes a config and no weights. For weights of your own: {command}."
    project = "MMDetection" if urlsplit(url).path.startswith("/mmdetection") else "MMPose"
    checked = f"Its SHA-256 begins with `{entry.sha256_prefix}`, which is checked before the file is read."
    return (
        f"Converted from the checkpoint that OpenMMLab publishes with {project}:\n\n"
        f"- File: {url}\n"
        f"- {checked if entry.sha256_prefix else 'Its SHA-256 is not published, so the file is not checked.'}\n"
        f"- Conversion: {command} renames and regroups the tensors and "
        "changes no number in them. Every tensor of the file is used, and nothing in it is executed."
    )


def _citation(key: str, family: ModelFamily) -> str:
    paper = family.paper
    number = paper.url.rsplit("/", 1)[-1]
    return (
        f"@article{{{key}{paper.year},\n"
        f"  title = {{{paper.title}}},\n"
        f"  author = {{{paper.authors}}},\n"
        f"  journal = {{arXiv preprint arXiv:{number}}},\n"
        f"  year = {{{paper.year}}}\n"
        "}"
    )


def _eval_results(entry: ModelEntry) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=_PIPELINE_TAGS[entry.task],
            dataset_type=_slug(dataset),
            dataset_name=dataset,
            metric_type=metric,
            metric_name=metric,
            metric_value=value,
        )
        for dataset, values in entry.metrics.items()
        for metric, value in values.items()
    ]


def _with_unit(metric: str) -> str:
    return f"{metric} (mm)" if "MPJPE" in metric or metric == "MRRPE" else metric


def _is_3d(entry: ModelEntry) -> bool:
    return entry.family in _FAMILIES_3D


def _tags(entry: ModelEntry) -> list[str]:
    schema, space = [entry.schema] if entry.schema else [], ["3d"] if _is_3d(entry) else []
    return list(dict.fromkeys(["hfpose", "pose-estimation", entry.family, *schema, *space]))


def _slug(name: str) -> str:
    """Name of a data set as the Hub writes such names."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def _listed(names: tuple[str, ...]) -> str:
    more = ", see `config.json`" if len(names) > _MAX_LABELS else ""
    return listed([f"`{name}`" for name in names], _MAX_LABELS) + more
