"""How many config files of a folder are read and their models built, and which are refused and why.

    python conversion/report_configs.py MMPOSE/configs MMPOSE/projects [--all]

Models are built on the meta device, which takes no memory. Files below `_base_` and such that describe no model are
left out. With --all every file is named, else the refused ones by reason.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

import torch

from hfpose.checkpoints.custom import explained_config, source_from_config
from hfpose.errors import HFPoseError


def outcome(path: Path) -> str | None:
    """None where the model of a config is built, else why not."""
    try:
        source = source_from_config(path)
        with explained_config(source.name), torch.device("meta"):
            config = source.conversion.config_from_reference(source.reference, source.schema)
            source.conversion.MODEL_CLASS(config)
            source.conversion.image_processor_from_reference(source.reference)
    except HFPoseError as error:
        return str(error)
    except Exception as error:
        return f"FAULT {type(error).__name__}: {error}"
    return str(source.schema_error) if source.schema_error else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--all", action="store_true", help="name every file")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        reasons: dict[str, list[Path]] = defaultdict(list)
        built = others = 0
        for path in sorted(folder.rglob("*.py")):
            text = path.read_text(encoding="utf-8", errors="replace")
            if "_base_" in path.parts or not re.search(
                r"^(model\b|_base_ *=|from mmengine.config)", text, re.MULTILINE
            ):
                others += 1
                continue
            reason = outcome(path)
            if arguments.all:
                print(path, reason or "built", sep=": ")
            if reason is None:
                built += 1
            else:
                reasons[re.sub(r"\S*/(?=\S)", "", reason).replace(path.name, "it")[:200]].append(path)
        refused = sum(map(len, reasons.values()))
        print(f"{folder}: {built} built, {refused} refused, {others} files describe no model")
        for reason, paths in sorted(reasons.items(), key=lambda item: -len(item[1])):
            print(f"  {len(paths)}: {reason} ({', '.join(path.name for path in paths[:3])})")


if __name__ == "__main__":
    main()
