"""What is wrong when ssh ends, or when the server says no, in words for a person.

ssh tells its reasons on standard error only, one line each; sftp has eight codes, of which one stands for most reasons.
"""

from __future__ import annotations

import re

from drunner_vault.errors import AccessDenied, StorageError, Unavailable
from drunner_vault.stores.ssh.options import SshOptions
from drunner_vault.stores.ssh.protocol import Code

_REFUSED_BY_SSH = 255  # the exit status of ssh itself; others are those of the program over there

_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED")
_UNKNOWN = re.compile(r"^Host key verification failed", re.M)
_DENIED = re.compile(r"^(\S+: )?(Permission denied \(|Received disconnect .*: Too many authentication failures)", re.M)
_NO_SFTP = re.compile(r"^subsystem request failed", re.M)
_PASSING = re.compile(
    r"Could not resolve hostname|Connection refused|timed out|No route to host|is unreachable|Connection reset"
    r"|Connection closed|closed by remote host|Broken pipe|not responding|Connection to \S+ closed"
)
_AT_MOST = 300  # characters of a server's words


class Refused(Exception):
    """The server's no to one request. code: as of Code. message: its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Absent(Refused):
    """There is no such file or directory."""


class AtEnd(Refused):
    """There is no more to read."""


def refusal(code: int, message: str) -> Refused:
    """The no that a status stands for."""
    kind = _KINDS.get(code, Refused)
    return kind(code, shown(message) or f"SFTP status {code}")


_KINDS = {int(Code.NO_SUCH_FILE): Absent, int(Code.EOF): AtEnd}


def shown(text: str) -> str:
    """A server's words as one short line that does nothing to a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text.strip()[:_AT_MOST]).strip()


def why_refused(action: str, path: str, options: SshOptions, no: Refused) -> StorageError:
    """The error of our tree for a server's no to doing `action` to `path`."""
    what = f"cannot {action} {path} on {options.host}: {no.message}"
    if no.code == Code.PERMISSION_DENIED:
        return AccessDenied(what, f"check its permissions there, and those of its directory: {options.by_hand}")
    if no.code in (Code.NO_CONNECTION, Code.CONNECTION_LOST):
        return Unavailable(what, "try again later")
    return StorageError(what, f"look at it there: {options.by_hand}")


def why_ended(options: SshOptions, code: int, said: str) -> StorageError:
    """The error of our tree for an ssh that ended before it had connected us. code: its exit status. said: what it
    wrote on standard error."""
    host, hand = options.host, options.by_hand
    if _CHANGED.search(said):
        return StorageError(
            f"{host} has another host key than the one that is known here",
            f"find out why; if it was changed on purpose, forget the old one (ssh-keygen -R), then: {hand}",
        )
    if _UNKNOWN.search(said):
        return StorageError(
            f"the host key of {host} is not known here", f"log in by hand once, and compare its fingerprint: {hand}"
        )
    last = shown(said.strip().rpartition("\n")[2]) or f"ssh ended with {code}, and did not say why"
    if _DENIED.search(said):
        return AccessDenied(
            f"{host} does not let us in: {last}",
            f"give it your key with ssh-copy-id, or load it into the agent: {hand}",
        )
    if _NO_SFTP.search(said) or code != _REFUSED_BY_SSH:
        return StorageError(f"{host} offers no sftp: {last}", "turn on the Subsystem sftp in its sshd_config")
    if _PASSING.search(said):
        return Unavailable(f"cannot reach {host}: {last}", f"see whether it answers: {hand}")
    return StorageError(f"cannot log in to {host}: {last}", f"see what it says: {hand}")


def why_lost(options: SshOptions, said: str) -> Unavailable:
    """The error for an ssh that ended after it had connected us."""
    last = shown(said.strip().rpartition("\n")[2])
    return Unavailable(
        f"the connection to {options.host} was lost" + (f": {last}" if last else ""),
        f"see whether it answers: {options.by_hand}",
    )


def not_sftp(options: SshOptions, problem: str) -> StorageError:
    """The error for a server that sends something else than SFTP."""
    return StorageError(
        f"what {options.host} sends is not sftp: {problem}",
        f"its shell may print something at login, and must not: {options.by_hand} true",
    )


def not_ours(options: SshOptions, problem: str) -> StorageError:
    """The error for a host whose output is not that of our program there."""
    return StorageError(
        f"what {options.host} sends is not from drunner-vault: {problem}",
        f"its shell may print something at login, and must not: {options.by_hand} true",
    )


def silent(options: SshOptions) -> Unavailable:
    """The error for a server from which nothing has come for too long."""
    return Unavailable(
        f"{options.host} has not answered for {options.timeout:g} seconds", f"see whether it answers: {options.by_hand}"
    )
