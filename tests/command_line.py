"""The command `hfpose` as a user calls it, but in this process: importing torch again takes seconds."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import hfpose
from hfpose import cli


def run_command(
    *arguments: object, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Exit code, stdout and stderr of a command, run in `folder`.

    Variables of `environment` count where they are read when the command runs, not by what is imported already.
    """
    out, err = io.StringIO(), io.StringIO()
    hfpose.register()
    with (
        mock.patch.object(sys, "argv", ["hfpose", *map(str, arguments)]),
        mock.patch.dict(os.environ, environment or {}),
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
