"""Pages of the docs that are made when the site is built: models, keypoint schemas, the API, the command line.

mkdocs calls the functions `on_...`; the others return Markdown and need no mkdocs.
"""

from __future__ import annotations

import importlib
import posixpath
import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import typer

from hfpose.hub.zoo import ModelEntry, get_family, list_entries
from hfpose.keypoints import list_schemas, load_schema

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/hfpose/hfpose/blob/main"
BYTES_PER_PARAMETER = 4

# Modules whose `__all__` is public, by page.
API_PAGES = {
    "pipelines": ("Pipelines and results", ("hfpose",)),
    "media": ("Images, videos, files", ("hfpose.media",)),
    "visualization": ("Drawing", ("hfpose.visualization",)),
    "keypoints": ("Keypoint schemas", ("hfpose.keypoints",)),
    "annotations": ("Annotations", ("hfpose.annotations",)),
    "training": ("Training", ("hfpose.training",)),
    "distributed": ("Many machines", ("hfpose.distributed",)),
    "mmpose": ("MMPose's names", ("hfpose.compat.mmpose",)),
    "rtmlib": ("rtmlib's names", ("hfpose.compat.rtmlib",)),
}
# Pages of models: title, and what of the schemas' names belongs there.
TASK_PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "body": ("Bodies", ("coco", "aic", "coco_aic", "crowdpose", "exlpose", "halpe26", "humanart", "jhmdb", "mpii", "posetrack18")),
    "whole-body": ("Whole bodies", ("coco_wholebody", "halpe")),
    "hands": ("Hands", ("coco_wholebody_hand", "freihand2d", "interhand2d", "onehand10k", "rhd2d", "freihand", "interhand3d")),
    "faces": ("Faces", ("300w", "300wlp", "aflw", "coco_wholebody_face", "cofw", "lapa", "wflw")),
    "animals": ("Animals", ("animalkingdom", "animalpose", "ap10k", "locust", "zebra")),
    "clothes": ("Clothes", ("deepfashion2", "deepfashion_full", "deepfashion_lower", "deepfashion_upper")),
}  # fmt: skip


# Models and schemas
# ---------------------------------------------------------------------------------------------------


def models_page() -> str:
    """All models in one table that the reader can sort."""
    tasks = ", ".join(f"[{title.lower()}](models/{name}.md)" for name, (title, _) in TASK_PAGES.items())
    return (
        "# Models\n\n"
        f"A click on a column's head sorts. One page a task: {tasks}, [3D](models/3d.md), "
        "[detectors](models/detectors.md).\n`hfpose models WORD --keypoints coco --sort ap` searches the same list in "
        "a terminal.\n\nResults are the published ones of the checkpoint. GFLOPs are multiply-adds for one image of "
        "the model's input size; the download is that of the float32 weights. Licenses are those of the project that "
        "published the weights; data sets have terms of their own. `ms` is the network alone, for one image or clip "
        "on one thread of a CPU, to compare "
        "models with each other; what pipelines take is in [speed](performance.md).\n\n" + _table(list_entries())
    )


def task_page(name: str) -> str:
    """The models of a task, with the skeletons of their schemas."""
    if name == "3d":
        entries = [e for e in list_entries() if e.task == "lifter" or e.schema in ("interhand3d",) or "3d" in e.name]
        return f"# Models in 3D\n\nThe guide is [3D](../3d.md).\n\n{_table(entries)}"
    if name == "detectors":
        return f"# Detectors\n\n{_table(e for e in list_entries() if e.task == 'detector')}"
    title, schemas = TASK_PAGES[name]
    parts = [f"# {title}\n"]
    for schema in schemas:
        entries = [e for e in list_entries() if e.task == "pose" and e.schema == schema]
        if entries:
            parts.append(f"## {schema}\n\n{_skeleton(schema, '../')}{_table(entries)}")
    return "\n".join(parts)


