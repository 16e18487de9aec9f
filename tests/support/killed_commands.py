"""Commands that are killed (SIGKILL) at the n-th call of their store; run as a program of its own.

    python -m support.killed_commands backup|prune|copy DIRECTORY N

DIRECTORY holds the store `main`, the state of the host in `vault`, and its key. N is 0 for never.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from drunner_vault.catalog.catalog import CatalogReader
from drunner_vault.catalog.identity import StoreRoot, make_identity, read_identity
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.clock import SYSTEM_CLOCK, Clock
from drunner_vault.hoststate.archive_log import ArchiveLog
from drunner_vault.hoststate.pending_sidecars import PendingSidecars
from drunner_vault.policy import Retention
from drunner_vault.signing import SigningKey
from drunner_vault.stores.faulty import Faults, FaultyStore
from drunner_vault.stores.local import LocalStore
from drunner_vault.workflows.archives.copy import Target, copy_archives
from drunner_vault.workflows.archives.prune import carry_out, plan_prune
from drunner_vault.workflows.backup import BackupChoices
from drunner_vault.workflows.into_store import StoreChoices, into_store, write_pending
from drunner_vault.workflows.progress import Silent
from support.catalogs import HOST, NOW
from support.workloads import SmallWorkload


class Deadly(Faults):
    """Kills this process at a call: before it, or after it in every other case."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._deadly = number

    def call(self, action: Callable[[], Any], half: Callable[[], object] = lambda: None) -> Any:
        self.calls += 1
        if self.calls * 2 == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        result = action()
        if self.calls * 2 + 1 == self._deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def key_in(directory: Path) -> SigningKey:
    """The host's key."""
    return SigningKey.parse((directory / "key").read_bytes(), "key")


def root_in(directory: Path, faults: Faults | None = None, name: str = "main") -> StoreRoot:
    """The store of that name."""
    store = LocalStore(directory / name)
    return StoreRoot(FaultyStore(store, faults or Faults()), read_identity(store))


def reader_of(directory: Path, now: dt.datetime = NOW) -> CatalogReader:
    """What the host itself accepts."""
    return CatalogReader(HostSigners((), key_in(directory).public(), HOST, now), now)


def back_up(directory: Path, number: int, created: dt.datetime = NOW) -> None:
    """A backup as the program makes it."""
    root = root_in(directory, Deadly(number))
    vault, key = directory / "vault", key_in(directory)

    def identify() -> StoreRoot:
        return StoreRoot(root.store, root.identity or make_identity(root.store))

    to = StoreChoices(root, identify, Retention(), dt.UTC, print, time.sleep, ArchiveLog(vault), PendingSidecars(vault))
    choices = BackupChoices(threads=1, host=HOST, sign=key.sign)
    clock = Clock(now=lambda: created)
    into_store(SmallWorkload(directory), "notes", to, choices, clock, Silent())


def next_command(directory: Path) -> None:
    """What every command does that opens the store to write to it."""
    vault = directory / "vault"
    write_pending(root_in(directory), PendingSidecars(vault), ArchiveLog(vault), SYSTEM_CLOCK, print)


def prune(directory: Path, number: int) -> None:
    """`prune --keep-last 2 --apply`."""
    root = root_in(directory)
    plan = plan_prune(reader_of(directory).read(root), Retention(keep_last=2), NOW, dt.UTC)
    carry_out(root_in(directory, Deadly(number)), plan, NOW, key_in(directory).sign)


def copy(directory: Path, number: int) -> None:
    """`copy main second`."""
    root, to = root_in(directory), root_in(directory, Deadly(number), "second")
    reader = reader_of(directory)
    target = Target(
        to, lambda: to.identity, key_in(directory).sign, HOST, lambda _host, _service: nullcontext(), SYSTEM_CLOCK
    )
    present = reader.read(root_in(directory, name="second")).archives
    copy_archives(root, reader.read(root).archives, present, target, Silent())


if __name__ == "__main__":
    {"backup": back_up, "prune": prune, "copy": copy}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
