"""Whatever archives there are and whatever is asked for: what always holds of retention."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import fields, replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from drunner_vault.policy import Candidate, Decision, Retention, Span, decide, lock_until

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = ("keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
ZONES = st.sampled_from(
    [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo")]
)
# Close to the days on which clocks change, and to the year's end.
EDGES = [
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 4, 4, 15, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 25, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 1, 6, tzinfo=dt.UTC),
]
NOW = dt.datetime(2026, 11, 5, 12, tzinfo=dt.UTC)
MINUTES = st.one_of(
    st.integers(-5, 5).map(lambda hours: 60 * hours), st.integers(-400, 400), st.integers(-50_000, 50_000)
)
MOMENTS = st.builds(lambda edge, minutes: edge + dt.timedelta(minutes=minutes), st.sampled_from(EDGES), MINUTES)
PAST = MOMENTS.filter(lambda moment: moment <= NOW)
SPANS = st.builds(Span, st.integers(0, 2), st.integers(0, 14), st.integers(0, 40), st.integers(0, 50)).filter(
    lambda span: span != Span()
)
RETENTIONS = st.builds(
    Retention,
    **dict.fromkeys(NUMBERS, st.sampled_from([0, 0, 0, 1, 2, 3, 7, -1])),
    keep_within=st.none() | SPANS,
).filter(lambda retention: retention.is_set)


@st.composite
def candidate_lists(draw: st.DrawFn, plain: bool = False) -> list[Candidate]:
    """Up to 25 archives with different keys. plain: only those that count."""
    moments = draw(st.lists(PAST if plain else st.one_of(PAST, PAST, MOMENTS), max_size=25))
    keys = draw(st.permutations([f"k{number:02}" for number in range(len(moments))]))
    made = []
    for key, moment in zip(keys, moments, strict=True):
        complete = plain or draw(st.sampled_from([True, True, True, False]))
        locked = None if plain else draw(st.none() | st.none() | MOMENTS)
        made.append(Candidate(key, moment, complete, locked))
    return made


def kept(decisions: list[Decision]) -> set[str]:
    return {decision.key for decision in decisions if decision.keep}


def counts(candidate: Candidate) -> bool:
    return candidate.complete and candidate.created <= NOW


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES, st.randoms(use_true_random=False))
def test_the_order_in_which_archives_are_listed_does_not_matter(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo, chance: random.Random
) -> None:
    shuffled = list(candidates)
    chance.shuffle(shuffled)
    assert decide(shuffled, retention, NOW, tz) == decide(candidates, retention, NOW, tz)


@UNHURRIED
@given(candidate_lists(), RETENTIONS | st.just(Retention()), ZONES)
def test_each_archive_gets_one_decision_the_newest_first_with_reasons(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo
) -> None:
    decisions = decide(candidates, retention, NOW, tz)
    newest_first = sorted(candidates, key=lambda candidate: (candidate.created, candidate.key), reverse=True)
    assert [decision.key for decision in decisions] == [candidate.key for candidate in newest_first]
    assert all(decision.reasons and all(decision.reasons) for decision in decisions)
    assert all(decision.keep or decision.expires is None for decision in decisions)
    assert all(decision.expires is None or decision.expires >= NOW for decision in decisions)


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES)
def test_the_newest_good_one_is_kept(candidates: list[Candidate], retention: Retention, tz: ZoneInfo) -> None:
    good = [candidate for candidate in candidates if counts(candidate)]
    assume(good)
    newest = max(good, key=lambda candidate: (candidate.created, candidate.key))
    decision = next(each for each in decide(candidates, retention, NOW, tz) if each.key == newest.key)
    assert decision.keep
    assert "the newest good one is never deleted" in decision.reasons


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES, st.sampled_from(NUMBERS), st.sampled_from([1, 2, 5, None]))
def test_adding_a_rule_or_raising_a_number_deletes_no_more(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo, name: str, more: int | None
) -> None:
    number = getattr(retention, name)
    assume(number >= 0)
    raised = replace(retention, **{name: -1 if more is None else number + more})
    assert kept(decide(candidates, retention, NOW, tz)) <= kept(decide(candidates, raised, NOW, tz))


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES, SPANS, st.sampled_from([field.name for field in fields(Span)]))
def test_a_longer_time_within_deletes_no_more(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo, span: Span, unit: str
) -> None:
    longer = replace(span, **{unit: getattr(span, unit) + 1})
    without, some, more = (
        kept(decide(candidates, replace(retention, keep_last=1, keep_within=within), NOW, tz))
        for within in (None, span, longer)
    )
    assert without <= some <= more


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES)
def test_pruning_again_deletes_nothing_more(candidates: list[Candidate], retention: Retention, tz: ZoneInfo) -> None:
    first = kept(decide(candidates, retention, NOW, tz))
    left = [candidate for candidate in candidates if candidate.key in first]
    assert kept(decide(left, retention, NOW, tz)) == first


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES)
def test_no_more_is_kept_than_rules_and_exceptions_allow(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo
) -> None:
    numbers = [getattr(retention, name) for name in NUMBERS]
    assume(min(numbers) >= 0)
    good = [candidate for candidate in candidates if counts(candidate)]
    span = retention.keep_within
    since = span.before(max(candidate.created for candidate in good), tz) if span and good else None
    within = [candidate for candidate in good if since and candidate.created >= since]
    exceptions = [c for c in candidates if not counts(c) or (c.locked_until and c.locked_until > NOW)]
    assert len(kept(decide(candidates, retention, NOW, tz))) <= sum(numbers) + len(within) + len(exceptions)


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES, MOMENTS, st.booleans())
def test_an_archive_that_does_not_count_changes_nothing_for_others(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo, moment: dt.datetime, complete: bool
) -> None:
    other = Candidate("other", moment, complete)
    assume(not counts(other))
    decisions = decide([*candidates, other], retention, NOW, tz)
    assert [each for each in decisions if each.key != "other"] == decide(candidates, retention, NOW, tz)


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES)
def test_unlimited_keeps_every_complete_one(candidates: list[Candidate], retention: Retention, tz: ZoneInfo) -> None:
    decisions = decide(candidates, replace(retention, keep_last=-1), NOW, tz)
    assert {candidate.key for candidate in candidates if candidate.complete} <= kept(decisions)
    assert all(decision.expires is None for decision in decisions if decision.reasons[0].startswith("last"))


@UNHURRIED
@given(candidate_lists(), ZONES)
def test_no_rules_keep_everything(candidates: list[Candidate], tz: ZoneInfo) -> None:
    assert kept(decide(candidates, Retention(), NOW, tz)) == {candidate.key for candidate in candidates}


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES)
def test_a_locked_archive_is_kept(candidates: list[Candidate], retention: Retention, tz: ZoneInfo) -> None:
    locked = {c.key for c in candidates if c.locked_until and c.locked_until > NOW}
    assert locked <= kept(decide(candidates, retention, NOW, tz))


@UNHURRIED
@given(candidate_lists(), RETENTIONS, ZONES, st.integers(0, 2000))
def test_time_alone_deletes_no_complete_archive_without_a_lock(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo, days: int
) -> None:
    unlocked = [replace(candidate, locked_until=None) for candidate in candidates if counts(candidate)]
    later = decide(unlocked, retention, NOW + dt.timedelta(days=days), tz)
    assert kept(later) == kept(decide(unlocked, retention, NOW, tz))


@UNHURRIED
@given(
    candidate_lists(plain=True),
    RETENTIONS,
    ZONES,
    st.lists(st.integers(1, 100_000), max_size=15),
)
def test_before_it_expires_no_number_of_newer_backups_makes_the_rules_over_time_let_go(
    candidates: list[Candidate], retention: Retention, tz: ZoneInfo, minutes: list[int]
) -> None:
    """Of all but the newest, which the next may replace; and but for the rule that counts archives, not time."""
    retention = replace(retention, keep_last=0)
    assume(retention.is_set)
    newer = [Candidate(f"n{place:02}", NOW + dt.timedelta(minutes=each)) for place, each in enumerate(minutes)]
    later = max((candidate.created for candidate in newer), default=NOW)
    after = kept(decide([*candidates, *newer], retention, later, tz))
    for decision in decide(candidates, retention, NOW, tz)[1:]:
        if decision.keep and (decision.expires is None or decision.expires > later):
            assert decision.key in after


@UNHURRIED
@given(PAST, SPANS, PAST, ZONES)
def test_what_is_no_longer_within_has_its_time_after_it(
    created: dt.datetime, span: Span, newest: dt.datetime, tz: ZoneInfo
) -> None:
    if span.before(newest, tz) > created:
        assert newest >= span.after(created, tz)
    if newest < span.after(created, tz):
        assert span.before(newest, tz) <= created


@UNHURRIED
@given(PAST, st.lists(MOMENTS, max_size=15), RETENTIONS, ZONES)
def test_a_lock_ends_after_it_began_and_within_ten_years(
    created: dt.datetime, earlier: list[dt.datetime], retention: Retention, tz: ZoneInfo
) -> None:
    until = lock_until(created, earlier, retention, tz)
    if until is not None:
        assert created < until <= created + dt.timedelta(days=3653, hours=1)  # an hour, if clocks changed between
    if retention.keep_last or retention.keep_within:
        assert until is not None


@pytest.mark.parametrize("name", NUMBERS)
@UNHURRIED
@given(created=PAST, earlier=st.lists(PAST, max_size=15), retention=RETENTIONS, tz=ZONES)
def test_a_higher_number_locks_no_shorter(
    name: str, created: dt.datetime, earlier: list[dt.datetime], retention: Retention, tz: ZoneInfo
) -> None:
    number = getattr(retention, name)
    assume(number > 0)
    until = lock_until(created, earlier, retention, tz)
    longer = lock_until(created, earlier, replace(retention, **{name: number + 1}), tz)
    assert (until is None) == (longer is None)
    assert until is None or longer is None or longer >= until
