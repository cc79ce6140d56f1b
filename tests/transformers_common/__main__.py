"""Run transformers' own common tests over all models, and print how many pass: `make test-transformers`.

Arguments are those of pytest, such as `-k backbone`.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from source import fetch_common_tests

HERE = Path(__file__).parent


class Table:
    """Counts outcomes by model."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if isinstance(report, pytest.SubtestReport) or (report.when != "call" and report.passed):
            return
        self.counts[report.nodeid.split("::")[1].removeprefix("Test:")][report.outcome] += 1

    def __str__(self) -> str:
        outcomes = ("passed", "failed", "skipped")
        counts = {**self.counts, "all": sum(self.counts.values(), Counter())}
        rows = [f"| {name} | {' | '.join(str(count[key]) for key in outcomes)} |" for name, count in counts.items()]
        return "\n".join(["| model | passed | failed | skipped |", "| --- | --: | --: | --: |", *rows])


def main() -> int:
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        fetch_common_tests(Path(folder))
        options = ["-q", "--tb=short", "-p", "no:cacheprovider", "-W", "ignore", "-o", "python_files=common_*.py"]
        options += ["-o", "addopts=--import-mode=importlib"]
        status = pytest.main([str(HERE), *options, *sys.argv[1:]], plugins=[table])
    print(table)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
