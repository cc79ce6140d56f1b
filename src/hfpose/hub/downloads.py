"""Fetching large files over HTTP: whole and checked, or not at all.

What comes from the Hub goes through `huggingface_hub`; this is for checkpoints on other hosts. The HTTP client is the
one of huggingface_hub, and with it the proxies and certificates of the environment and ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

import email.utils
import hashlib
import itertools
import logging
import os
import random
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants, get_session, is_offline_mode
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import WeakFileLock, tqdm

from hfpose.errors import DownloadError, reason_of
from hfpose.hub.checkpoint_files import HEAD_BYTES, foreign_format, stated_hash
from hfpose.media.files import partial_path

logger = logging.getLogger(__name__)

# huggingface_hub 1.x is built on httpx, 2.x on httpx2; either way its errors derive from that library's.
_HTTPError: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")

_TRANSIENT_STATUS = frozenset([408, 425, 429, 500, 502, 503, 504])
_CHUNK_BYTES = 1 << 20
_MAX_BYTES = 8 << 30  # the largest published checkpoint has 2.5 GB
_MAX_WAIT = 60.0  # seconds; a command that is silent for longer looks as if it hung
_MAX_ATTEMPTS = 50  # even where every attempt brings a few bytes


class _TransientError(Exception):
    """An attempt failed in a way that the next one may not."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass
class _Download:
    """State of one file on its way: where it goes, and what is known about it."""

    url: str
    target: Path
    timeout: float
    disk_factor: float
    has_hash: bool  # known: it tells in the end whether pieces fit together
    total: int | None = None
    etag: str | None = None
    resumed: bool = False  # whether the partial file has pieces of several answers

    @property
    def partial(self) -> Path:
        return partial_path(self.target)

    @property
    def received(self) -> int:
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def discard(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.etag = None
        self.resumed = False


def download_file(
    url: str,
    target: str | Path,
    *,
    sha256_prefix: str | None = None,
    attempts: int = 5,
    backoff: float = 1.0,
    timeout: float | None = None,
    disk_factor: float = 1.0,
) -> Path:
    """Fetch ``url`` into the file ``target``, unless that exists.

    The file is written beside its place and moved there once its length and hash are right and its first bytes are no
    web page's. A download that broke off goes on where it stopped, within this call where the host says that the file
    is still the same and, where a hash tells whether the pieces fit, in a later one. Of several processes that want
    the same file one fetches it and the others wait. A progress bar is shown on terminals.

    Args:
        url: http or https address.
        target: file to write; its folder is made.
        sha256_prefix: how the SHA-256 of the file begins (hex). A `target` that begins otherwise is downloaded again.
        attempts: how many attempts in a row may fail without bringing the file further.
        backoff: seconds to wait after the first failure, doubled after each further one, up to a minute. A
            ``Retry-After`` of the host goes first.
        timeout: seconds to wait for a connection, and for more of a file, in each attempt. By default
            ``HF_HUB_DOWNLOAD_TIMEOUT`` (10).
        disk_factor: free disk space that is wanted, as a multiple of the file's size.

    Returns:
        ``target``.

    Raises:
        DownloadError: offline, not found, broken beyond the attempts, not the file that was expected, disk full.
    """
    target = Path(target)
    _require_http(url)
    if timeout is None:
        timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    download = _Download(url, target, timeout, disk_factor, sha256_prefix is not None)
    if _is_there(target, sha256_prefix):
        return target
    try:
        locks = target.parent / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(locks / f"{target.name}.lock"):
            if _is_there(target, sha256_prefix):
                return target
            if is_offline_mode():
                raise DownloadError(f"{url} cannot be fetched: HF_HUB_OFFLINE is set. Unset it to allow downloads.")
            if sha256_prefix is None:
                download.discard()  # without a hash nothing tells whether an old piece belongs to this file
            _fetch_whole(download, sha256_prefix, attempts, backoff)
            download.partial.replace(target)
    except OfflineModeIsEnabled as error:
        raise DownloadError(f"{url} cannot be fetched: {error}") from None
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{url} cannot be stored as {target}: {error}. Is the disk full, or the folder not writable?"
        ) from error
    return target


def fetch_checkpoint(url: str, sha256_prefix: str | None = None, *, check_hash: bool = True) -> Path:
    """Fetch a checkpoint from any address into our cache, under its own file name; at once if it is there already.

    Args:
        url: http or https address.
        sha256_prefix: as for `download_file`; where not given, that which the file's name states.
        check_hash: False takes the file whatever its hash.
    """
    name = file_name(url)
    folder = downloads_dir() / hashlib.sha256(url.encode()).hexdigest()[:16]
    expected = (sha256_prefix or stated_hash(name)) if check_hash else None
    return download_file(url, folder / name, sha256_prefix=expected, disk_factor=2.0)


