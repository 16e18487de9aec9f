"""Deleting what retention no longer keeps: a plan with a reason for each archive, and then, if asked, its execution.

    catalog → proven archives by series → decisions, freezes → plan → report

Only proven archives count and are deleted. A series is a directory and a signer, so nobody's archives take the place of
somebody else's. What is not clear is kept and reported.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.catalog import Catalog, newest
from drunner_vault.catalog.grouping import Directory
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.catalog.records import RecordKind, add_record
from drunner_vault.errors import NotFound, StorageError
from drunner_vault.policy import LONGEST, Candidate, Decision, Retention, Sized, Suspicion, decide, suspicion
from drunner_vault.signing import SignerKey
from drunner_vault.stores.store import Leftover, Store, StoredObject
from drunner_vault.text import plural
from drunner_vault.workflows.archives.recording import record_of

_WORTH_LOCKING = dt.timedelta(minutes=1)
_DEAD = dt.timedelta(days=1)  # an upload that has not grown for so long
_ORPHANED = dt.timedelta(days=30)  # by the store's clock: sidecars and records without their archive
_HISTORY = "history"

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Verdict:
    """What happens to one archive. reasons: at least one. lock_until: until when it is to be locked, where the store
    can and it is not already."""

    archive: Archive
    keep: bool
    reasons: tuple[str, ...]
    lock_until: dt.datetime | None = None


@dataclass(frozen=True)
class SeriesPlan:
    """The archives of one service of one host by one signer. signer: its fingerprint. frozen: an archive of unusual
    size, because of which nothing is deleted. held: another reason for that; empty if there is none."""

    host: str
    service: str
    signer: str
    verdicts: tuple[Verdict, ...]
    frozen: Suspicion | None = None
    held: str = ""


@dataclass(frozen=True)
class Others:
    """Archives in one directory that do not count. standings: how many there are of each kind. bytes: of all."""

    host: str
    service: str
    standings: dict[str, int]
    bytes: int

    @property
    def count(self) -> int:
        """Return how many archives there are."""
        return sum(self.standings.values())

    def describe(self) -> str:
        """Return it in words."""
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.standings.items()))
        where = f"{self.host}/{self.service}" if self.host else self.service
        verb = "does" if self.count == 1 else "do"
        return f"{plural(self.count, 'archive')} in {where} {verb} not count ({kinds})"


@dataclass(frozen=True)
class PrunePlan:
    """What would be done. orphans: sidecars and records whose archive is gone. others: archives that do not count.
    leftovers: of dead uploads."""

    services: tuple[SeriesPlan, ...]
    orphans: tuple[Archive, ...] = ()
    others: tuple[Others, ...] = ()
    leftovers: tuple[Leftover, ...] = ()


@dataclass
class PruneReport:
    """What was done. deleted, removed: keys of archives, and of dead uploads and orphans. locked: archives whose lock
    was made longer. failed: what could not be done, a sentence each."""

    deleted: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def plan_prune(catalog: Catalog, retention: Retention, now: dt.datetime, tz: dt.tzinfo) -> PrunePlan:
    """Return what retention makes of a store's archives. Pure."""
    can_lock = catalog.root.store.can_lock
    held = {**_overwritten_suspects(catalog.archives), **catalog.frozen}
    services = [
        _plan_series(items, retention, now, tz, can_lock=can_lock, held=held.get(directory, ""))
        for (directory, _), items in by_series(catalog.archives).items()
    ]
    services.sort(key=lambda plan: (plan.host, plan.service, plan.signer))
    orphans = tuple(
        item
        for item in catalog.archives
        if item.missing and item.series is not None and item.group not in catalog.frozen and _is_orphaned(item, now)
    )
    return PrunePlan(tuple(services), orphans, others_of(catalog.archives))


def _overwritten_suspects(found: Iterable[Archive]) -> dict[Directory, str]:
    """The directories in which a suspicious archive was overwritten: that does not end a freeze."""
    return {
        item.group: f"{item.name}, whose size was suspicious, was overwritten"
        for item in found
        if item.standing is Standing.OVERWRITTEN and _sized(item).flagged
    }