def schemas_page() -> str:
    """Every keypoint schema with its skeleton and names."""
    parts = [
        "# Keypoint schemas\n",
        'What the keypoints of a model mean. `hfpose.load_schema("coco")` has names, skeleton, flip pairs and sigmas; colors '
        "are those of MMPose. Layouts are drawings: they show which keypoint is where. Schemas ending in `_openpose` "
        "are drawing styles. Faces and hands of whole bodies are drawn large; of `deepfashion2` each ring is one "
        "garment, in the order of its outline.\n",
    ]
    for name in list_schemas():
        schema = load_schema(name)
        users = [entry.name for entry in list_entries() if entry.schema == name]
        line = (
            f"{schema.num_keypoints} keypoints; {len(users)} models."
            if users
            else f"{schema.num_keypoints} keypoints."
        )
        parts.append(f"## {name}\n\n{line}\n\n{_skeleton(name)}")
    return "\n".join(parts)


def _skeleton(schema: str, up: str = "") -> str:
    """The drawing that `make gallery` made, where it has a layout."""
    path = f"pictures/schemas/{schema}.webp"
    return f"![Skeleton of {schema}]({up}{path})\n\n" if (ROOT / "docs" / path).is_file() else ""


def _table(entries: Iterable[ModelEntry]) -> str:
    head = "| model | family | finds | result | on | params, M | GFLOPs | ms | download, MB | license |"
    rows = [head, "| --- | --- | --- | --: | --- | --: | --: | --: | --: | --- |"]
    order = [schema for _, schemas in TASK_PAGES.values() for schema in schemas]
    rank = {schema: place for place, schema in enumerate(order)}
    rows += [
        _row(entry)
        for entry in sorted(
            entries, key=lambda e: (e.task != "pose", rank.get(e.schema or "", len(rank)), -e.ap, e.name)
        )
    ]
    return '<div class="sortable" markdown>\n\n' + "\n".join(rows) + "\n\n</div>\n"


def _license(entry: ModelEntry) -> str:
    """What the model's card says; nothing where it has no card."""
    card = ROOT / "model_cards" / f"{entry.name}.md"
    found = re.search(r"^license: (.+)$", card.read_text(encoding="utf-8"), re.M) if card.is_file() else None
    return "" if found is None else found[1]


def _row(entry: ModelEntry) -> str:
    aliases = "".join(f"<br>`{alias}`" for alias in entry.aliases)
    result = entry.main_result
    cells = [
        f"[{entry.name}]({REPOSITORY}/model_cards/{entry.name}.md){aliases}",
        get_family(entry.family).title,
        entry.finds,
        "" if result is None else f"{result.value:g}",
        "" if result is None else f"{result.metric}, {result.dataset}",
        "" if entry.parameters is None else f"{entry.parameters / 1e6:.1f}",
        "" if entry.gflops is None else f"{entry.gflops:g}",
        "" if entry.milliseconds is None else f"{entry.milliseconds:g}",
        "" if entry.parameters is None else f"{entry.parameters * BYTES_PER_PARAMETER / 1e6:.0f}",
        _license(entry),
    ]
    return f"| {' | '.join(cells)} |"


# API
# ------------------------------------------------------------------------------------------------------------------


@cache
def public_names() -> dict[str, dict[str, str]]:
    """For each page of the API the public names, as `hfpose.pipeline`, and where each is defined."""
    return {
        page: {f"{module}.{name}": _defined_in(module, name) for module in modules for name in _names(module)}
        for page, (_, modules) in API_PAGES.items()
    }


def _names(module: str) -> list[str]:
    return [name for name in importlib.import_module(module).__all__ if name != "__version__"]


def _defined_in(module: str, name: str) -> str:
    """The dotted path of the definition, or for a value that knows of none the public one."""
    value = getattr(importlib.import_module(module), name)
    path = getattr(value, "__module__", None)
    return (
        f"{path}.{value.__qualname__}"
        if path and path.startswith("hfpose") and hasattr(value, "__qualname__")
        else f"{module}.{name}"
    )


