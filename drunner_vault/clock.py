"""Time, injectable: nothing else in the package asks the system what time it is."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Wall time for names and records, monotonic time for durations.

    now: returns an aware datetime in UTC. monotonic: returns seconds as a float.
    """

    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    monotonic: Callable[[], float] = time.monotonic


SYSTEM_CLOCK = Clock()


def stamp(moment: dt.datetime) -> str:
    """The time as it stands in archive names: YYYYMMDDTHHMMSSZ, in UTC."""
    return moment.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ")


def isoformat(moment: dt.datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as in manifests: 2026-01-31T23:59:59Z."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
