"""The history: what is written down is found again, whatever a crash has left; what was killed is told."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from drunner_vault.clock import Clock
from drunner_vault.workflows.unattended import history as histories
from drunner_vault.workflows.unattended.history import DONE, FAILED, SKIPPED, History, Run, new_run

NOW = dt.datetime(2026, 3, 1, 3, 0, 5, tzinfo=dt.UTC)
CLOCK = Clock(now=lambda: NOW)


def run_of(service: str = "notes", **facts: object) -> Run:
    return replace(new_run(CLOCK, "nightly", "backup", service, "near"), **facts)  # type: ignore[arg-type]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "vault")


def test_what_is_written_down_is_found_again_for_root_only(history: History, tmp_path: Path) -> None:
    runs = [run_of(seconds=1.5, paused=1, archive="near/x", bytes=5, rate=7), run_of(verdict=FAILED, why='a "b"\n')]
    assert history.runs() == []
    for run in runs:
        history.add(run)
    assert history.runs() == runs
    assert runs[0].started == "2026-03-01T03:00:05Z"
    assert (tmp_path / "vault" / "history.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "vault").stat().st_mode & 0o777 == 0o700


def test_a_torn_last_line_and_lines_of_other_versions_lose_nothing_else(history: History, tmp_path: Path) -> None:
    first, second = run_of(), run_of("wiki")
    history.add(first)
    path = tmp_path / "vault" / "history.jsonl"
    with path.open("ab") as file:
        file.write(b'{"id": 5}\n[1]\n\xff\n{"id": "x", "job": "y", "task": "z", "service": "", "sto')
    history.add(second)
    assert history.runs() == [first, second]
    later = path.read_bytes().splitlines()[-1].replace(b'"job"', b'"what a later version adds": [1], "job"')
    path.write_bytes(later)
    assert history.runs() == [second]


def test_the_oldest_go_when_there_are_too_many(history: History, tmp_path: Path) -> None:
    history.add(*[run_of(str(number)) for number in range(histories._MOST + 3)])
    history.add(run_of("last"))
    services = [run.service for run in history.runs()]
    assert (len(services), services[0], services[-1]) == (histories._MOST, "4", "last")


def test_the_latest_of_each_is_the_last_that_was_not_skipped(history: History) -> None:
    history.add(run_of(verdict=FAILED), run_of("wiki"), run_of(verdict=DONE), run_of(verdict=SKIPPED))
    assert [(run.service, run.verdict) for run in history.latest()] == [("wiki", DONE), ("notes", DONE)]


def _add_many(directory: Path) -> None:
    for _ in range(50):
        History(directory).add(run_of(str(os.getpid())))


def test_several_processes_may_write_at_once(history: History, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_many, args=(tmp_path / "vault",)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(history.runs()) == 150


def test_what_is_underway_can_be_seen_and_leaves_nothing(history: History, tmp_path: Path) -> None:
    run = run_of()
    with history.underway(run):
        assert history.now_running() == [run]
        assert history.now_running() == [run]
        assert history.interrupted() == []
    assert history.now_running() == []
    assert list((tmp_path / "vault").iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from drunner_vault.clock import Clock
from drunner_vault.workflows.unattended.history import History, new_run
history = History(Path(sys.argv[1]))
run = new_run(Clock(), "nightly", "backup", "notes", "near")
with history.underway(run):
    if sys.argv[2] == "late":
        history.add(run)
    print(run.id, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_what_was_killed_is_told_once_as_failed(history: History, tmp_path: Path, when: str) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "vault"), when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert [run.id for run in history.now_running()] == [name]
        process.send_signal(signal.SIGKILL)
    found = history.interrupted()
    if when == "late":
        assert (found, [run.verdict for run in history.runs()]) == ([], [DONE])
    else:
        assert [(run.id, run.verdict) for run in found] == [(name, FAILED)]
        assert "interrupted" in found[0].why
        assert history.runs() == found
    assert history.interrupted() == []
    assert len(history.runs()) == 1
