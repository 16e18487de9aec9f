"""Archives that break one promise each, for readers to refuse: `python -m support.vectors` writes them.

They are made without the program's own writer and with uncompressed zstd blocks, so they are the same bytes on every
machine and with every version of zstd. What each one is for stands in formats/vectors/vectors.json.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

FORMATS = Path(__file__).resolve().parents[2] / "formats"
VECTORS = FORMATS / "vectors"
MTIME = 1_769_828_400
NAMESPACE = b"drunner-vault-archive"
HOST = "golden.example"
PASSPHRASE = "correct horse battery staple"
IDENTITY = bytes(range(1, 33))
STRANGER = bytes(range(101, 133))
SIGNER_SEED = bytes(range(33, 65))
OTHER_SIGNER_SEED = bytes(range(65, 97))
Edit = Callable[[Any], Any]


# --- zstd -------------------------------------------------------------------------------------------------------------


def checksum(content: bytes) -> bytes:
    """The low four bytes of XXH64, as zstd puts them at a frame's end."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)[-4:]


def raw_blocks(content: bytes) -> bytes:
    """Blocks that hold the content as it is, and long runs of one byte as such."""
    parts: list[tuple[int, int, bytes]] = []
    at = 0
    for run in re.finditer(rb"(?s)(.)\1{15,131071}", content):
        parts += _stored(content[at : run.start()])
        parts.append((1, len(run[0]), run[1]))
        at = run.end()
    parts += _stored(content[at:])
    parts = parts or [(0, 0, b"")]
    blocks = []
    for number, (kind, size, data) in enumerate(parts):
        blocks.append(((number == len(parts) - 1) | kind << 1 | size << 3).to_bytes(3, "little") + data)
    return b"".join(blocks)


def _stored(content: bytes) -> list[tuple[int, int, bytes]]:
    pieces = [content[at : at + 131072] for at in range(0, len(content), 131072)]
    return [(0, len(piece), piece) for piece in pieces]


def zframe(content: bytes, *, claim: int | None = None, descriptor: int = 0xA4, tail: bytes | None = None) -> bytes:
    """One frame. claim: the content size its header states. descriptor: single segment, size in 4 bytes, checksum."""
    size = len(content) if claim is None else claim
    end = checksum(content) if tail is None else tail
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + struct.pack("<I", size) + raw_blocks(content) + end


def skippable(magic: int, payload: bytes) -> bytes:
    return struct.pack("<II", magic, len(payload)) + payload


# --- tar --------------------------------------------------------------------------------------------------------------


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def ustar(name: bytes, flag: bytes = b"0", size: int = 0, link: bytes = b"", **fields: Any) -> bytes:
    """One header block. fields: mode, uid, gid, mtime, major, minor; `raw` replaces bytes, `checksum` the checksum."""
    octal = {"mode": 0o644, "uid": 0, "gid": 0, "mtime": MTIME, "major": 0, "minor": 0}
    octal |= {key: value for key, value in fields.items() if key in octal}
    block = bytearray(512)
    block[:100] = name[:100].ljust(100, b"\0")
    block[100:124] = b"%07o\0%07o\0%07o\0" % (octal["mode"], octal["uid"], octal["gid"])
    block[124:148] = b"%011o\0%011o\0" % (size, octal["mtime"])
    block[156:157] = flag
    block[157:257] = link[:100].ljust(100, b"\0")
    block[257:265] = b"ustar\x0000"
    block[329:345] = b"%07o\0%07o\0" % (octal["major"], octal["minor"])
    for offset, data in fields.get("raw", {}).items():
        block[offset : offset + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = fields.get("checksum") or b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: dict[bytes, bytes]) -> bytes:
    """An extended header with its records."""
    body = b"".join(_record(key, value) for key, value in records.items())
    return ustar(b"PaxHeaders/x", b"x", len(body), mtime=0) + padded(body)


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


@dataclass
class Item:
    """A member: its header bytes, its data, and what the index says of it. kind: as in the index."""

    name: bytes
    data: bytes = b""
    kind: str = "file"
    link: bytes = b""
    records: dict[bytes, bytes] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    row: dict[str, Any] = field(default_factory=dict)
    header: bytes | None = None
    map: bytes = b""  # a sparse map that opens the data

    def head(self) -> bytes:
        if self.header is not None:
            return self.header
        flag = {"file": b"0", "hardlink": b"1", "symlink": b"2", "char": b"3", "dir": b"5"}[self.kind]
        name = self.name + b"/" if self.kind == "dir" else self.name
        extended = pax(self.records) if self.records else b""
        return extended + ustar(name, flag, len(self.map) + len(self.data), self.link, **self.fields) + self.map


def directory(name: bytes, **more: Any) -> Item:
    return Item(name, kind="dir", fields={"mode": 0o755}, row={"mode": 0o755}, **more)


def text(key: str, value: bytes) -> dict[str, str]:
    try:
        return {key: value.decode()}
    except UnicodeDecodeError:
        return {f"{key}_base64": base64.b64encode(value).decode()}


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


