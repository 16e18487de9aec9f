"""Fixtures that start real parts. What cannot run here fails, unless ALLOW_SKIP=1 says that it may be left out."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import engines
from support import registry as registries
from support.engines import Host
from support.registry import Registry

# Started in the background, or by nohup, a test run ignores some of these, and so would the commands that are ended by
# them in tests. The first three end the run in good order, with its engines stopped.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def require(missing: str) -> None:
    """Fail, or skip where that is allowed, when ``missing`` names something."""
    if missing and os.environ.get("ALLOW_SKIP") == "1":
        pytest.skip(missing)
    if missing:
        pytest.fail(f"{missing}; ALLOW_SKIP=1 leaves such tests out", pytrace=False)


@pytest.fixture(scope="session")
def engines_directory() -> Iterator[Path]:
    """Where the engines and the hosts' homes are: a short path on a real disk."""
    require(engines.missing_parts())
    with engines.working_directory() as path:
        yield path


@pytest.fixture(scope="session")
def host_a(engines_directory: Path) -> Iterator[Host]:
    """The first engine, shared by all tests: see ``host`` for a view of it with nothing installed."""
    with engines.private_host("a", engines_directory) as host:
        yield host


@pytest.fixture(scope="session")
def host_b(engines_directory: Path) -> Iterator[Host]:
    """The second engine, which knows nothing of the first."""
    with engines.private_host("b", engines_directory) as host:
        yield host


@pytest.fixture
def fresh_host() -> Iterator[Callable[[Host], Host]]:
    """``fresh_host(host_a)``: that engine with nothing installed. Containers and volumes go when the test ends."""
    seen: list[tuple[Host, set[str], set[str]]] = []

    def make(engine: Host) -> Host:
        host = engine.anew()
        seen.append((host, host.containers(), host.volumes()))
        return host

    yield make
    for host, containers, volumes in reversed(seen):
        host.remove_all_but(containers, volumes)


@pytest.fixture
def host(fresh_host: Callable[[Host], Host], host_a: Host) -> Host:
    """A host with nothing installed."""
    return fresh_host(host_a)


@pytest.fixture
def other_host(fresh_host: Callable[[Host], Host], host_b: Host) -> Host:
    """Another host with nothing installed, on another engine."""
    return fresh_host(host_b)


@pytest.fixture(scope="session")
def registry(host_a: Host, engines_directory: Path) -> Iterator[Registry]:
    """A registry that asks for a password, on ``host_a``'s loopback."""
    require(registries.missing_parts())
    with registries.private_registry(host_a, engines_directory / "registry") as running:
        yield running
