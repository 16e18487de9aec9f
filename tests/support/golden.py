"""The golden archives of format version 1: `python -m support.golden` writes them. They are frozen: tests hold that
they read as they always did, and that the same input still gives the same archive.

Each is made by the program's own writer from a description here, with fixed keys, times and random numbers.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from blake3 import blake3

from drunner_vault.age import EncryptWriter, Recipient, ScryptRecipient, X25519Identity, X25519Recipient
from drunner_vault.archive import (
    HOOK,
    IMAGES,
    SCRIPTS,
    VOLUMES,
    ArchiveReader,
    ArchiveWriter,
    ImageRecord,
    Manifest,
    ServiceRecord,
    VolumeRecord,
    WriterOptions,
)
from drunner_vault.archive.frames import ByteReader, RawFrame, decode, walk
from drunner_vault.tar import Entry, Kind, Member, Segment
from support import vectors
from support.vectors import FORMATS, HOST, IDENTITY, MTIME, PASSPHRASE, SIGNER_SEED, STRANGER

GOLDEN = FORMATS / "golden" / "v1"
SPECIFICATION = FORMATS.parent / "docs" / "archive-spec.md"
NS = MTIME * 10**9
FINISHED = "2026-01-31T03:00:01Z"
Item = tuple[bytes, Entry, bytes]


def predictable(purpose: bytes) -> Callable[[int], bytes]:
    """Random numbers that are the same every time: BLAKE3 of a purpose and a counter."""
    counter = count()
    return lambda size: blake3(purpose + next(counter).to_bytes(8, "big")).digest(length=size)


def noise(size: int, seed: bytes) -> bytes:
    """Bytes that do not compress."""
    return blake3(seed).digest(length=size)


@dataclass(frozen=True)
class Golden:
    """One archive: what goes in, and how it is wrapped."""

    name: str
    about: str
    items: Callable[[], Iterator[Item]]
    volumes: tuple[VolumeRecord, ...]
    images: tuple[ImageRecord, ...] = ()
    problems: tuple[tuple[bytes, str], ...] = ()
    recipients: tuple[str, ...] = ()
    signed: bool = False
    sidecar: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return f"{self.name}.tar.zst.age" if self.recipients else f"{self.name}.tar.zst"

    def manifest(self) -> Manifest:
        return Manifest(
            id=blake3(self.name.encode()).hexdigest()[:32],
            created="2026-01-31T03:00:00Z",
            tool="golden archives",
            host=HOST,
            service=ServiceRecord("drunner", "notes", "registry.example/notes:1", 1000, {"volumes": ["/data"]}),
            images=self.images,
            volumes=self.volumes,
        )

    def stream(self) -> bytes:
        """The zstd stream."""
        sink = io.BytesIO()
        sign = (lambda root: vectors.sshsig(SIGNER_SEED, root)) if self.signed else None
        options = WriterOptions(threads=1, pad=bool(self.recipients), sign=sign)
        with ArchiveWriter(sink, self.manifest(), MTIME, options) as writer:
            for prefix, entry, content in self.items():
                writer.add(prefix, entry, [content] if content else [])
            for path, problem in self.problems:
                writer.report(path, problem)
            writer.finish(FINISHED)
        return sink.getvalue()

    def data(self) -> bytes:
        """The archive."""
        if not self.recipients:
            return self.stream()
        sink = io.BytesIO()
        writer = EncryptWriter(sink, [recipient(name) for name in self.recipients], predictable(b"file"))
        writer.write(self.stream())
        writer.close()
        return sink.getvalue()


def recipient(name: str) -> Recipient:
    if name == "passphrase":
        return ScryptRecipient(PASSPHRASE, 10, predictable(b"salt"))
    secret = {"identity": IDENTITY, "second": STRANGER}[name]
    public = X25519Identity(secret).recipient().public
    return X25519Recipient(public, predictable(name.encode()))


# --- contents ---------------------------------------------------------------------------------------------------------


def folder(path: bytes = b"", mtime_ns: int = NS, **more: Any) -> Entry:
    return Entry(path, Kind.DIRECTORY, 0o755, mtime_ns=mtime_ns, **more)


def file(path: bytes, content: bytes = b"", mtime_ns: int = NS, **more: Any) -> tuple[Entry, bytes]:
    return Entry(path, Kind.FILE, size=len(content), mtime_ns=mtime_ns, **more), content


def volume_of(name: bytes, *entries: Entry | tuple[Entry, bytes]) -> Iterator[Item]:
    """A volume's members, in the order that archives have."""
    pairs = [(entry, b"") if isinstance(entry, Entry) else entry for entry in entries]
    for entry, content in sorted(pairs, key=lambda pair: tuple(pair[0].path.split(b"/")) if pair[0].path else ()):
        yield VOLUMES + b"/" + name, entry, content


