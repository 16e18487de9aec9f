"""Schedules: what they say, when they fire, and what is no schedule. systemd is a second opinion."""

from __future__ import annotations

import datetime as dt
import subprocess
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drunner_vault.errors import BadUsage
from drunner_vault.policy import is_due, parse_schedule
from drunner_vault.schedules.systemd import calendar

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
APIA = ZoneInfo("Pacific/Apia")
MINUTE = dt.timedelta(minutes=1)


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def local(text: str, zone: ZoneInfo, fold: int = 0) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(dt.UTC)


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-01T00:00", "2026-03-01T02:30"),
        ("30 2 * * *", "2026-03-01T02:30", "2026-03-02T02:30"),
        ("@daily", "2026-03-01T00:00", "2026-03-02T00:00"),
        ("@midnight", "2026-12-31T12:00", "2027-01-01T00:00"),
        ("@hourly", "2026-03-01T00:00", "2026-03-01T01:00"),
        ("@weekly", "2026-03-02T00:00", "2026-03-08T00:00"),
        ("@monthly", "2026-03-02T00:00", "2026-04-01T00:00"),
        ("@yearly", "2026-03-02T00:00", "2027-01-01T00:00"),
        ("@ANNUALLY", "2026-03-02T00:00", "2027-01-01T00:00"),
        ("*/20 * * * *", "2026-03-01T00:00", "2026-03-01T00:20"),
        ("5/20 * * * *", "2026-03-01T00:46", "2026-03-01T01:05"),
        ("0 9-17/4 * * *", "2026-03-01T10:00", "2026-03-01T13:00"),
        ("0 0 29 feb *", "2026-03-01T00:00", "2028-02-29T00:00"),
        ("0 0 29 2 *", "2097-01-01T00:00", "2104-02-29T00:00"),
        ("0 0 * * 7", "2026-03-02T00:00", "2026-03-08T00:00"),
        ("0 0 * * Fri-Sun", "2026-03-01T00:00", "2026-03-06T00:00"),
        ("0 0 * * 5-7", "2026-03-07T00:00", "2026-03-08T00:00"),
        ("0 0 * * sun-sun", "2026-03-02T00:00", "2026-03-08T00:00"),
        ("0 0 * * 0-0", "2026-03-02T00:00", "2026-03-08T00:00"),
        ("0 0 13 * fri", "2026-03-01T00:00", "2026-03-06T00:00"),  # one or the other
        ("0 0 13 * fri", "2026-04-11T00:00", "2026-04-13T00:00"),
        ("0 0 */2 * mon", "2026-03-01T00:00", "2026-03-09T00:00"),  # both: an odd day that is a Monday
        ("0 0 1,15 jan-mar,DEC *", "2026-03-16T00:00", "2026-12-01T00:00"),
    ],
)
def test_a_schedule_fires_next(text: str, after: str, expected: str) -> None:
    assert parse_schedule(text).next(utc(after), dt.UTC) == utc(expected)


@pytest.mark.parametrize(
    ("text", "field", "allowed"),
    [
        ("60 * * * *", "'60' is no minute", "0 to 59"),
        ("* 24 * * *", "'24' is no hour", "0 to 23"),
        ("* * 0 * *", "'0' is no day of the month", "1 to 31"),
        ("* * 32 * *", "'32' is no day of the month", "1 to 31"),
        ("* * * 13 *", "'13' is no month", "1 to 12, or jan to dec"),
        ("* * * * 8", "'8' is no day of the week", "0 to 7, or sun to sat"),
        ("* * * * monday", "'monday' is no day of the week", "sun to sat"),
        ("10-5 * * * *", "'10-5' is no minute", "1-5"),
        ("*/0 * * * *", "'*/0' is no minute", "*/10"),
        ("*/99 * * * *", "'*/99' is no minute", "*/10"),
        ("1,,2 * * * *", "'' is no minute", "1,15"),
        ("-5 * * * *", "'-5' is no minute", "0 to 59"),
        ("٣ * * * *", "'٣' is no minute", "0 to 59"),
        ("? * * * *", "'?' is no minute", "0 to 59"),
        ("0 0 30 2 *", "there is no 30 in Feb", "a day that there is"),
        ("0 0 31 4,6,sep *", "there is no 31 in Apr, Jun, Sep", "a day that there is"),
        ("* * * *", "4 fields instead of five", "30 2 * * *"),
        ("0 0 2 * * *", "6 fields instead of five", "30 2 * * *"),
        ("", "0 fields", "30 2 * * *"),
        ("@reboot", "'@reboot' is no schedule", "@daily"),
        ("@dayly", "'@dayly' is no schedule", "@daily"),
    ],
)
def test_what_is_no_schedule_is_said_with_the_field_and_what_is_allowed(text: str, field: str, allowed: str) -> None:
    with pytest.raises(BadUsage) as told:
        parse_schedule(text)
    assert field in told.value.message
    assert allowed in told.value.hint


