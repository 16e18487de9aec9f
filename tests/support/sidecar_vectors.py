"""Sidecars, records and store identities to test readers with: `python -m support.sidecar_vectors` writes them.

They are made without the program's own writer, from fixed seeds and texts, so they are the same bytes on every machine.
formats/README.md describes the files, docs/archive-spec.md section 11 the rules that they follow or break.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from drunner_vault.age import X25519Identity
from support.vectors import FORMATS, HOST, IDENTITY, SIGNER_SEED, STRANGER, allowed_line, public_blob, sshsig

SIDECARS = FORMATS / "sidecars"
STORE, OTHER_STORE = "5e" * 16, "0a" * 16  # identities
NOW = "2026-03-01T12:00:00Z"
CREATED, STAMP = "2026-01-31T03:00:00Z", "20260131T030000Z"
APPEARED, AT = "2026-01-31T03:00:20Z", "2026-01-31T03:00:21Z"
RETIRED_AT = "20260210000000Z"  # as ssh-keygen reads it
NORDIC = "kühlschrank.example"
READER = "central.example"
HEAD_LIMIT = 64 << 10
CHUNK = 16 << 20
HEAD_BEGINS = b'{"format":"drunner-vault-sidecar","version":2,'
PLACE_BEGINS = b'{"format":"drunner-vault-place","version":1,'
Edit = Callable[[bytes], bytes]
Json = dict[str, Any]


def seed(name: str) -> bytes:
    """The seed of a signing key that is only used here."""
    return hashlib.sha256(f"drunner-vault sidecar vectors, key {name}".encode()).digest()


SEEDS = {"host": SIGNER_SEED} | {name: seed(name) for name in ("central", "nordic", "retired", "pattern", "stranger")}


def fingerprint(name: str) -> str:
    """The fingerprint of a signer, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_blob(SEEDS[name])).digest()).decode().rstrip("=")


def allowed_signers() -> str:
    """The file of allowed signers. `stranger` is not in it, `retired` has an end, `pattern` names no single host."""
    option = f'valid-before="{RETIRED_AT}" ssh-ed25519'
    retired = allowed_line(SEEDS["retired"], HOST).replace(" ssh-ed25519", f",{option}")
    return "".join(
        [
            allowed_line(SEEDS["host"], HOST),
            retired,
            allowed_line(SEEDS["nordic"], NORDIC),
            allowed_line(SEEDS["central"], READER),
            allowed_line(SEEDS["pattern"], "*.example"),
        ]
    )


# --- archives ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """An archive that sidecars are about, as a listing shows it. data: a file below formats, or None for zeros."""

    key: str
    etag: str
    data: str | None
    zeros: int = 0
    id: str = "0" * 32
    age_header: int = 0
    recipients: tuple[str, ...] = ()

    def content(self) -> bytes:
        """The bytes."""
        return (SIDECARS / self.data).read_bytes() if self.data else bytes(self.zeros)

    def listing(self) -> Json:
        """What vectors.json says."""
        size, sha256, _ = digests(self)
        source: Json = {"data": self.data} if self.data else {"zeros": self.zeros}
        return {"key": self.key, "size": size, "sha256": sha256, "etag": self.etag, "appeared": APPEARED, **source}


@cache
def digests(subject: Subject) -> tuple[int, str, tuple[str, ...]]:
    """Size, SHA-256, and SHA-256 of each chunk."""
    data = subject.content()
    chunks = tuple(hashlib.sha256(data[at : at + CHUNK]).hexdigest() for at in range(0, len(data), CHUNK))
    return len(data), hashlib.sha256(data).hexdigest(), chunks


def _key(host: str, workload: str = "notes", suffix: str = ".tar.zst") -> str:
    return f"{host}/{workload}/{workload}-{STAMP}{suffix}"


