"""The fixed names and numbers of archive format 1. The specification is docs/archive-spec.md."""

from __future__ import annotations

import datetime as dt
import re

from drunner_vault.clock import stamp

FORMAT_NAME = "drunner-vault"
FORMAT_VERSION = 1

# Top-level places, in the only order in which they may come.
MANIFEST = b"manifest.json"
RECOVER = b"RECOVER.txt"
SCRIPTS = b"scripts"
IMAGES = b"images"
HOOK = b"hook"
VOLUMES = b"volumes"
INDEX = b"index"
MEMBER_SHARD = b"index/members-%06d.jsonl"
FRAME_SHARD = b"index/frames-%06d.jsonl"
ROOT = b"index/root.json"
SIGNATURE = b"index/root.json.sig"
PLACES = (MANIFEST, RECOVER, SCRIPTS, IMAGES, HOOK, VOLUMES, INDEX)

CONTENT_FRAME = 1 << 20  # bytes of content in each frame of a large member
LARGE_MEMBER = 128 << 10  # stored bytes from which a member's content gets frames of its own
SHARED_FRAME = 1 << 20  # small members share a frame up to this size
MAX_FRAME_CONTENT = 8 << 20  # no frame holds more; also the largest window a reader has to keep
MAX_MANIFEST = 4 << 20
MAX_ROOT = 64 << 20
MAX_SIGNATURE = 64 << 10
SHARD_ROWS = 4096
SHARD_BYTES = 768 << 10

SUFFIX = ".tar.zst"
ENCRYPTED_SUFFIX = ".tar.zst.age"


def place_rank(name: bytes) -> int | None:
    """Where in the order of places a member stands, by its full name; None if it has no place in an archive."""
    top, slash, rest = name.partition(b"/")
    if top in (MANIFEST, RECOVER):
        return None if slash else PLACES.index(top)
    if top not in PLACES or (slash and not rest):
        return None
    return PLACES.index(top)


_NAME = re.compile(r"(?P<service>.+)-(?P<stamp>[0-9]{8}T[0-9]{6}Z)\.tar\.zst(\.age)?")


def archive_name(service: str, created: dt.datetime, *, encrypted: bool) -> str:
    """The file name of an archive, which says how to open it."""
    return f"{service}-{stamp(created)}{ENCRYPTED_SUFFIX if encrypted else SUFFIX}"


def archive_stamp(name: str) -> str | None:
    """The time in an archive's file name, YYYYMMDDTHHMMSSZ; None if it is no such name."""
    match = _NAME.fullmatch(name)
    return match["stamp"] if match else None


def archive_service(name: str) -> str | None:
    """The service in an archive's file name; None if it is no such name."""
    match = _NAME.fullmatch(name)
    return match["service"] if match else None
