"""Which store an address is, and who may be at work in it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from drunner_vault.archive import archive_stamp
from drunner_vault.catalog.records import parse_stamp
from drunner_vault.clock import SYSTEM_CLOCK
from drunner_vault.config import StoreSettings
from drunner_vault.errors import BadServiceName, BadUsage, StorageError
from drunner_vault.hoststate.archive_log import ArchiveLog
from drunner_vault.hoststate.known_stores import KnownStores
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
from drunner_vault.services.lock import locked_services, service_lock
from drunner_vault.services.names import MAX_LENGTH, check_service_name
from drunner_vault.stores.address import OPTIONS, Address, check_option, parse_url
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import Store
from drunner_vault.wiring.settings import retention, services_root, settings, timezone, trust, vault_directory
from drunner_vault.workflows.archives.places import Places
from drunner_vault.workflows.unattended.history import History

if TYPE_CHECKING:
    from drunner_vault.catalog.catalog import CatalogReader
    from drunner_vault.catalog.identity import StoreRoot
    from drunner_vault.workflows.archives.adopt import HostMemory
    from drunner_vault.workflows.into_store import StoreChoices  # which only backups need

_PATIENCE = {"timeout": "15", "attempts": "2"}
_LOOKED_AT = 8  # archives in a directory, for other signers
_COPYING = ".copying"  # after a service's name: the lock of those who copy its archives


def places(environment: Mapping[str, str], notice: Callable[[str], None], *, impatient: bool = False) -> Places:
    """Return what the names of stores and archives mean on this host. impatient: see `hurried`.

    Raises BadUsage for bad settings.
    """
    named = {name: named_store(name, item) for name, item in settings(environment).stores.items()}
    named = {name: hurried(address) for name, address in named.items()} if impatient else named
    remembers = os.geteuid() == 0
    directory = vault_directory(environment)

    def opened(root: StoreRoot) -> None:
        from drunner_vault.workflows.into_store import write_pending

        if remembers:
            write_pending(root, PendingSidecars(directory), ArchiveLog(directory), SYSTEM_CLOCK, notice)

    return Places(
        named,
        partial(open_store, environment, notice),
        SYSTEM_CLOCK.now,
        notice,
        partial(catalog_reader, environment),
        partial(address_text, environment),
        KnownStores(directory) if remembers else None,
        opened,
    )


def catalog_reader(environment: Mapping[str, str]) -> CatalogReader:
    """Return what reads catalogs by this host's trust. Raises BadUsage, BadKey."""
    from drunner_vault.catalog.cache import ObjectCache
    from drunner_vault.catalog.catalog import CatalogReader

    now = SYSTEM_CLOCK.now()
    path = vault_directory(environment) / "objects.sqlite" if os.geteuid() == 0 else None
    return CatalogReader(trust(environment).host_signers(now), now, ObjectCache(path))


