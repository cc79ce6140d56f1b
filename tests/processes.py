"""Python code in processes of its own: with their own environment, and with nothing imported before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def run_python(code: str, folder: Path, environment: Mapping[str, str], timeout: float = 600) -> str:
    """Run code in `folder` with further environment variables; gives its output, and its errors to the test."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