def minimal() -> Iterator[Item]:
    yield from volume_of(b"notes-data", folder(), file(b"hello", b"Hello, 2045!\n"))


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel keeps it: tag, permissions, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
ACL = acl((0x01, 6, NOBODY), (0x02, 4, 1001), (0x04, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY))


def odd() -> Iterator[Item]:
    first = b"first name"
    dots = b"d" * 60
    yield from volume_of(
        b"notes-data",
        folder(mtime_ns=NS + 123_456_789),
        file(b"ACL", b"for 1001 too\n", xattrs={"system.posix_acl_access": ACL}),
        folder(b"ACL-default", xattrs={"system.posix_acl_default": ACL}),
        Entry(b"block", Kind.BLOCK, 0o660, gid=6, mtime_ns=NS, device=(8, 1)),
        Entry(b"char", Kind.CHARACTER, 0o666, mtime_ns=NS, device=(1, 3)),
        folder(dots),
        folder(dots + b"/" + dots),
        file(dots + b"/" + dots + b"/" + b"f" * 120, b"a name of 242 bytes\n"),
        file(b"empty"),
        folder(b"empty directory"),
        Entry(b"fifo", Kind.FIFO, 0o600, mtime_ns=NS),
        file(first, b"one file, three names\n"),
        Entry(b"first name again", Kind.HARDLINK, 0o644, mtime_ns=NS, link=first),
        Entry(b"hard link", Kind.HARDLINK, 0o644, mtime_ns=NS, link=first),
        file(b"latin-1 \xe9\xe8", b"a name that is no UTF-8\n"),
        file(b"line\nfeed", b"a name of two lines\n"),
        Entry(b"link", Kind.SYMLINK, 0o777, mtime_ns=NS, link=b"hello"),
        Entry(b"link, dangling", Kind.SYMLINK, 0o777, mtime_ns=NS, link=b"../../../" + b"x" * 110),
        Entry(b"link, latin-1", Kind.SYMLINK, 0o777, mtime_ns=NS, link=b"latin-1 \xe9\xe8"),
        file(b"owner", b"of a container's user\n", uid=2_100_000_000, gid=4_294_967_294),
        file(b"setuid", b"#!/bin/sh\n", mode=0o4755, xattrs={"security.capability": b"\1\0\0\2\0\4\0\0" + bytes(12)}),
        (Entry(b"sparse", Kind.FILE, size=1 << 30, mtime_ns=NS, segments=SPARSE), b"a" * 512 + b"z" * 1024),
        (Entry(b"sparse, all hole", Kind.FILE, size=1 << 20, mtime_ns=NS, segments=(Segment(1 << 20, 0),)), b""),
        file(b"time before 1970", b"1969\n", mtime_ns=-1_500_000_000),
        file(b"time in nanoseconds", b"now\n", mtime_ns=NS + 1),
        file(b"time of 2500", b"later\n", mtime_ns=16_725_225_600 * 10**9),
        file(b"xattrs", b"x\n", xattrs={"user.a=b%": b"an equals sign in its name\n", "user.raw": bytes(range(256))}),
        file("ünïcödé ☃".encode(), b"a name in UTF-8\n"),
    )


SPARSE = (Segment(0, 512), Segment(1 << 29, 512), Segment((1 << 30) - 512, 512))


def large() -> Iterator[Item]:
    yield from volume_of(
        b"notes-data",
        folder(),
        file(b"127 KiB and 1023", b"m" * ((128 << 10) - 1)),
        file(b"128 KiB", b"l" * (128 << 10)),
        file(b"3.5 MiB", b"".join(noise(64, b"%d" % (n % 7)) * 1024 for n in range(56))),
        file(b"after", b"in a frame that is shared\n"),
        (
            Entry(
                b"holes between 2 MiB",
                Kind.FILE,
                size=9 << 20,
                mtime_ns=NS,
                segments=(Segment(0, 1 << 20), Segment(8 << 20, 1 << 20)),
            ),
            b"h" * (2 << 20),
        ),
        *(file(b"small %02d" % n, b"s" * 70_000) for n in range(20)),
    )
    yield from volume_of(b"notes-empty", folder())
    yield from volume_of(b"notes-logs", folder(), file(b"log", b"started\n" * 1000))


