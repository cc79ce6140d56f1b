"""Write the model cards: one for each model of the zoo that hfpose can load, and the images of their skeletons.

python conversion/make_cards.py            # write model_cards/
python conversion/make_cards.py --check    # only say what is not current; exit code 1 if anything is
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hfpose.hub.cards import entry_card
from hfpose.hub.zoo import list_entries
from hfpose.keypoints import load_schema
from skeletons import rest_layout, skeleton_image

FOLDER = Path(__file__).resolve().parents[1] / "model_cards"


def cards() -> dict[str, str]:
    """File name -> text of each card."""
    drawn = schemas()
    return {
        f"{entry.name}.md": entry_card(
            entry, image=f"images/{entry.schema}.png" if entry.schema in drawn else None
        ).content
        for entry in list_entries()
        if entry.supported
    }


def schemas() -> list[str]:
    """Names of the keypoint schemas that the cards show: those whose keypoints have a place in `skeletons`."""
    names = {entry.schema for entry in list_entries() if entry.supported and entry.schema is not None}
    return sorted(name for name in names if rest_layout(load_schema(name)) is not None)


def stale(folder: Path) -> list[str]:
    """What in `folder` is missing, outdated or of no model, one line each.

    Images need only be there: their pixels may differ with the version of OpenCV.
    """
    current = cards()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md") if path.name != "README.md"}
    lines = [f"{name} is missing" for name in current if name not in found]
    lines += [f"{name} is not current" for name in current if found.get(name, current[name]) != current[name]]
    lines += [f"{name} is of no model" for name in found if name not in current]
    images = {path.stem for path in (folder / "images").glob("*.png")}
    lines += [f"images/{name}.png is missing" for name in schemas() if name not in images]
    return lines


def write(folder: Path) -> None:
    """Write all cards and images, and delete cards that are of no model."""
    current = cards()
    for path in folder.glob("*.md"):
        if path.name != "README.md" and path.name not in current:
            path.unlink()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, text in current.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in schemas():
        image = skeleton_image(load_schema(name))
        assert image is not None
        (folder / "images" / f"{name}.png").write_bytes(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a card is not current")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: model_cards of this checkout")
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.folder)
        return
    lines = stale(arguments.folder)
    if lines:
        print("\n".join(lines), "\nRun: python conversion/make_cards.py", sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
