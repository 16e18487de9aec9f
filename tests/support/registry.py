"""A private registry that asks for a password: Debian's ``docker-registry`` on a host's loopback.

Engines accept plain HTTP from 127.0.0.0/8, so no certificate is needed; another host cannot reach it.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.engines import Host

TOOLS = ("docker-registry", "htpasswd")
_START_SECONDS = 20

_CONFIG = """\
version: 0.1
log:
  level: info
storage:
  filesystem:
    rootdirectory: {directory}/data
  delete:
    enabled: true
http:
  addr: {address}
auth:
  htpasswd:
    realm: registry
    path: {directory}/htpasswd
"""


@dataclass(frozen=True)
class Registry:
    """A running registry: ``address`` is the first part of its images' names."""

    host: Host
    address: str
    username: str
    password: str

    def image(self, name: str) -> str:
        """``name`` as an image of this registry."""
        return f"{self.address}/{name}"

    def login(self, host: Host) -> None:
        """What a person types once on ``host``, a view of this registry's own engine."""
        host.docker("login", self.address, "-u", self.username, "--password-stdin", input=self.password)

    def logout(self, host: Host) -> None:
        """Forget the password on ``host``."""
        host.docker("logout", self.address)


def missing_parts() -> str:
    """Why a registry cannot be started here, or an empty string."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)} (try: make setup)" if absent else ""


@contextmanager
def private_registry(
    host: Host, directory: Path, *, port: int = 5000, username: str = "service", password: str = "let me in"
) -> Iterator[Registry]:
    """Start a registry in ``host``'s network with its files in ``directory``; end it afterwards."""
    registry = Registry(host, f"127.0.0.1:{port}", username, password)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "htpasswd").write_text(host.run("htpasswd", "-Bbn", username, password).stdout)
    (directory / "config.yml").write_text(_CONFIG.format(directory=directory, address=registry.address))
    log = directory / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            host.command("docker-registry", "serve", directory / "config.yml"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=host.environment(),
        )
    try:
        _wait_until_listening(host, port, process, log)
        yield registry
    finally:
        process.terminate()
        process.wait(timeout=_START_SECONDS)


def _wait_until_listening(host: Host, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while host.run("bash", "-c", f"echo >/dev/tcp/127.0.0.1/{port}", check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the registry did not start\n{log.read_text()}")
        time.sleep(0.05)
