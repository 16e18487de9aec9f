"""Deleting what retention no longer keeps: a plan with a reason for each archive, and then, if asked, the deed.

    archives → by host and service → suspicions, decisions → plan → what was done

Only complete archives count; of every service the newest complete one stays. A service whose archives have become
suspiciously small or large is frozen: nothing of it is deleted until a person has accepted the change.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from drunner_vault.archive.sidecar import SUFFIX
from drunner_vault.catalog.catalog import Archive, newest
from drunner_vault.catalog.records import RecordKind, add_record
from drunner_vault.errors import NotFound, StorageError
from drunner_vault.policy import LONGEST, Candidate, Decision, Retention, Sized, Suspicion, decide, suspicion
from drunner_vault.stores.store import Leftover, Store

_WORTH_LOCKING = dt.timedelta(minutes=1)
_DEAD = dt.timedelta(days=1)  # an upload that has not grown for so long


@dataclass(frozen=True)
class Verdict:
    """What is to become of one archive. reasons: at least one. lock_until: until when it is to be locked, where the
    store can and it is not already."""

    archive: Archive
    keep: bool
    reasons: tuple[str, ...]
    lock_until: dt.datetime | None = None


@dataclass(frozen=True)
class ServicePlan:
    """One service of one host. frozen: why nothing of it is deleted, if that is so."""

    host: str
    service: str
    verdicts: tuple[Verdict, ...]
    frozen: Suspicion | None = None


@dataclass(frozen=True)
class PrunePlan:
    """What would be done. leftovers: of dead uploads."""

    services: tuple[ServicePlan, ...]
    leftovers: tuple[Leftover, ...] = ()

    def doomed(self) -> Iterator[Archive]:
        """The archives to delete, the oldest first."""
        for plan in self.services:
            yield from (verdict.archive for verdict in reversed(plan.verdicts) if not verdict.keep)


@dataclass
class PruneReport:
    """What was done. deleted, removed: keys of archives, and of dead uploads. locked: archives whose lock was made
    longer. failed: what could not be done, a sentence each."""

    deleted: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def plan_services(
    found: Sequence[Archive], retention: Retention, now: dt.datetime, tz: dt.tzinfo, *, can_lock: bool
) -> tuple[ServicePlan, ...]:
    """What retention makes of a store's archives. Pure."""
    ordered = sorted(found, key=lambda item: item.group)
    groups = itertools.groupby(ordered, key=lambda item: item.group)
    return tuple(_plan_service(list(items), retention, now, tz, can_lock=can_lock) for _, items in groups)


def _plan_service(
    items: list[Archive], retention: Retention, now: dt.datetime, tz: dt.tzinfo, *, can_lock: bool
) -> ServicePlan:
    host, service = items[0].group
    by_key = {item.key: item for item in items}
    candidates = [Candidate(item.key, item.created, item.complete, item.locked_until) for item in items]
    frozen = suspicion([_sized(item) for item in items if item.complete and item.created <= now])
    decided = decide(candidates, retention, now, tz)
    verdicts = [_verdict(by_key[decision.key], decision, frozen) for decision in decided]
    if can_lock:
        verdicts = [_locking(verdict, decision, now, tz) for verdict, decision in zip(verdicts, decided, strict=True)]
    return ServicePlan(host, service, tuple(verdicts), frozen)


def _sized(item: Archive) -> Sized:
    accepted = item.accepted is not None and (item.suspect is None or item.suspect <= item.accepted)
    flagged = item.suspect is not None and not accepted
    return Sized(item.key, item.created, item.size, accepted=accepted, flagged=flagged)


def _verdict(item: Archive, decision: Decision, frozen: Suspicion | None) -> Verdict:
    if frozen and not decision.keep:
        return Verdict(item, True, (f"frozen, else: {'; '.join(decision.reasons)}",))
    return Verdict(item, decision.keep, decision.reasons)


