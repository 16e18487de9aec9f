"""A program of ours on another host, started through the system's ssh, and the channel to it.

It runs as root, or through sudo where that asks for no password. It ends when its input does, so it ends with us in any
case.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from drunner_vault.errors import AccessDenied, BadUsage, ServiceError, Unavailable, VaultError
from drunner_vault.stores.ssh.channel import Channel, Gone, Malformed
from drunner_vault.stores.ssh.failures import not_ours, shown, why_ended, why_lost
from drunner_vault.stores.ssh.options import SshOptions, ssh_options
from drunner_vault.stores.ssh.process import last_said, start_ssh

_SSH_ITSELF = 255
_NOT_FOUND = (126, 127)
_ENDING_SECONDS = 60.0  # what the other side may need to take everything back
_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec {program}; else exec sudo -n {program}; fi'


class RemoteProgram:
    """Another host, and what to start there. name: as the person called it. program: its path or name there, with
    arguments."""

    def __init__(self, name: str, options: SshOptions, program: Sequence[str]) -> None:
        self.name = name
        self._options = options
        self._program = program

    @contextlib.contextmanager
    def session(self) -> Iterator[Channel]:
        """The running program, at the other end of a channel; it has ended when the block has.

        What breaks the channel raises the reason: Unavailable for a lost connection, AccessDenied, ServiceError where
        there is no such program.
        """
        with tempfile.TemporaryFile() as errors:
            ssh = self._start(errors)
            assert ssh.stdin is not None  # noqa: S101 (pipes were asked for)
            assert ssh.stdout is not None  # noqa: S101
            channel = Channel(ssh.stdout.fileno(), ssh.stdin.fileno())
            try:
                with channel.alive():
                    yield channel
            except Gone as cause:
                _close_input(ssh)
                raise self._why(ssh, channel, errors) from cause
            except Malformed as cause:
                raise not_ours(self._options, str(cause)) from cause
            finally:
                self._end(ssh)

    def _start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        line = _AS_ROOT.format(program=shlex.join(self._program))
        command = self._options.running(f"exec sh -c {shlex.quote(line)}")
        return start_ssh(command, errors)

    def _end(self, ssh: subprocess.Popen[bytes]) -> None:
        """Close its input, let it tidy up, and then see that it ends."""
        _close_input(ssh)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # what it still says is read, since it could not end before
            ssh.communicate(timeout=_ENDING_SECONDS)
        if ssh.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ssh.pid, signal.SIGKILL)
            ssh.communicate()

    def _why(self, ssh: subprocess.Popen[bytes], channel: Channel, errors: IO[bytes]) -> VaultError:
        try:
            code = ssh.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return Unavailable(f"{self.name} has not answered", f"see whether it does: {self._options.by_hand}")
        said = last_said(errors)
        if channel.heard:
            return why_lost(self._options, said)
        return why_ended(self._options, code, said) if code == _SSH_ITSELF else self._why_not_started(code, said)

    def _why_not_started(self, code: int, said: str) -> VaultError:
        host, program = self._options.host, self._program[0]
        last = _reason(said) or f"exit code {code}"
        if "sudo:" in said and code not in _NOT_FOUND:
            return AccessDenied(
                f"{host} does not let us become root: {last}", f"log in as root@{host}, or allow {program} in sudoers"
            )
        if code in _NOT_FOUND or "command not found" in said:
            return ServiceError(
                f"{host} has no {program}: {last}", "install drunner-vault there, or say where it is: --remote-program"
            )
        if "No such command" in said:
            return ServiceError(f"the drunner-vault of {host} is too old to receive services", "update it there")
        return ServiceError(f"{program} on {host} could not begin: {last}", f"see there: {self._options.by_hand}")


def _close_input(ssh: subprocess.Popen[bytes]) -> None:
    if ssh.stdin is not None:
        with contextlib.suppress(OSError):
            ssh.stdin.close()
        ssh.stdin = None  # or `communicate` would take it for open


def _reason(said: str) -> str:
    """The error of a program of ours, or the last line of any other."""
    lines = said.strip().splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return shown((errors or lines or [""])[-1])


def remote_program(host: str, program: Sequence[str], environ: Mapping[str, str]) -> RemoteProgram:
    """host: as ssh takes it, [user@]host, or [user@]host:port. program: see RemoteProgram. environ: see ssh_options.
    Raises BadUsage."""
    authority = host.removeprefix("ssh://").rstrip("/")
    try:
        return RemoteProgram(authority, ssh_options(authority, "/~", environ), program)
    except BadUsage as error:
        # not repeated: it could have a password in it
        raise BadUsage(
            error.message.replace("what follows ssh://", "what was given"), "write it as user@host"
        ) from error
