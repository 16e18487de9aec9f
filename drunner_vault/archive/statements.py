"""Signed statements: one JSON object in one line of ASCII, and an SSHSIG signature of that line.

Sidecars and records consist of such lines. The signed message is the line as it stands, with its LF; nobody encodes it
again. So a reader verifies the bytes first and parses the same bytes afterwards. Specification: docs/archive-spec.md,
section 11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from drunner_vault.archive.documents import Fields
from drunner_vault.errors import DamagedArchive, UnsupportedArchive
from drunner_vault.signing import SignerKey, verify

LINE_LIMIT = 64 << 10  # bytes, with the LF
_BEGINNING = re.compile(rb'\{"format":"([a-z0-9-]{1,64})","version":([1-9][0-9]{0,8})[,}]')
_LINE = re.compile(rb"[ -~]*\n")  # printable ASCII and one LF
_HINT = "do not rely on this document"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Statement:
    """A statement as it stands in a document.

    line: the JSON object with its LF. signature: armored SSHSIG of the line; empty if the statement is not signed.
    """

    line: bytes
    signature: bytes = b""

    def signer(self) -> SignerKey | None:
        """Return the key that signed the line; None without a signature.

        Raises DamagedArchive if the signature is not a valid one of this line.
        """
        return verify(self.signature, self.line) if self.signature else None

    def encode(self) -> bytes:
        """Return the statement's two lines."""
        text = self.signature.decode("ascii") if self.signature else None
        return self.line + json.dumps({"signature": text}, separators=(",", ":")).encode("ascii") + b"\n"


def make_statement(
    kind: str, version: int, fields: Mapping[str, Any], sign: Callable[[bytes], bytes] | None
) -> Statement:
    """Return a new statement. kind: the value of `format`. sign: makes the armored signature; None leaves it unsigned.

    Raises ValueError if the line would be longer than LINE_LIMIT.
    """
    document = {"format": kind, "version": version, **fields}
    line = json.dumps(document, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
    if len(line) > LINE_LIMIT:
        raise ValueError(f"a statement of {len(line)} bytes is too long")
    return Statement(line, sign(line) if sign else b"")


def split_lines(data: bytes, count: int) -> tuple[list[bytes], bytes]:
    """Return the first `count` lines with their LFs, and the rest. Raises DamagedArchive if there are fewer."""
    lines: list[bytes] = []
    start = 0
    for _ in range(count):
        end = data.find(b"\n", start) + 1
        if end == 0:
            raise DamagedArchive(f"the document has fewer than {count} lines, or lines that are too long", _HINT)
        lines.append(data[start:end])
        start = end
    return lines, data[start:]


def parse_pair(statement: bytes, signature: bytes) -> Statement:
    """Return the statement of two lines; only the form of the second one is checked. Raises DamagedArchive."""
    try:
        document = Fields(_load(signature))
        if document.values.keys() != {"signature"}:
            raise ValueError("there are other keys than signature")
        text = document.values["signature"]
        if text is not None and not isinstance(text, str):
            raise ValueError("the signature is not text")
        return Statement(statement, (text or "").encode("ascii"))
    except (ValueError, RecursionError) as cause:
        raise DamagedArchive(f"the line of a signature is malformed: {cause}", _HINT) from cause


def statement_version(line: bytes, kind: str) -> int | None:
    """Return the version of a statement of this kind, by its beginning; None if it is not one."""
    match = _BEGINNING.match(line)
    return int(match[2]) if match and match[1] == kind.encode() else None


def parse_statement(line: bytes, kind: str, version: int, build: Callable[[Fields], Value]) -> Value:
    """Return what `build` makes of the object in a line.

    kind, version: with which the line has to begin. Raises UnsupportedArchive for another version of the same kind,
    DamagedArchive for everything else that is not allowed: another beginning, repeated keys, fractions, bytes that are
    not printable ASCII, a second line break, more than LINE_LIMIT bytes, a missing key or one of the wrong type.
    """
    found = statement_version(line, kind)
    if found is not None and found != version:
        raise UnsupportedArchive(
            f"the document is {kind} version {found}, which this program does not know", "use a newer drunner-vault"
        )
    try:
        if found is None:
            raise ValueError(f"it does not begin as {kind} does")
        return build(Fields(_load(line)))
    except (ValueError, RecursionError) as cause:
        raise DamagedArchive(f"the {kind} document is malformed: {cause or 'nested too deeply'}", _HINT) from cause


def parse_line(line: bytes, what: str, build: Callable[[Fields], Value]) -> Value:
    """Return what `build` makes of a line of any length that is not a statement, by the same rules.

    Raises DamagedArchive, naming `what`.
    """
    try:
        return build(Fields(_load(line, limit=None)))
    except (ValueError, RecursionError) as cause:
        raise DamagedArchive(f"{what} is malformed: {cause or 'nested too deeply'}", _HINT) from cause


def _load(line: bytes, limit: int | None = LINE_LIMIT) -> Any:
    if limit is not None and len(line) > limit:
        raise ValueError(f"a line is longer than {limit} bytes")
    if not _LINE.fullmatch(line):
        raise ValueError("it is not one line of printable ASCII")
    return json.loads(line, object_pairs_hook=_unique, parse_float=_refuse, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not a whole number")
