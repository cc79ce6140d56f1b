"""What lets plain transformers, without `import hfpose`, load a repository of ours where it may run code that comes
with it.

`AutoConfig` and `AutoImageProcessor` of transformers then run a file that imports hfpose, which makes the models
known; without the package they say "Run `pip install hfpose`".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

CODE_NAME = "hfpose_code.py"
_CODE = '''\
"""The code of this model is the package hfpose (pip install hfpose)."""

from hfpose import __getattr__  # noqa: F401
'''


def package_code(folder: Path) -> dict[str, str]:
    """Name and text of the files of a model's folder that name the code: settings with an `auto_map`, and a file of
    code.

    There are none where the classes are transformers' own.
    """
    files = {}
    for name, auto_class in ((CONFIG_NAME, "AutoConfig"), (IMAGE_PROCESSOR_NAME, "AutoImageProcessor")):
        if (folder / name).is_file():
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            if (own := _class_of(settings)) is not None and own.__module__.startswith("hfpose."):
                settings["auto_map"] = {auto_class: f"{Path(CODE_NAME).stem}.{own.__name__}"}
                files[name] = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    return {**files, CODE_NAME: _CODE} if files else {}


def _class_of(settings: dict[str, Any]) -> Any:
    """The class that transformers takes for the settings of a model or an image processor; None if it knows none."""
    if "image_processor_type" in settings:
        return get_image_processor_class_from_name(settings["image_processor_type"])
    model_type = settings.get("model_type", "")
    # Its `get` loads no class.
    return CONFIG_MAPPING[model_type] if model_type in CONFIG_MAPPING else None  # noqa: SIM401
