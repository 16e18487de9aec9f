"""Sidecars of version 1, which are only read: they were not signed, so nothing is decided by them."""

from __future__ import annotations

import base64

from drunner_vault.archive.documents import Fields, parse
from drunner_vault.errors import DamagedArchive

FORMAT = "drunner-vault-sidecar"
_CHUNKS = b'"chunks": ['
_MAX_CHUNK = 1 << 30


def parse_whole(data: bytes) -> Fields:
    """Return the fields of a sidecar of version 1. Raises DamagedArchive."""
    return parse(data, "the sidecar", _whole)


def parse_beginning(data: bytes) -> Fields:
    """Return the fields of a sidecar of version 1 whose file begins with `data`; `chunks` may be left out.

    Raises DamagedArchive if it is not one, or if its chunks begin later.
    """
    try:
        return parse_whole(data)
    except DamagedArchive:
        before, found, _ = data.partition(_CHUNKS)
        if not found:
            raise
    return parse(before + _CHUNKS + b"]}", "the sidecar", _checked)


def age_header_of(document: Fields) -> bytes:
    """Return the copy of the age header; empty for an archive that is not encrypted. Raises ValueError."""
    text = document.values.get("age_header") or ""
    if not isinstance(text, str):
        raise ValueError("age_header is of the wrong kind")
    return base64.b64decode(text, validate=True)


def _whole(document: Fields) -> Fields:
    _checked(document)
    if len(document.texts("chunks")) != -(-document.number("size") // document.number("chunk_size")):
        raise ValueError("its sizes do not agree")
    return document


def _checked(document: Fields) -> Fields:
    """Check the type of every field that is used later."""
    if (document.text("format"), document.number("version")) != (FORMAT, 1):
        raise ValueError("it is of another format or version")
    for key in ("archive", "sha256"):
        document.text(key)
    for key in ("id", "created", "host", "service", "signer"):
        document.text(key, "")
    for key in ("recipients", "sealed_to"):
        document.texts(key)
    document.number("size")
    document.number("problems", 0)
    age_header_of(document)
    if not 0 < document.number("chunk_size") <= _MAX_CHUNK:
        raise ValueError("its sizes do not agree")
    return document
