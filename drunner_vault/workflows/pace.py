"""Taking no more of the host than it can spare: bytes a second, and the processor's and the disk's attention."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from drunner_vault.archive import Sink
from drunner_vault.clock import Clock

_NICE = 10
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}  # system call numbers
_WHO_PROCESS = 1
_IDLE_CLASS = 3 << 13  # served when nobody else asks; see ioprio_set(2)


class LimitedSink:
    """Passes bytes on, at most `rate` of them a second on the average since the start."""

    def __init__(self, sink: Sink, rate: int, clock: Clock, sleep: Callable[[float], None]) -> None:
        self._sink = sink
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._started: float | None = None
        self._passed = 0

    def write(self, data: bytes) -> None:
        """Take all of `data`, and come back when that much time has gone by."""
        now = self._clock.monotonic()
        self._started = now if self._started is None else self._started
        self._sink.write(data)
        self._passed += len(data)
        ahead = self._passed / self._rate - (now - self._started)
        if ahead > 0:
            self._sleep(ahead)


def step_back() -> None:
    """From now on this process, its threads and children give way to others: for the processor, and for the disk."""
    os.nice(_NICE)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None, use_errno=True).syscall(number, _WHO_PROCESS, 0, _IDLE_CLASS)
