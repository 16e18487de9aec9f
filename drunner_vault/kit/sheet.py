"""What stands on a recovery kit, as plain data."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class KeySheet:
    """The recovery identity. text: its file, exactly. recipients: that belong to it, as far as they can be known.
    protected: whether it is encrypted with a passphrase. post_quantum: whether only age 1.3 and later can use it."""

    text: str
    recipients: tuple[str, ...] = ()
    protected: bool = False
    post_quantum: bool = False


@dataclass(frozen=True)
class SignerSheet:
    """Whom to trust. line: as `key trust` and ssh-keygen take it."""

    fingerprint: str
    line: str


@dataclass(frozen=True)
class ServiceSheet:
    """A service with archives in a store. archive: the newest complete one's name, empty if there is none. sealed_to:
    for whom it is. note: what is wrong with it."""

    host: str
    service: str
    archive: str = ""
    sealed_to: str = ""
    note: str = ""


@dataclass(frozen=True)
class StoreSheet:
    """A place with archives. url: as any host understands it. login: what one needs to get in, in words."""

    url: str
    login: str
    services: tuple[ServiceSheet, ...] = ()


@dataclass(frozen=True)
class Step:
    """Something to do. lines: to type, exactly."""

    what: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kit:
    """All of it. host: where it was made. key: None for a kit without the secret. with_us, without_us: how to recover
    with drunner-vault, and with age, zstd and tar alone. problems: what is wrong as things are, a sentence each."""

    host: str
    made: dt.datetime
    version: str
    key: KeySheet | None
    signers: tuple[SignerSheet, ...]
    stores: tuple[StoreSheet, ...]
    with_us: tuple[Step, ...]
    without_us: tuple[Step, ...]
    checks: tuple[Step, ...]
    problems: tuple[str, ...] = ()
