"""Rehearsing recovery: whether the identities that are offered open the newest archive of every service.

    catalog → newest complete of each service → opened, decrypted, proven → a record beside it

Keys get lost, are mixed up, or were never the ones that a host encrypts to. All of that shows here, and not only when
the host is gone.
"""

from __future__ import annotations

import fnmatch
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drunner_vault.age import MAGIC, HybridIdentity, Identity, Stanza, X25519Identity, read_header
from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.catalog import Catalog
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.catalog.records import RecordKind
from drunner_vault.catalog.selection import groups_of, select_newest
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import ArchiveError, BadUsage, KeyProblem, NoKey, StorageError, Unavailable, VaultError
from drunner_vault.stores.ranged import HEAD
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.stores.store import Store
from drunner_vault.workflows.archives.finding import stored
from drunner_vault.workflows.archives.recording import Located, Recorder
from drunner_vault.workflows.archives.verify import VerifyReport, recorded, verify, verify_index
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.trust import Trust

SHOWN = 16  # characters of a recipient: as many as sidecars keep, to tell it from others
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Wanted:
    """Which services: names or shell patterns, of one host or of all, without those that `exclude` names alike."""

    services: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    host: str | None = None

    def has(self, item: Archive) -> bool:
        """Whether an archive is of one of them."""
        ours = self.host in (None, item.host)
        return ours and _matches(item.service, self.services) and not _matches(item.service, self.exclude)

    def absent(self, found: Sequence[Archive]) -> Iterator[str]:
        """The names that none of the archives is of; a pattern is absent only if nothing at all was found."""
        services = {item.service for item in found}
        for service in self.services:
            if service not in services and (not services or not _PATTERN.search(service)):
                yield service


@dataclass(frozen=True)
class Rehearsal:
    """What became of one service. archive: its newest complete one, empty if it has none. checked: `index` or
    `everything`. by: the beginnings of the recipients whose identities opened it; none for a passphrase, or if it is in
    the clear. problem: why recovery would have failed, empty if it would not; hint: what to do. passed_over: newer
    archives that do not count, and why. recorded: whether this stands beside the archive now."""

    host: str
    service: str
    archive: str = ""
    created: str = ""
    encrypted: bool = True
    checked: str = ""
    by: tuple[str, ...] = ()
    sender: str = ""
    trusted: bool = False
    problem: str = ""
    hint: str = ""
    passed_over: tuple[str, ...] = ()
    recorded: bool = False


@dataclass
class RehearsalReport:
    """A rehearsal of one store. idle: the beginnings of the recipients whose identities opened nothing."""

    store: str
    services: list[Rehearsal] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Rehearsal]:
        """The services that would not have come back."""
        return [item for item in self.services if item.problem]


def rehearse(
    catalog: Catalog,
    wanted: Wanted,
    identities: Sequence[Identity],
    trust: Trust,
    clock: Clock,
    progress: Progress,
    *,
    full: bool = False,
) -> RehearsalReport:
    """Open the newest complete archive of each service in a store, and prove its manifest, index and signature, or,
    with `full`, every byte. Each is tried, whatever becomes of the others, and what opens is recorded beside it.

    Raises StorageError if the store cannot be listed, NoKey if no identity was given and an archive needs one.
    """
    report = RehearsalReport(catalog.root.name)
    found = [item for item in catalog.archives if wanted.has(item)]
    groups = {group: [item for item in found if item.group == group and not item.missing] for group in groups_of(found)}
    chosen = {group: _newest(catalog, items, clock) for group, items in groups.items() if items}
    encrypted = any(isinstance(item, Archive) and item.recipients for item in chosen.values())
    if not identities and encrypted:
        raise NoKey("no identity was given to rehearse with", "give it with -i FILE, or set DRUNNER_PASSPHRASE")
    one = _Rehearsing(catalog.root, list(identities), trust, clock, progress, full)
    report.services += [one.try_newest(group, item, groups[group]) for group, item in chosen.items()]
    report.services += [_absent(name, wanted, catalog.root.store) for name in wanted.absent(found)]
    used = {by for item in report.services for by in item.by}
    offered = dict.fromkeys(recipient_of(one)[:SHOWN] for one in identities)
    report.idle = [name for name in offered if name and name not in used]
    return report


