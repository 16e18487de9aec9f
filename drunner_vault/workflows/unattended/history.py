"""What was done on this host, and what came of it: a line of JSON for each run, in `ROOT/vault/history.jsonl`.

While something is done, a locked file `ROOT/vault/running/ID.json` says so. The kernel gives the lock up when its
holder dies, so whoever comes next finds out that it was interrupted, and writes that down.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from drunner_vault.clock import Clock, isoformat, stamp
from drunner_vault.durable import make_directory, storage_error
from drunner_vault.hoststate.line_file import LineFile

DONE, PARTIAL, FAILED, SKIPPED = "done", "partial", "failed", "skipped"
INTERRUPTED = "interrupted: it was killed, or this host went down"

_MOST = 10_000  # runs that are kept
_LEAST_LINE = 100  # bytes; a file that cannot hold too many lines need not be counted


@dataclass(frozen=True)
class Run:
    """One thing that was done.

    job: by which; empty if by hand. task: backup, copy, prune, verify, drill, rehearse. service: empty for what
    concerns the job as a whole. store: where the archive is, as a person named it. started: as RFC 3339 in UTC.
    seconds: how long it took. verdict: done, partial (some files not as they were, which was allowed), failed, skipped.
    why: it came to that, for people. archive: its name in full. bytes: its size. content: that of the files in it.
    paused: seconds for which the service was. rate: content a second. archive_id, sha256, etag: of the archive, empty
    where they are not known.
    """

    id: str
    job: str
    task: str
    service: str
    store: str
    started: str
    seconds: float = 0.0
    verdict: str = DONE
    why: str = ""
    archive: str = ""
    bytes: int = 0
    content: int = 0
    paused: float = 0.0
    rate: int = 0
    archive_id: str = ""
    sha256: str = ""
    etag: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the next run of the same has in common with it."""
        return self.job, self.task, self.service, self.store

    @property
    def ok(self) -> bool:
        """Whether it did what it should."""
        return self.verdict in (DONE, PARTIAL)

    @property
    def begun(self) -> dt.datetime:
        """`started`, as a moment."""
        return dt.datetime.fromisoformat(self.started)


def new_run(clock: Clock, job: str, task: str, service: str, store: str) -> Run:
    """A run that begins now."""
    now = clock.now()
    return Run(f"{stamp(now)}-{secrets.token_hex(4)}", job, task, service, store, isoformat(now))


def latest_of(runs: Iterable[Run]) -> list[Run]:
    """Of each that was done repeatedly the last run, skipped ones aside, the oldest first."""
    found: dict[tuple[str, str, str, str], Run] = {}
    for run in runs:
        if run.verdict != SKIPPED:
            found.pop(run.key, None)
            found[run.key] = run
    return list(found.values())


class History:
    """The runs of this host. directory: `ROOT/vault`, made when something is first written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "history.jsonl"
        self._lines = LineFile(self._path, _MOST, _LEAST_LINE)
        self._running = directory / "running"

    def runs(self) -> list[Run]:
        """All that are known, the oldest first. Lines that cannot be read, as a crash may leave one, are passed over.
        Raises StorageError."""
        return [run for line in self._lines.read() if (run := _parse(line)) is not None]

    def latest(self) -> list[Run]:
        """See latest_of. Raises StorageError."""
        return latest_of(self.runs())

    def add(self, *runs: Run) -> None:
        """Write runs down, durably. The oldest go when there are too many. Raises StorageError."""
        try:
            with self._lines.locked():
                self._append(runs)
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause

    @contextlib.contextmanager
    def underway(self, run: Run) -> Iterator[None]:
        """While the block runs, others can see that it does; if we die in it, `interrupted` will tell."""
        path = self._running / f"{run.id}.json"
        try:
            with self._lines.locked():
                fd = self._mark(path, run)
        except OSError as cause:
            raise storage_error("write", path, cause) from cause
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while we still hold it
            os.close(fd)
            with contextlib.suppress(OSError):  # others are running
                self._running.rmdir()

    def now_running(self) -> list[Run]:
        """What is being done at this moment."""
        return [run for path in self._marks() if (run := self._alive(path)) is not None]

    def interrupted(self) -> list[Run]:
        """What was killed since this was last asked: written down now, as failed, and returned. Raises StorageError."""
        if not any(self._marks()):
            return []
        try:
            with self._lines.locked():
                dead = [run for path in self._marks() if (run := self._taken(path)) is not None]
                known = {run.id for run in self.runs()} if dead else set()
                dead = [run for run in dead if run.id not in known]  # it died just after it had written that down
                self._append(dead)
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause
        return dead

    def _append(self, runs: Sequence[Run]) -> None:
        self._lines.append([json.dumps(asdict(run)).encode() for run in runs])

    def _marks(self) -> list[Path]:
        return sorted(self._running.glob("*.json")) if self._running.is_dir() else []

    def _mark(self, path: Path, run: Run) -> int:
        """A descriptor with the lock on a new file that says what we do."""
        make_directory(self._running)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.write(fd, json.dumps(asdict(run)).encode())
        os.fsync(fd)
        return fd

    def _alive(self, path: Path) -> Run | None:
        """The run behind a mark that its holder still holds."""
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                # shared: several may look at the same moment, and none of them is a holder
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _parse(file.read())
        return None

    def _taken(self, path: Path) -> Run | None:
        """The run behind a mark whose holder is dead, as it ended; the mark is removed."""
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            run = _parse(file.read())
            path.unlink()
            return replace(run, verdict=FAILED, why=INTERRUPTED) if run else None
        return None


_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "float": (int, float), "int": (int,)}
_TYPES = {field.name: field.type for field in fields(Run)}


def _parse(line: bytes) -> Run | None:
    """The run in a line; None if there is none. What a later version adds is passed over."""
    try:
        values: dict[str, Any] = json.loads(line)
        run = Run(**{name: _value(name, values[name]) for name in _TYPES if name in values})
        _ = run.begun
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return run


def _value(name: str, value: Any) -> Any:
    if not isinstance(value, _KINDS[str(_TYPES[name])]):
        raise TypeError(name)
    return value
