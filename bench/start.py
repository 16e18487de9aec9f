"""How long it takes until our program says anything."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence

from support.engines import programs_directory

from bench.measure import Call, measured
from bench.table import Row

_RUNS = 20


def starting() -> Iterator[Row]:
    """`drunner-vault --help` beside an interpreter that does nothing, in turn."""
    help_text = [str(programs_directory() / "drunner-vault"), "--help"]
    nothing = [sys.executable, "-c", "pass"]
    pairs = [(_wall(help_text), _wall(nothing)) for _ in range(_RUNS + 1)][1:]  # the first pair fetches files
    ours, theirs = (statistics.median(walls) * 1000 for walls in zip(*pairs, strict=True))
    yield Row("drunner-vault --help", ours, 150, "ms")
    yield Row("drunner-vault --help / python -c pass", ours / theirs, 4, "", f"{ours:.0f} / {theirs:.0f} ms")


def _wall(command: Sequence[str]) -> float:
    return measured(Call(command)).wall
