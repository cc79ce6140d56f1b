"""The site of the docs without its builder: every public name and command has an entry, every link leads somewhere."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

import hfpose
from hfpose.cli import app
from hfpose.hub.zoo import list_entries
from hooks import API_PAGES, at_root, command_line_page, generated_pages, outside_links, public_names

ROOT = Path(__file__).parents[1]
SITE = "https://hfpose.github.io/hfpose/"
REPOSITORY = re.compile(
    r"https://(?:github\.com|raw\.githubusercontent\.com)/hfpose/hfpose/(?:(?:blob|tree)/)?main/([^)#\s]*)"
)


def test_every_public_name_has_an_entry() -> None:
    listed = {name.rpartition(".")[2] for names in public_names().values() for name in names}
    pages = generated_pages()
    text = "".join(pages[f"api/{page}.md"]() for page in (*API_PAGES, "models"))
    assert set(hfpose.__all__) - {"__version__"} <= listed
    assert [path for names in public_names().values() for path in names.values() if path not in text] == []


def test_definitions_are_there() -> None:
    for path in {path for names in public_names().values() for path in names.values()}:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


def test_every_command_has_an_entry() -> None:
    page = command_line_page()
    names = [command.name for command in app.registered_commands]
    assert [name for name in names if f"## hfpose {name}\n" not in page] == []


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [target for target in targets if not target.startswith("https://")] == []
    pages = generated_pages()
    for target in targets:
        if (found := REPOSITORY.match(target)) is not None:
            assert (ROOT / found[1]).exists(), target
        elif target.startswith(SITE):
            page = target.removeprefix(SITE).partition("#")[0].rstrip("/") or "index"
            assert (ROOT / "docs" / f"{page}.md").is_file() or f"{page}.md" in pages, target


def test_the_first_page_names_the_extras_for_users() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = set(re.findall(r"`hfpose\[(\w+)\]`", (ROOT / "docs/index.md").read_text(encoding="utf-8")))
    assert named == extras.keys() - {"test", "test-transformers", "test-extras", "docs", "bench"}


def test_numbers_of_the_readme_are_those_of_the_docs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| hfpose auto \| [\d.]+ \([^|]+\) \| ([\d.]+) \| ([\d.]+) \|", measured, re.M)[:3]
    over_onnxruntime, over_openvino = (" / ".join(ratios) for ratios in zip(*rows, strict=True))
    assert f"[{over_onnxruntime}]({SITE}performance/#files-to-keypoints) times rtmlib by default" in text
    assert f"; {over_openvino} where rtmlib runs OpenVINO too" in text
    assert f"[{len(list_entries())}]({SITE}models/)" in text


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_links_of_pages_lead_somewhere(page: Path) -> None:
    text = outside_links(page.read_text(encoding="utf-8"), "")  # raises for files that are not there
    pages = generated_pages()
    for target in re.findall(r"\]\(((?!https?:|#|mailto:)[^)#\s]+)", text):
        assert (ROOT / "docs" / target).exists() or target in pages, target


def test_links_from_the_root_are_those_of_the_site() -> None:
    assert (
        at_root("[a](docs/video.md) [b](tools/x.py) [c](https://x)")
        == "[a](video.md) [b](../tools/x.py) [c](https://x)"
    )


def headings(page: Path) -> set[str]:
    """Names of a page's headings in addresses, as the builder of the site makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def test_links_to_headings_lead_to_one() -> None:
    missing = []
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?:([\w-]+)\.md)?#([^)\s]+)\)", text)
        links += re.findall(rf"\]\({re.escape(SITE)}([\w-]+)/#([^)\s]+)\)", text)
        for name, heading in links:
            target = ROOT / "docs" / f"{name}.md" if name else page
            if target.is_file() and heading not in headings(target):
                missing.append(f"{page.name}: {name}#{heading}")
    assert missing == []
