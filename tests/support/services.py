"""The services under ``tests/fixtures/services``, and what they write down of each call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from support.engines import CHECKOUT, Host
from support.images import build_service

SERVICES = CHECKOUT / "tests" / "fixtures" / "services"
EXAMPLES = CHECKOUT / "examples"
DTEST = CHECKOUT / "tests" / "fixtures" / "dtest.sh"


@dataclass(frozen=True)
class Call:
    """One call of a servicerunner: ``event`` is the verb, ``args`` what followed it."""

    service: str
    event: str
    args: tuple[str, ...]
    stdin_tty: bool
    stdout_tty: bool
    cwd: Path
    has_pass: bool


def build_fixture(host: Host, name: str, tag: str | None = None) -> str:
    """Build the service ``first``, ``second`` or ``third`` on ``host``; return the image's name."""
    # A shell or sleep that is a container's first process heeds no other signal, and ten seconds pass at each stop.
    return build_service(host, tag or f"test/{name}:2016", SERVICES / name, instructions=["STOPSIGNAL SIGKILL"])


def build_example(host: Host, name: str, tag: str | None = None) -> str:
    """Build ``examples/NAME`` by its own build.sh on ``host``; return the image's name."""
    image = tag or f"example/{name}:1"
    host.run(EXAMPLES / name / "build.sh", image)
    return image


def read_calls(log: Path) -> list[Call]:
    """The calls in a SERVICE_LOG, oldest first; none when no service was called."""
    if not log.exists():
        return []
    return [_parse(line) for line in log.read_text().splitlines()]


def _parse(line: str) -> Call:
    service, call, stdin, stdout, cwd, secret = line.split("\t")
    event, *args = call.split(" ")
    return Call(
        service=service,
        event=event,
        args=tuple(args),
        stdin_tty=stdin == "stdin=tty",
        stdout_tty=stdout == "stdout=tty",
        cwd=Path(cwd),
        has_pass=secret == "PASS=set",
    )
