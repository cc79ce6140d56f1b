"""Write rows of src/hfpose/hub/zoo.json from a list of what the reference project published.

    python conversion/make_zoo.py pose_zoo.json                       # every model whose family is in the zoo
    python conversion/make_zoo.py pose_zoo.json --families rtmo yolox_pose

The list has one dict a model: `name`, `schema`, `input_size_wh`, `aliases`, `backbone`, `neck`, `head`,
`data_preprocessor`, `test_cfg`, `test_pipeline`, `checkpoint_url`, `sha256_prefix`, `results`, `estimator`, `config`.
What a row of the zoo says besides (data sets, detector, aliases, loss, repository) is kept; new rows follow the last
one of their family. A second run changes nothing.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hfpose.checkpoints.custom import family_of_model
from hfpose.errors import ConfigError
from hfpose.hub.zoo import WHOLE_IMAGE
from hfpose.media.files import write_text

ZOO = Path(__file__).resolve().parents[1] / "src" / "hfpose" / "hub" / "zoo.json"

# Heatmaps are told apart by what makes them, regression by how it is trained.
FAMILY_BY_BACKBONE = {
    "AlexNet": "alexnet",
    "CPM": "cpm",
    "CSPNeXt": "cspnext",
    "HRFormer": "hrformer",
    "HRNet": "hrnet",
    "HourglassNet": "hourglass",
    "LiteHRNet": "lite_hrnet",
    "MSPN": "mspn",
    "MobileNetV2": "mobilenet_v2",
    "PyramidVisionTransformer": "pvt",
    "PyramidVisionTransformerV2": "pvt_v2",
    "RSN": "rsn",
    "ResNeSt": "resnest",
    "ResNeXt": "resnext",
    "ResNet": "simple_baseline",
    "ResNetV1d": "resnet_v1d",
    "SCNet": "scnet",
    "SEResNet": "seresnet",
    "ShuffleNetV1": "shufflenet_v1",
    "ShuffleNetV2": "shufflenet_v2",
    "SwinTransformer": "swin",
    "VGG": "vgg",
    "ViPNAS_MobileNetV3": "vipnas",
    "ViPNAS_ResNet": "vipnas",
}
FAMILY_BY_HEAD = {"RLEHead": "rle", "DSNTHead": "integral_regression", "IntegralRegressionHead": "integral_regression"}

# What goes before a top-down model, by its schema as the reference's `default_det_models` has it; people for all
# others.
PEOPLE = ("rtmdet_m_640-8xb32_coco-person", [0])
FACES = ("yolox-s_8xb8-300e_coco-face", [0])
HANDS = ("rtmdet_nano_320-8xb32_hand", [0])
ANIMALS = ("rtmdet_m_8xb32-300e_coco", list(range(15, 24)))
DETECTORS: dict[str, tuple[str, list[int] | None]] = {
    **dict.fromkeys(("300w", "300wlp", "aflw", "coco_wholebody_face", "cofw", "lapa", "wflw"), FACES),
    **dict.fromkeys(("coco_wholebody_hand", "freihand", "freihand2d", "onehand10k", "rhd2d"), HANDS),
    **dict.fromkeys(("animalkingdom", "animalpose", "ap10k"), ANIMALS),
    **dict.fromkeys(
        ("deepfashion2", "deepfashion_full", "deepfashion_lower", "deepfashion_upper"), (WHOLE_IMAGE, None)
    ),
    **dict.fromkeys(("locust", "zebra", "interhand3d"), (WHOLE_IMAGE, None)),
}

# Models of COCO and AI Challenger, which the reference cuts down to the keypoints of COCO after the fact.
SCHEMA_BY_KEYPOINTS: dict[tuple[str, int | None], str] = {("coco", 19): "coco_aic"}

REFERENCE_KEYS = ("backbone", "neck", "head", "loss", "data_preprocessor", "test_cfg")
KEPT_KEYS = ("default_detector", "detector_labels", "default_pose", "training_data", "repository", "revision")
FIELD_ORDER = (
    "name", "task", "family", "aliases", "input_size", "schema", "default_detector", "detector_labels", "default_pose",
    "checkpoint_url", "sha256_prefix", "training_data", "metrics", "repository", "revision", "reference",
)  # fmt: skip


def zoo_row(
    fact: Mapping[str, Any], before: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The zoo's row for a published model.

    Args:
        fact: what was published.
        before: the row of that name, if there is one.
        rows: of the zoo, whose aliases are taken.

    Raises:
        ConfigError: if the model is of no family that hfpose knows.
    """
    metrics = {result["dataset"]: result["metrics"] for result in fact["results"]}
    family = zoo_family(fact)
    task = "lifter" if fact["estimator"] == "PoseLifter" else "pose"
    row: dict[str, Any] = {"name": fact["name"], "task": task, "family": family}
    aliases = [*(before or {}).get("aliases", []), *fact["aliases"]]
    taken = {
        alias for row in rows if row["name"] != fact["name"] for alias in row.get("aliases", []) if row["task"] == task
    }
    row["aliases"] = [alias for alias in dict.fromkeys(aliases) if alias not in taken]
    count = (fact["head"] or {}).get("out_channels")
    row["input_size"] = fact["input_size_wh"]
    row["schema"] = SCHEMA_BY_KEYPOINTS.get((fact["schema"], count), fact["schema"])
    row["checkpoint_url"], row["sha256_prefix"] = fact["checkpoint_url"].lstrip("("), fact["sha256_prefix"]
    row["metrics"] = metrics
    # Data sets that a row was given by mistake for those it was measured on go with these.
    kept = {key: before[key] for key in KEPT_KEYS if key in before} if before else _companions(fact)
    if before is None or kept.get("training_data") == list(before.get("metrics", {})):
        kept["training_data"] = list(metrics)
    stated = {"loss": (before or {}).get("reference", {}).get("loss"), **fact}
    row["reference"] = {key: stated[key] for key in REFERENCE_KEYS if stated.get(key) is not None}
    if not _is_plain_crop(fact.get("test_pipeline") or []):
        row["reference"]["test_pipeline"] = fact["test_pipeline"]
    row |= kept
    return {key: row[key] for key in FIELD_ORDER if row.get(key) not in (None, [], {})}