def many() -> Iterator[Item]:
    yield VOLUMES + b"/notes-data", folder(), b""
    for n in range(4100):
        yield VOLUMES + b"/notes-data", Entry(b"%04d" % n, Kind.FILE, mtime_ns=NS), b""


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}


LAYER = bytes(1024)
CONFIG = _json(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(LAYER).hexdigest()}"]},
    }
)
OCI_MANIFEST = _json(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("config.v1+json", CONFIG),
        "layers": [_descriptor("layer.v1.tar", LAYER)],
    }
)


def blob(data: bytes) -> bytes:
    return b"blobs/sha256/" + hashlib.sha256(data).hexdigest().encode()


def places() -> Iterator[Item]:
    for name, script in ((b"servicecfg.sh", b'VOLUMES=("/data")\n'), (b"servicerunner", b"#!/bin/bash\n")):
        yield SCRIPTS, *file(name, script, mode=0o755)
    index = _json({"schemaVersion": 2, "manifests": [_descriptor("manifest.v1+json", OCI_MANIFEST)]})
    legacy = _json([{"Config": blob(CONFIG).decode(), "RepoTags": None, "Layers": [blob(LAYER).decode()]}])
    for name, data in (
        (b"oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
        (b"index.json", index),
        (b"manifest.json", legacy),
        *((blob(data), data) for data in (OCI_MANIFEST, CONFIG, LAYER)),
    ):
        yield IMAGES, *file(name, data)
    yield HOOK, folder(), b""
    yield HOOK, *file(b"dump.sql", b"select 1;\n")
    yield from volume_of(b"notes-data", folder(), file(b"hello", b"Hello, 2045!\n"))
    yield from volume_of(b"notes-more", folder(), file(b"more", b"and more\n"))


DATA = VolumeRecord("notes-data", "/data")
EXTRA = VolumeRecord("notes-more", "/more", labels={"kept": "yes"})
BY_ENGINE = VolumeRecord("notes-data", "/data", access="engine", lost=("times below a second",))
EMBEDDED = ImageRecord(
    "registry.example/notes:1",
    f"sha256:{hashlib.sha256(CONFIG).hexdigest()}",
    ("registry.example/notes@sha256:" + "5" * 64,),
    "amd64",
    "linux",
    1024,
    True,
)
LARGE_VOLUMES = (DATA, VolumeRecord("notes-empty", "/empty"), VolumeRecord("notes-logs", "/logs", "nfs", {"o": "ro"}))
PROBLEMS = (
    (b"volumes/notes-data/locked", "could not be read: Permission denied"),
    (b"volumes/notes-data/\xff", "vanished while it was read"),
)

ALL = (
    Golden("minimal", "one file; in the clear, not signed, not padded", minimal, (DATA,)),
    Golden(
        "places", "something in every place: scripts, an image, hook, two volumes", places, (DATA, EXTRA), (EMBEDDED,)
    ),
    Golden("odd-files", "every type of member, and names, times, owners and attributes at their limits", odd, (DATA,)),
    Golden("large", "members in frames of their own, shared frames, three volumes", large, LARGE_VOLUMES),
    Golden("many", "4,103 members: two shards", many, (DATA,)),
    Golden("partial", "the root lists what could not be carried", minimal, (BY_ENGINE,), problems=PROBLEMS),
    Golden(
        "x25519",
        "encrypted to one key, padded, with its sidecar",
        minimal,
        (DATA,),
        recipients=("identity",),
        sidecar=True,
    ),
    Golden("passphrase", "encrypted with a passphrase", minimal, (DATA,), recipients=("passphrase",)),
    Golden(
        "signed",
        "encrypted to two keys, and signed",
        places,
        (DATA, EXTRA),
        (EMBEDDED,),
        (),
        ("second", "identity"),
        True,
    ),
    Golden("signed-clear", "signed, in the clear", minimal, (DATA,), signed=True),
)


# --- what is expected of a reader -------------------------------------------------------------------------------------


def text(key: str, value: bytes) -> dict[str, str]:
    try:
        return {key: value.decode()}
    except UnicodeDecodeError:
        return {f"{key}_base64": base64.b64encode(value).decode()}


def member_facts(member: Member, content: bytes) -> dict[str, Any]:
    """What a reader has to find out about a member."""
    entry = member.entry
    facts: dict[str, Any] = {**text("path", entry.path), "type": entry.kind.value, "mode": f"{entry.mode:04o}"}
    facts |= {"uid": entry.uid, "gid": entry.gid, "mtime_ns": entry.mtime_ns}
    if entry.link:
        facts |= text("link", entry.link)
    if entry.device != (0, 0):
        facts["device"] = list(entry.device)
    if entry.kind is Kind.FILE:
        facts |= {"size": entry.size, "blake3": blake3(content).hexdigest()}
    if entry.segments is not None:
        facts["segments"] = [[segment.offset, segment.size] for segment in entry.segments]
    if entry.xattrs:
        facts["xattrs"] = {name: base64.b64encode(value).decode() for name, value in sorted(entry.xattrs.items())}
    return facts


def listing(golden: Golden, data: bytes, stream: bytes) -> dict[str, Any]:
    """The file beside an archive. Of more than 100 members it has the count and a digest, one JSON text a line."""
    with ArchiveReader(io.BytesIO(stream).read, threads=1) as reader:
        manifest = member_facts_of_manifest(reader)
        members = [manifest, *(member_facts(member, b"".join(content)) for member, content in reader.members())]
    found: dict[str, Any] = {"archive": golden.file, "about": golden.about, "format": 1}
    found |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "recipients": list(golden.recipients)}
    found |= {"signed_by": HOST if golden.signed else None, "id": reader.manifest.id, "host": reader.manifest.host}
    found |= {"volumes": [volume.name for volume in reader.manifest.volumes]}
    found |= {"problem_count": reader.root.problem_count, "problems": reader.root.problems}
    found |= {"frames": reader.root.frames, "content": reader.root.content, "tar_size": reader.root.tar_size}
    found |= {"member_count": len(members), "members_blake3": members_digest(members)}
    if len(members) <= 100:
        found["members"] = members
    return found


