"""The table of figures: what was measured, what it has to reach, and whether it does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_BAR = "\\|"  # in a cell of a table in Markdown


@dataclass(frozen=True)
class Row:
    """One figure. value: None if it could not be measured. limit: the most it may be; None if it is only told.
    unit: of both. how: the two sides of a ratio, or why there is no value."""

    what: str
    value: float | None
    limit: float | None = None
    unit: str = ""
    how: str = ""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.value is None:
            return "NOT MEASURED"
        if self.limit is None:
            return ""
        return "reached" if self.value <= self.limit else "NOT REACHED"

    @property
    def shown(self) -> str:
        """The value, as exactly as it deserves."""
        if self.value is None:
            return "-"
        return f"{self.value:,.2f}" if self.value < 20 else f"{self.value:,.0f}"

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"at most {self.limit:g}"
        line = f"{self.what:<58} {self.shown:>8} {self.unit:<4} {limit:<13} {self.verdict:<12} {self.how}"
        return line.rstrip()


@dataclass(frozen=True)
class Figure:
    """What one program took to do one thing to one set of data: medians of `runs`, and the quickest and the slowest.

    wall, least, most, cpu: seconds; cpu: of all its processes, user and system. peak: bytes of memory of its largest
    process. size: bytes of what it wrote, 0 where that is not the question.
    """

    action: str
    data: str
    program: str
    runs: int
    wall: float
    least: float
    most: float
    cpu: float
    peak: int
    size: int = 0


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown. Titles that begin with a blank are of columns that are set to the right."""
    titles = list(head)
    rules = ["--:" if title.startswith(" ") else "---" for title in titles]
    lines = [[title.strip() for title in titles], rules, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |" for cells in lines)
