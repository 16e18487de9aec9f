"""Small archives made in memory, for tests of the format."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Sequence

from drunner_vault.age import EncryptWriter, Recipient
from drunner_vault.archive import ArchiveReader, ArchiveWriter, Manifest, ServiceRecord, VolumeRecord, WriterOptions
from drunner_vault.tar import Entry, Kind

VOLUME = "drunner-notes-data"
PREFIX = b"volumes/" + VOLUME.encode()
CREATED = "2026-01-31T03:00:00Z"
Item = tuple[Entry, Iterable[bytes]]


def manifest(host: str = "there") -> Manifest:
    """The manifest of a service with one volume."""
    service = ServiceRecord("drunner", "notes", "notes:1", 22022)
    return Manifest("0" * 32, CREATED, "tests", host, service, volumes=(VolumeRecord(VOLUME, "/data"),))


def file(path: bytes, data: bytes, **attributes: object) -> Item:
    """A plain file."""
    return Entry(path, Kind.FILE, size=len(data), **attributes), (data,)  # type: ignore[arg-type]


def some_files(count: int = 20, large: int = 0) -> list[Item]:
    """A root, `count` small files, and a file of `large` bytes that do not compress."""
    items: list[Item] = [(Entry(b"", Kind.DIRECTORY, 0o755, 22022), ())]
    items += [file(b"f%04d" % number, b"line %d\n" % number * (number % 50)) for number in range(count)]
    if large:
        items.append(file(b"large", random.Random(7).randbytes(large)))
    return items


def make(
    items: Sequence[Item],
    *,
    recipients: Sequence[Recipient] = (),
    options: WriterOptions | None = None,
    host: str = "there",
) -> bytes:
    """A whole archive of one volume that holds these items."""
    stream = io.BytesIO()
    sink = EncryptWriter(stream, recipients) if recipients else stream
    with ArchiveWriter(sink, manifest(host), 1_769_828_400, options or WriterOptions(threads=1)) as writer:
        writer.add(b"scripts", *file(b"servicerunner", b"#!/bin/bash\n"))
        writer.add(b"hook", Entry(b"", Kind.DIRECTORY, 0o755))
        for entry, content in items:
            writer.add(PREFIX, entry, content)
        writer.finish(CREATED)
    if isinstance(sink, EncryptWriter):
        sink.close()
    return stream.getvalue()


def read_all(data: bytes) -> dict[bytes, bytes]:
    """Every member's data by its name, from an archive in the clear that is proven on the way."""
    with ArchiveReader(io.BytesIO(data).read, 1) as reader:
        return {member.entry.path: b"".join(content) for member, content in reader.members()}
