"""Who made an archive, and whether this host trusts them.

age proves nothing about who wrote a file, and restoring one runs its scripts as root. So each host signs what it
makes, with a key of its own, and trusts its own key and those a person has named.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.durable import new_file, replace_file, storage_error
from drunner_vault.errors import AlreadyExists, BadKey, NoChange, WrongKey
from drunner_vault.signing import NAMESPACE, AllowedSigners, SignerKey, SigningKey, verify

_KEY_FILE = "signing_key"
_ALLOWED_FILE = "allowed_signers"


@dataclass(frozen=True)
class Sender:
    """Who made an archive. key: None if it is not signed. name: under which this host trusts that key, None if it does
    not."""

    key: SignerKey | None
    host: str
    trusted: bool

    def describe(self) -> str:
        """In words, for people."""
        if self.key is None:
            return "not signed"
        trust = "" if self.trusted else ", whom nobody trusts here"
        return f"signed as {self.host} by {self.key.fingerprint}{trust}"


@dataclass(frozen=True)
class Named:
    """Signers that the settings name: lines as `Trust.add` takes them. where: file and line, for errors."""

    lines: tuple[str, ...] = ()
    where: str = ""


class Trust:
    """The signing key and the trusted signers of a host, in its settings' directory. named: further ones."""

    def __init__(self, directory: Path, host: str, named: Named | None = None) -> None:
        self._directory = directory
        self._host = host
        self._named = named or Named()

    def signing_key(self) -> SigningKey:
        """This host's key, made when it is first needed. Raises BadKey or StorageError."""
        path = self._directory / _KEY_FILE
        found = self._own_key()
        if found is not None:
            return found
        self._make_directory()
        with contextlib.suppress(AlreadyExists), new_file(path) as stream:
            stream.write(SigningKey.generate().encode())
        return SigningKey.parse(self._read(path), str(path))

    def signer_line(self) -> str:
        """What another host's `key trust` takes to trust this one."""
        return self.signing_key().public().allowed_line(self._host)

    def sender(self, root: bytes, signature: bytes | None, host: str) -> Sender:
        """Who signed the root of an archive of `host`. Raises DamagedArchive if the signature is not of this root."""
        if signature is None:
            return Sender(None, host, trusted=False)
        key = verify(signature, root)
        own = self._own_key()
        trusted = (own is not None and own.public() == key) or any(item.allows(key, host) for item in self.signers())
        return Sender(key, host, trusted)

    def add(self, line: str) -> SignerKey:
        """Trust a signer, given as a line of allowed signers, or as a public key, which is then trusted for every host.

        Raises NoChange if it is trusted already, BadKey.
        """
        text = self._allowed_text()
        line = _with_name(line)
        added = AllowedSigners(line, "the signer").only()
        if line.strip() in text.splitlines():
            raise NoChange(f"{added.fingerprint} is trusted already")
        self._make_directory()
        separator = "" if not text or text.endswith("\n") else "\n"
        replace_file(self._directory / _ALLOWED_FILE, f"{text}{separator}{line.strip()}\n".encode(), 0o644)
        return added

    def _make_directory(self) -> None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as cause:
            raise storage_error("create", self._directory, cause) from cause

    def _own_key(self) -> SigningKey | None:
        path = self._directory / _KEY_FILE
        return SigningKey.parse(self._read(path), str(path)) if path.exists() else None

    def signers(self) -> tuple[AllowedSigners, AllowedSigners]:
        """Those that `add` has added, and those that the settings name. Raises BadKey, naming the line."""
        added = AllowedSigners(self._allowed_text(), str(self._directory / _ALLOWED_FILE))
        return added, AllowedSigners("\n".join(map(_with_name, self._named.lines)), f"signers ({self._named.where})")

    def lines(self) -> list[tuple[SignerKey, str]]:
        """Whom this host trusts to sign archives, each with the line by which another host would: its own key, if it
        has one, before those a person has named."""
        own = self._own_key()
        found = [] if own is None else [(own.public(), own.public().allowed_line(self._host))]
        for line in [*self._allowed_text().splitlines(), *map(_with_name, self._named.lines)]:
            with contextlib.suppress(BadKey):  # a comment, or a key that is not for archives
                found.append((AllowedSigners(line, "the signer").only(), line.strip()))
        return list(dict.fromkeys(found))

    def _allowed_text(self) -> str:
        path = self._directory / _ALLOWED_FILE
        return self._read(path).decode("utf-8", "replace") if path.exists() else ""

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as cause:
            raise storage_error("read", path, cause) from cause


def _with_name(line: str) -> str:
    """A public key alone, as a line of allowed signers that trusts it for every host; other lines as they are."""
    return f'* namespaces="{NAMESPACE}" {line}' if line.startswith("ssh-") else line


def require_trusted(sender: Sender, name: str) -> None:
    """Raises WrongKey unless the sender is trusted, with the way out."""
    if sender.trusted:
        return
    if sender.key is None:
        raise WrongKey(
            f"{name} is not signed: whoever knows its recipient may have made it; restoring runs its scripts as root",
            "if you know where it comes from: restore --any-sender",
        )
    raise WrongKey(
        f"{name} is {sender.describe()}, and restoring runs its scripts as root",
        "on the host that made it: drunner-vault key signer; here: drunner-vault key trust LINE; or once: --any-sender",
    )
