"""The journal of a command: last first, kept until everything is taken back, and readable by the next command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drunner_vault.errors import EngineDown, EngineError, NoSpace
from drunner_vault.workflows import undo as module
from drunner_vault.workflows.host import ServiceHost
from drunner_vault.workflows.undo import Undo, all_or_nothing


class Engine:
    """Stands for an engine: writes down what is removed, and fails for what it is told to."""

    def __init__(self) -> None:
        self.images = self.containers = self.volumes = self
        self.done: list[str] = []
        self.failing: set[str] = set()

    def remove(self, name: str) -> None:
        if name in self.failing:
            raise EngineDown(f"cannot remove {name}")
        self.done.append(name)

    def using(self, volumes: list[str]) -> list[Any]:
        return []


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def host(tmp_path: Path, engine: Engine, notices: list[str]) -> ServiceHost:
    (tmp_path / "bin").mkdir()
    return ServiceHost(tmp_path / "root", tmp_path / "bin", {}, lambda: engine, notices.append)  # type: ignore[arg-type, return-value]


def journal(host: ServiceHost) -> Path:
    return host.root / "undo/keeper.json"


def test_what_was_done_is_taken_back_last_first(host: ServiceHost, engine: Engine) -> None:
    with pytest.raises(EngineError, match="ours"), all_or_nothing(host, "keeper", "restore keeper") as undo:  # noqa: PT012
        undo.record("remove volume", volume="one")
        undo.record("remove image", image="two")
        undo.record_outermost("remove volume", volume="outermost")
        undo.replace_last("remove image", image="instead of two")
        raise EngineError("ours")
    assert engine.done == ["instead of two", "one", "outermost"]
    assert not journal(host).parent.exists()


def test_what_succeeded_is_not_taken_back(host: ServiceHost, engine: Engine) -> None:
    with all_or_nothing(host, "keeper", "restore keeper") as undo:
        undo.record("remove volume", volume="one")
        undo.at_commit("remove image", image="no longer needed")
        assert engine.done == []
        assert journal(host).exists()
    assert engine.done == ["no longer needed"]
    assert not journal(host).exists()


def test_a_step_is_on_the_disk_before_it_is_taken(host: ServiceHost) -> None:
    undo = Undo(host, "keeper", "restore keeper")
    for number in range(3):
        undo.record("remove volume", volume=str(number))
        document = json.loads(journal(host).read_bytes())
        assert document["doing"] == "restore keeper"
        assert [step["volume"] for step in document["steps"]] == [str(n) for n in range(number + 1)]


def test_a_killed_commands_journal_is_taken_back_by_the_next(host: ServiceHost, engine: Engine) -> None:
    Undo(host, "keeper", "restore keeper").record("remove volume", volume="one")
    left = Undo.unfinished(host, "keeper")
    assert left is not None
    assert left.doing == "restore keeper"
    assert left.roll_back() == []
    assert engine.done == ["one"]
    assert Undo.unfinished(host, "keeper") is None
    assert Undo.unfinished(host, "another") is None


def test_what_cannot_be_taken_back_now_stays_in_the_journal(
    host: ServiceHost, engine: Engine, notices: list[str]
) -> None:
    engine.failing = {"two"}
    with pytest.raises(EngineError) as raised, all_or_nothing(host, "keeper", "restore keeper") as undo:  # noqa: PT012
        for name in ("one", "two", "three"):
            undo.record("remove volume", volume=name)
        raise EngineError("ours")
    assert "cannot remove two" in raised.value.__notes__[0]
    assert any("cannot remove two" in notice for notice in notices)
    assert engine.done == ["three", "one"]
    engine.failing = set()
    left = Undo.unfinished(host, "keeper")
    assert left is not None
    assert left.roll_back() == []
    assert engine.done == ["three", "one", "two"]


def test_a_journal_that_cannot_be_written_stops_the_command(
    host: ServiceHost, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise NoSpace("cannot write")

    with pytest.raises(NoSpace), all_or_nothing(host, "keeper", "restore keeper") as undo:  # noqa: PT012
        undo.record("remove volume", volume="one")
        monkeypatch.setattr(module, "replace_file", full)
        undo.record("remove volume", volume="two")
    assert engine.done == ["two", "one"]
    assert not journal(host).exists()


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_takes_back_too(host: ServiceHost, engine: Engine, interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), all_or_nothing(host, "keeper", "restore keeper") as undo:  # noqa: PT012
        undo.record("remove volume", volume="one")
        raise interruption
    assert engine.done == ["one"]