def member_facts_of_manifest(reader: ArchiveReader) -> dict[str, Any]:
    """The manifest is read before all others."""
    data = reader.manifest.encode()
    return member_facts(Member(Entry(b"manifest.json", Kind.FILE, size=len(data), mtime_ns=NS), 0, 512), data)


def members_digest(members: list[dict[str, Any]]) -> str:
    lines = "".join(json.dumps(member, sort_keys=True, separators=(",", ":")) + "\n" for member in members)
    return blake3(lines.encode()).hexdigest()


def sidecar_v1(golden: Golden, data: bytes) -> bytes:
    """The sidecar as version 1.0 wrote it; it has one chunk, as all golden archives are small."""
    digest = hashlib.sha256(data).hexdigest()
    head = data[: data.index(b"\n---") + 49 + 16]
    manifest = golden.manifest()
    document: dict[str, Any] = {"format": "drunner-vault-sidecar", "version": 1, "archive": golden.file}
    document |= {"size": len(data), "sha256": digest, "chunks": [digest], "chunk_size": 16777216}
    document |= {"age_header": base64.b64encode(head).decode(), "recipients": ["X25519"], "id": manifest.id}
    document |= {"created": manifest.created, "host": HOST, "service": manifest.service.name}
    return json.dumps(document, indent=1).encode() + b"\n"


