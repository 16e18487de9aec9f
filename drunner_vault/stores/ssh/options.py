"""Where a store on another host is, and how ssh is called to get there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from drunner_vault.errors import BadUsage

SSH = "DRUNNER_SSH"
_AUTHORITY = re.compile(r"(?:(?P<user>.+)@)?(?:\[(?P<literal>[^\[\]]+)\]|(?P<host>[^@:]+))(?::(?P<port>\d{1,5}))?")
# both stand on ssh's command line, and may be filled into a ProxyCommand of the user's, which a shell reads
_HOST = re.compile(r"[\w.:%+][\w.:%+-]*")
_USER = re.compile(r"[^\s:'\"`$\\;&<>|(){}-][^\s:'\"`$;&<>|(){}]*")
# what sftp(1) asks for too, and nothing of the user's settings that would be in the way
_ALWAYS = (
    "-oBatchMode=yes", "-oServerAliveInterval=15", "-oServerAliveCountMax=4", "-oConnectTimeout=20",
    "-oForwardX11=no", "-oForwardAgent=no", "-oPermitLocalCommand=no", "-oClearAllForwardings=yes",
    "-oRemoteCommand=none", "-oControlMaster=no", "-T",
)  # fmt: skip


@dataclass(frozen=True)
class SshOptions:
    """host: a name from ssh's settings, or of the network. path: of an existing directory, relative to the user's home
    there unless it begins with /. user, port: None for what ssh's settings say. command: how ssh is called. timeout:
    after how many seconds without a sign of life a call ends.

    Raises BadUsage for what could be taken for something else than a host, user or path.
    """

    host: str
    path: str
    user: str | None = None
    port: int | None = None
    command: tuple[str, ...] = ("ssh",)
    timeout: float = 60

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise BadUsage(f"{self.host!r} cannot be the name of a host", "write it as ssh://user@host/path")
        if self.user is not None and not _USER.fullmatch(self.user):
            raise BadUsage("what stands before @ cannot be a user", "write the user alone: ssh logs in with keys")
        if not self.path or not self.path.isprintable():
            raise BadUsage(f"{self.path!r} cannot be a directory of {self.host}", "write it as ssh://host/path")

    @property
    def name(self) -> str:
        """The store's name: ssh://[user@]host[:port]/path."""
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        path = self.path if self.path.startswith("/") else f"/~/{self.path}".removesuffix("/.")
        return f"ssh://{user}{host}{port}{path}"

    @property
    def by_hand(self) -> str:
        """What a person types to log in there."""
        return shlex.join([*self.command, *self._login(), self.host])

    def arguments(self) -> list[str]:
        """The command that connects its standard input and output with the host's SFTP server."""
        return [*self.command, *_ALWAYS, *self._login(), "-s", "--", self.host, "sftp"]

    def running(self, line: str) -> list[str]:
        """The command that connects its standard input and output with those of a line of the shell over there."""
        return [*self.command, *_ALWAYS, *self._login(), "--", self.host, line]

    def _login(self) -> list[str]:
        port = [] if self.port is None else ["-p", str(self.port)]
        user = [] if self.user is None else ["-l", self.user]
        return port + user


def ssh_options(authority: str, path: str, environ: Mapping[str, str], timeout: float = 60) -> SshOptions:
    """What the two parts of ssh://AUTHORITY/PATH mean.

    authority: [user@]host[:port]. path: with its first /; below /~ it is relative to the home directory. environ: whose
    DRUNNER_SSH, a command line, is called in place of ssh. Raises BadUsage.
    """
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        # not repeated: it could have a password in it
        raise BadUsage("there is no host in what follows ssh://", "write it as ssh://user@host:port/path")
    return SshOptions(
        host=parts["literal"] or parts["host"],
        path=_directory(path),
        user=parts["user"],
        port=None if parts["port"] is None else int(parts["port"]),
        command=_command(environ),
        timeout=timeout,
    )


def _directory(path: str) -> str:
    if path in ("/~", "/~/"):
        return "."
    return path.removeprefix("/~/")


def _command(environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(environ.get(SSH, ""))) or ("ssh",)
    except ValueError as cause:
        raise BadUsage(f"{SSH} is no command line: {cause}", f"as in {SSH}='ssh -F /etc/backup/ssh_config'") from cause
