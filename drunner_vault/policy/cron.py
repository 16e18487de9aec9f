"""When a job is due: schedules as cron has them, and the moments at which they fire.

A schedule is five fields (minute, hour, day of the month, month, day of the week), or a name such as @daily. Each
field is `*`, a number or name, a range, any of them with a step, or several of them with commas between. Where both
kinds of day are restricted, a day that either names will do; one that begins with * does not count as restricted, but
what it names must be met (crontab(5)).

Clocks that change: a time on the wall that is skipped fires when the gap ends, and one that is shown twice fires the
first time only. Schedules with * for the hour go by how often, not when: they fire whenever the clock shows it.
"""

from __future__ import annotations

import datetime as dt
import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from drunner_vault.errors import BadUsage

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LEAP_YEAR = 2024
_DAY = dt.timedelta(days=1)
_FURTHEST = 40 * 366  # days: 29 February on a certain day of the week comes every 28 years, with 2100 between every 40
_WIDEST_CHANGE = dt.timedelta(hours=3)  # that clocks make at a time, but for the date line
_ON_TIME = dt.timedelta(minutes=10)


@dataclass(frozen=True)
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    first_name: int = 0


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True)
class Schedule:
    """When something is to be done. text: the five fields. The numbers of each are sorted; Sunday is 0.

    any_day, any_weekday: whether that field begins with *. frequent: whether that of the hour does.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    any_day: bool
    any_weekday: bool
    frequent: bool

    @property
    def either_day(self) -> bool:
        """Whether a day that either field names will do, rather than one that both name."""
        return not self.any_day and not self.any_weekday

    def on(self, date: dt.date) -> bool:
        """Whether it fires on this day."""
        if date.month not in self.months:
            return False
        by_day, by_weekday = date.day in self.days, date.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either_day else by_day and by_weekday

    def next(self, after: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
        """The first moment after this one at which it fires, in UTC. zone: whose clock it goes by."""
        start = _wall(after, zone) - _WIDEST_CHANGE
        for date in self._dates(start.date(), _DAY):
            moments = [moment for moment in self._moments(date, zone, start, None) if moment > after]
            if moments:
                return min(moments)
        raise AssertionError(f"{self.text} never fires")

    def previous(self, until: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
        """The last moment at which it fired, up to and with this one, in UTC. zone: whose clock it goes by."""
        end = _wall(until, zone) + _WIDEST_CHANGE
        for date in self._dates(end.date(), -_DAY):
            moments = [moment for moment in self._moments(date, zone, None, end) if moment <= until]
            if moments:
                return max(moments)
        raise AssertionError(f"{self.text} never fires")

    def longest_gap(self) -> dt.timedelta:
        """The longest time between two firings, on the wall's clock: where clocks go back, an hour more passes."""
        times = [60 * hour + minute for hour in self.hours for minute in self.minutes]
        within = max((later - earlier for earlier, later in pairwise(times)), default=0)
        dates = list(self._dates(dt.date(2001, 1, 1), _DAY))
        apart = max(later - earlier for earlier, later in pairwise(dates))
        return max(dt.timedelta(minutes=within), apart - dt.timedelta(minutes=times[-1] - times[0]))

    def _dates(self, first: dt.date, step: dt.timedelta) -> Iterator[dt.date]:
        return (date for number in range(_FURTHEST) if self.on(date := first + number * step))

    def _moments(
        self, date: dt.date, zone: dt.tzinfo, start: dt.datetime | None, end: dt.datetime | None
    ) -> Iterator[dt.datetime]:
        """The moments at which it fires on a day, for times on the wall from start to end."""
        for hour in self.hours:
            for minute in self.minutes:
                wall = dt.datetime.combine(date, dt.time(hour, minute))
                if (start is None or wall >= start) and (end is None or wall <= end):
                    yield from self._moments_of(wall, zone)

    def _moments_of(self, wall: dt.datetime, zone: dt.tzinfo) -> Iterator[dt.datetime]:
        """The moments that a time on the wall stands for: one, or for frequent schedules any number."""
        first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
        if first > second:  # it is skipped
            if not self.frequent:
                yield _gap_end(second, first, zone)
            return
        yield first
        if self.frequent and second != first:
            yield second


