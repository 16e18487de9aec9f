"""Bringing back all services of a host that is gone, from the newest archives that it left in a store.

    catalog → newest complete one of each service → manifest → plan → restored, one after the other → report

Each is restored as a whole or not at all, and one that cannot be does not stop the others. What has been done is
written down, so that the same command, given again after it was stopped or something was mended, goes on from there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from drunner_vault.age import Identity
from drunner_vault.archive import Manifest
from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.catalog import Catalog, newest
from drunner_vault.catalog.selection import groups_of, select_newest
from drunner_vault.clock import isoformat
from drunner_vault.engine.trees import Access
from drunner_vault.errors import (
    BadUsage,
    DamagedArchive,
    Interrupted,
    NoKey,
    NoSpace,
    NotFound,
    StorageError,
    VaultError,
)
from drunner_vault.hoststate.state import State
from drunner_vault.services.home import ServiceHome
from drunner_vault.stores.store import Store
from drunner_vault.workflows.archives.finding import stored
from drunner_vault.workflows.archives.opening import open_archive
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.moving.preflight import Needs, fitness
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.recovery.rehearse import Wanted
from drunner_vault.workflows.restore_service import restore_service
from drunner_vault.workflows.services.drunner_restore import RestoreChoices
from drunner_vault.workflows.services.selftest import require_well, start_unless_running
from drunner_vault.workflows.trust import Trust, require_trusted
from drunner_vault.workflows.working import working_on

RESTORE, FINISH, HERE, IMPOSSIBLE = "restore", "finish", "here", "impossible"
RESTORED, FAILED, UNWELL = "restored", "failed", "unwell"


@dataclass(frozen=True)
class Wish:
    """What is to come back. host: whose services; the only one that the store has archives of, if None. services: names
    or shell patterns. replace: the content of volumes that are here already."""

    host: str | None = None
    services: tuple[str, ...] = ("*",)
    replace: bool = False
    access: Access = Access.AUTO


@dataclass(frozen=True)
class Keys:
    """What opens archives, and who may have made them. offered, ask, trust: see restore_service."""

    offered: Callable[[], list[Identity]]
    ask: Callable[[str], str] | None
    trust: Trust | None


@dataclass(frozen=True)
class PlannedService:
    """One service. archive: its newest complete one, empty if it has none; created: when that was made. size: bytes of
    it; content: bytes that it will take here. action: `restore`, `finish` (an earlier rebuild has restored it, and not
    found it to be well), `here` (it has), `impossible`. why: the reason, where it is not restored. passed_over: newer
    archives, and why they do not count. older: the complete one before it, empty if there is none. running: whether it
    ran when that was made. appeared: when the archive appeared in the store."""

    service: str
    archive: str = ""
    created: str = ""
    size: int = 0
    content: int = 0
    action: str = RESTORE
    why: str = ""
    hint: str = ""
    passed_over: tuple[str, ...] = ()
    older: str = ""
    ports: tuple[str, ...] = ()
    running: bool = False
    appeared: dt.datetime | None = None


@dataclass(frozen=True)
class RebuildPlan:
    """What would be done, in this order. needed: bytes; free: where Docker keeps its data, None if unknown."""

    store: str
    host: str
    services: tuple[PlannedService, ...]
    needed: int
    free: int | None


@dataclass(frozen=True)
class ServiceOutcome:
    """What became of one service. verdict: `restored`, `here`, `impossible`, `failed` (nothing of it is here), `unwell`
    (it is here, and its own selftest complains). well: whether its selftest says so; False if it has none."""

    service: str
    verdict: str
    archive: str = ""
    why: str = ""
    hint: str = ""
    seconds: float = 0.0
    content: int = 0
    well: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """Whether a person has something to do."""
        return self.verdict in (IMPOSSIBLE, FAILED, UNWELL)


@dataclass
class RebuildReport:
    """What was done."""

    store: str
    host: str
    services: list[ServiceOutcome] = field(default_factory=list)


def plan_rebuild(host: ServiceHost, catalog: Catalog, wish: Wish, keys: Keys) -> RebuildPlan:
    """What would be restored. Nothing is changed. Every archive is opened, so that what is wrong with a key, a sender
    or this host shows now.

    Raises NotFound, BadUsage if several hosts could be meant, NoKey, StorageError.
    """
    found = _of_one_host(catalog, wish)
    wanted = Wanted(wish.services, host=found[0].host)
    chosen = sorted(filter(wanted.has, found), key=lambda item: item.service)
    if any(item.recipients for item in chosen):
        keys.offered()  # a key file that cannot be read is said once, and a person asked once
    groups = {service: list(group) for service, group in groupby(chosen, key=lambda item: item.service)}
    planned = [_planned(host, catalog, service, group, wish, keys) for service, group in groups.items()]
    planned += [
        PlannedService(name, action=IMPOSSIBLE, why=f"there is no archive of it in {catalog.root.name}")
        for name in wanted.absent(found)
    ]
    needed = sum(item.content for item in planned if item.action == RESTORE)
    return RebuildPlan(catalog.root.name, found[0].host, tuple(planned), needed, host.engine.facts().free)


def rebuild(
    host: ServiceHost,
    store: Store,
    plan: RebuildPlan,
    wish: Wish,
    keys: Keys,
    progress: Progress,
    told: Callable[[ServiceOutcome], None],
) -> RebuildReport:
    """Carry out a plan. told: of each outcome, when it is known.

    Raises NoSpace before anything is changed; Interrupted, after which the same command goes on.
    """
    if plan.free is not None and plan.needed > plan.free:
        raise NoSpace(
            f"{plan.needed >> 20} MiB are needed, and only {plan.free >> 20} MiB are free where Docker keeps its data",
            "make room, or restore some of the services only: --services",
        )
    report = RebuildReport(plan.store, plan.host)
    for item in plan.services:
        outcome = _outcome(host, store, item, wish, keys, progress)
        report.services.append(outcome)
        told(outcome)
    return report


@dataclass(frozen=True)
class _Earlier:
    """What an earlier rebuild has done with a service. archive: it was restored from that. running: whether it is to
    run. installed: when that was, empty until it is known. proven: it was seen to be well, as far as it can tell."""

    archive: str
    running: bool
    installed: str = ""
    proven: bool = False


class _Done:
    """Which services a rebuild has restored, from which archive: `ROOT/vault/rebuilt-NAME.json`.

    It is written before the restore begins, when the service is not here. So once it is, this restore has brought it.
    """

    def __init__(self, home: ServiceHome) -> None:
        self._home = home
        self._state = State.of(home.root, f"rebuilt-{home.name}")

    def begin(self, item: PlannedService) -> None:
        """It is about to be restored."""
        self._write(_Earlier(item.archive, item.running))

    def restored(self, item: PlannedService, *, proven: bool) -> None:
        """It is here."""
        self._write(_Earlier(item.archive, item.running, self._installed(), proven))

    def forget(self) -> None:
        """It was taken back."""
        self._state.remove()

    def earlier(self) -> _Earlier | None:
        """What brought the service that is here; None if it is not here, or from elsewhere.

        Only under its lock, and tidied up.
        """
        found: dict[str, Any] = self._state.read()
        if not found:
            return None
        try:
            known = _Earlier(**found)
        except TypeError:  # nothing of ours
            return None
        if self._home.exists() and known.installed in ("", self._installed()):
            return known
        self.forget()
        return None

    def _write(self, known: _Earlier) -> None:
        self._state.write(vars(known))

    def _installed(self) -> str:
        record = self._home.record()
        return record.installed if record else ""


def _of_one_host(catalog: Catalog, wish: Wish) -> list[Archive]:
    """All archives of the host that is meant: directories of others do not make that unclear."""
    found = [item for item in catalog.archives if not item.missing and wish.host in (None, item.host)]
    groups = groups_of(found)
    hosts = sorted({host for host, _ in groups})
    if not hosts:
        there = ", ".join(sorted({item.host for item in catalog.archives}))
        of = f" of host {wish.host}" if wish.host else ""
        raise NotFound(
            f"there is no archive{of} in {catalog.root.name}",
            f"there are those of: {there}" if there else "check the place",
        )
    if len(hosts) > 1:
        raise BadUsage(
            f"there are archives of several hosts in {catalog.root.name}: {', '.join(hosts)}", "say whose: --host"
        )
    return [item for item in found if item.group in groups]


def _planned(
    host: ServiceHost, catalog: Catalog, service: str, group: list[Archive], wish: Wish, keys: Keys
) -> PlannedService:
    now, store = host.clock.now(), catalog.root.store
    try:
        chosen = select_newest(catalog, group, now).archive
    except (BadUsage, StorageError) as error:
        return PlannedService(service, action=IMPOSSIBLE, why=error.message, hint=error.hint)
    later = tuple(
        f"{item.name}: {item.fault or item.why or 'made in the future'}"
        for item in group
        if item.created > chosen.created
    )
    same = [item for item in group if item.created < chosen.created and item.series == chosen.series]
    before = newest(same, now)
    item = PlannedService(
        service,
        chosen.key,
        isoformat(chosen.created),
        chosen.size,
        passed_over=later,
        older=before.key if before else "",
        appeared=chosen.modified,
    )
    try:
        return _looked_into(host, store, item, wish, keys)
    except (NoKey, Interrupted):
        raise
    except VaultError as problem:
        return replace(item, action=IMPOSSIBLE, why=problem.message, hint=_way_out(store, item, problem))


def _looked_into(host: ServiceHost, store: Store, item: PlannedService, wish: Wish, keys: Keys) -> PlannedService:
    """The plan for one service, from its archive's manifest. Raises what makes it impossible."""
    with working_on(host, item.service, f"look whether {item.service} can be rebuilt") as home:
        earlier = _Done(home).earlier()
    if earlier:
        why = "" if earlier.archive == item.archive else f"it was restored from {earlier.archive}"
        action = HERE if earlier.proven else FINISH
        return replace(item, archive=earlier.archive, action=action, why=why, running=earlier.running)
    with open_archive(stored(store, item.archive), keys.offered) as opened:
        manifest, closing = opened.archive.manifest, opened.archive.closing
        if keys.trust is not None and opened.recipients and "scrypt" not in opened.recipients:
            sender = keys.trust.sender(closing.root_bytes, closing.signature, manifest.host, item.appeared)
            require_trusted(sender, item.archive)
        content = sum(part.content for name, part in closing.root.components.items() if name.startswith("volumes/"))
    needs = _needs(item.service, manifest, content, replace=wish.replace)
    found = fitness(host, needs)
    problems = [*found.problems]
    embedded = {image.reference for image in manifest.images if image.embedded}
    for reference, how in found.images.items():
        if how == "bring" and reference == manifest.service.image and reference not in embedded:
            problems.append(f"image {reference} is neither in the archive, nor here, nor to be had from its registry")
    if problems:
        return replace(
            item, content=found.wanted, action=IMPOSSIBLE, why="; ".join(problems), hint="mend that, and try again"
        )
    running = bool(manifest.service.settings.get("running"))
    return replace(item, content=found.wanted, ports=needs.ports, running=running)


