"""What all benchmarks need: clocks, statistics, the machine, memory, and tables in Markdown."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "benchmarks"
PAGE = ROOT / "docs" / "performance.md"
sys.path.append(str(ROOT / "tools" / "rendered_people"))  # figures, for benchmarks that make clips of them

_PACKAGES = ("torch", "transformers", "onnxruntime", "openvino", "rtmlib", "opencv-python", "Pillow", "numpy")


@dataclass
class Stopwatch:
    """Seconds spent under each of some names.

    What runs under one name inside of another counts for the inner one alone.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            inner = self._inner.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + spent - inner
            if self._inner:
                self._inner[-1] += spent

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Measure every call of a method of one object."""
        original = getattr(owner, method)

        def measured(*args: Any, **kwargs: Any) -> Any:
            with self.measure(name):
                return original(*args, **kwargs)

        setattr(owner, method, measured)

    def take(self) -> dict[str, float]:
        """The seconds so far; the next ones are counted from zero."""
        seconds, self.seconds = self.seconds, {}
        return seconds


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of some values."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper)


def parser(
    description: str | None, parts: Sequence[str] = (), threads: str = "", quick: str = "", page: Path = PAGE
) -> argparse.ArgumentParser:
    """A parser with the options that benchmarks have in common.

    Args:
        description: of the benchmark.
        parts: what `--parts` chooses from; without any there is no such option.
        threads, quick: help for the options of these names, which are left out without it.
        page: that tables are put into.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if parts:
        made.add_argument("--parts", nargs="+", default=parts, choices=parts)
    if threads:
        made.add_argument("--threads", type=int, help=threads)
    if quick:
        made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--output", type=Path, default=OUT, help="folder for the Markdown and the JSON")
    made.add_argument("--write-docs", action="store_true", help=f"put the tables into {page.relative_to(ROOT)}")
    return made


def in_turns(actions: Mapping[str, Callable[[], float]], repetitions: int, warm_up: int = 1) -> dict[str, list[float]]:
    """What each action returns, by name, one after the other in each repetition.

    What else the machine does then meets all of them alike.
    """
    results: dict[str, list[float]] = {name: [] for name in actions}
    for repetition in range(warm_up + repetitions):
        for name, action in actions.items():
            value = action()
            if repetition >= warm_up:
                results[name].append(value)
    return results


def seconds(action: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def processor_seconds(action: Callable[[], object]) -> float:
    """Seconds of the processor that a call takes, which what else runs on the machine changes little."""
    start = time.process_time()
    action()
    return time.process_time() - start


def wait_for(device: str) -> None:
    """Wait until an accelerator has done what this thread told it to."""
    import torch

    if torch.device(device).type != "cpu":
        torch.get_device_module(device).current_stream().synchronize()


def machine(threads: int | None, device: str = "cpu") -> dict[str, Any]:
    """The processor, the accelerator, and the versions of what is measured."""
    import torch

    installed = {found.name.lower(): found.version for found in importlib.metadata.distributions() if found.name}
    return {
        "processor": _processor(),
        "accelerator": _accelerator(device),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: installed[name.lower()] for name in _PACKAGES if name.lower() in installed},
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def machine_sentence(facts: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    load = facts["load_before"]
    busy = (
        f"The machine was shared: its load was {load} before the run, so only ratios count."
        if load is not None and load > 0.5
        else "Nothing else ran."
    )
    accelerator = "" if facts["accelerator"] is None else f"{facts['accelerator']}; "
    return (
        f"{accelerator}{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads; {facts['system']}, "
        f"Python {facts['python']}, {versions}. {busy}"
    )


def _accelerator(device: str) -> str | None:
    """Name of a device, None for the CPU."""
    import torch

    if torch.device(device).type == "cpu":
        return None
    name = getattr(torch.get_device_module(device), "get_device_name", lambda: device)
    return str(name())


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        fields = dict(line.partition(":")[::2] for line in cpuinfo.read_text().split("\n\n", 1)[0].splitlines())
        known = {name.strip(): value.strip() for name, value in fields.items()}
        model = known.get("model name", platform.machine())
        return f"{model} (family {known['cpu family']}, model {known['model']})" if "cpu family" in known else model
    return platform.processor() or platform.machine()


def memory_megabytes() -> float | None:
    """Memory that this process holds now; None where that is not known."""
    return _status("VmRSS")


def peak_megabytes() -> float | None:
    """The most memory that this process has held since `restart_peak`."""
    return _status("VmHWM")


def restart_peak() -> None:
    """Forget the most memory that was held so far."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _status(name: str) -> float | None:
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown, the first column aligned to the left."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def milliseconds(spread: Spread) -> str:
    return f"{spread.median * 1e3:.1f} ({spread.lower * 1e3:.1f}-{spread.upper * 1e3:.1f})"


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def write_report(
    name: str, folder: Path, markdown: str, data: Mapping[str, Any], write_docs: bool, page: Path = PAGE
) -> None:
    """Print a report, write it as Markdown and JSON, and put it into a page, that about speed, where that is
    wanted."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(markdown + "\n")
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    print(markdown)
    if write_docs:
        page.write_text(with_section(page.read_text(), name, markdown))


def with_section(page: str, name: str, text: str) -> str:
    """A page with `text` between the comments that begin and end the section of that name.

    Raises:
        ValueError: if it has no such section.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"The page has no lines {begin!r} and {end!r} to write between.")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
