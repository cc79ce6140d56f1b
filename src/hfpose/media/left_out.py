"""What was left out of a run or a file, counted and named by reason."""

from __future__ import annotations

from dataclasses import dataclass, field

# Names that are kept for each reason why something was left out.
NAMES_IN_REPORT = 3


@dataclass
class LeftOut:
    """Counts of what was left out by reason, with the first names of each."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: object) -> None:
        """Count one thing that was left out."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        names = self.names.setdefault(reason, [])
        if len(names) < NAMES_IN_REPORT:
            names.append(str(name))

    def include(self, other: LeftOut) -> None:
        """Count what another one has counted too."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            self.names[reason] = [*self.names.get(reason, []), *other.names[reason]][:NAMES_IN_REPORT]

    @property
    def total(self) -> int:
        """How many were left out."""
        return sum(self.counts.values())

    def lines(self) -> list[str]:
        """One line for each reason, most frequent first."""
        lines = []
        for reason, count in sorted(self.counts.items(), key=lambda item: -item[1]):
            dots = ", ..." if count > len(self.names[reason]) else ""
            lines.append(f"{count} x {reason}: {', '.join(self.names[reason])}{dots}")
        return lines
