"""age v1 over byte streams (C2SP age.md): encrypting, decrypting, keys. Knows no archive and no place of storage.

recipients → lock ─ header ─┐                     ┌─ header → unlock ← identities
                            ├─ bytes of the file ─┤
plaintext → chunks, sealed ─┘                     └─ chunks, opened → plaintext
"""

from drunner_vault.age.armor import ARMOR_BEGIN, armored, dearmor
from drunner_vault.age.header import MAGIC, Header, Stanza
from drunner_vault.age.identities import parse_identities
from drunner_vault.age.keys import Identity, Recipient
from drunner_vault.age.mlkem768x25519 import HybridIdentity, HybridRecipient
from drunner_vault.age.primitives import RandomBytes
from drunner_vault.age.reader import DecryptReader, Outline, chunk_cipher, read_header, read_outline
from drunner_vault.age.recipients import parse_recipient, parse_recipients_file
from drunner_vault.age.scrypt import ScryptIdentity, ScryptRecipient
from drunner_vault.age.seekable import ReadAt, SeekableReader
from drunner_vault.age.source import ByteSource
from drunner_vault.age.stream import CHUNK, SEALED_CHUNK, ChunkCipher
from drunner_vault.age.writer import ByteSink, EncryptWriter
from drunner_vault.age.x25519 import X25519Identity, X25519Recipient

__all__ = [
    "ARMOR_BEGIN",
    "CHUNK",
    "MAGIC",
    "SEALED_CHUNK",
    "ByteSink",
    "ByteSource",
    "ChunkCipher",
    "DecryptReader",
    "EncryptWriter",
    "Header",
    "HybridIdentity",
    "HybridRecipient",
    "Identity",
    "Outline",
    "RandomBytes",
    "ReadAt",
    "Recipient",
    "ScryptIdentity",
    "ScryptRecipient",
    "SeekableReader",
    "Stanza",
    "X25519Identity",
    "X25519Recipient",
    "armored",
    "chunk_cipher",
    "dearmor",
    "parse_identities",
    "parse_recipient",
    "parse_recipients_file",
    "read_header",
    "read_outline",
]
