"""Files behind http(s) addresses, read piece by piece and from one host alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

from hfpose.errors import InputError, reason_of

_MAX_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}


def has_same_host(url: str, other: str) -> bool:
    """Whether an address leads to the host and port of another; from http to https of one host counts."""
    (host, port), (other_host, other_port) = _host_and_port(url), _host_and_port(other)
    return host == other_host and (port == other_port or (port, other_port) == (443, 80))


def _host_and_port(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or _PORTS.get(parts.scheme.lower())


class HttpFile(io.RawIOBase):
    """A file behind an address from byte `start` on, as `av.open` reads it. Redirects are followed on the same host
    only, and each answer may take `timeout` seconds.

    Raises:
        InputError: if it cannot be read.
    """

    def __init__(self, url: str, timeout: float, start: int = 0) -> None:
        super().__init__()
        self.name = url
        self._timeout = timeout
        self._position = start
        self._response: Any = None
        self._chunks: Iterator[bytes] = iter(())
        self._rest = b""
        self._size: int | None = None
        self._has_ranges = True
        self._request()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._has_ranges and self._size is not None

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size or 0}[whence]
        if base + offset != self._position:
            self._position = base + offset
            self._stop()
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`, as many as have come; none at the end."""
        try:
            if not self._rest and self._response is None and (self._size is None or self._position < self._size):
                self._request()
            data = self._rest or next(self._chunks, b"")
        except InputError:
            raise
        except Exception as error:  # of the client, as in `images._download`
            raise InputError(f"{self.name!r} breaks off: {reason_of(error)}.") from error
        data, self._rest = (data, b"") if size < 0 else (data[:size], data[size:])
        self._position += len(data)
        return data

    def close(self) -> None:
        self._stop()
        super().close()

    def _stop(self) -> None:
        response, self._response = self._response, None
        self._chunks, self._rest = iter(()), b""
        if response is not None:
            with suppress(Exception):  # it may be in any state
                response.close()

    def _request(self) -> None:
        """Ask for the file from where it stands."""
        from huggingface_hub import get_session

        session, url = get_session(), self.name
        headers = {"Accept-Encoding": "identity"}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
        try:
            for _ in range(_MAX_REDIRECTS):
                request = session.build_request("GET", url, headers=headers, timeout=self._timeout)
                response = session.send(request, stream=True, follow_redirects=False)
                if not response.is_redirect:
                    break
                response.close()
                url = urljoin(url, response.headers["Location"])
                if not has_same_host(url, self.name):
                    raise InputError(
                        f"{self.name!r} leads to another host, {urlsplit(url).netloc}, which is not followed. If that "
                        f"is right give this address: {url}"
                    )
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"Cannot read {self.name!r}: {reason_of(error)}. Check the address and the connection."
            ) from error
        if response.status_code not in (200, 206) or (self._position and response.status_code == 200):
            response.close()
            raise InputError(
                f"{self.name!r} cannot be opened: the server answered {response.status_code} {response.reason_phrase}"
                f"{' and gives no parts of files' if response.status_code == 200 else ''}."
            )
        self._response, self._chunks = response, response.iter_bytes()
        if self._size is None:
            length = response.headers.get("Content-Length", "")
            self._size = self._position + int(length) if length.isdecimal() else None
            self._has_ranges = "none" not in response.headers.get("Accept-Ranges", "")
