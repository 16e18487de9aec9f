from __future__ import annotations

import io

import pytest
from age_helpers import SIZES, age, armor, encrypt, predictable, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from drunner_vault.age import CHUNK, SEALED_CHUNK, ChunkCipher, EncryptWriter, SeekableReader, X25519Identity
from drunner_vault.errors import ArchiveError, DamagedArchive, UnsupportedArchive, WrongKey

IDENTITY = X25519Identity.generate()
RECIPIENT = IDENTITY.recipient()


class Storage:
    """A file in memory that remembers how it was read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.reads: list[tuple[int, int]] = []

    def read_at(self, offset: int, length: int) -> bytes:
        assert length > 0
        assert 0 <= offset <= offset + length <= self.size
        self.reads.append((offset, length))
        return self.data[offset : offset + length]

    def open(self) -> SeekableReader:
        return SeekableReader(self.read_at, self.size, [IDENTITY])


BIG = sample(5 * CHUNK + 1234)
SEALED = encrypt(BIG, RECIPIENT)


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_of_a_file_by_age_is_one_range(size: int) -> None:
    reader = Storage(age("-r", str(RECIPIENT), data=sample(size))).open()
    assert reader.size == size
    assert reader.read_at(0, size) == sample(size)


@settings(deadline=None)
@given(st.integers(0, len(BIG) + 100), st.integers(0, 3 * CHUNK))
def test_a_range_is_what_reading_from_the_start_would_give(offset: int, length: int) -> None:
    assert Storage(SEALED).open().read_at(offset, length) == BIG[offset : offset + length]


@pytest.mark.parametrize("size", [CHUNK, 2 * CHUNK])
@pytest.mark.parametrize("offset", [0, CHUNK - 1, CHUNK, CHUNK + 1])
def test_ranges_at_the_borders_of_chunks(size: int, offset: int) -> None:
    data = sample(size)
    reader = Storage(encrypt(data, RECIPIENT)).open()
    for length in (0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1):
        assert reader.read_at(offset, length) == data[offset : offset + length]


def test_opening_takes_two_reads_and_each_range_one() -> None:
    storage = Storage(SEALED)
    reader = storage.open()
    assert len(storage.reads) == 2
    reader.read_at(CHUNK - 1, 2 * CHUNK)
    assert storage.reads[2:] == [(reader.payload_offset, 3 * SEALED_CHUNK)]


def test_the_last_chunk_is_not_fetched_again() -> None:
    storage = Storage(SEALED)
    reader = storage.open()
    del storage.reads[:]
    assert reader.read_at(5 * CHUNK, 10) == BIG[5 * CHUNK : 5 * CHUNK + 10]
    assert storage.reads == []


def test_the_size_is_known_only_once_the_last_chunk_is_authentic() -> None:
    for length in (len(SEALED) - 1, len(SEALED) - 1250, len(SEALED) - 1251, len(SEALED) - SEALED_CHUNK):
        with pytest.raises(DamagedArchive):
            Storage(SEALED[:length]).open()
    with pytest.raises(DamagedArchive):
        Storage(SEALED + b"\0").open()


def test_an_empty_chunk_after_a_full_one_is_refused() -> None:
    writer = EncryptWriter(io.BytesIO(), [RECIPIENT], random=predictable())
    cipher = ChunkCipher(bytes(range(16)), bytes(range(16, 32)))
    data = writer.head + cipher.seal(0, sample(CHUNK), final=False) + cipher.seal(1, b"", final=True)
    with pytest.raises(DamagedArchive, match="cut short"):
        Storage(data).open()


def test_no_cut_and_no_changed_byte_of_a_small_file_passes_unseen() -> None:
    data = encrypt(b"every byte matters", RECIPIENT)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        for broken in (data[:place], changed):
            with pytest.raises((ArchiveError, WrongKey)):
                Storage(broken).open()


def test_damage_is_met_only_by_ranges_that_touch_its_chunk() -> None:
    damaged = bytearray(SEALED)
    damaged[len(damaged) - 1250 - 2 * SEALED_CHUNK] ^= 1
    reader = Storage(bytes(damaged)).open()
    assert reader.read_at(0, 3 * CHUNK) == BIG[: 3 * CHUNK]
    assert reader.read_at(4 * CHUNK, 2 * CHUNK) == BIG[4 * CHUNK :]
    with pytest.raises(DamagedArchive, match="chunk 3, bytes"):
        reader.read_at(4 * CHUNK - 1, 1)


def test_storage_that_gives_too_little_is_an_error() -> None:
    storage = Storage(SEALED)
    reader = storage.open()
    storage.data = SEALED[: 2 * SEALED_CHUNK]
    with pytest.raises(DamagedArchive, match="were asked for"):
        reader.read_at(CHUNK, CHUNK)


def test_an_armored_file_cannot_be_seeked() -> None:
    with pytest.raises(UnsupportedArchive, match="armored"):
        Storage(armor(SEALED)).open()


def test_a_wrong_key_is_told_before_anything_of_the_payload_is_read() -> None:
    storage = Storage(SEALED)
    with pytest.raises(WrongKey):
        SeekableReader(storage.read_at, len(SEALED), [X25519Identity.generate()])
    assert len(storage.reads) == 1


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -5)])
def test_negative_ranges_are_refused(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        Storage(SEALED).open().read_at(offset, length)