def _newest(catalog: Catalog, items: Sequence[Archive], clock: Clock) -> Archive | VaultError:
    """The archive that a recovery would take, or why none can be chosen."""
    try:
        return select_newest(catalog, items, clock.now()).archive
    except (BadUsage, StorageError) as error:
        return error


@dataclass(frozen=True)
class _Rehearsing:
    """One store's rehearsal under way."""

    root: StoreRoot
    identities: list[Identity]
    trust: Trust
    clock: Clock
    progress: Progress
    full: bool

    def try_newest(self, group: tuple[str, str], item: Archive | VaultError, items: Sequence[Archive]) -> Rehearsal:
        """One service."""
        host, service = group
        if isinstance(item, VaultError):
            return Rehearsal(host, service, problem=item.message, hint=item.hint or "make a backup of it now")
        newer = [other for other in items if other.created > item.created]
        passed = tuple(f"{other.name}: {other.fault or other.why or 'it was made in the future'}" for other in newer)
        known = Rehearsal(host, service, item.key, isoformat(item.created), bool(item.recipients), passed_over=passed)
        try:
            return self._opened(item, known)
        except (KeyProblem, ArchiveError, StorageError) as error:
            return replace(known, problem=error.message, hint=error.hint)

    def _opened(self, item: Archive, known: Rehearsal) -> Rehearsal:
        source = stored(self.root.store, item.key, self.root.address)
        recorder = Recorder(Located(self.root, item.key, item) if self.root.identity else None, self.trust, self.clock)
        stanzas = _stanzas(source)
        fitting = [one for one in self.identities if recipient_of(one) and one.unwrap(stanzas) is not None]
        report = self._proven(source, fitting or self.identities, recorder)
        by = tuple(recipient_of(one)[:SHOWN] for one in fitting)
        return replace(
            known,
            encrypted=bool(stanzas),
            checked=report.checked,
            by=by,
            sender=report.sender,
            trusted=report.trusted,
            recorded=_record(recorder, {"checked": report.checked, "by": list(by)}),
        )

    def _proven(self, source: ArchiveSource, identities: list[Identity], recorder: Recorder) -> VerifyReport:
        def everything(each: ArchiveSource) -> VerifyReport:
            return verify(each, lambda: identities, None, self.trust, self.progress)

        if self.full:
            return recorded(source, recorder, everything)
        return verify_index(source, lambda: identities, self.trust)


def _record(recorder: Recorder, details: dict[str, Any]) -> bool:
    try:
        return recorder.record(RecordKind.REHEARSED, details)
    except Unavailable:
        return False  # what was found is no less true


def recipient_of(identity: Identity) -> str:
    """The recipient that belongs to an identity; empty for a passphrase."""
    return str(identity.recipient()) if isinstance(identity, X25519Identity | HybridIdentity) else ""


def _absent(name: str, wanted: Wanted, store: Store) -> Rehearsal:
    of_host = f" of host {wanted.host}" if wanted.host else ""
    what = "no archive" if _PATTERN.search(name) else f"no archive of {name}"
    return Rehearsal(
        wanted.host or "",
        name,
        problem=f"there is {what}{of_host} in {store.name}",
        hint="see what there is: drunner-vault archives",
    )


def _stanzas(source: ArchiveSource) -> tuple[Stanza, ...]:
    """The stanzas of an archive's header; none if it is in the clear."""
    with source.ranged() as ranged:
        start = ranged.read_at(0, min(HEAD, ranged.size))
    return read_header(io.BytesIO(start)).stanzas if start.startswith(MAGIC) else ()


def _matches(service: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(service, pattern) for pattern in patterns)
