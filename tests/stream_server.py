"""A loopback server of streams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from video_files import make_video

_DATAGRAM_BYTES = 7 * 188
_EMPTY_PACKET = b"\x47\x1f\xff\x10" + bytes(184)


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


class DatagramSender:
    """Sends a transport stream in datagrams once something listens."""

    def __init__(self, content: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self._address = free.getsockname()
        self._content = content
        self._stop = threading.Event()
        self.url = f"udp://127.0.0.1:{self._address[1]}"
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(self._address)
            while not self._stop.wait(0.02):
                try:
                    sender.send(_EMPTY_PACKET)
                    sender.send(_EMPTY_PACKET)  # refused where nothing listens to the one before
                    break
                except ConnectionRefusedError:
                    continue
            for start in range(0, len(self._content), _DATAGRAM_BYTES):
                if self._stop.wait(0.001):
                    break
                sender.send(self._content[start : start + _DATAGRAM_BYTES])

    def __enter__(self) -> DatagramSender:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)


def serve_streams(folder: Path, counts: Sequence[int]) -> StreamServer:
    """A server of streams of so many frames (6 at least) of 64x48 pixels, one for each connection."""
    contents = []
    for count in counts:
        times = [i / 25 for i in range(count)]
        path = make_video(folder / "sent.ts", "mpeg2video", times=times, time_base=Fraction(1, 25))
        contents.append(path.read_bytes())
    return StreamServer(contents)