MINIMAL, SEALED = "../golden/v1/minimal.tar.zst", "../golden/v1/signed.tar.zst.age"
SUBJECTS = {
    "plain": Subject(_key(HOST), "3f1de6e4fbd32a5eaa2a0f9be2b4d1c1", MINIMAL, id="96a03e9230357ce49ae937cc993167e1"),
    "without-etag": Subject(_key(HOST, "quiet"), "", MINIMAL, id="96a03e9230357ce49ae937cc993167e1"),
    "encrypted": Subject(
        _key(HOST, suffix=".tar.zst.age"),
        "9a0364b9e99bb480dd25e1f0284c8555",
        SEALED,
        id="2a9910f60de087519ec389d888bcf012",
        recipients=tuple(str(X25519Identity(secret).recipient()) for secret in (STRANGER, IDENTITY)),
    ),
    "long": Subject(_key(HOST, "zeros"), "b6d81b360a5672d80c27430f39153e2c-3", None, 2 * CHUNK + 5),
    "nordic": Subject(_key(NORDIC), "5d41402abc4b2a76b9719d911017c592", None, 5),
}


# --- documents --------------------------------------------------------------------------------------------------------


def line(document: Any) -> bytes:
    """A line, as writers write it."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"


def signature_line(signed: bytes, signer: str | None, namespace: bytes = b"drunner-vault-archive") -> bytes:
    """Line 2 or 4."""
    text = sshsig(SEEDS[signer], signed, namespace).decode() if signer else None
    return line({"signature": text})


def head_of(subject: Subject, rest_line: bytes, **values: Any) -> Json:
    """Line 1. values: to replace, to add, or with `...` to leave out."""
    size, sha256, _ = digests(subject)
    host, workload, name = subject.key.split("/")
    head: Json = {
        "format": "drunner-vault-sidecar", "version": 2, "features": [], "archive": name, "host": host,
        "workload": workload, "kind": "drunner", "id": subject.id, "created": CREATED, "after": "2026-01-30T03:00:00Z",
        "size": size, "sha256": sha256, "recipients": ["X25519"] if subject.recipients else [],
        "sealed_to": [text[:16] for text in subject.recipients], "problems": 0, "basis": "written", "full_size": size,
        "needs": [], "rest": hashlib.sha256(rest_line).hexdigest(),
    }  # fmt: skip
    return changed(head, values)


def place_of(subject: Subject, **values: Any) -> Json:
    """Line 3. values: as for head_of."""
    size, sha256, _ = digests(subject)
    host, workload, name = subject.key.split("/")
    place: Json = {
        "format": "drunner-vault-place", "version": 1, "archive": name, "host": host, "workload": workload,
        "size": size, "sha256": sha256, "store": STORE, "etag": subject.etag, "at": AT,
    }  # fmt: skip
    return changed(place, values)


def rest_of(subject: Subject) -> Json:
    """Line 5."""
    header = _age_header(subject.content()) if subject.recipients else b""
    chunks = list(digests(subject)[2])
    return {"age_header": base64.b64encode(header).decode() or None, "chunk_size": CHUNK, "chunks": chunks}


def record_of(subject: Subject, kind: str, at: str) -> Json:
    """The first line of a record."""
    size, sha256, _ = digests(subject)
    host, workload, name = subject.key.split("/")
    return {
        "format": "drunner-vault-record", "version": 2, "kind": kind, "archive": name, "host": host,
        "workload": workload, "size": size, "sha256": sha256, "store": STORE, "etag": subject.etag, "at": at,
    }  # fmt: skip


def changed(document: Json, values: Mapping[str, Any]) -> Json:
    """A document with other values."""
    return {key: value for key, value in {**document, **values}.items() if value is not ...}


def _age_header(data: bytes) -> bytes:
    """Header and nonce."""
    return data[: data.index(b"\n", data.index(b"\n---") + 1) + 1 + 16]


def same(data: bytes) -> bytes:
    """No edit."""
    return data


def swap(old: bytes, new: bytes) -> Edit:
    """Replace one thing in a line."""

    def edit(data: bytes) -> bytes:
        assert data.count(old) == 1, old
        return data.replace(old, new)

    return edit


@dataclass(frozen=True)
class Sidecar:
    """How one sidecar is made.

    subject: the archive. head, place, rest: changed values. head_line, place_line: edits before the line is signed.
    head_signature, place_signature, rest_line: edits of the finished lines. whole: edit of the file.
    signer, placer: None leaves the line unsigned; placer `...` is the signer.
    fill: N and a size; spaces in line N - 1 give lines 1 to N that size.
    """

    subject: str = "plain"
    head: Mapping[str, Any] = field(default_factory=dict)
    place: Mapping[str, Any] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)
    head_line: Edit = same
    head_signature: Edit = same
    place_line: Edit = same
    place_signature: Edit = same
    rest_line: Edit = same
    whole: Edit = same
    signer: str | None = "host"
    placer: Any = ...
    fill: tuple[int, int] | None = None

    def build(self) -> tuple[bytes, tuple[int, int] | None]:
        """The document, and at which byte how many spaces were put in."""
        subject = SUBJECTS[self.subject]
        rest = line(changed(rest_of(subject), self.rest))
        head = self.head_line(line(head_of(subject, rest, **self.head)))
        place = self.place_line(line(place_of(subject, **self.place)))
        grown: tuple[int, int] | None = None
        if self.fill is not None:
            lines, total = self.fill
            count = total - len(b"".join(self._signed(head, place)[:lines]))
            begins = HEAD_BEGINS if lines == 2 else PLACE_BEGINS
            spaced = begins + b" " * count
            if lines == 2:
                head = head.replace(begins, spaced)
            else:
                place = place.replace(begins, spaced)
            first = self._signed(head, place)
            grown = (len(b"".join(first[: lines - 2])) + len(begins), count)
        return self.whole(b"".join(self._signed(head, place)) + self.rest_line(rest)), grown

    def _signed(self, head: bytes, place: bytes) -> list[bytes]:
        placer = self.signer if self.placer is ... else self.placer
        return [
            head,
            self.head_signature(signature_line(head, self.signer)),
            place,
            self.place_signature(signature_line(place, placer)),
        ]


@dataclass(frozen=True)
class Vector:
    """One document, and what a reader makes of it.

    expect: `accept`, `damaged` or `unsupported`, for the form of the whole document.
    standing: of the archive, if the document is its only sidecar.
    signature: of the first line: `valid`, `invalid` or `none`. signer: who made it.
    counts: True if a record counts.
    suffix: of the document's name, after the archive's. beside: further documents, by suffix.
    listed: what the listing shows instead.
    grown: at which byte how many spaces belong that the file does not have.
    same_as: the vector whose file has the same bytes.
    """

    name: str
    data: bytes
    why: str
    document: str = "sidecar"
    archive: str = "plain"
    expect: str = "accept"
    standing: str = ""
    signature: str = "valid"
    signer: str | None = "host"
    counts: bool | None = None
    suffix: str = ".json"
    beside: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, Any] = field(default_factory=dict)
    grown: tuple[int, int] | None = None
    same_as: str = ""

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.same_as or self.name}.json"

    def stored(self) -> bytes:
        """The bytes in the file."""
        if self.grown is None:
            return self.data
        at, count = self.grown
        assert self.data[at : at + count] == b" " * count
        return self.data[:at] + self.data[at + count :]

    def listing(self) -> Json:
        """What vectors.json says about it."""
        found: Json = {"name": self.name, "file": self.file, "document": self.document, "expect": self.expect}
        if self.document != "store":
            found |= {"archive": self.archive, "suffix": self.suffix, "signature": self.signature}
            found |= {"signer": self.signer} if self.signature == "valid" else {}
        found |= {"standing": self.standing} if self.standing else {}
        found |= {"counts": self.counts} if self.counts is not None else {}
        found |= {"beside": dict(self.beside)} if self.beside else {}
        found |= {"listed": dict(self.listed)} if self.listed else {}
        if self.grown:
            found |= {"insert_spaces": list(self.grown), "sha256": hashlib.sha256(self.data).hexdigest()}
        return {**found, "why": self.why}


def sidecar(name: str, why: str, made: Sidecar, standing: str, expect: str = "accept", **more: Any) -> Vector:
    """A vector of a sidecar."""
    data, grown = made.build()
    more = {"signer": made.signer, "signature": "valid" if made.signer else "none", **more}
    return Vector(name, data, why, "sidecar", made.subject, expect, standing, grown=grown, **more)


def all_vectors() -> list[Vector]:
    """All of them, in the order of vectors.json. Those of the same bytes share a file."""
    made = [*_valid(), *_versions(), *_standings(), *_places(), *_rests(), *_lines(), *_signatures()]
    first: dict[bytes, str] = {}
    found = []
    for vector in [*made, *_records(), *_stores()]:
        name = first.setdefault(vector.stored(), vector.name)
        found.append(vector if name == vector.name else replace(vector, same_as=name))
    assert len({vector.name for vector in found}) == len(found)
    return found


def _valid() -> list[Vector]:
    spaces = swap(b'"features":[],', b' "features": [ ], ')
    return [
        sidecar("plain", "an archive that is not encrypted", Sidecar(), "proven"),
        sidecar("encrypted", "an archive that is encrypted to two keys", Sidecar("encrypted"), "proven"),
        sidecar("three-chunks", "three chunks, the last one of five bytes", Sidecar("long"), "proven"),
        sidecar(
            "non-ascii-host",
            "the host's name is not ASCII, so it is escaped",
            Sidecar("nordic", signer="nordic"),
            "proven",
        ),
        sidecar("no-etags", "the store has no ETags", Sidecar("without-etag"), "proven"),
        sidecar("copied", "another machine has signed the place", Sidecar(placer="central"), "proven"),
        sidecar(
            "adopted-history",
            "signed later by the host, by what its history knows",
            Sidecar(head={"basis": "history"}, place={"at": "2026-02-20T10:00:00Z"}),
            "proven",
        ),
        sidecar(
            "adopted-root",
            "signed later by a machine that checked the signature inside",
            Sidecar(head={"basis": "root", "after": ""}, signer="central", place={"at": "2026-02-20T10:00:00Z"}),
            "proven",
        ),
        sidecar("problems", "some files were not read consistently", Sidecar(head={"problems": 2}), "proven"),
        sidecar("unsigned", "lines 1 and 3 are not signed", Sidecar(signer=None), "unsigned"),
        sidecar(
            "unknown-keys",
            "further keys in lines 1, 3 and 5 are ignored",
            Sidecar(head={"later": {"a": [1, "b", None]}}, place={"later": True}, rest={"later": ""}),
            "proven",
        ),
        sidecar(
            "white-space", "spaces between tokens are not written, but accepted", Sidecar(head_line=spaces), "proven"
        ),
        sidecar("longest", "lines 1 to 4 have 65,536 bytes", Sidecar(fill=(4, HEAD_LIMIT)), "proven"),
        sidecar(
            "name-taken",
            "the sidecar is under a further name, as its own name is taken by one of version 1",
            Sidecar(),
            "proven",
            suffix=".signed-20260131T030022Z.json",
            beside={".json": "version-1"},
        ),
    ]


def _versions() -> list[Vector]:
    def later(data: bytes) -> bytes:
        return swap(b'"version":2,', b'"version":3,')(data)

    def shortened(data: bytes) -> bytes:
        """A later version may change all lines but the first two."""
        return b"".join(data.splitlines(keepends=True)[:2]) + b"and so on\n"

    three = {"head_line": later, "whole": shortened}
    subject = SUBJECTS["plain"]
    size, sha256, chunks = digests(subject)
    old = {
        "format": "drunner-vault-sidecar", "version": 1, "archive": subject.key.rpartition("/")[2], "size": size,
        "sha256": sha256, "chunk_size": CHUNK, "id": subject.id, "created": CREATED, "host": HOST, "service": "notes",
        "age_header": None, "recipients": [], "sealed_to": [], "signer": fingerprint("host"), "problems": 0,
        "chunks": list(chunks),
    }  # fmt: skip
    return [
        Vector(
            "version-1",
            json.dumps(old, indent=1).encode() + b"\n",
            "version 1 is read, and nothing is decided by it",
            standing="unsigned",
            signature="none",
        ),
        sidecar("version-3", "a later version, signed", Sidecar(**three), "unknown", "unsupported"),
        sidecar(
            "version-3-stranger",
            "a later version, signed by a key that does not count",
            Sidecar(**three, signer="stranger"),
            "stranger",
            "unsupported",
        ),
        sidecar(
            "version-3-unsigned",
            "a later version, not signed",
            Sidecar(**three, signer=None),
            "unsigned",
            "unsupported",
        ),
        sidecar(
            "unknown-feature", "a feature that is not known", Sidecar(head={"features": ["incremental"]}), "unknown"
        ),
        sidecar("unknown-kind", "a kind that is not known", Sidecar(head={"kind": "telescope"}), "unknown"),
        sidecar(
            "unknown-feature-stranger",
            "a feature that is not known, signed by a key that does not count",
            Sidecar(head={"features": ["incremental"]}, signer="stranger"),
            "stranger",
        ),
    ]


def _standings() -> list[Vector]:
    late = {"listed": {"appeared": "2026-02-15T03:00:20Z"}}
    return [
        sidecar("stranger", "signed by a key that is not allowed", Sidecar(signer="stranger"), "stranger"),
        sidecar("pattern", "the key is allowed by a pattern only", Sidecar(signer="pattern"), "stranger"),
        sidecar(
            "retired-before", "the archive appeared before its key was retired", Sidecar(signer="retired"), "proven"
        ),
        sidecar(
            "retired-after",
            "the archive appeared after its key was retired",
            Sidecar(signer="retired"),
            "stranger",
            **late,
        ),
        sidecar(
            "retired-placed",
            "the archive appeared after its key was retired, and a key that is not has signed the place",
            Sidecar(signer="retired", placer="host"),
            "proven",
            **late,
        ),
        sidecar(
            "other-name",
            "signed for another file name",
            Sidecar(),
            "misplaced",
            listed={"key": f"{HOST}/notes/notes-20260201T030000Z.tar.zst"},
        ),
        sidecar("other-workload", "signed for another workload", Sidecar(head={"workload": "wiki"}), "misplaced"),
        sidecar("other-host", "signed for another host", Sidecar(), "misplaced", listed={"key": _key("other.example")}),
        sidecar(
            "other-time",
            "the time is not that of the name",
            Sidecar(head={"created": "2026-01-31T03:00:01Z"}),
            "misplaced",
        ),
        sidecar(
            "deeper",
            "not at HOST/WORKLOAD/NAME below the store's root",
            Sidecar(),
            "misplaced",
            listed={"key": f"old/{_key(HOST)}"},
        ),
        sidecar("other-size", "the object has another size", Sidecar(), "overwritten", listed={"size": 3064}),
        sidecar("other-etag", "the object has another ETag", Sidecar(), "overwritten", listed={"etag": "0" * 32}),
    ]


def _places() -> list[Vector]:
    def stated(name: str, why: str, expect: str = "accept", **made: Any) -> Vector:
        return sidecar(name, why, Sidecar(**made), "stated", expect)

    return [
        stated("place-unsigned", "the place is not signed", placer=None),
        stated("place-stranger", "the place is signed by a key that does not count", placer="stranger"),
        stated("place-other-store", "the place is in another store", place={"store": OTHER_STORE}),
        stated("place-no-store", "the identity of the store was not known", place={"store": ""}),
        stated("place-no-etag", "the ETag was not known", place={"etag": ""}),
        stated("place-other-archive", "the place is of another archive", place={"sha256": "0" * 64}),
        stated("place-other-name", "the place is of an archive of another name", place={"archive": "a.tar.zst"}),
        stated("place-repeated-key", "a key twice in the place", place_line=swap(b'"at":', b'"etag":"","at":')),
        stated("place-missing-key", "a key is missing in the place", place={"etag": ...}),
        stated("place-version-2", "a place of a later version", place={"version": 2}),
        stated(
            "place-is-a-head",
            "a head in place of the place",
            place_line=lambda _: line(head_of(SUBJECTS["plain"], b"")),
        ),
        stated(
            "place-other-signature",
            "the signature of the place is that of the head",
            place_signature=lambda _: Sidecar().build()[0].splitlines(keepends=True)[1],
        ),
        stated("place-too-long", "lines 1 to 4 have 65,537 bytes", fill=(4, HEAD_LIMIT + 1)),
        stated(
            "place-cut",
            "the file ends within line 3",
            "damaged",
            whole=lambda data: data[: data.index(b'"store"')],
        ),
    ]


def _rests() -> list[Vector]:
    def rest(name: str, why: str, **made: Any) -> Vector:
        return sidecar(name, f"{why}; a listing does not read line 5", Sidecar(**made), "proven", "damaged")

    return [
        rest("rest-other-hash", "line 5 is not the one that line 1 names", head={"rest": "0" * 64}),
        rest("rest-changed", "one digit of line 5 was changed", rest_line=swap(b"16777216", b"16777217")),
        rest("rest-cut", "line 5 is cut short", rest_line=lambda data: data[:-20]),
        rest("rest-missing", "there is no line 5", rest_line=lambda _: b""),
        rest("rest-twice", "there is a sixth line", rest_line=lambda data: data * 2),
        rest("rest-other-chunk-size", "chunk_size is not 16,777,216", rest={"chunk_size": CHUNK // 2}),
        rest(
            "rest-chunk-missing",
            "a chunk too few",
            subject="long",
            rest={"chunks": list(digests(SUBJECTS["long"])[2][:2])},
        ),
        rest("rest-not-base64", "age_header is not base64", rest={"age_header": "age!"}),
    ]


def _lines() -> list[Vector]:
    """Line 1 is malformed. It is signed all the same, unless that is said; line 3 is not."""

    def bad(name: str, why: str, **made: Any) -> Vector:
        more = {key: made.pop(key) for key in ("signature",) if key in made}
        return sidecar(name, why, Sidecar(**made, placer=None), "unreadable", "damaged", **more)

    nothing = {"signature": "invalid"}
    size = digests(SUBJECTS["plain"])[0]
    return [
        Vector("empty", b"", "the file is empty", expect="damaged", standing="unreadable", **nothing),
        bad("cut-in-line-1", "the file ends within line 1", whole=lambda data: data[:200], **nothing),
        bad(
            "cut-in-line-2",
            "the file ends within line 2",
            whole=lambda data: data[: data.index(b"END SSH")],
            **nothing,
        ),
        bad("repeated-key", "a key twice", head_line=swap(b'"size":', b'"size":1,"size":')),
        bad(
            "repeated-key-deep",
            "a key twice, in an object of a list",
            head_line=swap(b'"needs":[]', b'"needs":[{"a":1,"a":2}]'),
        ),
        bad("crlf", "CR before the LF", head_line=swap(b"\n", b"\r\n")),
        bad("second-lf", "an LF within line 1", head_line=swap(b',"features"', b',\n"features"'), **nothing),
        bad("tab", "a character of control", head_line=swap(b',"features"', b',\t"features"')),
        bad(
            "utf-8",
            "a character that is not ASCII and not escaped",
            head={"tool": "ue"},
            head_line=swap(b'"ue"', '"ü"'.encode()),
        ),
        bad("lone-surrogate", "half of a surrogate pair", head={"after": "\ud800"}),
        bad("byte-order-mark", "a byte order mark", head_line=lambda data: b"\xef\xbb\xbf" + data),
        bad("too-long", "lines 1 and 2 have 65,537 bytes", fill=(2, HEAD_LIMIT + 1), **nothing),
        bad("float", "a number with a fraction", head_line=swap(b'"size":%d' % size, b'"size":%d.0' % size)),
        bad("exponent", "a number with an exponent", head_line=swap(b'"problems":0', b'"problems":0e0')),
        bad("true-for-a-number", "true for a number", head={"problems": True}),
        bad("text-for-a-number", "a text for a number", head={"size": str(size)}),
        bad("negative", "a negative number", head={"problems": -1}),
        bad("nan", "NaN, in a key that is not known", head={"later": float("nan")}),
        bad("infinity", "Infinity, in a key that is not known", head={"later": float("-inf")}),
        bad("null-for-a-text", "null for a text", head={"id": None}),
        bad("number-for-a-text", "a number for a text", head={"created": 20260131}),
        bad("text-for-a-list", "a text for a list", head={"recipients": "X25519"}),
        bad("number-in-a-list", "a number in a list of texts", head={"sealed_to": [1]}),
        bad("missing-key", "a key is missing", head={"sha256": ...}),
        bad("unknown-basis", "a basis that is not defined", head={"basis": "hearsay"}),
        bad("not-an-object", "a list around the object", head_line=lambda data: b"[" + data[:-1] + b"]\n"),
        bad("not-json", "a bracket is missing", head_line=swap(b'"features":[]', b'"features":[')),
        bad("other-beginning-space", "a space after the first bracket", head_line=swap(b'{"format"', b'{ "format"')),
        bad(
            "other-beginning-order",
            "the version before the format",
            head_line=swap(HEAD_BEGINS, b'{"version":2,"format":"drunner-vault-sidecar",'),
        ),
        bad(
            "other-beginning-zero", "a version with a zero before it", head_line=swap(b'"version":2,', b'"version":02,')
        ),
        bad("other-format", "another format", head_line=swap(b'-sidecar"', b'-sidecars"')),
        bad("place-for-head", "a signed place as line 1", head_line=lambda _: line(place_of(SUBJECTS["plain"]))),
        bad(
            "record-for-head",
            "a signed record as line 1",
            head_line=lambda _: line(record_of(SUBJECTS["plain"], "verified", AT)),
        ),
    ]


def _signatures() -> list[Vector]:
    """Line 2 is not a signature of line 1. Line 3 is not signed."""

    def bad(name: str, why: str, expect: str = "accept", **made: Any) -> Vector:
        return sidecar(name, why, Sidecar(**made, placer=None), "unreadable", expect, signature="invalid")

    def other(signed: bytes, namespace: bytes = b"drunner-vault-archive") -> Edit:
        return lambda _: signature_line(signed, "host", namespace)

    plain = Sidecar().build()[0].splitlines(keepends=True)
    return [
        bad("signature-of-another-line", "the signature of line 3", head_signature=other(plain[2])),
        bad("signature-without-lf", "the signature of line 1 without its LF", head_signature=other(plain[0][:-1])),
        bad("signature-for-another-namespace", "a signature for files", head_signature=other(plain[0], b"file")),
        bad(
            "head-changed",
            "a digit of line 1 was changed",
            whole=lambda data: data.replace(b'"problems":0', b'"problems":1'),
        ),
        bad("signature-not-armored", "no armor", head_signature=lambda _: line({"signature": "SSHSIG"})),
        bad("signature-missing", "no signature in line 2", "damaged", head_signature=lambda _: line({})),
        bad(
            "signature-number", "a number for the signature", "damaged", head_signature=lambda _: line({"signature": 0})
        ),
        bad(
            "signature-further-key",
            "a further key in line 2",
            "damaged",
            head_signature=swap(b"}\n", b',"by":"host"}\n'),
        ),
        bad(
            "signature-twice",
            "the signature twice in line 2",
            "damaged",
            head_signature=swap(b"}\n", b',"signature":null}\n'),
        ),
    ]


def _records() -> list[Vector]:
    at, stamp = "2026-02-01T04:15:00Z", "20260201T041500Z"
    plain = SUBJECTS["plain"]

    def record(name: str, why: str, *, counts: bool, kind: str = "verified", **more: Any) -> Vector:
        signer = more.pop("signer", "host")
        values, edit = more.pop("values", {}), more.pop("edit", same)
        whole: Edit = more.pop("whole", same)
        expect = more.pop("expect", "accept")
        suffix = more.pop("suffix", f".{kind}-{stamp}.json")
        signed = edit(line(changed(record_of(plain, kind, at), values)))
        return Vector(
            f"record-{name}",
            whole(signed + signature_line(signed, signer)),
            why,
            "record",
            expect=expect,
            counts=counts,
            suffix=suffix,
            signer=signer,
            signature="valid" if signer else "none",
            **more,
        )

    def good(kind: str, about: str, **values: Any) -> Vector:
        return record(kind, about, counts=True, kind=kind, values=values)

    old = {"format": "drunner-vault-record", "version": 1, "kind": "damaged", "at": at, "problem": "frame 3"}
    future = "2027-02-01T04:15:00Z"
    return [
        good("verified", "read to its end", checked="everything"),
        good("damaged", "found damaged", problem="frame 3 does not match its checksum"),
        good("suspect", "of an unusual size", reason="is 12 times as large as usual"),
        good("accepted", "its size was accepted"),
        good("drilled", "test-restored", milliseconds=9800),
        good("drillfailed", "test-restored, and not healthy", why="the health check failed", milliseconds=61000),
        good("rehearsed", "opened by an identity", checked="index", by=["age1qqqqqqqqqqqq"]),
        record("by-another-machine", "by the reading machine's own key", counts=True, signer="central"),
        record("unsigned", "not signed", counts=False, signer=None),
        record("stranger", "signed by a key that does not count", counts=False, signer="stranger"),
        record("other-archive", "about another archive", counts=False, values={"sha256": "0" * 64}),
        record("other-store", "about another store", counts=False, values={"store": OTHER_STORE}),
        record("other-etag", "about another object of that name", counts=False, values={"etag": "0" * 32}),
        record(
            "damaged-other-etag",
            "about an object of that name that was there before: it still counts",
            counts=True,
            kind="damaged",
            values={"etag": "0" * 32},
        ),
        record("other-kind", "the name says another kind", counts=False, suffix=f".accepted-{stamp}.json"),
        record("other-time", "the name says another time", counts=False, suffix=".verified-20260201T041501Z.json"),
        record(
            "future",
            "good news from the future",
            counts=False,
            values={"at": future},
            suffix=".verified-20270201T041500Z.json",
        ),
        record("third-line", "a third line", counts=False, expect="damaged", whole=lambda data: data + b"{}\n"),
        record("float", "a number with a fraction", counts=False, expect="damaged", values={"seconds": 9.8}),
        record(
            "repeated-key",
            "a key twice",
            counts=False,
            expect="damaged",
            edit=swap(b'"kind":', b'"kind":"accepted","kind":'),
        ),
        record("missing-key", "a key is missing", counts=False, expect="damaged", values={"etag": ...}),
        record(
            "unknown-kind", "a kind that is not defined", counts=False, expect="damaged", values={"kind": "blessed"}
        ),
        record(
            "version-3",
            "a later version",
            counts=False,
            expect="unsupported",
            edit=swap(b'"version":2,', b'"version":3,'),
        ),
        Vector(
            "record-version-1",
            json.dumps(old, indent=1).encode() + b"\n",
            "version 1 was not signed",
            "record",
            expect="damaged",
            counts=False,
            signature="none",
            suffix=f".damaged-{stamp}.json",
        ),
    ]


def _stores() -> list[Vector]:
    def store(name: str, data: bytes, why: str, expect: str = "damaged") -> Vector:
        return Vector(f"store{name}", data, why, "store", expect=expect)

    good: Json = {"format": "drunner-vault-store", "version": 1, "id": STORE}
    return [
        store("", line(good), "the identity of a store", "accept"),
        store("-unknown-key", line({**good, "later": 1}), "a further key is ignored", "accept"),
        store("-upper-case", line({**good, "id": STORE.upper()}), "upper-case digits"),
        store("-short", line({**good, "id": STORE[1:]}), "31 digits"),
        store("-number", line({**good, "id": 5}), "a number for a text"),
        store("-second-line", line(good) + line(good), "two lines"),
        store("-no-lf", line(good)[:-1], "no LF at its end"),
        store("-repeated-key", swap(b'"id":', b'"id":"","id":')(line(good)), "a key twice"),
        store("-version-2", line({**good, "version": 2}), "a later version", "unsupported"),
    ]


def listing(vectors: list[Vector]) -> str:
    """The text of vectors.json."""
    head = {
        "version": 1,
        "now": NOW,
        "store": STORE,
        "allowed_signers": "allowed_signers",
        "reader": {"host": READER, "signer": "central"},
        "signers": {name: fingerprint(name) for name in SEEDS},
        "archives": {name: subject.listing() for name, subject in SUBJECTS.items()},
    }
    rows = ",\n".join("  " + json.dumps(vector.listing()) for vector in vectors)
    return json.dumps(head, indent=1, ensure_ascii=True)[:-2] + f',\n "vectors": [\n{rows}\n ]\n}}\n'


def files() -> dict[str, bytes]:
    """All files, by name."""
    vectors = all_vectors()
    found = {vector.file: vector.stored() for vector in vectors}
    assert not found.keys() & {"vectors.json", "allowed_signers"}
    return {**found, "vectors.json": listing(vectors).encode(), "allowed_signers": allowed_signers().encode()}


def main(directory: Path = SIDECARS) -> None:
    """Write them."""
    written = files()
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        if old.name not in written:
            old.unlink()
    for name, data in written.items():
        (directory / name).write_bytes(data)
    sys.stdout.write(f"{len(written)} files, {sum(map(len, written.values())):,} bytes\n")


if __name__ == "__main__":
    main()
