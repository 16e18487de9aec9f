"""Another host as ssh sees it: a real ``sshd`` on a free port of the loopback, with keys and settings of its own.

Its users are this machine's; whoever runs the tests logs in as himself, and may also run commands there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

from drunner_vault.stores.ssh.options import SshOptions

SSHD = "/usr/sbin/sshd"  # it must be called by its full path, since it calls itself
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
HOST = "faraway"  # what the client's settings call the server
_SEPARATION = Path("/run/sshd")
_START_SECONDS = 20

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
{settings}
"""

_CLIENT = """\
Host {host}
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {directory}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {directory}/known_hosts
    GlobalKnownHostsFile /dev/null
    KexAlgorithms curve25519-sha256
"""


@dataclass(frozen=True)
class SshServer:
    """A running sshd. ``directory`` has its keys, ``log`` and the clients' ``ssh_config`` and ``known_hosts``."""

    directory: Path
    port: int
    pid: int

    @property
    def command(self) -> tuple[str, ...]:
        """How a client calls ssh."""
        return ("ssh", "-F", str(self.directory / "ssh_config"))

    def environment(self) -> dict[str, str]:
        """What sends the program's ssh here: ``ssh://faraway/…``."""
        return {"DRUNNER_SSH": shlex.join(self.command)}

    def options(self, path: Path | str, timeout: float = 30) -> SshOptions:
        """A store in a directory over there."""
        return SshOptions(HOST, str(path), command=self.command, timeout=timeout)

    def url(self, path: Path | str) -> str:
        """The same, as a person writes it."""
        return f"ssh://{HOST}{path}"

    def run(self, *command: str) -> str:
        """What a command prints over there."""
        done = subprocess.run(
            [*self.command, "-oBatchMode=yes", HOST, shlex.join(command)], capture_output=True, text=True, check=True
        )
        return done.stdout

    def sessions(self) -> list[int]:
        """The processes that serve clients, those of each client from the outer to the inner."""
        return _below(self.pid)


def missing_parts() -> str:
    """Why a server cannot be started here, or an empty string."""
    tools = ("ssh", "ssh-keygen", SSHD)
    absent = [Path(tool).name for tool in tools if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)} (try: make setup)" if absent else ""


@contextmanager
def ssh_server(directory: Path, *, sftp: str = "internal-sftp", settings: str = "") -> Iterator[SshServer]:
    """Start a server with its files in ``directory``; end it and its clients' sessions afterwards.

    sftp: what serves SFTP, as a ``Subsystem``; nothing for an empty string. settings: further lines of sshd_config.
    """
    if missing := missing_parts():
        raise RuntimeError(missing)
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        _SEPARATION.mkdir(mode=0o755, exist_ok=True)
    port = _free_port()
    _make_keys(directory, port)
    config = directory / "sshd_config"
    settings += f"\nSubsystem sftp {sftp}" if sftp else ""
    config.write_text(_SERVER.format(directory=directory, port=port, settings=settings))
    (directory / "ssh_config").write_text(_CLIENT.format(directory=directory, port=port, host=HOST, user=getuser()))
    with (directory / "log").open("w") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=log)
    try:
        _wait_until_listening(port, process, directory / "log")
        yield SshServer(directory, port, process.pid)
    finally:
        sessions = _below(process.pid)
        process.terminate()
        process.wait(timeout=_START_SECONDS)
        end_processes(sessions)


def end_processes(pids: list[int]) -> None:
    """End these, whatever state they are in; those that have gone are no error."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _make_keys(directory: Path, port: int) -> None:
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", directory / name]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    public = (directory / "host_key.pub").read_text()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"sshd did not start\n{log.read_text()}")
        time.sleep(0.02)


def _below(pid: int) -> list[int]:
    """The descendants of a process."""
    with suppress(FileNotFoundError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [found for child in map(int, children) for found in (child, *_below(child))]
    return []
