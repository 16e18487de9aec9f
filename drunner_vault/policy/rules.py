"""What a person asks for: how many archives to keep, and for how long."""

from __future__ import annotations

import datetime as dt
import re
from calendar import monthrange
from dataclasses import dataclass, fields

from drunner_vault.errors import BadUsage
from drunner_vault.policy.periods import DAILY, FIRST, HOURLY, MONTHLY, NEVER, WEEKLY, YEARLY, Period, instant

_DURATION = re.compile(r"(?:(\d{1,4})y)?(?:(\d{1,5})m)?(?:(\d{1,5})w)?(?:(\d{1,6})d)?(?:(\d{1,7})h)?")
_HINT = "write it like 36h, 30d, 2w, 6m or 1y5m7d2h: years, months, weeks, days, hours"


@dataclass(frozen=True)
class Span:
    """A length of time in calendar years and months, days on the wall's clock (23 to 25 hours), and exact hours.

    Raises BadUsage if one of them is negative.
    """

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __post_init__(self) -> None:
        if min(self.years, self.months, self.days, self.hours) < 0:
            raise BadUsage("a duration cannot be negative", _HINT)

    def __str__(self) -> str:
        """As parse_duration reads it: 1y5m7d2h; weeks have become days."""
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number) or "0h"

    def before(self, moment: dt.datetime, tz: dt.tzinfo) -> dt.datetime:
        """The moment this long before another, in UTC. What is before the calendar's first year is its beginning."""
        try:
            local = _shifted(moment.astimezone(tz), -12 * self.years - self.months) - dt.timedelta(days=self.days)
            return instant(local) - dt.timedelta(hours=self.hours)
        except (ValueError, OverflowError):
            return FIRST

    def after(self, moment: dt.datetime, tz: dt.tzinfo) -> dt.datetime:
        """The moment this long after another, in UTC; NEVER if the calendar ends before.

        Counted in the opposite order, hours first, so that it is never later than what before() undoes: if
        before(x) > y then x >= after(y).
        """
        try:
            local = (moment + dt.timedelta(hours=self.hours)).astimezone(tz) + dt.timedelta(days=self.days)
            return instant(_shifted(local, 12 * self.years + self.months))
        except (ValueError, OverflowError):
            return NEVER


def _shifted(local: dt.datetime, months: int) -> dt.datetime:
    """The same day and time, months later; the month's last day where it has fewer."""
    years, month = divmod(local.month - 1 + months, 12)
    year = local.year + years
    return local.replace(year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1]))


def parse_duration(text: str) -> Span:
    """36h, 30d, 2w, 6m, 1y5m7d2h: years, months, weeks, days and hours, each at most once and in this order.

    Raises BadUsage for anything else, and for nothing at all.
    """
    match = _DURATION.fullmatch(text.strip())
    years, months, weeks, days, hours = (int(number or 0) for number in match.groups()) if match else (0,) * 5
    span = Span(years, months, 7 * weeks + days, hours)
    if span == Span():
        raise BadUsage(f"{text!r} is not a duration", _HINT)
    return span


@dataclass(frozen=True)
class Retention:
    """How many archives of a service to keep; an archive that any rule keeps is kept.

    keep_last: that many of the newest. keep_hourly to keep_yearly: the newest in each of the last that many periods
    which have one. -1 is unlimited, 0 is no such rule. keep_within: all that were made within this time before the
    newest. If there is no rule at all, everything is kept. Raises BadUsage for a number below -1.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: Span | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < -1:
                raise BadUsage(f"{field.name} cannot be {value}", "give a number; 0 is none, -1 is unlimited")

    @property
    def is_set(self) -> bool:
        """Whether there is any rule."""
        return self != Retention()

    def periods(self) -> list[tuple[Period, int]]:
        """The rules that go by calendar periods, shortest first, each with its number, which is not 0."""
        rules = (
            (HOURLY, self.keep_hourly),
            (DAILY, self.keep_daily),
            (WEEKLY, self.keep_weekly),
            (MONTHLY, self.keep_monthly),
            (YEARLY, self.keep_yearly),
        )
        return [(period, number) for period, number in rules if number]
