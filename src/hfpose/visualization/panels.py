"""Which panel of an image each identity is drawn in."""

from __future__ import annotations

from hfpose.results import PoseOutput


class Panels:
    """Panels of a video: a person keeps theirs as long as they are there, and comes back to it if it is still free.

    Args:
        count: how many there are.
        grows: whether there are more as soon as more people are there at once, as in a stream, of which nothing is
            known before.
    """

    def __init__(self, count: int, grows: bool = False) -> None:
        self.grows = grows
        self._owners: list[int | None] = [None] * count
        self._last_seen = [-1] * count
        self._frame = 0

    def update(self, output: PoseOutput) -> list[int | None]:
        """For each panel the row of the person in the next frame's result who is drawn in it, None for an empty
        one."""
        more = output.num_instances - len(self._owners) if self.grows else 0
        self._owners += [None] * more
        self._last_seen += [-1] * more
        ids = [-1] * output.num_instances if output.track_ids is None else output.track_ids.tolist()
        rows: list[int | None] = [None] * len(self._owners)
        known = [row for row, identity in enumerate(ids) if identity >= 0 and identity in self._owners]
        new = sorted(set(range(len(ids))) - set(known), key=lambda row: (ids[row] < 0, ids[row], row))
        for row in known:
            rows[self._owners.index(ids[row])] = row
        for row in new:
            free = [panel for panel, taken in enumerate(rows) if taken is None]
            if not free:
                break
            panel = min(free, key=lambda panel: (self._last_seen[panel], panel))  # that was empty longest
            rows[panel] = row
            if ids[row] >= 0:
                self._owners[panel] = ids[row]
        for panel, shown in enumerate(rows):
            if shown is not None:
                self._last_seen[panel] = self._frame
        self._frame += 1
        return rows
