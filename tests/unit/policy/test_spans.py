"""Durations as people write them, and calendar arithmetic with them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from drunner_vault.errors import BadUsage
from drunner_vault.policy import Retention, Span, parse_duration

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "span", "again"),
    [
        ("36h", Span(hours=36), "36h"),
        ("30d", Span(days=30), "30d"),
        ("2w", Span(days=14), "14d"),
        ("6m", Span(months=6), "6m"),
        ("1y", Span(years=1), "1y"),
        ("1y5m7d2h", Span(1, 5, 7, 2), "1y5m7d2h"),
        ("1y2w1d", Span(1, 0, 15), "1y15d"),
        (" 007d ", Span(days=7), "7d"),
    ],
)
def test_a_duration_is_read_and_written_again(text: str, span: Span, again: str) -> None:
    assert parse_duration(text) == span
    assert str(span) == again
    assert parse_duration(again) == span


@pytest.mark.parametrize(
    "text", ["", " ", "30", "d", "30 d", "-3d", "3.5d", "3D", "3s", "1d1y", "1d2d", "0d", "0y0h", "٣d0x", "10000y"]
)
def test_what_is_no_duration_is_refused_and_how_to_write_one_is_told(text: str) -> None:
    with pytest.raises(BadUsage) as caught:
        parse_duration(text)
    assert repr(text) in caught.value.message
    assert "30d" in caught.value.hint


def test_nothing_is_written_as_no_hours() -> None:
    assert str(Span()) == "0h"


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(BadUsage):
        Span(days=-1)


@pytest.mark.parametrize(
    ("span", "moment", "before"),
    [
        (Span(years=1), "2024-02-29T12:00", "2023-02-28T12:00"),
        (Span(years=4), "2024-02-29T12:00", "2020-02-29T12:00"),
        (Span(months=1), "2026-03-31T12:00", "2026-02-28T13:00"),  # summer time to winter time
        (Span(months=3), "2026-01-15T12:00", "2025-10-15T11:00"),
        (Span(years=1, months=1), "2026-01-15T12:00", "2024-12-15T12:00"),
        (Span(days=1), "2026-03-29T12:00", "2026-03-28T13:00"),  # a day of 23 hours
        (Span(hours=24), "2026-03-29T12:00", "2026-03-28T12:00"),
        (Span(days=1), "2026-10-25T12:00", "2026-10-24T11:00"),  # a day of 25 hours
        (Span(days=1), "2026-03-30T00:30", "2026-03-29T00:30"),  # to 02:30, which never was: as 01:30
        (Span(days=1), "2026-10-26T01:30", "2026-10-25T00:30"),  # to 02:30, which was twice: the first
        (Span(years=9999), "2026-01-01T00:00", "0001-01-01T00:00"),
        (Span(days=999_999), "2026-01-01T00:00", "0001-01-01T00:00"),
    ],
)
def test_before_goes_by_the_calendar_of_the_place(span: Span, moment: str, before: str) -> None:
    assert span.before(utc(moment), BERLIN) == utc(before)


@pytest.mark.parametrize(
    ("span", "moment", "after"),
    [
        (Span(years=1), "2024-02-29T12:00", "2025-02-28T12:00"),
        (Span(months=1), "2026-01-31T12:00", "2026-02-28T12:00"),
        (Span(months=11), "2026-02-15T12:00", "2027-01-15T12:00"),
        (Span(days=1), "2026-03-28T12:00", "2026-03-29T11:00"),
        (Span(hours=24), "2026-03-28T12:00", "2026-03-29T12:00"),
        (Span(days=1, hours=1), "2026-03-27T22:30", "2026-03-28T23:30"),
        (Span(years=9000), "2026-01-01T00:00", "9999-12-31T23:59:59.999999"),
    ],
)
def test_after_goes_by_the_calendar_of_the_place(span: Span, moment: str, after: str) -> None:
    assert span.after(utc(moment), BERLIN) == utc(after)


@pytest.mark.parametrize("name", ["last", "hourly", "daily", "weekly", "monthly", "yearly"])
def test_a_number_below_unlimited_is_refused_by_its_name(name: str) -> None:
    Retention(**{f"keep_{name}": -1})
    with pytest.raises(BadUsage) as caught:
        Retention(**{f"keep_{name}": -2})
    assert caught.value.message == f"keep_{name} cannot be -2"
    assert "unlimited" in caught.value.hint


def test_any_one_rule_sets_a_retention() -> None:
    assert not Retention().is_set
    assert Retention(keep_within=Span(days=1)).is_set
    assert all(Retention(**{f"keep_{name}": 1}).is_set for name in ("last", "hourly", "daily", "weekly", "monthly"))