def _row(line: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def same(value: Any) -> Any:
    return value


# --- an archive -------------------------------------------------------------------------------------------------------


MANIFEST: dict[str, Any] = {
    "format": "drunner-vault",
    "version": 1,
    "id": "00112233445566778899aabbccddeeff",
    "created": "2026-01-31T03:00:00Z",
    "tool": "test vectors",
    "host": HOST,
    "service": {"kind": "drunner", "name": "notes", "image": "notes:1", "uid": 1000, "settings": {}},
    "images": [],
    "volumes": [{"name": "data", "path": "/data", "driver": "local", "options": {}, "labels": {}, "access": "host"}],
    "hook": True,
    "level": 3,
    "features": [],
    "frames": {"content_frame": 1048576, "large_member": 131072, "max_frame_content": 8388608},
}
MANIFEST["volumes"][0]["lost"] = []


def volume(*extra: Item) -> list[Item]:
    """A volume with one file, and what a vector adds to it."""
    return [directory(b"volumes/data"), Item(b"volumes/data/hello", b"Hello, 2045!\n"), *extra]


@dataclass
class Forge:
    """Builds an archive. Every `edit_*` may change what it is given; by default all is as it must be."""

    items: list[Item] = field(default_factory=volume)
    manifest: Any = field(default_factory=lambda: json.loads(json.dumps(MANIFEST)))
    edit_rows: Edit = same
    edit_frames: Edit = same
    edit_root: Edit = same
    edit_root_bytes: Edit = same
    edit_shards: Edit = same  # [(name, lines)]
    edit_locator: Edit = same  # dict of fields
    edit_table: Edit = same  # [(compressed, content)]
    edit_table_bytes: Edit = same
    edit_trailer: Edit = same  # [frame bytes]
    edit_data: Edit = same  # [content of each data frame]
    edit_packed: Edit = same  # [bytes of each data frame]
    join: str = ""  # data: the first shard ends the last data frame; shards: they share one; split: the last has two
    first: list[Item] | None = None
    end: bytes = bytes(1024)
    closing_items: list[Item] = field(default_factory=list)
    signer: bytes | None = None
    edit_signature: Edit = same

    def build(self) -> bytes:
        self._out = b""
        self._sizes: list[tuple[int, int]] = []
        raw = self.manifest if isinstance(self.manifest, bytes) else json.dumps(self.manifest).encode() + b"\n"
        self._manifest = raw
        first = [Item(b"manifest.json", raw)] if self.first is None else self.first
        self._rows: list[dict[str, Any]] = []
        self._parts: dict[str, dict[str, int]] = {}
        self._tar_size = 0
        frames = self._data([first, [Item(b"RECOVER.txt", b"age, zstd, tar\n"), *self.items]])
        self._index(self._write_data(frames))
        return self._out

    def _emit(self, packed: bytes, content: int) -> int:
        self._sizes.append((len(packed), content))
        self._out += packed
        return len(self._sizes) - 1

    def _data(self, groups: list[list[Item]]) -> list[bytes]:
        frames = []
        for number, group in enumerate(groups):
            frame = b""
            for item in group:
                head = item.head()
                self._note(item, number, self._tar_size + len(frame), len(head))
                frame += head + padded(item.data)
            self._tar_size += len(frame)
            frames.append(frame)
        return frames

    def _note(self, item: Item, frame: int, offset: int, head: int) -> None:
        row: dict[str, Any] = {**text("path", item.name), "type": item.kind, "mode": 0o644, "uid": 0, "gid": 0}
        row |= {"mtime_ns": MTIME * 10**9, "offset": offset}
        if item.link:
            row |= text("link", item.link)
        if item.kind == "file":
            row |= {"size": len(item.data), "blake3": blake3(item.data).hexdigest()}
            row |= {"content": offset + head, "stored": len(item.data)}
        row["frames"] = [frame, 1 if item.data else 0]
        self._rows.append({key: value for key, value in {**row, **item.row}.items() if value is not None})
        parts = item.name.split(b"/", 2)
        name = b"/".join(parts[: 2 if parts[0] == b"volumes" else 1]).decode("utf-8", "backslashreplace")
        part = self._parts.setdefault(name, {"members": 0, "content": 0, "offset": offset, "end": 0})
        part["members"] += 1
        part["content"] += len(item.data)
        part["end"] = offset + head + len(padded(item.data))

    def _write_data(self, frames: list[bytes]) -> list[dict[str, Any]]:
        contents = self.edit_data(frames)
        packed = self.edit_packed([zframe(content) for content in contents])
        described = []
        self._held = contents.pop() if self.join == "data" else b""
        for number, (content, frame) in enumerate(zip(contents, packed, strict=self.join != "data")):
            described.append(
                {
                    "frame": number,
                    "offset": len(self._out),
                    "compressed": len(frame),
                    "content": len(content),
                    "blake3": blake3(content).hexdigest(),
                    "packed": blake3(frame).hexdigest(),
                }
            )
            self._emit(frame, len(content))
        return described

    def _index(self, frame_rows: list[dict[str, Any]]) -> None:
        data_frames = len(frame_rows)
        shards = [
            ("index/frames-000000.jsonl", lines(self.edit_frames(frame_rows))),
            ("index/members-000000.jsonl", lines(self.edit_rows(self._rows))),
        ]
        placed = self._shards(self.edit_shards(shards))
        self._members = next((shard["offset"] for shard in placed if "members" in shard["name"]), len(self._out))
        root: dict[str, Any] = {
            "format": "drunner-vault",
            "version": 1,
            "manifest": blake3(self._manifest).hexdigest(),
            "finished": "2026-01-31T03:00:01Z",
            "members": len(self._rows),
            "content": sum(part["content"] for part in self._parts.values()),
            "frames": data_frames,
            "tar_size": self._tar_size,
            "components": self._parts,
            "problem_count": 0,
            "problems": [],
            "shards": placed,
        }
        root = self.edit_root(root)
        self._closing(self.edit_root_bytes(json.dumps(root).encode() + b"\n"))

    def _shards(self, shards: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
        """Each in a frame of its own, but for what `join` says."""
        if self.join != "shards":
            return [self._shard(*shard, last=shard == shards[-1]) for shard in shards]
        both = [(name, data, Item(name.encode(), data).head()) for name, data in shards]
        content = b"".join(head + padded(data) for _, data, head in both)
        place = self._place(content)
        second = len(both[0][2] + padded(both[0][1])) + len(both[1][2])
        skips = (len(both[0][2]), second)
        return [self._placed(*both[n][:2], place, skips[n]) for n in range(2)]

    def _shard(self, name: str, data: bytes, *, last: bool) -> dict[str, Any]:
        head = Item(name.encode(), data).head()
        before, self._held = self._held, b""
        if self.join == "split" and last:
            self._emit(zframe(head), len(head))
            return self._placed(name, data, self._place(padded(data)), len(head))
        return self._placed(name, data, self._place(before + head + padded(data)), len(before + head))

    def _place(self, content: bytes) -> dict[str, Any]:
        packed = zframe(content)
        offset = len(self._out)
        number = self._emit(packed, len(content))
        sizes = {"compressed": len(packed), "content": len(content), "packed": blake3(packed).hexdigest()}
        return {"frame": number, "offset": offset, **sizes}

    def _placed(self, name: str, data: bytes, place: dict[str, Any], skip: int) -> dict[str, Any]:
        rows = [_row(line) for line in data.split(b"\n")]
        rows = [row for row in rows if row] or [{}]
        names = [str(row.get("path", row.get("path_base64", row.get("frame", "")))) for row in (rows[0], rows[-1])]
        rows_of = {"rows": data.count(b"\n"), "blake3": blake3(data).hexdigest()}
        return {"name": name, **rows_of, "first": names[0], "last": names[1], **place, "skip": skip}

    def _closing(self, root: bytes) -> None:
        items = [Item(b"index/root.json", root)]
        if self.signer:
            items.append(Item(b"index/root.json.sig", self.edit_signature(sshsig(self.signer, root))))
        content = b"".join(item.head() + padded(item.data) for item in [*items, *self.closing_items]) + self.end
        packed = zframe(content)
        offset = len(self._out)
        number = self._emit(packed, len(content))
        fields = {"offset": offset, "compressed": len(packed), "content": len(content), "number": number, "flags": 0}
        fields |= {"tag": b"DRVAULT1", "digest": hashlib.sha256(packed).digest()[:16], "members": self._members}
        locator = skippable(0x184D2A5D, pack_locator(self.edit_locator(fields)))
        padding = skippable(0x184D2A5C, bytes(40))
        table = [*self._sizes, (len(padding), 0), (len(locator), 0)]
        encoded = self.edit_table_bytes(pack_table(self.edit_table(table)))
        for frame in self.edit_trailer([padding, locator, encoded]):
            self._out += frame


def pack_locator(fields: dict[str, Any]) -> bytes:
    numbers = [fields[key] for key in ("offset", "compressed", "content", "number", "flags")]
    return fields["tag"] + struct.pack("<QIIII", *numbers) + fields["digest"] + struct.pack("<Q", fields["members"])


def pack_table(entries: list[tuple[int, int]], count: int | None = None, descriptor: int = 0) -> bytes:
    body = b"".join(struct.pack("<II", *entry) for entry in entries)
    footer = struct.pack("<IBI", len(entries) if count is None else count, descriptor, 0x8F92EAB1)
    return skippable(0x184D2A5E, body + footer)


# --- signatures and age -----------------------------------------------------------------------------------------------


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def public_blob(seed: bytes) -> bytes:
    return _string(b"ssh-ed25519") + _string(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def allowed_line(seed: bytes, principal: str) -> str:
    key = base64.b64encode(public_blob(seed)).decode()
    return f'{principal} namespaces="{NAMESPACE.decode()}" ssh-ed25519 {key}\n'


def sshsig(seed: bytes, message: bytes, namespace: bytes = NAMESPACE) -> bytes:
    """An armored SSHSIG; Ed25519 signs the same every time."""
    digest = hashlib.sha512(message).digest()
    signed = b"SSHSIG" + b"".join(map(_string, (namespace, b"", b"sha512", digest)))
    value = _string(b"ssh-ed25519") + _string(Ed25519PrivateKey.from_private_bytes(seed).sign(signed))
    blob = b"SSHSIG" + struct.pack(">I", 1)
    blob += b"".join(map(_string, (public_blob(seed), namespace, b"", b"sha512", value)))
    encoded = base64.b64encode(blob).decode()
    body = [encoded[at : at + 70] for at in range(0, len(encoded), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *body, "-----END SSH SIGNATURE-----", ""]).encode()


FILE_KEY, NONCE = bytes(range(16)), bytes(range(16, 32))


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt or None, info).derive(key)


def b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def x25519_stanza(identity: bytes = IDENTITY, ephemeral: bytes = bytes(range(201, 233))) -> bytes:
    secret = X25519PrivateKey.from_private_bytes(ephemeral)
    share = secret.public_key().public_bytes_raw()
    theirs = X25519PrivateKey.from_private_bytes(identity).public_key().public_bytes_raw()
    shared = secret.exchange(X25519PublicKey.from_public_bytes(theirs))
    key = _hkdf(shared, share + theirs, b"age-encryption.org/v1/X25519")
    return b"-> X25519 " + b64(share) + b"\n" + b64(ChaCha20Poly1305(key).encrypt(bytes(12), FILE_KEY, None)) + b"\n"


def scrypt_stanza(factor: int, written: bytes | None = None) -> bytes:
    """written: the work factor as the header has it."""
    salt = bytes(range(50, 66))
    kdf = Scrypt(b"age-encryption.org/v1/scrypt" + salt, 32, 1 << min(factor, 10), 8, 1)
    body = ChaCha20Poly1305(kdf.derive(PASSPHRASE.encode())).encrypt(bytes(12), FILE_KEY, None)
    return b"-> scrypt " + b64(salt) + b" " + (written or b"%d" % factor) + b"\n" + b64(body) + b"\n"


def age_file(
    plain: bytes,
    stanzas: bytes | None = None,
    *,
    version: bytes = b"age-encryption.org/v1\n",
    edit_mac: Edit = same,
    edit_chunks: Edit = same,
) -> bytes:
    head = version + (x25519_stanza() if stanzas is None else stanzas) + b"---"
    mac = hmac.digest(_hkdf(FILE_KEY, b"", b"header"), head, "sha256")
    cipher = ChaCha20Poly1305(_hkdf(FILE_KEY, NONCE, b"payload"))
    pieces = [plain[at : at + 65536] for at in range(0, len(plain), 65536)] or [b""]
    chunks = []
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        chunks.append(cipher.encrypt(number.to_bytes(11, "big") + bytes([last]), piece, None))
    return head + b" " + edit_mac(b64(mac)) + b"\n" + NONCE + b"".join(edit_chunks(chunks))


# --- the scenarios ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vector:
    """expect: not-an-archive, unsupported, damaged, key or untrusted. stage: read, restore or trust."""

    name: str
    data: bytes
    expect: str
    why: str
    stage: str = "read"
    open_with: str = ""

    @property
    def file(self) -> str:
        return f"{self.name}.tar.zst.age" if self.open_with else f"{self.name}.tar.zst"

    def listing(self) -> dict[str, str]:
        found = {"name": self.name, "file": self.file, "stage": self.stage, "expect": self.expect, "why": self.why}
        if self.open_with:
            found["open_with"] = self.open_with
        return found | {"sha256": hashlib.sha256(self.data).hexdigest()}


def put(mapping: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {**mapping, **values}


def first_row(**values: Any) -> Edit:
    """Lie in the row of the file hello."""

    def edit(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [put(row, **values) if row.get("path") == "volumes/data/hello" else row for row in rows]

    return edit


def last_file(name: bytes, data: bytes = b"x\n", **more: Any) -> list[Item]:
    return volume(Item(name, b"" if more.get("kind") else data, **more))


def all_vectors() -> list[Vector]:
    return [
        *_start(),
        *_frames(),
        *_tar(),
        *_names(),
        *_index(),
        *_root(),
        *_trailer(),
        *_cuts(),
        *_age(),
        *_restoring(),
        *_trust(),
    ]


def _start() -> list[Vector]:
    def damaged(name: str, manifest: Any, why: str, expect: str = "damaged") -> Vector:
        return Vector(name, Forge(manifest=manifest).build(), expect, why)

    deep = b"[" * 100_000
    surrogate = put(MANIFEST, volumes=[put(MANIFEST["volumes"][0], name="\ud800")])
    good = Forge().build()
    return [
        Vector("empty", b"", "not-an-archive", "the file is empty"),
        Vector("wrong-magic", b"PK\x03\x04" + good[4:], "not-an-archive", "neither age nor zstd stands at the start"),
        Vector(
            "no-manifest",
            Forge(first=[Item(b"README", b"hello\n")]).build(),
            "not-an-archive",
            "the first member is not manifest.json",
        ),
        Vector("no-tar", zframe(b"no tar at all" * 100), "not-an-archive", "the zstd stream holds no tar"),
        Vector(
            "skippable-first",
            skippable(0x184D2A50, b"1234") + good,
            "damaged",
            "a skippable frame stands before the tar",
        ),
        damaged("other-format", put(MANIFEST, format="other"), "the manifest is of another format", "not-an-archive"),
        damaged("unknown-version", put(MANIFEST, version=2), "format version 2 is not known", "unsupported"),
        damaged("version-is-text", put(MANIFEST, version="1"), "the version is text and no number", "unsupported"),
        damaged("unknown-feature", put(MANIFEST, features=["delta"]), "feature `delta` is not known", "unsupported"),
        damaged("features-is-a-number", put(MANIFEST, features=5), "features is no list"),
        damaged("features-holds-a-list", put(MANIFEST, features=[["x"]]), "a feature is no text"),
        damaged("manifest-not-json", b"{", "the manifest is no JSON"),
        damaged("manifest-not-utf8", b'{"format":"\xff"}', "the manifest is no UTF-8"),
        damaged("manifest-nested-deep", deep, "the manifest is nested 100,000 deep"),
        damaged(
            "manifest-huge-number",
            json.dumps(put(MANIFEST, service=put(MANIFEST["service"], uid=0.5))).replace("0.5", "1e999").encode(),
            "the user id is 1e999",
        ),
        damaged("manifest-without-service", {k: v for k, v in MANIFEST.items() if k != "service"}, "no service in it"),
        damaged("manifest-lone-surrogate", surrogate, "a volume's name is a lone surrogate, which is no text"),
        damaged(
            "manifest-too-large",
            put(MANIFEST, tool="x" * (4 << 20)),
            "the manifest is larger than 4 MiB",
            "not-an-archive",
        ),
        Vector(
            "manifest-twice",
            Forge(items=[Item(b"manifest.json", b"{}\n"), *volume()]).build(),
            "damaged",
            "manifest.json stands a second time, out of its place",
        ),
        Vector(
            "recover-twice",
            Forge(items=[Item(b"RECOVER.txt", b"rm -rf /\n"), *volume()]).build(),
            "damaged",
            "RECOVER.txt is there twice",
        ),
    ]


def _frames() -> list[Vector]:
    def second(edit: Edit) -> Edit:
        return lambda frames: [frames[0], edit(frames[1])]

    def vector(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_packed=second(edit)).build(), "damaged", why)

    contents: list[bytes] = []

    def remember(frames: list[bytes]) -> list[bytes]:
        contents[:] = frames
        return frames

    Forge(edit_data=remember).build()
    second_content = contents[1]
    flipped = checksum(second_content)[:3] + bytes([checksum(second_content)[3] ^ 1])
    bomb = (
        b"\x28\xb5\x2f\xfd\xa4" + struct.pack("<I", 1 << 31) + (1 | 1 << 1 | 131072 << 3).to_bytes(3, "little") + b"\0"
    )
    return [
        vector("frame-checksum-wrong", lambda f: f[:-4] + flipped, "a frame's checksum is wrong"),
        vector(
            "frame-without-checksum",
            lambda f: f[:4] + b"\xa0" + f[5:-4],
            "a frame carries no checksum",
        ),
        vector(
            "frame-without-size",
            lambda f: f[:4] + b"\x04\x50" + f[9:],
            "a frame does not state the size of its content",
        ),
        vector(
            "frame-with-dictionary",
            lambda f: f[:4] + b"\xa5\x07" + f[5:],
            "a frame asks for a dictionary",
        ),
        vector("frame-reserved-bit", lambda f: f[:4] + b"\xac" + f[5:], "a frame has a reserved bit set"),
        vector(
            "frame-window-too-large",
            lambda f: f[:4] + b"\x84\x69" + f[5:],
            "a frame asks for a window of 9 MiB",
        ),
        vector(
            "frame-claims-less",
            lambda f: zframe(second_content, claim=512),
            "a frame holds more than it claims: a decompression bomb",
        ),
        vector(
            "frame-claims-more", lambda f: zframe(second_content, claim=1 << 20), "a frame holds less than it claims"
        ),
        vector("frame-claims-2-gib", lambda f: bomb + b"\0\0\0\0", "a frame claims 2 GiB"),
        vector(
            "frame-above-8-mib",
            lambda f: zframe(second_content + bytes((8 << 20) + 1 - len(second_content))),
            "a frame holds a byte more than 8 MiB",
        ),
        vector("frame-reserved-block", lambda f: f[:9] + b"\x07" + f[10:], "a frame has a block of the reserved type"),
        vector(
            "frame-of-empty-blocks",
            lambda f: f[:9] + b"\0\0\0" * 2000 + f[9:],
            "a frame has more block headers than its content can need",
        ),
        Vector(
            "frame-empty",
            Forge(edit_data=lambda frames: [*frames, b""]).build(),
            "damaged",
            "a data frame holds nothing",
        ),
        Vector(
            "skippable-between",
            Forge(edit_packed=lambda f: [f[0], skippable(0x184D2A50, b"1234") + f[1]]).build(),
            "damaged",
            "a skippable frame stands between data frames",
        ),
        Vector(
            "legacy-frame",
            Forge(edit_packed=lambda f: [f[0], b"\x27" + f[1][1:]]).build(),
            "damaged",
            "a frame begins with the magic of a zstd before 0.8",
        ),
    ]


def _tar() -> list[Vector]:
    def header(name: str, why: str, **fields: Any) -> Vector:
        return Vector(name, Forge(items=last_file(b"volumes/data/x", fields=fields)).build(), "damaged", why)

    def records(name: str, body: bytes, why: str) -> Vector:
        head = ustar(b"PaxHeaders/x", b"x", len(body), mtime=0) + padded(body) + ustar(b"volumes/data/x", size=2)
        return Vector(name, Forge(items=last_file(b"volumes/data/x", header=head)).build(), "damaged", why)

    def sparse(name: str, numbers: list[Any], size: int, why: str, **more: bytes) -> Vector:
        found = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"volumes/data/x"}
        found |= {b"GNU.sparse.realsize": b"%d" % size}
        found |= {key.replace("_", ".").encode(): value for key, value in more.items()}
        mapped = padded(b"".join(b"%d\n" % number if isinstance(number, int) else number for number in numbers))
        item = Item(b"volumes/data/x", b"x" * 512, records=found, map=mapped)
        item.row = {"size": size, "segments": [[0, 512]]}
        return Vector(name, Forge(items=volume(item)).build(), "damaged", why)

    return [
        header("tar-checksum-wrong", "a tar header's checksum is wrong", checksum=b"000000\0 "),
        header("tar-checksum-not-octal", "a tar header's checksum holds the digit 9", checksum=b"009999\0 "),
        header("tar-number-not-octal", "a user id holds the digit 8", raw={108: b"0000008\0"}),
        header("tar-number-negative", "a size is `-0000000001`", raw={124: b"-0000000001\0"}),
        header("tar-number-with-prefix", "a user id is written 0o17", raw={108: b"0o17\0\0\0\0"}),
        header("tar-number-with-underscore", "a user id is written 1_0", raw={108: b"00001_0\0"}),
        header("tar-negative-base-256", "a user id is negative in base 256", raw={108: b"\xff" * 8}),
        header("tar-unknown-type", "a member is of type `V`", raw={156: b"V"}),
        header("tar-old-sparse", "a file with holes is in the old GNU form, type `S`", raw={156: b"S"}),
        header("tar-size-beyond-end", "a file claims 8 GiB that are not there", raw={124: b"77777777777\0"}),
        records("pax-length-wrong", b"99 comment=x\n", "a PAX record is longer than its header"),
        records("pax-length-short", b"5 comment=x\n", "a PAX record ends inside its keyword"),
        records("pax-not-a-number", b"x comment=x\n", "a PAX record does not begin with its length"),
        records("pax-without-newline", b"13 comment=xy", "a PAX record does not end in a newline"),
        records("pax-size-not-a-number", b"11 size=1x\n", "the PAX record `size` is no number"),
        records("pax-mtime-not-a-number", b"15 mtime=soon\n", "the PAX record `mtime` is no time"),
        Vector(
            "pax-too-large",
            Forge(
                items=last_file(
                    b"volumes/data/x", header=ustar(b"x", b"x", (8 << 20) + 512, mtime=0) + ustar(b"volumes/data/x")
                )
            ).build(),
            "damaged",
            "an extended header claims more than 8 MiB",
        ),
        Vector(
            "pax-many-headers",
            _many_headers(),
            "damaged",
            "twelve extended headers of 1 MiB stand before one member, more than 8 MiB in all",
        ),
        Vector(
            "pax-before-the-end",
            Forge(items=volume(Item(b"volumes/data/x", header=pax({b"path": b"x"}) + bytes(512)))).build(),
            "damaged",
            "an extended header is followed by no member",
        ),
        sparse("sparse-overlap", [2, 0, 256, 128, 256], 4096, "the runs of a file with holes overlap"),
        sparse("sparse-beyond-size", [1, 8192, 512], 4096, "a run of a file with holes lies beyond its size"),
        sparse("sparse-too-much-data", [1, 0, 100], 4096, "the runs are shorter than the data that is stored"),
        sparse("sparse-map-endless", [1 << 40], 4096, "a sparse map announces more runs than it has"),
        sparse("sparse-map-not-numbers", [b"one\n"], 4096, "a sparse map holds a word"),
        sparse("sparse-other-version", [1, 0, 512], 4096, "sparse format 1.7", GNU_sparse_minor=b"7"),
        Vector(
            "tar-without-end", Forge(end=b"").build(), "damaged", "the two zero blocks at the tar's end are missing"
        ),
        Vector("tar-half-an-end", Forge(end=bytes(512)).build(), "damaged", "one zero block instead of two"),
        Vector(
            "tar-ends-early",
            Forge(items=volume(Item(b"volumes/data/x", header=bytes(1024)))).build(),
            "damaged",
            "the tar ends before its index",
        ),
        Vector(
            "tar-after-the-end",
            Forge(end=bytes(1024) + ustar(b"volumes/data/late")).build(),
            "damaged",
            "members follow the end of the tar",
        ),
    ]


def _many_headers() -> bytes:
    """Its frames are many, since none may be larger than 8 MiB."""
    many = b"".join(pax({b"comment.%d" % number: b"x" * (1 << 20)}) for number in range(12))
    item = Item(b"volumes/data/x", header=many + ustar(b"volumes/data/x"), row={"frames": [4, 0]})

    def split(frames: list[bytes]) -> list[bytes]:
        last = frames[-1]
        return [*frames[:-1], *(last[at : at + (4 << 20)] for at in range(0, len(last), 4 << 20))]

    return Forge(items=volume(item), edit_data=split).build()


def _names() -> list[Vector]:
    def named(name: str, path: bytes, why: str, **more: Any) -> Vector:
        return Vector(name, Forge(items=last_file(path, **more)).build(), "damaged", why)

    def link(name: str, target: bytes, why: str) -> Vector:
        return named(name, b"volumes/data/link", why, kind="hardlink", link=target)

    two = put(MANIFEST, volumes=[MANIFEST["volumes"][0], put(MANIFEST["volumes"][0], name="more", path="/more")])
    interleaved = [
        directory(b"volumes/data"),
        directory(b"volumes/more"),
        Item(b"volumes/data/late", b"late\n"),
    ]
    through = Item(b"volumes/data/out/x", b"x\n")
    apart = [directory(b"volumes/data/d"), Item(b"volumes/data/e"), Item(b"volumes/data/d/late")]
    nul = {b"path": b"volumes/data/x\0y"}
    return [
        named("name-absolute", b"/etc/cron.d/x", "a name begins with a slash"),
        named("name-dot-dot", b"volumes/data/../../../etc/x", "a name goes up"),
        named("name-dot", b"volumes/data/./x", "a name has a part `.`"),
        named("name-empty-part", b"volumes/data//x", "a name has an empty part"),
        named("name-nul", b"volumes/data/x\0y", "a name holds a NUL", records=nul),
        named("name-of-no-place", b"etc/passwd", "a member has no place in an archive"),
        named("name-of-unlisted-volume", b"volumes/other/x", "the manifest lists no volume `other`"),
        named("name-below-a-file", b"manifest.json/x", "something stands below manifest.json"),
        named("place-too-late", b"hook/late", "hook/ comes after volumes/"),
        Vector(
            "volumes-itself",
            Forge(items=[directory(b"volumes"), *volume()]).build(),
            "damaged",
            "`volumes` itself is a member",
        ),
        Vector(
            "volumes-interleaved",
            Forge(items=interleaved, manifest=two).build(),
            "damaged",
            "a volume's members are not in one run",
        ),
        Vector(
            "duplicate-file",
            Forge(items=last_file(b"volumes/data/hello", b"Something else\n")).build(),
            "damaged",
            "two members have one name",
        ),
        Vector(
            "duplicate-directory-and-file",
            Forge(items=[*volume(), Item(b"volumes/data/x"), directory(b"volumes/data/x")]).build(),
            "damaged",
            "a file and a directory have one name",
        ),
        Vector(
            "duplicate-far-apart",
            Forge(
                items=[*volume(), *(Item(b"volumes/data/x%d" % n) for n in range(9)), Item(b"volumes/data/x3")]
            ).build(),
            "damaged",
            "two members far apart have one name",
        ),
        link("hardlink-absolute", b"/etc/shadow", "a hard link leads out of the archive"),
        link("hardlink-dot-dot", b"volumes/data/../../etc/shadow", "a hard link goes up"),
        link("hardlink-other-place", b"manifest.json", "a hard link leads out of its volume"),
        link("hardlink-to-later", b"volumes/data/zzz", "a hard link names no earlier member"),
        Vector(
            "below-a-symlink",
            Forge(items=volume(Item(b"volumes/data/out", kind="symlink", link=b"/etc"), through)).build(),
            "damaged",
            "a name leads through a symbolic link",
        ),
        named("below-a-file", b"volumes/data/hello/x", "a name leads through a file"),
        named("without-parent", b"volumes/data/none/x", "a member's directory is missing"),
        named("out-of-order", b"volumes/data/earlier", "names in a volume are not in byte order"),
        Vector(
            "children-apart",
            Forge(items=[directory(b"volumes/data"), *apart]).build(),
            "damaged",
            "a directory is entered again after it was left",
        ),
        Vector(
            "volume-without-its-directory",
            Forge(items=[Item(b"volumes/data/hello", b"Hello, 2045!\n")]).build(),
            "damaged",
            "a volume does not begin with its own directory",
        ),
        Vector(
            "volume-is-a-file",
            Forge(items=[Item(b"volumes/data", b"Hello, 2045!\n")]).build(),
            "damaged",
            "a volume is a file and no directory",
        ),
    ]


def _index() -> list[Vector]:
    def rows(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_rows=edit).build(), "damaged", why)

    def frames(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_frames=edit).build(), "damaged", why)

    def shards(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_shards=edit).build(), "damaged", why)

    wrong = blake3(b"something else").hexdigest()
    deep = b'{"path":' + b"[" * 100_000
    return [
        rows("row-digest", first_row(blake3=wrong), "a row states another digest than the file has"),
        rows("row-path", first_row(path="volumes/data/other"), "a row names another member than the tar has"),
        rows("row-type", first_row(type="symlink"), "a row states another type"),
        rows("row-mode", first_row(mode=0o4755), "a row states another mode"),
        rows("row-owner", first_row(uid=1000), "a row states another owner"),
        rows("row-size", first_row(size=14), "a row states another size"),
        rows("row-time", first_row(mtime_ns=0), "a row states another time"),
        rows("row-offset", first_row(offset=0), "a row places its member elsewhere in the tar"),
        rows("row-frames", first_row(frames=[0, 1]), "a row places its data in another frame"),
        rows("row-missing", lambda rows: rows[:-1], "the index leaves a member out"),
        rows("row-too-many", lambda rows: [*rows, rows[-1]], "the index lists a member that is not there"),
        rows("rows-swapped", lambda rows: [*rows[:-2], rows[-1], rows[-2]], "rows are not in the tar's order"),
        frames("frame-row-digest", lambda rows: [put(rows[0], blake3=wrong), *rows[1:]], "a frame's digest is another"),
        frames("frame-row-packed", lambda rows: [put(rows[0], packed=wrong), *rows[1:]], "a packed digest is another"),
        frames("frame-row-offset", lambda rows: [put(rows[0], offset=1), *rows[1:]], "a frame is placed elsewhere"),
        frames("frame-row-missing", lambda rows: rows[:-1], "the index leaves a frame out"),
        shards("shard-missing", lambda s: s[:1], "there is no shard of members"),
        shards("shard-of-frames-missing", lambda s: s[1:], "there is no shard of frames"),
        shards("shard-not-json", lambda s: [s[0], (s[1][0], b"path\n" + s[1][1])], "a shard's first line is no JSON"),
        shards("shard-nested-deep", lambda s: [s[0], (s[1][0], deep + b"\n")], "a row is nested 100,000 deep"),
        shards("shard-without-newline", lambda s: [s[0], (s[1][0], s[1][1][:-1])], "the last row has no newline"),
        shards("shard-number-skipped", lambda s: [s[0], ("index/members-000001.jsonl", s[1][1])], "no shard 000000"),
        shards("shard-order", lambda s: [s[1], s[0]], "shards of members come before those of frames"),
        shards("shard-unknown-name", lambda s: [*s, ("index/extra.json", b"{}\n")], "the index holds a foreign member"),
        Vector("shard-behind-data", Forge(join="data").build(), "damaged", "a shard shares its frame with data"),
        Vector("shards-in-one-frame", Forge(join="shards").build(), "damaged", "two shards share a frame"),
        Vector("shard-in-two-frames", Forge(join="split").build(), "damaged", "a shard's header has another frame"),
        shards(
            "shard-too-large",
            lambda s: [s[0], (s[1][0], s[1][1][:-2] + b" " * (8 << 20) + b"}\n")],
            "a shard is larger than 8 MiB, and so is its frame",
        ),
    ]


