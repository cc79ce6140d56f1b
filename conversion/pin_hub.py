"""Make a zoo name mean a repository on the Hub, once its weights are known to be the official ones.

    python conversion/pin_hub.py                                          # tries the repositories in CANDIDATES
    python conversion/pin_hub.py NAME=ORGANIZATION/REPOSITORY ...         # others, as those of push_all.py
    python conversion/pin_hub.py NAME=ORGANIZATION/REPOSITORY@REVISION

For each it takes the repository at one commit, and the official checkpoint, fetched and converted. Only where every
tensor has the same bits, and both give the same answers to an image, is the repository written into zoo.json with that
commit; otherwise it says which tensors differ, and zoo.json stays as it was. Names that were pinned load from the Hub
from then on, always at that commit. Needs a network. Exit code 1 if a repository was refused.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from safetensors import safe_open

import hfpose
from hfpose.errors import CheckpointError, DownloadError, HFPoseError, UnknownModelError, listed
from hfpose.hub import zoo
from hfpose.hub.resolve import convert_entry, resolve
from hfpose.hub.zoo import WHOLE_IMAGE, ModelEntry, get_main_entry
from hfpose.media.files import write_text
from hfpose.pipelines.stage import load_stage

# Transformers' own conversions of ViTPose that are of a zoo model's shape. Whether they hold the weights that the
# reference project publishes is for this script to find out.
CANDIDATES = {
    "td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192": "usyd-community/vitpose-base-simple",
    "td-hm_ViTPose-base_8xb64-210e_coco-256x192": "usyd-community/vitpose-base",
}
_PIXELS = 0.01  # answers may differ by rounding, where a configuration says the same in another way


def pin(name: str, repository: str, revision: str, zoo_file: Path) -> str:
    """Compare a repository with the official checkpoint, and pin it; gives the commit.

    Raises:
        HFPoseError: the zoo model or the repository cannot be had, or they are not the same model.
    """
    entry = get_main_entry(name)
    official = convert_entry(entry)
    commit = commit_of(repository, revision)
    folder = resolve(repository, revision=commit)
    differences = [*different_tensors(official, folder), *different_answers(entry, official, folder)]
    if differences:
        raise CheckpointError(
            f"{repository} at {commit} is not '{entry.name}', and is not pinned. " + " ".join(differences)
        )
    write_pin(zoo_file, entry.name, repository, commit)
    return commit


def commit_of(repository: str, revision: str) -> str:
    """The commit that a branch or tag of a repository stands for."""
    try:
        return str(HfApi(library_name="hfpose").model_info(repository, revision=revision).sha)
    except HfHubHTTPError as error:
        status = error.response.status_code
        kind = UnknownModelError if status in (401, 404) else DownloadError
        raise kind(f"The Hub gives no repository '{repository}' at '{revision}': {error}") from error
    except OSError as error:
        raise DownloadError(f"The Hub cannot be asked for '{repository}': {error}") from error


def different_tensors(official: Path, folder: Path) -> list[str]:
    """Sentences on the tensors that only one of two folders has, or that have other bits in the other."""
    with ExitStack() as files:
        expected, given = (_tensors(place, files) for place in (official, folder))
        common = sorted(expected.keys() & given.keys())
        kinds = {
            "Tensors that it lacks": sorted(expected.keys() - given.keys()),
            "Tensors that it has beyond": sorted(given.keys() - expected.keys()),
            "Tensors of other values": [key for key in common if not _same(key, expected[key], given[key])],
        }
    return [f"{kind}: {listed(names)}." for kind, names in kinds.items() if names]


def different_answers(entry: ModelEntry, official: Path, folder: Path) -> list[str]:
    """Sentences on what two folders make differently of one image, as configuration and image processor decide too."""
    try:
        found = answers(entry, folder)
    except (HFPoseError, ValueError) as error:
        return [f"It cannot be used in the place of the official one: {error}"]
    sentences = []
    for key, expected in answers(entry, official).items():
        given = found.get(key)
        if given is None or given.shape != expected.shape:
            shape = None if given is None else given.shape
            sentences.append(f"The {key} of an image have the shape {shape} instead of {expected.shape}.")
        elif given.dtype.kind in "US":
            if not (given == expected).all():
                sentences.append(f"Its {key} are others.")
        elif (most := float(np.abs(given - expected).max(initial=0))) > _PIXELS:
            sentences.append(f"The {key} of an image differ by up to {most:.3g}.")
    return sentences


def answers(entry: ModelEntry, folder: Path) -> dict[str, np.ndarray]:
    """What the model in a folder says: of an image, or for a lifter of keypoints."""
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 255, (24, 32, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    if entry.task == "pose":
        pipe = hfpose.pipeline("pose-estimation", model=folder, detector=WHOLE_IMAGE, device="cpu")
        boxes = [[20.0, 10.0, 180.0, 230.0], [150.0, 40.0, 310.0, 200.0]]
        result: Any = pipe(image, boxes=boxes, flip_test=True)
        names = np.array(pipe.schema.keypoint_names)
        return {"names of keypoints": names, "keypoints": result.keypoints, "scores": result.keypoint_scores}
    stage = load_stage(folder, entry.task)
    with torch.inference_mode():
        if entry.task == "lifter":
            sequence = torch.from_numpy(rng.uniform(-1, 1, (1, 9, 17, 3))).float()
            return {"keypoints": stage.model(sequence).keypoints_3d.numpy()}
        outputs = stage.model(**stage.image_processor(image, return_tensors="pt"))
    (found,) = stage.image_processor.post_process_object_detection(outputs, 0.0, target_sizes=[image.shape[:2]])
    labels: Any = stage.model.config.id2label
    return {
        "classes": np.array([labels[index] for index in sorted(labels)]),
        **{key: found[key].numpy() for key in ("boxes", "scores")},
    }


def write_pin(zoo_file: Path, name: str, repository: str, commit: str) -> None:
    """Write repository and revision into the entry of a model, and leave everything else in the file as it is."""
    text = zoo_file.read_text(encoding="utf-8")
    entry = re.search(rf'^ *"name": {re.escape(json.dumps(name))},\n.*?^ *}}', text, re.DOTALL | re.MULTILINE)
    if entry is None:
        raise SystemExit(f"{zoo_file} has no model '{name}' in the layout that this script knows.")
    bare = re.sub(r'^ *"(repository|revision)": .*\n', "", entry[0], flags=re.MULTILINE)
    keys = rf'\1"repository": {json.dumps(repository)},\n\1"revision": {json.dumps(commit)},'
    pinned = re.sub(r'^( *)("checkpoint_url": .*)$', rf"\1\2\n{keys}", bare, count=1, flags=re.MULTILINE)
    changed = text[: entry.start()] + pinned + text[entry.end() :]
    found = {item["name"]: item for item in json.loads(changed)["models"]}
    if (found[name].get("repository"), found[name].get("revision")) != (repository, commit):
        raise SystemExit(f"{zoo_file} has '{name}' in a layout that this script does not know.")
    write_text(zoo_file, changed)


def _tensors(folder: Path, files: ExitStack) -> dict[str, Any]:
    """The weight file that has each tensor, opened."""
    opened = [files.enter_context(safe_open(path, framework="pt")) for path in sorted(folder.glob("*.safetensors"))]
    return {key: file for file in opened for key in file.keys()}  # noqa: SIM118 (it is no dict)


def _same(key: str, first: Any, second: Any) -> bool:
    one, other = first.get_tensor(key), second.get_tensor(key)
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    # Bits, for a number that is none is not equal to itself.
    return torch.equal(one.flatten().view(torch.uint8), other.flatten().view(torch.uint8))


def _parsed(pair: str) -> tuple[str, str, str]:
    """Zoo name, repository and revision of an argument."""
    match = re.fullmatch(r"([^=]+)=([^=@/]+/[^=@/]+)(?:@([^=@]+))?", pair)
    if match is None:
        raise argparse.ArgumentTypeError(f"{pair!r} is not NAME=ORGANIZATION/REPOSITORY or ...@REVISION")
    return match[1], match[2], match[3] or "main"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", type=_parsed, metavar="NAME=REPOSITORY", help="default: CANDIDATES")
    parser.add_argument("--zoo", type=Path, default=zoo._DATA, help="file to write into; default: zoo.json of hfpose")
    arguments = parser.parse_args()
    pairs = arguments.pairs or [(name, repository, "main") for name, repository in CANDIDATES.items()]
    results = [_tried(name, repository, revision, arguments.zoo) for name, repository, revision in pairs]
    sys.exit(not all(results))


def _tried(name: str, repository: str, revision: str, zoo_file: Path) -> bool:
    """Whether a repository was pinned; otherwise the reason is on stderr, and the others can go on."""
    try:
        commit = pin(name, repository, revision, zoo_file)
    except HFPoseError as error:
        print(f"refused {name}: {error}", file=sys.stderr)
        return False
    print(f"pinned  {name} to {repository} at {commit}")
    return True


if __name__ == "__main__":
    main()
