"""The reference's MotionBERT with seeded weights, and a model small enough for every test."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.convert_motionbert import config_from_reference, convert_state_dict
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting

NAME = "motionbert_dstformer-ft-243frm_8xb32-120e_h36m"


@pytest.fixture(scope="session")
def reference(shared: Path) -> dict[str, Any]:
    models = json.loads((shared / "facts" / "pose_models.json").read_text())
    return next(model for model in models if model["name"] == NAME)


@pytest.fixture(scope="session")
def golden(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / "pose3d" / f"{NAME}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def seedweights(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("seedweights", shared / "golden" / "seedweights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference_state_dict(shared: Path, seedweights: ModuleType) -> dict[str, torch.Tensor]:
    shapes = json.loads((shared / "golden" / "pose3d" / f"{NAME}.json").read_text())["state_dict"]
    return {name: torch.from_numpy(seedweights.tensor_for(name, shape)) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def seeded_model(reference: dict[str, Any], reference_state_dict: dict[str, torch.Tensor]) -> MotionBertForPoseLifting:
    config = config_from_reference(reference)
    model = MotionBertForPoseLifting(config).eval()
    model.load_state_dict(convert_state_dict(reference_state_dict, config))
    return model


@pytest.fixture(scope="session")
def small_model() -> MotionBertForPoseLifting:
    """Random weights large enough that every input matters."""
    torch.manual_seed(0)
    config = MotionBertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, representation_size=16, max_frames=12
    )
    model = MotionBertForPoseLifting(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model