def _root() -> list[Vector]:
    def root(name: str, why: str, expect: str = "damaged", **values: Any) -> Vector:
        return Vector(name, Forge(edit_root=lambda root: put(root, **values)).build(), expect, why)

    def shard(name: str, why: str, **values: Any) -> Vector:
        def edit(root: dict[str, Any]) -> dict[str, Any]:
            return put(root, shards=[put(root["shards"][0], **values), *root["shards"][1:]])

        return Vector(name, Forge(edit_root=edit).build(), "damaged", why)

    def raw(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_root_bytes=edit).build(), "damaged", why)

    wrong = blake3(b"something else").hexdigest()
    extra = Item(b"index/root.json", b"{}\n")
    return [
        root("root-manifest-digest", "the root commits to another manifest", manifest=wrong),
        root("root-members", "the root counts more members", members=1000),
        root("root-content", "the root counts other content", content=0),
        root("root-frames", "the root counts other frames", frames=1),
        root("root-tar-size", "the root states another size of the tar", tar_size=512),
        root("root-components", "the root lists no components", components={}),
        root("root-other-version", "the root is of version 2", version=2),
        root("root-other-format", "the root is of another format", format="other"),
        root("root-number-as-text", "a number in the root is text", problem_count="0"),
        root("root-without-shards", "the root lists no shards", shards=[]),
        root("root-shards-not-objects", "a shard in the root is a number", shards=[1, 2]),
        shard("root-shard-digest", "the root states another digest of a shard", blake3=wrong),
        shard("root-shard-packed", "the root states another digest of a packed shard", packed=wrong),
        shard("root-shard-offset", "the root places a shard elsewhere", offset=0),
        shard("root-shard-rows", "the root counts other rows in a shard", rows=1),
        shard("root-shard-first", "the root states another first row of a shard", first="volumes/data/hello"),
        raw("root-not-json", lambda data: b"root\n", "the root is no JSON"),
        raw("root-nested-deep", lambda data: b"[" * 100_000, "the root is nested 100,000 deep"),
        raw("root-huge-number", lambda d: d.replace(b'"tar_size": ', b'"tar_size": 1e999, "x": '), "a number is 1e999"),
        raw("root-empty", lambda data: b"", "the root is empty"),
        Vector("root-twice", Forge(closing_items=[extra]).build(), "damaged", "there are two roots"),
        Vector(
            "member-after-root",
            Forge(closing_items=[Item(b"volumes/data/late", b"late\n")]).build(),
            "damaged",
            "a member follows the root",
        ),
        Vector(
            "shard-after-root",
            Forge(closing_items=[Item(b"index/members-000001.jsonl", b"{}\n")]).build(),
            "damaged",
            "a shard follows the root",
        ),
        Vector(
            "signature-twice",
            Forge(signer=SIGNER_SEED, closing_items=[Item(b"index/root.json.sig", b"other\n")]).build(),
            "damaged",
            "there are two signatures",
        ),
        Vector(
            "signature-too-large",
            Forge(closing_items=[Item(b"index/root.json.sig", bytes((64 << 10) + 1))]).build(),
            "damaged",
            "a signature is larger than 64 KiB",
        ),
    ]