def cache_dir() -> Path:
    """Folder for what hfpose keeps between runs: ``HFPOSE_CACHE``, or ``hfpose`` below ``HF_HOME``."""
    named = os.environ.get("HFPOSE_CACHE")
    return Path(named).expanduser() if named else Path(constants.HF_HOME) / "hfpose"


def graph_dirs() -> tuple[Path, ...]:
    """Folders for the graphs that backends make of models."""
    return cache_dir() / "onnx", cache_dir() / "openvino", cache_dir() / "onnxruntime"


def downloads_dir() -> Path:
    """Folder for checkpoints that are not converted yet."""
    return cache_dir() / "downloads"


def file_name(url: str) -> str:
    """Last part of the path of ``url``, as a name that is safe in any folder."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return re.sub(r"[^\w.-]", "_", name)[-150:].lstrip(".") or "file"


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder, some of which may go while they are counted."""
    size = 0
    for parent, _, names in os.walk(folder):  # which passes over folders that are gone
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(parent, name).lstat().st_size
    return size


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return sha256_of_stream(file)


def sha256_of_stream(file: BinaryIO) -> str:
    """SHA-256 of an open file from where it stands, in hex."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _require_http(url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise DownloadError(f"'{url}' is not an address to download from; expected http://... or https://...")


def _is_there(target: Path, sha256_prefix: str | None) -> bool:
    return target.is_file() and (sha256_prefix is None or sha256_of(target).startswith(sha256_prefix.lower()))


def _fetch_whole(download: _Download, sha256_prefix: str | None, attempts: int, backoff: float) -> None:
    """Bring the partial file to its full length with the right hash."""
    download.resumed = download.received > 0
    most = download.received
    failures = 0
    for attempt in itertools.count(1):
        error: Exception | None
        try:
            _attempt(download)
        except (_TransientError, _HTTPError) as failure:
            error = failure
        else:
            _refuse_other_content(download)
            error = _failure_of_hash(download, sha256_prefix)
            most = 0
        if error is None:
            return
        received = download.received
        failures = 0 if received > most else failures + 1
        most = max(most, received)
        if failures >= attempts or attempt >= _MAX_ATTEMPTS:
            of = f" of {download.total}" if download.total is not None else ""
            kept = (
                f" {received}{of} bytes have arrived; the next try goes on from there where it can."
                if received
                else ""
            )
            raise DownloadError(
                f"{download.url} could not be fetched in {attempt} attempts: {reason_of(error)}.{kept} Check the "
                "network, and the proxy settings (HTTPS_PROXY) if there is a proxy."
            ) from error
        wait = _wait(download, error, failures, backoff)
        logger.warning("%s: %s. Trying again in %.0f s, from byte %d.", download.url, reason_of(error), wait, received)
        time.sleep(wait)


def _refuse_other_content(download: _Download) -> None:
    """Delete what is no checkpoint by its first bytes, such as the page of a login in its place."""
    with download.partial.open("rb") as file:
        what = foreign_format(file.read(HEAD_BYTES))
    if what is None:
        return
    download.discard()
    raise DownloadError(
        f"{download.url} gave no checkpoint: {what}. It has been deleted. Is it the address of the file itself, and "
        "is there no login page or proxy before it?"
    )


def _failure_of_hash(download: _Download, sha256_prefix: str | None) -> Exception | None:
    """None when the partial file is the one that was expected; otherwise it is deleted.

    A file that arrived in pieces is worth another attempt: the pieces may be of different files.
    """
    if sha256_prefix is None:
        return None
    found = sha256_of(download.partial)
    if found.startswith(sha256_prefix.lower()):
        return None
    size, resumed = download.received, download.resumed
    download.discard()
    if resumed:
        return _TransientError("the pieces of the file do not fit together")
    raise DownloadError(
        f"{download.url} is not the file that was expected: it has {size} bytes, and its SHA-256 begins with "
        f"{found[:16]} instead of {sha256_prefix}. It was damaged on its way or exchanged at the host, and has been "
        "deleted. Try again, or from another network. If it stays so, and you know that the file is right, "
        "check_hash=False of `hfpose.convert_checkpoint`, --no-check-hash of `hfpose convert` and `hfpose download`, "
        "take it all the same."
    )


def _attempt(download: _Download) -> None:
    """Ask once for what is missing, and append it to the partial file."""
    received = download.received
    headers = {"Accept-Encoding": "identity", "User-Agent": "hfpose"}
    if received:
        headers["Range"] = f"bytes={received}-"
        if download.etag:
            headers["If-Range"] = download.etag
    with get_session().stream("GET", download.url, headers=headers, timeout=download.timeout) as response:
        if response.status_code == 416 and received:
            _check_complete(download, response, received)
            return
        if response.status_code not in (200, 206):
            raise _status_error(download, response)
        etag = _header(response, "ETag") if _header(response, "ETag").startswith('"') else None  # not a weak one
        if response.status_code == 206:
            if not _header(response, "Content-Range").startswith(f"bytes {received}-"):
                download.discard()
                raise _TransientError("the host answered with another part of the file than was asked for")
            # The host says that this is the file whose beginning is here, or the hash will tell.
            if not (etag == download.etag if etag and download.etag else download.has_hash):
                download.discard()
                raise _TransientError("the file at the host may be another one than that whose beginning has arrived")
        else:
            received = 0
        download.resumed = received > 0
        download.etag = etag
        length = _header(response, "Content-Length")
        download.total = received + int(length) if length.isdigit() else None
        _check_space(download, received)
        _append(download, response, received)


def _append(download: _Download, response: Any, received: int) -> None:
    # Unbuffered: what a killed process has received is in the file.
    with (
        download.partial.open("ab" if received else "wb", buffering=0) as file,
        tqdm(
            total=download.total, initial=received, unit="B", unit_scale=True, desc=download.target.name, disable=None
        ) as bar,
    ):
        for chunk in response.iter_raw():  # as they come: a chunk size would hold bytes back, and a break lose them
            file.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
            if received > _MAX_BYTES:
                raise _too_large(download, received)
    if download.total is not None and received != download.total:
        raise _TransientError(f"the connection ended after {received} of {download.total} bytes")


def _check_complete(download: _Download, response: Any, received: int) -> None:
    """The host has nothing after the bytes that are here: either they are all, or they are of another file."""
    if _header(response, "Content-Range") == f"bytes */{received}":
        return
    download.discard()
    raise _TransientError("the file at the host is shorter than what was received before")


def _check_space(download: _Download, received: int) -> None:
    if download.total is None:
        return
    if download.total > _MAX_BYTES:
        raise _too_large(download, download.total)
    wanted = int(download.total * download.disk_factor) - received
    free = shutil.disk_usage(download.target.parent).free
    if wanted > free:
        raise DownloadError(
            f"{download.url} has {download.total / 1e6:.0f} MB, and {wanted / 1e6:.0f} MB of free disk space are "
            f"needed to store and unpack it, but {download.target.parent} has {free / 1e6:.0f} MB. Make room, or set "
            "HFPOSE_CACHE to a folder on another disk."
        )


def _too_large(download: _Download, size: int) -> DownloadError:
    download.discard()
    return DownloadError(
        f"{download.url} has at least {size} bytes; files of more than {_MAX_BYTES} bytes are not fetched, since no "
        "checkpoint is as large."
    )


def _status_error(download: _Download, response: Any) -> Exception:
    status = response.status_code
    if status in _TRANSIENT_STATUS:
        return _TransientError(f"the host answered HTTP {status}", _retry_after(response))
    if status in (404, 410):
        return DownloadError(
            f"There is no file at {download.url} (HTTP {status}). Check the address for typing errors."
        )
    if status in (401, 403, 407):
        return DownloadError(f"The host refuses to give {download.url} (HTTP {status}). Is a login or proxy needed?")
    return DownloadError(f"{download.url} cannot be fetched: the host answered HTTP {status}.")


def _retry_after(response: Any) -> float | None:
    """Seconds that the host asks to wait, which it may say as a number or as a date."""
    value = _header(response, "Retry-After")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _wait(download: _Download, error: Exception, failures: int, backoff: float) -> float:
    asked = error.retry_after if isinstance(error, _TransientError) else None
    if asked is None:
        # Jitter, so that many machines that failed together do not come back together.
        return min(_MAX_WAIT, backoff * 2 ** max(0, failures - 1)) * random.uniform(0.8, 1.2)
    if asked > _MAX_WAIT:
        raise DownloadError(
            f"{reason_of(error)} for {download.url} and asks to wait {asked:.0f} seconds. Try again after that."
        ) from error
    return asked


def _header(response: Any, name: str) -> str:
    return str(response.headers.get(name, "")).strip()
