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
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from drunner_vault.engine.trees import Access
from drunner_vault.errors import (
    BadUsage,
    EngineError,
    HookFailed,
    Interrupted,
    ServiceBusy,
    ServiceError,
    StorageError,
    Unavailable,
    VaultError,
)
from drunner_vault.services.home import ServiceHome
from drunner_vault.stores.ssh.channel import Gone
from drunner_vault.workflows.backup import BackupChoices, BackupReport, backup
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.moving.journal import Attempt, Journal
from drunner_vault.workflows.moving.other_side import Line, OtherSide
from drunner_vault.workflows.moving.plan import MigrationChoices, MigrationPlan, Traveller, cannot_take, planned
from drunner_vault.workflows.moving.preflight import Needs
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.services.drunner_service import DrunnerService
from drunner_vault.workflows.services.remove import take_off
from drunner_vault.workflows.services.selftest import is_running
from drunner_vault.workflows.working import working_on
from drunner_vault.workflows.workload import Embed

_FIND_OUT = "give the same command again when it answers: it finds out, and finishes"


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
        traveller = Traveller(DrunnerService(host, home, Access.AUTO))
        return planned(traveller, Line(host, there, channel), there, choices, Journal(home).read())


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
        self._journal = Journal(home)
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
                return self._run(Line(self._host, self._there, channel), service, earlier)
        except Unavailable:
            if self._under_way:
                self._have_it_taken_back()
            raise

    def _run(self, line: Line, service: DrunnerService, earlier: Attempt | None) -> MigrationReport:
        plan = planned(Traveller(service), line, self._there, self._choices, earlier)
        if plan.arrived and not self._choices.stop:
            self._journal.forget()
            return replace(self._report(), finished=True)
        if plan.problems:
            raise cannot_take(self._there, plan.problems, self._home.name)
        bring = frozenset(reference for reference, how in plan.images.items() if how == "bring")
        return self._transferred(line, service, bring, earlier.transfer if earlier and plan.arrived else "")

    def _transferred(self, line: Line, service: DrunnerService, bring: frozenset[str], instead: str) -> MigrationReport:
        with ExitStack() as held:
            traveller = Traveller(service, bring, held if self._choices.stop else None)
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

    def _send(self, line: Line, traveller: Traveller) -> BackupReport:
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

    def _last_word(self, line: Line) -> dict[str, Any]:
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
            found = Line(self._host, self._there, channel).check(Needs(self._called, (), 0, ()), self._transfer)
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

    def _seal(self, line: Line) -> None:
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
