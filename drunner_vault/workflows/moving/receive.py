"""The other side of `migrate`: takes in a service that comes through a channel.

It is asked, message by message, and answers each. What it took in stays only if the sender says so, after it was told
that the service is well: until then, and if the sender is gone, everything is taken back.

    check     needs                        what stands against it; whether an earlier arrival is here
    receive   id, name, replace, instead,  then an archive; `proven`; then the sender's `keep`; `kept`
              running: whether it runs where it comes from
    seal      id, name                     the sender has forgotten it too
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

from drunner_vault import __version__
from drunner_vault.archive import Manifest
from drunner_vault.errors import BadUsage, DamagedArchive, Interrupted, ServiceExists, VaultError
from drunner_vault.hoststate.state import State
from drunner_vault.services.home import ServiceHome
from drunner_vault.stores.ssh.channel import Channel, Gone
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.keys import opened
from drunner_vault.workflows.moving.preflight import fitness, parse_needs
from drunner_vault.workflows.restore import restore
from drunner_vault.workflows.services.drunner_restore import DrunnerReinstallation, DrunnerReinstaller, RestoreChoices
from drunner_vault.workflows.services.remove import obliterate
from drunner_vault.workflows.services.selftest import require_well, start_unless_running
from drunner_vault.workflows.working import working_on

PROTOCOL = 1
Result = TypeVar("Result")


def receive(host: ServiceHost, channel: Channel, uname: str) -> None:
    """Answer what comes through the channel, until the other end closes it. uname: what this host is called.

    Raises what made it impossible to take in a service, which the sender has been told; the host is as it was then.
    """
    channel.send(hello="drunner-vault", protocol=PROTOCOL, version=__version__, host=uname)
    answers = {"check": _check, "receive": _receive, "seal": _seal}
    while True:
        try:
            message = channel.receive()
        except Gone:
            return
        try:
            answer = answers.get(str(message.get("ask")))
            if answer is None:
                raise BadUsage(f"it is asked {message.get('ask')!r}, which it does not know", "update it")
            answer(host, channel, message)
        except VaultError as error:
            with contextlib.suppress(Gone):
                channel.send(error=error.message, hint=error.hint, kind=type(error).__name__)
            raise


class Arrival:
    """What is remembered of a service that has arrived, until its sender has forgotten it.

    In `ROOT/vault/arrival-NAME.json`. It counts only while the very installation that it was written for is there.
    """

    def __init__(self, home: ServiceHome) -> None:
        self._home = home
        self._state = State.of(home.root, f"arrival-{home.name}")

    def write(self, transfer: str) -> None:
        """The service is here now, by this transfer."""
        self._state.write({"transfer": transfer, "installed": self._installed()})

    def is_here(self, transfer: str) -> bool:
        """Whether the service that is here came by this transfer. Only under its lock, and tidied up."""
        known = self._state.read()
        return bool(transfer) and known == {"transfer": transfer, "installed": self._installed()}

    def forget(self) -> None:
        """Nobody will ask for it again."""
        self._state.remove()

    def _installed(self) -> str:
        record = self._home.record()
        return record.installed if record else ""


def _check(host: ServiceHost, channel: Channel, message: dict[str, Any]) -> None:
    needs = _asked(lambda: parse_needs(message["needs"]))
    with working_on(host, needs.name, "check whether a service can come here") as home:
        arrived = Arrival(home).is_here(str(message.get("earlier", "")))
        found = fitness(host, needs)
    channel.send(**asdict(found), arrived=arrived)


def _receive(host: ServiceHost, channel: Channel, message: dict[str, Any]) -> None:
    transfer, name, instead = _asked(lambda: [str(message[key]) for key in ("id", "name", "instead")])
    replace, running = _asked(lambda: [bool(message[key]) for key in ("replace", "running")])
    if instead:
        _remove_earlier(host, name, instead)
    channel.begin_reading()
    stream = opened(channel.read, "what is sent", list, None)
    home = host.home(name)

    def prove() -> None:
        if channel.read(1):
            raise DamagedArchive("more is sent than the archive", "try again")
        if running and start_unless_running(host, home):
            channel.send(notice=f"{name} did not run when it was restored, so it was started")
        channel.send(state="proven", well=require_well(host, home))
        if channel.receive().get("ask") != "keep":
            raise Interrupted("the sender does not want it to be kept")
        Arrival(home).write(transfer)

    installing = _ProvenReinstaller(DrunnerReinstaller(host, RestoreChoices(name, replace=replace)), prove)
    report = restore(stream.read, installing, host.clock)
    channel.send(state="kept", report=asdict(report))


def _remove_earlier(host: ServiceHost, name: str, transfer: str) -> None:
    """What an earlier try of the same sender left here, when the last word did not come through."""
    with working_on(host, name, f"receive {name}") as home:
        if not Arrival(home).is_here(transfer):
            raise ServiceExists(f"{name} is no longer what was sent earlier", "see what it is, and what to do with it")
    obliterate(host, name)
    Arrival(home).forget()


def _seal(host: ServiceHost, channel: Channel, message: dict[str, Any]) -> None:
    transfer, name = _asked(lambda: (str(message["id"]), str(message["name"])))
    with working_on(host, name, f"receive {name}") as home:
        arrival = Arrival(home)
        if arrival.is_here(transfer):
            arrival.forget()
    channel.send(state="sealed")


class _ProvenReinstaller:
    """Installs dRunner services anew, and keeps none that is not proven."""

    def __init__(self, inner: DrunnerReinstaller, prove: Callable[[], None]) -> None:
        self._inner = inner
        self._prove = prove

    @contextlib.contextmanager
    def begin(self, manifest: Manifest) -> Iterator[DrunnerReinstallation]:
        """See Reinstaller."""
        with self._inner.begin(manifest) as reinstallation:
            yield reinstallation
            self._prove()


def _asked(parse: Callable[[], Result]) -> Result:
    try:
        return parse()
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise BadUsage(f"what it is asked makes no sense: {cause}", "update it, or the other side") from cause
