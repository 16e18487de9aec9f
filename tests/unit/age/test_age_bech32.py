from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drunner_vault.age import bech32

PREFIXES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30).map(str.lower)


@given(PREFIXES, st.binary(max_size=200))
def test_what_is_encoded_decodes_to_itself(prefix: str, data: bytes) -> None:
    assert bech32.decode(bech32.encode(prefix, data)) == (prefix, data)


@given(st.binary(max_size=64))
def test_an_upper_case_prefix_gives_upper_case_text(data: bytes) -> None:
    text = bech32.encode("AGE-SECRET-KEY-", data)
    assert text == text.upper()
    assert bech32.decode(text) == ("AGE-SECRET-KEY-", data)


def test_every_single_mistyped_letter_is_noticed() -> None:
    text = bech32.encode("age", bytes(range(32)))
    for place in range(4, len(text)):
        wrong = "q" if text[place] != "q" else "p"
        with pytest.raises(ValueError, match="checksum"):
            bech32.decode(text[:place] + wrong + text[place + 1 :])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no prefix"),
        ("1qqqqqq", "no prefix"),
        ("age1qqq", "too short"),
        ("noseparator", "no prefix"),
        ("age1bbbbbbbbbb", "character"),
        ("a ge1qqqqqqqqqq", "character"),
        ("Age1qqqqqqqqqq", "case"),
    ],
)
def test_malformed_text_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bech32.decode(text)


@pytest.mark.parametrize("words", [[*[0] * 51, 1], [0] * 54])
def test_bits_left_over_must_be_few_and_zero(words: list[int]) -> None:
    body = [*words, *bech32._checksum("age", words)]
    with pytest.raises(ValueError, match="last character"):
        bech32.decode("age1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[word] for word in body))
