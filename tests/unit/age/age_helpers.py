"""Whole files in one call, and sources and sinks that misbehave."""

from __future__ import annotations

import base64
import io
import subprocess
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

from drunner_vault.age import ByteSource, DecryptReader, EncryptWriter, Identity, Recipient

SIZES = [0, 1, 15, 65535, 65536, 65537, 131071, 131072, 131073, 1_000_000]
"""Around the borders of chunks, where an off-by-one would show."""


def sample(size: int) -> bytes:
    """Bytes in which every place is different enough that a shift shows."""
    return bytes((index * 7 + (index >> 8) * 13 + (index >> 16)) & 0xFF for index in range(size))


def encrypt(data: bytes, *recipients: Recipient, step: int = 1 << 20) -> bytes:
    sink = io.BytesIO()
    writer = EncryptWriter(sink, recipients)
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
    writer.close()
    return sink.getvalue()


def decrypt(data: bytes, *identities: Identity) -> bytes:
    return DecryptReader(io.BytesIO(data), identities).read()


def released(source: ByteSource, identities: Iterable[Identity], step: int = 4096) -> tuple[bytes, Exception | None]:
    """All plaintext a reader gives away, and the error it ended with."""
    plain = b""
    try:
        reader = DecryptReader(source, list(identities))
        while piece := reader.read(step):
            plain += piece
    except Exception as error:
        return plain, error
    return plain, None


def predictable(start: int = 0) -> Callable[[int], bytes]:
    """Randomness that repeats itself from one run to the next."""
    counter = count(start)
    return lambda size: bytes(next(counter) & 0xFF for _ in range(size))


def armor(data: bytes, newline: bytes = b"\n") -> bytes:
    text = base64.b64encode(data)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    begin, end = b"-----BEGIN AGE ENCRYPTED FILE-----", b"-----END AGE ENCRYPTED FILE-----"
    return newline.join([begin, *lines, end, b""])


def age(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Run the real age; fail with what it says."""
    done = subprocess.run(["age", *map(str, arguments)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Dripping:
    """A source that gives one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, 1))
