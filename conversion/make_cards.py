"""Write the model cards: one for each model of the zoo that hfpose can load.

python conversion/make_cards.py            # write model_cards/
python conversion/make_cards.py --check    # only say what is not current; exit code 1 if anything is
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hfpose.hub.cards import entry_card
from hfpose.hub.zoo import list_entries

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "model_cards"
SKELETONS = "docs/pictures/schemas"  # images that `make gallery` makes


def cards() -> dict[str, str]:
    """File name -> text of each card."""
    drawn = {path.stem: f"../{SKELETONS}/{path.name}" for path in (ROOT / SKELETONS).iterdir()}
    return {
        f"{entry.name}.md": entry_card(entry, image=drawn.get(entry.schema or "")).content
        for entry in list_entries()
        if entry.supported
    }


def stale(folder: Path) -> list[str]:
    """What in `folder` is missing, outdated or of no model, one line each."""
    current = cards()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md") if path.name != "README.md"}
    lines = [f"{name} is missing" for name in current if name not in found]
    lines += [f"{name} is not current" for name in current if found.get(name, current[name]) != current[name]]
    return lines + [f"{name} is of no model" for name in found if name not in current]


def write(folder: Path) -> None:
    """Write all cards, and delete those that are of no model."""
    current = cards()
    for path in folder.glob("*.md"):
        if path.name != "README.md" and path.name not in current:
            path.unlink()
    for name, text in current.items():
        (folder / name).write_text(text, encoding="utf-8")


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
