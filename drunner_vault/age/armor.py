"""The ASCII form of an age file: strict PEM (C2SP age.md, "ASCII armor"; RFC 7468, section 3, figure 3).

Read from a stream, LF and CRLF end a line; white space is accepted before and after the block, and nothing else is.
Written for small files only.
"""

from __future__ import annotations

import base64
import binascii

from drunner_vault.age.header import ANOTHER_COPY
from drunner_vault.age.source import BufferedSource, ByteSource
from drunner_vault.errors import DamagedArchive, NotAnArchive

ARMOR_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
"""How every armored age file begins, save for white space."""

_ARMOR_END = b"-----END AGE ENCRYPTED FILE-----"
_WHITE_SPACE = b" \t\r\n"
_WHITE_SPACE_LIMIT = 1024
_COLUMNS = 64
_LINE_LIMIT = 128


def armored(data: bytes) -> bytes:
    """The ASCII form of a small binary age file."""
    text = base64.b64encode(data)
    lines = [text[start : start + _COLUMNS] for start in range(0, len(text), _COLUMNS)]
    return b"\n".join([ARMOR_BEGIN, *lines, _ARMOR_END, b""])


def dearmor(source: ByteSource) -> ArmorReader:
    """Return the binary age file inside an armored one. Raises NotAnArchive where the armor does not begin."""
    buffered = BufferedSource(source)
    if not _is_armored(buffered):
        raise NotAnArchive("the file does not begin with the armor of an age file")
    return ArmorReader(buffered)


def detect_armor(source: ByteSource) -> BufferedSource:
    """Return the binary age file that `source` holds, armored or not, with lookahead."""
    buffered = BufferedSource(source)
    return BufferedSource(ArmorReader(buffered)) if _is_armored(buffered) else buffered


class ArmorReader:
    """The bytes inside an armor. All of it is checked by the time `read` returns b""."""

    def __init__(self, source: BufferedSource) -> None:
        self._source = source
        self._decoded = b""
        self._ended = False
        _skip_white_space(source)
        if self._take_line() != ARMOR_BEGIN:
            raise _damaged("something follows its first line")

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; b"" at the end. Raises DamagedArchive where the armor is not canonical."""
        while not self._decoded and not self._ended:
            self._decoded = self._next_line()
        taken, self._decoded = self._decoded[:size], self._decoded[size:]
        return taken

    def _next_line(self) -> bytes:
        """Decode a line; at the end of the block, check what follows it and return b""."""
        line = self._take_line()
        if line == _ARMOR_END:
            self._finish()
            return b""
        data = _decode(line)
        # Only the last line may be short or padded, so that a file has one armor.
        if len(line) < _COLUMNS or line.endswith(b"="):
            if self._take_line() != _ARMOR_END:
                raise _damaged("a line in its middle is short")
            self._finish()
        return data

    def _finish(self) -> None:
        self._ended = True
        rest = self._source.read(_WHITE_SPACE_LIMIT + 1)
        if len(rest) > _WHITE_SPACE_LIMIT or rest.strip(_WHITE_SPACE):
            raise _damaged("something follows its last line")

    def _take_line(self) -> bytes:
        line = self._source.read_line(_LINE_LIMIT)
        if line.endswith(b"\n"):
            return line[:-2] if line.endswith(b"\r\n") else line[:-1]
        if line != _ARMOR_END:
            raise _damaged("a line is too long" if len(line) == _LINE_LIMIT else "the file ends before its last line")
        return line


def _is_armored(source: BufferedSource) -> bool:
    if source.peek(1)[:1] not in (b"-", b" ", b"\t", b"\r", b"\n"):
        return False
    start = source.peek(_WHITE_SPACE_LIMIT + len(ARMOR_BEGIN)).lstrip(_WHITE_SPACE)
    return start.startswith(ARMOR_BEGIN)


def _skip_white_space(source: BufferedSource) -> None:
    start = source.peek(_WHITE_SPACE_LIMIT)
    source.read(len(start) - len(start.lstrip(_WHITE_SPACE)))


def _decode(line: bytes) -> bytes:
    if not 0 < len(line) <= _COLUMNS:
        raise _damaged("a line is empty or longer than 64 columns")
    try:
        data = base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise _damaged("a line is not base64") from error
    if base64.b64encode(data) != line:
        raise _damaged("a line is not canonical base64")
    return data


def _damaged(reason: str) -> DamagedArchive:
    return DamagedArchive(f"the armor of the age file is damaged: {reason}", ANOTHER_COPY)
