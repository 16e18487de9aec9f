"""The packets of SFTP, version 3 (draft-ietf-secsh-filexfer-02), and of those extensions of OpenSSH's that we use.

A packet is a length, a type, a number that its answer repeats, and fields of that type. Only what a store needs is
here. Nothing of a server's packet is believed before it is known to lie within the packet.
"""

from __future__ import annotations

import enum
import stat
import struct
from dataclasses import dataclass

VERSION = 3
LONGEST = 1 << 20  # bytes of a server's packet; OpenSSH sends up to 256 KiB

FSYNC = "fsync@openssh.com"
HARDLINK = "hardlink@openssh.com"
LIMITS = "limits@openssh.com"
STATVFS = "statvfs@openssh.com"

_SIZE, _OWNERS, _PERMISSIONS, _TIMES, _EXTENDED = 0x1, 0x2, 0x4, 0x8, 0x80000000
_READ_ONLY = 0x1  # of statvfs's flags


class Malformed(Exception):
    """What came is no packet of SFTP. The text says why."""


class Kind(enum.IntEnum):
    """Types of packets."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    STAT = 17
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Code(enum.IntEnum):
    """What a STATUS says."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


class Open(enum.IntFlag):
    """How a file is opened."""

    READ = 0x1
    WRITE = 0x2
    CREATE = 0x8
    EXCLUSIVE = 0x20


@dataclass(frozen=True)
class Request:
    """body: all that follows the number."""

    kind: Kind
    body: bytes


@dataclass(frozen=True)
class Status:
    """How a request ended. code: as of Code, or one that we do not know. message: the server's words."""

    code: int
    message: str


@dataclass(frozen=True)
class Handle:
    """The server's name for an open file or directory."""

    value: bytes


@dataclass(frozen=True)
class Data:
    """Bytes of a file, at least one."""

    value: bytes


@dataclass(frozen=True)
class Attributes:
    """What is known of a file; None where the server does not say. size: in bytes. mode: type and permissions, as
    stat(2) has them. modified: in seconds since 1970, UTC."""

    size: int | None = None
    mode: int | None = None
    modified: int | None = None

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self.mode or 0)

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return stat.S_ISDIR(self.mode or 0)

    @property
    def is_link(self) -> bool:
        """Whether this is a symbolic link."""
        return stat.S_ISLNK(self.mode or 0)


@dataclass(frozen=True)
class Entry:
    """One name in a directory, with what LSTAT would say of it."""

    name: str
    attributes: Attributes


@dataclass(frozen=True)
class Names:
    """Some of the names in a directory."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Extended:
    """The answer to an extension's request, in its own form."""

    body: bytes


Reply = Status | Handle | Data | Names | Attributes | Extended


@dataclass(frozen=True)
class Space:
    """What a file system has left for us. bytes_free: 0 for none. takes_files: whether it takes one more file."""

    bytes_free: int
    takes_files: bool
    read_only: bool


@dataclass(frozen=True)
class Limits:
    """The longest reads and writes a server takes, in bytes; 0 where it does not say."""

    read: int
    write: int


