"""Downloads: resumed, retried, checked; whole or not at all."""

from __future__ import annotations

import hashlib
import math
import shutil
import signal
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest

from file_server import Fault, FileServer
from hfpose.errors import DownloadError
from hfpose.hub.downloads import download_file, file_name
from processes import RunningPython, run_python

DATA = bytes(range(256)) * 1024  # 256 KiB
SHA256 = hashlib.sha256(DATA).hexdigest()
PATH = "/weights/model.pth"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({PATH: DATA}) as server:
        yield server


def fetch(server: FileServer, folder: Path, **options: object) -> Path:
    settings = {"sha256_prefix": SHA256[:8], "backoff": 0.01, "timeout": 2.0, **options}
    return download_file(server.url + PATH, folder / "model.pth", **settings)  # type: ignore[arg-type]


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def test_file_arrives_whole(server: FileServer, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "new").read_bytes() == DATA
    assert leftovers(tmp_path) == ["model.pth"]


def test_existing_file_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    fetch(server, tmp_path)
    assert len(server.requests) == 1


def test_cut_connection_is_resumed_from_where_it_stopped(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(cut_after=100_000))
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert [r.headers.get("Range") for r in server.requests] == [None, "bytes=100000-"]


def test_many_cuts_are_no_failure_as_long_as_bytes_arrive(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(cut_after=30_000, times=8))
    assert fetch(server, tmp_path, attempts=2).read_bytes() == DATA


def test_without_range_support_the_file_is_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(cut_after=100_000))
    server.add_fault(PATH, Fault(no_range=True))
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_cuts_without_range_support_end_after_the_attempts(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(cut_after=100_000, no_range=True, times=math.inf))
    with pytest.raises(DownloadError, match=r"could not be fetched in 4 attempts: .*100000 of 262144 bytes"):
        fetch(server, tmp_path, attempts=3)
    assert len(server.requests) == 4
    assert not (tmp_path / "model.pth").exists()


def test_next_call_goes_on_where_the_last_gave_up(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(cut_after=100_000))
    server.add_fault(PATH, Fault(status=503, times=2))
    with pytest.raises(DownloadError, match="the next try goes on from there"):
        fetch(server, tmp_path, attempts=2)
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.requests[-1].headers["Range"] == "bytes=100000-"


def test_without_a_hash_old_pieces_are_not_trusted(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".model.pth.part").write_bytes(b"from another file")
    assert fetch(server, tmp_path, sha256_prefix=None).read_bytes() == DATA


def test_pieces_of_two_files_are_noticed_and_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".model.pth.part").write_bytes(b"from another file")
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert [r.headers.get("Range") for r in server.requests] == ["bytes=17-", None]


def test_complete_but_unmoved_file_of_a_killed_process_is_used(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".model.pth.part").write_bytes(DATA)
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_left_over_that_is_longer_than_the_file_is_dropped(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".model.pth.part").write_bytes(DATA + b"more")
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_file_that_changes_at_the_host_between_pieces_is_not_mixed(server: FileServer, tmp_path: Path) -> None:
    changed = DATA[::-1]
    server.add_fault(PATH, Fault(cut_after=100_000, headers={"ETag": '"an older file"'}))
    server.files[PATH] = changed
    assert fetch(server, tmp_path, sha256_prefix=None).read_bytes() == changed