def _way_out(store: Store, item: PlannedService, problem: VaultError) -> str:
    """What a person can do. Which older state is good enough is theirs to say."""
    if isinstance(problem, DamagedArchive) and item.older:
        return f"what was there before is perhaps whole: drunner-vault restore {store.name}/{item.older}"
    return problem.hint


def _needs(service: str, manifest: Manifest, content: int, *, replace: bool) -> Needs:
    ports = manifest.service.settings.get("ports")
    return Needs(
        name=service,
        volumes=tuple(volume.path for volume in manifest.volumes),
        content=content,
        images=manifest.images,
        ports=tuple(map(str, ports)) if isinstance(ports, Sequence) else (),
        replace=replace,
    )


def _outcome(
    host: ServiceHost, store: Store, item: PlannedService, wish: Wish, keys: Keys, progress: Progress
) -> ServiceOutcome:
    if item.action in (HERE, IMPOSSIBLE):
        return ServiceOutcome(item.service, item.action, item.archive, item.why, item.hint)
    started = host.clock.monotonic()
    outcome = ServiceOutcome(item.service, RESTORED, item.archive)
    try:
        if item.action == RESTORE:
            outcome = _restored(host, store, item, wish, keys, progress)
    except Interrupted:
        raise
    except VaultError as problem:
        return replace(outcome, verdict=FAILED, why=problem.message, hint=_way_out(store, item, problem))
    try:
        well = _proven(host, item)
    except Interrupted:
        raise
    except VaultError as problem:
        outcome = replace(outcome, verdict=UNWELL, why=problem.message, hint=problem.hint)
    else:
        outcome = replace(outcome, well=well)
    return replace(outcome, seconds=round(host.clock.monotonic() - started, 3))


def _restored(
    host: ServiceHost, store: Store, item: PlannedService, wish: Wish, keys: Keys, progress: Progress
) -> ServiceOutcome:
    """Restore it. Raises whatever stops that: it is not here then."""
    done = _Done(host.home(item.service))
    choices = RestoreChoices(item.service, replace=wish.replace, access=wish.access)
    done.begin(item)
    try:
        source = stored(store, item.archive)
        _, report = restore_service(host, source, choices, keys.offered, keys.ask, keys.trust, progress)
    except Interrupted:
        raise
    except VaultError:
        done.forget()
        raise
    done.restored(item, proven=False)
    lost = [f"{name} went through Docker's archive calls: {'; '.join(what)}" for name, what in report.lost.items()]
    warnings = (*lost, *report.problems)
    return ServiceOutcome(item.service, RESTORED, item.archive, content=report.content, warnings=warnings)


def _proven(host: ServiceHost, item: PlannedService) -> bool:
    """Have it run if it ran where it comes from, and ask it whether it is well. See require_well."""
    home = host.home(item.service)
    if item.running:
        start_unless_running(host, home)
    well = require_well(host, home)
    _Done(home).restored(item, proven=True)
    return well
