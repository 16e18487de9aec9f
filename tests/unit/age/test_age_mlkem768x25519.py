from __future__ import annotations

import io
import subprocess
import sys

import pytest
from age_helpers import SIZES, decrypt, encrypt, sample

from drunner_vault.age import HybridIdentity, HybridRecipient, Stanza, encoding, read_header
from drunner_vault.errors import BadKey, DamagedArchive, WrongKey

IDENTITY = HybridIdentity.generate()
RECIPIENT = IDENTITY.recipient()


@pytest.mark.parametrize("size", SIZES)
def test_a_file_opens_with_the_identity_it_was_written_for(size: int) -> None:
    data = encrypt(sample(size), RECIPIENT)
    assert decrypt(data, IDENTITY) == sample(size)
    with pytest.raises(WrongKey):
        decrypt(data, HybridIdentity.generate())


def test_keys_and_headers_have_the_lengths_of_the_specification() -> None:
    assert str(RECIPIENT).startswith("age1pq1")
    assert len(str(RECIPIENT)) == 1959
    assert str(IDENTITY).startswith("AGE-SECRET-KEY-PQ-1")
    assert len(str(IDENTITY)) == 77
    header = read_header(io.BytesIO(encrypt(b"", RECIPIENT)))
    assert header.recipient_types == ["mlkem768x25519"]
    assert len(header.to_bytes()) == 1627


def test_both_halves_of_the_key_are_needed() -> None:
    other = HybridIdentity.generate().recipient()
    for mixed in (RECIPIENT.public[:1184] + other.public[1184:], other.public[:1184] + RECIPIENT.public[1184:]):
        data = encrypt(b"", HybridRecipient(mixed))
        with pytest.raises(WrongKey):
            decrypt(data, IDENTITY)


class Altered:
    """A post-quantum recipient whose stanza is changed on the way."""

    labels: frozenset[str] = frozenset()

    def __init__(self, share: slice, value: bytes, *more: str, body: bytes | None = None) -> None:
        self._share, self._value, self._more, self._body = share, value, more, body

    def wrap(self, file_key: bytes) -> Stanza:
        stanza = RECIPIENT.wrap(file_key)
        share = bytearray(encoding.decode(stanza.arguments[0].encode()))
        share[self._share] = self._value
        argument = encoding.encode(bytes(share)).decode()
        return Stanza(stanza.kind, (argument, *self._more), stanza.body if self._body is None else self._body)


NOTHING = slice(0, 0)


@pytest.mark.parametrize(
    "altered",
    [
        Altered(slice(1088, 1120), bytes(32)),
        Altered(slice(1088, 1120), b"\x01" + bytes(31)),
        Altered(slice(0, 1), b""),
        Altered(slice(0, 0), b"x"),
        Altered(NOTHING, b"", "another"),
        Altered(NOTHING, b"", body=bytes(31)),
        Altered(NOTHING, b"", body=bytes(33)),
    ],
)
def test_a_malformed_stanza_is_damage(altered: Altered) -> None:
    with pytest.raises(DamagedArchive, match="mlkem768x25519"):
        decrypt(encrypt(b"", altered), IDENTITY)


@pytest.mark.parametrize("place", [0, 500, 1087, 1088, 1118])
def test_an_altered_share_opens_nothing(place: int) -> None:
    with pytest.raises(WrongKey):
        decrypt(encrypt(b"", Altered(slice(place, place + 1), b"\x55\x00"[:1])), IDENTITY)


def test_a_public_key_that_is_none_is_refused() -> None:
    with pytest.raises(BadKey, match="not a valid ML-KEM-768 key"):
        HybridRecipient(b"\xff" * 1184 + RECIPIENT.public[1184:])
    with pytest.raises(BadKey, match="low order"):
        encrypt(b"", HybridRecipient(RECIPIENT.public[:1184] + bytes(32)))


@pytest.mark.parametrize("missing", ["hpke", "asymmetric.mlkem"])
def test_a_build_of_cryptography_without_it_is_told_plainly_and_the_rest_still_works(missing: str) -> None:
    script = f"""
import io, sys
sys.modules["cryptography.hazmat.primitives.{missing}"] = None
from drunner_vault.age import *
from drunner_vault.errors import KeyProblem
x = X25519Identity.generate()
EncryptWriter(io.BytesIO(), [x.recipient()]).close()
[identity] = parse_identities({str(IDENTITY)!r}.encode(), "key.txt")
repr(identity)
for attempt in (identity.recipient, lambda: parse_recipient({str(RECIPIENT)!r})):
    try:
        attempt()
    except KeyProblem as error:
        print(error.message, "|", error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("need ML-KEM and HPKE" in line and "pip install --upgrade cryptography" in line for line in lines)