def test_host_that_ignores_if_range_gives_no_mixture(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(cut_after=100_000, headers={"ETag": '"an older file"'}))
    server.add_fault(PATH, Fault(ignore_if_range=True))
    assert fetch(server, tmp_path, sha256_prefix=None).read_bytes() == DATA
    assert [r.headers.get("Range") for r in server.requests] == [None, "bytes=100000-", None]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_host_that_tells_no_identity_is_asked_for_the_whole(server: FileServer, tmp_path: Path, etag: str) -> None:
    server.add_fault(PATH, Fault(cut_after=100_000, headers={"ETag": etag}))
    assert fetch(server, tmp_path, sha256_prefix=None).read_bytes() == DATA


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<!DOCTYPE html><title>Please log in</title>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "it is a Git LFS pointer"),
        (b'{"error": "quota exceeded"}', "it is a text file"),
        (b"", "it is empty"),
    ],
)
@pytest.mark.parametrize("sha256_prefix", [None, SHA256[:8]])
def test_page_in_the_place_of_a_checkpoint_is_not_kept(
    server: FileServer, tmp_path: Path, body: bytes, says: str, sha256_prefix: str | None
) -> None:
    server.files[PATH] = body
    with pytest.raises(DownloadError, match=f"gave no checkpoint: {says}"):
        fetch(server, tmp_path, sha256_prefix=sha256_prefix)
    assert leftovers(tmp_path) == []
    server.files[PATH] = DATA
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_file_of_another_hash_in_its_place_is_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"damaged")
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_wrong_bytes_are_refused_and_deleted(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(corrupt=True))
    with pytest.raises(DownloadError, match=f"instead of {SHA256[:8]}.*has been deleted"):
        fetch(server, tmp_path)
    assert leftovers(tmp_path) == []
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_length_beyond_the_file_is_recovered_by_asking_for_the_rest(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(length_change=1000))
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_length_short_of_the_file_is_refused_by_the_hash(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(length_change=-1000))
    with pytest.raises(DownloadError, match="it has 261144 bytes"):
        fetch(server, tmp_path)
    assert leftovers(tmp_path) == []


def test_host_that_gives_no_length(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(no_length=True))
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_missing_file_is_reported_at_once(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"no file at http.*none.pth \(HTTP 404\)"):
        download_file(server.url + "/none.pth", tmp_path / "none.pth")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_refusal_is_reported_at_once(server: FileServer, tmp_path: Path, status: int) -> None:
    server.add_fault(PATH, Fault(status=status))
    with pytest.raises(DownloadError, match=f"refuses to give .*HTTP {status}"):
        fetch(server, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_passing_trouble_of_the_host_is_retried(server: FileServer, tmp_path: Path, status: int) -> None:
    server.add_fault(PATH, Fault(status=status, times=2))
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert len(server.requests) == 3


def test_lasting_trouble_of_the_host_ends_after_the_attempts(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(status=500, times=math.inf))
    with pytest.raises(DownloadError, match="could not be fetched in 3 attempts: the host answered HTTP 500"):
        fetch(server, tmp_path, attempts=3)
    assert len(server.requests) == 3


def test_user_hears_why_it_takes_longer(server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server.add_fault(PATH, Fault(status=503))
    server.add_fault(PATH, Fault(cut_after=100_000))
    fetch(server, tmp_path)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == f"{server.url}{PATH}: the host answered HTTP 503. Trying again in 0 s, from byte 0."
    assert second.endswith("Trying again in 0 s, from byte 100000.")


def test_retry_after_is_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(status=429, headers={"Retry-After": "1"}))
    start = time.monotonic()
    fetch(server, tmp_path)
    assert time.monotonic() - start >= 1.0


def test_retry_after_as_a_date_in_the_past_means_now(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(status=429, headers={"Retry-After": formatdate(time.time() - 5, usegmt=True)}))
    assert fetch(server, tmp_path, backoff=30.0).read_bytes() == DATA


def test_retry_after_of_an_hour_is_passed_on_to_the_user(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(DownloadError, match=r"HTTP 429 for .* asks to wait 3600 seconds"):
        fetch(server, tmp_path)


def test_host_that_hangs_is_given_up_on(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(hang=20, times=math.inf))
    start = time.monotonic()
    with pytest.raises(DownloadError, match="in 2 attempts"):
        fetch(server, tmp_path, attempts=2, timeout=0.2)
    assert time.monotonic() - start < 5


def test_slow_host_is_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(delay=0.05))
    assert fetch(server, tmp_path, timeout=0.5).read_bytes() == DATA
    assert len(server.requests) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with FileServer() as server:
        url = server.url + PATH
    with pytest.raises(DownloadError, match=r"could not be fetched in 2 attempts.*Check the network"):
        download_file(url, tmp_path / "model.pth", attempts=2, backoff=0.01, timeout=1.0)


@pytest.mark.parametrize("url", ["ftp://host/file", "model.pth", "http://", "http://[::bad", "file:///etc/passwd"])
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is not an address to download from"):
        download_file(url, tmp_path / "model.pth")


def test_full_disk_is_noticed_before_anything_is_written(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=300_000))
    with pytest.raises(DownloadError, match="Make room, or set HFPOSE_CACHE"):
        fetch(server, tmp_path, disk_factor=2)
    assert leftovers(tmp_path) == []
    assert fetch(server, tmp_path, disk_factor=1).read_bytes() == DATA


