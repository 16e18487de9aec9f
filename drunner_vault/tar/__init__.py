"""PAX tar over byte streams: entries to bytes and back. Knows no archive, no volume."""

from drunner_vault.tar.decode import Member, Source, TarReader
from drunner_vault.tar.encode import END_OF_ARCHIVE, encode_header, encode_members, padding, stored_size
from drunner_vault.tar.entry import Entry, Kind, Segment

__all__ = [
    "END_OF_ARCHIVE",
    "Entry",
    "Kind",
    "Member",
    "Segment",
    "Source",
    "TarReader",
    "encode_header",
    "encode_members",
    "padding",
    "stored_size",
]
