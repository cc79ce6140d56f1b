"""Images that wait until they are needed again."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.media.image_spool import ImageSpool


@pytest.mark.parametrize("memory_bytes", [1 << 20, 64 * 48 * 3, 0])
def test_images_come_back_in_order_from_memory_and_from_the_file(memory_bytes):
    images = [np.full((48, 64, 3), value, np.uint8) for value in (10, 100, 200)]
    with ImageSpool(memory_bytes) as spool:
        for image in (*images[:2], None, images[2]):
            spool.append(image)
        found = list(spool)
    assert found[2] is None
    for image, again in zip(images, (found[0], found[1], found[3]), strict=True):
        np.testing.assert_allclose(again, image, atol=2)
