"""Reading and writing files past the page cache: with O_DIRECT, where a file system lies straight on a disk.

What goes through the page cache is copied once more, by a processor that is wanted for other things, and pushes out of
it what the host's services have there. What is in the cache already is taken from it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable

_BLOCK = 4096  # what O_DIRECT wants offsets, sizes and memory to be multiples of, at the most
_local = threading.local()


def read_at(fd: int, size: int, at: int) -> bytes:
    """Up to `size` bytes from an offset; fewer only at the file's end."""
    cached = bytearray(size)
    try:
        if os.preadv(fd, [cached], at, os.RWF_NOWAIT) == size:
            return cached  # type: ignore[return-value]  # whoever takes it only reads it
    except OSError as cause:
        if cause.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
            raise
    if not at % _BLOCK and _is_on_a_disk(fd):
        piece = _read_blocks(fd, size, at)
        if piece is not None:
            return piece
    read = os.pread(fd, size, at)
    os.posix_fadvise(fd, at, size, os.POSIX_FADV_DONTNEED)
    return read


def is_cached(fd: int) -> bool:
    """Whether the file's first byte would come from the page cache."""
    try:
        return os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT) > 0
    except OSError as cause:
        return cause.errno != errno.EAGAIN


def write_at(fd: int, buffer: mmap.mmap, size: int, at: int) -> None:
    """All of the buffer's first `size` bytes to a place in the file. at: a multiple of 4096."""
    whole = size - size % _BLOCK
    with memoryview(buffer) as view:
        done = _write_blocks(fd, view[:whole], at) if whole and _is_on_a_disk(fd) else 0
        while done < size:
            done += os.pwrite(fd, view[done:size], at + done)


def _read_blocks(fd: int, size: int, at: int) -> bytes | None:
    """Up to `size` bytes from an offset; None where the file system does not read so."""
    needed = -(-size // _BLOCK) * _BLOCK
    with memoryview(_aligned(needed)) as view:
        done = _directly(fd, lambda: os.preadv(fd, [view[:needed]], at))
        return None if done is None else bytes(view[: min(done, size)])


def _write_blocks(fd: int, view: memoryview, at: int) -> int:
    """Returns how much of it was written; less than all where the file system does not write so."""
    done = 0
    while done < len(view):
        written = _directly(fd, lambda: os.pwrite(fd, view[done:], at + done))  # noqa: B023 (called at once)
        if not written:
            break
        done += written
    return done


def _directly(fd: int, call: Callable[[], int]) -> int | None:
    """What the call returns while the descriptor has O_DIRECT; None if that is not possible here."""
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_DIRECT)
        try:
            return call()
        finally:
            fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    except OSError as cause:
        if cause.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return None


def _aligned(size: int) -> mmap.mmap:
    """Memory for at least `size` bytes, of this thread, used again by its next call."""
    buffer: mmap.mmap | None = getattr(_local, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = _local.buffer = mmap.mmap(-1, size)
    return buffer


def _is_on_a_disk(fd: int) -> bool:
    """Whether its file system lies straight on a block device. Others (NFS, btrfs, tmpfs) have no O_DIRECT, or are
    slower with it."""
    return os.major(os.fstat(fd).st_dev) != 0
