"""Write the keypoint schemas that hfpose has no file of, from the facts of the reference project.

    python conversion/make_schemas.py FACTS/datasets

Existing files are left as they are; numbers are rounded to six digits, since the reference keeps them in single
precision.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hfpose.keypoints import KeypointSchema

DATA = Path(__file__).resolve().parents[1] / "src/hfpose/keypoints/data"


def rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="JSON files of data sets")
    for path in sorted(parser.parse_args().folder.glob("*.json")):
        target = DATA / path.name
        if target.exists():
            continue
        facts = {
            key: rounded(value) for key, value in json.loads(path.read_text()).items() if value and key != "paper"
        }
        values = KeypointSchema.from_dict(facts).to_dict()
        lines = [
            f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items() if value and key != "name"
        ]
        target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(target.name, len(values["keypoint_names"]), "keypoints")


if __name__ == "__main__":
    main()