def test_a_day_that_some_years_lack_and_one_of_two_that_there_is_are_possible() -> None:
    assert parse_schedule("0 0 30 2,3 *").next(utc("2026-01-01"), dt.UTC) == utc("2026-03-30")
    assert parse_schedule("0 0 30 2 mon").next(utc("2026-02-03"), dt.UTC) == utc("2026-02-09")


@pytest.mark.parametrize(
    ("zone", "text", "after", "expected"),
    [
        # clocks go from 2:00 to 3:00
        (BERLIN, "30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        (BERLIN, "0,30 2 * * *", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        (BERLIN, "30 * * * *", "2026-03-29T00:00", ["2026-03-29T00:30", "2026-03-29T01:30"]),
        # and from 3:00 to 2:00
        (BERLIN, "30 2 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        (BERLIN, "30 * * * *", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]),
        # by half an hour
        (LORD_HOWE, "15 2 * * *", "2026-10-03T00:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        (LORD_HOWE, "45 1 * * *", "2026-04-04T00:00", ["2026-04-04T14:45", "2026-04-05T15:15"]),
        # 30 December 2011 was skipped
        (APIA, "0 2 * * *", "2011-12-29T13:00", ["2011-12-30T10:00", "2011-12-30T12:00"]),
    ],
)
def test_a_time_that_is_skipped_fires_after_the_gap_and_one_shown_twice_fires_once(
    zone: ZoneInfo, text: str, after: str, expected: list[str]
) -> None:
    schedule, moment = parse_schedule(text), utc(after)
    for each in expected:
        moment = schedule.next(moment, zone)
        assert moment == utc(each)
    assert schedule.previous(moment, zone) == moment
    assert schedule.previous(moment - MINUTE, zone) == utc(expected[-2])


PARTS = (
    st.sampled_from(["*", "*/7", "0", "59", "10-20", "1,2,50", "*/30"]),
    st.sampled_from(["*", "*/5", "0", "1", "2", "3", "2,3", "22-23", "1-4"]),
    st.sampled_from(["*", "*/9", "1", "28-31", "25,29", "31"]),
    st.sampled_from(["*", "3", "10", "3,10,11", "*/2"]),
    st.sampled_from(["*", "0", "7", "mon-fri", "*/3", "sun"]),
)
ZONES = st.sampled_from([ZoneInfo("UTC"), BERLIN, NEW_YORK, LORD_HOWE])
MOMENTS = st.one_of(
    st.integers(0, 3 * 366 * 1440).map(lambda minutes: utc("2025-01-01") + minutes * MINUTE),
    st.integers(0, 6 * 60).map(lambda minutes: utc("2026-03-28T22:00") + minutes * MINUTE),
    st.integers(0, 6 * 60).map(lambda minutes: utc("2026-10-24T22:00") + minutes * MINUTE),
)


@settings(max_examples=150, deadline=None)
@given(st.tuples(*PARTS).map(" ".join), ZONES, MOMENTS)
def test_between_two_firings_there_is_none(text: str, zone: ZoneInfo, moment: dt.datetime) -> None:
    """Minute by minute, for as far as that is quick: the clock on the wall shows nothing of the schedule."""
    try:
        schedule = parse_schedule(text)
    except BadUsage:
        return
    first = schedule.next(moment, zone)
    assert first > moment
    assert schedule.previous(first, zone) == first
    before = schedule.previous(first - MINUTE, zone)
    assert before <= moment
    assert schedule.next(before, zone) == first
    assert first - before <= schedule.longest_gap() + dt.timedelta(hours=1)
    at = moment + MINUTE
    while at < min(first, moment + dt.timedelta(hours=8)):
        wall = at.astimezone(zone)
        shown = wall.minute in schedule.minutes and wall.hour in schedule.hours and schedule.on(wall.date())
        assert not shown or wall.fold == 1
        at += MINUTE


@pytest.mark.parametrize(
    ("text", "gap"),
    [
        ("@hourly", dt.timedelta(hours=1)),
        ("@daily", dt.timedelta(days=1)),
        ("@weekly", dt.timedelta(days=7)),
        ("@monthly", dt.timedelta(days=31)),
        ("@yearly", dt.timedelta(days=366)),
        ("*/15 * * * *", dt.timedelta(minutes=15)),
        ("0 8,20 * * *", dt.timedelta(hours=12)),
        ("0 8-17 * * mon-fri", dt.timedelta(days=2, hours=15)),
        ("0 0 29 2 *", dt.timedelta(days=4 * 365 + 1)),
        ("0 0 29 2 */7", dt.timedelta(days=28 * 365 + 7)),  # a Sunday too
    ],
)
def test_the_longest_gap_is_known(text: str, gap: dt.timedelta) -> None:
    assert parse_schedule(text).longest_gap() == gap


def test_a_job_is_due_once_for_each_firing() -> None:
    daily, now = parse_schedule("30 2 * * *"), utc("2026-05-02T02:30")
    assert is_due(daily, dt.UTC, now - dt.timedelta(days=1), now)
    assert not is_due(daily, dt.UTC, now, now + MINUTE)
    assert not is_due(daily, dt.UTC, now, now + dt.timedelta(hours=23))
    assert is_due(daily, dt.UTC, now, now + dt.timedelta(hours=30))
    assert not is_due(daily, dt.UTC, now, now + dt.timedelta(hours=30), catch_up=False)
    assert is_due(daily, dt.UTC, now - dt.timedelta(days=1), now + MINUTE, catch_up=False)
    half_an_hour = now + 30 * MINUTE
    assert not is_due(daily, dt.UTC, now - dt.timedelta(days=1), half_an_hour, catch_up=False)
    assert is_due(daily, dt.UTC, now - dt.timedelta(days=1), half_an_hour, catch_up=False, jitter=1800)


def test_a_job_that_was_never_started_is_due_at_its_time_only() -> None:
    daily, now = parse_schedule("30 2 * * *"), utc("2026-05-02T02:30")
    assert is_due(daily, dt.UTC, None, now + MINUTE)
    assert not is_due(daily, dt.UTC, None, now + dt.timedelta(hours=3))


@pytest.mark.parametrize(
    "text",
    [
        "30 2 * * *", "*/15 8-18 * * mon-fri", "0 0 13 * fri", "0 0 */2 * mon", "0 0 29 2 *", "5 4 1,15 * sun",
        "59 23 31 * *", "0 0 1-31 * mon", "0 0 5 * 0-6", "@hourly", "@weekly", "@yearly", "* * * * *",
    ],
)  # fmt: skip
def test_systemd_reads_our_calendar_as_we_do(systemd: None, text: str) -> None:
    schedule, moment = parse_schedule(text), utc("2026-05-01T12:00")
    expected = []
    for _ in range(6):
        moment = schedule.next(moment, BERLIN)
        expected.append(moment)
    found: set[dt.datetime] = set()
    for expression in calendar(schedule, "Europe/Berlin"):
        command = ["systemd-analyze", "calendar", "--iterations=6", "--base-time=2026-05-01 12:00 UTC", expression]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin"}
        )
        for line in done.stdout.splitlines():
            label, _, value = line.partition(": ")
            if label.strip() == "Next elapse" or label.strip().startswith("Iter"):
                found.add(dt.datetime.strptime(value.strip(), "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=dt.UTC))
    assert sorted(found)[:6] == expected
