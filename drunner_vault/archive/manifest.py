"""The manifest: all that is known before the first byte of data is read. The first member of every archive.

JSON, UTF-8. Readers ignore keys they do not know, and refuse a version or a mandatory feature they do not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from drunner_vault.archive.documents import Fields, parse
from drunner_vault.archive.layout import (
    CONTENT_FRAME,
    FORMAT_NAME,
    FORMAT_VERSION,
    LARGE_MEMBER,
    MAX_FRAME_CONTENT,
)
from drunner_vault.errors import NotAnArchive, UnsupportedArchive

KNOWN_FEATURES: frozenset[str] = frozenset()
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")  # as Docker has it


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
    return parse(data, "the manifest", _from_document)


def _from_document(document: Fields) -> Manifest:
    if document.values.get("format") != FORMAT_NAME:
        raise NotAnArchive("this is no drunner-vault archive: its manifest is of another format", "check the file")
    _refuse_unknown(document)
    return Manifest(
        id=document.text("id"),
        created=document.text("created"),
        tool=document.text("tool"),
        host=document.text("host"),
        service=_service(document.object("service")),
        images=tuple(_image(image) for image in document.objects("images")),
        volumes=tuple(_volume(volume) for volume in document.objects("volumes")),
        hook=document.flag("hook", True),
        level=document.number("level", 3),
        features=document.texts("features"),
    )


def _refuse_unknown(document: Fields) -> None:
    version = document.values.get("version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise UnsupportedArchive(
            f"the archive is of format version {str(version)[:40]}; this program knows version {FORMAT_VERSION}",
            "install a newer drunner-vault, or open it with age, zstd and tar as RECOVER.txt inside it says",
        )
    unknown = [feature for feature in document.texts("features") if feature not in KNOWN_FEATURES]
    if unknown:
        raise UnsupportedArchive(
            f"the archive needs features this program does not know: {', '.join(unknown)}",
            "install a newer drunner-vault",
        )


def _service(service: Fields) -> ServiceRecord:
    return ServiceRecord(
        kind=service.text("kind"),
        name=service.text("name"),
        image=service.text("image"),
        uid=service.number("uid"),
        settings=service.object("settings").values,
    )


def _image(image: Fields) -> ImageRecord:
    return ImageRecord(
        reference=image.text("reference"),
        id=image.text("id"),
        digests=image.texts("digests"),
        architecture=image.text("architecture", ""),
        os=image.text("os", ""),
        size=image.number("size", 0),
        embedded=image.flag("embedded", False),
    )


def _volume(volume: Fields) -> VolumeRecord:
    name = volume.text("name")
    if not _VOLUME_NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no name for a volume")
    return VolumeRecord(
        name=name,
        path=volume.text("path"),
        driver=volume.text("driver", "local"),
        options=_texts_by_name(volume.object("options")),
        labels=_texts_by_name(volume.object("labels")),
        access=volume.text("access", "host"),
        lost=volume.texts("lost"),
    )


def _texts_by_name(fields: Fields) -> dict[str, str]:
    return {key: fields.text(key) for key in fields.values}
