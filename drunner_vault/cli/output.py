"""What a person or a program gets to see. Data goes to stdout; notices, progress and errors to stderr.

On a terminal there are tables, colours and progress. Elsewhere there is silence unless something is wrong.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from drunner_vault.errors import VaultError
from drunner_vault.workflows.progress import Progress, Silent

if TYPE_CHECKING:
    import datetime as dt


class Output:
    """Where a command's results go. as_json: one document on stdout, for programs. long: the command may work for long;
    with as_json it then tells how far it has come, an object a line, and the last line is its result."""

    def __init__(self, *, as_json: bool = False, long: bool = False) -> None:
        self.as_json = as_json
        self.interactive = sys.stderr.isatty()
        self._long = long

    def document(self, data: Any) -> None:
        """The command's result, for programs only."""
        if self.as_json and self._long:
            print(json.dumps({"event": "result", **data}), flush=True)
        elif self.as_json:
            print(json.dumps(data, indent=2))

    def text(self, line: str) -> None:
        """A line of the command's result, for people."""
        if not self.as_json:
            print(line)

    def done(self, line: str) -> None:
        """That a command has done its work: said to a person who waits for it, and to nobody else."""
        if self.interactive and not self.as_json:
            print(_colour(line, "32"), file=sys.stderr)

    def note(self, line: str) -> None:
        """Good to know: said to a person at a terminal."""
        if self.interactive:
            print(line, file=sys.stderr)

    def notice(self, line: str) -> None:
        """Something a person should know, whoever is watching."""
        print(f"notice: {line}", file=sys.stderr)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows under a header, in columns as wide as they need to be; on a terminal of that width, drawn as a table."""
        if self.as_json:
            return
        rows = [[one_line(cell) for cell in row] for row in rows]
        widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
        if sys.stdout.isatty() and _columns() > sum(widths) + 3 * len(widths):
            _rich_table(header, rows)
            return
        for row in (header, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def error(self, error: VaultError) -> None:
        """An error as everybody gets it: what failed and why, then what to do next."""
        if self.as_json:
            details = {
                "message": error.message,
                "hint": error.hint,
                "kind": type(error).__name__,
                "code": error.exit_code,
            }
            print(json.dumps({"error": details}))
        self.failure(error)

    def failure(self, error: VaultError) -> None:
        """What failed, and what to do next, for people; a program learns it from the command's result."""
        label = "nothing to do" if error.exit_code == 3 else "error"
        print(f"{_colour(label, '31' if label == 'error' else '33')}: {one_line(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"hint: {one_line(error.hint)}", file=sys.stderr)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """Shows how far long work has come, with rate and time left: on a terminal, or to a program."""
        if self.as_json and self._long:
            from drunner_vault.clock import SYSTEM_CLOCK

            yield Events(SYSTEM_CLOCK.monotonic)
            return
        if not self.interactive or self.as_json:
            yield Silent()
            return
        from drunner_vault.cli.bar import progress_bar

        with progress_bar() as bar:
            yield bar


_QUIET = 3.0  # seconds: what is done sooner has a result and no progress


class Events:
    """Progress as lines of JSON on stdout, from the third second on and at most one a second: what is done, how many
    bytes of it, of how many (null if unknown), at how many a second, and how many seconds are left (null if that cannot
    be told)."""

    visible = True

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._first = now() + _QUIET
        self.begin("", None)

    def begin(self, what: str, total: int | None) -> None:
        """See Progress."""
        self._what, self._total, self._done = what, total, 0
        self._begun = self._told = self._now()

    def advance(self, count: int) -> None:
        """See Progress."""
        self._done += count
        now = self._now()
        if now - self._told >= 1 and now >= self._first:
            self._told = now
            self._tell(self._done / (now - self._begun))

    def _tell(self, rate: float) -> None:
        left = round(max(0, self._total - self._done) / rate) if self._total is not None and rate else None
        event = {"event": "progress", "what": self._what, "done": self._done, "total": self._total}
        print(json.dumps({**event, "rate": round(rate), "left": left}), flush=True)


def one_line(text: str) -> str:
    """Text that others wrote (paths, hooks' words), safe on a terminal: control characters shown, not obeyed."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def size(count: float) -> str:
    """A number of bytes for people: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def age(span: dt.timedelta) -> str:
    """A span of time for people, in full ones of its largest unit: 3 d. Years only from two on."""
    seconds = span.total_seconds()
    if seconds < 0:
        return "in the future"
    for unit, length in (("y", 365.25 * 86400), ("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length * (2 if unit == "y" else 1):
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _colour(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if sys.stderr.isatty() else text


def _columns() -> int:
    """How wide the terminal is."""
    import shutil

    return shutil.get_terminal_size().columns


def _rich_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
