"""Writing and reading whole files: with the real age, with pyrage, and when something goes wrong."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pyrage
import pytest
from age_helpers import SIZES, Dripping, age, decrypt, encrypt, predictable, released, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from drunner_vault.age import (
    CHUNK,
    SEALED_CHUNK,
    ChunkCipher,
    DecryptReader,
    EncryptWriter,
    X25519Identity,
    X25519Recipient,
    chunk_cipher,
)
from drunner_vault.errors import ArchiveError, DamagedArchive, StorageError

IDENTITY = X25519Identity.generate()
RECIPIENT = IDENTITY.recipient()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key.txt"
    path.write_text(f"{IDENTITY}\n")
    return path


@pytest.mark.parametrize("size", SIZES)
def test_age_reads_what_we_write(size: int, key_file: Path) -> None:
    assert age("-d", "-i", key_file, data=encrypt(sample(size), RECIPIENT)) == sample(size)


@pytest.mark.parametrize("size", SIZES)
def test_we_read_what_age_writes(size: int) -> None:
    assert decrypt(age("-r", str(RECIPIENT), data=sample(size)), IDENTITY) == sample(size)


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_and_we_read_each_other(size: int) -> None:
    theirs = pyrage.x25519.Identity.from_str(str(IDENTITY))
    assert pyrage.decrypt(encrypt(sample(size), RECIPIENT), [theirs]) == sample(size)
    assert decrypt(pyrage.encrypt(sample(size), [theirs.to_public()]), IDENTITY) == sample(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_as_long_as_age_makes_it(size: int) -> None:
    assert len(encrypt(sample(size), RECIPIENT)) == len(age("-r", str(RECIPIENT), data=sample(size)))


def test_each_of_several_recipients_opens_the_file(tmp_path: Path) -> None:
    identities = [X25519Identity.generate() for _ in range(3)]
    data = encrypt(b"for three", *(identity.recipient() for identity in identities))
    for number, identity in enumerate(identities):
        assert decrypt(data, identity) == b"for three"
        (tmp_path / str(number)).write_text(str(identity))
        assert age("-d", "-i", tmp_path / str(number), data=data) == b"for three"


@pytest.mark.parametrize("size", [CHUNK, 2 * CHUNK, 2 * CHUNK + 1])
@pytest.mark.parametrize("step", [CHUNK // 2, CHUNK - 1, CHUNK, CHUNK + 1])
def test_writes_may_end_on_the_border_of_a_chunk(size: int, step: int) -> None:
    assert decrypt(encrypt(sample(size), RECIPIENT, step=step), IDENTITY) == sample(size)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2 * CHUNK + 10), max_size=6))
def test_it_does_not_matter_how_the_writes_are_cut(lengths: list[int]) -> None:
    data = sample(sum(lengths))
    recipient = X25519Recipient(RECIPIENT.public, random=predictable())
    sink = io.BytesIO()
    writer = EncryptWriter(sink, [recipient], random=predictable(7))
    for start, length in zip(itertools.accumulate([0, *lengths]), lengths, strict=False):
        assert writer.write(data[start : start + length]) == length
    writer.close()
    at_once = io.BytesIO()
    other = EncryptWriter(at_once, [X25519Recipient(RECIPIENT.public, random=predictable())], random=predictable(7))
    other.write(data)
    other.close()
    assert sink.getvalue() == at_once.getvalue()
    assert decrypt(sink.getvalue(), IDENTITY) == data


@settings(deadline=None)
@given(st.lists(st.integers(1, 3 * CHUNK), min_size=1, max_size=4), st.integers(0, 3 * CHUNK))
def test_it_does_not_matter_how_the_reads_are_cut(lengths: list[int], size: int) -> None:
    data = sample(size)
    reader = DecryptReader(io.BytesIO(encrypt(data, RECIPIENT)), [IDENTITY])
    plain = b""
    for length in itertools.cycle(lengths):
        assert reader.read(0) == b""
        piece = reader.read(length)
        assert len(piece) == min(length, size - len(plain))
        plain += piece
        if not piece:
            break
    assert plain == data
    assert reader.read(10) == b""


def test_a_source_may_give_one_byte_at_a_time() -> None:
    data = sample(CHUNK + 100)
    assert DecryptReader(Dripping(encrypt(data, RECIPIENT)), [IDENTITY]).read() == data


def test_the_same_content_never_encrypts_to_the_same_bytes() -> None:
    first, second = encrypt(sample(1000), RECIPIENT), encrypt(sample(1000), RECIPIENT)
    assert first[:21] == second[:21]
    assert first[-1000:] != second[-1000:]


def test_the_writer_counts_and_keeps_the_head_and_leaves_the_sink_open() -> None:
    sink = io.BytesIO()
    writer = EncryptWriter(sink, [RECIPIENT])
    writer.write(sample(100_000))
    writer.close()
    writer.close()
    assert sink.getvalue().startswith(writer.head)
    assert writer.bytes_written == len(sink.getvalue())
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")


@pytest.mark.parametrize("view", [bytearray, memoryview])
def test_any_buffer_can_be_written_and_changed_afterwards(view: type[bytearray] | type[memoryview]) -> None:
    buffer = bytearray(sample(CHUNK + 5))
    sink = io.BytesIO()
    writer = EncryptWriter(sink, [RECIPIENT])
    writer.write(buffer if view is bytearray else memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    writer.close()
    assert decrypt(sink.getvalue(), IDENTITY) == sample(CHUNK + 5)


class FailingSink:
    """Fails at one write, then works again."""

    def __init__(self, fail_at: int) -> None:
        self.written = io.BytesIO()
        self._left = fail_at

    def write(self, data: bytes) -> int:
        self._left -= 1
        if self._left == 0:
            raise OSError("no space")
        return self.written.write(data)


@pytest.mark.parametrize("fail_at", [2, 3, 4])
def test_after_a_failed_write_the_file_can_never_look_complete(fail_at: int) -> None:
    sink = FailingSink(fail_at)
    writer = EncryptWriter(sink, [RECIPIENT])
    with pytest.raises(OSError, match="no space"):
        write_and_close(writer, sample(2 * CHUNK + 1))
    writer.close()
    with pytest.raises(ValueError, match="failed"):
        writer.write(b"x")
    plain, error = released(io.BytesIO(sink.written.getvalue()), [IDENTITY])
    assert isinstance(error, DamagedArchive)
    assert plain == sample((fail_at - 2) * CHUNK)


def write_and_close(writer: EncryptWriter, data: bytes) -> None:
    writer.write(data)
    writer.close()


def test_a_sink_that_takes_less_than_it_was_given_is_an_error() -> None:
    class ShortSink:
        def write(self, data: bytes) -> int:
            return len(data) - 1

    with pytest.raises(StorageError):
        EncryptWriter(ShortSink(), [RECIPIENT])


def test_a_writer_that_was_never_closed_leaves_a_file_cut_short() -> None:
    sink = io.BytesIO()
    EncryptWriter(sink, [RECIPIENT]).write(sample(3 * CHUNK))
    plain, error = released(io.BytesIO(sink.getvalue()), [IDENTITY])
    assert isinstance(error, DamagedArchive)
    assert plain == sample(2 * CHUNK)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_no_changed_byte_of_a_file_passes_unseen(flip: int) -> None:
    data = encrypt(b"every byte matters", RECIPIENT)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
        plain, error = released(io.BytesIO(changed), [IDENTITY])
        assert error is not None, place
        assert plain == b"", place


def test_no_cut_of_a_file_passes_unseen() -> None:
    data = encrypt(b"every byte matters", RECIPIENT)
    for length in range(len(data)):
        plain, error = released(io.BytesIO(data[:length]), [IDENTITY])
        assert isinstance(error, ArchiveError), length
        assert plain == b"", length


@pytest.mark.parametrize("size", [2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK - 1])
def test_a_cut_near_the_border_of_a_chunk_gives_the_whole_chunks_and_then_fails(size: int) -> None:
    data = encrypt(sample(size), RECIPIENT)
    start = len(data) - (size + 16 * -(-size // CHUNK))
    for border in range(start, len(data), SEALED_CHUNK):
        for length in {border + step for step in (-1, 0, 1, 15, 16, 17) if start <= border + step < len(data)}:
            plain, error = released(io.BytesIO(data[:length]), [IDENTITY])
            assert isinstance(error, DamagedArchive)
            assert plain == sample(size)[: (length - start) // SEALED_CHUNK * CHUNK]


@pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 1])
@pytest.mark.parametrize("tail", [b"\0", b"\n", bytes(16), bytes(SEALED_CHUNK)])
def test_bytes_after_the_end_are_an_error(size: int, tail: bytes) -> None:
    plain, error = released(io.BytesIO(encrypt(sample(size), RECIPIENT) + tail), [IDENTITY])
    assert isinstance(error, DamagedArchive)
    assert plain in (sample(size), sample(size // CHUNK * CHUNK))


def chunks_of(data: bytes, head: int) -> list[bytes]:
    return [data[start : start + SEALED_CHUNK] for start in range(head, len(data), SEALED_CHUNK)]


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 0, 1, 2, 3), (0, 2, 3), (0, 1, 3, 2), (0, 1, 2), (3,), (0, 3)])
def test_chunks_moved_repeated_or_left_out_are_noticed(order: tuple[int, ...]) -> None:
    data = encrypt(sample(3 * CHUNK + 10), RECIPIENT)
    head = len(data) - (3 * SEALED_CHUNK + 26)
    chunks = chunks_of(data, head)
    plain, error = released(io.BytesIO(data[:head] + b"".join(chunks[place] for place in order)), [IDENTITY])
    assert isinstance(error, DamagedArchive)
    assert sample(3 * CHUNK).startswith(plain)


def test_an_empty_chunk_after_a_full_one_is_refused() -> None:
    recipient = X25519Recipient(RECIPIENT.public)
    sink = io.BytesIO()
    writer = EncryptWriter(sink, [recipient], random=predictable())
    cipher = ChunkCipher(bytes(range(16)), bytes(range(16, 32)))
    full = cipher.seal(0, sample(CHUNK), final=False)
    data = writer.head + full + cipher.seal(1, b"", final=True)
    plain, error = released(io.BytesIO(data), [IDENTITY])
    assert isinstance(error, DamagedArchive)
    assert plain == sample(CHUNK)


def test_damage_is_named_by_chunk_and_by_bytes_of_the_file() -> None:
    data = bytearray(encrypt(sample(5 * CHUNK), RECIPIENT))
    start = len(data) - 5 * SEALED_CHUNK
    data[start + 3 * SEALED_CHUNK + 70] ^= 1
    first, last = start + 3 * SEALED_CHUNK, start + 4 * SEALED_CHUNK - 1
    plain, error = released(io.BytesIO(bytes(data)), [IDENTITY], step=1 << 20)
    assert plain == sample(3 * CHUNK)
    assert isinstance(error, DamagedArchive)
    assert error.message == (
        f"the file is damaged: chunk 3, bytes {first:,} to {last:,} of the file, is not what was written"
    )
    assert error.hint


def test_a_cut_is_named_by_the_byte_where_the_file_ends() -> None:
    data = encrypt(sample(2 * CHUNK), RECIPIENT)[:-SEALED_CHUNK]
    error = released(io.BytesIO(data), [IDENTITY])[1]
    assert isinstance(error, DamagedArchive)
    assert error.message == f"the file is cut short: it ends at byte {len(data):,}, inside chunk 1"


def test_an_error_is_raised_again_at_every_further_read() -> None:
    reader = DecryptReader(io.BytesIO(encrypt(sample(2 * CHUNK), RECIPIENT)[:-1]), [IDENTITY])
    assert reader.read(10 * CHUNK) == sample(CHUNK)
    for _ in range(2):
        with pytest.raises(DamagedArchive):
            reader.read(1)


def test_asked_for_everything_a_reader_never_returns_a_part() -> None:
    reader = DecryptReader(io.BytesIO(encrypt(sample(2 * CHUNK), RECIPIENT)[:-1]), [IDENTITY])
    with pytest.raises(DamagedArchive):
        reader.read()


def test_single_chunks_open_with_a_copy_of_the_head() -> None:
    data = encrypt(sample(2 * CHUNK + 1), RECIPIENT)
    head = len(data) - 2 * SEALED_CHUNK - 17
    cipher = chunk_cipher(data[:head], [IDENTITY])
    chunks = chunks_of(data, head)
    assert cipher.open(1, chunks[1], final=False) == sample(2 * CHUNK)[CHUNK:]
    assert cipher.open(2, chunks[2], final=True) == sample(2 * CHUNK + 1)[-1:]
    assert cipher.open(0, chunks[1], final=False) is None
    assert cipher.open(1, chunks[1], final=True) is None
    assert cipher.open(1, b"short", final=False) is None
