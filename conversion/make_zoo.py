"""Write rows of src/hfpose/hub/zoo.json from a list of what the reference project published.

    python conversion/make_zoo.py pose_zoo.json                       # every model whose family is in the zoo
    python conversion/make_zoo.py pose_zoo.json --families rtmo yolox_pose

The list has one dict a model: `name`, `schema`, `input_size_wh`, `aliases`, `backbone`, `neck`, `head`, `data_preprocessor`,
`test_cfg`, `test_pipeline`, `checkpoint_url`, `sha256_prefix`, `results`, `estimator`, `config`. What a row of the zoo says besides (data
sets, detector, aliases, repository) is kept; new rows follow the last one of their family. A second run changes nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hfpose.checkpoints.custom import family_of_model
from hfpose.errors import ConfigError
from hfpose.media.files import atomic_path

ZOO = Path(__file__).resolve().parents[1] / "src" / "hfpose" / "hub" / "zoo.json"

# Names of ours, beside those of the reference.
ALIASES = {
    "rtmo-t_8xb32-600e_body7-416x416": ["rtmo-t"],
    "rtmo-s_8xb32-600e_body7-640x640": ["rtmo-s"],
    "rtmo-m_16xb16-600e_body7-640x640": ["rtmo-m"],
    "rtmo-l_16xb16-600e_body7-640x640": ["rtmo-l"],
    "rtmw-m_8xb1024-270e_cocktail14-256x192": ["rtmw-m"],
    "rtmw-l_8xb1024-270e_cocktail14-256x192": ["rtmw-l"],
    "rtmw-x_8xb704-270e_cocktail14-256x192": ["rtmw-x"],
    "rtmw-l_8xb320-270e_cocktail14-384x288": ["rtmw", "rtmw-l-384"],
    "rtmw-x_8xb320-270e_cocktail14-384x288": ["rtmw-x-384"],
    "rtmw3d-l_8xb64_cocktail14-384x288": ["rtmw3d-l"],
    "rtmw3d-x_8xb32_cocktail14-384x288": ["wholebody3d", "rtmw3d-x"],
}

REFERENCE_KEYS = ("backbone", "neck", "head", "data_preprocessor", "test_cfg")
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
        rows: of the zoo; a new top-down model takes the detector of the first one with its keypoints.

    Raises:
        ConfigError: if the model is of no family that hfpose knows.
    """
    metrics = {result["dataset"]: result["metrics"] for result in fact["results"]}
    family = family_of_model(fact, Path(fact["config"]))
    task = "lifter" if fact["estimator"] == "PoseLifter" else "pose"
    row: dict[str, Any] = {"name": fact["name"], "task": task, "family": family}
    aliases = [*(before or {}).get("aliases", []), *fact["aliases"], *ALIASES.get(fact["name"], [])]
    taken = {
        alias for row in rows if row["name"] != fact["name"] for alias in row.get("aliases", []) if row["task"] == task
    }
    row["aliases"] = [alias for alias in dict.fromkeys(aliases) if alias not in taken]
    row["input_size"], row["schema"] = fact["input_size_wh"], fact["schema"]
    row["checkpoint_url"], row["sha256_prefix"] = fact["checkpoint_url"], fact["sha256_prefix"]
    row["metrics"] = metrics
    # Data sets that a row was given by mistake for those it was measured on go with these.
    kept = {key: before[key] for key in KEPT_KEYS if key in before} if before else _companions(fact, rows)
    if before is None or kept.get("training_data") == list(before.get("metrics", {})):
        kept["training_data"] = list(metrics)
    row["reference"] = {key: fact[key] for key in REFERENCE_KEYS if fact.get(key) is not None}
    if not _is_plain_crop(fact.get("test_pipeline") or []):
        row["reference"]["test_pipeline"] = fact["test_pipeline"]
    row |= kept
    return {key: row[key] for key in FIELD_ORDER if row.get(key) not in (None, [], {})}


def _companions(fact: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The detector for a new top-down model."""
    if fact["estimator"] != "TopdownPoseEstimator":
        return {}
    like = next((row for row in rows if row.get("schema") == fact["schema"] and "default_detector" in row), {})
    return {key: like[key] for key in ("default_detector", "detector_labels") if key in like}


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
            family = family_of_model(fact, Path(fact["config"]))
        except ConfigError:
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


def written(zoo: Mapping[str, Any]) -> str:
    """The zoo as text: a line for each field, and for each part of a reference."""
    parts = ",\n".join(f' "{key}": {_lines(zoo[key], 2)}' for key in ("families", "label_sets"))
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
    zoo = json.loads(ZOO.read_text(encoding="utf-8"))
    facts = json.loads(arguments.facts.read_text(encoding="utf-8"))
    with atomic_path(ZOO) as partial:
        partial.write_text(written(updated(zoo, facts, arguments.families)), encoding="utf-8")


if __name__ == "__main__":
    main()
