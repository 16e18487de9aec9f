"""A manifest for what was salvaged: the archive's own, or one made of what else is known."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from drunner_vault import __version__
from drunner_vault.archive.manifest import Manifest, ServiceRecord, VolumeRecord
from drunner_vault.clock import isoformat

_KIND = "drunner"
_NAME = re.compile(r"(?P<service>.+)-(?P<stamp>[0-9]{8}T[0-9]{6}Z)\.tar\.zst(\.age)?")
_OPENING = re.compile(
    r'holds the service "(?P<service>.*)" of host "(?P<host>.*)", as it was at (?P<created>[0-9TZ:-]+)\.'
)
_VOLUME = re.compile(r"^  volumes/(?P<name>[^/\n]+)/  was mounted at (?P<path>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Hints:
    """What is known of an archive from outside of it, and from its RECOVER.txt; empty where it is not known.

    created: RFC 3339, UTC. mounts: by volume, where the service mounts it.
    """

    id: str = ""
    created: str = ""
    host: str = ""
    service: str = ""
    mounts: dict[str, str] = field(default_factory=dict)

    def or_else(self, other: Hints) -> Hints:
        """These, and others where there is nothing here."""
        return Hints(
            self.id or other.id,
            self.created or other.created,
            self.host or other.host,
            self.service or other.service,
            self.mounts or other.mounts,
        )


def hints_from_name(name: str) -> Hints:
    """What an archive's file name tells."""
    match = _NAME.fullmatch(name)
    if not match:
        return Hints()
    try:
        moment = dt.datetime.strptime(match["stamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return Hints(service=match["service"])
    return Hints(created=isoformat(moment), service=match["service"])


def hints_from_recover(text: bytes) -> Hints:
    """What RECOVER.txt tells."""
    words = text.decode("ascii", "replace")
    opening = _OPENING.search(words)
    mounts = {match["name"]: match["path"] for match in _VOLUME.finditer(words)}
    if not opening:
        return Hints(mounts=mounts)
    return Hints(created=opening["created"], host=opening["host"], service=opening["service"], mounts=mounts)


def kept(manifest: Manifest) -> Manifest:
    """The manifest of the new archive, if the damaged one's survives: all as it was, but made by us."""
    return replace(manifest, id=secrets.token_hex(16), tool=_tool(manifest.id))


def made_anew(hints: Hints, volumes: Iterable[str], now: dt.datetime) -> Manifest:
    """The manifest of the new archive, if the damaged one's is lost.

    volumes: names seen in the archive. Image and settings stay unknown. Without any hint of when the archive was
    made, it is `now`.
    """
    names = dict.fromkeys([*volumes])
    return Manifest(
        id=secrets.token_hex(16),
        created=hints.created or isoformat(now),
        tool=f"{_tool(hints.id)}, whose manifest was lost",
        host=hints.host or "unknown",
        service=ServiceRecord(_KIND, hints.service or "salvaged", "", 0),
        volumes=tuple(VolumeRecord(name, hints.mounts.get(name, "")) for name in names),
    )


def _tool(archive: str) -> str:
    return f"drunner-vault {__version__}, salvaged from archive {archive or 'of unknown id'}"
