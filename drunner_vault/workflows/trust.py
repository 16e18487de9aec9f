"""Who made an archive, and whether this host trusts them.

age proves nothing about who wrote a file, and restoring one runs its scripts as root. So each host signs what it makes
with a key of its own. It trusts its own key and the signers that an operator has added.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.catalog.signers import HostSigners
from drunner_vault.durable import new_file, replace_file, storage_error
from drunner_vault.errors import AccessDenied, AlreadyExists, BadKey, BadUsage, NoChange, WrongKey
from drunner_vault.signing import (
    NAMESPACE,
    AllowedSigner,
    SignerKey,
    SigningKey,
    parse_allowed_signer,
    parse_allowed_signers,
    retired_line,
    verify,
)

_KEY_FILE = "signing_key"
_ALLOWED_FILE = "allowed_signers"
_AHEAD = dt.timedelta(minutes=1)  # that the clock of a store may be ahead of this host's


@dataclass(frozen=True)
class Sender:
    """Who made an archive.

    key: None if it is not signed. host: as the archive states it. trusted: True if archives by this key may be opened.
    accepted: True if the key also counts where something is decided without opening archives. retired: since when the
    key is not valid, None if it is.
    """

    key: SignerKey | None
    host: str
    trusted: bool
    accepted: bool = False
    retired: dt.datetime | None = None

    def describe(self) -> str:
        """Return it in words."""
        if self.key is None:
            return "not signed"
        retired = f", retired on {self.retired:%Y-%m-%d}" if self.retired else ""
        trust = "" if self.trusted else ", who is not trusted on this host"
        return f"signed as {self.host} by {self.key.fingerprint}{retired}{trust}"


@dataclass(frozen=True)
class Named:
    """Signers that the settings name: lines as `Trust.add` takes them. where: file and line, for errors."""

    lines: tuple[str, ...] = ()
    where: str = ""


class Trust:
    """The signing key and the trusted signers of a host, in its settings' directory. named: further ones."""

    def __init__(self, directory: Path, host: str, named: Named | None = None) -> None:
        self._directory = directory
        self._named = named or Named()
        self.host = host

    def signing_key(self) -> SigningKey:
        """Return this host's key; it is made when it is first needed. Raises BadKey or StorageError."""
        path = self._directory / _KEY_FILE
        found = self._own_key()
        if found is not None:
            return found
        self._make_directory()
        with contextlib.suppress(AlreadyExists), new_file(path) as stream:
            stream.write(SigningKey.generate().encode())
        return SigningKey.parse(self._read(path), str(path))

    def signer_line(self) -> str:
        """Return the line that makes another host trust this one, with `key trust`."""
        return self.signing_key().public().allowed_line(self.host)

    def sender(self, root: bytes, signature: bytes | None, host: str, appeared: dt.datetime | None = None) -> Sender:
        """Return who signed the root of an archive of `host`.

        appeared: when the archive appeared in its store, None for a file outside of any. A retired key is trusted only
        for what appeared before. Raises DamagedArchive if the signature is not of this root.
        """
        if signature is None:
            return Sender(None, host, trusted=False)
        key = verify(signature, root)
        own = self._own_key()
        if own is not None and own.public() == key:
            return Sender(key, host, trusted=True, accepted=True)
        lines = [line for line in self.signers() if line.key == key and line.matches(host)]
        retired = min((line.valid_before for line in lines if line.valid_before), default=None)
        trusted = bool(lines) and all(line.is_valid(appeared) for line in lines)
        return Sender(key, host, trusted, trusted and any(line.names(host) for line in lines), retired)

    def host_signers(self, now: dt.datetime) -> HostSigners:
        """Return whose signatures count for which host. Raises BadKey."""
        own = None
        with contextlib.suppress(AccessDenied):  # the key is for root only, and a listing needs no root
            own = self._own_key()
        return HostSigners(self.signers(), own.public() if own else None, self.host, now)

    def add(self, line: str, *, pattern: bool = False) -> AllowedSigner:
        """Trust a signer, given as a line of allowed signers.

        pattern: also take lines for several hosts, or for patterns; and a public key alone, for every host. They are
        good for opening archives only. Raises NoChange if it is trusted already, BadKey, BadUsage.
        """
        text = self._allowed_text()
        if line.startswith("ssh-") and not pattern:
            raise BadUsage(
                "a public key alone does not name a host",
                "use the whole line that `drunner-vault key signer` prints on that host; or --pattern for every host",
            )
        line = _with_name(line)
        added = parse_allowed_signer(line)
        if not added.is_literal and not pattern:
            raise BadUsage(
                f"the line names more than one host: {','.join(added.principals)}",
                "use one line for each host; --pattern accepts it for opening archives only",
            )
        if line.strip() in text.splitlines():
            raise NoChange(f"{added.key.fingerprint} is trusted already for {','.join(added.principals)}")
        self._write_allowed([*text.splitlines(), line.strip()])
        return added

    def retire(self, which: str, now: dt.datetime) -> list[AllowedSigner]:
        """Set `valid-before` on the lines of a signer. which: its fingerprint, or a line with its key.

        Returns the lines as they are now. Raises BadUsage if no line has the key, NoChange if it is retired already,
        BadKey.
        """
        fingerprint = which if which.startswith("SHA256:") else parse_allowed_signer(_with_name(which)).key.fingerprint
        own = self._own_key()
        if own is not None and own.public().fingerprint == fingerprint:
            raise BadUsage(f"{fingerprint} is this host's own key", "replace it with: drunner-vault key rotate")
        known = [line for line in self.signers() if line.key.fingerprint == fingerprint]
        if not known:
            raise BadUsage(f"{fingerprint} is not trusted on this host", "see: drunner-vault key signers")
        ended = {line.principals for line in known if line.valid_before and line.valid_before <= now}
        if ended >= {line.principals for line in known}:
            raise NoChange(f"{fingerprint} is retired already")
        lines = [self._retired(line, fingerprint, now) for line in self._allowed_text().splitlines()]
        written = {line.principals for line in _readable(lines) if line.key.fingerprint == fingerprint}
        for line in known:
            if line.principals not in written:  # a line of vault.toml, which is the operator's
                lines.append(retired_line(line.key.allowed_line(",".join(line.principals)), now))
        self._write_allowed(lines)
        return [line for line in self.signers() if line.key.fingerprint == fingerprint]

    def rotate(self, now: dt.datetime) -> tuple[SignerKey, SignerKey]:
        """Replace this host's key. The old one is retired, and its private half is deleted.

        What the old key signed last may appear a little later by the clock of its store, so it is valid until then.
        Returns the old and the new key. Raises BadKey, StorageError.
        """
        old, new = self.signing_key().public(), SigningKey.generate()
        lines = self._allowed_text().splitlines()
        if not any(line.key == old and line.names(self.host) for line in _readable(lines)):
            lines.append(old.allowed_line(self.host))
        self._write_allowed([self._retired(line, old.fingerprint, now + _AHEAD) for line in lines])
        replace_file(self._directory / _KEY_FILE, new.encode())
        return old, new.public()

    def signers(self) -> list[AllowedSigner]:
        """Return the signers that `add` has added and those that the settings name. Raises BadKey, naming the line."""
        added = parse_allowed_signers(self._allowed_text(), str(self._directory / _ALLOWED_FILE))
        named = "\n".join(map(_with_name, self._named.lines))
        return added + parse_allowed_signers(named, f"signers ({self._named.where})")

    def lines(self) -> list[tuple[SignerKey, str]]:
        """Return the signers that this host trusts, each with the line by which another host would: its own key, if it
        has one, before the others."""
        own = self._own_key()
        found = [] if own is None else [(own.public(), own.public().allowed_line(self.host))]
        for line in [*self._allowed_text().splitlines(), *map(_with_name, self._named.lines)]:
            with contextlib.suppress(BadKey):  # a comment, or a key that is not for archives
                found.append((parse_allowed_signer(line).key, line.strip()))
        return list(dict.fromkeys(found))

    def _retired(self, line: str, fingerprint: str, now: dt.datetime) -> str:
        signer = next(iter(_readable([line])), None)
        if signer is None or signer.key.fingerprint != fingerprint:
            return line
        return line if signer.valid_before and signer.valid_before <= now else retired_line(line, now)

    def _write_allowed(self, lines: list[str]) -> None:
        self._make_directory()
        replace_file(self._directory / _ALLOWED_FILE, "".join(f"{line}\n" for line in lines).encode(), 0o644)

    def _make_directory(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise storage_error("create", self._directory, cause) from cause

    def _own_key(self) -> SigningKey | None:
        path = self._directory / _KEY_FILE
        return SigningKey.parse(self._read(path), str(path)) if path.exists() else None

    def _allowed_text(self) -> str:
        path = self._directory / _ALLOWED_FILE
        return self._read(path).decode("utf-8", "replace") if path.exists() else ""

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as cause:
            raise storage_error("read", path, cause) from cause


def _with_name(line: str) -> str:
    """A public key alone, as a line that trusts it for every host; other lines as they are."""
    return f'* namespaces="{NAMESPACE}" {line}' if line.startswith("ssh-") else line


def _readable(lines: list[str]) -> list[AllowedSigner]:
    """The signers in those lines that can be read."""
    found: list[AllowedSigner] = []
    for line in lines:
        with contextlib.suppress(BadKey):
            found += parse_allowed_signers(line, "")
    return found


def require_trusted(sender: Sender, name: str) -> None:
    """Raise WrongKey unless the sender is trusted, and say what to do."""
    if sender.trusted:
        return
    if sender.key is None:
        raise WrongKey(
            f"{name} is not signed: anybody who knows its recipient may have made it, and restoring runs its scripts "
            "as root",
            "if you know where it comes from: restore --any-sender",
        )
    if sender.retired is not None:
        raise WrongKey(
            f"{name} is {sender.describe()}; it cannot be told that the archive is older than that",
            "if you know where it comes from: restore --any-sender",
        )
    raise WrongKey(
        f"{name} is {sender.describe()}, and restoring runs its scripts as root",
        "run `drunner-vault key signer` on the host that made it, and on this host: drunner-vault key trust LINE; "
        "or once: --any-sender",
    )
