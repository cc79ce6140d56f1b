"""A file host on the loopback interface for tests of downloads, which fails on demand.

It lives in a thread of the test's process, answers nobody but this machine, and ends with the `with` block.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar

CHUNK_BYTES = 1 << 14


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer (or the next `times` answers) about a file."""

    status: int | None = None  # this status instead of the file
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # close the connection after so many bytes of the body
    corrupt: bool = False  # exchange every byte
    delay: float = 0.0  # seconds before each chunk of the body
    hang: float = 0.0  # seconds without any answer
    length_change: int = 0  # added to Content-Length
    no_length: bool = False  # end of file is the end of the connection
    no_range: bool = False  # send the whole file whatever was asked for
    ignore_if_range: bool = False  # give the rest whatever file it is of
    times: float = 1


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]


class LoopbackServer:
    """An HTTP server in a thread: `with LoopbackServer() as server: ... server.url`."""

    handler: ClassVar[type[BaseHTTPRequestHandler]]

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self.lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self._http.daemon_threads = True
        self._http.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


class LoopbackHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20

    @property
    def owner(self) -> Any:
        return self.server.owner  # type: ignore[attr-defined]

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            with self.owner.lock:
                self.owner.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        return parsed

    def log_message(self, format: str, *args: object) -> None:
        """Requests are kept in a list instead."""


class _FileHandler(LoopbackHandler):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        # A proxy is asked for the full address; so that this server can play one, the host is dropped.
        path = "/" + self.path.split("://", 1)[1].partition("/")[2] if "://" in self.path else self.path
        fault = self.owner.next_fault(path)
        if fault.hang:
            self.owner.stopped.wait(fault.hang)
        data = self.owner.files.get(path)
        status = fault.status or (404 if data is None else 200)
        if status != 200:
            self._answer(status, {"Content-Length": "0", **fault.headers}, b"", fault)
            return
        self._send_file(data, fault)

    def _send_file(self, data: bytes, fault: Fault) -> None:
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        start, status = 0, 200
        headers = {"ETag": etag, **fault.headers}
        asked = self.headers.get("Range", "")
        if (
            asked.startswith("bytes=")
            and not fault.no_range
            and (fault.ignore_if_range or self.headers.get("If-Range") in (None, etag))
        ):
            start, status = int(asked[6:].split("-")[0]), 206
            if start >= len(data):
                self._answer(416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"}, b"", fault)
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if fault.corrupt:
            body = bytes(255 - b for b in body)
        if fault.no_length:
            self.close_connection = True
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = str(len(body) + fault.length_change)
        self._answer(status, headers, body, fault)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.cut_after is not None:
            body = body[: fault.cut_after]
            self.close_connection = True
        if fault.length_change:
            self.close_connection = True
        try:
            for at in range(0, len(body), CHUNK_BYTES):
                if fault.delay and self.owner.stopped.wait(fault.delay):
                    break
                self.wfile.write(body[at : at + CHUNK_BYTES])
                self.wfile.flush()
        except OSError:  # the client went away
            self.close_connection = True


class FileServer(LoopbackServer):
    """Serves `files` (path -> bytes); `faults[path]` is a queue of what goes wrong first."""

    handler = _FileHandler

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__()
        self.files = dict(files or {})
        self._faults: dict[str, list[list[Any]]] = {}

    def add_fault(self, path: str, fault: Fault) -> None:
        with self.lock:
            self._faults.setdefault(path, []).append([fault, fault.times])

    def clear_faults(self) -> None:
        with self.lock:
            self._faults.clear()

    def next_fault(self, path: str) -> Fault:
        with self.lock:
            queue = self._faults.get(path, [])
            if not queue:
                return Fault()
            entry = queue[0]
            entry[1] -= 1
            if entry[1] <= 0:
                queue.pop(0)
            return entry[0]
