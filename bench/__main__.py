"""`python -m bench [NAME…] [--quick] [--runs N] [--cold] [--write]`: measure, and print the table."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import comparison
from bench.archive_format import reads_of_a_large_archive, verifying
from bench.members import memory_of_many_members
from bench.page import Findings, write_page
from bench.programs import remove
from bench.stages import Profile, lines, profiles
from bench.start import starting
from bench.table import Row
from bench.workbench import CannotMeasureError, Choices, Workbench, workbench

_DOCS = Path(__file__).resolve().parents[1] / "docs"


@dataclass
class _Run:
    """What has been measured so far."""

    bench: Workbench
    rows: dict[str, list[Row]] = field(default_factory=dict)
    profiles: list[Profile] = field(default_factory=list)

    def tell(self, name: str, rows: Iterator[Row]) -> None:
        """Print rows as they are measured."""
        told = self.rows.setdefault(name, [])
        for row in rows:
            print(row, flush=True)
            told.append(row)

    def findings(self) -> Findings:
        """All of it; what is about the format alone comes last."""
        rows = [row for name, told in self.rows.items() if name != _FORMAT for row in told]
        return Findings([*rows, *self.rows.get(_FORMAT, ())], self.profiles)

    def stages(self) -> None:
        """Measure the stages, and print them."""
        for profile in profiles(self.bench):
            print(*lines(profile), sep="\n", flush=True)
            self.profiles.append(profile)


def _archive_format(bench: Workbench) -> Iterator[Row]:
    """What looking into archives costs, and their members' memory."""
    directory, scale = bench.directory / "format", bench.choices.scale
    directory.mkdir()
    yield from reads_of_a_large_archive(directory, 10_000_000_000 // scale)
    yield from verifying(directory, bench.warm("mixed").path, runs=5)
    yield from memory_of_many_members(directory, 1_000_000 // scale)
    remove(directory)


_FORMAT, _STAGES = "format", "stages"
_ROWS: dict[str, Callable[[Workbench], Iterator[Row]]] = {
    _FORMAT: _archive_format,  # first, as nothing else needs as much of the disk
    "start": lambda _: starting(),
    "backup-mixed": partial(comparison.backups, name="mixed"),
    "restore-mixed": partial(comparison.restores, name="mixed"),
    "verify": comparison.verifying,
    "extract": comparison.extracting,
    "s3": comparison.to_s3,
    "backup-small": partial(comparison.backups, name="small"),
    "restore-small": partial(comparison.restores, name="small"),
    "backup-database": partial(comparison.backups, name="database"),
    "memory": comparison.memory,
}
_LAST_USE = {"s3": "mixed", "restore-small": "small", "backup-database": "database"}  # of the backups of that data


def _arguments() -> argparse.Namespace:
    names = (*_ROWS, _STAGES)
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, and print the table.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure, of {', '.join(names)}; all of it")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="the same")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each program: 3")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--cold", action="store_true", help="drop the page cache before each run")
    parser.add_argument(
        "--write", type=Path, nargs="?", const=_DOCS, metavar="DIR", help="write performance.md and its picture: docs"
    )
    given = parser.parse_args()
    given.names += given.only
    if unknown := set(given.names) - set(names):
        parser.error(f"no such thing to measure: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if given.runs < 1:
        parser.error("--runs is 1 at least")
    if given.write and given.names:
        parser.error("--write is for a run of all of it")
    return given


def main() -> int:
    """Print rows as they are measured, and at the end how many have been reached."""
    given = _arguments()
    chosen = given.names or [*_ROWS, _STAGES]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the engine is stopped, and all is removed
    try:
        with workbench(Choices(given.runs, 10 if given.quick else 1, given.cold)) as bench:
            _measure(_Run(bench), chosen, given.write)
    except CannotMeasureError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(run: _Run, chosen: list[str], page: Path | None) -> None:
    for name, rows in _ROWS.items():
        if name in chosen:
            run.tell(name, rows(run.bench))
            if name in _LAST_USE:
                run.bench.forget(_LAST_USE[name])
    if run.bench.figures:
        run.tell("peaks", comparison.peaks(run.bench))
    if _STAGES in chosen:
        run.stages()
    findings = run.findings()
    judged = [row for row in findings.rows if row.limit is not None]
    print(f"{sum(row.verdict == 'reached' for row in judged)} of {len(judged)} reached")
    if page:
        write_page(run.bench, findings, page)


sys.exit(main())
