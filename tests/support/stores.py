"""Stores of every kind, for tests that must hold for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest

from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.ssh.store import SshStore
from drunner_vault.stores.store import Store
from support import s3servers, sshservers
from support.s3servers import Server


class Places:
    """Where stores of each kind are: a server is started when a test first needs it."""

    def __init__(self, request: pytest.FixtureRequest, directories: pytest.TempPathFactory) -> None:
        self._request = request
        self._directories = directories
        self._stores: dict[str, Store] = {}
        self._servers = ExitStack()
        request.addfinalizer(self._servers.close)
        self._moto: Server | None = None

    def store(self, kind: str) -> Store:
        """The store of this kind, the same each time."""
        if kind not in self._stores:
            self._stores[kind] = KINDS[kind](self)
        return self._stores[kind]

    def local(self) -> Store:
        """In a directory of its own."""
        return LocalStore(self._directories.mktemp("store"))

    def moto(self) -> Store:
        """In a bucket of moto's."""
        return self._moto_server().bucket("plain").store(prefix="a/prefix")

    def moto_locking(self) -> Store:
        """In a bucket of moto's with Object Lock, and so with versions."""
        return self._moto_server().bucket("locking", lockable=True).store(lock="governance")

    def rclone(self) -> Store:
        """In a bucket that rclone makes of a directory."""
        _need(s3servers.missing_parts())
        return self._start(s3servers.rclone_server(self._directories.mktemp("rclone"))).bucket("plain").store()

    def ssh(self) -> Store:
        """In a directory of a host that has an sshd."""
        _need(sshservers.missing_parts())
        server = self._servers.enter_context(sshservers.ssh_server(self._directories.mktemp("sshd")))
        store = SshStore(server.options(self._directories.mktemp("far")))
        self._servers.callback(store.close)
        return store

    def _moto_server(self) -> Server:
        if self._moto is None:
            self._moto = self._start(s3servers.moto_server())
        return self._moto

    def _start(self, server: AbstractContextManager[Server]) -> Server:
        return self._servers.enter_context(server)


def _need(missing: str) -> None:
    """Fail, or skip where that is allowed, when something is missing."""
    if missing and os.environ.get("ALLOW_SKIP") == "1":
        pytest.skip(missing)
    if missing:
        pytest.fail(f"{missing}; ALLOW_SKIP=1 leaves such tests out", pytrace=False)


KINDS: dict[str, Callable[[Places], Store]] = {
    "memory": lambda _places: MemoryStore(),
    "local": Places.local,
    "moto": Places.moto,
    "moto-locking": Places.moto_locking,
    "rclone": Places.rclone,
    "ssh": Places.ssh,
}
