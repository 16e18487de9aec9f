"""Whose uploads may be taken for dead: those of this host's services that no command is working on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drunner_vault.errors import ServiceBusy
from drunner_vault.services.lock import service_lock
from drunner_vault.wiring.stores import copying, is_copying, is_idle

HERE = os.uname().nodename


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    if os.geteuid() != 0:
        pytest.skip("only root sees who is at work")
    return {"DRUNNER_ROOT": str(tmp_path), "DRUNNER_CONFIG_DIR": str(tmp_path / "etc")}


def test_only_services_of_this_host_can_be_known_to_be_idle(environment: dict[str, str]) -> None:
    idle = is_idle(environment)
    assert idle(HERE, "notes")
    assert not idle("elsewhere", "notes")
    assert not idle("", "")


def test_a_service_that_is_worked_on_is_not_idle(environment: dict[str, str], tmp_path: Path) -> None:
    idle = is_idle(environment)
    with service_lock(tmp_path, "notes", "backup notes"):
        assert not idle(HERE, "notes")
        assert idle(HERE, "wiki")
    assert idle(HERE, "notes")


@pytest.mark.parametrize("service", ["notes", "n" * 63])
def test_a_service_whose_archives_are_copied_is_not_idle_and_can_be_backed_up(
    service: str, environment: dict[str, str], tmp_path: Path
) -> None:
    idle, busy = is_idle(environment), is_copying(environment)
    with copying(environment, HERE, service), service_lock(tmp_path, service, "backup"):
        assert busy(service)
        assert not busy("wiki")
    with copying(environment, HERE, service):
        assert not idle(HERE, service)
        with pytest.raises(ServiceBusy), copying(environment, HERE, service):
            pass
    assert idle(HERE, service)
    assert not busy(service)


@pytest.mark.parametrize(("host", "service"), [("elsewhere", "notes"), (HERE, "no such name"), (HERE, "")])
def test_archives_of_what_cannot_be_at_work_here_are_copied_without_a_lock(
    host: str, service: str, environment: dict[str, str], tmp_path: Path
) -> None:
    with copying(environment, host, service):
        assert not (tmp_path / "locks").exists()


def test_who_cannot_see_locks_takes_nobody_for_idle(environment: dict[str, str], tmp_path: Path) -> None:
    idle = is_idle(environment)
    os.seteuid(65534)
    try:
        assert not idle(HERE, "notes")
    finally:
        os.seteuid(0)
