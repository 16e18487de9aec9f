"""Reaching an engine that is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from drunner_vault.engine.connection import connect
from drunner_vault.errors import EngineDown

# in a process of its own: the library leaves its socket to the garbage collector
CONNECT = "import sys; from drunner_vault.engine.connection import connect; connect({'DOCKER_HOST': sys.argv[1]})"


@pytest.mark.parametrize(
    ("where", "why"),
    [("unix:///no/such/socket", "No such file or directory"), ("tcp://127.0.0.1:9", "Connection refused")],
)
def test_without_an_engine_the_reason_is_the_systems_own(where: str, why: str) -> None:
    done = subprocess.run([sys.executable, "-c", CONNECT, where], capture_output=True, text=True, check=False)
    assert f"EngineDown: no Docker engine answers at {where}: {why}\n" in done.stderr


def test_an_engine_behind_ssh_that_cannot_be_reached_says_what_ssh_takes() -> None:
    with pytest.raises(EngineDown) as caught:
        connect({"DOCKER_HOST": "ssh://nobody@127.0.0.1:9"})
    assert "no Docker engine answers at ssh://nobody@127.0.0.1:9" in caught.value.message
    assert "docker[ssh]" in caught.value.hint
