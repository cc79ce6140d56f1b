from __future__ import annotations

from pathlib import Path

import pytest

from hfpose.media.files import atomic_path, is_folder, partial_path, partials_apart


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "out.txt"
    with atomic_path(path) as partial:
        partial.write_text("text")
        assert not path.exists() and partial.parent == path.parent
    assert path.read_text() == "text" and not partial.exists()


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_partial_name_is_the_same_in_every_run_and_hidden() -> None:
    assert partial_path(Path("a/b.json")) == Path("a/.b.json.part")


def test_strange_names_are_no_folders(tmp_path: Path) -> None:
    assert is_folder(tmp_path)
    assert not is_folder(Path("x" * 5000)) and not is_folder(Path("a\0b"))


def test_unfinished_files_can_be_kept_apart(tmp_path):
    out = tmp_path / "out"
    with partials_apart(out, out / ".work"):
        partial = partial_path(out / "a" / "b.json")
        assert (partial.parent.parent, partial.parent.is_dir()) == (out / ".work", True)
        assert partial == partial_path(out / "a" / "b.json") != partial_path(out / "c" / "b.json")
        assert partial_path(tmp_path / "b.json") == tmp_path / ".b.json.part"
        with atomic_path(out / "a" / "b.json") as path:
            path.write_text("{}")
    assert (out / "a" / "b.json").read_text() == "{}"
    assert not list((out / ".work").iterdir())
