"""ViTPose+ models, which have experts for several data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import VitPoseForPoseEstimation
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.heatmap.modeling_heatmap import HeatmapForPoseEstimation
from hfpose.models.vitpose.experts import forward_arguments
from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor

MakeModel = Callable[..., VitPoseForPoseEstimation]


def test_a_saved_mixture_of_experts_predicts(make_model: MakeModel, tmp_path: Path) -> None:
    make_model(num_experts=6, part_features=8).save_pretrained(tmp_path)
    VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(tmp_path)
    model: Any = VitPoseForPoseEstimation.from_pretrained(tmp_path).eval()
    processor = ViTPoseImageProcessor.from_pretrained(tmp_path)
    boxes = [[[10, 10, 60, 90], [30, 5, 90, 95]]]
    inputs = processor(np.zeros((100, 100, 3), np.uint8), boxes=boxes, return_tensors="pt")
    with torch.no_grad():
        heatmaps = [model(**inputs, dataset_index=torch.tensor([index, index])).heatmaps for index in range(6)]
        default = model(**inputs, **forward_arguments(model, 2)).heatmaps
    torch.testing.assert_close(default, heatmaps[0])
    assert all((other - default).abs().max() > 1e-2 for other in heatmaps[1:])
    keypoints, scores = processor.decode({"heatmaps": default}, np.array(boxes[0]))  # type: ignore[arg-type]
    assert keypoints.shape == (2, 17, 2)
    assert np.isfinite(scores).all()


def test_other_models_need_nothing(make_model: MakeModel) -> None:
    assert forward_arguments(make_model(), 4) == {}
    assert forward_arguments(HeatmapForPoseEstimation(HeatmapConfig()), 4) == {}
