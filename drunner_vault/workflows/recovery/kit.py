"""Making a recovery kit: what a person needs who has lost a host, gathered while there is one.

identity ┐
signers  ├→ sheet → page, for the owner only
stores   ┘    └→ problems: what would be in that person's way
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from drunner_vault import __version__
from drunner_vault.age import ARMOR_BEGIN, MAGIC, HybridIdentity, armored, dearmor, parse_identities, read_outline
from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.catalog import Catalog
from drunner_vault.catalog.selection import groups_of, select_newest
from drunner_vault.clock import Clock
from drunner_vault.durable import new_file, storage_error
from drunner_vault.errors import ArchiveError, BadKey, BadUsage, NoKey, StorageError
from drunner_vault.kit.page import render
from drunner_vault.kit.sheet import KeySheet, Kit, ServiceSheet, SignerSheet, StoreSheet
from drunner_vault.stores.address import Address
from drunner_vault.workflows.archives.places import Places
from drunner_vault.workflows.recovery import by_hand
from drunner_vault.workflows.recovery.by_hand import Place
from drunner_vault.workflows.recovery.rehearse import SHOWN, recipient_of
from drunner_vault.workflows.trust import Trust

_SAID_ELSEWHERE = {"endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "region": ("AWS_DEFAULT_REGION",)}
_ONE_PAGE = "print a file that holds fewer keys"


@dataclass(frozen=True)
class KitChoices:
    """What to put on a kit. identity: file of the recovery identity; None for a kit without the secret. stores: as a
    person names them. recipients: whom backups are encrypted to here, where that is set. services: that are installed
    here. to: the file that the page will be. environment: what S3 stores take from it here, another host has to be
    told."""

    host: str
    identity: Path | None
    stores: tuple[str, ...]
    recipients: tuple[str, ...]
    services: tuple[str, ...]
    to: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def gather(
    choices: KitChoices, places: Places, trust: Trust, clock: Clock, ask: Callable[[str], str] | None = None
) -> Kit:
    """All that goes on the page. What stands in the way of a recovery as things are is among its problems: a store that
    cannot be listed too. ask: prompts a person for the identity's passphrase, to prove that it still has one that is
    known. Raises KeyProblem for what is no identity file, BadUsage for what is no store, StorageError."""
    key = _key_sheet(choices.identity, ask) if choices.identity else None
    if choices.services:
        trust.signing_key()  # made now if need be: it will sign the archives that are yet to come
    signers = [SignerSheet(signer.fingerprint, line) for signer, line in trust.lines()]
    shelves = [_Shelf.of(places, choices, name, key, signers, clock) for name in choices.stores]
    found = [shelf.place for shelf in shelves]
    problems = [*_untried(key), *_encrypted_elsewhere(key, choices.recipients)]
    problems += [problem for shelf in shelves for problem in shelf.problems]
    seen = {(item.host, item.service) for shelf in shelves for item in shelf.services}
    problems += [
        f"{name} is installed on {choices.host}, and no archive of it was found"
        for name in choices.services
        if (choices.host, name) not in seen
    ]
    post_quantum = key.post_quantum if key else any(text.startswith("age1pq1") for text in choices.recipients)
    return Kit(
        choices.host,
        clock.now(),
        __version__,
        key,
        tuple(signers),
        tuple(StoreSheet(shelf.place.url, shelf.place.login, shelf.services) for shelf in shelves),
        tuple(by_hand.with_us(found, signers, has_key=key is not None)),
        tuple(by_hand.without_us(found, signers, post_quantum=post_quantum)),
        tuple(by_hand.checks(found, file=str(choices.to.absolute()) if key else "")),
        tuple(problems),
    )


def write(kit: Kit, path: Path) -> None:
    """The page as a new file that only its owner reads. Raises AlreadyExists, StorageError; BadKey if the identity is
    too long to be printed."""
    try:
        page = render(kit)
    except ValueError as cause:
        raise BadKey(f"the identity file cannot be printed: {cause}", _ONE_PAGE) from cause
    with new_file(path) as stream:
        stream.write(page.encode())


def _key_sheet(path: Path, ask: Callable[[str], str] | None) -> KeySheet:
    """The identity, as its file has it; a passphrase on it stays."""
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise storage_error("read the identity file", path, cause) from cause
    protected = data.startswith(MAGIC) or data.lstrip().startswith(ARMOR_BEGIN)
    prompt = (lambda: ask(f"Passphrase of {path}")) if ask else None
    try:
        found = parse_identities(data, str(path), prompt)
    except NoKey:
        return KeySheet(_encrypted_text(data, path), protected=True)
    recipients = tuple(filter(None, map(recipient_of, found)))
    post_quantum = any(isinstance(one, HybridIdentity) for one in found)
    return KeySheet(_encrypted_text(data, path) if protected else data.decode(), recipients, protected, post_quantum)


def _encrypted_text(data: bytes, path: Path) -> str:
    """An identity file that is encrypted with a passphrase, as text that age takes, seen to be complete."""
    try:
        binary = data
        if not data.startswith(MAGIC):
            reader = dearmor(io.BytesIO(data))
            binary = b"".join(iter(lambda: reader.read(1 << 16), b""))
        read_outline(binary, len(binary))
    except ArchiveError as error:
        raise BadKey(f"{path} is damaged: {error.message}", error.hint) from error
    return (data if data.lstrip().startswith(ARMOR_BEGIN) else armored(data)).decode()


def _untried(key: KeySheet | None) -> list[str]:
    if key is None or key.recipients:
        return []
    return ["nobody was there to try the key's passphrase, so whether it opens anything is not known"]


def _encrypted_elsewhere(key: KeySheet | None, recipients: Sequence[str]) -> list[str]:
    if key is None or not key.recipients or not recipients or set(recipients) & set(key.recipients):
        return []
    others = ", ".join(f"{text[:SHOWN]}…" for text in recipients)
    return [f"backups made here are not encrypted to this key, but to {others}"]


@dataclass(frozen=True)
class _Shelf:
    """A store, as it was found."""

    place: Place
    services: tuple[ServiceSheet, ...] = ()
    problems: tuple[str, ...] = ()

    @staticmethod
    def of(
        places: Places,
        choices: KitChoices,
        name: str,
        key: KeySheet | None,
        signers: Sequence[SignerSheet],
        clock: Clock,
    ) -> _Shelf:
        """The store that a person names, if it can be listed."""
        place = Place(_told(places.address(name), choices.environment))
        try:
            catalog = places.catalog(places.root(places.address(name)))
        except StorageError as error:
            return _Shelf(place, (), (f"{place.url} could not be listed: {error.message}",))
        items = [item for item in catalog.archives if not item.missing]
        if not items:
            return _Shelf(place, (), (f"there is no archive in {place.url}",))
        sheets, tops = [], []
        for group in groups_of(items):
            ours = [item for item in items if item.group == group]
            top = _newest(catalog, ours, clock)
            sheets.append(_service_sheet(ours[0], top, key, signers))
            tops += [top] if top else []
        problems = [f"{item.service} of {item.host or 'unknown'}: {item.note}" for item in sheets if item.note]
        return _Shelf(Place(place.address, tuple(tops)), tuple(sheets), tuple(problems))


def _newest(catalog: Catalog, items: Sequence[Archive], clock: Clock) -> Archive | None:
    """The archive that a recovery would take; None if none can be chosen."""
    try:
        return select_newest(catalog, items, clock.now()).archive
    except (BadUsage, StorageError):
        return None


def _told(address: Address, environment: Mapping[str, str]) -> Address:
    """A store's address, with what is said of it in the environment only."""
    if address.scheme != "s3":
        return address
    found = {option: next(filter(None, map(environment.get, names)), None) for option, names in _SAID_ELSEWHERE.items()}
    return replace(address, options={**{key: text for key, text in found.items() if text}, **address.options})


