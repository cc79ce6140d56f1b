"""A loopback server of streams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from video_files import make_video


class StreamServer:
    """Sends each of some contents to one connection after the other, as fast as it is taken, and closes it; then ends itself."""

    def __init__(self, contents: Sequence[bytes]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(10)
        self._contents = contents
        self.url = f"tcp://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with self._socket:
            for content in self._contents:
                try:
                    connection, _ = self._socket.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(content)

    def __enter__(self) -> StreamServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # so that nothing waits for a connection
        self._thread.join(10)


def serve_streams(folder: Path, counts: Sequence[int]) -> StreamServer:
    """A server of streams of so many frames (6 at least) of 64x48 pixels, one for each connection."""
    contents = []
    for count in counts:
        times = [i / 25 for i in range(count)]
        path = make_video(folder / "sent.ts", "mpeg2video", times=times, time_base=Fraction(1, 25))
        contents.append(path.read_bytes())
    return StreamServer(contents)
