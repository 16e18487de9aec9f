"""Whom an archive is encrypted to, and what opens it: from the command line, the environment, or the settings.

Nothing is ever written in the clear because a key was missing; and no key stands on a command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drunner_vault.age import (
    ARMOR_BEGIN,
    MAGIC,
    DecryptReader,
    Identity,
    Recipient,
    ScryptIdentity,
    ScryptRecipient,
    parse_identities,
    parse_recipient,
    parse_recipients_file,
)
from drunner_vault.durable import storage_error
from drunner_vault.errors import BadKey, BadUsage, NoKey, NotAnArchive

PASSPHRASE_VARIABLES = ("DRUNNER_PASSPHRASE", "DRUNNER_PASSPHRASE_FILE", "PASS")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ENOUGH = 64
_FIRST_STANZA = 200


def passphrase(environment: Mapping[str, str]) -> str | None:
    """The passphrase that the environment gives, if any. Raises BadKey for a file that cannot be used."""
    if value := environment.get("DRUNNER_PASSPHRASE"):
        return value
    if path := environment.get("DRUNNER_PASSPHRASE_FILE"):
        try:
            line = _read_key_file(Path(path)).decode("utf-8").partition("\n")[0].rstrip("\r")
        except UnicodeDecodeError as cause:
            raise BadKey(f"the passphrase file {path} is not UTF-8 text", "write the passphrase as UTF-8") from cause
        if not line:
            raise BadKey(f"the passphrase file {path} is empty", "put the passphrase on its first line")
        return line
    return environment.get("PASS") or None


def recipients(
    given: Sequence[str],
    files: Sequence[Path],
    settings: Sequence[str],
    environment: Mapping[str, str],
    *,
    unencrypted: bool,
) -> list[Recipient]:
    """Whom a backup is for; empty only if it was asked to be in the clear.

    What is given on the command line counts before a passphrase, and that before the settings. Raises NoKey if there is
    nothing, BadUsage for what excludes each other, BadKey for what cannot be read.
    """
    named = [parse_recipient(text) for text in given]
    for path in files:
        named += parse_recipients_file(_read_key_file(path).decode("utf-8", "replace"), str(path))
    secret = passphrase(environment)
    if unencrypted:
        if named:
            raise BadUsage("--unencrypted and recipients exclude each other", "leave one of them out")
        return []
    if named and secret:
        raise BadUsage(
            "an archive is either for recipients or for a passphrase, and both were given",
            f"unset {' and '.join(filter(environment.get, PASSPHRASE_VARIABLES))}, or leave out -r and -R",
        )
    found = named or ([ScryptRecipient(secret)] if secret else [parse_recipient(text) for text in settings])
    if not found:
        raise NoKey(
            "no key to encrypt to was given",
            "make one with: drunner-vault key new -o key.txt, then give -r age1…; or set PASS; or say --unencrypted",
        )
    return found


def identities(
    files: Sequence[Path], environment: Mapping[str, str], ask: Callable[[str], str] | None
) -> list[Identity]:
    """What an archive may be opened with. ask: prompts a person for the passphrase of an identity file."""
    found: list[Identity] = []
    for path in files:
        prompt = (lambda: ask(f"Passphrase of {path}")) if ask else None  # noqa: B023 (called at once)
        found += parse_identities(_read_key_file(path), str(path), prompt)
    secret = passphrase(environment)
    if secret:
        found.append(ScryptIdentity(secret))
    return found


@dataclass(frozen=True)
class Opened:
    """An archive's zstd stream. recipients: kinds of those it is encrypted to; none if it is in the clear."""

    read: Callable[[int], bytes]
    recipients: tuple[str, ...]


def opened(
    read: Callable[[int], bytes],
    name: str,
    offered: Callable[[], list[Identity]],
    ask: Callable[[str], str] | None,
) -> Opened:
    """The zstd stream inside an archive, decrypted if it is encrypted.

    offered: the identities, asked for only if they are needed. ask: prompts a person for a passphrase. Raises
    NotAnArchive, NoKey, WrongKey.
    """
    held = _Held(read)
    start = held.peek(_ENOUGH)
    if start.startswith(_ZSTD_MAGIC):
        return Opened(held.read, ())
    if not start.startswith((MAGIC, ARMOR_BEGIN)):
        what = "is empty" if not start else "is neither age-encrypted nor a zstd stream"
        raise NotAnArchive(
            f"{name} is no archive: it {what}", "check the file; an archive's name ends in .tar.zst.age or .tar.zst"
        )
    keys = offered()
    if not keys and ask and b"-> scrypt " in held.peek(_FIRST_STANZA):
        keys = [ScryptIdentity(ask(f"Passphrase of {name}"))]
    decrypted = DecryptReader(held, keys)
    return Opened(decrypted.read, tuple(decrypted.header.recipient_types))


class _Held:
    """A stream whose start can be looked at before it is read."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._start = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the stream; they are still to be read."""
        while len(self._start) < size and (piece := self._read(size - len(self._start))):
            self._start += piece
        return self._start[:size]

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none only at the end."""
        if self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        return self._read(size)


def _read_key_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as cause:
        raise storage_error("read the key file", path, cause) from cause
