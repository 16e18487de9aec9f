"""Entries for tests."""

from __future__ import annotations

import datetime as dt

from drunner_vault.policy import parse_schedule
from drunner_vault.schedules.entry import Entry

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def entry(
    text: str,
    *,
    name: str = "job-nightly",
    command: tuple[str, ...] = ("/usr/bin/drunner-vault", "run", "nightly", "--scheduled"),
    zone: str = "",
    shifts: tuple[int, ...] = (),
    jitter: float = 0,
    catch_up: bool = True,
) -> Entry:
    """An entry with this schedule."""
    return Entry(name, f"job nightly, {text}", command, parse_schedule(text), zone, shifts, jitter, catch_up)
