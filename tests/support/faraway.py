"""A second host behind ssh: what is run there finds that host's engine, root and settings, as a login there would."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drunner_vault.errors import Unavailable
from drunner_vault.stores.ssh.channel import Channel, Gone
from support.engines import Completed, Host
from support.sshservers import HOST, SshServer, ssh_server


@dataclass(frozen=True)
class Faraway:
    """The host, the sshd in front of it, and ``settings``, a file of shell variables that every command there gets."""

    host: Host
    server: SshServer
    settings: Path

    def set(self, **variables: str) -> None:
        """From now on, commands there have these variables too, and no others that were set before."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        self.settings.write_text("".join(f"{line}\n" for line in lines))

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What lets a host get there, as ``faraway``."""
        # each host has a loopback of its own, and the sshd is on that of the test
        outside = ["nsenter", f"--net=/proc/{os.getpid()}/ns/net", "--", *self.server.command]
        return {"DRUNNER_SSH": shlex.join(outside)} | dict(more or {})

    def migrate(self, source: Host, service: str, *options: str, check: bool = True, **env: str) -> Completed:
        """``drunner migrate SERVICE faraway`` on another host."""
        return source.drunner("migrate", service, HOST, *options, env=self.environment(env), check=check)


@contextmanager
def faraway(host: Host, directory: Path) -> Iterator[Faraway]:
    """Put ``host`` behind an sshd, whose files are in ``directory``."""
    directory.mkdir(parents=True)
    settings, login = directory / "settings", directory / "login"
    settings.write_text("")
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in host.environment().items())
    inside = shlex.join(host.command("env", "-i"))
    login.write_text(
        f"#!/bin/sh\nexec {inside} {environment} /bin/sh -c '. {settings}; exec /bin/sh -c \"$1\"' sh "
        '"$SSH_ORIGINAL_COMMAND"\n'
    )
    login.chmod(0o755)
    with ssh_server(directory / "sshd", settings=f"ForceCommand {login}") as server:
        yield Faraway(host, server, settings)


def without_images(host: Host, *repositories: str) -> None:
    """Have the host know none of these images."""
    found = {word for name in repositories for word in host.docker("images", "-q", name).stdout.split()}
    if found:
        host.docker("rmi", "-f", *found)


class LocalSide:
    """The program on another host, without ssh. cut: where the line is cut, and for how many calls it then stays so."""

    name = "faraway"

    def __init__(self, host: Host, cut: str = "", dead_calls: int = 0) -> None:
        self._host = host
        self._cut = cut
        self._dead_calls = dead_calls
        self.calls = 0

    @contextmanager
    def session(self) -> Iterator[Channel]:
        self.calls += 1
        if 1 < self.calls <= 1 + self._dead_calls:
            raise Unavailable("no route to host")
        argv = self._host.command("drunner", "receive")
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=self._host.environment()
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield _CutChannel(process, self._cut if self.calls == 1 else "")
            process.stdin.close()


class _CutChannel(Channel):
    def __init__(self, process: subprocess.Popen[bytes], cut: str) -> None:
        super().__init__(process.stdout.fileno(), process.stdin.fileno())  # type: ignore[union-attr]
        self._process = process
        self._where = cut

    def send(self, **message: Any) -> None:
        if message.get("ask") != "keep" or not self._where:
            super().send(**message)
            return
        if self._where == "after":
            super().send(**message)
            assert self.receive()["state"] == "kept"
        self._process.stdin.close()  # type: ignore[union-attr]
        raise Gone
