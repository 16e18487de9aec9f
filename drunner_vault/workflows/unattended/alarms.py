"""Alarms: what is wrong now, who has been told of it, and who is still to be.

    problems found → raised, or over → told once → remembered in ROOT/vault/alarms.json

A message that could not be delivered is tried again whenever alarms are settled. That one cannot be delivered is said,
and fails nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from drunner_vault.alarms.notify import Tone, send
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import VaultError
from drunner_vault.hoststate.state import State

FAILURE, STALE, RECOVERY, SUCCESS = "failure", "stale", "recovery", "success"
_STALE_KINDS = ("stale", "unverified", "never")


@dataclass(frozen=True)
class Problem:
    """Something that is wrong. kind: failed, unreachable, damaged, settings, storage; or stale, unverified, never.
    task: of what failed. job, service, store: whatever it is about, empty for what does not matter. text: a sentence
    for people.
    """

    kind: str
    text: str
    job: str = ""
    task: str = ""
    service: str = ""
    store: str = ""

    @property
    def key(self) -> str:
        """The same for the same problem, however its text may change."""
        return "|".join((self.kind, self.job, self.task, self.service, self.store))

    @property
    def event(self) -> str:
        """What a notification has to be for, to tell of it."""
        return STALE if self.kind in _STALE_KINDS else FAILURE


@dataclass(frozen=True)
class Alarm:
    """A problem that was raised. since, ended: as RFC 3339 in UTC; ended is empty while it lasts. owed: the
    notifications that are still to be told of that, by name; `NAME 2` where only its second URL is."""

    problem: Problem
    since: str
    ended: str = ""
    owed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Channel:
    """A notification of the settings. on: what it is for. urls: gives its Apprise URLs, or raises VaultError."""

    name: str
    on: tuple[str, ...]
    urls: Callable[[], list[str]]


@dataclass(frozen=True)
class Audience:
    """Whom to tell what. jobs: the names of channels by name of a job; all of them where none are named. host: of whom
    messages speak."""

    channels: Mapping[str, Channel]
    jobs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    host: str = ""

    def names(self, job: str, event: str) -> tuple[str, ...]:
        """Who is to be told of an event of a job."""
        chosen = self.jobs.get(job) or tuple(self.channels)
        return tuple(name for name in chosen if name in self.channels and event in self.channels[name].on)

    def tell(self, name: str, title: str, lines: Sequence[str], tone: Tone) -> list[str]:
        """Send a message; returns what went wrong, a sentence each."""
        try:
            urls = self.channels[name].urls()
        except VaultError as error:
            return [f"notification {name}: {error.message}"]
        return self.send(name, urls, title, lines, tone)

    def send(self, name: str, urls: Sequence[str], title: str, lines: Iterable[str], tone: Tone) -> list[str]:
        """Send a message to some URLs of a channel; returns what went wrong, a sentence each."""
        problems = send(f"{self.host}: {title}", "\n".join(lines), urls, tone)
        return [f"notification {name}: {problem}" for problem in problems]


class Alarms:
    """The alarms of this host. directory: `ROOT/vault`."""

    def __init__(self, directory: Path, audience: Audience, clock: Clock) -> None:
        self._state = State(directory / "alarms.json")
        self._audience = audience
        self._clock = clock

    def all(self) -> list[Alarm]:
        """Those that are raised, and those that are over with somebody still to be told. Raises StorageError."""
        return [alarm for item in self._state.read().get("alarms", ()) if (alarm := _parse(item)) is not None]

    def raised(self) -> list[Alarm]:
        """Those that are raised. Raises StorageError."""
        return [alarm for alarm in self.all() if not alarm.ended]

    def settle(self, found: Sequence[Problem], concerns: Callable[[Problem], bool]) -> list[str]:
        """Raise what was found and is new; what is raised, concerns us and was not found is over. Tell whoever is to be
        told; returns what went wrong with that, a sentence each. Raises StorageError; then too they have been told, and
        will be again: a full disk must not silence anything.
        """
        with self._state.locked():
            alarms = self._compared(found, concerns)
            try:
                # first, so that whoever kills us here is told again rather than never
                self._write(alarms)
            finally:
                told, complaints = self._tell(alarms)
            if told != alarms:
                self._write(told)
        return complaints

    def _compared(self, found: Sequence[Problem], concerns: Callable[[Problem], bool]) -> list[Alarm]:
        now, known = isoformat(self._clock.now()), {alarm.problem.key: alarm for alarm in self.all()}
        for problem in found:
            before = known.get(problem.key)
            if before is None or before.ended:
                owed = self._audience.names(problem.job, problem.event)
                known[problem.key] = Alarm(problem, now, owed=owed)
            else:
                known[problem.key] = replace(before, problem=problem)
        keys = {problem.key for problem in found}
        for key, alarm in known.items():
            if key not in keys and not alarm.ended and concerns(alarm.problem):
                owed = self._audience.names(alarm.problem.job, RECOVERY)
                known[key] = replace(alarm, ended=now, owed=owed)
        return list(known.values())

    def _tell(self, alarms: Sequence[Alarm]) -> tuple[list[Alarm], list[str]]:
        """The alarms as they are when all have been told who could be, and what went wrong."""
        complaints: list[str] = []
        left = list(alarms)
        for name in self._audience.channels:
            for over in (False, True):
                left, said = self._tell_channel(name, over, left)
                complaints += said
        known = self._audience.channels
        left = [replace(alarm, owed=tuple(to for to in alarm.owed if channel_of(to) in known)) for alarm in left]
        return [alarm for alarm in left if not alarm.ended or alarm.owed], complaints

    def _tell_channel(self, name: str, over: bool, alarms: list[Alarm]) -> tuple[list[Alarm], list[str]]:
        """Tell each URL of a channel what it is still to be told of what is raised, or over. One that cannot be reached
        must not have the others told again, so from then on only that one is owed."""
        concerned = [alarm for alarm in alarms if bool(alarm.ended) is over and name in map(channel_of, alarm.owed)]
        if not concerned:
            return alarms, []
        try:
            urls = self._audience.channels[name].urls()
        except VaultError as error:
            return alarms, [f"notification {name}: {error.message}"]
        complaints: list[str] = []
        missed: list[str] = []
        for number, url in enumerate(urls, 1):
            place = f"{name} {number}"
            owed = [alarm for alarm in concerned if name in alarm.owed or place in alarm.owed]
            if owed and (said := self._audience.send(name, [url], _title(owed), map(_line, owed), _tone(over))):
                complaints += said
                missed.append(place)
        return [_missed_by(alarm, name, missed) if alarm in concerned else alarm for alarm in alarms], complaints

    def _write(self, alarms: Sequence[Alarm]) -> None:
        self._state.write({"alarms": [asdict(alarm) for alarm in alarms]})


def channel_of(owed: str) -> str:
    """The channel that is still to be told, or one URL of which is."""
    return owed.partition(" ")[0]


def _missed_by(alarm: Alarm, name: str, places: Sequence[str]) -> Alarm:
    """The alarm when a channel has been told, but for these URLs of it."""
    others = [to for to in alarm.owed if channel_of(to) != name]
    return replace(alarm, owed=(*others, *(place for place in places if name in alarm.owed or place in alarm.owed)))


def _tone(over: bool) -> Tone:
    return Tone.GOOD if over else Tone.BAD


def _title(alarms: Sequence[Alarm]) -> str:
    over = "resolved: " if alarms[0].ended else ""
    if len(alarms) == 1:
        return over + alarms[0].problem.text.partition(": ")[0]
    return f"{over}{len(alarms)} problems"


def _line(alarm: Alarm) -> str:
    if not alarm.ended:
        return alarm.problem.text
    return f"resolved: {alarm.problem.text} (since {alarm.since}, until {alarm.ended})"


def _parse(item: Any) -> Alarm | None:
    """The alarm in an object that we wrote; None if it is not one of this version's."""
    try:
        problem = Problem(**{name: str(value) for name, value in item["problem"].items()})
        dt.datetime.fromisoformat(item["since"])
        return Alarm(problem, item["since"], item["ended"], tuple(item["owed"]))
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
