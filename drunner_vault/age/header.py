"""The textual header of an age file: stanzas and the code that authenticates them.

    age-encryption.org/v1
    -> X25519 <base64 of an ephemeral share>
    <base64 of the wrapped file key>
    --- <base64 of the MAC>

Follows C2SP age.md, section "Header". Parsing accepts the one canonical spelling only, so writing a parsed header
gives back the very bytes that were read; the MAC relies on that. Knows no recipient type and no key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from drunner_vault.age import encoding
from drunner_vault.age.source import BufferedSource
from drunner_vault.errors import DamagedArchive, NotAnArchive, UnsupportedArchive

MAGIC = b"age-encryption.org/"
"""How every binary age file begins, whatever its version."""

HEADER_LIMIT = 1024 * 1024
"""The longest header that is read, in bytes. The format has no limit; this bounds memory and time on hostile files."""

ANOTHER_COPY = "fetch the file again, or use another copy of it"

_VERSION_LINE = MAGIC + b"v1\n"
_MAC_MARK = b"---"
_MAC_LENGTH = 32
_COLUMNS = 64
_ARGUMENT = re.compile(rb"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Stanza:
    """The file key, wrapped for one recipient.

    kind: the recipient type, such as `X25519`. arguments: what follows it, printable ASCII without spaces, in the
    bytes of the header. body: raw.
    """

    kind: str
    arguments: tuple[str, ...]
    body: bytes

    def to_bytes(self) -> bytes:
        """Return the stanza as it stands in a header, with its final LF."""
        first = " ".join(("->", self.kind, *self.arguments)).encode("ascii")
        text = encoding.encode(self.body)
        # A body line shorter than 64 columns ends the stanza, so a body of full lines is followed by an empty one.
        lines = [text[start : start + _COLUMNS] for start in range(0, len(text) + 1, _COLUMNS)]
        return b"\n".join([first, *lines, b""])


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header. mac: 32 bytes, not yet checked against anything."""

    stanzas: tuple[Stanza, ...]
    mac: bytes

    @property
    def recipient_types(self) -> list[str]:
        """The kinds of recipient this file is for, each once, in order: `["X25519"]`, `["scrypt"]`."""
        return list(dict.fromkeys(stanza.kind for stanza in self.stanzas))

    def to_bytes(self) -> bytes:
        """Return the header as it stands at the start of the file, with its final LF."""
        return authenticated_part(self.stanzas) + b" " + encoding.encode(self.mac) + b"\n"


def authenticated_part(stanzas: tuple[Stanza, ...]) -> bytes:
    """Return the bytes the MAC covers: from the version line through `---`, without the space after it."""
    return b"".join([_VERSION_LINE, *(stanza.to_bytes() for stanza in stanzas), _MAC_MARK])


def parse_header(source: BufferedSource) -> Header:
    """Take a header from `source` and leave it at the first byte of the payload.

    Raises NotAnArchive where the bytes are not age, UnsupportedArchive for another version of age, DamagedArchive for
    anything but the canonical form.
    """
    lines = _Lines(source)
    _check_version(lines)
    stanzas: list[Stanza] = []
    while not (line := lines.take()).startswith(_MAC_MARK):
        stanzas.append(_parse_stanza(line, lines))
    if not stanzas:
        raise damaged_header("it names no recipient")
    return Header(tuple(stanzas), _parse_mac(line))


def damaged_header(reason: str) -> DamagedArchive:
    """The error for a header that breaks the format, with the reason at its end."""
    return DamagedArchive(f"the age header is damaged: {reason}", ANOTHER_COPY)


class _Lines:
    """Lines of a header without their LF, bounded in total by the header limit."""

    def __init__(self, source: BufferedSource) -> None:
        self._source = source
        self._start = source.position

    def peek(self, size: int) -> bytes:
        return self._source.peek(size)

    def take(self) -> bytes:
        left = HEADER_LIMIT - (self._source.position - self._start)
        line = self._source.read_line(left)
        if not line.endswith(b"\n"):
            raise damaged_header("it is longer than 1 MiB" if len(line) == left else "the file ends inside it")
        return line[:-1]


def _check_version(lines: _Lines) -> None:
    start = lines.peek(len(MAGIC))
    if not start:
        raise NotAnArchive("the file is empty, so it is not an age file")
    if start != MAGIC[: len(start)]:
        raise NotAnArchive("the file does not begin like an age file, so it is not encrypted with age")
    version = lines.take().removeprefix(MAGIC)
    if version == b"v1":
        return
    if not _ARGUMENT.fullmatch(version):
        raise damaged_header("its first line is malformed")
    raise UnsupportedArchive(
        f"the file is in version {_shorten(version.decode('ascii'))} of the age format, and only v1 is known",
        "upgrade this program, or decrypt the file with a newer age",
    )


def _parse_stanza(line: bytes, lines: _Lines) -> Stanza:
    mark, *words = line.split(b" ")
    if mark != b"->":
        raise damaged_header("a line is neither a stanza nor the end of the header")
    if not words or not all(_ARGUMENT.fullmatch(word) for word in words):
        raise damaged_header("a stanza has an argument that is empty or not printable")
    kind, *arguments = (word.decode("ascii") for word in words)
    return Stanza(kind, tuple(arguments), _parse_body(lines))


def _parse_body(lines: _Lines) -> bytes:
    text = []
    while len(line := lines.take()) == _COLUMNS:
        text.append(line)
    if len(line) > _COLUMNS:
        raise damaged_header("a stanza has a line longer than 64 columns")
    return _decode(b"".join([*text, line]), "the body of a stanza")


def _parse_mac(line: bytes) -> bytes:
    mark, _, text = line.partition(b" ")
    mac = _decode(text, "its authentication code")
    if mark != _MAC_MARK or len(mac) != _MAC_LENGTH:
        raise damaged_header("its last line is malformed")
    return mac


def _decode(text: bytes, what: str) -> bytes:
    try:
        return encoding.decode(text)
    except ValueError as error:
        raise damaged_header(f"{what} is {error}") from error


def _shorten(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "…"