class Fields:
    """Takes a packet apart from its start. Every method raises Malformed where the packet ends too early."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes have not been taken."""
        return len(self._packet) - self._at

    def take(self, length: int) -> bytes:
        """The next bytes."""
        if length > self.left:
            raise Malformed(f"{length} bytes are said to follow where {self.left} are left")
        self._at += length
        return self._packet[self._at - length : self._at]

    def byte(self) -> int:
        """A number of one byte."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """A number of four bytes."""
        return int.from_bytes(self.take(4))

    def uint64(self) -> int:
        """A number of eight bytes."""
        return int.from_bytes(self.take(8))

    def string(self) -> bytes:
        """Bytes with their length in front."""
        return self.take(self.uint32())

    def text(self) -> str:
        """A string that is text; what is not UTF-8 is kept as the system keeps it in file names."""
        return self.string().decode("utf-8", "surrogateescape")

    def attributes(self) -> Attributes:
        """Attributes, of which owners and extensions are left out."""
        flags = self.uint32()
        size = self.uint64() if flags & _SIZE else None
        if flags & _OWNERS:
            self.take(8)
        mode = self.uint32() if flags & _PERMISSIONS else None
        modified = (self.uint32(), self.uint32())[1] if flags & _TIMES else None
        for _ in range(self.uint32() if flags & _EXTENDED else 0):
            self.string(), self.string()
        return Attributes(size, mode, modified)


def string(value: bytes) -> bytes:
    """Bytes with their length in front."""
    return struct.pack(">I", len(value)) + value


def path(value: str) -> bytes:
    """A path, as a field."""
    return string(value.encode("utf-8", "surrogateescape"))


def permissions(mode: int) -> bytes:
    """Attributes that say nothing but the permissions."""
    return struct.pack(">II", _PERMISSIONS, mode)


def init() -> bytes:
    """The first packet, which alone has no number."""
    return struct.pack(">IBI", 5, Kind.INIT, VERSION)


def packet(number: int, request: Request) -> bytes:
    """A request as it goes over the wire."""
    return struct.pack(">IBI", 5 + len(request.body), request.kind, number) + request.body


def on_path(kind: Kind, name: str, rest: bytes = b"") -> Request:
    """A request whose first field is a path."""
    return Request(kind, path(name) + rest)


def on_handle(kind: Kind, handle: Handle, rest: bytes = b"") -> Request:
    """A request whose first field is a handle."""
    return Request(kind, string(handle.value) + rest)


def open_file(name: str, how: Open, mode: int = 0) -> Request:
    """Open a file. mode: the permissions of one that is made."""
    return on_path(Kind.OPEN, name, struct.pack(">I", how) + permissions(mode))


def read(handle: Handle, offset: int, length: int) -> Request:
    """Ask for bytes of a file; the answer may be shorter."""
    return on_handle(Kind.READ, handle, struct.pack(">QI", offset, length))


def write(handle: Handle, offset: int, data: bytes) -> Request:
    """Put bytes into a file."""
    return on_handle(Kind.WRITE, handle, struct.pack(">Q", offset) + string(data))


def extended(name: str, rest: bytes = b"") -> Request:
    """Ask for what an extension does."""
    return Request(Kind.EXTENDED, path(name) + rest)


def parse_version(packet_body: bytes) -> dict[str, bytes]:
    """The extensions that a server's first packet offers, each with its version. Raises Malformed."""
    fields = Fields(packet_body)
    kind, version = fields.byte(), fields.uint32()
    if kind != Kind.VERSION or version < VERSION:
        raise Malformed(f"packet type {kind}, version {version}, where version {VERSION} should be agreed on")
    extensions: dict[str, bytes] = {}
    while fields.left:
        name = fields.text()
        extensions[name] = fields.string()
    return extensions


def parse_reply(packet_body: bytes) -> tuple[int, Reply]:
    """The number of the request that a packet answers, and the answer. Raises Malformed."""
    fields = Fields(packet_body)
    kind, number = fields.byte(), fields.uint32()
    return number, _reply(kind, fields)


def _reply(kind: int, fields: Fields) -> Reply:
    if kind == Kind.STATUS:
        return Status(fields.uint32(), fields.text() if fields.left else "")
    if kind == Kind.HANDLE:
        return Handle(fields.string())
    if kind == Kind.DATA:
        return Data(fields.string())
    if kind == Kind.NAME:
        return Names(tuple(_entry(fields) for _ in range(fields.uint32())))
    if kind == Kind.ATTRS:
        return fields.attributes()
    if kind == Kind.EXTENDED_REPLY:
        return Extended(fields.take(fields.left))
    raise Malformed(f"packet type {kind} answers nothing")


def _entry(fields: Fields) -> Entry:
    name = fields.text()
    fields.string()  # a line as of `ls -l`, for people
    return Entry(name, fields.attributes())


def parse_limits(reply: Extended) -> Limits:
    """The answer to LIMITS."""
    fields = Fields(reply.body)
    _longest_packet, longest_read, longest_write = fields.uint64(), fields.uint64(), fields.uint64()
    return Limits(longest_read, longest_write)


def parse_space(reply: Extended) -> Space:
    """The answer to STATVFS."""
    fields = Fields(reply.body)
    _block, fragment, _blocks, _free, free_for_us = (fields.uint64() for _ in range(5))
    files, _free_files, files_for_us, _id, flags = (fields.uint64() for _ in range(5))
    # a file system that sets no bound to files says that it has none, and that none is free
    return Space(free_for_us * fragment, files == 0 or files_for_us > 0, bool(flags & _READ_ONLY))