def _trailer() -> list[Vector]:
    def locator(name: str, why: str, **values: Any) -> Vector:
        return Vector(name, Forge(edit_locator=lambda fields: put(fields, **values)).build(), "damaged", why)

    def table(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_table=edit).build(), "damaged", why)

    def table_bytes(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_table_bytes=edit).build(), "damaged", why)

    def trailer(name: str, edit: Edit, why: str) -> Vector:
        return Vector(name, Forge(edit_trailer=edit).build(), "damaged", why)

    def footer(count: int, descriptor: int = 0) -> Edit:
        return lambda frame: frame[:-9] + struct.pack("<IBI", count, descriptor, 0x8F92EAB1)

    def shifted(entries: list[tuple[int, int]]) -> list[tuple[int, int]]:
        (a, x), (b, y), *rest = entries
        return [(a + 100, x), (b - 100, y), *rest]

    giant = (0xFFFFFFFF, 0xFFFFFFFF)
    return [
        locator("locator-tag", "the locator is of an unknown kind", tag=b"DRVAULT2"),
        locator("locator-flags", "the locator has a flag that is not known", flags=1),
        locator("locator-members", "the locator places the shards of members elsewhere", members=0),
        locator(
            "locator-members-beyond", "the locator places the shards of members after the closing", members=1 << 62
        ),
        locator("locator-offset", "the locator points at the start of the stream", offset=0),
        locator("locator-beyond", "the locator points beyond the end of the stream", offset=1 << 62),
        locator("locator-compressed", "the locator states another packed size", compressed=1),
        locator("locator-giant", "the locator claims a closing of 4 GiB", compressed=0xFFFFFFFF, content=0xFFFFFFFF),
        locator("locator-number", "the locator states another frame number", number=0),
        locator("locator-digest", "the locator commits to another closing", digest=bytes(16)),
        table("table-sums", lambda t: [(t[0][0] + 1, t[0][1]), *t[1:]], "the seek table's sizes do not add up"),
        table("table-overlap", shifted, "two frames overlap in the seek table, though the sum is right"),
        table("table-content", lambda t: [(t[0][0], t[0][1] + 1), *t[1:]], "a frame's content size is another"),
        table("table-giant", lambda t: [giant, *t[1:]], "the seek table claims a frame of 4 GiB"),
        table("table-zero", lambda t: [(0, 0)] * len(t), "the seek table claims frames of no bytes"),
        table("table-too-short", lambda t: t[:-1], "the seek table leaves the locator out"),
        table("table-too-long", lambda t: [*t, (8, 0)], "the seek table lists a frame that is not there"),
        table_bytes("table-count-giant", footer(0xFFFFFFFF), "the footer claims 4,294,967,295 frames"),
        table_bytes("table-count-less", footer(1), "the footer claims one frame"),
        table_bytes("table-descriptor", footer(7, 0x04), "the footer has a reserved bit set"),
        table_bytes("table-magic", lambda f: f[:-4] + b"\0\0\0\0", "the stream does not end in the seekable magic"),
        table_bytes("table-frame-size", lambda f: f[:4] + b"\xff\xff\xff\xff" + f[8:], "the table claims 4 GiB"),
        trailer("trailer-without-table", lambda t: t[:2], "there is no seek table"),
        trailer("trailer-without-locator", lambda t: [t[0], t[2]], "there is no locator"),
        trailer("trailer-order", lambda t: [t[1], t[0], t[2]], "the padding comes after the locator"),
        trailer("trailer-two-locators", lambda t: [t[0], t[1], t[1], t[2]], "there are two locators"),
        trailer("trailer-two-tables", lambda t: [*t, t[2]], "there are two seek tables"),
        trailer("trailer-foreign", lambda t: [skippable(0x184D2A50, b"x"), *t], "a foreign skippable frame is there"),
        trailer(
            "padding-not-zero",
            lambda t: [skippable(0x184D2A5C, bytes(39) + b"!"), *t[1:]],
            "the padding is not zero",
        ),
        trailer("bytes-after", lambda t: [*t, b"\0"], "a zero byte follows the end"),
        trailer("text-after", lambda t: [*t, b"trailing data"], "text follows the end"),
        trailer("frame-after", lambda t: [*t, zframe(b"more")], "a data frame follows the end"),
        trailer("archive-after", lambda t: [*t, Forge().build()], "a second archive follows the first"),
    ]


