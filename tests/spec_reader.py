"""A reader of archives written from docs/archive-spec.md alone. It shares no code with the program, only the format.

Section numbers are the specification's. It holds a whole archive in memory, reads nothing beyond the profile that
writers have to keep to, and refuses everything that section 9 tells a reader to refuse.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAX_FRAME = 8 << 20
MAX_MANIFEST = 4 << 20
MAX_ROOT = 64 << 20
MAX_SIGNATURE = 64 << 10
MAX_EXTENDED = 8 << 20
MAX_WORK_FACTOR = 20
PLACES = [b"manifest.json", b"RECOVER.txt", b"scripts", b"images", b"hook", b"volumes", b"index"]


class Refused(Exception):
    """Why an archive is not accepted. kind: not-an-archive, unsupported, damaged, key or untrusted."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind


def need(condition: object, why: str, kind: str = "damaged") -> None:
    if not condition:
        raise Refused(kind, why)


# --- 3. age -----------------------------------------------------------------------------------------------------------


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt or None, info).derive(key)


def unpadded(text: bytes) -> bytes:
    """Canonical base64 without padding."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError as cause:
        raise Refused("damaged", "the age header has something that is not base64") from cause
    need(base64.b64encode(data).rstrip(b"=") == text, "the age header has base64 that is not canonical")
    return data


def age_header(data: bytes) -> tuple[list[tuple[list[bytes], bytes]], bytes, int]:
    """Stanzas, MAC, and where the header ends."""
    lines = data[: 1 << 20].split(b"\n")
    need(re.fullmatch(rb"age-encryption\.org/[!-~]+", lines[0]), "the age header's first line is malformed")
    need(lines[0] == b"age-encryption.org/v1", "an unknown version of age", "unsupported")
    stanzas: list[tuple[list[bytes], bytes]] = []
    at, end = 1, len(lines[0]) + 1

    def take() -> bytes:
        nonlocal at, end
        need(at < len(lines) - 1, "the file ends inside its age header")
        at, end = at + 1, end + len(lines[at]) + 1
        return lines[at - 1]

    while (line := take())[:3] != b"---":
        need(re.fullmatch(rb"->( [!-~]+)+", line), "the age header has a malformed line")
        body = b""
        while len(part := take()) == 64:
            body += part
        need(len(part) < 64, "the age header has a line of more than 64 columns")
        stanzas.append((line.split(b" ")[1:], unpadded(body + part)))
    need(line[:4] == b"--- ", "the age header's last line is malformed")
    mac = unpadded(line[4:])
    need(len(mac) == 32 and stanzas, "the age header has no MAC or no stanza")
    return stanzas, mac, end


def unwrap(stanza: tuple[list[bytes], bytes], x25519: bytes | None, passphrase: str | None) -> bytes | None:
    """The file key, if this stanza gives it to us."""
    (kind, *arguments), body = stanza
    if kind == b"X25519" and x25519 is not None:
        need(len(arguments) == 1 and len(body) == 32, "an X25519 stanza is malformed")
        share, secret = unpadded(arguments[0]), X25519PrivateKey.from_private_bytes(x25519)
        need(len(share) == 32, "an X25519 stanza is malformed")
        try:
            shared = secret.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as cause:
            raise Refused("damaged", "an X25519 share of low order") from cause
        key = hkdf(shared, share + secret.public_key().public_bytes_raw(), b"age-encryption.org/v1/X25519")
    elif kind == b"scrypt" and passphrase is not None:
        need(len(arguments) == 2 and len(body) == 32, "a scrypt stanza is malformed")
        salt = unpadded(arguments[0])
        need(len(salt) == 16 and re.fullmatch(rb"[1-9][0-9]*", arguments[1]), "a scrypt stanza is malformed")
        need(len(arguments[1]) < 3 and int(arguments[1]) <= MAX_WORK_FACTOR, "too much scrypt", "unsupported")
        kdf = Scrypt(b"age-encryption.org/v1/scrypt" + salt, 32, 1 << int(arguments[1]), 8, 1)
        key = kdf.derive(passphrase.encode())
    else:
        return None
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), body, None)
    except InvalidTag:
        return None


def decrypt(data: bytes, x25519: bytes | None, passphrase: str | None) -> bytes:
    stanzas, mac, end = age_header(data)
    need(len(stanzas) == 1 or all(s[0][0] != b"scrypt" for s in stanzas), "scrypt is not alone in the age header")
    keys = (unwrap(stanza, x25519, passphrase) for stanza in stanzas)
    file_key = next((key for key in keys if key), None)
    if file_key is None:
        raise Refused("key", "nothing we have opens this archive")
    covered = data[: data.index(b"\n---") + 4]
    need(hmac.compare_digest(hmac.digest(hkdf(file_key, b"", b"header"), covered, "sha256"), mac), "age header altered")
    need(len(data) >= end + 16, "the file ends before its nonce")
    cipher = ChaCha20Poly1305(hkdf(file_key, data[end : end + 16], b"payload"))
    plain, sealed = [], data[end + 16 :]
    count = max(1, -(-len(sealed) // 65552))
    for number in range(count):
        last = number == count - 1
        chunk = sealed[number * 65552 : (number + 1) * 65552]
        try:
            plain.append(cipher.decrypt(number.to_bytes(11, "big") + bytes([last]), chunk, None))
        except InvalidTag as cause:
            raise Refused("damaged", f"age chunk {number} is not authentic") from cause
        need(plain[-1] or not number, "an empty last chunk")
    return b"".join(plain)


# --- 4. frames --------------------------------------------------------------------------------------------------------


@dataclass
class Frame:
    offset: int
    packed: bytes
    content: bytes

    def row(self, number: int) -> dict[str, Any]:
        digests = {"blake3": blake3(self.content).hexdigest(), "packed": blake3(self.packed).hexdigest()}
        sizes = {"offset": self.offset, "compressed": len(self.packed), "content": len(self.content)}
        return {"frame": number, **sizes, **digests}


def frames_of(data: bytes) -> tuple[list[Frame], list[tuple[int, bytes]]]:
    """The data frames, and magic and payload of the skippable frames after them. The whole stream is accounted for."""
    need(data[:4] == b"\x28\xb5\x2f\xfd" or u32(data, 0) & ~15 == 0x184D2A50, "no zstd frame", "not-an-archive")
    frames: list[Frame] = []
    skippables: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        need(at + 8 <= len(data), "the stream ends inside a frame")
        if data[at : at + 4] == b"\x28\xb5\x2f\xfd":
            need(not skippables, "a data frame after a skippable one")
            end, size = frame_end(data, at)
            frames.append(Frame(at, data[at:end], decompress(data[at:end], size)))
            at = end
            continue
        need(u32(data, at) & ~15 == 0x184D2A50, f"no frame at byte {at}")
        size = u32(data, at + 4)
        need(at + 8 + size <= len(data), "the stream ends inside a skippable frame")
        skippables.append((u32(data, at), data[at + 8 : at + 8 + size]))
        at += 8 + size
    return frames, skippables


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def frame_end(data: bytes, at: int) -> tuple[int, int]:
    """Where a data frame ends, and how much content it claims (RFC 8878, 3.1.1)."""
    descriptor = data[at + 4]
    need(descriptor & 0x1F == 0x04, "a frame with a dictionary, reserved bits, or no checksum")
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    need(width, "a frame does not state its content size")
    if not single:
        exponent, mantissa = data[at + 5] >> 3, data[at + 5] & 7
        need((1 << 10 + exponent) * (8 + mantissa) // 8 <= MAX_FRAME, "a frame wants a window above 8 MiB")
    head = at + 6 - single + width
    size = int.from_bytes(data[head - width : head], "little") + (256 if width == 2 else 0)
    need(1 <= size <= MAX_FRAME, f"a frame claims {size} bytes of content")
    at, limit = head, head + size + (size >> 7) + 1024
    last = False
    while not last:
        header = int.from_bytes(data[at : at + 3], "little")
        last, kind = bool(header & 1), header >> 1 & 3
        need(kind != 3 and at + 3 <= len(data), "a malformed block")
        at += 3 + (1 if kind == 1 else header >> 3)
        need(at <= limit, "a frame has more blocks than its content can need")
    need(at + 4 <= len(data), "the stream ends inside a frame")
    return at + 4, size


def decompress(packed: bytes, size: int) -> bytes:
    try:
        content = zstandard.ZstdDecompressor(max_window_size=MAX_FRAME).decompress(packed, max_output_size=size)
    except zstandard.ZstdError as cause:
        raise Refused("damaged", f"a frame cannot be decoded: {cause}") from cause
    need(len(content) == size, "a frame holds another size than it claims")
    return content


# --- 5. tar -----------------------------------------------------------------------------------------------------------


@dataclass
class Member:
    """offset: of its first header block; content: of its stored data, after a sparse map; end: after the padding."""

    path: bytes
    type: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    link: bytes
    device: tuple[int, int]
    size: int
    segments: list[tuple[int, int]] | None
    xattrs: dict[str, bytes]
    offset: int
    content: int
    stored: int
    data: bytes = field(repr=False)

    @property
    def end(self) -> int:
        return self.content + self.stored + -(self.content + self.stored) % 512

    def row(self, first: int, count: int) -> dict[str, Any]:
        """What the index must say of it (6.1)."""
        row: dict[str, Any] = {**text("path", self.path), "type": self.type, "mode": self.mode, "uid": self.uid}
        row |= {"gid": self.gid, "mtime_ns": self.mtime_ns, "offset": self.offset, "frames": [first, count]}
        if self.link:
            row |= text("link", self.link)
        if self.device != (0, 0):
            row["device"] = list(self.device)
        if self.type == "file":
            row |= {"size": self.size, "blake3": blake3(self.data).hexdigest()}
            row |= {"content": self.content, "stored": self.stored}
        if self.segments is not None:
            row["segments"] = [list(segment) for segment in self.segments]
        if self.xattrs:
            row["xattrs"] = sorted(self.xattrs)
        return row


def text(key: str, value: bytes) -> dict[str, str]:
    try:
        return {key: value.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{key}_base64": base64.b64encode(value).decode()}


TYPES = {b"0": "file", b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir", b"6": "fifo"}


class Tar:
    """Members of a tar, until its two zero blocks; `at` is then where they end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        need(self.at + size <= len(self.data), "the tar ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def __iter__(self) -> Iterator[Member]:
        while True:
            offset, records = self.at, dict[bytes, bytes]()
            block = self.block()
            if block is not None and block[156:157] == b"x":
                records = self.records(octal(block[124:136]))
                block = self.block()
                need(block is not None, "an extended header without a member")
            if block is None:
                need(self.take(512) == bytes(512), "one zero block where two must be")
                return
            yield self.member(block, records, offset)

    def block(self) -> bytes | None:
        block = self.take(512)
        if block == bytes(512):
            return None
        need(sum(block) - sum(block[148:156]) + 256 == octal(block[148:156]), "a header with a wrong checksum")
        need(block[257:265] == b"ustar\x0000", "a header that is not POSIX")
        return block

    def records(self, size: int) -> dict[bytes, bytes]:
        need(size <= MAX_EXTENDED, "an extended header above 8 MiB")
        body, found, at = self.take(size), dict[bytes, bytes](), 0
        self.take(-size % 512)
        while at < len(body):
            match = re.compile(rb"([0-9]{1,10}) ").match(body, at)
            need(match, "a malformed extended header")
            end = at + int(match[1]) if match else 0
            key, equals, value = body[match.end() if match else 0 : end - 1].partition(b"=")
            need(end <= len(body) and equals and body[end - 1 : end] == b"\n", "a malformed extended header")
            found[key] = value
            at = end
        return found

    def member(self, block: bytes, records: dict[bytes, bytes], offset: int) -> Member:
        kind = TYPES.get(block[156:157])
        if kind is None:
            raise Refused("damaged", f"a member of type {block[156:157]!r}")
        size = decimal(records[b"size"]) if b"size" in records else octal(block[124:136])
        need(kind == "file" or size == 0, "a member other than a file has data")
        name = records.get(b"path") or block[:100].rstrip(b"\0")
        segments = None
        if b"GNU.sparse.major" in records:
            name = records.get(b"GNU.sparse.name", b"")
            need(kind == "file", "holes in something other than a file")
            segments, size, real = self.sparse(records, size)
        content, data = self.at, self.take(size)
        self.take(-size % 512)
        need(name.endswith(b"/") == (kind == "dir"), "a slash at the end of a name, or none after a directory's")
        return Member(
            path=name.removesuffix(b"/"),
            type=kind,
            mode=octal(block[100:108]) & 0o7777,
            uid=decimal(records[b"uid"]) if b"uid" in records else octal(block[108:116]),
            gid=decimal(records[b"gid"]) if b"gid" in records else octal(block[116:124]),
            mtime_ns=nanoseconds(records[b"mtime"]) if b"mtime" in records else octal(block[136:148]) * 10**9,
            link=(records.get(b"linkpath") or block[157:257].rstrip(b"\0")) if kind in ("symlink", "hardlink") else b"",
            device=(octal(block[329:337]), octal(block[337:345])) if kind in ("char", "block") else (0, 0),
            size=size if segments is None else real,
            segments=segments,
            xattrs={attribute(key): value for key, value in records.items() if key.startswith(b"SCHILY.xattr.")},
            offset=offset,
            content=content,
            stored=size,
            data=data,
        )

    def sparse(self, records: dict[bytes, bytes], size: int) -> tuple[list[tuple[int, int]], int, int]:
        version = records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")
        need(version == (b"1", b"0"), "holes in a form other than 1.0")
        real = decimal(records.get(b"GNU.sparse.realsize", b""))
        start, numbers = self.at, list[int]()
        while not numbers or len(numbers) < 1 + 2 * numbers[0]:
            end = self.data.find(b"\n", self.at, min(self.at + 21, start + size))
            need(end >= 0, "a sparse map that does not end")
            numbers.append(decimal(self.take(end - self.at)))
            self.take(1)
        self.take(-(self.at - start) % 512)
        segments = list(zip(numbers[1::2], numbers[2::2], strict=True))
        at = 0
        for offset, length in segments:
            need(offset >= at, "runs of a file with holes overlap")
            at = offset + length
        left = size - (self.at - start)
        need(at <= real and sum(length for _, length in segments) == left, "a sparse map that does not fit its file")
        return segments, left, real


def octal(data: bytes) -> int:
    digits = data.rstrip(b"\0 ")
    need(re.fullmatch(rb"[0-7]+", digits), f"{data!r} where an octal number must be")
    return int(digits, 8)


def decimal(data: bytes) -> int:
    need(re.fullmatch(rb"[0-9]{1,20}", data), f"{data[:30]!r} where a number must be")
    return int(data)


def nanoseconds(data: bytes) -> int:
    match = re.fullmatch(rb"(-?)([0-9]{1,20})(?:\.([0-9]{1,9}))?", data)
    if match is None:
        raise Refused("damaged", f"{data[:30]!r} where a time must be")
    value = int(match[2]) * 10**9 + int((match[3] or b"").ljust(9, b"0"))
    return -value if match[1] else value


def attribute(key: bytes) -> str:
    name = key.removeprefix(b"SCHILY.xattr.").decode("utf-8", "surrogateescape")
    return name.replace("%3D", "=").replace("%25", "%")


# --- 6. manifest, index, root -----------------------------------------------------------------------------------------


def parse(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object without duplicate keys."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(pairs)) == len(pairs), f"a key is there twice in {what}")
        return dict(pairs)

    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as cause:
        raise Refused("damaged", f"{what} is no JSON") from cause
    need(isinstance(document, dict), f"{what} is no object")
    return dict(document)


def typed(document: dict[str, Any], what: str, **types: type) -> None:
    for key, kind in types.items():
        value = document.get(key)
        need(type(value) is kind, f"{what}: {key} is not as it must be")
        if kind is int:
            need(value >= 0, f"{what}: {key} is negative")


def check_manifest(data: bytes) -> dict[str, Any]:
    document = parse(data, "the manifest")
    need(document.get("format") == "drunner-vault", "the manifest is of another format", "not-an-archive")
    need(type(document.get("version")) is int and document["version"] == 1, "another version", "unsupported")
    features = document.get("features", [])
    need(isinstance(features, list) and all(isinstance(f, str) for f in features), "features is no list of texts")
    need(not features, f"features {features} are not known", "unsupported")
    typed(document, "the manifest", id=str, created=str, tool=str, host=str, service=dict, images=list, volumes=list)
    typed(document["service"], "the service", kind=str, name=str, image=str, uid=int)
    for volume in document["volumes"]:
        need(isinstance(volume, dict), "a volume is no object")
        typed(volume, "a volume", name=str, path=str)
        need(not re.search("[\ud800-\udfff]", volume["name"]), "a volume's name is no Unicode text")
    return document


def check_order(members: list[Member], volumes: set[bytes]) -> None:
    """5.4 and 5.5: names, places and their order, in the order of the tar."""
    place, done, run = -1, set[tuple[bytes, ...]](), ()
    last: tuple[bytes, ...] = ()
    directories: list[tuple[bytes, ...]] = []
    for member in members:
        parts = tuple(member.path.split(b"/"))
        need(not any(part in (b"", b".", b"..") or b"\0" in part for part in parts), f"the name {member.path!r}")
        need(parts[0] in PLACES, f"{member.path!r} has no place")
        rank = PLACES.index(parts[0])
        need(rank >= place and (rank > 1 or len(parts) == 1), f"{member.path!r} is out of its place")
        place = rank
        if parts[0] not in (b"hook", b"volumes"):
            need(parts not in done, f"{member.path!r} is there twice")
            done.add(parts)
            continue
        depth = 2 if parts[0] == b"volumes" else 1
        need(depth == 1 or (parts[1:2] and parts[1] in volumes), f"{member.path!r} is in no volume of the manifest")
        if parts[:depth] != run:
            need(len(parts) == depth and member.type == "dir" and parts not in done, f"{member.path!r} out of order")
            done.add(parts)
            run, directories = parts, [parts]
        else:
            need(parts > last, f"{member.path!r} is there twice, or out of order")
            while directories and directories[-1] != parts[: len(directories[-1])]:
                directories.pop()
            need(directories and directories[-1] == parts[:-1], f"{member.path!r} is in no directory")
            if member.type == "hardlink":
                check_link(member, tuple(member.link.split(b"/")), parts, run)
            if member.type == "dir":
                directories.append(parts)
        last = parts


def check_link(member: Member, target: tuple[bytes, ...], parts: tuple[bytes, ...], run: tuple[bytes, ...]) -> None:
    safe = not any(part in (b"", b".", b"..") or b"\0" in part for part in target)
    need(safe and target[: len(run)] == run and target < parts, f"{member.path!r} is a link to no earlier member")


@dataclass
class Archive:
    manifest: dict[str, Any]
    root: dict[str, Any]
    root_bytes: bytes
    signature: bytes | None
    members: list[Member]
    frames: list[Frame]


def component(path: bytes) -> str:
    parts = path.split(b"/", 2)
    return b"/".join(parts[: 2 if parts[0] == b"volumes" else 1]).decode("utf-8", "backslashreplace")


class Reader:
    """Reads one archive from its zstd stream, in the order of section 9."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream
        self.frames, self.skippables = frames_of(stream)
        need(self.frames, "the archive does not begin with a data frame")
        self.starts = [0]
        for frame in self.frames:
            self.starts.append(self.starts[-1] + len(frame.content))

    def frame_at(self, offset: int) -> int:
        return bisect_right(self.starts, offset) - 1

    def read(self) -> Archive:
        tar = Tar(b"".join(frame.content for frame in self.frames))
        members = iter(tar)
        first = self.first(members)
        manifest = check_manifest(first.data)
        everything = [first, *members]
        need(tar.at == len(tar.data), "data after the end of the tar")
        names = {volume["name"].encode() for volume in manifest["volumes"]}
        check_order(everything, names)
        data = [member for member in everything if not member.path.startswith(b"index")]
        index = everything[len(data) :]
        need(index, "the archive has no index")
        for member in [*data[:1], *index]:
            need(member.type == "file" and member.segments is None, f"{member.path!r} is no plain file")
        root, signature, closing = self.index(manifest, data, index, first.data)
        self.trailer(closing)
        parsed = parse(root, "the root")
        return Archive(manifest, parsed, root, signature, data, self.frames)

    def first(self, members: Iterator[Member]) -> Member:
        try:
            first = next(members, None)
        except Refused as cause:
            raise Refused("not-an-archive", "it holds no tar") from cause
        if first is None or first.path != b"manifest.json" or len(first.data) > MAX_MANIFEST:
            raise Refused("not-an-archive", "it has no manifest in front")
        return first

    def index(
        self, manifest: dict[str, Any], data: list[Member], index: list[Member], raw: bytes
    ) -> tuple[bytes, bytes | None, int]:
        """6: shards, root, signature. Returns the root, the signature, and the number of the closing's first frame."""
        shards = [member for member in index if member.path.endswith(b".jsonl")]
        rest = index[len(shards) :]
        names = [member.path for member in rest]
        allowed = ([b"index/root.json"], [b"index/root.json", b"index/root.json.sig"])
        need(index[: len(shards)] == shards and names in allowed, "the index is not in order")
        need(len(rest[0].data) <= MAX_ROOT, "a root above 64 MiB")
        need(len(rest) < 2 or len(rest[1].data) <= MAX_SIGNATURE, "a signature above 64 KiB")
        begin, closing = self.aligned(index[0]), self.aligned(rest[0])
        kinds = [b"members" if b"members" in shard.path else b"frames" for shard in shards]
        expected = [b"index/%b-%06d.jsonl" % (kind, kinds[:at].count(kind)) for at, kind in enumerate(kinds)]
        need([shard.path for shard in shards] == expected, "shards are not numbered in order")
        need(kinds == sorted(kinds), "shards of members come before those of frames")
        rows = [self.member_row(member) for member in data]
        frame_rows = [frame.row(number) for number, frame in enumerate(self.frames[:begin])]
        placed = []
        for shard, kind in zip(shards, kinds, strict=True):
            placed.append(self.shard(shard, rows if kind == b"members" else frame_rows))
        need(not rows and not frame_rows, "the index does not list everything")
        self.root(parse(rest[0].data, "the root"), data, begin, placed, raw)
        self.members = next((p["offset"] for p in placed if "members" in p["name"]), self.frames[closing].offset)
        return rest[0].data, rest[1].data if len(rest) > 1 else None, closing

    def aligned(self, member: Member) -> int:
        number = self.frame_at(member.offset)
        need(self.starts[number] == member.offset, f"{member.path!r} does not begin a frame")
        return number

    def member_row(self, member: Member) -> dict[str, Any]:
        if not member.stored:
            return member.row(self.frame_at(member.content - 1), 0)
        first = self.frame_at(member.content)
        return member.row(first, self.frame_at(member.content + member.stored - 1) - first + 1)

    def shard(self, shard: Member, expected: list[dict[str, Any]]) -> dict[str, Any]:
        """Compares and consumes the rows that a shard lists; returns what the root must say of it."""
        number = self.aligned(shard)
        frame = self.frames[number]
        need(self.starts[number + 1] == shard.end, "a shard is not alone in its frame")
        lines = shard.data.split(b"\n")
        need(lines.pop() == b"" and lines, "a shard does not end in a newline")
        found = [parse(line, "a row") for line in lines]
        for row in found:
            need(expected, "the index lists more than there is")
            ours = expected.pop(0)
            need({key: row.get(key) for key in ours} == ours, f"the index disagrees with the tar on {ours}")
        ends = [str(row.get("path", row.get("path_base64", row.get("frame")))) for row in (found[0], found[-1])]
        described = frame.row(number)
        return {
            "name": shard.path.decode(),
            "rows": len(lines),
            "blake3": blake3(shard.data).hexdigest(),
            "first": ends[0],
            "last": ends[1],
            "skip": shard.content - shard.offset,
            **{key: described[key] for key in ("frame", "offset", "compressed", "content", "packed")},
        }

    def root(
        self, root: dict[str, Any], data: list[Member], frames: int, shards: list[dict[str, Any]], raw: bytes
    ) -> None:
        need(root.get("format") == "drunner-vault" and root.get("version") == 1, "the root is of another format")
        types = {"members": int, "content": int, "frames": int, "tar_size": int, "problem_count": int}
        typed(root, "the root", manifest=str, finished=str, components=dict, problems=list, shards=list, **types)
        parts: dict[str, dict[str, int]] = {}
        for member in data:
            part = parts.setdefault(component(member.path), {"members": 0, "content": 0, "offset": member.offset})
            part["members"] += 1
            part["content"] += member.stored
            part["end"] = member.end
        truth = {
            "manifest": blake3(raw).hexdigest(),
            "members": len(data),
            "content": sum(member.stored for member in data),
            "frames": frames,
            "tar_size": data[-1].end,
            "components": parts,
        }
        for key, value in truth.items():
            need(root[key] == value, f"the root states another {key}")
        need(len(root["shards"]) == len(shards), "the root lists other shards")
        for stated, seen in zip(root["shards"], shards, strict=True):
            need(isinstance(stated, dict) and {key: stated.get(key) for key in seen} == seen, "the root lists others")

    def trailer(self, closing: int) -> None:
        """7: padding, locator, seek table, and nothing else."""
        frames = self.frames[closing:]
        packed = b"".join(frame.packed for frame in frames)
        content = sum(len(frame.content) for frame in frames)
        locator = struct.pack("<8sQIIII", b"DRVAULT1", frames[0].offset, len(packed), content, closing, 0)
        locator += hashlib.sha256(packed).digest()[:16] + struct.pack("<Q", self.members)
        need(len(self.skippables) >= 2, "locator or seek table are missing")
        *padding, (locator_magic, stated), (table_magic, table) = self.skippables
        for magic, payload in padding:
            need(magic == 0x184D2A5C, "a skippable frame out of place")
            need(payload.count(0) == len(payload), "padding that is not zero")
        need(locator_magic == 0x184D2A5D and stated == locator, "the locator does not point at the closing")
        sizes = [(len(frame.packed), len(frame.content)) for frame in self.frames]
        sizes += [(8 + len(payload), 0) for _, payload in self.skippables[:-1]]
        expected = b"".join(struct.pack("<II", *entry) for entry in sizes)
        expected += struct.pack("<IBI", len(sizes), 0, 0x8F92EAB1)
        need(table_magic == 0x184D2A5E and table == expected, "the seek table does not match the frames")


def read_archive(data: bytes, x25519: bytes | None = None, passphrase: str | None = None) -> Archive:
    """A whole archive, proven. x25519: the 32 bytes of an identity. Raises Refused."""
    if data.startswith(b"age-encryption.org/"):
        data = decrypt(data, x25519, passphrase)
    return Reader(data).read()


# --- 8. who made it; 10. restoring ------------------------------------------------------------------------------------


def check_signature(archive: Archive, allowed_signers: str) -> None:
    """Raises Refused unless the root is signed by a key that is allowed for the host of the manifest."""
    need(archive.signature, "the archive is not signed", "untrusted")
    match = re.fullmatch(
        rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]+)\n-----END SSH SIGNATURE-----\n", archive.signature or b""
    )
    need(match, "the signature is no SSHSIG", "untrusted")
    blob = base64.b64decode(match[1] if match else b"")
    need(blob[:10] == b"SSHSIG\0\0\0\1", "the signature is no SSHSIG of version 1", "untrusted")
    key, namespace, _, digest, signature = strings(blob[10:])
    need(namespace == b"drunner-vault-archive" and digest == b"sha512", "a signature for another use", "untrusted")
    allowed = set()
    for line in allowed_signers.splitlines():
        principal, options, kind, encoded = line.split(" ")
        if principal == archive.manifest["host"] and options == 'namespaces="drunner-vault-archive"':
            allowed.add((kind, base64.b64decode(encoded)))
    need(("ssh-ed25519", key) in allowed, "signed by a key that is not trusted for this host", "untrusted")
    signed = b"SSHSIG" + b"".join(
        struct.pack(">I", len(part)) + part
        for part in (namespace, b"", digest, hashlib.sha512(archive.root_bytes).digest())
    )
    try:
        Ed25519PublicKey.from_public_bytes(strings(key)[1]).verify(strings(signature)[1], signed)
    except InvalidSignature as cause:
        raise Refused("untrusted", "the signature is not of this root") from cause


def strings(data: bytes) -> list[bytes]:
    found = []
    while data:
        (size,) = struct.unpack(">I", data[:4])
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def check_restorable(archive: Archive) -> None:
    """What a restore has to refuse beyond what reading does. Raises Refused."""
    kinds = {member.path: member.type for member in archive.members}
    for member in archive.members:
        need(max(member.uid, member.gid) < (1 << 32) - 1, f"{member.path!r} has an owner that no system has")
        need(max(member.device) < 1 << 32, f"{member.path!r} is a device that no system has")
        need(-(1 << 63) <= member.mtime_ns // 10**9 < 1 << 63, f"{member.path!r} is of a time that no system has")
        need(b"\0" not in member.link, f"{member.path!r} links to a name with a NUL")
        need(not any("\0" in name for name in member.xattrs), f"{member.path!r} has an attribute with a NUL")
        if member.type == "hardlink":
            need(kinds.get(member.link, "dir") != "dir", f"{member.path!r} links to no file")
