"""Which store an address is, and who may be at work in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from drunner_vault.clock import SYSTEM_CLOCK
from drunner_vault.config import StoreSettings
from drunner_vault.errors import BadUsage
from drunner_vault.services.lock import locked_services, service_lock
from drunner_vault.stores.address import Address, check_option, parse_url
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import Store
from drunner_vault.wiring.settings import services_root, settings
from drunner_vault.workflows.finding import Places

_COPYING = ".copying"  # after a service's name: the lock of those who copy its archives


def places(environment: Mapping[str, str], notice: Callable[[str], None]) -> Places:
    """What the name of a store or an archive means on this host. Raises BadUsage for bad settings."""
    named = {name: _named_store(name, item) for name, item in settings(environment).stores.items()}
    return Places(named, partial(_open_store, environment, notice), SYSTEM_CLOCK.now, notice)


def _named_store(name: str, stored: StoreSettings) -> Address:
    try:
        url = stored.url if "://" in stored.url else Path(stored.url).absolute().as_uri()
        address = parse_url(url)
    except BadUsage as error:
        raise BadUsage(f"{stored.where}: {error.message}", error.hint) from error
    for key in stored.options:
        check_option(address.scheme, key, stored.where)
    return replace(address, options={**address.options, **stored.options}, store=name)


def _open_store(environment: Mapping[str, str], notice: Callable[[str], None], address: Address) -> Store:
    """The store at an address. Raises BadUsage for options that make no sense."""
    if address.scheme == "s3":
        from drunner_vault.stores.s3.options import parse_s3_options
        from drunner_vault.stores.s3.store import S3Store

        return S3Store(parse_s3_options(address.authority, address.path, address.options), notice=notice)
    if address.scheme == "ssh":
        from drunner_vault.stores.retrying import RetryingStore
        from drunner_vault.stores.ssh.options import ssh_options
        from drunner_vault.stores.ssh.store import SshStore

        return RetryingStore(SshStore(ssh_options(address.authority, address.path, environment), notice))
    return LocalStore(Path(address.path))


def is_idle(environment: Mapping[str, str]) -> Callable[[str, str], bool]:
    """Tells whether a host is this one and no command here is working on its service of that name."""
    root = services_root(environment)

    def idle(host: str, service: str) -> bool:
        busy = locked_services(root, "looking for dead uploads") if host == os.uname().nodename else set()
        return host == os.uname().nodename and not busy & {service, f"{service}{_COPYING}"}

    return idle


@contextlib.contextmanager
def copying(environment: Mapping[str, str], host: str, service: str) -> Iterator[None]:
    """Held while an archive of this host is copied, so that `is_idle` knows."""
    if host != os.uname().nodename or os.geteuid() != 0:
        yield
        return
    with service_lock(services_root(environment), f"{service}{_COPYING}", "copying an archive"):
        yield
