from __future__ import annotations

import io
import resource

import pyrage
import pytest
from age_helpers import decrypt, encrypt, predictable, sample

from drunner_vault.age import DecryptReader, EncryptWriter, ScryptIdentity, ScryptRecipient, Stanza, read_header
from drunner_vault.errors import BadKey, DamagedArchive, UnsupportedArchive


@pytest.mark.parametrize("size", [0, 65536, 100_000])
def test_pyrage_reads_what_we_write(size: int) -> None:
    assert pyrage.passphrase.decrypt(encrypt(sample(size), ScryptRecipient("pässword", 10)), "pässword") == sample(size)


def test_we_read_what_pyrage_writes() -> None:
    # pyrage takes as much work as fits in a second, which a fast host may put above our limit.
    identity = ScryptIdentity("pässword", max_work_factor=22)
    assert decrypt(pyrage.passphrase.encrypt(sample(70_000), "pässword"), identity) == sample(70_000)


def test_the_work_factor_is_18_unless_told() -> None:
    [stanza] = read_header(io.BytesIO(encrypt(b"x", ScryptRecipient("a")))).stanzas
    assert stanza.kind == "scrypt"
    assert stanza.arguments[1] == "18"
    [stanza] = read_header(io.BytesIO(encrypt(b"x", ScryptRecipient("a", work_factor=3)))).stanzas
    assert stanza.arguments[1] == "3"


def test_bytes_that_are_not_utf8_are_used_as_they_are() -> None:
    passphrase = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert decrypt(encrypt(b"x", ScryptRecipient(passphrase, 2)), ScryptIdentity(passphrase)) == b"x"


def test_the_salt_comes_from_the_randomness_it_is_given() -> None:
    def write() -> bytes:
        sink = io.BytesIO()
        EncryptWriter(sink, [ScryptRecipient("a", 2, random=predictable())], random=predictable()).close()
        return sink.getvalue()

    assert write() == write()


class ScryptStanza:
    """A file that claims any work factor."""

    labels: frozenset[str] = frozenset()

    def __init__(self, *arguments: str, body: int = 32) -> None:
        self._stanza = Stanza("scrypt", arguments, bytes(body))

    def wrap(self, file_key: bytes) -> Stanza:
        return self._stanza


SALT = "A" * 22


@pytest.mark.parametrize(
    ("work_factor", "described"),
    [
        ("21", r"21 \(2 GiB\)"),
        ("22", r"22 \(4 GiB\)"),
        ("31", "over 30"),
        ("9" * 6000, "over 30"),
        ("1" + "0" * 40, "over 30"),
    ],
)
def test_a_file_that_asks_too_much_memory_is_refused_before_any_is_taken(work_factor: str, described: str) -> None:
    data = encrypt(b"", ScryptStanza(SALT, work_factor))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnsupportedArchive, match=f"work factor {described}.*; at most 20 .1 GiB. is accepted"):
        decrypt(data, ScryptIdentity("a"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_the_limit_can_be_set_lower() -> None:
    data = encrypt(b"x", ScryptRecipient("a", 5))
    assert decrypt(data, ScryptIdentity("a", max_work_factor=5)) == b"x"
    with pytest.raises(UnsupportedArchive, match=r"5 \(32 KiB\); at most 4"):
        decrypt(data, ScryptIdentity("a", max_work_factor=4))


@pytest.mark.parametrize(
    "stanza",
    [
        ScryptStanza(SALT),
        ScryptStanza(SALT, "10", "x"),
        ScryptStanza(SALT, "0"),
        ScryptStanza(SALT, "010"),
        ScryptStanza(SALT, "+10"),
        ScryptStanza(SALT, "0xa"),
        ScryptStanza(SALT, "1_0"),
        ScryptStanza(SALT + "A", "10"),
        ScryptStanza(SALT[:-1] + "B", "10"),
        ScryptStanza("AAAA", "10"),
        ScryptStanza(SALT, "10", body=33),
    ],
)
def test_a_malformed_stanza_is_damage(stanza: ScryptStanza) -> None:
    with pytest.raises(DamagedArchive):
        DecryptReader(io.BytesIO(encrypt(b"", stanza)), [ScryptIdentity("a")])


def test_an_empty_passphrase_is_refused() -> None:
    for kind in (ScryptRecipient, ScryptIdentity):
        with pytest.raises(BadKey, match="empty"):
            kind("")


@pytest.mark.parametrize("work_factor", [0, -1, 21, 64])
def test_no_file_is_written_that_we_would_refuse_to_read(work_factor: int) -> None:
    with pytest.raises(BadKey, match="out of range"):
        ScryptRecipient("a", work_factor)
