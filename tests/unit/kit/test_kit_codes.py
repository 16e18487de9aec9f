"""Codes on a recovery kit: what a scanner reads is what was put in."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scanning import scan_drawing

from drunner_vault.age import EncryptWriter, HybridIdentity, ScryptRecipient, X25519Identity, armored
from drunner_vault.kit.codes import LONGEST, MOST, codes, pieces


def identity_file(identity: X25519Identity | HybridIdentity) -> str:
    return f"# created: 2026-01-31T03:00:00Z\n# public key: {identity.recipient()}\n{identity}\n"


def protected(text: str) -> str:
    out = io.BytesIO()
    writer = EncryptWriter(out, [ScryptRecipient("words", 10)])
    writer.write(text.encode())
    writer.close()
    return armored(out.getvalue()).decode()


TEXTS = {
    "an identity": identity_file(X25519Identity.generate()),
    "a post-quantum identity": identity_file(HybridIdentity.generate()),
    "an identity with a passphrase": protected(identity_file(X25519Identity.generate())),
    "lines of another system": identity_file(X25519Identity.generate()).replace("\n", "\r\n"),
    "no end of the last line": "AGE-SECRET-KEY-1",
    "other letters": "# Schlüssel für größere Nöte, 鍵\nAGE-SECRET-KEY-1\n",
}


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("name", TEXTS)
def test_scanning_the_codes_in_order_gives_the_exact_text_back(name: str, tmp_path: Path) -> None:
    text = TEXTS[name]
    read = [scan_drawing(code.svg, tmp_path) for code in codes(text)]
    assert b"".join(read) == text.encode()
    assert len(read) == (3 if "post-quantum" in name else 1)


@pytest.mark.usefixtures("scanner")
def test_the_fullest_code_is_read_too(tmp_path: Path) -> None:
    text = "x" * LONGEST
    (code,) = codes(text)
    assert scan_drawing(code.svg, tmp_path) == text.encode()
    assert code.width < 80  # millimetres: two stand beside each other
    assert ' d="M4 4.5' in code.svg  # four modules of white around it, as a code must have


@given(st.text(st.sampled_from("ab\n\tü鍵"), max_size=LONGEST))
def test_pieces_are_the_text_again_and_each_fits_into_a_code(text: str) -> None:
    text = "xx".join(text)  # somewhere to cut
    found = pieces(text)
    assert "".join(found) == text
    assert all(len(piece.encode()) <= LONGEST for piece in found)


@given(st.integers(1, LONGEST * (MOST - 1)))
def test_there_are_no_more_pieces_than_needed_and_none_ends_in_white_space_but_the_last(size: int) -> None:
    text = ("AGE-SECRET-KEY " * size)[:size]
    found = pieces(text)
    assert len(found) <= -(-size // LONGEST) + 1
    assert all(piece == piece.rstrip() for piece in found[:-1])
    assert all(piece == piece.lstrip() for piece in found[1:])


def test_what_is_too_long_for_a_page_is_refused() -> None:
    assert len(pieces("x" * LONGEST * MOST)) == MOST
    assert len(pieces("鍵" * 1000)) == 4
    with pytest.raises(ValueError, match="6401 bytes"):
        pieces("x" * (LONGEST * MOST + 1))
    with pytest.raises(ValueError, match="too many"):
        pieces("x" + " " * 2 * LONGEST + "x")
