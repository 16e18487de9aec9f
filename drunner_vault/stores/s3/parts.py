"""How an object of unknown size is cut into parts, and where a part is until the server has it.

S3 takes 10,000 parts of an object, each of 5 MiB to 5 GiB but for the last. Parts begin small, so that little memory is
needed and little is sent again after a failure, and grow so that any object an S3 server can hold has room.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from drunner_vault.alongside import Alongside
from drunner_vault.errors import NoSpace, StorageError, Unavailable

MIB = 1 << 20
MAX_PARTS = 10_000
SMALLEST_PART, LARGEST_PART = 5 * MIB, 5 << 30
_FIRST, _FIRST_PARTS, _STEP = 8 * MIB, 1900, 900
_IN_MEMORY = 80 * MIB  # of all parts of one upload
_HELD = 2 << 30  # on the way at the same time, of all parts of one upload

Schedule = Callable[[int], int]


def growing(number: int) -> int:
    """Bytes in part `number`, from 1: 8 MiB for the first 1,900 parts, and twice as many after each 900 more. That
    makes 7 TiB, with parts of up to 4 GiB."""
    return _FIRST << max(0, -(-(number - _FIRST_PARTS) // _STEP))


def uniform(size: int) -> Schedule:
    """All parts of one size, as Cloudflare R2 demands it; 10,000 times `size` is then the largest object."""
    return lambda _number: size


class PartsPlan:
    """Makes the parts of one upload. in_flight: how many are on their way at the same time, while one more is filled.

    All of them together take at most 80 MiB of memory. Larger ones are in unnamed files in the directory that TMPDIR
    names, else in /var/tmp: with the default schedule from 29 GiB on, up to 3 GiB of them, or two if that is more.
    """

    def __init__(self, schedule: Schedule, in_flight: int) -> None:
        self._schedule = schedule
        self.in_flight = in_flight

    def part(self, number: int) -> Part:
        """An empty part. Raises StorageError if no object may have so many."""
        if number > MAX_PARTS:
            reason = f"an object there has at most {MAX_PARTS} parts, and this one needs more"
            raise StorageError(reason, "set a larger part_size, or leave it out")
        size = self._schedule(number)
        return Part(number, size, in_memory=size * (self.in_flight + 1) <= _IN_MEMORY)

    def has_room(self, on_their_way: int, count: int, size: int) -> bool:
        """Whether a part of `size` bytes may join `count` others with `on_their_way` bytes."""
        return count == 0 or (count < self.in_flight and on_their_way + size <= _HELD)


class Part:
    """A piece of an object that is kept until the server has it, so that it can be sent again.

    number: from 1. size: bytes so far. Raises NoSpace or StorageError when it cannot be kept.
    """

    def __init__(self, number: int, capacity: int, *, in_memory: bool) -> None:
        self.number = number
        self.size = 0
        self._capacity = capacity
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._digesting = Alongside(self._md5.update)
        self._file: BinaryIO = io.BytesIO() if in_memory else _spool()

    @property
    def full(self) -> bool:
        """Whether nothing more fits."""
        return self.size == self._capacity

    def fill(self, data: memoryview) -> int:
        """Take of `data` what fits; returns how many bytes."""
        taken = data[: self._capacity - self.size]
        try:
            self._file.write(taken)
            if self.size + len(taken) == self._capacity:
                self._file.flush()
        except OSError as cause:
            raise _cannot_keep(cause) from cause
        self._digesting.give(taken)
        self.size += len(taken)
        return len(taken)

    def digest(self) -> bytes:
        """MD5 of what is in it, 16 bytes: S3's own check against damage on the way. For one thread at a time."""
        self._digesting.settle()
        return self._md5.digest()

    def md5(self) -> str:
        """The same as a Content-MD5 header has it."""
        return b64encode(self.digest()).decode()

    def body(self, stop: threading.Event) -> Body:
        """Its bytes from the start, to be sent; for one request at a time."""
        try:
            self._file.seek(0)
        except OSError as cause:
            raise _cannot_keep(cause) from cause
        return Body(self._file, stop)

    def close(self) -> None:
        """Forget its bytes, also those that could not be kept."""
        with contextlib.suppress(OSError):
            self._file.close()


class Body:
    """What a request sends. A file, not bytes: those would have to be sent whole within one timeout, which a slow line
    does not do. Sending ends with Unavailable when `stop` is set."""

    def __init__(self, file: BinaryIO, stop: threading.Event) -> None:
        self._file = file
        self._stop = stop

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        if self._stop.is_set():
            raise Unavailable("the upload was stopped")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()


def _spool_directory() -> Path:
    return Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 (files there have no name)


def _spool() -> BinaryIO:
    try:
        return tempfile.TemporaryFile(dir=_spool_directory())
    except OSError as cause:
        raise _cannot_keep(cause) from cause


def _cannot_keep(cause: OSError) -> StorageError:
    error = NoSpace if cause.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    message = f"cannot keep what is being sent in {_spool_directory()}: {cause.strerror or cause}"
    return error(message, "name another directory in TMPDIR, one with some GiB to spare")
