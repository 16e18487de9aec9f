"""The archive format: frames, manifest, index, trailer; a writer and a reader. See docs/archive-spec.md."""

from drunner_vault.archive.frames import Sink
from drunner_vault.archive.layout import HOOK, IMAGES, SCRIPTS, VOLUMES, archive_name, archive_stamp
from drunner_vault.archive.manifest import ImageRecord, Manifest, ServiceRecord, VolumeRecord
from drunner_vault.archive.reader import ArchiveReader
from drunner_vault.archive.root import Root
from drunner_vault.archive.writer import ArchiveWriter, WriterOptions

__all__ = [
    "HOOK",
    "IMAGES",
    "SCRIPTS",
    "VOLUMES",
    "ArchiveReader",
    "ArchiveWriter",
    "ImageRecord",
    "Manifest",
    "Root",
    "ServiceRecord",
    "Sink",
    "VolumeRecord",
    "WriterOptions",
    "archive_name",
    "archive_stamp",
]
