"""One command at a time on one service.

The lock is flock(2) on `ROOT/locks/NAME.lock`; the kernel gives it up when its holder dies, so a file that was left
behind is no obstacle. The file says who holds it, for the message to everybody else. It is removed at the end, which
needs care: a lock counts only while its file is still the one of that name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from drunner_vault.durable import make_directory, storage_error
from drunner_vault.errors import BadServiceName, ServiceBusy
from drunner_vault.services.names import check_service_name


@contextlib.contextmanager
def service_lock(root: Path, name: str, doing: str) -> Iterator[None]:
    """Hold the service for the length of the block.

    doing: the command, as a person knows it. Raises ServiceBusy at once, never waits, if another command holds it; also
    one of this process. Programs started meanwhile do not inherit the lock.
    """
    path = root / "locks" / f"{check_service_name(name)}.lock"
    try:
        fd = _acquire(path, name)
        os.truncate(fd, 0)
        os.write(fd, f"{os.getpid()} {doing}\n".encode())
    except OSError as cause:
        raise storage_error("lock", path, cause) from cause
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while we still hold it, so it is ours that goes
        os.close(fd)
        with contextlib.suppress(OSError):  # other services' locks, or a command that is just taking one
            path.parent.rmdir()


def locked_services(root: Path, doing: str) -> set[str]:
    """The services that commands are working on. Lock files that killed commands left are removed."""
    busy: set[str] = set()
    for path in (root / "locks").glob("*.lock"):
        try:
            with service_lock(root, path.stem, doing):
                pass
        except ServiceBusy:
            busy.add(path.stem)
        except BadServiceName:  # not one of ours
            continue
    return busy


def _acquire(path: Path, name: str) -> int:
    """A descriptor with the lock on the file that is `path` now."""
    while True:
        make_directory(path.parent)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # the directory went with the last lock in it
            continue
        if not _take(fd):
            holder = _holder(fd)
            os.close(fd)
            raise ServiceBusy(f"{name} is busy: {holder}", "try again when that has ended")
        if _is_still(path, fd):
            return fd
        os.close(fd)


def _take(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> str:
    pid, _, doing = os.pread(fd, 1000, 0).decode("utf-8", "replace").strip().partition(" ")
    return f"'{doing}' is working on it (process {pid})" if doing else "another command is working on it"


def _is_still(path: Path, fd: int) -> bool:
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