def _cuts() -> list[Vector]:
    good = Forge().build()
    ends: list[int] = []

    def note(entries: list[tuple[int, int]]) -> list[tuple[int, int]]:
        ends[:] = [entry[0] for entry in entries]
        return entries

    Forge(edit_table=note).build()
    edges = [sum(ends[: n + 1]) for n in range(len(ends))]
    names = ["manifest", "data", "frames", "members", "closing", "padding", "locator"]
    cuts = [
        Vector(f"cut-after-{name}", good[:edge], "damaged", f"the stream ends right after the {name} frame")
        for name, edge in zip(names, edges, strict=True)
    ]
    return [
        *cuts,
        Vector("cut-in-magic", good[: edges[0] + 2], "damaged", "the stream ends inside a frame's magic"),
        Vector("cut-in-header", good[: edges[0] + 6], "damaged", "the stream ends inside a frame's header"),
        Vector("cut-in-block", good[: edges[0] + 100], "damaged", "the stream ends inside a block"),
        Vector("cut-in-checksum", good[: edges[1] - 2], "damaged", "the stream ends inside a frame's checksum"),
        Vector("cut-last-byte", good[:-1], "damaged", "the last byte is missing"),
    ]


def _age() -> list[Vector]:
    good = Forge().build()
    stanza = x25519_stanza()
    long = stanza.split(b"\n")[1]
    big = Forge(items=last_file(b"volumes/data/big", bytes(range(256)) * 245)).build()

    def vector(name: str, data: bytes, why: str, expect: str = "damaged", open_with: str = "x25519") -> Vector:
        return Vector(name, data, expect, why, open_with=open_with)

    sealed = age_file(good)
    key, words = "key", "passphrase"
    return [
        vector("age-other-version", age_file(good, version=b"age-encryption.org/v2\n"), "age v2", "unsupported"),
        vector("age-crlf", sealed.replace(b"v1\n", b"v1\r\n", 1), "the header's first line ends in CR LF"),
        vector("age-body-padded", age_file(good, stanza[:-1] + b"=\n"), "a stanza's body is base64 with padding"),
        vector("age-body-not-canonical", age_file(good, stanza[:-2] + b"B\n"), "stray bits at the end of base64"),
        vector("age-body-wrapped", age_file(good, stanza.replace(long, long[:40] + b"\n" + long[40:])), "a short line"),
        vector("age-argument-double-space", age_file(good, stanza.replace(b" X", b"  X", 1)), "two spaces in a stanza"),
        vector("age-share-short", age_file(good, b"-> X25519 AAAA\n" + long + b"\n"), "a share of 3 bytes"),
        vector("age-body-short", age_file(good, stanza.replace(long, long[:20])), "a wrapped key of 15 bytes"),
        vector("age-low-order", age_file(good, b"-> X25519 " + b64(bytes(32)) + b"\n" + long + b"\n"), "share is zero"),
        vector("age-mac-wrong", age_file(good, edit_mac=lambda m: b64(bytes(32))), "the header's MAC is wrong"),
        vector("age-mac-padded", age_file(good, edit_mac=lambda m: m + b"="), "the header's MAC is padded"),
        vector("age-stanza-added", sealed.replace(b"---", b"-> other x\n\n---", 1), "a stanza was added afterwards"),
        vector("age-no-stanza", age_file(good, b""), "the header names no recipient"),
        vector("age-cut-in-header", sealed[:50], "the file ends inside its header"),
        vector("age-cut-in-nonce", sealed[: sealed.index(b"---") + 50], "the file ends inside its nonce"),
        vector("age-cut-in-chunk", sealed[:-10], "the file ends inside a chunk"),
        vector("age-cut-at-chunk", age_file(big, edit_chunks=lambda c: c[:-1]), "the last chunk is missing"),
        vector("age-chunks-swapped", age_file(big, edit_chunks=lambda c: [c[1], c[0], *c[2:]]), "chunks are swapped"),
        vector("age-byte-flipped", sealed[:-100] + bytes([sealed[-100] ^ 1]) + sealed[-99:], "a byte is flipped"),
        vector("age-bytes-after", sealed + b"\0", "a byte follows the last chunk"),
        vector("age-other-identity", age_file(good, x25519_stanza(STRANGER)), "for another identity", key),
        vector("age-empty", age_file(b""), "an age file around nothing", "not-an-archive"),
        vector("age-of-text", age_file(b"hello\n"), "an age file around text", "not-an-archive"),
        vector(
            "scrypt-and-x25519", age_file(good, scrypt_stanza(10) + stanza), "scrypt beside X25519", open_with=words
        ),
        vector("x25519-and-scrypt", age_file(good, stanza + scrypt_stanza(10)), "scrypt beside X25519"),
        vector("scrypt-twice", age_file(good, scrypt_stanza(10) * 2), "two scrypt stanzas", open_with=words),
        vector("scrypt-factor-22", age_file(good, scrypt_stanza(22)), "4 GiB of scrypt", "unsupported", words),
        vector("scrypt-factor-64", age_file(good, scrypt_stanza(64)), "more scrypt than exists", "unsupported", words),
        vector("scrypt-factor-zero-first", age_file(good, scrypt_stanza(10, b"010")), "`010`", open_with=words),
        vector("scrypt-factor-sign", age_file(good, scrypt_stanza(10, b"+10")), "a sign", open_with=words),
        vector(
            "scrypt-salt-short",
            age_file(good, b"-> scrypt AAAA 10\n" + long + b"\n"),
            "a salt of 3 bytes",
            open_with=words,
        ),
    ]


