"""The processes in which tests run scripts."""

from __future__ import annotations

from pathlib import Path

from processes import finished

SCRIPT = """
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

class Answer:
    pass

def answer():
    os.write(2, b"called")
    return Answer()

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        print(type(pool.submit(answer).result()))
"""


def test_a_script_spawns_processes_as_it_does_without_tests(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = finished(script, tmp_path, {})
    assert (done.stdout, done.stderr) == ("<class '__main__.Answer'>\n", "called")
