"""The archive format: frames, manifest, index, trailer; a writer and a reader. See docs/archive-spec.md."""

from drunner_vault.archive.digests import data_digest
from drunner_vault.archive.frames import Sink
from drunner_vault.archive.index import MemberRow
from drunner_vault.archive.layout import HOOK, IMAGES, SCRIPTS, VOLUMES, archive_name, archive_service, archive_stamp
from drunner_vault.archive.manifest import ImageRecord, Manifest, ServiceRecord, VolumeRecord
from drunner_vault.archive.reader import ArchiveReader
from drunner_vault.archive.root import Root
from drunner_vault.archive.seekable import SeekableArchive
from drunner_vault.archive.sidecar import (
    HashingSink,
    Head,
    Place,
    Rest,
    Sidecar,
    SidecarHead,
    differences,
    parse_sidecar,
    parse_sidecar_head,
)
from drunner_vault.archive.trailer import is_padded_size
from drunner_vault.archive.writer import ArchiveWriter, WriterOptions

__all__ = [
    "HOOK",
    "IMAGES",
    "SCRIPTS",
    "VOLUMES",
    "ArchiveReader",
    "ArchiveWriter",
    "HashingSink",
    "Head",
    "ImageRecord",
    "Manifest",
    "MemberRow",
    "Place",
    "Rest",
    "Root",
    "SeekableArchive",
    "ServiceRecord",
    "Sidecar",
    "SidecarHead",
    "Sink",
    "VolumeRecord",
    "WriterOptions",
    "archive_name",
    "archive_service",
    "archive_stamp",
    "data_digest",
    "differences",
    "is_padded_size",
    "parse_sidecar",
    "parse_sidecar_head",
]
