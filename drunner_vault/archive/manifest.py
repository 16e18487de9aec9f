"""The manifest: all that is known before the first byte of data is read. The first member of every archive.

JSON, UTF-8. Readers ignore keys they do not know, and refuse a version or a mandatory feature they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from drunner_vault.archive.layout import (
    CONTENT_FRAME,
    FORMAT_NAME,
    FORMAT_VERSION,
    LARGE_MEMBER,
    MAX_FRAME_CONTENT,
)
from drunner_vault.errors import DamagedArchive, NotAnArchive, UnsupportedArchive

KNOWN_FEATURES: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ImageRecord:
    """One image that the service needs.

    reference: the name the service uses. id: `sha256:…` of its configuration. digests: `repository@sha256:…` under
    which a registry has it. embedded: whether the image itself is in the archive. size: bytes, unpacked.
    """

    reference: str
    id: str
    digests: tuple[str, ...] = ()
    architecture: str = ""
    os: str = ""
    size: int = 0
    embedded: bool = False


@dataclass(frozen=True)
class VolumeRecord:
    """One volume, found in the archive below `volumes/<name>`.

    path: where the service mounts it. access: `host` or `engine`, how it was read. lost: what that way of reading
    could not carry, in words; empty for full fidelity.
    """

    name: str
    path: str
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    access: str = "host"
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceRecord:
    """What kind of thing was backed up, and what is needed to install it anew.

    kind: `drunner`. image: the reference it was installed from. uid: numeric user of the image. settings: what the kind
    itself needs; for a dRunner service its volumes in order, its extra containers and its dialect.
    """

    kind: str
    name: str
    image: str
    uid: int
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The whole manifest. created: RFC 3339, UTC. id: 32 hex digits, random. features: what a reader must know."""

    id: str
    created: str
    tool: str
    host: str
    service: ServiceRecord
    images: tuple[ImageRecord, ...] = ()
    volumes: tuple[VolumeRecord, ...] = ()
    hook: bool = True
    level: int = 3
    features: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The manifest as it stands in the archive."""
        parameters = {
            "content_frame": CONTENT_FRAME,
            "large_member": LARGE_MEMBER,
            "max_frame_content": MAX_FRAME_CONTENT,
        }
        document = {"format": FORMAT_NAME, "version": FORMAT_VERSION, **asdict(self), "frames": parameters}
        return json.dumps(document, indent=2, ensure_ascii=True).encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """The manifest that `data` holds.

    Raises NotAnArchive if it is no manifest of this format, UnsupportedArchive for a version or mandatory feature
    this program does not know, DamagedArchive if a part is missing or has the wrong type.
    """
    try:
        document = json.loads(data)
    except (UnicodeDecodeError, ValueError) as cause:
        raise DamagedArchive(f"the manifest is not JSON: {cause}", "use another copy of the archive") from cause
    if not isinstance(document, dict) or document.get("format") != FORMAT_NAME:
        raise NotAnArchive("this is no drunner-vault archive: its manifest is of another format", "check the file")
    _refuse_unknown(document)
    try:
        return _from_document(document)
    except (KeyError, TypeError, ValueError) as cause:
        raise DamagedArchive(
            f"the manifest is incomplete or has a value of the wrong kind: {cause}", "use another copy of the archive"
        ) from cause


def _refuse_unknown(document: dict[str, Any]) -> None:
    version = document.get("version")
    if version != FORMAT_VERSION:
        raise UnsupportedArchive(
            f"the archive is of format version {version!r}; this program knows version {FORMAT_VERSION}",
            "install a newer drunner-vault, or open it with age, zstd and tar as RECOVER.txt inside it says",
        )
    features = document.get("features") or []
    unknown = [str(feature) for feature in features if feature not in KNOWN_FEATURES]
    if unknown:
        raise UnsupportedArchive(
            f"the archive needs features this program does not know: {', '.join(unknown)}",
            "install a newer drunner-vault",
        )


def _from_document(document: dict[str, Any]) -> Manifest:
    service = document["service"]
    return Manifest(
        id=_text(document, "id"),
        created=_text(document, "created"),
        tool=_text(document, "tool"),
        host=_text(document, "host"),
        service=ServiceRecord(
            kind=_text(service, "kind"),
            name=_text(service, "name"),
            image=_text(service, "image"),
            uid=int(service["uid"]),
            settings=dict(service.get("settings", {})),
        ),
        images=tuple(_image(image) for image in document.get("images", [])),
        volumes=tuple(_volume(volume) for volume in document.get("volumes", [])),
        hook=bool(document.get("hook", True)),
        level=int(document.get("level", 3)),
        features=tuple(str(feature) for feature in document.get("features", [])),
    )


def _image(image: dict[str, Any]) -> ImageRecord:
    return ImageRecord(
        reference=_text(image, "reference"),
        id=_text(image, "id"),
        digests=tuple(str(digest) for digest in image.get("digests", [])),
        architecture=str(image.get("architecture", "")),
        os=str(image.get("os", "")),
        size=int(image.get("size", 0)),
        embedded=bool(image.get("embedded", False)),
    )


def _volume(volume: dict[str, Any]) -> VolumeRecord:
    return VolumeRecord(
        name=_text(volume, "name"),
        path=_text(volume, "path"),
        driver=str(volume.get("driver", "local")),
        options=dict(volume.get("options") or {}),
        labels=dict(volume.get("labels") or {}),
        access=str(volume.get("access", "host")),
        lost=tuple(str(loss) for loss in volume.get("lost", [])),
    )


def _text(mapping: dict[str, Any], key: str) -> str:
    value = mapping[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is not text")
    return value
