"""Imported by Python itself at the start of test processes that have this folder in PYTHONPATH: gives them their
zoo."""

import os
from pathlib import Path

if zoo_file := os.environ.get("HFPOSE_TEST_ZOO"):
    from hfpose.hub import zoo

    zoo._DATA = Path(zoo_file)
