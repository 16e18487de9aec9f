"""Texts as QR codes, from which a scanner gives back exactly what was put in. The home of segno.

A code holds bytes (ISO/IEC 18004, byte mode). Letters beyond ASCII are UTF-8 and marked as such (ECI 26): scanners
guess otherwise, and not all guess right. A text that is too long for one code that prints well is cut into several; put
behind each other, with nothing between, they are the text again.
"""

from __future__ import annotations

from dataclasses import dataclass

import segno

LONGEST = 800  # bytes in a code: 117 modules a side, which scan well from a print of eight centimetres
MOST = 8  # codes of one text, on two pages
_MODULE = 0.62  # millimetres: phones want 0.5 or more
_BORDER = 4  # modules of white that a code must have around it


@dataclass(frozen=True)
class Code:
    """One code. svg: an element to stand in HTML. width: in millimetres, as it should be printed."""

    svg: str
    width: float


def codes(text: str) -> list[Code]:
    """The codes of a text, in order."""
    return [_code(piece) for piece in pieces(text)]


def pieces(text: str) -> list[str]:
    """The text in as few pieces as fit into codes, much alike in length.

    No piece begins or ends with white space where it was cut, since scanners and people drop that. Raises ValueError
    for a text that is too long.
    """
    size = len(text.encode())
    count = max(1, -(-size // LONGEST))
    while count <= MOST:
        found = _cut(text, -(-size // count))
        if found is not None and len(found) <= MOST:
            return found
        count += 1
    raise ValueError(f"{size} bytes are too many for {MOST} codes")


def _cut(text: str, length: int) -> list[str] | None:
    """The text in pieces of about so many bytes; None if one of them is too long for a code."""
    found: list[str] = []
    start = size = 0
    for at, char in enumerate(text):
        if size >= length and not (text[at - 1].isspace() or char.isspace()):
            found.append(text[start:at])
            start, size = at, 0
        size += len(char.encode())
    found.append(text[start:])
    return found if all(len(piece.encode()) <= LONGEST for piece in found) else None


def _code(text: str) -> Code:
    marked = not text.isascii()
    code = segno.make(text, mode="byte", encoding="utf-8", eci=marked, error="m", boost_error=False, micro=False)
    modules, _ = code.symbol_size(border=_BORDER)
    return Code(code.svg_inline(border=_BORDER, omitsize=True), round(modules * _MODULE, 1))