def _service_sheet(
    last: Archive, top: Archive | None, key: KeySheet | None, signers: Sequence[SignerSheet]
) -> ServiceSheet:
    """last, top: a service's newest archive, and its newest complete one."""
    if top is None:
        return ServiceSheet(
            last.host, last.service, note=f"none of its archives can be chosen: {last.fault or last.why}"
        )
    note = _unfit(top, key) or _unknown_signer(top, signers)
    return ServiceSheet(top.host, top.service, top.name, _sealed_to(top), note)


def _sealed_to(item: Archive) -> str:
    if not item.recipients:
        return "nobody: in the clear"
    return "a passphrase" if "scrypt" in item.recipients else ", ".join(item.sealed_to or item.recipients)


def _unfit(item: Archive, key: KeySheet | None) -> str:
    if "scrypt" in item.recipients:
        return "its passphrase is not on this page"
    known = [text[:SHOWN] for text in key.recipients] if key else []
    if known and item.sealed_to and not set(known) & set(item.sealed_to):
        return "it is not encrypted to this key"
    return ""


def _unknown_signer(item: Archive, signers: Sequence[SignerSheet]) -> str:
    if not item.has_sidecar or not item.recipients or "scrypt" in item.recipients:
        return ""
    if not item.signer:
        return "it is not signed: restoring it takes --any-sender"
    if item.signer not in {signer.fingerprint for signer in signers}:
        return f"it is signed by {item.signer}, whom nobody trusts here: see key signer, and key trust"
    return ""
