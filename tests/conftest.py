"""Fixtures that start real parts. What cannot run here fails, unless ALLOW_SKIP=1 says that it may be left out."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import engines, scanning
from support import registry as registries
from support.engines import Host
from support.registry import Registry

# Started in the background, or by nohup, a test run ignores some of these, and so would the commands that are ended by
# them in tests. The first three end the run in good order, with its engines stopped.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


TALLY = "tally"


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """``tally("9 cases, 3 of them …")``: said at the end of the run, wherever the test ran."""
    return lambda text: request.node.user_properties.append((TALLY, text))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have counted."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    lines = [
        f"{report.nodeid.rpartition('/')[2]}: {text}"
        for report in reports
        for name, text in report.user_properties
        if name == TALLY
    ]
    if lines:
        terminalreporter.section("counted")
        terminalreporter.write_line("\n".join(sorted(lines)))


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


@pytest.fixture(scope="session")
def scanner() -> None:
    """A reader of QR codes is here."""
    require(scanning.missing_scanner())


@pytest.fixture(scope="session")
def printer(scanner: None) -> None:
    """A browser that prints, and what makes pictures of it, are here too."""
    require(scanning.missing_printer())


@pytest.fixture(scope="session")
def systemd() -> None:
    """What judges units of systemd, and works on the files of a host that does not run."""
    absent = [name for name in ("systemd-analyze", "systemctl") if shutil.which(name) is None]
    require(f"tests of timers need {' and '.join(absent)}" if absent else "")
