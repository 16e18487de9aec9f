"""Which store an address is, and who may be at work in it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from drunner_vault.clock import SYSTEM_CLOCK
from drunner_vault.config import StoreSettings
from drunner_vault.errors import BadServiceName, BadUsage
from drunner_vault.services.lock import locked_services, service_lock
from drunner_vault.services.names import MAX_LENGTH, check_service_name
from drunner_vault.stores.address import OPTIONS, Address, check_option, parse_url
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import Store
from drunner_vault.wiring.settings import retention, services_root, settings, timezone
from drunner_vault.workflows.archives.places import Places

if TYPE_CHECKING:
    from drunner_vault.workflows.into_store import StoreChoices  # which only backups need

_PATIENCE = {"timeout": "15", "attempts": "2"}
_COPYING = ".copying"  # after a service's name: the lock of those who copy its archives


def places(environment: Mapping[str, str], notice: Callable[[str], None], *, impatient: bool = False) -> Places:
    """What the name of a store or an archive means on this host. impatient: see `hurried`. Raises BadUsage for bad
    settings."""
    named = {name: named_store(name, item) for name, item in settings(environment).stores.items()}
    named = {name: hurried(address) for name, address in named.items()} if impatient else named
    return Places(named, partial(open_store, environment, notice), SYSTEM_CLOCK.now, notice)


def store_choices(
    environment: Mapping[str, str],
    places: Places,
    text: str,
    keep: Mapping[str, str | int],
    notice: Callable[[str], None],
) -> StoreChoices:
    """The store that a text names, to back up to. keep: rules of retention, instead of those in the settings."""
    from drunner_vault.workflows.into_store import StoreChoices

    address = places.address(text)
    kept = retention(environment, address.store, keep)
    return StoreChoices(places.open(address), kept, timezone(environment), notice, time.sleep, is_copying(environment))


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
