"""A loopback server of streams."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from video_files import make_video

_DATAGRAM_BYTES = 7 * 188
_EMPTY_PACKET = b"\x47\x1f\xff\x10" + bytes(184)


class StreamServer:
    """Sends each of some contents to one connection after the other, as fast as it is taken, and closes it; then ends
    itself."""

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
                with connection, suppress(OSError):
                    self._send(connection, content)

    def _send(self, connection: socket.socket, content: bytes) -> None:
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


class RtspServer(StreamServer):
    """Plays contents by RTSP (RFC 2326): transport streams in RTP (RFC 2250) that share the connection with the
    requests."""

    _DESCRIPTION = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track0\r\n"

    def __init__(self, contents: Sequence[bytes]) -> None:
        super().__init__(contents)
        self.url = self.url.replace("tcp:", "rtsp:") + "/live"

    def _send(self, connection: socket.socket, content: bytes) -> None:
        for method, number in _requests(connection):
            body = self._DESCRIPTION if method == "DESCRIBE" else ""
            connection.sendall(
                f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\nTransport: "
                "RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if method == "PLAY":
                break
        for index, start in enumerate(range(0, len(content), _DATAGRAM_BYTES)):
            packet = struct.pack(">BBHII", 0x80, 33, index, 0, 1) + content[start : start + _DATAGRAM_BYTES]
            connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def _requests(connection: socket.socket) -> Iterator[tuple[str, str]]:
    """Method and number of each request of a client."""
    text = b""
    while part := connection.recv(4096):
        text += part
        while b"\r\n\r\n" in text:
            head, _, text = text.partition(b"\r\n\r\n")
            first, *lines = head.decode().splitlines()
            fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
            yield first.split()[0], fields["cseq"]


class RtmpServer(StreamServer):
    """Plays the tags of FLV files by RTMP (Adobe, 2012), with as much of it as a player asks for."""

    _LARGEST_CHUNK = 1 << 20

    def __init__(self, contents: Sequence[bytes]) -> None:
        super().__init__(contents)
        self.url = self.url.replace("tcp:", "rtmp:") + "/live/clip"

    def _send(self, connection: socket.socket, content: bytes) -> None:
        greeting = connection.recv(1537, socket.MSG_WAITALL)
        connection.sendall(b"\3" + bytes(1536) + greeting[1:])
        connection.recv(1536, socket.MSG_WAITALL)
        connection.sendall(self._message(1, struct.pack(">I", self._LARGEST_CHUNK)))
        answers = {
            "connect": b"\5\5",
            "createStream": b"\5" + _amf_number(1),
        }
        received = b""
        for name, answer in answers.items():
            asked = _amf_text(name)
            while len(after := received.partition(asked)[2]) < 9:
                received += connection.recv(4096)
            connection.sendall(self._message(20, _amf_text("_result") + after[:9] + answer))
        while _amf_text("play") not in received:
            received += connection.recv(4096)
        connection.sendall(self._message(20, self._status("NetStream.Play.Start")))
        place = 13
        while place < len(content):
            kind, size, time = (
                content[place],
                *(int.from_bytes(content[place + i : place + i + 3], "big") for i in (1, 4)),
            )
            if kind != 18:  # what is known of the whole file, which a live stream does not tell
                connection.sendall(self._message(kind, content[place + 11 : place + 11 + size], time))
            place += size + 15
        connection.sendall(self._message(20, self._status("NetStream.Play.Stop")))

    @staticmethod
    def _message(kind: int, payload: bytes, time: int = 0) -> bytes:
        head = time.to_bytes(3, "big") + len(payload).to_bytes(3, "big") + bytes([kind]) + (1).to_bytes(4, "little")
        return b"\3" + head + payload

    @staticmethod
    def _status(code: str) -> bytes:
        fields = b"".join(
            _amf_text(name)[1:] + _amf_text(text) for name, text in (("level", "status"), ("code", code))
        )
        return _amf_text("onStatus") + _amf_number(0) + b"\5\3" + fields + b"\0\0\x09"


def _amf_text(text: str) -> bytes:
    return b"\2" + len(text).to_bytes(2, "big") + text.encode()


def _amf_number(number: float) -> bytes:
    return b"\0" + struct.pack(">d", number)


def serve_streams(folder: Path, counts: Sequence[int], kind: type[StreamServer] = StreamServer) -> StreamServer:
    """A server of streams of so many frames (6 at least) of 64x48 pixels, one for each connection."""
    name, codec = ("sent.flv", "flv") if kind is RtmpServer else ("sent.ts", "mpeg2video")
    contents = []
    for count in counts:
        times = [i / 25 for i in range(count)]
        path = make_video(folder / name, codec, times=times, time_base=Fraction(1, 25))
        contents.append(path.read_bytes())
    return kind(contents)