def parse_schedule(text: str) -> Schedule:
    """The schedule of five fields, or of @daily and the like. Raises BadUsage, naming the field that is wrong."""
    given = text.strip().lower()
    if given.startswith("@"):
        if given not in _NAMED:
            raise BadUsage(
                f"{text!r} is no schedule", f"known are: {', '.join(_NAMED)}; or five fields, as in 30 2 * * *"
            )
        given = _NAMED[given]
    fields = given.split()
    if len(fields) != len(_FIELDS):
        raise BadUsage(
            f"{text!r} is no schedule: it has {len(fields)} fields instead of five",
            "write minute, hour, day of the month, month and day of the week, as in 30 2 * * *",
        )
    minutes, hours, days, months, weekdays = (
        _numbers(field, part, text) for field, part in zip(_FIELDS, fields, strict=True)
    )
    weekdays = tuple(sorted({number % 7 for number in weekdays}))
    any_day, any_weekday = fields[2].startswith("*"), fields[4].startswith("*")
    frequent = fields[1].startswith("*") or len(hours) == 24
    schedule = Schedule(" ".join(fields), minutes, hours, days, months, weekdays, any_day, any_weekday, frequent)
    if not schedule.either_day and all(days[0] > monthrange(_LEAP_YEAR, month)[1] for month in months):
        names = ", ".join(_MONTHS[month - 1].capitalize() for month in months)
        raise BadUsage(f"{text!r} never happens: there is no {days[0]} in {names}", "choose a day that there is")
    return schedule


def is_due(
    schedule: Schedule,
    zone: dt.tzinfo,
    last_started: dt.datetime | None,
    now: dt.datetime,
    *,
    catch_up: bool = True,
    jitter: float = 0.0,
) -> bool:
    """Whether a job that was last started then is to be started now.

    catch_up: also when its time has passed longer ago, since the machine was off. jitter: seconds by which whoever asks
    may have waited. What was never started is due at its time only, not for all the times before it was known.
    """
    fired = schedule.previous(now, zone)
    if last_started is not None and last_started >= fired:
        return False
    return (catch_up and last_started is not None) or now - fired <= _ON_TIME + dt.timedelta(seconds=jitter)


def _wall(moment: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _gap_end(before: dt.datetime, after: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """When clocks go forward, between two moments."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > dt.timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _numbers(field: _Field, part: str, text: str) -> tuple[int, ...]:
    """The numbers that a field allows."""
    found: set[int] = set()
    for item in part.split(","):
        match = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", item)
        if match is None:
            raise _wrong(field, item, text)
        step = int(match[3] or 1)
        first = field.least if match[1] is None else _number(field, match[1], item, text)
        last = _last(field, match, first, item, text)
        if not 1 <= step <= field.most or first > last:
            raise _wrong(field, item, text)
        found.update(range(first, last + 1, step))
    return tuple(sorted(found))


def _last(field: _Field, match: re.Match[str], first: int, item: str, text: str) -> int:
    if match[2] is not None:
        last = _number(field, match[2], item, text)
        ends_with_the_week = field.names is _DAYS and last == 0 and first > 0  # as fri-sun; 0-0 is Sunday alone
        return 7 if ends_with_the_week else last
    open_ended = match[1] is None or match[3] is not None  # 5/10 is 5-59/10
    return (6 if field.names is _DAYS else field.most) if open_ended else first


def _number(field: _Field, word: str, item: str, text: str) -> int:
    if word in field.names:
        return field.first_name + field.names.index(word)
    if not re.fullmatch(r"[0-9]{1,2}", word) or not field.least <= int(word) <= field.most:
        raise _wrong(field, item, text)
    return int(word)


def _wrong(field: _Field, item: str, text: str) -> BadUsage:
    names = f", or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return BadUsage(
        f"{text!r} is no schedule: {item!r} is no {field.name}",
        f"allowed are {field.least} to {field.most}{names}, as in *, 5, 1-5, */10, 1,15",
    )
