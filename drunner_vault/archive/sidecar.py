"""The sidecar: a small JSON file beside an archive in a store, written last. It is the commit, and it needs no key.

It lets anybody check that the object is what was written, and it keeps a copy of the age header, whose loss would lose
everything. An archive whose sidecar is lost is still a whole archive. What grows with the archive stands at its end, so
that a listing of large archives reads only the beginning of each.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace

from drunner_vault.alongside import Alongside
from drunner_vault.archive.documents import Fields, parse
from drunner_vault.archive.frames import Sink
from drunner_vault.archive.manifest import Manifest

FORMAT = "drunner-vault-sidecar"
VERSION = 1
CHUNK = 16 << 20
SUFFIX = ".json"
HEAD = 64 << 10  # enough for all but the chunks
_MAX_CHUNK = 1 << 30
_CHUNKS = b'"chunks": ['


@dataclass(frozen=True)
class Sidecar:
    """What is known of an archive without a key. age_header: header and nonce as they stand in the file; empty for an
    archive in the clear. recipients: their kinds. sealed_to: the beginnings of the public keys among them. signer: the
    fingerprint of the key that signed it. problems: how many files the backup could not carry as they were. chunks:
    SHA-256 of each `chunk_size` bytes, hex."""

    archive: str
    size: int
    sha256: str
    id: str = ""
    created: str = ""
    host: str = ""
    service: str = ""
    age_header: bytes = b""
    recipients: list[str] = field(default_factory=list)
    sealed_to: list[str] = field(default_factory=list)
    signer: str = ""
    problems: int = 0
    chunk_size: int = CHUNK
    chunks: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """The sidecar as a file."""
        document = {"format": FORMAT, "version": VERSION, **asdict(self)}
        document["age_header"] = base64.b64encode(self.age_header).decode() or None
        return json.dumps(document, indent=1).encode() + b"\n"


def parse_sidecar(data: bytes) -> Sidecar:
    """The sidecar that a file holds. Raises DamagedArchive if it is none."""
    return parse(data, "the sidecar", _whole)


def parse_sidecar_head(data: bytes) -> Sidecar | None:
    """The sidecar whose file begins with `data`, without its chunks; None if the beginning has to be longer.

    Raises DamagedArchive if it is none.
    """
    before, found, _ = data.partition(_CHUNKS)
    return parse(before + _CHUNKS + b"]}", "the sidecar", _from_document) if found else None


def _whole(document: Fields) -> Sidecar:
    sidecar = _from_document(document)
    if len(sidecar.chunks) != -(-sidecar.size // sidecar.chunk_size):
        raise ValueError("its sizes do not agree")
    return sidecar


def _from_document(document: Fields) -> Sidecar:
    if (document.text("format"), document.number("version")) != (FORMAT, VERSION):
        raise ValueError("it is of another format or version")
    sidecar = Sidecar(
        archive=document.text("archive"),
        size=document.number("size"),
        sha256=document.text("sha256"),
        id=document.text("id", ""),
        created=document.text("created", ""),
        host=document.text("host", ""),
        service=document.text("service", ""),
        age_header=base64.b64decode(document.values.get("age_header") or "", validate=True),
        recipients=list(document.texts("recipients")),
        sealed_to=list(document.texts("sealed_to")) if "sealed_to" in document.values else [],
        signer=document.text("signer", ""),
        problems=document.number("problems", 0),
        chunk_size=document.number("chunk_size"),
        chunks=list(document.texts("chunks")),
    )
    if not 0 < sidecar.chunk_size <= _MAX_CHUNK:
        raise ValueError("its sizes do not agree")
    return sidecar


class HashingSink:
    """Passes bytes on, and makes a sidecar of what went by."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hashes = ChunkHashes(CHUNK)
        self._hashing = Alongside(self._hashes.update)

    def write(self, data: bytes) -> None:
        """Take all of `data`."""
        self._sink.write(data)
        self._hashing.give(data)

    def sidecar(self, archive: str, manifest: Manifest, age_header: bytes, recipients: list[str]) -> Sidecar:
        """The sidecar of all that was written, under the archive's file name."""
        facts = Sidecar(archive, 0, "", manifest.id, manifest.created, manifest.host, manifest.service.name)
        return self.measured(replace(facts, age_header=age_header, recipients=recipients))

    def measured(self, facts: Sidecar) -> Sidecar:
        """The same sidecar, with size and hashes of all that was written."""
        self._hashing.settle()
        whole, chunks = self._hashes.finish()
        return replace(facts, size=self._hashes.size, sha256=whole, chunk_size=CHUNK, chunks=chunks)


class ChunkHashes:
    """SHA-256 of a stream, and of each of its chunks."""

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._whole, self._chunk = hashlib.sha256(), hashlib.sha256()
        self._in_chunk = 0
        self._chunks: list[str] = []
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes of the stream."""
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
        """Of the whole, and of all chunks."""
        if self._in_chunk:
            self._next_chunk()
        return self._whole.hexdigest(), self._chunks

    def _next_chunk(self) -> None:
        self._chunks.append(self._chunk.hexdigest())
        self._chunk = hashlib.sha256()
        self._in_chunk = 0


def differences(sidecar: Sidecar, pieces: Iterable[bytes]) -> Iterator[str]:
    """What of an object is not as its sidecar says, a sentence each; nothing if all is. pieces: the object's bytes."""
    hashes = ChunkHashes(sidecar.chunk_size)
    for piece in pieces:
        hashes.update(piece)
    whole, chunks = hashes.finish()
    if hashes.size != sidecar.size:
        yield f"it is {hashes.size} bytes long, and was {sidecar.size}"
    for number, (found, stated) in enumerate(zip(chunks, sidecar.chunks, strict=False)):
        if found != stated:
            start = number * sidecar.chunk_size
            yield f"its bytes {start} to {min(start + sidecar.chunk_size, hashes.size) - 1} are not as written"
    if chunks == sidecar.chunks and whole != sidecar.sha256:
        yield "its SHA-256 is not the one that its sidecar states"