def _restoring() -> list[Vector]:
    def restore(name: str, items: list[Item], why: str) -> Vector:
        return Vector(name, Forge(items=items).build(), "damaged", why, "restore")

    def fields(name: str, row: dict[str, Any], why: str, records: dict[bytes, bytes], **more: Any) -> Vector:
        return restore(name, volume(Item(b"volumes/data/x", records=records, row=row, **more)), why)

    def symlink(name: bytes, target: bytes, **more: Any) -> Item:
        return Item(name, kind="symlink", link=target, **more)

    out = symlink(b"volumes/data/out", b"/etc")
    nul = {b"linkpath": b"a\0b"}
    return [
        restore(
            "hardlink-to-directory",
            volume(Item(b"volumes/data/link", kind="hardlink", link=b"volumes/data")),
            "a hard link names its volume itself",
        ),
        restore(
            "hardlink-to-nothing",
            volume(Item(b"volumes/data/link", kind="hardlink", link=b"volumes/data/a")),
            "a hard link names no member",
        ),
        restore(
            "hardlink-through-symlink",
            volume(out, Item(b"volumes/data/zlink", kind="hardlink", link=b"volumes/data/out/shadow")),
            "a hard link's target leads through a symbolic link",
        ),
        restore(
            "symlink-target-nul",
            volume(symlink(b"volumes/data/link", b"a\0b", records=nul)),
            "a symbolic link's target holds a NUL",
        ),
        fields("owner-too-large", {"uid": 1 << 40}, "a user id is 2^40", {b"uid": b"%d" % (1 << 40)}),
        fields("owner-minus-one", {"uid": (1 << 32) - 1}, "a user id means `unchanged`", {b"uid": b"4294967295"}),
        fields("group-too-large", {"gid": 1 << 64}, "a group id is 2^64", {b"gid": b"%d" % (1 << 64)}),
        fields("time-too-large", {"mtime_ns": 10**28}, "a time beyond 64 bits", {b"mtime": b"%d" % 10**19}),
        fields(
            "attribute-name-nul",
            {"xattrs": ["user.a\0b"]},
            "an attribute's name holds a NUL",
            {b"SCHILY.xattr.user.a\0b": b"x"},
        ),
        restore(
            "device-too-large",
            volume(
                Item(
                    b"volumes/data/x",
                    kind="char",
                    fields={"raw": {329: b"\x80\0\x01\0\0\0\0\0"}},
                    row={"device": [1 << 40, 0]},
                )
            ),
            "a device's major number is 2^40",
        ),
    ]