def by_series(found: Iterable[Archive]) -> dict[tuple[Directory, SignerKey], list[Archive]]:
    """Return the proven archives by directory and signer, in the given order."""
    series: dict[tuple[Directory, SignerKey], list[Archive]] = {}
    for item in found:
        if item.is_proven and item.series is not None:
            series.setdefault((item.group, item.series), []).append(item)
    return series


def others_of(found: Iterable[Archive]) -> tuple[Others, ...]:
    """Return the archives that do not count, by directory."""
    groups: dict[Directory, list[Archive]] = {}
    for item in found:
        if not item.is_proven and not item.missing:
            groups.setdefault(item.group, []).append(item)
    return tuple(
        Others(host, service, _counted(items), sum(item.size for item in items))
        for (host, service), items in sorted(groups.items())
    )


def _counted(items: Sequence[Archive]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items:
        counts[item.standing.value] = counts.get(item.standing.value, 0) + 1
    return counts


def _plan_series(
    items: list[Archive], retention: Retention, now: dt.datetime, tz: dt.tzinfo, *, can_lock: bool, held: str
) -> SeriesPlan:
    host, service = items[0].group
    series = items[0].series
    assert series is not None  # noqa: S101 (as grouped)
    odd = [item for item in items if _is_out_of_order(item)]
    counted = [item for item in items if not _is_out_of_order(item)]
    frozen = suspicion([_sized(item) for item in counted if item.created <= now])
    by_key = {item.key: item for item in items}
    decided = _decide(counted, retention, now, tz)
    reason = held or ("its size is unusual" if frozen else "")
    verdicts = [_verdict(by_key[decision.key], decision, reason) for decision in decided]
    if can_lock:
        verdicts = [_locking(verdict, decision, now, tz) for verdict, decision in zip(verdicts, decided, strict=True)]
    verdicts += [Verdict(item, True, (_out_of_order(item),)) for item in odd]
    verdicts.sort(key=lambda verdict: (verdict.archive.created, verdict.archive.key), reverse=True)
    return SeriesPlan(host, service, series.fingerprint, tuple(verdicts), frozen, held)


def _decide(items: Sequence[Archive], retention: Retention, now: dt.datetime, tz: dt.tzinfo) -> list[Decision]:
    """One decision for each archive, the newest first; an archive goes only if nothing keeps it.

    Retention is asked with damaged archives as if they were intact, so that damage never speeds up a deletion; and with
    intact ones only, since a damaged one takes nobody's place. Both are asked again without archives of which only the
    history is known: they take nobody's place either.
    """
    written = [item for item in items if item.basis != _HISTORY]
    all_of_them = decide(map(_candidate, items), retention, now, tz)
    intact, intact_written = ([item for item in chosen if item.complete] for chosen in (items, written))
    further = [
        {decision.key: decision for decision in decide(map(_candidate, chosen), retention, now, tz)}
        for chosen in (intact, written, intact_written)
    ]
    faults = {item.key: item.fault for item in items}
    return [
        _merged([decision, *(known[decision.key] for known in further if decision.key in known)], faults[decision.key])
        for decision in all_of_them
    ]


def _candidate(item: Archive) -> Candidate:
    return Candidate(item.key, item.created, True, item.locked_until)


def _merged(decisions: Sequence[Decision], fault: str) -> Decision:
    """The decision of those that keep an archive, or that of all."""
    keeping = [decision for decision in decisions if decision.keep]
    if not keeping:
        return decisions[0]
    reasons = tuple(dict.fromkeys(reason for decision in keeping for reason in decision.reasons))
    moments = [decision.expires for decision in keeping]
    expires = None if None in moments else max(moment for moment in moments if moment is not None)
    return replace(keeping[0], reasons=(*reasons, fault) if fault else reasons, expires=expires)


def _is_out_of_order(item: Archive) -> bool:
    return item.after is not None and item.created <= item.after


def _out_of_order(item: Archive) -> str:
    return f"does not count: its clock was behind, as it was made after one of {item.after:%Y-%m-%d %H:%M:%SZ}"


def _is_orphaned(item: Archive, now: dt.datetime) -> bool:
    return all(now - entry.modified > _ORPHANED for entry in item.objects)


def _sized(item: Archive) -> Sized:
    accepted = item.accepted is not None and (item.suspect is None or item.suspect <= item.accepted)
    flagged = item.suspect is not None and not accepted
    return Sized(item.key, item.created, item.size, accepted=accepted, flagged=flagged)


def _verdict(item: Archive, decision: Decision, frozen: str) -> Verdict:
    if frozen and not decision.keep:
        return Verdict(item, True, (f"frozen, because {frozen}; else: {'; '.join(decision.reasons)}",))
    return Verdict(item, decision.keep, decision.reasons)


def _locking(verdict: Verdict, decision: Decision, now: dt.datetime, tz: dt.tzinfo) -> Verdict:
    """With a lock until the rules no longer keep it, if it has none that long. No lock is longer than LONGEST."""
    item = verdict.archive
    if not (decision.keep and decision.expires and item.complete):
        return verdict
    until = min(decision.expires, LONGEST.after(now, tz))
    if until - now < _WORTH_LOCKING or (item.locked_until is not None and item.locked_until >= until):
        return verdict
    return replace(verdict, lock_until=until)


def dead_leftovers(store: Store, now: dt.datetime, is_ours_and_idle: Callable[[str, str], bool]) -> list[Leftover]:
    """Return what uploads have left that are no longer running: no growth for a day, or of a service of this host that
    no command is working on. Raises StorageError.

    is_ours_and_idle: called with host and service, after the leftover has been seen, so that a backup that ends
    meanwhile is not at risk.
    """
    seen = list(store.leftovers())
    return [item for item in seen if now - item.active > _DEAD or is_ours_and_idle(*_owner(item.key))]


def _owner(key: str) -> tuple[str, str]:
    parts = key.split("/")
    return (parts[-3], parts[-2]) if len(parts) >= 3 else ("", "")


def accept(root: StoreRoot, services: Sequence[SeriesPlan], which: str, now: dt.datetime, sign: Sign) -> list[Archive]:
    """Record that an operator confirms the size of the newest archives of a service.

    which: SERVICE, or HOST/SERVICE where several hosts have one. Returns those archives. Raises NotFound, StorageError.
    """
    chosen = [plan for plan in services if which in (plan.service, f"{plan.host}/{plan.service}")]
    if not chosen:
        raise NotFound(f"there is no archive of {which} in {root.name} that counts", "see: drunner-vault archives")
    accepted = []
    for plan in chosen:
        latest = newest((verdict.archive for verdict in plan.verdicts if verdict.archive.created <= now), now)
        if latest:
            add_record(root.store, latest.key, record_of(root, latest, RecordKind.ACCEPTED, now, {}), sign)
            accepted.append(latest)
    return accepted


def carry_out(root: StoreRoot, plan: PrunePlan, now: dt.datetime, sign: Sign) -> PruneReport:
    """Do what the plan says. What cannot be done is reported, and the rest is done all the same."""
    report, store = PruneReport(), root.store
    for service in plan.services:
        if service.frozen:
            _flag(root, service.frozen, service, now, sign, report)
        for verdict in service.verdicts:
            if verdict.lock_until:
                _lock(store, verdict.archive, verdict.lock_until, report)
        _delete_series(store, service, report)
    for orphan in plan.orphans:
        _delete(store, orphan, report, report.removed)
    for leftover in plan.leftovers:
        try:
            store.discard(leftover)
            report.removed.append(leftover.key)
        except StorageError as error:
            report.failed.append(f"what a dead upload left of {leftover.key} is still there: {error.message}")
    return report


def _flag(
    root: StoreRoot, frozen: Suspicion, service: SeriesPlan, now: dt.datetime, sign: Sign, report: PruneReport
) -> None:
    """So that it stays frozen, even when archives of the new size have become the usual ones."""
    suspect = next(verdict.archive for verdict in service.verdicts if verdict.archive.key == frozen.key)
    if suspect.suspect is None:
        record = record_of(root, suspect, RecordKind.SUSPECT, now, {"reason": frozen.reason})
        try:
            add_record(root.store, suspect.key, record, sign)
        except StorageError as error:
            report.failed.append(f"{suspect.key} could not be marked as suspicious: {error.message}")


def _lock(store: Store, archive: Archive, until: dt.datetime, report: PruneReport) -> None:
    try:
        # the archive last: the next plan sees whether that one is locked
        for key in filter(None, (archive.sidecar, archive.key)):
            store.lock(key, until)
        report.locked.append(archive.key)
    except StorageError as error:
        report.failed.append(f"{archive.key} could not be locked for longer: {error.message}")


def _delete_series(store: Store, plan: SeriesPlan, report: PruneReport) -> None:
    """Delete the archives of a series, the oldest first, unless the newest that stays has changed meanwhile."""
    doomed = [verdict.archive for verdict in reversed(plan.verdicts) if not verdict.keep]
    if not doomed:
        return
    staying = [verdict.archive for verdict in plan.verdicts if verdict.keep and verdict.archive.complete]
    if (problem := _newest_problem(store, staying)) is not None:
        report.failed.append(f"nothing of {plan.host}/{plan.service} was deleted: {problem}")
        return
    for archive in doomed:
        _delete(store, archive, report, report.deleted)


def _newest_problem(store: Store, staying: Sequence[Archive]) -> str | None:
    """Why nothing may be deleted: there has to be an intact archive that stays, as it was listed."""
    if not staying:
        return "no intact archive would be left"
    try:
        unchanged = _is_unchanged(store, _archive_object(staying[0]))
    except StorageError as error:
        return f"{staying[0].key}, the newest, cannot be looked at: {error.message}"
    return None if unchanged else f"{staying[0].key}, the newest, has changed"


def _delete(store: Store, archive: Archive, report: PruneReport, done: list[str]) -> None:
    """Delete the archive, then its records, then its sidecar, each only if it is still the object that was judged.

    In this order what a killed command leaves is never taken for an archive that was committed.
    """
    try:
        for item in archive.objects:
            if not _is_unchanged(store, item, gone=True):
                report.failed.append(f"{archive.key} was not deleted: {item.key} has changed meanwhile")
                return
            store.delete(item.key)
        done.append(archive.key)
    except StorageError as error:
        report.failed.append(f"{archive.key} is still there, at least in part: {error.message}")


def _archive_object(archive: Archive) -> StoredObject:
    return next(item for item in archive.objects if item.key == archive.key)


def _is_unchanged(store: Store, item: StoredObject, *, gone: bool = False) -> bool:
    """Whether an object is still the one that was listed. gone: the answer for one that is no longer there."""
    try:
        found = store.stat(item.key)
    except NotFound:
        return gone
    if found.size != item.size or found.etag != item.etag:
        return False
    return bool(item.etag) or found.modified == item.modified


@dataclass(frozen=True)
class UnsignedPlan:
    """Archives that nobody accepted has signed, to be deleted by an operator. kept: others of them, and why not."""

    doomed: tuple[Archive, ...]
    kept: tuple[tuple[Archive, str], ...] = ()


_DELETABLE = (Standing.UNSIGNED, Standing.STRANGER, Standing.MISPLACED, Standing.UNREADABLE)


def plan_unsigned(catalog: Catalog, is_known: Callable[[Archive], bool]) -> UnsignedPlan:
    """Return which archives an operator could delete because nobody accepted has signed them. Pure.

    is_known: True for archives that this host's history lists: those are to be adopted, not deleted.
    """
    doomed, kept = [], []
    for item in catalog.archives:
        if item.is_proven or item.is_stated or (item.missing and item.series is not None):
            continue
        if item.standing is Standing.OVERWRITTEN:
            kept.append((item, "it was overwritten: an earlier version of the object may be intact"))
        elif item.standing not in _DELETABLE:
            kept.append((item, item.why))
        elif is_known(item):
            kept.append((item, "this host's history lists it: drunner-vault archives --adopt"))
        else:
            doomed.append(item)
    return UnsignedPlan(tuple(doomed), tuple(kept))


def delete_unsigned(store: Store, plan: UnsignedPlan) -> PruneReport:
    """Delete what the plan says."""
    report = PruneReport()
    for archive in reversed(plan.doomed):
        _delete(store, archive, report, report.deleted)
    return report
