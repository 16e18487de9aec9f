"""Headers of plain files as `encode` writes them, told at sight: most of what most archives hold.

Taking a header apart with all the care it needs takes longer than making it. So what it seems to say is read from where
it would stand, and believed if a header that says so has just these bytes; that proves the checksums too.
"""

from __future__ import annotations

from functools import lru_cache

from drunner_vault.tar.encode import BLOCK, OCTAL_11, encode_header
from drunner_vault.tar.entry import Entry, Kind

_SECOND = 10**9
_MAX_MODE = 0o7777
_MAX_MTIME = OCTAL_11 * _SECOND
_MTIME = b" mtime="  # after the length of its record, which has two digits
_RECORD = 64  # bytes: more than such a record has


def familiar_file(buffer: bytes, at: int) -> tuple[Entry, int] | None:
    """The plain file whose headers begin at `at`, and their size in bytes; None for anything that is not told at sight:
    `decode` has to say what it is, or what is wrong with it."""
    flag = buffer[at + 156 : at + 157]
    main = at + 2 * BLOCK if flag == b"x" else at
    try:
        mode, uid, gid = _owner(buffer[main + 100 : main + 123])
        size = int(buffer[main + 124 : main + 135], 8)
        if main == at:
            mtime_ns = int(buffer[main + 136 : main + 147], 8) * _SECOND
        else:
            mtime_ns = _mtime(buffer[at + BLOCK : at + BLOCK + _RECORD])
    except ValueError:
        return None
    name = buffer[main : main + 100].partition(b"\0")[0]
    # beyond these, a header may read and write alike and still need care
    if not name or name.endswith(b"/") or not 0 <= mtime_ns <= _MAX_MTIME or size < 0:
        return None
    entry = Entry(name, Kind.FILE, mode, uid, gid, size, mtime_ns)
    header = encode_header(entry, name)
    return (entry, len(header)) if buffer.startswith(header, at) else None


@lru_cache(maxsize=256)
def _owner(fields: bytes) -> tuple[int, int, int]:
    """Mode, user and group, from their fields. Raises ValueError."""
    mode, uid, gid = int(fields[0:7], 8), int(fields[8:15], 8), int(fields[16:23], 8)
    if not 0 <= mode <= _MAX_MODE or min(uid, gid) < 0:
        raise ValueError("needs care")
    return mode, uid, gid


def _mtime(body: bytes) -> int:
    """Nanoseconds, from an extended header with nothing else. Raises ValueError."""
    seconds, point, fraction = body[len(_MTIME) + 2 :].partition(b"\n")[0].partition(b".")
    if not point:
        raise ValueError("no fraction, so it would not be here")
    return int(seconds) * _SECOND + int(fraction.ljust(9, b"0"))