def _locking(verdict: Verdict, decision: Decision, now: dt.datetime, tz: dt.tzinfo) -> Verdict:
    """With a lock until the rules let go of it, if it has none that long. No lock is longer than LONGEST."""
    item = verdict.archive
    if not (decision.keep and decision.expires and item.complete):
        return verdict
    until = min(decision.expires, LONGEST.after(now, tz))
    if until - now < _WORTH_LOCKING or (item.locked_until is not None and item.locked_until >= until):
        return verdict
    return replace(verdict, lock_until=until)


def dead_leftovers(store: Store, now: dt.datetime, is_ours_and_idle: Callable[[str, str], bool]) -> list[Leftover]:
    """What uploads have left that are no longer at work: no growth for a day, or of a service of this host that no
    command is working on. Raises StorageError.

    is_ours_and_idle: called with host and service, after the leftover has been seen, so that a backup that ends
    meanwhile is no danger.
    """
    seen = list(store.leftovers())
    return [item for item in seen if now - item.active > _DEAD or is_ours_and_idle(*_owner(item.key))]


def _owner(key: str) -> tuple[str, str]:
    parts = key.split("/")
    return (parts[-3], parts[-2]) if len(parts) >= 3 else ("", "")


def accept(store: Store, services: Sequence[ServicePlan], which: str, now: dt.datetime) -> list[Archive]:
    """Record that a person finds the newest archives of a service right as they are, whatever their size.

    which: SERVICE, or HOST/SERVICE where several hosts have one. Returns those archives. Raises NotFound, StorageError.
    """
    chosen = [plan for plan in services if which in (plan.service, f"{plan.host}/{plan.service}")]
    if not chosen:
        raise NotFound(f"there is no archive of {which} in {store.name}", "see what there is: drunner-vault archives")
    accepted = []
    for plan in chosen:
        latest = newest((verdict.archive for verdict in plan.verdicts if verdict.archive.created <= now), now)
        if latest:
            add_record(store, latest.key, RecordKind.ACCEPTED, now, {"size": latest.size})
            accepted.append(latest)
    return accepted


def carry_out(store: Store, plan: PrunePlan, now: dt.datetime) -> PruneReport:
    """Do what the plan says. What cannot be done is reported, and the rest is done all the same."""
    report = PruneReport()
    for service in plan.services:
        if service.frozen:
            _flag(store, service.frozen, service, now, report)
        for verdict in service.verdicts:
            if verdict.lock_until:
                _lock(store, verdict.archive, verdict.lock_until, report)
    for archive in plan.doomed():
        _delete(store, archive, report)
    for leftover in plan.leftovers:
        try:
            store.discard(leftover)
            report.removed.append(leftover.key)
        except StorageError as error:
            report.failed.append(f"what a dead upload left of {leftover.key} is still there: {error.message}")
    return report


def _flag(store: Store, frozen: Suspicion, service: ServicePlan, now: dt.datetime, report: PruneReport) -> None:
    """So that it stays frozen, even when archives of the new size have become the usual ones."""
    suspect = next(verdict.archive for verdict in service.verdicts if verdict.archive.key == frozen.key)
    if suspect.suspect is None:
        try:
            add_record(store, suspect.key, RecordKind.SUSPECT, now, {"reason": frozen.reason})
        except StorageError as error:
            report.failed.append(f"{suspect.key} could not be marked as suspicious: {error.message}")


def _lock(store: Store, archive: Archive, until: dt.datetime, report: PruneReport) -> None:
    try:
        # the archive last: whether that is locked, the next plan can see
        for key in (*(key for key in archive.keys if key == archive.key + SUFFIX), archive.key):
            store.lock(key, until)
        report.locked.append(archive.key)
    except StorageError as error:
        report.failed.append(f"{archive.key} could not be locked for longer: {error.message}")


def _delete(store: Store, archive: Archive, report: PruneReport) -> None:
    """The sidecar goes first: without it nobody takes a half-deleted archive for a committed one."""
    try:
        for key in archive.keys:
            store.delete(key)
        report.deleted.append(archive.key)
    except StorageError as error:
        report.failed.append(f"{archive.key} is still there, at least in part: {error.message}")
