"""transformers' own common tests, out of the source distribution of the installed version."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGE = "transformers_tests"

# Modules that the common tests import and the source distribution leaves out, with all that is used of them.
_LEFT_OUT = {
    "__init__.py": "",
    "exporters/__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/__init__.py": "",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/__init__.py": "",
    "utils/test_configuration_utils.py": (
        "config_common_kwargs = {'output_hidden_states': True, 'dtype': 'float16', 'id2label': {0: 'label'}}\n"
    ),
    "../utils/fetch_hub_objects_for_ci.py": "def url_to_local_path(url):\n    return url\n",
}


def fetch_common_tests(folder: Path) -> None:
    """Download the source distribution below `folder`, and make its tests importable as `transformers_tests`."""
    version = importlib.metadata.version("transformers")
    download = ["download", "--quiet", "--no-deps", "--no-binary", "transformers", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *download, f"transformers=={version}"], check=True)
    with tarfile.open(next(folder.glob("transformers-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    tests = next(folder.glob("transformers-*/tests")).rename(folder / PACKAGE)
    for name, text in _LEFT_OUT.items():
        path = tests / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    sys.path.insert(0, str(folder))