def address_text(environment: Mapping[str, str], address: Address) -> str:
    """Return an address as text, the same however the operator wrote it: by it this host remembers stores."""
    if address.scheme == "file":
        return str(Path(address.path).resolve())
    text = f"{address.scheme}://{address.authority}/{address.path.strip('/')}"
    if address.scheme == "s3":
        variables = map(environment.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
        endpoint = address.options.get("endpoint") or next(filter(None, variables), "")
        return f"{text}?endpoint={endpoint.rstrip('/')}" if endpoint else text
    return text


def store_choices(
    environment: Mapping[str, str],
    places: Places,
    text: str,
    keep: Mapping[str, str | int],
    notice: Callable[[str], None],
) -> StoreChoices:
    """Return the store that a text names, to back up to. keep: rules of retention, instead of those in the settings.

    Raises BadUsage, StorageError.
    """
    from drunner_vault.workflows.into_store import StoreChoices

    address = places.address(text)
    kept = retention(environment, address.store, keep)
    directory = vault_directory(environment)
    root = places.writable_root(address)
    return StoreChoices(
        root,
        lambda: places.identified(root),
        kept,
        timezone(environment),
        notice,
        time.sleep,
        ArchiveLog(directory),
        PendingSidecars(directory),
        partial(_in_history, History(directory), root.name),
        partial(_other_signers, places, root),
        is_copying(environment),
    )


def _other_signers(places: Places, root: StoreRoot, directory: str) -> list[str]:
    """The keys that have signed the newest archives in a directory and are not of this host's series."""
    reader = places.reader()
    host = directory.partition("/")[0]
    try:
        found = reader.read_newest(replace(root, prefix=directory), _LOOKED_AT)
    except StorageError:  # a login that may only add
        return []
    own = [item.signer for item in found if item.series is not None and reader.signers.is_own(item.series, host)]
    return sorted({item.signer for item in found if item.signer} - set(own))


def _in_history(history: History, store: str, host: str, workload: str) -> list[dt.datetime]:
    """When archives of a workload in a store were made, by the history: versions before 1.1 kept no log."""
    start = f"{store.rstrip('/')}/{host}/{workload}/"
    return [
        moment
        for run in history.runs()
        if run.task == "backup" and run.ok and run.archive.startswith(start)
        if (moment := parse_stamp(archive_stamp(run.archive.removeprefix(start)) or "")) is not None
    ]


def named_store(name: str, stored: StoreSettings) -> Address:
    """The address of a store of the settings. Raises BadUsage, naming the line."""
    try:
        address = parse_url(Path(stored.url).as_uri() if stored.url.startswith("/") else stored.url)
    except BadUsage as error:
        raise BadUsage(f"{stored.where_of('url')}: {error.message}", error.hint) from error
    for key in stored.options:
        check_option(address.scheme, key, stored.where_of(key), ("url", "retention"))
    return replace(address, options={**address.options, **stored.options}, store=name)


def hurried(address: Address) -> Address:
    """A store, asked while a person or a monitor waits: one that does not answer is given up on sooner, unless the
    settings say when."""
    patience = {name: value for name, value in _PATIENCE.items() if name in OPTIONS[address.scheme]}
    return replace(address, options={**patience, **address.options})


def open_store(environment: Mapping[str, str], notice: Callable[[str], None], address: Address) -> Store:
    """The store at an address. Raises BadUsage for options that make no sense."""
    if address.scheme == "s3":
        from drunner_vault.stores.s3.options import parse_s3_options
        from drunner_vault.stores.s3.store import S3Store

        return S3Store(parse_s3_options(address.authority, address.path, address.options), notice=notice)
    if address.scheme == "ssh":
        from drunner_vault.stores.retrying import RetryingStore
        from drunner_vault.stores.ssh.options import ssh_options
        from drunner_vault.stores.ssh.store import SshStore

        timeout = _seconds(address.options.get("timeout", "60"))
        return RetryingStore(SshStore(ssh_options(address.authority, address.path, environment, timeout), notice))
    return LocalStore(Path(address.path))


def store_problem(environment: Mapping[str, str], address: Address, where: str) -> None:
    """Raises BadUsage, naming the line, if the options of a store make no sense. Nobody is asked."""
    try:
        if address.scheme == "s3":
            from drunner_vault.stores.s3.options import parse_s3_options

            parse_s3_options(address.authority, address.path, address.options)
        if address.scheme == "ssh":
            from drunner_vault.stores.ssh.options import ssh_options

            timeout = _seconds(address.options.get("timeout", "60"))
            ssh_options(address.authority, address.path, environment, timeout)
    except BadUsage as error:
        raise BadUsage(f"{where}: {error.message}", error.hint) from error


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as cause:
        raise BadUsage(f"timeout cannot be {text!r}", "give seconds, as in timeout=60") from cause


def host_memory(environment: Mapping[str, str], places: Places, root: StoreRoot) -> HostMemory:
    """Return what this host knows about its archives, for a store. Raises StorageError."""
    from drunner_vault.workflows.archives.adopt import HostMemory

    directory = vault_directory(environment)
    text = places.text(root)

    def is_store(name: str) -> bool:
        try:
            return address_text(environment, places.address(name)) == text
        except BadUsage:
            return False

    return HostMemory(History(directory).runs(), ArchiveLog(directory).all(), is_store)


def is_idle(environment: Mapping[str, str]) -> Callable[[str, str], bool]:
    """Tells whether a host is this one and no command here is working on its service of that name."""
    root = services_root(environment)

    def idle(host: str, service: str) -> bool:
        if not _knows_locks(host):
            return False
        busy = locked_services(root, "looking for dead uploads")
        return not busy & {service, _copying_lock(service)}

    return idle


def is_copying(environment: Mapping[str, str]) -> Callable[[str], bool]:
    """Tells whether archives of this host's service of that name are being copied."""
    root = services_root(environment)
    return lambda service: _copying_lock(service) in locked_services(root, "looking for dead uploads")


@contextlib.contextmanager
def copying(environment: Mapping[str, str], host: str, service: str) -> Iterator[None]:
    """Held while an archive of this host is copied, so that `is_idle` knows."""
    with contextlib.ExitStack() as held:
        if _knows_locks(host) and _can_be_here(service):
            held.enter_context(service_lock(services_root(environment), _copying_lock(service), "copying an archive"))
        yield


def _knows_locks(host: str) -> bool:
    """Whether that host's locks can be seen: by root of this host."""
    return host == os.uname().nodename and os.geteuid() == 0


def _can_be_here(service: str) -> bool:
    try:
        return bool(check_service_name(service))
    except BadServiceName:
        return False


def _copying_lock(service: str) -> str:
    return service[: MAX_LENGTH - len(_COPYING)] + _COPYING
