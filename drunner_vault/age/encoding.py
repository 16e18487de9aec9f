"""Base64 as age wants it: standard alphabet, no padding, one spelling for each value (RFC 4648, 3.5 and 4)."""

from __future__ import annotations

import base64
import binascii


def encode(data: bytes) -> bytes:
    """Return `data` in unpadded base64, ASCII."""
    return base64.b64encode(data).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """Return the bytes behind unpadded base64. Raises ValueError for padding, foreign letters and second spellings."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    # Leftover bits that are not zero would let one value be written in several ways, and a header be altered unseen.
    if encode(data) != text:
        raise ValueError("not canonical base64")
    return data