def _trust() -> list[Vector]:
    def trust(name: str, why: str, seed: bytes | None = SIGNER_SEED, edit: Edit = same) -> Vector:
        return Vector(name, Forge(signer=seed, edit_signature=edit).build(), "untrusted", why, "trust")

    def other_root(signature: bytes) -> bytes:
        return sshsig(SIGNER_SEED, b"another root\n")

    def renamed(host: str) -> bytes:
        return Forge(signer=SIGNER_SEED, manifest=put(MANIFEST, host=host)).build()

    return [
        trust("signature-missing", "there is no signature", None),
        trust("signature-by-another-key", "signed by a key that is not trusted", OTHER_SIGNER_SEED),
        trust("signature-of-another-root", "signed by the right key, but another root", edit=other_root),
        trust("signature-not-armored", "the signature is no SSHSIG", edit=lambda s: b"signature\n"),
        trust("signature-cut", "the signature is cut short", edit=lambda s: s[: len(s) // 2]),
        Vector(
            "signature-by-another-host", renamed("other.example"), "untrusted", "the key is of another host", "trust"
        ),
        Vector(
            "signature-for-another-use",
            Forge(signer=SIGNER_SEED, edit_signature=_file_signature).build(),
            "untrusted",
            "the signature's namespace is `file`",
            "trust",
        ),
    ]


def _file_signature(signature: bytes) -> bytes:
    """The same root, signed in the namespace that people sign files in."""
    roots: list[bytes] = []

    def keep(root: bytes) -> bytes:
        roots.append(root)
        return root

    Forge(edit_root_bytes=keep).build()
    return sshsig(SIGNER_SEED, roots[0], b"file")


def main() -> None:
    vectors = all_vectors()
    for old in VECTORS.glob("*.tar.zst*"):
        old.unlink()
    for vector in vectors:
        (VECTORS / vector.file).write_bytes(vector.data)
    listing = {
        "version": 1,
        "host": HOST,
        "passphrase": PASSPHRASE,
        "identity": "../golden/v1/identity.txt",
        "allowed_signers": "../golden/v1/allowed_signers",
        "vectors": [vector.listing() for vector in vectors],
    }
    (VECTORS / "vectors.json").write_text(json.dumps(listing, indent=1) + "\n")
    sys.stdout.write(f"{len(vectors)} vectors, {sum(len(v.data) for v in vectors):,} bytes\n")


if __name__ == "__main__":
    main()
