"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Small networks on a busy machine are far slower with several threads than with one; read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is fastest differs from machine to machine; tests of `"auto"` say so.
os.environ.setdefault("HFPOSE_BACKEND", "torch")
os.environ.setdefault("HFPOSE_DTYPE", "float32")

# What is imported stays. Looking through it for garbage again and again takes half of the collection of tests and a
# fifth of their time.
gc.disable()

# transformers makes a pattern of the name of every weight that it loads; by default 512 patterns are kept, which is
# less than two models have.
re._MAXCACHE = 1 << 16  # type: ignore[attr-defined]


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(100_000)  # networks are many small objects: with 700, a tenth of the time goes to this
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    if processes := sys.modules.get("processes"):  # where a test of this run needs them
        processes.start_server()


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the reference's goldens, photographs and clips, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the reference data in ../shared, which is not beside this checkout")
    return SHARED


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """SIGINT as it is in a terminal; where tests run behind `nohup` or `&` it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def tiny_pose(tmp_path_factory) -> Path:
    """Folder of a small RTMPose for COCO's keypoints with random weights, whose answers depend on the image."""
    import torch

    import hfpose
    from networks import settle_normalizations

    schema = hfpose.load_schema("coco")
    torch.manual_seed(0)
    model = hfpose.RTMPoseForPoseEstimation(
        hfpose.RTMPoseConfig(
            backbone_config=hfpose.ResNetBackboneConfig(
                stem_channels=8, base_channels=16, depths=(1,) * 4, block_type="basic"
            ),
            hidden_size=64,
            attention_size=32,
            id2label=dict(enumerate(schema.keypoint_names)),
            keypoint_schema=schema.to_dict(),
        )
    )
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)  # the initialization for training answers almost nothing
    settle_normalizations(model, torch.randn(8, 3, 256, 192))
    folder = tmp_path_factory.mktemp("models") / "tiny-pose"
    model.save_pretrained(folder)
    hfpose.RTMPoseImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Path:
    """Folder of a pose model that takes about a millisecond for an image."""
    from small_models import save_model

    return save_model("rtmpose", tmp_path_factory.mktemp("models") / "quick")


@pytest.fixture(scope="session")
def tiny_lifter(tmp_path_factory) -> Path:
    """Folder of a small lifter with random weights that sees 9 frames."""
    import torch

    import hfpose

    torch.manual_seed(0)
    config = hfpose.MotionBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, max_frames=9)
    model = hfpose.MotionBertForPoseLifting(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("models") / "tiny-lifter"
    model.save_pretrained(folder)
    hfpose.MotionBertImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def person_detector(shared, tmp_path_factory) -> Path:
    """Folder of a real person detector, RTMDet-nano."""
    import hfpose

    folder = tmp_path_factory.mktemp("models") / "rtmdet-nano"
    checkpoint = shared / "weights" / "rtmdet_nano_person_folded.pth"
    return hfpose.convert_checkpoint("rtmdet_nano_320-8xb32_coco-person", checkpoint, folder)


@pytest.fixture(scope="session")
def photo(shared) -> Path:
    """A photograph with four people."""
    return shared / "images" / "coco_196141.jpg"


@pytest.fixture
def screen(monkeypatch):
    """A screen for windows, on which tests can see what was shown and press keys."""
    from fake_screen import FakeScreen

    return FakeScreen().install(monkeypatch)
