"""A drill: an archive restored for real, apart from everything else, to see whether the service comes back.

    archive → restore in a room of its own → containers are healthy, selftest says yes → time taken → nothing is left

The restore is an ordinary one, which is always taken back.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drunner_vault.age import Identity
from drunner_vault.archive import Manifest, VolumeRecord, archive_service
from drunner_vault.catalog.records import RecordKind
from drunner_vault.engine.trees import Access, TreeItem, VolumeTree
from drunner_vault.errors import (
    BadImage,
    DamagedArchive,
    DrillFailed,
    EngineDown,
    EngineError,
    HookFailed,
    ImageNotFound,
    ServiceBusy,
    ServiceError,
    UnsupportedArchive,
    VaultError,
)
from drunner_vault.services.selftest import has_command, has_selftest
from drunner_vault.stores.sources import ArchiveSource
from drunner_vault.workflows.archives.recording import Observed, Recorder
from drunner_vault.workflows.drilling.drill_room import DrillRoom, drill_room
from drunner_vault.workflows.host import ServiceHost, last_words
from drunner_vault.workflows.progress import Progress
from drunner_vault.workflows.restore_service import restore_with
from drunner_vault.workflows.services.drunner_restore import DrunnerReinstallation, DrunnerReinstaller, RestoreChoices
from drunner_vault.workflows.trust import Trust

if TYPE_CHECKING:
    from drunner_vault.engine.isolation import ContainerState

PASSED, FAILED = "passed", "failed"
_PROVES = (ServiceError, DamagedArchive, UnsupportedArchive, EngineError)  # failures that tell something of the archive
_START, _SELFTEST = "start", "selftest"
_STARTED_ALREADY = (0, 3)  # the exit codes of `start` that are fine
_SETTLED = 2.0  # seconds that a container without a check of its health has to run
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0  # seconds between looks at the containers


@dataclass(frozen=True)
class DrillChoices:
    """What a person decides about a drill. image: to install from, instead of the one that was backed up. timeout:
    seconds for each hook, and for the service to become well."""

    timeout: float = 600.0
    image: str | None = None
    access: Access = Access.AUTO


@dataclass
class DrillReport:
    """How a drill went. seconds: from the first byte of the archive until the service was well, or until it was known
    not to be. restored: after how many of them its data was back. started: what made containers run, `restore` (or
    install, before it) or the service's command `start`; empty if none runs. selftest: `passed`, `failed`, or empty if
    it has none. fetched: images that were not on this host. changed, refused: what the service asked of Docker and did
    not get as it asked. left: what could not be removed."""

    archive: str
    service: str = ""
    created: str = ""
    verdict: str = FAILED
    why: str = ""
    hint: str = ""
    seconds: float = 0.0
    restored: float = 0.0
    members: int = 0
    content: int = 0
    selftest: str = ""
    started: str = ""
    containers: list[dict[str, str]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    recorded: bool = False


def drill(
    host: ServiceHost,
    source: ArchiveSource,
    choices: DrillChoices,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
    trust: Trust | None,
    progress: Progress,
    recorder: Recorder,
) -> DrillReport:
    """Restore an archive apart, see whether its service is well, and remove it again. What was found is remembered
    beside the archive, if that is in a store and we may write there.

    A service that does not come back is in the report; raised is what kept the drill from being held: keys, stores, an
    engine that does not answer.
    """
    report = DrillReport(source.name)
    observed = Observed(source)
    with drill_room(host, archive_service(Path(source.name).name) or "", choices.timeout) as place:
        reinstaller = _Drill(place, choices, report, progress)
        try:
            restored = restore_with(reinstaller, host.clock, observed, offered, ask, trust, progress)
            report.members, report.content = restored.members, restored.content
        except _PROVES as problem:
            if isinstance(problem, (EngineDown, ServiceBusy)) or _is_choice(problem, choices):
                raise
            reinstaller.failed(problem)
            _remember_damage(recorder, problem)
        report.changed, report.refused = place.room.report.changed, place.room.report.refused
    report.left = place.left
    if report.refused and report.verdict == FAILED:
        report.hint = "drill it on a host without that service; or have the service name all it makes after SERVICENAME"
    report.recorded = _remember(recorder, observed, report)
    return report


def _is_choice(problem: VaultError, choices: DrillChoices) -> bool:
    """Whether it is the image that a person wished for: that tells nothing of the archive."""
    return choices.image is not None and isinstance(problem, (BadImage, ImageNotFound))


class _TakenBackError(Exception):
    """The drill is over, and what it did is to be undone."""


class _Drill:
    """A Reinstaller whose restores are looked at, and taken back."""

    def __init__(self, place: DrillRoom, choices: DrillChoices, report: DrillReport, progress: Progress) -> None:
        self._place = place
        self._choices = choices
        self._report = report
        self._progress = progress
        self._clock = place.host.clock
        self._started = self._clock.monotonic()

    @contextlib.contextmanager
    def begin(self, manifest: Manifest) -> Iterator[_Reinstallation]:
        """See Reinstaller."""
        self._report.service, self._report.created = manifest.service.name, manifest.created
        restore = RestoreChoices(self._place.name, self._choices.image, False, self._choices.access)
        ordinary = DrunnerReinstaller(self._place.host, restore)
        with contextlib.suppress(_TakenBackError), ordinary.begin(manifest) as inner:
            try:
                yield _Reinstallation(inner)
                self._report.restored = self._seconds()
                self._prove()
            finally:
                self._report.fetched = self._place.note_images()
            raise _TakenBackError

    def failed(self, problem: VaultError) -> None:
        """The drill has found that the service does not come back."""
        self._report.verdict, self._report.why, self._report.hint = FAILED, problem.message, problem.hint
        self._report.seconds = self._seconds()
        if isinstance(problem, HookFailed):  # the script it names has gone with the drill
            self._report.hint = f"look closer under another name: drunner-vault restore {self._report.archive} NAME"

    def _prove(self) -> None:
        """Whether the service is well, which is in the report then."""
        self._progress.begin("waiting for the service to be well", None)
        try:
            _Proof(self._place, self._report, self._clock.monotonic() + self._choices.timeout).run()
        except _PROVES as problem:
            self.failed(problem)
        else:
            self._report.verdict, self._report.seconds = PASSED, self._seconds()

    def _seconds(self) -> float:
        return round(self._clock.monotonic() - self._started, 3)


class _Reinstallation:
    """See Reinstallation; all of it is done by another."""

    def __init__(self, inner: DrunnerReinstallation) -> None:
        self._inner = inner
        self.hook_directory = inner.hook_directory

    def load_images(self, layout: Iterable[TreeItem]) -> None:
        """See Reinstallation."""
        self._inner.load_images(layout)

    def install(self) -> None:
        """See Reinstallation."""
        self._inner.install()

    def volume_tree(self, record: VolumeRecord) -> VolumeTree:
        """See Reinstallation."""
        return self._inner.volume_tree(record)

    def resume(self) -> None:
        """See Reinstallation."""
        self._inner.resume()


class _Proof:
    """Asks a restored service and its containers whether they are well, until they are or the time is over."""

    def __init__(self, place: DrillRoom, report: DrillReport, last: float) -> None:
        self._place = place
        self._report = report
        self._last = last
        self._host = place.host
        self._home = place.host.home(place.name)
        self._script = self._home.servicerunner.read_bytes()

    def run(self) -> None:
        """Raises DrillFailed, HookFailed."""
        self._start()
        self._wait_for_health()
        if has_selftest(self._script):
            self._selftest()
            self._wait_for_health()  # it may have seen to it that something ends

    def _start(self) -> None:
        """A service that was not started by being restored is started."""
        self._report.started = "restore" if self._running() else ""
        if self._report.started or not has_command(self._script, _START):
            return
        result = self._host.run(self._home, _START)
        if result.code not in _STARTED_ALREADY:
            raise DrillFailed(
                f"the service's command start failed with exit code {result.code}{last_words(result.output)}",
                "see whether it starts on its own host",
            )
        self._report.started = _START if self._running() else ""

    def _wait_for_health(self) -> None:
        wait = _FIRST_WAIT
        while True:
            containers = self._place.room.containers()
            self._report.containers = [_shown(container) for container in containers]
            waiting = [reason for container in containers if (reason := self._fault(container))]
            if not waiting:
                return
            if self._host.clock.monotonic() >= self._last:
                raise DrillFailed(f"the service did not become well in time: {'; '.join(waiting)}", "give it --timeout")
            time.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)

    def _fault(self, container: ContainerState) -> str:
        """What is to be waited for; nothing if it is well. Raises DrillFailed if there is nothing to wait for."""
        if container.state == "exited" and container.code:
            said = self._place.room.last_words(container.id)
            raise DrillFailed(
                f"container {container.name} ended with exit code {container.code}{said and f': it says {said!r}'}",
                "see what it needs that the archive does not bring",
            )
        if container.state in ("created", "exited"):
            return ""
        if container.state != "running":
            return f"container {container.name} is {container.state}"
        if container.health:
            return "" if container.health == "healthy" else f"container {container.name} is {container.health}"
        now = self._host.clock.now()
        settled = container.since is None or now - container.since >= dt.timedelta(seconds=_SETTLED)
        return "" if settled else f"container {container.name} has just been started"

    def _selftest(self) -> None:
        """Asked again while something runs that may still be coming up."""
        wait = _FIRST_WAIT
        while True:
            result = self._host.run(self._home, _SELFTEST)
            if result.code == 0:
                self._report.selftest = PASSED
                return
            if self._host.clock.monotonic() >= self._last or not self._running():
                self._report.selftest = FAILED
                raise DrillFailed(
                    f"the service says that it is not well: selftest ended with exit code {result.code}"
                    f"{last_words(result.output)}",
                    "see what it says on its own host",
                )
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _running(self) -> list[ContainerState]:
        return [container for container in self._place.room.containers() if container.state == "running"]


def _shown(container: ContainerState) -> dict[str, str]:
    return {
        "name": container.name,
        "image": container.image,
        "state": container.state if container.state == "running" else f"{container.state} ({container.code})",
        "health": container.health,
    }


def _remember(recorder: Recorder, observed: Observed, report: DrillReport) -> bool:
    """A drill reads every byte, so one that went well also verifies the archive."""
    kind = RecordKind.DRILLED if report.verdict == PASSED else RecordKind.DRILL_FAILED
    details: dict[str, Any] = {
        "verdict": report.verdict,
        "why": report.why[:1000],
        "milliseconds": round(report.seconds * 1000),
        "restored_milliseconds": round(report.restored * 1000),
        "members": report.members,
        "content": report.content,
        "selftest": report.selftest,
        "started": report.started,
    }
    written = recorder.record(kind, details)
    if written and report.verdict == PASSED:
        recorder.record(RecordKind.VERIFIED, {"checked": "everything", "by": "drill"}, observed.sha256)
    return written


def _remember_damage(recorder: Recorder, problem: VaultError) -> None:
    if isinstance(problem, DamagedArchive):
        recorder.record(RecordKind.DAMAGED, {"problem": problem.message[:1000]})