def hex_dump(data: bytes, base: int = 0) -> str:
    """As `hexdump -C` shows it, without its last line."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{base + at:08x}  {part[:8].hex(' '):23}  {part[8:].hex(' '):23}  |{shown}|")
    return "\n".join(lines)


def worked_example(data: bytes) -> str:
    """The archive `minimal`, frame by frame, as the specification shows it."""
    out = [f"The file has {len(data):,} bytes; its SHA-256 is `{hashlib.sha256(data).hexdigest()}`.\n"]
    for item, content in _walk(data):
        packed = data[item[0] : item[1]]
        if content:
            out.append(f"#### Byte {item[0]}: data frame of {len(packed)} bytes, {len(content)} bytes of content\n")
            out.append(f"BLAKE3 of the content: `{blake3(content).hexdigest()}`\n")
            out.append("\n".join(_tar_lines(content)) + "\n")
        else:
            magic = int.from_bytes(packed[:4], "little")
            what = {0x184D2A5D: "locator", 0x184D2A5E: "seek table"}[magic]
            out.append(f"#### Byte {item[0]}: skippable frame 0x{magic:X}, the {what}, {len(packed)} bytes\n")
            out.append("\n".join(_locator_lines(packed) if what == "locator" else _table_lines(packed)) + "\n")
        out.append("```\n" + hex_dump(packed, item[0]) + "\n```\n")
    return "\n".join(out)


def _walk(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    for item in walk(reader := ByteReader(io.BytesIO(data).read)):
        content = b""
        if isinstance(item, RawFrame):
            content = decode(item).content
        else:
            reader.exactly(item.size, "payload")
        yield (at, reader.position), content
        at = reader.position


def _tar_lines(content: bytes) -> Iterator[str]:
    """What stands in the tar of a frame, and the text of what is of interest."""
    texts = []
    at = 0
    yield "| in the frame | |\n|---|---|"
    while at < len(content):
        block = content[at : at + 512]
        if block == bytes(512):
            yield f"| {at} to {len(content) - 1} | the two zero blocks |"
            break
        name, size = block[:100].rstrip(b"\0").decode(), int(block[124:135], 8)
        kind = {b"0": "regular file", b"5": "directory"}[block[156:157]]
        body = content[at + 512 : at + 512 + size]
        yield f"| {at} to {at + 511} | header: `{name}`, {kind}, {size} bytes |"
        if size:
            yield f"| {at + 512} to {at + 511 + size} | content |"
            if name != "RECOVER.txt":
                texts.append(f"\n`{name}`:\n\n```\n{body.decode().rstrip()}\n```")
        if padding := -size % 512:
            yield f"| {at + 512 + size} to {at + 511 + size + padding} | padding |"
        at += 512 + size + -size % 512
    yield from texts


def _locator_lines(packed: bytes) -> Iterator[str]:
    offset, compressed, content, number, flags = struct.unpack_from("<QIIII", packed, 16)
    (members,) = struct.unpack_from("<Q", packed, 56)
    yield "| offset | field | value |\n|---|---|---|"
    yield f"| 0 | magic, size of payload | 0x184D2A5D, {int.from_bytes(packed[4:8], 'little')} |"
    yield f"| 8 | tag | `{packed[8:16].decode()}` |"
    yield f"| 16 | offset of the closing | {offset} |"
    yield f"| 24, 28 | its bytes, packed and not | {compressed}, {content} |"
    yield f"| 32, 36 | number of its first frame, flags | {number}, {flags} |"
    yield f"| 40 | SHA-256 of the packed closing, first 16 bytes | `{packed[40:56].hex()}` |"
    yield f"| 56 | offset of the first shard of members | {members} |"


def _table_lines(packed: bytes) -> Iterator[str]:
    yield "| frame | bytes | bytes of content |\n|---|---|---|"
    for number, (compressed, content) in enumerate(struct.iter_unpack("<II", packed[8:-9])):
        yield f"| {number} | {compressed} | {content} |"
    count, descriptor, magic = struct.unpack("<IBI", packed[-9:])
    yield f"| footer | {count} frames, descriptor {descriptor} | 0x{magic:X} |"


def write_worked_example() -> None:
    """Put the example into the specification, between its two marks."""
    text = SPECIFICATION.read_text()
    head, _, rest = text.partition("<!-- worked example -->\n")
    _, _, tail = rest.partition("<!-- end of the worked example -->\n")
    example = worked_example((GOLDEN / "minimal.tar.zst").read_bytes())
    marks = "<!-- worked example -->\n", "<!-- end of the worked example -->\n"
    SPECIFICATION.write_text(f"{head}{marks[0]}\n{example}\n{marks[1]}{tail}")


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.glob("*"):
        if old.suffix != ".md":
            old.unlink()
    identity = X25519Identity(IDENTITY)
    (GOLDEN / "identity.txt").write_text(f"# public key: {identity.recipient()}\n{identity}\n")
    (GOLDEN / "allowed_signers").write_text(vectors.allowed_line(SIGNER_SEED, HOST))
    (GOLDEN / "passphrase.txt").write_text(PASSPHRASE + "\n")
    for golden in ALL:
        data = golden.data()
        (GOLDEN / golden.file).write_bytes(data)
        if golden.sidecar:
            (GOLDEN / f"{golden.file}.json").write_bytes(sidecar_v1(golden, data))
        expected = json.dumps(listing(golden, data, golden.stream()), indent=1) + "\n"
        (GOLDEN / f"{golden.name}.expect.json").write_text(expected)
        sys.stdout.write(f"{golden.file}: {len(data):,} bytes\n")
    write_worked_example()


if __name__ == "__main__":
    main()
