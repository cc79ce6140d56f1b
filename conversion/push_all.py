"""Push converted models of the zoo, each with its card, to repositories of a user or organization on the Hub.

    python conversion/push_all.py --namespace my-org --dry-run           # what would go up: everything in the cache
    python conversion/push_all.py --namespace my-org
    python conversion/push_all.py --namespace my-org --pipelines human hand

Without names it takes what is in hfpose's cache (see convert_all.py). Afterwards HFPOSE_NAMESPACE=my-org makes aliases
resolve to these repositories; to pin one for everybody, put its repository and the printed revision into zoo.json.
Exit code 1 if a push failed.
"""

from __future__ import annotations

import argparse
import sys

from hfpose import hub
from hfpose.errors import HFPoseError
from hfpose.publishing.uploads import Upload, push_model, push_pipeline
from hfpose.zoo import WHOLE_IMAGE, ModelEntry, find_entry, get_main_entry


def cached_entries() -> list[ModelEntry]:
    return [entry for model in hub.list_cached() if (entry := find_entry(model.name))]


def summary(upload: Upload) -> str:
    """Several lines: the repository, then its files with their sizes."""
    state = f"revision {upload.revision}" if upload.revision else "dry run, nothing was pushed"
    files = [f"  {size:>12,}  {name}" for name, size in upload.files]
    return "\n".join([f"{upload.repo_id} ({state})", *files])


def push(entry: ModelEntry, arguments: argparse.Namespace) -> bool:
    """Push one model or pipeline, and print what went up or what was wrong; whether it went well."""
    push_to_hub = push_pipeline if arguments.pipelines else push_model
    try:
        upload = push_to_hub(entry, arguments.namespace, private=arguments.private, dry_run=arguments.dry_run)
    except HFPoseError as error:
        print(f"{entry.name}: {error}", file=sys.stderr)
        return False
    print(summary(upload))
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names or aliases; default: the models in the cache")
    parser.add_argument("--namespace", required=True, help="user or organization on the Hub")
    parser.add_argument("--pipelines", action="store_true", help="push whole pipelines of the named pose models")
    parser.add_argument("--private", action="store_true", default=None, help="make new repositories private")
    parser.add_argument("--dry-run", action="store_true", help="only print what would go up")
    arguments = parser.parse_args()
    try:
        entries = [get_main_entry(name) for name in arguments.names] or cached_entries()
    except HFPoseError as error:
        parser.error(str(error))
    if arguments.pipelines:
        entries = [entry for entry in entries if entry.task == "pose" and entry.default_detector != WHOLE_IMAGE]
    if not entries:
        parser.error("There is nothing to push: no names were given and the cache is empty. See convert_all.py.")
    pushed = [push(entry, arguments) for entry in entries]
    sys.exit(not all(pushed))


if __name__ == "__main__":
    main()