def test_absurd_length_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(length_change=50 << 30))
    with pytest.raises(DownloadError, match="are not fetched, since no checkpoint is as large"):
        fetch(server, tmp_path)
    assert leftovers(tmp_path) == []


def test_folder_that_cannot_be_made(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be stored as"):
        fetch(server, tmp_path / "file")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/model-81c58e40_20220909.pth?download=1", "model-81c58e40_20220909.pth"),
        ("https://host/a/%2e%2e%2f%2e%2e%2fx.pth", "x.pth"),
        ("https://host/..%5C..%5Cx.pth", "_.._x.pth"),
        ("https://host/.bashrc", "bashrc"),
        ("https://host/", "file"),
        ("https://host/" + "x" * 999 + ".pth", "x" * 146 + ".pth"),
    ],
)
def test_file_name_stays_within_its_folder(url: str, name: str) -> None:
    assert file_name(url) == name


CHILD = """
import sys
from hfpose.hub.downloads import download_file
path = download_file(sys.argv[1], sys.argv[2], sha256_prefix=sys.argv[3], backoff=0.01)
print(len(path.read_bytes()))
"""


def start_child(server: FileServer, folder: Path, **environment: str) -> RunningPython:
    return RunningPython(CHILD, folder, environment, (server.url + PATH, folder / "model.pth", SHA256[:8]))


@pytest.mark.slow
def test_processes_that_start_at_once_fetch_once(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(delay=0.02))
    children = [start_child(server, tmp_path) for _ in range(4)]
    results = [child.communicate(timeout=60) for child in children]
    assert [out for out, _ in results] == [f"{len(DATA)}\n"] * 4, results
    assert len(server.requests) == 1


def test_killed_process_leaves_no_file_and_the_next_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.add_fault(PATH, Fault(delay=0.1))
    child = start_child(server, tmp_path)
    partial = tmp_path / ".model.pth.part"
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    received = partial.stat().st_size
    assert 20_000 < received < len(DATA)
    assert not (tmp_path / "model.pth").exists()
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.requests[-1].headers["Range"] == f"bytes={received}-"


def test_no_progress_bar_where_stderr_is_no_terminal(server: FileServer, tmp_path: Path) -> None:
    out, err = start_child(server, tmp_path).communicate(timeout=60)
    assert (out, err) == (f"{len(DATA)}\n", "")


def test_proxy_of_the_environment_is_used(server: FileServer, tmp_path: Path) -> None:
    environment = {"HTTP_PROXY": server.url, "http_proxy": server.url, "NO_PROXY": "", "no_proxy": ""}
    arguments = ("http://checkpoints.invalid" + PATH, tmp_path / "m.pth", SHA256[:8])
    assert run_python(CHILD, tmp_path, environment, arguments) == f"{len(DATA)}\n"
    assert server.requests[0].path == "http://checkpoints.invalid" + PATH


def test_offline_mode_makes_no_request(server: FileServer, tmp_path: Path) -> None:
    out, err = start_child(server, tmp_path, HF_HUB_OFFLINE="1").communicate(timeout=60)
    assert out == ""
    assert "HF_HUB_OFFLINE is set" in err
    assert server.requests == []
