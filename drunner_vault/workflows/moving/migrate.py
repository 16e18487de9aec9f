"""Moving a service to another host, in one stream from its volumes here to its volumes there.

    volume → entries → tar → frames → channel → frames → tar → entries → volume

Both sides keep their promise at every moment. The other side takes in nothing for good before it has proven that the
service is well there and was told to keep it. This side gives up nothing before it was told that it has been kept. Just
before its last word it writes down that it is about to give it; so a command that was killed, or cut off, right then is
finished by the same command given again, which asks the other side how it went.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from drunner_vault import __version__
from drunner_vault import errors as tree
from drunner_vault.archive import ImageRecord
from drunner_vault.engine.trees import Access
from drunner_vault.errors import (
    BadUsage,
    EngineError,
    HookFailed,
    Interrupted,
    NoChange,
    ServiceBusy,
    ServiceError,
    StorageError,
    Unavailable,
    VaultError,
)
from drunner_vault.services.home import ServiceHome
from drunner_vault.stores.ssh.channel import Channel, Gone
from drunner_vault.workflows.backup import BackupChoices, BackupReport, backup
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.moving.preflight import Needs
from drunner_vault.workflows.moving.receive import PROTOCOL
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.services.drunner_service import DrunnerService
from drunner_vault.workflows.services.remove import take_off
from drunner_vault.workflows.services.selftest import is_running
from drunner_vault.workflows.unattended.state import DIRECTORY, State
from drunner_vault.workflows.working import working_on
from drunner_vault.workflows.workload import Embed

# the scripts that a failed hook's own hint is about are no longer there
_TAKEN_BACK = "see why it does not do well there; what came was taken back, and it goes on here as before"
_FIND_OUT = "give the same command again when it answers: it finds out, and finishes"


class OtherSide(Protocol):
    """Another host, on which `receive` can be started."""

    @property
    def name(self) -> str:
        """As the person called it."""

    def session(self) -> AbstractContextManager[Channel]:
        """A running `receive`. A channel that breaks raises the reason."""


@dataclass(frozen=True)
class MigrationChoices:
    """What a person decides. called: its name there, None for the same. stop: stop it here, once it is proven there.
    replace: the content of volumes that an earlier uninstall kept there. allow_partial: even if files cannot be read as
    they are. level, threads, limit: see BackupChoices. ask_again: seconds to wait before each try to learn how it went,
    should the connection be lost at the last moment."""

    called: str | None = None
    stop: bool = False
    replace: bool = False
    allow_partial: bool = False
    level: int = 3
    threads: int = 0
    limit: int = 0
    ask_again: tuple[float, ...] = (1.0, 3.0, 9.0)


@dataclass(frozen=True)
class MigrationPlan:
    """What would be done. volumes: bytes in each, None if unknown. images: by reference, `here` (it is there already),
    `pull` (from its registry), `bring` (it travels along). differences: what is not the same there: (what, here,
    there). free: bytes where Docker keeps its data there. problems: why it cannot be done, a sentence each. arrived: an
    earlier try that was cut off has got through: that is all, or, with `stop`, it is replaced by what is here now."""

    service: str
    host: str
    called: str
    stop: bool
    volumes: dict[str, int | None]
    images: dict[str, str]
    ports: list[str]
    differences: list[tuple[str, str, str]]
    free: int | None
    problems: list[str]
    arrived: bool = False


@dataclass
class MigrationReport:
    """What was done. bytes: that went through the channel. content: in the volumes. paused: seconds; with `stopped`,
    the service was not resumed here, and its volumes are kept. well: whether its own selftest says so there; False if
    it has none. problems: attributes that the file systems there refused, files that could not be read here. finished:
    nothing was sent, an earlier try had got through."""

    service: str
    host: str
    called: str
    bytes: int = 0
    content: int = 0
    members: int = 0
    seconds: float = 0.0
    paused: float = 0.0
    well: bool = False
    stopped: bool = False
    finished: bool = False
    kept_volumes: list[str] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def plan_migration(host: ServiceHost, name: str, there: OtherSide, choices: MigrationChoices) -> MigrationPlan:
    """What `migrate` would do. Nothing is changed on either side. Raises what keeps it from finding out."""
    with working_on(host, name, f"look whether {name} can move") as home, there.session() as channel:
        traveller = _Traveller(DrunnerService(host, home, Access.AUTO))
        return _planned(traveller, _Line(host, there, channel), there, choices, _Journal(home).read())


def migrate(
    host: ServiceHost, name: str, there: OtherSide, choices: MigrationChoices, sender: str, progress: Progress
) -> MigrationReport:
    """Move a service, or copy it unless it is to be stopped here. sender: what this host is called.

    Raises whatever stops it: the service runs on here, and the other side is as it was. The one exception says so: the
    connection may be lost for good right when the other side is to keep it.
    """
    with working_on(host, name, f"migrate {name}") as home:
        move = _Migration(host, home, there, choices, sender, progress)
        return move.finish_earlier() or move.run()


@dataclass(frozen=True)
class _Attempt:
    """What is written down just before the last word. installed: when the service was installed here, so that another
    of its name is not taken for it. kept: the other side has it, and it is to be removed here."""

    transfer: str
    host: str
    called: str
    installed: str
    kept: bool = False


class _Journal:
    """`ROOT/vault/migrate-NAME.json`."""

    def __init__(self, home: ServiceHome) -> None:
        self.path: Path = home.root / DIRECTORY / f"migrate-{home.name}.json"
        self._home = home
        self._state = State(self.path)

    def read(self) -> _Attempt | None:
        """What an earlier command has left of the service that is here, or was. Raises StorageError if it makes no
        sense."""
        found = self._state.read()
        try:
            attempt = _Attempt(**found) if found else None
        except TypeError as cause:
            raise StorageError(
                f"{self.path} is damaged", "see where the service lives, then remove the file"
            ) from cause
        if attempt is not None and self._home.exists() and attempt.installed != self._installed():
            return None
        return attempt

    def write(self, transfer: str, host: str, called: str, *, kept: bool = False) -> None:
        self._state.write(vars(_Attempt(transfer, host, called, self._installed(), kept)))

    def _installed(self) -> str:
        record = self._home.record()
        return record.installed if record else ""

    def forget(self) -> None:
        self._state.remove()


class _Traveller:
    """An installed service on its way: with the images that the other side cannot get, and paused for as long as `held`
    says. See Workload."""

    def __init__(self, service: DrunnerService, bring: frozenset[str] = frozenset(), held: ExitStack | None = None):
        self.service = service
        self._bring = bring
        self._held = held
        self.describe = service.describe
        self.scripts = service.scripts
        self.image_layout = service.image_layout
        self.volumes = service.volumes

    def images(self, embed: Embed) -> list[ImageRecord]:
        """See Workload. `embed` is not asked: the other side has been."""
        found = self.service.images(Embed.NEVER)
        return [replace(image, embedded=bool(image.id) and image.reference in self._bring) for image in found]

    @contextlib.contextmanager
    def quiesced(self) -> Iterator[Path]:
        """See Workload."""
        if self._held is not None:
            yield self._held.enter_context(self.service.quiesced())
            return
        with self.service.quiesced() as directory:
            yield directory


class _Line:
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


class _Migration:
    """One migration under way, of a service that is locked."""

    def __init__(
        self,
        host: ServiceHost,
        home: ServiceHome,
        there: OtherSide,
        choices: MigrationChoices,
        sender: str,
        progress: Progress,
    ) -> None:
        self._host = host
        self._home = home
        self._there = there
        self._choices = choices
        self._sender = sender
        self._progress = progress
        self._called = home.name if choices.called is None else choices.called
        self._journal = _Journal(home)
        self._started = host.clock.monotonic()
        self._transfer = secrets.token_hex(16)
        self._under_way = False  # the other side was asked to take it in, and has not been told to keep it

    def finish_earlier(self) -> MigrationReport | None:
        """What is left of a migration that got through, and was stopped before this side was done with it."""
        earlier = self._journal.read()
        if earlier is None:
            return None
        if (earlier.host, earlier.called) != (self._there.name, self._called):
            again = f"drunner-vault migrate {self._home.name} {earlier.host} --as {earlier.called}"
            raise BadUsage(
                f"an earlier migration of {self._home.name} to {earlier.host} was cut off at its last step",
                f"finish that first: {again}; or, if that host is gone for good: rm {self._journal.path}",
            )
        if not earlier.kept:
            return None
        report = self._report()
        if self._home.exists():
            report.kept_volumes = self._removed()
        self._journal.forget()
        report.stopped = report.finished = True
        return report

    def run(self) -> MigrationReport:
        """See migrate."""
        earlier = self._journal.read()
        service = DrunnerService(self._host, self._home, Access.AUTO)
        try:
            with self._there.session() as channel:
                return self._run(_Line(self._host, self._there, channel), service, earlier)
        except Unavailable:
            if self._under_way:
                self._have_it_taken_back()
            raise

    def _run(self, line: _Line, service: DrunnerService, earlier: _Attempt | None) -> MigrationReport:
        plan = _planned(_Traveller(service), line, self._there, self._choices, earlier)
        if plan.arrived and not self._choices.stop:
            self._journal.forget()
            return replace(self._report(), finished=True)
        if plan.problems:
            raise _cannot(self._there, plan.problems, self._home.name)
        bring = frozenset(reference for reference, how in plan.images.items() if how == "bring")
        return self._transferred(line, service, bring, earlier.transfer if earlier and plan.arrived else "")

    def _transferred(
        self, line: _Line, service: DrunnerService, bring: frozenset[str], instead: str
    ) -> MigrationReport:
        with ExitStack() as held:
            traveller = _Traveller(service, bring, held if self._choices.stop else None)
            if instead:
                self._host.notice(f"what an earlier try brought to {self._there.name} is replaced by what is here now")
            self._under_way = True
            line.channel.send(
                ask="receive",
                id=self._transfer,
                name=self._called,
                replace=self._choices.replace,
                instead=instead,
                running=is_running(self._host, self._home),
            )
            try:
                sent = self._send(line, traveller)
                self._progress.begin(f"waiting for {self._there.name}", None)
                well = bool(line.answer("proven").get("well"))
            except Interrupted:
                self._host.notice(f"waiting for {self._there.name} to take back what it was sent")
                raise
            kept = self._last_word(line)
            if self._choices.stop:
                # first of all: whoever takes this up must never again replace what lives there now
                self._journal.write(self._transfer, self._there.name, self._called, kept=True)
                service.leave_paused()
        report = self._report(sent, kept, well)
        if self._choices.stop:
            report.kept_volumes = self._removed()
            report.stopped = True
        self._journal.forget()
        self._seal(line)
        return report

    def _send(self, line: _Line, traveller: _Traveller) -> BackupReport:
        """The archive. Raises the other side's reason if that is why it broke off."""
        choices = BackupChoices((), Embed.NEVER, self._choices.level, self._choices.threads, self._sender)
        choices = replace(choices, limit=self._choices.limit)
        try:
            sent = backup(traveller, line.channel, choices, self._host.clock, self._progress).report
            line.channel.end()
        except Gone:
            line.answer("proven")
            raise
        if sent.problem_count and not self._choices.allow_partial:
            first = sent.problems[0]
            raise StorageError(
                f"{sent.problem_count} files cannot be read as they are, as {first['path']}: {first['problem']}",
                "mend that; or --allow-partial moves the service without them",
            )
        return sent

    def _last_word(self, line: _Line) -> dict[str, Any]:
        """Have the other side keep it; returns its report. Raises Unavailable if it does not, or nobody knows."""
        self._under_way = False
        self._journal.write(self._transfer, self._there.name, self._called)
        try:
            line.channel.send(ask="keep")
            return dict(line.answer("kept")["report"])
        except Interrupted as stop:
            raise Interrupted(f"{stop.message}; {self._called} may run on {self._there.name} too", _FIND_OUT) from stop
        except Gone:
            arrived = self._how_it_went()
        except VaultError:  # the other side has said no
            self._journal.forget()
            raise
        if arrived:
            return {}
        lost = f"the connection to {self._there.name} was lost at the last moment"
        if arrived is None:
            raise Unavailable(f"{lost}: {self._called} may run there too", _FIND_OUT)
        self._journal.forget()
        raise Unavailable(f"{lost}; nothing was changed there", "try again")

    def _how_it_went(self) -> bool | None:
        """Whether the other side has kept it; None if it does not answer."""
        for seconds in self._choices.ask_again:
            time.sleep(seconds)
            with contextlib.suppress(ServiceError, StorageError, EngineError):
                return self._arrived()
        return None

    def _arrived(self) -> bool:
        """Whether this transfer is what lives there. The other side first takes back what it was killed in the middle
        of."""
        with self._there.session() as channel:
            found = _Line(self._host, self._there, channel).check(Needs(self._called, (), 0, ()), self._transfer)
            return bool(found["arrived"])

    def _have_it_taken_back(self) -> None:
        """A receiver that was cut off takes back what it was sent. One that was killed cannot; the next one can."""
        try:
            self._arrived()
        except ServiceBusy:  # it is about to
            pass
        except (ServiceError, StorageError, EngineError):
            self._host.notice(
                f"{self._there.name} does not answer: what it was sent is taken back there as soon as it notices, or, "
                "should it have crashed, by the same command given again, or by `drunner-vault clean` there"
            )

    def _removed(self) -> list[str]:
        """Uninstall it here, where nobody needs it any more; returns the names of the volumes that stay."""
        try:
            return take_off(self._host, self._home)
        except HookFailed as problem:
            where = f"{self._called} lives on {self._there.name} now, and stays paused here until it can be removed"
            raise HookFailed(
                f"{where}: {problem.message}",
                problem.hint,
                hook=problem.hook,
                code=problem.code,
                output=problem.output,
            ) from problem

    def _seal(self, line: _Line) -> None:
        """Nobody will ask for it again. It would do no harm if this were lost."""
        with contextlib.suppress(Gone, ServiceError, StorageError, EngineError):
            line.channel.send(ask="seal", id=self._transfer, name=self._called)
            line.answer("sealed")

    def _report(
        self, sent: BackupReport | None = None, kept: dict[str, Any] | None = None, well: bool = False
    ) -> MigrationReport:
        report = MigrationReport(self._home.name, self._there.name, self._called, well=well)
        report.seconds = round(self._host.clock.monotonic() - self._started, 3)
        if sent is not None:
            report.bytes, report.content, report.members = sent.bytes, sent.content, sent.members
            report.paused, report.lost = sent.paused, dict(sent.lost)
            report.problems = [f"{problem['path']}: {problem['problem']}" for problem in sent.problems]
        if kept:
            report.lost |= {name: list(map(str, lost)) for name, lost in kept.get("lost", {}).items()}
            report.problems += map(str, kept.get("problems", ()))
        return report


