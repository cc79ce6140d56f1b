"""Push all converted models of the zoo to a user or organization on the Hub, as `hfpose push` does with those it is
told.

    python conversion/push_all.py --namespace my-org --dry-run           # what would go up
    python conversion/push_all.py --namespace my-org
    python conversion/push_all.py --namespace my-org --pipelines         # pose models with what goes before them

It takes what is in hfpose's cache (see convert_all.py). Afterwards HFPOSE_NAMESPACE=my-org makes zoo names mean these
repositories; to pin one for everybody see pin_hub.py. Exit code 1 if a push failed.
"""

from __future__ import annotations

import argparse

from hfpose.cli.push import push
from hfpose.hub.cache import list_cached
from hfpose.hub.downloads import cache_dir
from hfpose.hub.zoo import find_entry


def cached_names(pipelines: bool) -> list[str]:
    """Zoo models in the cache; for pipelines without the detectors, which are parts of them."""
    entries = [entry for model in list_cached() if (entry := find_entry(model.name))]
    return [entry.name for entry in entries if not (pipelines and entry.task == "detector")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespace", required=True, help="user or organization on the Hub")
    parser.add_argument("--pipelines", action="store_true", help="push whole pipelines instead of models")
    parser.add_argument("--private", action="store_true", help="make new repositories private")
    parser.add_argument("--dry-run", action="store_true", help="only print what would go up")
    arguments = parser.parse_args()
    names = cached_names(arguments.pipelines)
    if not names:
        parser.error(f"There is nothing to push in {cache_dir()}. Convert models first: conversion/convert_all.py.")
    push(names, arguments.namespace, arguments.pipelines, arguments.private, arguments.dry_run)


if __name__ == "__main__":
    main()
