"""What was left out of a run or a file, counted and named by reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

# Names that are kept for each reason why something was left out.
NAMES_IN_REPORT = 3


@dataclass
class LeftOut:
    """Counts of what was left out by reason, with the first names of each."""

    counts: Counter[str] = field(default_factory=Counter)
    names: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, name: object) -> None:
        """Count one thing that was left out."""
        self.counts[reason] += 1
        if len(self.names[reason]) < NAMES_IN_REPORT:
            self.names[reason].append(str(name))

    def include(self, other: LeftOut) -> None:
        """Count what another one has counted too."""
        self.counts.update(other.counts)
        for reason, names in other.names.items():
            self.names[reason] = [*self.names[reason], *names][:NAMES_IN_REPORT]

    @property
    def total(self) -> int:
        """How many were left out."""
        return self.counts.total()

    def __str__(self) -> str:
        return "; ".join(self.lines()) or "nothing"

    def lines(self) -> list[str]:
        """One line for each reason, most frequent first."""
        lines = []
        for reason, count in self.counts.most_common():
            dots = ", ..." if count > len(self.names[reason]) else ""
            lines.append(f"{count} x {reason}: {', '.join(self.names[reason])}{dots}")
        return lines
