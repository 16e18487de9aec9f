"""Running a command, and what that takes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.table import Figure

_LAUNCHER = Path(__file__).with_name("launcher.py")
_GRACE = 10  # seconds that a command has to end when we are interrupted
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Call:
    """A command to be run. env: added to this process's environment; cwd: where, if that matters."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True)
class Measured:
    """What a command took. wall, cpu: seconds. peak: bytes. size: bytes of what it wrote."""

    wall: float
    cpu: float
    peak: int
    size: int = 0


class CommandFailedError(RuntimeError):
    """A command that was to be measured exited non-zero."""


def measured(call: Call) -> Measured:
    """Run it to its end. Raises CommandFailedError, with what it said last, unless it exits 0."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, (Path(name) / "said").open("w+b") as said:
        report = Path(name) / "report"
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCHER), str(report), *call.command],
            env=os.environ | dict(call.env),
            cwd=call.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            process_group=0,
        )
        if _waited_for(process):
            said.seek(0)
            last = said.read()[-2000:].decode("utf-8", "replace")
            raise CommandFailedError(f"{' '.join(call.command)}\nexited {process.returncode}\n{last}")
        return Measured(**json.loads(report.read_text()))


def _waited_for(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. If we are interrupted meanwhile, it and all it has started are ended first."""
    try:
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise


def settle(*, cold: bool) -> None:
    """Before a command is measured: nothing waits to be written, and with `cold` nothing has been read already."""
    os.sync()
    if cold:
        _DROP_CACHES.write_text("3\n")


def cold_is_possible() -> bool:
    """Whether the page cache can be dropped here."""
    return os.access(_DROP_CACHES, os.W_OK)


def figure(action: str, data: str, program: str, runs: Sequence[Measured]) -> Figure:
    """The medians of some runs."""
    walls = [run.wall for run in runs]
    return Figure(
        action,
        data,
        program,
        len(runs),
        statistics.median(walls),
        min(walls),
        max(walls),
        statistics.median(run.cpu for run in runs),
        max(run.peak for run in runs),
        int(statistics.median(run.size for run in runs)),
    )
