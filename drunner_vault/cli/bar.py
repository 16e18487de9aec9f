"""A progress bar on the terminal: what, how much, how fast, how long still."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars


class Bar:
    """Shows one stretch of work at a time."""

    visible = True

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None)

    def begin(self, what: str, total: int | None) -> None:
        """See Progress."""
        self._bars.reset(self._task, description=what, total=total)

    def advance(self, count: int) -> None:
        """See Progress."""
        self._bars.update(self._task, advance=count)


@contextlib.contextmanager
def progress_bar() -> Iterator[Bar]:
    """A bar on stderr that is gone when the work is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Bar(bars)
