"""Bech32, the spelling of age keys (BIP 173, without its length limit)."""

from __future__ import annotations

from collections.abc import Iterable

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE = {letter: value for value, letter in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6


def encode(prefix: str, data: bytes) -> str:
    """Return `data` in Bech32 under `prefix`, in the case the prefix is in."""
    lower = prefix.lower()
    words = _regroup(data, 8, 5, pad=True)
    body = "".join(_ALPHABET[word] for word in [*words, *_checksum(lower, words)])
    text = f"{lower}1{body}"
    return text.upper() if prefix.isupper() else text


def decode(text: str) -> tuple[str, bytes]:
    """Return the prefix, in the case it was written in, and the data. Raises ValueError, never quoting the text."""
    if text not in (text.lower(), text.upper()):
        raise ValueError("it mixes upper and lower case")
    prefix, mark, body = text.rpartition("1")
    if not mark or not prefix or len(body) < _CHECKSUM_LENGTH:
        raise ValueError("it has no prefix or is too short")
    if not all("!" <= letter <= "~" for letter in prefix):
        raise ValueError("it holds a character that no key has")
    words = _words(body.lower())
    if _polymod([*_spread(prefix.lower()), *words]) != 1:
        raise ValueError("its checksum is wrong, so it was mistyped or cut short")
    return prefix, bytes(_regroup(words[:-_CHECKSUM_LENGTH], 5, 8, pad=False))


def _words(body: str) -> list[int]:
    try:
        return [_VALUE[letter] for letter in body]
    except KeyError:
        # The KeyError quotes a letter of what may be a secret.
        raise ValueError("it holds a character that no key has") from None


def _polymod(words: Iterable[int]) -> int:
    state = 1
    for word in words:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ word
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                state ^= generator
    return state


def _spread(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _checksum(prefix: str, words: list[int]) -> list[int]:
    state = _polymod([*_spread(prefix), *words, *[0] * _CHECKSUM_LENGTH]) ^ 1
    return [state >> 5 * (_CHECKSUM_LENGTH - 1 - place) & 31 for place in range(_CHECKSUM_LENGTH)]


def _regroup(values: Iterable[int], width: int, new_width: int, *, pad: bool) -> list[int]:
    """Cut a string of `width`-bit values into `new_width`-bit ones; without `pad`, leftover bits must be few and 0."""
    pool, bits, result = 0, 0, []
    for value in values:
        pool, bits = pool << width | value, bits + width
        while bits >= new_width:
            bits -= new_width
            result.append(pool >> bits)
            pool &= (1 << bits) - 1
    if pad and bits:
        result.append(pool << new_width - bits)
    elif not pad and (bits >= width or pool):
        raise ValueError("its last character is wrong")
    return result
