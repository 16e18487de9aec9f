"""What cron starts while the machine is still starting waits for Docker."""

from __future__ import annotations

from drunner_vault.errors import EngineDown
from drunner_vault.workflows.unattended.running import wait_for_engine


class Starting:
    """An engine that answers at the n-th try."""

    def __init__(self, answers_at: int) -> None:
        self.left, self.slept = answers_at, 0.0

    def connect(self) -> None:
        self.left -= 1
        if self.left:
            raise EngineDown("not yet")

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_an_engine_that_answers_is_not_waited_for() -> None:
    engine = Starting(1)
    wait_for_engine(engine.connect, engine.sleep)
    assert engine.slept == 0


def test_one_that_is_starting_is_waited_for_and_no_longer_than_that() -> None:
    engine = Starting(4)
    wait_for_engine(engine.connect, engine.sleep)
    assert (engine.left, engine.slept) == (0, 15)


def test_one_that_never_comes_is_waited_for_five_minutes() -> None:
    engine = Starting(1000)
    wait_for_engine(engine.connect, engine.sleep)
    assert engine.slept == 300
