"""The sidecar: a small file beside an archive in a store, written last. It is the commit, and reading it needs no key.

    line 1   head: what the archive is, stated by the host that made it
    line 2   the signature of line 1
    line 3   place: where its bytes were seen, stated by the host that wrote or read them there
    line 4   the signature of line 3
    line 5   rest: a copy of the age header, and a checksum of each 16 MiB

Lines 1 to 4 are short, so that a listing reads them with one request. An archive without a sidecar is still complete.
Specification: docs/archive-spec.md, section 11. Version 1 was one unsigned JSON document; it is only read.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from drunner_vault.alongside import Alongside
from drunner_vault.archive import sidecar_v1
from drunner_vault.archive.documents import Fields
from drunner_vault.archive.frames import Sink
from drunner_vault.archive.statements import (
    Statement,
    make_statement,
    parse_line,
    parse_pair,
    parse_statement,
    split_lines,
    statement_version,
)
from drunner_vault.errors import DamagedArchive, UnsupportedArchive

FORMAT = sidecar_v1.FORMAT
PLACE_FORMAT = "drunner-vault-place"
VERSION, PLACE_VERSION = 2, 1
CHUNK = 16 << 20  # bytes of the archive behind one checksum of line 5
SUFFIX = ".json"
HEAD_LIMIT = 64 << 10  # bytes: lines 1 to 4 have at most this together
KINDS = frozenset({"drunner", "proof"})  # of workloads; `proof` is what `init` and `store check` write and remove
WRITTEN, ROOT, HISTORY = "written", "root", "history"
_BASES = (WRITTEN, ROOT, HISTORY)
_HEX_BYTES = 70  # of line 5 for each chunk, with quotes and comma
_REST_LIMIT = 2 << 20  # bytes of line 5 beside its chunks: an age header in base64 has at most 1.4 MiB


@dataclass(frozen=True, kw_only=True)
class Head:
    """What an archive is, as its host states it.

    archive: the file name.
    host, workload, kind: of what the archive was made.
    id: of the manifest, hex.
    created: RFC 3339 in UTC.
    after: `created` of the workload's archive before this one, empty if the host knows of none.
    size: bytes of the file.
    sha256: of the file, hex.
    recipients: kinds of age recipients; empty if the archive is not encrypted.
    sealed_to: the beginnings of the public keys among them.
    problems: number of files that the backup could not read consistently.
    basis: `written` by the host that states it; `root`, it opened the archive and checked the signature inside; or
        `history`, its history knew name and size.
    full_size: bytes of the complete archive; equal to size unless it is incremental.
    needs: the archives that an incremental one needs.
    features: what a reader must know to decide about the archive.
    rest: SHA-256 of line 5, hex.
    """

    archive: str
    host: str
    workload: str
    size: int
    sha256: str
    features: tuple[str, ...] = ()
    kind: str = "drunner"
    id: str = ""
    created: str = ""
    after: str = ""
    recipients: tuple[str, ...] = ()
    sealed_to: tuple[str, ...] = ()
    problems: int = 0
    basis: str = WRITTEN
    full_size: int = 0
    needs: tuple[Any, ...] = ()
    rest: str = ""


_HEAD_ORDER = (
    "features", "archive", "host", "workload", "kind", "id", "created", "after", "size", "sha256", "recipients",
    "sealed_to", "problems", "basis", "full_size", "needs", "rest",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the bytes of an archive were seen.

    archive, host, workload, size, sha256: as in the head.
    store: the identity of the store; empty for a file outside of any store.
    etag: as the answer to the upload gave it; empty where the store has none, or the answer was lost.
    at: when, RFC 3339 in UTC.
    """

    archive: str
    host: str
    workload: str
    size: int
    sha256: str
    store: str
    etag: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What grows with the archive, or is only needed to repair it.

    age_header: header and nonce as they are in the file; empty for an archive that is not encrypted.
    chunk_size: bytes behind each checksum. chunks: SHA-256 of each `chunk_size` bytes of the file, hex.
    """

    age_header: bytes = b""
    chunk_size: int = CHUNK
    chunks: tuple[str, ...] = ()


@dataclass(frozen=True)
class SidecarHead:
    """Lines 1 to 4 of a sidecar, or what a sidecar of version 1 says in their place.

    version: 1 or 2. head: the parsed line 1. statement: lines 1 and 2; None in version 1. place, placed: the parsed
    line 3, and lines 3 and 4; None in version 1, and where line 3 or 4 is malformed.
    """

    version: int
    head: Head
    statement: Statement | None = None
    place: Place | None = None
    placed: Statement | None = None


@dataclass(frozen=True)
class Sidecar:
    """A whole sidecar. start: lines 1 to 4. rest: the parsed line 5. data: the file."""

    start: SidecarHead
    rest: Rest
    data: bytes

    @property
    def head(self) -> Head:
        """Return what the archive is."""
        return self.start.head

    @property
    def rest_line(self) -> bytes:
        """Return line 5 as it stands; empty in version 1."""
        return split_lines(self.data, 4)[1] if self.start.statement else b""


def state_head(head: Head, rest: Rest, sign: Callable[[bytes], bytes] | None) -> Statement:
    """Return lines 1 and 2 for a head and the rest that belongs to it."""
    values = asdict(replace(head, rest=hashlib.sha256(encode_rest(rest)).hexdigest(), full_size=head.size))
    return make_statement(FORMAT, VERSION, {name: values[name] for name in _HEAD_ORDER}, sign)


def state_place(place: Place, sign: Callable[[bytes], bytes] | None) -> Statement:
    """Return lines 3 and 4."""
    return make_statement(PLACE_FORMAT, PLACE_VERSION, asdict(place), sign)


def encode_rest(rest: Rest) -> bytes:
    """Return line 5."""
    header = base64.b64encode(rest.age_header).decode() or None
    document = {"age_header": header, "chunk_size": rest.chunk_size, "chunks": rest.chunks}
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def place_of(head: Head, store: str, etag: str, at: str) -> Place:
    """Return the place of the archive that a head describes."""
    return Place(
        archive=head.archive,
        host=head.host,
        workload=head.workload,
        size=head.size,
        sha256=head.sha256,
        store=store,
        etag=etag,
        at=at,
    )


def assemble(head: Statement, place: Statement, rest_line: bytes) -> bytes:
    """Return the file. Raises ValueError if lines 1 to 4 are too long."""
    start = head.encode() + place.encode()
    if len(start) > HEAD_LIMIT:
        raise ValueError(f"the first four lines of a sidecar have {len(start)} bytes")
    return start + rest_line


def parse_sidecar_head(data: bytes) -> SidecarHead:
    """Return the beginning of the sidecar whose file begins with `data`: at least HEAD_LIMIT bytes of it, or all.

    Raises DamagedArchive if it is not a sidecar; UnsupportedArchive if it is one of a later version.
    """
    if statement_version(data, FORMAT) in (None, 1):
        return SidecarHead(1, _head_v1(sidecar_v1.parse_beginning(data)))
    (first, second), rest = split_lines(data[:HEAD_LIMIT], 2)
    statement = parse_pair(first, second)
    head = parse_head(statement.line)
    placed, place = _parse_place(rest)
    return SidecarHead(VERSION, head, statement, place, placed)


def parse_head(line: bytes) -> Head:
    """Return what line 1 states. Raises DamagedArchive, UnsupportedArchive."""
    return parse_statement(line, FORMAT, VERSION, _head)


def first_statement(data: bytes) -> Statement:
    """Return lines 1 and 2 of a sidecar of any version from 2 on: their form never changes. Raises DamagedArchive."""
    (first, second), _ = split_lines(data[:HEAD_LIMIT], 2)
    return parse_pair(first, second)


def parse_sidecar(data: bytes) -> Sidecar:
    """Return a whole sidecar. Raises DamagedArchive, UnsupportedArchive.

    Line 5 has to be the one that the head names, so it needs no signature of its own.
    """
    start = parse_sidecar_head(data)
    if start.version == 1:
        document = sidecar_v1.parse_whole(data)
        return Sidecar(start, _rest_v1(document), data)
    line = split_lines(data, 4)[1]
    if hashlib.sha256(line).hexdigest() != start.head.rest:
        raise DamagedArchive("line 5 of the sidecar is not the one that its first line names", "use another copy")
    rest = parse_line(line, "line 5 of the sidecar", _rest)
    if len(rest.chunks) != -(-start.head.size // rest.chunk_size):
        raise DamagedArchive("the sidecar is malformed: its sizes do not agree", "use another copy")
    return Sidecar(start, rest, data)


def sidecar_limit(size: int) -> int:
    """Return how many bytes a sidecar of an archive of `size` bytes can have."""
    return HEAD_LIMIT + _REST_LIMIT + _HEX_BYTES * (size // CHUNK + 1)


def _parse_place(data: bytes) -> tuple[Statement | None, Place | None]:
    """Lines 3 and 4. A head is valid without them."""
    try:
        (third, fourth), _ = split_lines(data, 2)
        placed = parse_pair(third, fourth)
        return placed, parse_statement(placed.line, PLACE_FORMAT, PLACE_VERSION, _place)
    except (DamagedArchive, UnsupportedArchive):
        return None, None


def _head(document: Fields) -> Head:
    if missing := {"features", "recipients", "sealed_to"} - document.values.keys():
        raise ValueError(f"{min(missing)} is missing")
    basis = document.text("basis")
    if basis not in _BASES:
        raise ValueError(f"basis {basis[:20]} is unknown")
    return Head(
        features=document.texts("features"),
        archive=document.text("archive"),
        host=document.text("host"),
        workload=document.text("workload"),
        kind=document.text("kind"),
        id=document.text("id"),
        created=document.text("created"),
        after=document.text("after"),
        size=document.number("size"),
        sha256=document.text("sha256"),
        recipients=document.texts("recipients"),
        sealed_to=document.texts("sealed_to"),
        problems=document.number("problems"),
        basis=basis,
        full_size=document.number("full_size"),
        needs=document.items("needs"),
        rest=document.text("rest"),
    )


def _place(document: Fields) -> Place:
    return Place(
        archive=document.text("archive"),
        host=document.text("host"),
        workload=document.text("workload"),
        size=document.number("size"),
        sha256=document.text("sha256"),
        store=document.text("store"),
        etag=document.text("etag"),
        at=document.text("at"),
    )


def _rest(document: Fields) -> Rest:
    header = sidecar_v1.age_header_of(document)
    rest = Rest(age_header=header, chunk_size=document.number("chunk_size"), chunks=document.texts("chunks"))
    if rest.chunk_size != CHUNK:
        raise ValueError(f"chunk_size is {rest.chunk_size}, and has to be {CHUNK}")
    return rest


def _head_v1(document: Fields) -> Head:
    return Head(
        archive=document.text("archive"),
        host=document.text("host", ""),
        workload=document.text("service", ""),
        id=document.text("id", ""),
        created=document.text("created", ""),
        size=document.number("size"),
        sha256=document.text("sha256"),
        recipients=document.texts("recipients"),
        sealed_to=document.texts("sealed_to"),
        problems=document.number("problems", 0),
        full_size=document.number("size"),
    )


def _rest_v1(document: Fields) -> Rest:
    return Rest(
        age_header=sidecar_v1.age_header_of(document),
        chunk_size=document.number("chunk_size"),
        chunks=document.texts("chunks"),
    )


@dataclass(frozen=True)
class Digests:
    """Size and checksums of a file. chunks: see Rest."""

    size: int
    sha256: str
    chunks: tuple[str, ...]


class HashingSink:
    """Passes bytes on and computes their checksums."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hashes = ChunkHashes(CHUNK)
        self._hashing = Alongside(self._hashes.update)

    def write(self, data: bytes) -> None:
        """Pass on all of `data`."""
        self._sink.write(data)
        self._hashing.give(data)

    def digests(self) -> Digests:
        """Return the checksums of everything that was written."""
        self._hashing.settle()
        whole, chunks = self._hashes.finish()
        return Digests(self._hashes.size, whole, tuple(chunks))


