"""Until when a new archive must be locked, so that nobody deletes it before the rules would."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import pairwise

from drunner_vault.policy.periods import NEVER
from drunner_vault.policy.rules import Retention, Span

LONGEST = Span(years=10)
"""No lock is longer, whatever the rules say: a lock cannot be taken back, and it can be prolonged."""

_INTERVALS = 2
_HALF_A_DAY = dt.timedelta(hours=12)
_OUT_OF_STEP = dt.timedelta(minutes=90)  # clocks that change, and timers that do not all go off at once
_USUAL_PACE = dt.timedelta(days=1)
_LEAST_PACE = dt.timedelta(minutes=1)


def pace(moments: Sequence[dt.datetime]) -> dt.timedelta:
    """How often archives are made, told by those that are left: at least a minute; a day if there are no two.

    moments: when they were made, in any order.

    Many have been deleted, and between those that are left there are weeks or months. But the newest is always left,
    so the last interval is one between backups, or was till one failed: the shorter of the last two counts. What is
    nearly half a day, or a multiple of that, is that.
    """
    latest = sorted(moments)[-_INTERVALS - 1 :]
    intervals = [later - earlier for earlier, later in pairwise(latest)]
    return max(_LEAST_PACE, min(map(_in_step, intervals))) if intervals else _USUAL_PACE


def _in_step(interval: dt.timedelta) -> dt.timedelta:
    whole = round(interval / _HALF_A_DAY) * _HALF_A_DAY
    return whole if whole and abs(interval - whole) <= _OUT_OF_STEP else interval


def last_end(created: dt.datetime, number: int, each: dt.timedelta) -> dt.datetime:
    """When that many newer archives will be there, one after each such interval; NEVER for an unlimited number."""
    try:
        return created + number * each if number >= 0 else NEVER
    except OverflowError:
        return NEVER


def lock_until(
    created: dt.datetime, earlier: Sequence[dt.datetime], retention: Retention, tz: dt.tzinfo
) -> dt.datetime | None:
    """When the rules will let go of an archive that is made now, in UTC; None if no rule will keep it.

    created: when it is made, aware. earlier: when others of the service were made, at least the newest two that are
    left. What is later than created came from a clock that ran ahead, and does not count. tz: the zone whose calendar
    the rules go by.

    Nobody knows yet whether it will be the newest of its day, week, month or year. It is assumed that backups go on at
    the pace they had. If they do, the lock is over when the rules let go, so that it never keeps what they do not.
    At most ten years from created, for unlimited rules and for others.
    """
    each = pace([*(moment for moment in earlier if moment <= created), created])
    ends = [
        period.end(created, number, tz)
        for period, number in retention.periods()
        if period.is_last_in(created, each, tz)
    ]
    if retention.keep_last:
        ends.append(last_end(created, retention.keep_last, each))
    if retention.keep_within:
        ends.append(retention.keep_within.after(created, tz))
    return min(max(ends), LONGEST.after(created, tz)) if ends else None
