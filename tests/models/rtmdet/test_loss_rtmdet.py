"""RTMDet learns: labels in, loss out."""

from __future__ import annotations

import pytest
import torch

from hfpose.errors import InputError
from hfpose.models.rtmdet.configuration_rtmdet import RTMDetConfig
from hfpose.models.rtmdet.image_processing_rtmdet import RTMDetImageProcessor
from hfpose.models.rtmdet.modeling_rtmdet import RTMDetForObjectDetection
from hfpose.models.shared.coco_labels import labels_in_pixels, normalized_boxes


@pytest.fixture
def model() -> RTMDetForObjectDetection:
    torch.manual_seed(0)
    config = RTMDetConfig(
        depth_multiplier=0.167,
        width_multiplier=0.125,
        neck_size=32,
        num_neck_blocks=1,
        use_depthwise=True,
        num_labels=2,
    )
    return RTMDetForObjectDetection(config)


def squares(count: int, size: int = 64) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
    """Gray images with one bright square each, its color the class."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.zeros(count, 3, size, size), []
    for index in range(count):
        x, y = torch.randint(0, size - 30, (2,), generator=generator).tolist()
        side = int(torch.randint(16, 30, (1,), generator=generator))
        images[index, index % 2, y : y + side, x : x + side] = 3
        box = torch.tensor([[x, y, x + side, y + side]], dtype=torch.float32)
        labels.append({"boxes": normalized_boxes(box, (size, size)), "class_labels": torch.tensor([index % 2])})
    return images, labels


def test_no_labels_no_loss(model):
    assert model(torch.zeros(1, 3, 64, 64)).loss is None


def test_an_image_without_boxes_has_a_finite_loss(model):
    images, labels = squares(2)
    labels[0] = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
    loss = model(images, labels=labels, return_dict=False)[0]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.slow
def test_a_few_steps_on_eight_images_find_their_boxes(model):
    images, labels = squares(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 200)
    first = last = None
    for _ in range(200):
        last = model(images, labels=labels).loss
        first = last if first is None else first
        optimizer.zero_grad()
        last.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
        schedule.step()
    assert last.item() < 0.03 * first.item()
    processor = RTMDetImageProcessor(size={"height": 64, "width": 64})
    with torch.no_grad():
        found = processor.post_process_object_detection(model(images), threshold=0.5)
    for image, label in zip(found, labels_in_pixels(labels, (64, 64), 2), strict=True):
        assert image["labels"].tolist() == label["class_labels"].tolist()
        assert (image["boxes"] - label["boxes"]).abs().max() < 2


def test_boxes_in_pixels_are_refused(model):
    labels = [{"boxes": torch.tensor([[4.0, 4, 20, 30]]), "class_labels": torch.tensor([0])}]
    with pytest.raises(InputError, match="center x"):
        model(torch.zeros(1, 3, 64, 64), labels=labels)
