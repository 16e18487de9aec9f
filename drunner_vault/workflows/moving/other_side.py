"""The host that a service moves to, and how it is talked to."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from drunner_vault import __version__
from drunner_vault import errors as tree
from drunner_vault.errors import HookFailed, NoChange, ServiceError, VaultError
from drunner_vault.stores.ssh.channel import Channel
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.moving.preflight import Needs
from drunner_vault.workflows.moving.receive import PROTOCOL

# the scripts that a failed hook's own hint is about are no longer there
_TAKEN_BACK = "see why it does not do well there; what came was taken back, and it goes on here as before"


class OtherSide(Protocol):
    """Another host, on which `receive` can be started."""

    @property
    def name(self) -> str:
        """As the person called it."""

    def session(self) -> AbstractContextManager[Channel]:
        """A running `receive`. A channel that breaks raises the reason."""


class Line:
    """The other side, at the other end of a channel that is open."""

    def __init__(self, host: ServiceHost, there: OtherSide, channel: Channel) -> None:
        """Raises ServiceError if the other side speaks otherwise."""
        self._host = host
        self._there = there
        self.channel = channel
        hello = self.answer()
        self.version = str(hello.get("version"))
        if hello.get("protocol") != PROTOCOL:
            raise ServiceError(
                f"drunner-vault {self.version} on {there.name} and {__version__} here do not understand each other",
                "bring both to the same version",
            )

    def check(self, needs: Needs, earlier: str) -> dict[str, Any]:
        """What stands against it over there; and whether the transfer `earlier` is what is there."""
        self.channel.send(ask="check", needs=needs.document(), earlier=earlier)
        return self.answer()

    def answer(self, state: str = "") -> dict[str, Any]:
        """The next answer. Notices are passed on. Raises Gone, and the error that the other side tells."""
        message = self.channel.receive()
        while "notice" in message:
            self._host.notice(f"{self._there.name}: {message['notice']}")
            message = self.channel.receive()
        if "error" in message:
            kind = getattr(tree, str(message.get("kind")), ServiceError)
            known = isinstance(kind, type) and issubclass(kind, VaultError) and kind is not NoChange
            hint = _TAKEN_BACK if kind is HookFailed else str(message.get("hint") or "")
            raise (kind if known else ServiceError)(f"{self._there.name}: {message['error']}", hint)
        if message.get("state", "") != state:
            raise ServiceError(f"{self._there.name} answers what was not asked", "bring both sides to the same version")
        return message
