"""Every RTMPose that the reference published is built."""

from __future__ import annotations

import json

import torch

from golden import facts, source_from_facts
from hfpose.models.rtmpose.convert_rtmpose import MODEL_CLASS


def test_every_published_model_is_built() -> None:
    names = [name for name, row in facts().items() if row["head"]["type"] == "RTMCCHead"]
    assert len(names) == 49
    built = set()
    for name in names:
        source = source_from_facts(name)
        config = source.conversion.config_from_reference(source.reference, None)
        width, height = facts()[name]["input_size_wh"]
        assert tuple(config.image_size) == (height, width)
        network = json.dumps([source.reference[part] for part in ("backbone", "head")], sort_keys=True)
        if network not in built:
            built.add(network)
            with torch.device("meta"):
                MODEL_CLASS(config)
