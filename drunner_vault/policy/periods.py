"""Hours, days, weeks, months and years as the clock on the wall counts them, and the moments where they begin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

_HOUR = dt.timedelta(hours=1)
_HALF_A_DAY = dt.timedelta(hours=12)

FIRST = dt.datetime.min.replace(tzinfo=dt.UTC)
NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)
"""The end of what has no end, and of what ends after the calendar does."""


def instant(wall: dt.datetime) -> dt.datetime:
    """The moment in UTC at which the clock of wall's time zone shows it.

    The first of the two where clocks go back. Where they go forward and never show it, the earlier of the two moments
    it could mean: at midnight, that is when the day begins.
    """
    return min(wall.replace(fold=fold).astimezone(dt.UTC) for fold in (0, 1))


def day_start(day: dt.date, tz: dt.tzinfo | None) -> dt.datetime:
    """The moment in UTC at which a day begins in tz, be it not at midnight."""
    midnight = dt.datetime.combine(day, dt.time(), tz)
    # In a gap, fold 0 is read with the offset before it, which for a gap that begins at midnight gives its very moment.
    return midnight.astimezone(dt.UTC)


def next_backup(created: dt.datetime, pace: dt.timedelta, tz: dt.tzinfo) -> dt.datetime:
    """When the next archive is to be expected, in UTC.

    Timers that go off once or twice a day do so at the same time on the wall; what is more frequent does not care.
    """
    if pace < _HALF_A_DAY:
        return created + pace
    # Where the clock skips that time, a timer goes off later, not earlier.
    return (created.astimezone(tz) + pace).replace(fold=0).astimezone(dt.UTC)


@dataclass(frozen=True)
class Period:
    """One kind of calendar period.

    name: as in reasons, "daily". label: names the period that a local time is in, and no other period of that kind.
    following: from a local time and a number n, the moment at which the n-th period after that time's begins.
    """

    name: str
    label: Callable[[dt.datetime], str]
    following: Callable[[dt.datetime, int], dt.datetime]

    def of(self, moment: dt.datetime, tz: dt.tzinfo) -> str:
        """The label of the period that a moment is in."""
        return self.label(moment.astimezone(tz))

    def end(self, moment: dt.datetime, number: int, tz: dt.tzinfo) -> dt.datetime:
        """When the number-th period after that of moment begins, in UTC; NEVER where number is negative: unlimited."""
        if number < 0:
            return NEVER
        try:
            return self.following(moment.astimezone(tz), number)
        except (ValueError, OverflowError):
            return NEVER

    def is_last_in(self, created: dt.datetime, pace: dt.timedelta, tz: dt.tzinfo) -> bool:
        """Whether the archive made after this one, at this pace, will be in another period."""
        return self.of(created, tz) != self.of(next_backup(created, pace, tz), tz)


def _hour_label(local: dt.datetime) -> str:
    # With the offset: when clocks go back, two different hours have the same name.
    return f"{local:%Y-%m-%d %H:00 %z}"


def _hour_start(local: dt.datetime) -> dt.datetime:
    moment = local.astimezone(dt.UTC)
    start = moment - dt.timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    # Where clocks change by half an hour, an hour may begin at half past.
    return start if start.astimezone(local.tzinfo).utcoffset() == local.utcoffset() else moment


def _hours(local: dt.datetime, number: int) -> dt.datetime:
    later = _hour_start(local) + number * _HOUR
    return _hour_start(later.astimezone(local.tzinfo))


def _week_label(local: dt.datetime) -> str:
    year, week, _ = local.isocalendar()
    return f"{year}-W{week:02}"


def _days(local: dt.datetime, number: int) -> dt.datetime:
    return day_start(local.date() + dt.timedelta(days=number), local.tzinfo)


def _weeks(local: dt.datetime, number: int) -> dt.datetime:
    return _days(local, 7 * number - local.weekday())


def _months(local: dt.datetime, number: int) -> dt.datetime:
    years, month = divmod(local.month - 1 + number, 12)
    return day_start(dt.date(local.year + years, month + 1, 1), local.tzinfo)


def _years(local: dt.datetime, number: int) -> dt.datetime:
    return day_start(dt.date(local.year + number, 1, 1), local.tzinfo)


HOURLY = Period("hourly", _hour_label, _hours)
DAILY = Period("daily", lambda local: f"{local:%Y-%m-%d}", _days)
WEEKLY = Period("weekly", _week_label, _weeks)
MONTHLY = Period("monthly", lambda local: f"{local:%Y-%m}", _months)
YEARLY = Period("yearly", lambda local: f"{local:%Y}", _years)