def _planned(
    traveller: _Traveller, line: _Line, there: OtherSide, choices: MigrationChoices, earlier: _Attempt | None
) -> MigrationPlan:
    """See plan_migration."""
    service = traveller.describe()
    volumes = {record.name: tree.estimate() for record, tree in traveller.volumes()}
    known = [count for count in volumes.values() if count is not None]
    images = traveller.images(Embed.NEVER)
    ports = [str(port) for port in traveller.service.ports()]
    needs = Needs(
        name=service.name if choices.called is None else choices.called,
        volumes=tuple(service.settings["volumes"]),
        content=sum(known) if len(known) == len(volumes) else None,
        images=tuple(images),
        ports=tuple(ports),
        replace=choices.replace,
    )
    found = line.check(needs, earlier.transfer if earlier else "")
    return MigrationPlan(
        service=service.name,
        host=there.name,
        called=needs.name,
        stop=choices.stop,
        volumes=volumes,
        images=dict(found["images"]),
        ports=ports,
        differences=list(_differences(traveller, line, found, needs)),
        free=found["free"],
        # what an earlier try has sent is not in the way: the service has run on, and takes its place
        problems=[] if found["arrived"] else list(found["problems"]),
        arrived=bool(found["arrived"]),
    )


def _differences(
    traveller: _Traveller, line: _Line, found: dict[str, Any], needs: Needs
) -> Iterator[tuple[str, str, str]]:
    facts = traveller.service.engine_facts()
    pairs = (
        ("name", traveller.describe().name, needs.name),
        ("drunner-vault", __version__, line.version),
        ("Docker", facts.version, str(found["engine"])),
        ("architecture", facts.architecture, str(found["architecture"])),
    )
    for what, here, over_there in pairs:
        if here != over_there:
            yield what, here, over_there


def _cannot(there: OtherSide, problems: list[str], name: str) -> ServiceError:
    return ServiceError(
        f"{there.name} cannot take {name}: {'; '.join(problems)}",
        f"nothing was changed; to see all that differs: drunner-vault migrate {name} {there.name} --dry-run",
    )
