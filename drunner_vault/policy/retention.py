"""Which archives of a service to keep and which to delete, each with its reasons.

A rule over periods keeps the newest archive in each of the last n periods that have one. Periods are of the local
calendar, weeks are ISO's. So a service that is no longer backed up keeps what it has: time alone deletes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from drunner_vault.clock import isoformat
from drunner_vault.policy.locking import last_end, pace
from drunner_vault.policy.periods import NEVER, Period, next_backup
from drunner_vault.policy.rules import Retention, Span, parse_duration

__all__ = ["Candidate", "Decision", "Retention", "Span", "decide", "parse_duration"]

_ON_ITS_WAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Candidate:
    """An archive that may be kept or deleted.

    key: its name in the store. created: when it was made, aware, in UTC. complete: whether all of it is there.
    locked_until: until when the store refuses to delete it, or None.
    """

    key: str
    created: dt.datetime
    complete: bool = True
    locked_until: dt.datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What is to become of an archive, and why.

    reasons: at least one. expires: the earliest moment at which it could be let go if backups go on at their pace; None
    if it is deleted or not complete, or if no such moment is known.
    """

    key: str
    keep: bool
    reasons: tuple[str, ...]
    expires: dt.datetime | None = None


@dataclass(frozen=True)
class _Hold:
    """One rule that keeps an archive: its reason, and when it could end."""

    reason: str
    end: dt.datetime


@dataclass(frozen=True)
class _View:
    """What a single decision needs to know of all.

    newest: the newest archive that counts. holds: by key, the rules that keep it. instead: by key, which newer archive
    has its place.
    """

    now: dt.datetime
    newest: Candidate | None
    holds: Mapping[str, Sequence[_Hold]]
    instead: Mapping[str, str]


def decide(candidates: Iterable[Candidate], retention: Retention, now: dt.datetime, tz: dt.tzinfo) -> list[Decision]:
    """One decision for each candidate, the newest first; archives of the same second by key.

    candidates: all archives of one service, in any order. now: aware. tz: the zone whose calendar the rules go by.

    Only archives that are complete and not made in the future count. Whatever the rules say, the newest of these is
    kept. Without any rule everything is kept.
    """
    ordered = sorted(candidates, key=_age, reverse=True)
    if not retention.is_set:
        decisions = [Decision(candidate.key, True, ("no retention is set",)) for candidate in ordered]
    else:
        view = _look(ordered, retention, now, tz)
        decisions = [_decide_one(candidate, view) for candidate in ordered]
    return [_with_lock(*pair, now) for pair in zip(ordered, decisions, strict=True)]


def _age(candidate: Candidate) -> tuple[dt.datetime, str]:
    return candidate.created.replace(microsecond=0), candidate.key


def _look(ordered: list[Candidate], retention: Retention, now: dt.datetime, tz: dt.tzinfo) -> _View:
    counted = [candidate for candidate in ordered if candidate.complete and candidate.created <= now]
    if not counted:
        return _View(now, None, {}, {})
    newest = counted[0]
    each = pace([candidate.created for candidate in counted])
    holds: defaultdict[str, list[_Hold]] = defaultdict(list)
    instead: dict[str, str] = {}
    for candidate, hold in _last_holds(counted, retention.keep_last, each):
        holds[candidate.key].append(hold)
    for period, number in retention.periods():
        holders = _holders(period, number, counted, tz)
        for candidate, hold in _period_holds(period, number, holders, each, tz):
            holds[candidate.key].append(hold)
        for candidate in counted:
            if (label := period.of(candidate.created, tz)) in holders:
                instead.setdefault(candidate.key, f"{label} is kept by {holders[label].key}")
    for candidate, hold in _within_holds(counted, retention.keep_within, tz):
        holds[candidate.key].append(hold)
    holds[newest.key].append(_Hold("the newest good one is never deleted", next_backup(newest.created, each, tz)))
    return _View(now, newest, holds, instead)


def _last_holds(counted: list[Candidate], number: int, each: dt.timedelta) -> list[tuple[Candidate, _Hold]]:
    kept = counted if number < 0 else counted[:number]
    return [
        (candidate, _Hold(f"last {place} of {_of(number)}", last_end(counted[0].created, _left(number, place), each)))
        for place, candidate in enumerate(kept, 1)
    ]


def _holders(period: Period, number: int, counted: list[Candidate], tz: dt.tzinfo) -> dict[str, Candidate]:
    """By the labels of the last so many periods that have an archive: the newest in each. The newest period first."""
    holders: dict[str, Candidate] = {}
    for candidate in counted:
        if number < 0 or len(holders) < number:
            holders.setdefault(period.of(candidate.created, tz), candidate)
    return holders


def _period_holds(
    period: Period, number: int, holders: Mapping[str, Candidate], each: dt.timedelta, tz: dt.tzinfo
) -> list[tuple[Candidate, _Hold]]:
    holds = []
    newest = next(iter(holders.values())).created
    for place, (label, candidate) in enumerate(holders.items(), 1):
        end = period.end(newest, _left(number, place), tz)
        if place == 1 and not period.is_last_in(newest, each, tz):
            end = next_backup(newest, each, tz)  # the next one will be of the same period, and take its place
        holds.append((candidate, _Hold(f"{period.name} {label} ({place} of {_of(number)})", end)))
    return holds


def _within_holds(counted: list[Candidate], span: Span | None, tz: dt.tzinfo) -> list[tuple[Candidate, _Hold]]:
    if span is None:
        return []
    # From the newest archive, not from now: a service that is no longer backed up must not melt away.
    since = span.before(counted[0].created, tz)
    kept = [candidate for candidate in counted if candidate.created >= since]
    return [(candidate, _Hold(f"within {span}", span.after(candidate.created, tz))) for candidate in kept]


def _of(number: int) -> str:
    return str(number) if number >= 0 else "all"


def _left(number: int, place: int) -> int:
    """How many newer ones it takes until what is in this place of so many loses it; negative for unlimited."""
    return number - place + 1 if number >= 0 else -1


def _decide_one(candidate: Candidate, view: _View) -> Decision:
    if candidate.created > view.now:
        return Decision(candidate.key, True, ("made in the future: its clock ran ahead",))
    if not candidate.complete:
        return _decide_incomplete(candidate, view)
    if holds := view.holds.get(candidate.key):
        end = max(hold.end for hold in holds)
        # A moment that has passed without a backup: the next one is the earliest, which may come any time.
        expires = None if end == NEVER else max(end, view.now)
        return Decision(candidate.key, True, tuple(hold.reason for hold in holds), expires)
    instead = (view.instead[candidate.key],) if candidate.key in view.instead else ()
    return Decision(candidate.key, False, ("no rule keeps it", *instead))


def _decide_incomplete(candidate: Candidate, view: _View) -> Decision:
    if view.newest is None or _age(view.newest) < _age(candidate):
        return Decision(candidate.key, True, ("not complete, but nothing newer is",))
    if candidate.created >= view.now - _ON_ITS_WAY:
        return Decision(candidate.key, True, ("not complete yet, perhaps still on its way",))
    return Decision(candidate.key, False, (f"not complete, and superseded by {view.newest.key}",))


def _with_lock(candidate: Candidate, decision: Decision, now: dt.datetime) -> Decision:
    until = candidate.locked_until
    if until is None or until <= now:
        return decision
    reasons = (*decision.reasons, f"locked until {isoformat(until)}")
    if not decision.keep:
        return replace(decision, keep=True, reasons=reasons, expires=until)
    return replace(decision, reasons=reasons, expires=max(decision.expires, until) if decision.expires else None)
