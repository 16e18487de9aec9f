"""The archive format: tar profile, frames, manifest, index, trailer; a writer and a reader. See docs/archive-spec.md."""

from drunner_vault.archive.layout import ENCRYPTED_SUFFIX, HOOK, IMAGES, SCRIPTS, SUFFIX, VOLUMES
from drunner_vault.archive.manifest import ImageRecord, Manifest, ServiceRecord, VolumeRecord
from drunner_vault.archive.reader import ArchiveReader
from drunner_vault.archive.root import Root
from drunner_vault.archive.writer import ArchiveWriter, WriterOptions

__all__ = [
    "ENCRYPTED_SUFFIX",
    "HOOK",
    "IMAGES",
    "SCRIPTS",
    "SUFFIX",
    "VOLUMES",
    "ArchiveReader",
    "ArchiveWriter",
    "ImageRecord",
    "Manifest",
    "Root",
    "ServiceRecord",
    "VolumeRecord",
    "WriterOptions",
]