def api_page(page: str) -> str:
    """The public names of a page, for mkdocstrings; models and their parts have a page of their own."""
    title = API_PAGES[page][0] if page in API_PAGES else "Models, configurations, image processors"
    lines = [f"# {title}\n"]
    seen: set[str] = set()
    for public, definition in _entries(page):
        short = public.rpartition(".")[2]
        lines.append(f"## {short} {{: #{public} }}\n\n`{public}`\n")
        if definition not in seen:
            lines.append(f"::: {definition}\n")
        else:
            lines.append(f"The same as [`{definition}`][{definition}].\n")
        seen.add(definition)
    return "\n".join(lines)


def _entries(page: str) -> list[tuple[str, str]]:
    if page == "models":
        return [pair for pair in public_names()["pipelines"].items() if ".models." in pair[1]]
    return [pair for pair in public_names()[page].items() if page != "pipelines" or ".models." not in pair[1]]


# Command line
# ---------------------------------------------------------------------------------------------------------


def command_line_page() -> str:
    """Every command with its options, as `--help` says them."""
    from hfpose.cli import EXIT_CODES, app

    group = typer.main.get_command(app)
    return "\n".join(["# Command line\n", f"{group.help}\n", f"{EXIT_CODES}\n", *_commands("hfpose", group)])


def _commands(path: str, command: Any) -> Iterable[str]:
    context = command.context_class(command, info_name=path)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        yield _command(f"{path} {name}", child)
        if hasattr(child, "list_commands"):
            yield from _commands(f"{path} {name}", child)


def _command(path: str, command: Any) -> str:
    context = command.context_class(command, info_name=path)
    lines = [
        f"## {path}\n",
        f"{_plain(command.help)}\n",
        f"```console\n{path} {' '.join(command.collect_usage_pieces(context))}\n```\n",
    ]
    rows = ["| option | what | default |", "| --- | --- | --- |"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        if record is None or "--help" in parameter.opts:
            continue
        default = parameter.default
        shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
        rows.append(f"| {names} | {_plain(getattr(parameter, 'help', None))} | {shown} |")
    if len(rows) > 2:
        lines.append("\n".join(rows) + "\n")
    if command.epilog:
        lines.append(f"{command.epilog.replace('Example: ', 'Example: `')}`\n")
    return "\n".join(lines)


def _plain(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")


# mkdocs
# ---------------------------------------------------------------------------------------------------------------


def generated_pages() -> dict[str, Callable[[], str]]:
    """Pages that are no files below docs/, by their path there."""
    pages: dict[str, Callable[[], str]] = {"keypoints.md": schemas_page, "cli.md": command_line_page}
    for name in (*TASK_PAGES, "3d", "detectors"):
        pages[f"models/{name}.md"] = partial(task_page, name)
    for page in (*API_PAGES, "models"):
        pages[f"api/{page}.md"] = partial(api_page, page)
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        pages[name.lower()] = partial(_root_page, name)
    return pages


def _root_page(name: str) -> str:
    return at_root((ROOT / name).read_text(encoding="utf-8"))


def at_root(text: str) -> str:
    """A page of the repository's root as one of the site: links below docs/ are the site's own."""
    return re.sub(r"\]\(docs/", "](", re.sub(r"\]\((?!docs/|https?:|#)([^)]+)\)", r"](../\1)", text))


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages."""
    from mkdocs.structure.files import File

    for path, make in generated_pages().items():
        files.append(File.generated(config, path, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The table of models that can be sorted, and links to files of the repository that are no pages."""
    if page.file.src_uri.startswith("models"):
        page.meta["hide"] = ["toc"]  # the tables need the room
    if page.file.src_uri == "models.md":
        return models_page()
    return outside_links(markdown, posixpath.dirname(page.file.src_uri))


def outside_links(markdown: str, folder: str) -> str:
    """Links out of docs/ lead to the repository.

    Raises:
        FileNotFoundError: for a file that is not there.
    """

    def link(match: re.Match[str]) -> str:
        target, _, part = match[1].partition("#")
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        if path == "docs" or path.startswith("docs/"):
            return match[0]
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{match[0]} leads to {path}, which is not there.")
        return f"]({REPOSITORY}/{path}{'#' + part if part else ''})"

    return re.sub(r"\]\(((?!https?:|#|mailto:)[^)\s]+)\)", link, markdown)
