"""How far the processes of a run are."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from hfpose.errors import HFPoseError
from hfpose.media.sources import Source


class FrameProgress:
    """One bar for the frames of all processes, drawn by a thread of the first one."""

    def __init__(self, ranks: Any, source: Source | None, show: bool) -> None:
        from tqdm import tqdm

        self._ranks = ranks
        self._source = source
        # `disable=None`: no bar where stderr is no terminal; `delay`: none for what is done in a second.
        self._bar = tqdm(unit="frame", disable=False if show else None, delay=0 if show else 1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="hfpose-progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop drawing."""
        self._stop.set()
        self._thread.join()
        self._bar.close()

    def _draw(self) -> None:
        if self._bar.disable:
            return
        if self._source is not None:
            self._bar.total = self._source.num_frames
        with suppress(HFPoseError):
            while not self._stop.wait(0.5):
                self._bar.update(self._ranks.count("frames") - self._bar.n)
            self._bar.update(self._ranks.count("frames") - self._bar.n)