def zoo_family(fact: Mapping[str, Any]) -> str:
    """The family whose title and paper the zoo shows for a published model.

    Raises:
        ConfigError: if the model is of no family that hfpose knows.
    """
    family = family_of_model(fact, Path(fact["config"]))
    if family == "heatmap":
        return FAMILY_BY_BACKBONE[fact["backbone"]["type"]]
    return FAMILY_BY_HEAD.get(fact["head"]["type"], family)


def _companions(fact: Mapping[str, Any]) -> dict[str, Any]:
    """The detector for a new top-down model."""
    if fact["estimator"] != "TopdownPoseEstimator":
        return {}
    detector, labels = DETECTORS.get(fact["schema"], PEOPLE)
    return {"default_detector": detector, "detector_labels": labels}


def _is_plain_crop(test_pipeline: Sequence[Mapping[str, Any]]) -> bool:
    """Whether images are cropped in the way that goes without saying."""
    return all(
        set(step) <= {"type", "input_size"} and step["type"] in ("GetBBoxCenterScale", "TopdownAffine")
        for step in test_pipeline
    )


def updated(zoo: dict[str, Any], facts: Sequence[Mapping[str, Any]], families: Sequence[str] | None) -> dict[str, Any]:
    """The zoo with rows for the published models of `families`; None for all that the zoo has."""
    rows = list(zoo["models"])
    for fact in facts:
        try:
            family = zoo_family(fact)
        except ConfigError as error:
            print(f"{fact['name']} is left out: {error}")
            continue
        if family not in (zoo["families"] if families is None else families):
            continue
        place = next((index for index, row in enumerate(rows) if row["name"] == fact["name"]), None)
        row = zoo_row(fact, None if place is None else rows[place], rows)
        if place is None:
            last = max((index for index, other in enumerate(rows) if other["family"] == family), default=len(rows) - 1)
            rows.insert(last + 1, row)
        else:
            rows[place] = row
    return zoo | {"models": rows}


def with_shared_parts(zoo: Mapping[str, Any]) -> dict[str, Any]:
    """The zoo with the parts of references that several models have stated once, under a name that stands for them."""
    found: dict[str, tuple[str, Any, list[dict[str, Any]]]] = {}
    models = [row | {"reference": dict(row["reference"])} for row in zoo["models"]]
    for row in models:
        for key, value in row["reference"].items():
            if isinstance(value, dict) and value:
                found.setdefault(json.dumps(value), (key, value, []))[2].append(row["reference"])
    parts: dict[str, Any] = {}
    numbers: Counter[str] = Counter()
    for key, value, references in found.values():
        if len(references) == 1:
            continue
        kind = str(value.get("type", key))
        numbers[kind] += 1
        name = f"{kind} {numbers[kind]}"
        parts[name] = value
        for reference in references:
            for key in [key for key in reference if reference[key] == value]:
                reference[key] = name
    return {**zoo, "reference_parts": parts, "models": models}


def with_own_parts(zoo: Mapping[str, Any]) -> dict[str, Any]:
    """`with_shared_parts` undone: every reference says all by itself."""
    parts = zoo.get("reference_parts", {})

    def whole(value: Any) -> Any:
        return parts.get(value, value) if isinstance(value, str) else value

    models = [
        row | {"reference": {key: whole(value) for key, value in row["reference"].items()}} for row in zoo["models"]
    ]
    return {**zoo, "models": models}


def written(zoo: Mapping[str, Any]) -> str:
    """The zoo as text: a line for each field, and for each part of a reference."""
    zoo = with_shared_parts(zoo)
    parts = ",\n".join(f' "{key}": {_lines(zoo[key], 2)}' for key in ("families", "label_sets", "reference_parts"))
    models = ",\n".join(f"  {_lines(row, 3, nested=('reference',))}" for row in zoo["models"])
    return f'{{\n{parts},\n "models": [\n{models}\n ]\n}}\n'


def _lines(items: Mapping[str, Any], indent: int, nested: Sequence[str] = ()) -> str:
    pad = " " * indent
    lines = [
        f"{pad}{json.dumps(key)}: "
        + (_lines(value, indent + 1) if key in nested else json.dumps(value, ensure_ascii=False))
        for key, value in items.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{pad[1:]}}}"


def main() -> None:
    """Update the zoo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facts", type=Path, help="JSON list of published models")
    parser.add_argument("--families", nargs="+", help="write rows of these alone; default: of all that the zoo has")
    arguments = parser.parse_args()
    zoo = with_own_parts(json.loads(ZOO.read_text(encoding="utf-8")))
    facts = json.loads(arguments.facts.read_text(encoding="utf-8"))
    write_text(ZOO, written(updated(zoo, facts, arguments.families)))


if __name__ == "__main__":
    main()
