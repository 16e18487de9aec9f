"""Until when a new archive is locked: never longer than the rules keep it, and hardly shorter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pytest

from drunner_vault.policy import Candidate, Retention, Span, decide, lock_until
from drunner_vault.policy.locking import pace
from drunner_vault.policy.periods import next_backup

BERLIN = ZoneInfo("Europe/Berlin")
UTC = ZoneInfo("UTC")
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
USUAL = Retention(keep_daily=7, keep_weekly=4, keep_monthly=12, keep_yearly=3)

# The day in March 2026 on which an archive was made at 03:00, and the day with whose beginning its lock ends. Sundays
# (1, 8, 15, 22, 29) are kept for their week, until the Monday four weeks on; the 31st for its month.
MARCH = """
 1 2026-03-23    2 2026-03-09    3 2026-03-10    4 2026-03-11    5 2026-03-12    6 2026-03-13    7 2026-03-14
 8 2026-03-30    9 2026-03-16   10 2026-03-17   11 2026-03-18   12 2026-03-19   13 2026-03-20   14 2026-03-21
15 2026-04-06   16 2026-03-23   17 2026-03-24   18 2026-03-25   19 2026-03-26   20 2026-03-27   21 2026-03-28
22 2026-04-13   23 2026-03-30   24 2026-03-31   25 2026-04-01   26 2026-04-02   27 2026-04-03   28 2026-04-04
29 2026-04-20   30 2026-04-06   31 2027-03-01
"""


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def daily_before(created: dt.datetime, days: int = 10) -> list[dt.datetime]:
    return [created - number * DAY for number in range(1, days)]


@pytest.mark.parametrize(("day", "end"), list(zip(*[iter(MARCH.split())] * 2, strict=True)))
def test_daily_backups_are_locked_for_their_day_week_or_month(day: str, end: str) -> None:
    created = dt.datetime(2026, 3, int(day), 3, tzinfo=BERLIN).astimezone(dt.UTC)
    until = lock_until(created, daily_before(created), USUAL, BERLIN)
    assert until == dt.datetime.combine(dt.date.fromisoformat(end), dt.time(), BERLIN)


@pytest.mark.parametrize(
    ("created", "retention", "zone", "until"),
    [
        # The last of the year, until the third one after has begun.
        ("2026-12-31T02:00", USUAL, "Europe/Berlin", "2028-12-31T23:00"),
        # Local midnights on either side of the change.
        ("2026-03-25T02:00", Retention(keep_daily=4), "Europe/Berlin", "2026-03-28T23:00"),
        ("2026-03-25T02:00", Retention(keep_daily=5), "Europe/Berlin", "2026-03-29T22:00"),
        # A day that begins at one o'clock.
        ("2018-11-03T12:00", Retention(keep_daily=1), "America/Sao_Paulo", "2018-11-04T03:00"),
        ("2024-04-25T12:00", Retention(keep_daily=1), "Africa/Cairo", "2024-04-25T22:00"),
        # The day after 29 December is the 31st.
        ("2011-12-29T22:00", Retention(keep_daily=1), "Pacific/Apia", "2011-12-30T10:00"),
        # Half past midnight before a day of 25 hours: the next is due tomorrow, not at half past eleven tonight.
        ("2026-10-24T22:30", Retention(keep_daily=2), "Europe/Berlin", "2026-10-26T23:00"),
        ("2024-02-29T12:00", Retention(keep_daily=1, keep_monthly=12), "UTC", "2025-02-01T00:00"),
        ("2020-12-31T12:00", Retention(keep_monthly=1), "UTC", "2021-01-01T00:00"),
        ("2021-01-03T12:00", Retention(keep_weekly=1), "UTC", "2021-01-04T00:00"),
        ("2026-05-06T12:00", Retention(keep_weekly=4), "UTC", None),
        ("2026-05-06T12:00", Retention(keep_yearly=4), "UTC", None),
        ("2026-05-06T12:00", Retention(), "UTC", None),
        ("2026-05-06T12:00", Retention(keep_hourly=5), "UTC", "2026-05-06T17:00"),
        ("2026-05-06T12:59", Retention(keep_hourly=1), "UTC", "2026-05-06T13:00"),
        ("2026-05-06T12:00", Retention(keep_last=3), "UTC", "2026-05-09T12:00"),
        ("2026-05-06T12:00", Retention(keep_within=Span(days=30)), "UTC", "2026-06-05T12:00"),
        ("2026-05-06T12:00", Retention(keep_last=3, keep_daily=7, keep_within=Span(days=2)), "UTC", "2026-05-13T00:00"),
        # Ten years are the most, for unlimited rules and for others.
        ("2026-05-06T12:00", Retention(keep_last=-1), "UTC", "2036-05-06T12:00"),
        ("2024-02-29T12:00", Retention(keep_daily=-1), "UTC", "2034-02-28T12:00"),
        ("2026-05-06T12:00", Retention(keep_yearly=-1), "UTC", None),
        ("2026-12-31T12:00", Retention(keep_yearly=11), "UTC", "2036-12-31T12:00"),
        ("2026-12-31T12:00", Retention(keep_yearly=10), "UTC", "2036-01-01T00:00"),
        ("2026-12-31T12:00", Retention(keep_yearly=10**12), "UTC", "2036-12-31T12:00"),
        ("2026-12-31T12:00", Retention(keep_last=10**12), "UTC", "2036-12-31T12:00"),
        ("2026-12-31T12:00", Retention(keep_within=Span(years=100)), "UTC", "2036-12-31T12:00"),
    ],
)
def test_a_lock_of_daily_backups_ends_when_its_slot_does(
    created: str, retention: Retention, zone: str, until: str | None
) -> None:
    tz = ZoneInfo(zone)
    end = lock_until(utc(created), daily_before(utc(created)), retention, tz)
    assert end == (utc(until) if until else None)


def test_of_hourly_backups_only_the_last_of_a_day_is_locked_for_the_day() -> None:
    for hour in range(24):
        created = dt.datetime(2026, 5, 6, hour, 15, tzinfo=dt.UTC)
        until = lock_until(created, [created - HOUR, created - 2 * HOUR], Retention(keep_daily=7), UTC)
        assert until == (utc("2026-05-13T00:00") if hour == 23 else None)


def test_in_the_second_of_two_equal_hours_frequent_backups_stay_in_it() -> None:
    created = utc("2026-10-25T01:10")
    half = dt.timedelta(minutes=30)
    ends = [
        lock_until(created + wait, [created + wait - half], Retention(keep_hourly=5), BERLIN)
        for wait in (0 * half, half)
    ]
    assert ends == [None, utc("2026-10-25T06:00")]


def test_the_half_hours_of_lord_howe_are_hours() -> None:
    created = utc("2026-04-04T13:10")  # 00:10; the hours after are 01, 01 once more, 02
    tz = ZoneInfo("Australia/Lord_Howe")
    ends = [lock_until(created, [created - HOUR], Retention(keep_hourly=number), tz) for number in (1, 2, 3, 4)]
    assert ends == [utc(f"2026-04-04T{time}") for time in ("14:00", "15:00", "15:30", "16:30")]


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([], 24),
        ([0], 24),
        ([0, 6], 6),
        ([6, 0, 0.5], 0.5),
        ([0, 0, 0], 1 / 60),
        ([0, 1, 2, 50], 1),
        ([0, 1, 2, 50, 100], 48),
        ([-5000, -3000, -700, 0, 24], 24),
        # clocks that change, and timers that are a little late
        ([0, 23], 24),
        ([0, 25.4], 24),
        ([0, 10.6], 12),
        ([0, 167], 168),
        ([0, 22], 22),
        ([0, 8], 8),
        ([0, 1.4], 1.4),
    ],
)
def test_the_pace_is_the_shorter_of_the_last_two_intervals_nearly_half_days_being_that(
    hours: list[float], expected: float
) -> None:
    start = utc("2026-05-01T00:00")
    assert pace([start + number * HOUR for number in hours]) == expected * HOUR


def test_what_a_clock_that_ran_ahead_made_does_not_change_the_pace() -> None:
    created = utc("2026-05-06T12:00")
    ahead = [created + number * dt.timedelta(minutes=1) for number in range(1, 20)]
    assert lock_until(created, [*daily_before(created), *ahead], USUAL, UTC) == utc("2026-05-13T00:00")


@dataclass
class Kept:
    """An archive in the simulation. until: its lock. let_go: when the rules no longer kept it."""

    created: dt.datetime
    until: dt.datetime | None
    let_go: dt.datetime | None = None


def regular(start: dt.datetime, every: dt.timedelta, days: int, tz: ZoneInfo) -> Iterator[dt.datetime]:
    moment = start
    while moment < start + days * DAY:
        yield moment
        moment = next_backup(moment, every, tz)


@dataclass
class Pruned:
    """An archive while backups and pruning go on. until: its lock."""

    created: dt.datetime
    until: dt.datetime | None


THINNED = {
    "a week and weeks": Retention(keep_daily=7, keep_weekly=4, keep_monthly=12, keep_yearly=3),
    "a day and months": Retention(keep_daily=1, keep_monthly=12),
    "days and many weeks": Retention(keep_daily=3, keep_weekly=20),
    "the last and years": Retention(keep_last=1, keep_yearly=2),
}


@pytest.mark.parametrize("hours", [24, 8, 1])
@pytest.mark.parametrize("name", THINNED)
def test_no_lock_outlasts_the_rules_though_only_what_pruning_has_left_is_known(name: str, hours: int) -> None:
    """With the locks obeyed for a year of steady backups, hourly ones for two months, no more is there than rules ask
    for."""
    retention, start = THINNED[name], utc("2026-01-01T02:10")
    there = [Pruned(start - hours * HOUR, None)]
    for now in regular(start, hours * HOUR, 365 if hours > 1 else 60, BERLIN):
        known = [archive.created for archive in there]
        there.append(Pruned(now, lock_until(now, known, retention, BERLIN)))
        free = [Candidate(archive.created.isoformat(), archive.created) for archive in there]
        decisions = {decision.key: decision for decision in decide(free, retention, now, BERLIN)}
        for archive in list(there):
            decision = decisions[archive.created.isoformat()]
            if not decision.keep:
                # an hour, if clocks changed between
                assert archive.until is None or archive.until <= now + HOUR, archive
                there.remove(archive)
            elif decision.expires and (archive.until is None or archive.until < decision.expires):
                archive.until = decision.expires  # as prune makes locks longer


def simulate(retention: Retention, start: str, every: dt.timedelta, days: int, tz: ZoneInfo) -> list[Kept]:
    """Back up at a regular pace for so many days, lock, and prune after each; all archives that were let go.

    It is asked what the rules alone would do, so an archive leaves when they let go of it, whatever its lock.
    There were others before the first, at the same pace.
    """
    gone: list[Kept] = []
    there: dict[str, Kept] = {}
    earlier = [utc(start) - number * every for number in range(1, 12)]
    for now in regular(utc(start), every, days, tz):
        there[now.isoformat()] = Kept(now, lock_until(now, earlier[-20:], retention, tz))
        earlier.append(now)
        candidates = [Candidate(key, kept.created) for key, kept in there.items()]
        for decision in decide(candidates, retention, now, tz):
            if not decision.keep:
                there[decision.key].let_go = now
                gone.append(there.pop(decision.key))
    return gone


SERVICES = {
    "daily": (USUAL, "2026-01-01T02:00", DAY, 400, BERLIN),
    "daily at half past midnight": (USUAL, "2026-01-01T23:30", DAY, 400, BERLIN),
    "daily in the hour that changes": (USUAL, "2026-01-01T01:30", DAY, 400, BERLIN),
    "daily, few rules": (Retention(keep_last=3, keep_within=Span(days=10)), "2026-01-01T02:00", DAY, 400, BERLIN),
    "within months": (Retention(keep_within=Span(months=1, days=1)), "2026-01-01T02:00", DAY, 400, BERLIN),
    "every eight hours": (USUAL, "2026-01-01T05:00", 8 * HOUR, 400, ZoneInfo("America/New_York")),
    "hourly": (Retention(keep_hourly=30, keep_daily=3), "2026-03-20T00:10", HOUR, 20, BERLIN),
    "hourly in autumn": (Retention(keep_hourly=30, keep_daily=3), "2026-10-18T00:10", HOUR, 20, BERLIN),
    "hourly where half hours change": (
        Retention(keep_hourly=30, keep_daily=3),
        "2026-03-28T00:10",
        HOUR,
        20,
        ZoneInfo("Australia/Lord_Howe"),
    ),
}
SLOWER = {
    "weekly, kept by days": (USUAL, "2026-01-01T02:00", 7 * DAY, 400, BERLIN),
    "monthly, or nearly": (USUAL, "2020-01-01T02:00", 30 * DAY, 4000, BERLIN),
}


@pytest.mark.parametrize("name", [*SERVICES, *SLOWER])
def test_at_a_regular_pace_no_lock_outlasts_the_rules(name: str) -> None:
    gone = simulate(*(SERVICES | SLOWER)[name])
    assert len(gone) > 20
    assert [kept for kept in gone if kept.until and kept.let_go and kept.until > kept.let_go] == []


@pytest.mark.parametrize("name", SERVICES)
def test_where_every_period_has_a_backup_no_lock_ends_more_than_an_interval_early(name: str) -> None:
    retention, _, every, _, _ = SERVICES[name]
    gone = simulate(*SERVICES[name])
    # A month after 28 February and a month before 31 March are three days apart; clocks change by an hour.
    slack = 3 * DAY if retention.keep_within and retention.keep_within.months else HOUR
    assert len(gone) > 20
    for kept in gone:
        assert kept.let_go
        assert kept.let_go - (kept.until or kept.created) <= every + slack, kept


@pytest.mark.parametrize("name", [*SERVICES, *SLOWER])
def test_what_the_rules_keep_beyond_the_next_backup_was_locked_from_the_start(name: str) -> None:
    retention, start, every, days, tz = (SERVICES | SLOWER)[name]
    for kept in simulate(retention, start, every, days, tz):
        replaced_at_once = kept.let_go == next_backup(kept.created, every, tz)
        assert replaced_at_once or (kept.until and kept.until > kept.created), kept
