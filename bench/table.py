"""The table of figures: what was measured, what it has to reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure. limit: the most it may be."""

    what: str
    value: float
    limit: float

    def __str__(self) -> str:
        verdict = "reached" if self.value <= self.limit else "NOT REACHED"
        return f"{self.what:<44} {self.value:10.2f}   at most {self.limit:6.2f}   {verdict}"
