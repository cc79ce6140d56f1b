"""Images that wait until they are needed again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np

_MEMORY_BYTES = 512 << 20
_JPEG_QUALITY = 95


class ImageSpool:
    """Keeps images in the order in which they come: the first `memory_bytes` in memory, further ones as JPEG in a
    file.

    Iterating gives them back in the same order.
    """

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._room = memory_bytes
        self._kept: list[np.ndarray | int | None] = []  # an image, bytes of one in the file, or none
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`

    def append(self, image: np.ndarray | None) -> None:
        """Keep an RGB image (H, W, 3), uint8, or None in its place."""
        if image is None or image.nbytes <= self._room:
            self._room -= 0 if image is None else image.nbytes
            self._kept.append(image)
            return
        import cv2

        self._room = 0  # so that all further ones go to the file, in their order
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
        self._file.write(data.data)
        self._kept.append(data.size)

    def __iter__(self) -> Iterator[np.ndarray | None]:
        import cv2

        self._file.seek(0)
        for kept in self._kept:
            if isinstance(kept, int):
                data = np.frombuffer(self._file.read(kept), np.uint8)
                yield cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]  # type: ignore[index]
            else:
                yield kept

    def __enter__(self) -> ImageSpool:
        return self

    def __exit__(self, *error: object) -> None:
        self._kept.clear()
        self._file.close()
