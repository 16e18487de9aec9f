"""A backup takes no more of the host than it was allowed."""

from __future__ import annotations

import io
import os
import subprocess
import sys

from drunner_vault.clock import Clock
from drunner_vault.workflows.pace import LimitedSink


class Seconds:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_bytes_pass_at_the_rate_that_was_allowed_and_whole() -> None:
    time, stream = Seconds(), io.BytesIO()
    sink = LimitedSink(stream, 1000, Clock(monotonic=lambda: time.now), time.sleep)
    for size in (10, 4000, 1, 989):
        sink.write(b"x" * size)
    assert stream.getvalue() == b"x" * 5000
    assert round(time.now - 100.0, 6) == 5.0


def test_time_in_which_nothing_came_may_be_made_up_for() -> None:
    time = Seconds()
    sink = LimitedSink(io.BytesIO(), 1000, Clock(monotonic=lambda: time.now), time.sleep)
    sink.write(b"x" * 1000)
    time.now += 9
    sink.write(b"x" * 8000)
    assert time.now == 110.0


def test_who_steps_back_is_nicer_and_gets_the_disk_last() -> None:
    script = (
        "from drunner_vault.workflows.pace import step_back; import os, subprocess; step_back();"
        "print(os.nice(0), subprocess.run(['ionice', '-p', str(os.getpid())], capture_output=True, text=True).stdout)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(os.nice(0) + 10), "idle"]
