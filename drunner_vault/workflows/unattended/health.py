"""Checking that backups are recent, verified and complete: in the stores, and in this host's history.

    settings, history, catalogs → problems and notices, a sentence each

Nothing is taken from the last run: what counts is which proven archives of this host's own series are in the stores
now. Archives that others add change nothing about a problem; they are reported as notices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from drunner_vault.catalog.archive import AHEAD, Archive, Standing
from drunner_vault.catalog.catalog import Catalog, newest
from drunner_vault.catalog.grouping import Directory
from drunner_vault.clock import isoformat
from drunner_vault.config import JobSettings
from drunner_vault.errors import VaultError
from drunner_vault.policy import Schedule
from drunner_vault.text import plural
from drunner_vault.workflows.archives.adopt import HostMemory
from drunner_vault.workflows.archives.prune import others_of
from drunner_vault.workflows.unattended.alarms import Problem
from drunner_vault.workflows.unattended.history import FAILED, SKIPPED, Run
from drunner_vault.workflows.unattended.jobs import JOB, select, tasks_of

_SHORTEST_GRACE = dt.timedelta(hours=2)  # for a run that takes its time, or waits for one before it
_GRACE = 4  # a quarter of what lies between two firings


@dataclass(frozen=True)
class WatchedJob:
    """A job of the settings. schedule: None if it is run by hand. first_seen: when we first knew of it."""

    settings: JobSettings
    schedule: Schedule | None
    zone: dt.tzinfo
    first_seen: dt.datetime

    @property
    def grace(self) -> dt.timedelta:
        """How much later than its schedule says it may be done before that is a problem."""
        gap = self.schedule.longest_gap() if self.schedule else dt.timedelta(0)
        return max(gap / _GRACE, _SHORTEST_GRACE) + dt.timedelta(seconds=self.settings.jitter)

    @property
    def max_age(self) -> dt.timedelta | None:
        """How old the newest good archive may be; None if nothing says."""
        if self.settings.max_age is not None:
            return dt.timedelta(seconds=self.settings.max_age)
        return self.schedule.longest_gap() + self.grace if self.schedule else None


@dataclass(frozen=True)
class ServiceHealth:
    """One service in one store. newest: when its newest good archive was made, verified: when any of its archives was
    last proven; RFC 3339 in UTC, None for never. age, max_age: seconds."""

    job: str
    service: str
    store: str
    newest: str | None
    age: float | None
    max_age: float | None
    verified: str | None


@dataclass(frozen=True)
class Notice:
    """Something in a store that is no problem of the backups. kind: `others`, `signers` or `frozen`. count, bytes: of
    the archives that it is about."""

    kind: str
    text: str
    store: str
    count: int = 0
    bytes: int = 0


@dataclass
class HealthReport:
    """What was found. notices: what the operator should know, though backups are as they should be. unseen: stores that
    could not be read."""

    problems: list[Problem] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    services: list[ServiceHealth] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)

    @property
    def healthy(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class HealthContext:
    """What is looked at. installed: services of this host, by name, with when they were; None where that is not known.
    latest: the last run of each, see History.latest. started: when each job was last started, by name. running: the
    jobs that are running. catalog: the archives of this host in a store; raises VaultError. memory: what this host
    knows about its archives in a store; None if that cannot be read. kept: the stores whose retention is set."""

    now: dt.datetime
    installed: Mapping[str, dt.datetime | None]
    latest: Sequence[Run]
    started: Mapping[str, dt.datetime]
    running: frozenset[str]
    catalog: Callable[[str], Catalog]
    memory: Callable[[str], HostMemory | None]
    kept: frozenset[str]


def examine(jobs: Sequence[WatchedJob], context: HealthContext) -> HealthReport:
    """Look at all jobs. Nothing that can be found wrong is raised; it is in the report."""
    report = HealthReport()
    stores = _Stores(context, report)
    for job in jobs:
        report.problems += _not_run(job, context)
        report.problems += failures(job.settings, context.latest, context.kept, _chosen(job.settings, context))
        if job.settings.task == "backup":
            _examine_backups(job, context, stores, report)
    return report


def started_last(runs: Iterable[Run]) -> dict[str, dt.datetime]:
    """When each job was last started, by name."""
    return {run.job: run.begun for run in runs if run.job and run.verdict != SKIPPED}


def failures(
    job: JobSettings, latest: Sequence[Run], kept: frozenset[str], services: Sequence[str] | None
) -> list[Problem]:
    """What of a job went wrong the last time it was tried. services: those that it still means; None for all."""
    ours = tasks_of(job, kept)
    return [
        Problem("failed", f"{_named(run)} failed: {run.why}", job.name, run.task, run.service, run.store)
        for run in latest
        if run.job == job.name and run.verdict == FAILED and (run.task, run.store) in ours
        and (services is None or run.service in ("", *services))
    ]  # fmt: skip


def _named(run: Run) -> str:
    if run.task == JOB:
        return f"job {run.job}"
    where = {"copy": f" to {run.store}", "prune": f" in {run.store}"}.get(run.task, "")
    return f"{run.task} of {run.service or run.store}{where} (job {run.job})"


def _chosen(job: JobSettings, context: HealthContext) -> list[str] | None:
    """The services that a job means now; None where only its store can tell."""
    return select(job, list(context.installed), "installed")[0] if job.task == "backup" else None


def _not_run(job: WatchedJob, context: HealthContext) -> Iterator[Problem]:
    """A job that should have been run since it last was, or since it is known."""
    name = job.settings.name
    if job.schedule is None or name in context.running:
        return
    last = context.started.get(name)
    due = job.schedule.next(max(last, job.first_seen) if last else job.first_seen, job.zone)
    if context.now > due + job.grace:
        since = f"since {isoformat(last)}" if last else "ever"
        yield Problem("never", f"job {name} was not run {since}, and was due at {isoformat(due)}", name)


def _examine_backups(job: WatchedJob, context: HealthContext, stores: _Stores, report: HealthReport) -> None:
    services, problems = select(job.settings, list(context.installed), "installed")
    name = job.settings.name
    if problems:  # the same problem as when it was run, and no second one
        same = Problem("failed", f"job {name}: {'; '.join(problems)}", name, JOB, "", job.settings.store)
        report.problems = [item for item in report.problems if item.key != same.key] + [same]
    for store in (job.settings.store, *job.settings.copy_to):
        found = stores.holdings(store)
        if store == job.settings.store and found is not None:
            report.problems += _never_run(job, services, found, context)
        for service in services if found is not None else ():
            _examine_service(job, service, store, found or Holdings(), context, report)


def _never_run(job: WatchedJob, services: Sequence[str], found: Holdings, context: HealthContext) -> Iterator[Problem]:
    """A job that was never run, though its services have no archive: nobody should wait for the night to hear that."""
    name, store = job.settings.name, job.settings.store
    if job.schedule is None or name in context.started or name in context.running:
        return
    there = {item.service for item in (*found.own, *found.adoptable) if item.complete}
    bare = [service for service in services if service not in there]
    if bare and not any(_not_run(job, context)):
        text = f"job {name} was never run, and there is no archive of {', '.join(bare)} in {store}"
        yield Problem("never", text, name)


def _examine_service(
    job: WatchedJob, service: str, store: str, found: Holdings, context: HealthContext, report: HealthReport
) -> None:
    ours = [item for item in found.own if item.service == service]
    good = [item for item in ours if job.settings.allow_partial or not item.problems]
    last, limit = newest([item for item in good if item.created <= context.now + AHEAD], context.now), job.max_age
    # a drill has restored it whole, which proves as much
    proofs = (moment for item in ours if item.complete for moment in (item.verified, item.drilled) if moment)
    proven = max(proofs, default=None)
    age = context.now - last.created if last else None
    report.services.append(
        ServiceHealth(
            job.settings.name,
            service,
            store,
            isoformat(last.created) if last else None,
            age.total_seconds() if age is not None else None,
            limit.total_seconds() if limit else None,
            isoformat(proven) if proven else None,
        )
    )
    known = max(job.first_seen, context.installed.get(service) or job.first_seen)
    about = {"job": job.settings.name, "service": service, "store": store}
    late = limit is not None and (context.now - known if age is None else age) > limit
    # what can be adopted is in the store; that it is not signed yet is a problem of its own
    if limit is not None and late and not _is_recent(found.adoptable, service, limit, context.now):
        report.problems.append(Problem("stale", _stale(service, store, last, ours, limit, context.now), **about))
    if (spoilt := _damaged(ours, last, context.now)) is not None:
        text = f"the newest archive of {service} in {store}, {spoilt.name}, is of no use: {spoilt.fault}"
        report.problems.append(Problem("damaged", text, **about))
    allowed = job.settings.max_unverified
    since = proven or min((item.created for item in good if item.complete), default=None)
    if allowed is not None and since and context.now - since > dt.timedelta(seconds=allowed):
        told = f"was last verified {_span(context.now - since)} ago" if proven else "was never verified"
        text = f"no archive of {service} in {store} is verified: it {told}, allowed are {_hours(allowed)}"
        report.problems.append(Problem("unverified", text, **about))


def _is_recent(found: Sequence[Archive], service: str, limit: dt.timedelta, now: dt.datetime) -> bool:
    return any(item.service == service and item.complete and now - item.created <= limit for item in found)


def _damaged(ours: Sequence[Archive], last: Archive | None, now: dt.datetime) -> Archive | None:
    """The newest archive, if somebody has read it and found it damaged. Until there is a better one nobody should think
    that all is well, though an older one may be."""
    newer = [item for item in ours if item.created <= now + AHEAD and (last is None or item.created > last.created)]
    spoilt = [item for item in newer if item.damaged and item.fault]
    return max(spoilt, key=lambda item: item.created, default=None)


def _stale(
    service: str, store: str, last: Archive | None, ours: Sequence[Archive], limit: dt.timedelta, now: dt.datetime
) -> str:
    allowed = f"allowed are {_span(limit)}"
    if last is not None:
        return f"the newest good archive of {service} in {store} is {_span(now - last.created)} old, {allowed}"
    faults = f" ({len(ours)} are there, none of them good)" if ours else ""
    return f"there is no good archive of {service} in {store}{faults}, {allowed}"


@dataclass(frozen=True)
class Holdings:
    """The archives of this host in one store. own: proven ones of its own series. adoptable: unsigned ones that its
    history knows."""

    own: tuple[Archive, ...] = ()
    adoptable: tuple[Archive, ...] = ()


class _Stores:
    """Reads each store once, and reports once what it holds, or that it cannot be read."""

    def __init__(self, context: HealthContext, report: HealthReport) -> None:
        self._context = context
        self._report = report
        self._known: dict[str, Holdings | None] = {}

    def holdings(self, store: str) -> Holdings | None:
        """Return what a store holds of this host; None if it cannot be read."""
        if store not in self._known:
            try:
                catalog, memory = self._context.catalog(store), self._context.memory(store)
            except VaultError as error:
                self._known[store] = None
                self._report.unseen.add(store)
                text = f"store {store} cannot be read: {error.message}"
                self._report.problems.append(Problem("unreachable", text, store=store))
            else:
                self._known[store] = _examine_store(store, catalog, memory, self._report)
        return self._known[store]


def _examine_store(store: str, catalog: Catalog, memory: HostMemory | None, report: HealthReport) -> Holdings:
    """What a store holds of this host; what is odd about it is in the report."""
    own = tuple(item for item in catalog.archives if item.is_proven and _is_own(item, catalog))
    others = [item for item in catalog.archives if not item.is_proven and not item.missing]
    adoptable = tuple(item for item in others if item.standing in _ADOPTABLE and memory and memory.lists(item))
    if adoptable:
        verb, them = ("is", "it") if len(adoptable) == 1 else ("are", "them")
        text = f"{plural(len(adoptable), 'archive')} in {store} {verb} not signed, so retention does not count {them}: "
        report.problems.append(Problem("unsigned", f"{text}type: drunner-vault archives {store} --adopt", store=store))
    unknown = [item for item in own if _signed_by_own_key(item, catalog) and memory and not memory.knows(item)]
    if unknown:
        bear, be = ("bears", "is") if len(unknown) == 1 else ("bear", "are")
        text = (
            f"{plural(len(unknown), 'archive')} in {store}, first {unknown[0].key}, {bear} this host's key and {be} "
            "not in its history: the key was stolen, the machine was cloned, or the history was lost"
        )
        report.problems.append(Problem("key", text, store=store))
    report.notices += _notices(store, catalog, [item for item in others if item not in adoptable])
    return Holdings(own, adoptable)


_ADOPTABLE = (Standing.UNSIGNED, Standing.UNREADABLE, Standing.STRANGER, Standing.MISPLACED)


def _is_own(item: Archive, catalog: Catalog) -> bool:
    return item.series is not None and catalog.signers.is_own(item.series, item.host)


def _signed_by_own_key(item: Archive, catalog: Catalog) -> bool:
    return catalog.signers.own is not None and item.signer == catalog.signers.own.fingerprint


def _notices(store: str, catalog: Catalog, others: Sequence[Archive]) -> Iterator[Notice]:
    for group in others_of(others):
        amount = plural(group.bytes, "byte")
        text = f"{store}: {group.describe()}, {amount}; see: drunner-vault prune {store} --unsigned"
        yield Notice("others", text, store, group.count, group.bytes)
    signers: dict[Directory, set[str]] = {}
    for item in catalog.archives:
        if item.signer and not item.missing and item.standing is not Standing.MISPLACED:
            name = item.series.fingerprint if item.series else item.signer
            signers.setdefault(item.group, set()).add(name)
    for (host, service), names in sorted(signers.items()):
        if len(names) > 1:
            text = (
                f"{store}: {len(names)} keys have signed archives in {host}/{service}: {', '.join(sorted(names))}; two "
                "machines of one name, or a stranger"
            )
            yield Notice("signers", text, store)
    for (host, service), reason in sorted(catalog.frozen.items()):
        yield Notice("frozen", f"{store}: nothing is deleted in {host}/{service}: {reason}", store)


def _hours(seconds: float) -> str:
    return _span(dt.timedelta(seconds=seconds))


def _span(span: dt.timedelta) -> str:
    """Days and hours, or hours and minutes."""
    minutes = int(span.total_seconds() // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
