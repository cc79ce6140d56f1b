"""The cache of converted models: listed, cleaned, and checked against what was converted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from checkpoint_host import ZOO_FILE, CheckpointHost, use_zoo
from fake_conversion import convert
from hfpose.errors import CheckpointError, UnknownModelError
from hfpose.hub import resolve as hub
from hfpose.hub.cache import RECORD_NAME, changed_files, clean_cache, list_cached, models_dir, verify_cache
from hfpose.hub.downloads import folder_size

NAME = "rtmdet_nano_320-8xb32_hand"
CHECKPOINT = bytes(range(256)) * 512


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CheckpointHost]:
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_convert_checkpoint", convert)
    with CheckpointHost() as host:
        host.add(NAME, CHECKPOINT)
        use_zoo(host.write_zoo(tmp_path / "zoo.json"))
        yield host
    use_zoo(ZOO_FILE)


@pytest.fixture
def folder() -> Path:
    return hub.resolve(NAME)


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def age(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (1, 1))


def test_files_that_go_while_they_are_counted_count_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "counted"
    folder.mkdir()
    (folder / "stays").write_bytes(b"123")
    is_over = Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            (folder / "goes").mkdir()
            for name in "abcdefgh":
                (folder / "goes" / name).touch()
            shutil.rmtree(folder / "goes")

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(come_and_go)
        sizes = {folder_size(folder) for _ in range(2000)}
        is_over.set()
        job.result()
    assert sizes == {3}


def test_cache_is_listed_and_cleaned(tmp_path: Path) -> None:
    folder = hub.resolve(NAME)
    (model,) = list_cached()
    assert (model.name, model.path) == (NAME, folder)
    assert len(CHECKPOINT) < model.size < len(CHECKPOINT) + 2000
    with pytest.raises(UnknownModelError, match=f"'other' is not in the cache.*there is: {NAME}"):
        clean_cache([NAME, "other"])
    assert clean_cache([NAME]) == model.size
    assert list_cached() == []


def test_cleaning_everything_takes_unfinished_downloads_along(tmp_path: Path) -> None:
    hub.resolve(NAME)
    part = tmp_path / "cache/downloads/x/.x.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"1234")
    assert clean_cache() > len(CHECKPOINT)
    assert not part.exists()
    assert list_cached() == []


def test_empty_cache() -> None:
    assert list_cached() == []
    assert clean_cache() == 0


def test_what_was_converted_is_unchanged(folder: Path) -> None:
    assert verify_cache() == verify_cache([NAME]) == {NAME: []}
    assert json.loads((folder / RECORD_NAME).read_text())["checkpoint"]["name"].startswith(NAME)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_changed_byte_is_noticed_at_load(folder: Path, name: str) -> None:
    change_byte(folder / name)
    age(folder)
    with pytest.raises(CheckpointError, match=rf"changed or damaged since then is {name}.*cache --clean {NAME}"):
        hub.resolve(NAME)
    assert verify_cache() == {NAME: [name]}


def test_changed_byte_with_the_old_time_is_found_by_verifying(folder: Path) -> None:
    path = folder / "model.safetensors"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    change_byte(path)
    os.utime(path, ns=times)
    assert hub.resolve(NAME) == folder
    assert verify_cache() == {NAME: ["model.safetensors"]}


def test_missing_file_is_noticed(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    assert verify_cache() == {NAME: ["model.safetensors"]}


def test_files_beside_those_converted_are_nobodys_business(folder: Path) -> None:
    (folder / "README.md").write_text("my notes")
    assert verify_cache() == {NAME: []}


def test_copied_cache_is_read_once(folder: Path) -> None:
    age(folder)
    hub.resolve(NAME)
    assert json.loads((folder / RECORD_NAME).read_text())["files"]["config.json"]["modified_ns"] == 10**9


def test_folder_of_an_older_version_has_no_hashes(folder: Path) -> None:
    (folder / RECORD_NAME).unlink()
    assert hub.resolve(NAME) == folder
    assert verify_cache() == {NAME: None}


@pytest.mark.parametrize(
    "record", ["", "[]", '{"files": {"../x": {}}}', '{"files": {"config.json": 3}}', "[" * 100_000]
)
def test_broken_record_counts_as_changed(folder: Path, record: str) -> None:
    (folder / RECORD_NAME).write_text(record)
    assert changed_files(folder, read_all=True)


def test_verifying_what_is_not_there() -> None:
    with pytest.raises(UnknownModelError, match="'other' is not in the cache"):
        verify_cache(["other"])


def test_after_cleaning_it_is_converted_anew(folder: Path) -> None:
    change_byte(folder / "model.safetensors")
    shutil.rmtree(models_dir())
    assert changed_files(hub.resolve(NAME)) == []


def test_hash_is_overruled_by_who_says_so(host: CheckpointHost, tmp_path: Path) -> None:
    host.item(NAME)["sha256_prefix"] = "00000000"
    use_zoo(host.write_zoo(tmp_path / "zoo.json"))
    with pytest.raises(hub.DownloadError, match=r"instead of 00000000.*--no-check-hash"):
        hub.download(NAME)
    assert [folder.name for folder in hub.download(NAME, check_hash=False)] == [NAME]
