"""Alarms: told once when they are raised and once when they are over, to whom it concerns, and not lost on the way."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.catalogs import HOUR, Hands
from support.listeners import Listener, listening

from drunner_vault.errors import BadUsage, StorageError
from drunner_vault.workflows.unattended.alarms import FAILURE, RECOVERY, STALE, Alarms, Audience, Channel, Problem

BROKEN = Problem("failed", "backup of notes failed: no", "nightly", "backup", "notes", "near")
OLD = Problem("stale", "the newest archive of notes is old", "nightly", "", "notes", "near")
EVERYTHING = (FAILURE, RECOVERY, STALE)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def alarms_of(directory: Path, listener: Listener, on: tuple[str, ...] = EVERYTHING, **jobs: tuple[str, ...]) -> Alarms:
    channels = {name: Channel(name, on, lambda name=name: [listener.apprise(f"/{name}")]) for name in ("ops", "boss")}
    return Alarms(directory, Audience(channels, jobs or {"nightly": ("ops",)}, "here"), Hands().clock)


def always(_problem: Problem) -> bool:
    return True


def test_an_alarm_is_told_once_and_so_is_that_it_is_over(tmp_path: Path, listener: Listener) -> None:
    alarms = alarms_of(tmp_path, listener)
    for _ in range(2):
        assert alarms.settle([BROKEN], always) == []
    assert [alarm.problem for alarm in alarms.raised()] == [BROKEN]
    for _ in range(2):
        assert alarms.settle([], always) == []
    assert alarms.all() == []
    assert [(item["title"], item["type"]) for item in listener.messages("/ops")] == [
        ("here: backup of notes failed", "failure"),
        ("here: resolved: backup of notes failed", "success"),
    ]
    assert listener.messages("/ops")[1]["message"].endswith("(since 2026-03-01T12:00:00Z, until 2026-03-01T12:00:00Z)")
    assert listener.messages("/boss") == []


def test_several_at_once_are_one_message(tmp_path: Path, listener: Listener) -> None:
    alarms_of(tmp_path, listener).settle([BROKEN, OLD], always)
    (message,) = listener.messages("/ops")
    assert message["title"] == "here: 2 problems"
    assert message["message"].splitlines() == [BROKEN.text, OLD.text]


def test_what_does_not_concern_the_caller_stays_raised(tmp_path: Path, listener: Listener) -> None:
    alarms = alarms_of(tmp_path, listener)
    alarms.settle([BROKEN, OLD], always)
    alarms.settle([], lambda problem: problem.kind == "failed")
    assert [alarm.problem for alarm in alarms.raised()] == [OLD]


def test_everybody_is_told_only_of_what_they_want(tmp_path: Path, listener: Listener) -> None:
    alarms = alarms_of(tmp_path, listener, (STALE,), nightly=())
    alarms.settle([BROKEN, OLD], always)
    alarms.settle([], always)
    for path in ("/ops", "/boss"):
        assert [item["message"] for item in listener.messages(path)] == [OLD.text]


def test_what_could_not_be_delivered_is_said_and_tried_again(tmp_path: Path, listener: Listener) -> None:
    alarms = alarms_of(tmp_path, listener, nightly=("ops", "boss"))
    listener.refused = ("/ops",)
    (complaint,) = alarms.settle([BROKEN], always)
    assert complaint.startswith("notification ops: json: ")
    assert [alarm.owed for alarm in alarms.all()] == [("ops 1",)]
    listener.refused, listener.said[:] = (), []
    assert alarms.settle([BROKEN], always) == []
    assert [path for path, _ in listener.said] == ["/ops"]
    listener.refused = ("/ops",)
    alarms.settle([], always)
    assert (alarms.raised(), len(alarms.all())) == ([], 1)
    listener.refused, listener.said[:] = (), []
    assert alarms.settle([], always) == []
    assert listener.titles("/ops") == ["resolved: backup of notes failed"]
    assert alarms.all() == []


def test_one_url_that_cannot_be_reached_does_not_have_the_others_told_again(tmp_path: Path, listener: Listener) -> None:
    def urls() -> list[str]:
        return [listener.apprise("/a"), listener.apprise("/b")]

    alarms = Alarms(tmp_path, Audience({"ops": Channel("ops", EVERYTHING, urls)}, {}, "here"), Hands().clock)
    listener.refused = ("/b",)
    for _ in range(3):
        (complaint,) = alarms.settle([BROKEN], always)
        assert "notification ops: json: " in complaint
    assert listener.titles("/a") == ["backup of notes failed"]
    listener.refused, listener.said[:] = (), []
    for _ in range(2):
        assert alarms.settle([BROKEN], always) == []
    assert (listener.titles("/a"), listener.titles("/b")) == ([], ["backup of notes failed"])
    listener.refused, listener.said[:] = ("/b",), []
    alarms.settle([], always)
    listener.refused = ()
    assert alarms.settle([], always) == []
    assert listener.titles("/a") == ["resolved: backup of notes failed"]
    assert listener.titles("/b") == ["resolved: backup of notes failed"] * 2  # the first one was refused
    assert alarms.all() == []


def test_a_problem_that_comes_back_is_a_new_alarm(tmp_path: Path, listener: Listener) -> None:
    alarms = alarms_of(tmp_path, listener)
    alarms.settle([BROKEN], always)
    listener.refused = ("/ops",)
    alarms.settle([], always)
    listener.refused = ()
    alarms.settle([BROKEN], always)
    assert listener.titles("/ops")[-1] == "backup of notes failed"
    assert [(alarm.ended, alarm.owed) for alarm in alarms.all()] == [("", ())]


def test_urls_that_cannot_be_had_and_channels_that_are_gone_fail_nothing(tmp_path: Path, listener: Listener) -> None:
    def unreadable() -> list[str]:
        raise BadUsage("vault.toml, line 3: cannot read /x")

    audience = Audience({"ops": Channel("ops", EVERYTHING, unreadable)}, {}, "here")
    hands = Hands()
    (complaint,) = Alarms(tmp_path, audience, hands.clock).settle([BROKEN], always)
    assert complaint == "notification ops: vault.toml, line 3: cannot read /x"
    hands.moment += HOUR
    alarms = Alarms(tmp_path, Audience({}, {}, "here"), hands.clock)
    assert alarms.settle([BROKEN], always) == []
    assert [alarm.owed for alarm in alarms.all()] == [()]


def test_a_state_that_makes_no_sense_is_begun_anew(tmp_path: Path, listener: Listener) -> None:
    for nonsense in ("", "[]", '{"alarms": [5, {"problem": {"kind": "x"}, "since": "y"}]}'):
        (tmp_path / "alarms.json").write_text(nonsense)
        assert alarms_of(tmp_path, listener).all() == []
    alarms_of(tmp_path, listener).settle([BROKEN], always)
    assert len(alarms_of(tmp_path, listener).raised()) == 1


def test_a_disk_that_is_full_silences_nothing(tmp_path: Path, listener: Listener) -> None:
    alarms = alarms_of(tmp_path, listener)
    alarms.settle([], always)
    for _ in range(2):
        with nothing_can_be_written(), pytest.raises(StorageError):
            alarms.settle([BROKEN], always)
    assert alarms.settle([BROKEN], always) == []
    assert listener.titles("/ops") == ["backup of notes failed"] * 3
    assert len(alarms.raised()) == 1


@contextmanager
def nothing_can_be_written() -> Iterator[None]:
    """As on a disk that is full, or nearly."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
