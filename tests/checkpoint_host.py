"""Stands in for the host of the official checkpoints, with a zoo that points there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from file_server import FileServer
from hfpose.hub import zoo

ZOO_FILE = zoo._DATA


class CheckpointHost(FileServer):
    """A file server with checkpoints of zoo models, and the zoo as it would be if they were the official ones."""

    def __init__(self) -> None:
        super().__init__()
        self.zoo: dict[str, Any] = json.loads(ZOO_FILE.read_text())
        for item in self.zoo["models"]:  # no test may reach the official host
            item["checkpoint_url"] = f"{self.url}/not-there/{item['name']}.pth"

    def item(self, name: str) -> dict[str, Any]:
        """What the zoo says about the model called `name`; may be changed before `write_zoo`."""
        return next(item for item in self.zoo["models"] if item["name"] == name)

    def add(self, name: str, checkpoint: bytes) -> str:
        """Serve `checkpoint` as the official one of the zoo model called `name`; gives its path at the host."""
        prefix = hashlib.sha256(checkpoint).hexdigest()[:8]
        path = f"/weights/{name}-{prefix}.pth"
        self.files[path] = checkpoint
        self.item(name).update(checkpoint_url=self.url + path, sha256_prefix=prefix)
        return path

    def write_zoo(self, path: Path) -> Path:
        path.write_text(json.dumps(self.zoo))
        return path


def zoo_environment(path: Path) -> dict[str, str]:
    """Environment variables of processes for which `path` is the zoo."""
    return {
        "HFPOSE_TEST_ZOO": str(path),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("site")), os.environ.get("PYTHONPATH", "")]),
    }


def use_zoo(path: Path) -> None:
    """Make `path` the zoo of this process."""
    zoo._DATA = path
    zoo._zoo.cache_clear()
