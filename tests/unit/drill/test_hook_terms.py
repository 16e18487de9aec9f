"""Hooks that are given a time and a place of their own; and which commands a service has."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from drunner_vault.errors import HookFailed
from drunner_vault.services.hooks import run_hook
from drunner_vault.services.selftest import has_command


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    path = tmp_path / "servicerunner"
    path.write_text('#!/bin/bash\ntrap "touch $2; exit" INT TERM\n[ "$1" = quick ] || { sleep 60 & wait; }\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("terminal", [True, False])
def test_a_hook_that_takes_too_long_is_ended_and_said(hook: Path, tmp_path: Path, terminal: bool) -> None:
    started, told = time.monotonic(), tmp_path / "told"
    with pytest.raises(HookFailed, match=r"servicerunner slow has not ended in 0\.5 seconds") as raised:
        run_hook([str(hook), "slow", str(told)], env=dict(os.environ), terminal=terminal, timeout=0.5)
    assert 0.5 <= time.monotonic() - started < 4
    assert (raised.value.code, raised.value.hook) == (124, "slow")
    assert told.exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_hook_that_ends_in_time_is_left_alone(hook: Path, terminal: bool) -> None:
    assert run_hook([str(hook), "quick", "x"], env=dict(os.environ), terminal=terminal, timeout=20).code == 0


def test_a_prefix_starts_the_script(hook: Path, tmp_path: Path) -> None:
    hook.write_text('echo "$MARK $1"\n')
    result = run_hook([str(hook), "hello"], env=dict(os.environ), terminal=False, prefix=("/usr/bin/env", "MARK=here"))
    assert result.output.strip() == "here hello"


@pytest.mark.parametrize(
    ("script", "has"),
    [
        (b"case $1 in\n    start) ;;\nesac", True),
        (b'case $1 in\n    "stop" | "start") ;;\nesac', True),
        (b"case $1 in\n    restart) ;;\nesac", False),
        (b"# start)\n", False),
        (b"echo start", False),
    ],
)
def test_a_command_is_known_by_its_branch(script: bytes, has: bool) -> None:
    assert has_command(script, "start") is has