class ChunkHashes:
    """SHA-256 of a stream, and of each of its chunks."""

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._whole, self._chunk = hashlib.sha256(), hashlib.sha256()
        self._in_chunk = 0
        self._chunks: list[str] = []
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes of the stream."""
        self._whole.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            part = view[: self._chunk_size - self._in_chunk]
            view = view[len(part) :]
            self._chunk.update(part)
            self._in_chunk += len(part)
            if self._in_chunk == self._chunk_size:
                self._next_chunk()

    def finish(self) -> tuple[str, list[str]]:
        """Return the digest of the whole stream, and of its chunks."""
        if self._in_chunk:
            self._next_chunk()
        return self._whole.hexdigest(), self._chunks

    def _next_chunk(self) -> None:
        self._chunks.append(self._chunk.hexdigest())
        self._chunk = hashlib.sha256()
        self._in_chunk = 0


def differences(sidecar: Sidecar, pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield how a file differs from its sidecar, one sentence each. pieces: the file's bytes."""
    rest, head = sidecar.rest, sidecar.head
    hashes = ChunkHashes(rest.chunk_size)
    for piece in pieces:
        hashes.update(piece)
    whole, chunks = hashes.finish()
    if hashes.size != head.size:
        yield f"it is {hashes.size} bytes long, and was {head.size}"
    for number, (found, stated) in enumerate(zip(chunks, rest.chunks, strict=False)):
        if found != stated:
            start = number * rest.chunk_size
            yield f"bytes {start} to {min(start + rest.chunk_size, hashes.size) - 1} are not as written"
    if tuple(chunks) == rest.chunks and whole != head.sha256:
        yield "its SHA-256 is not the one in its sidecar"
