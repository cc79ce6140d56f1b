"""Python code in processes of its own, with their own environment.

Importing torch and transformers takes seconds, so these processes are forked off a server, which is forked off the
process of the tests before the first of them runs. A test of what an import does, or of a signal at the start, runs
`sys.executable` itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType, TracebackType

COMMAND = "from hfpose.cli import main; main()"
"""The command `hfpose`."""


def run_python(
    code: str | Path, folder: Path, environment: Mapping[str, str], arguments: tuple[object, ...] = ()
) -> str:
    """Output of code that has to end well; its errors are those of the test."""
    done = finished(code, folder, environment, arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def finished(
    code: str | Path, folder: Path, environment: Mapping[str, str], arguments: tuple[object, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Exit code and output of code, or of a script, run to its end in `folder` with further environment variables."""
    with RunningPython(code, folder, environment, arguments) as process:
        out, err = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(map(str, arguments)), process.returncode, out, err)


class _Server:
    """A process that forks one for each piece of code. Itself it has run nothing, so it has no threads."""

    def __init__(self) -> None:
        self._exit_codes: dict[int, int] = {}
        self._connection, far_end = multiprocessing.Pipe()
        if os.fork() == 0:
            self._connection.close()
            try:
                _serve(far_end)
            finally:
                os._exit(0)
        far_end.close()

    def start(self, *arguments: object) -> int:
        """Have `_run` called with these arguments; gives the process's id."""
        self._connection.send(arguments)
        while not isinstance(message := self._connection.recv(), int):
            self._exit_codes.update([message])
        self._exit_codes.pop(message, None)
        return message

    def exit_code(self, pid: int, timeout: float = 0) -> int | None:
        """None for a process that still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while pid not in self._exit_codes and self._connection.poll(max(0, deadline - time.monotonic())):
            self._exit_codes.update([self._connection.recv()])
        return self._exit_codes.get(pid)


start_server = cache(_Server)
"""Starts the server; to be called once all is imported, and before a test runs."""


def _serve(connection: Connection) -> None:
    """Fork a process for each message until the other end is closed; tell of its id, and of its exit code later."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    context = multiprocessing.get_context("fork")
    running: dict[int, multiprocessing.process.BaseProcess] = {}
    while True:
        for ready in wait([connection, *running]):
            if isinstance(ready, int):
                process = running.pop(ready)
                process.join()
                connection.send((process.pid, process.exitcode))
            else:
                process = context.Process(target=_run, args=connection.recv())
                process.start()
                running[process.sentinel] = process
                connection.send(process.pid)


class RunningPython:
    """A process with the part of `subprocess.Popen` that the tests use; it ends with the `with` block."""

    def __init__(
        self, code: str | Path, folder: Path, environment: Mapping[str, str], arguments: tuple[object, ...] = ()
    ) -> None:
        variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
        self._output = tempfile.TemporaryDirectory()
        self._files = [Path(self._output.name, name) for name in ("stdout", "stderr")]
        for file in self._files:
            file.touch()
        argv = ["-c" if isinstance(code, str) else str(code), *map(str, arguments)]
        text = code if isinstance(code, str) else code.read_text()
        self._server = start_server()
        self.pid = self._server.start(text, argv, folder, variables, self._files)

    def __enter__(self) -> RunningPython:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._server.exit_code(self.pid, timeout=60)
        self._output.cleanup()

    @property
    def returncode(self) -> int | None:
        return self._server.exit_code(self.pid)

    def poll(self) -> int | None:
        return self.returncode

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Output and errors, once the process has ended."""
        assert self._server.exit_code(self.pid, timeout) is not None, f"it runs for more than {timeout} seconds"
        return self._files[0].read_text(), self._files[1].read_text()

    def wait_for_lines(self, count: int, timeout: float = 60) -> None:
        """Wait until it has printed some lines."""
        deadline = time.monotonic() + timeout
        while self._files[0].read_bytes().count(b"\n") < count:
            assert time.monotonic() < deadline and self.returncode is None, self._files[1].read_text()
            time.sleep(0.005)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(code: str, argv: list[str], folder: Path, environment: dict[str, str], output: list[Path]) -> None:
    """Run code in this forked process, as `python -c` would."""
    gc.freeze()
    for number, file, stream in zip((1, 2), output, (sys.stdout, sys.stderr), strict=True):
        opened = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, number)  # processes that it starts write there
        os.dup2(opened, stream.fileno())  # where pytest collects what is printed, this is another
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = argv
    sys.path.insert(0, "")
    _read_settings_again()
    try:
        exec(compile(code, argv[0], "exec"), _new_main(argv[0]).__dict__)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)


def _new_main(script: str) -> ModuleType:
    """Module `__main__`, in which pickle finds what a script defines. Processes that it spawns import it from its file
    as `__mp_main__`, and give back its classes by that name."""
    module = sys.modules["__main__"] = sys.modules["__mp_main__"] = ModuleType("__main__")
    if script != "-c":
        module.__file__ = script
    return module


def _read_settings_again() -> None:
    """What huggingface_hub and the tests' zoo take from the environment when they are imported."""
    from huggingface_hub import constants, hf_api

    from checkpoint_host import use_zoo

    importlib.reload(constants)
    hf_api.api.endpoint = constants.ENDPOINT
    if zoo := os.environ.get("HFPOSE_TEST_ZOO"):
        use_zoo(Path(zoo))
