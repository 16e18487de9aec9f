"""One byte of an archive is wrong: what is salvaged, and how little is lost. The counts are part of the promise."""

from __future__ import annotations

import io
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from support.salvaging import (
    CLOCK,
    IDENTITY,
    MANIFEST,
    Made,
    check,
    chunks,
    clear,
    flipped,
    frame_spans,
    large_tree,
    make,
    salvage,
    sealed_chunk,
    small_tree,
    tiny_tree,
    touching,
)

from drunner_vault.age import SEALED_CHUNK, EncryptWriter
from drunner_vault.archive import WriterOptions
from drunner_vault.archive.salvage import Hints, Salvage
from drunner_vault.errors import DamagedArchive, NotAnArchive, WrongKey


@pytest.fixture(scope="module")
def large() -> Made:
    return make(large_tree(10, 190_000), pad=True)


def test_an_archive_that_is_whole_is_copied_whole() -> None:
    made = make(small_tree())
    for stream in (clear(made.archive), chunks(made.sealed)):
        saved = salvage(stream)
        assert check(made, saved) == set()
        assert saved.result.complete
        assert saved.result.proven == 6
        assert (saved.manifest.service, saved.manifest.created) == (MANIFEST.service, "2026-01-02T03:04:05Z")


def test_every_byte_of_a_clear_archive_in_turn() -> None:
    """A wrong byte costs the frame it is in: one of data, or the manifest, or nothing that cannot be made again."""
    made = make(tiny_tree(), sealed=False)
    spans = frame_spans(made.archive)
    outcomes: Counter[tuple[int, bool]] = Counter()
    for position in range(len(made.archive)):
        saved = salvage(clear(flipped(made.archive, position)))
        harmed = check(made, saved)
        frame = next(span for span in spans if span[0] <= position < span[1])
        assert harmed <= touching(made, *frame), position
        assert not saved.result.gaps
        outcomes[len(harmed), saved.result.made_anew] += 1
    sizes = [end - start for start, end in spans]
    manifest, _recover, scripts, data, etc, *_index = sizes
    lossless = len(made.archive) - sum((manifest, scripts, data, etc))
    # rows of the index make directories whole again, so each frame of data costs the one file in it
    assert outcomes[0, True] >= manifest - 8
    assert outcomes[1, False] >= scripts + data + etc - 24
    assert outcomes[0, False] >= lossless
    assert outcomes.total() == len(made.archive) == sum(sizes)
    assert set(outcomes) == {(0, True), (1, False), (0, False)}


@pytest.mark.parametrize("bits", [0x01, 0x80])
def test_bytes_of_a_clear_archive_with_all_kinds_of_members(bits: int) -> None:
    made = make(small_tree(), sealed=False)
    spans = frame_spans(made.archive)
    tried = range(3 if bits == 1 else 0, len(made.archive), 37)
    for position in tried:
        saved = salvage(clear(flipped(made.archive, position, bits)))
        frame = next(span for span in spans if span[0] <= position < span[1])
        assert check(made, saved) <= touching(made, *frame), position
        assert not saved.result.gaps
    assert len(tried) > 300


def test_an_encrypted_archive_loses_only_what_touches_the_chunk(large: Made) -> None:
    positions = [*range(len(large.head), len(large.sealed), SEALED_CHUNK // 3), len(large.sealed) - 1]
    assert len(positions) > 90
    for position in positions:
        saved = salvage(chunks(flipped(large.sealed, position)))
        harmed = check(large, saved)
        assert harmed <= touching(large, *sealed_chunk(large, position)), position
        assert harmed or saved.result.made_anew or position > len(large.sealed) - 200_000
        assert not saved.result.gaps or position > len(large.sealed) - 200_000


def test_the_head_of_an_encrypted_archive_byte_by_byte(large: Made) -> None:
    """Without its sidecar nothing opens, but where the part of the header that is for us is whole; with it nothing is
    lost."""
    lost = 0
    head = len(large.head)
    for position in range(0, head, 4):
        damaged = flipped(large.sealed, position, 0x01)
        saved = salvage(chunks(damaged, large.head, len(large.sealed)))
        assert check(large, saved) == set()
        assert saved.result.complete
        if position < 21 + 2 + 96 + 1 or position >= head - 16:  # not the authentication code
            with pytest.raises((DamagedArchive, WrongKey, NotAnArchive)) as caught:
                salvage(chunks(damaged, tries=0))
            assert "--sidecar FILE" in caught.value.hint
            lost += 1
    assert head == 184
    assert lost == 34


def test_two_wrong_bytes_cost_what_each_of_them_costs(large: Made) -> None:
    step = SEALED_CHUNK * 5 // 2
    for position in range(len(large.head), len(large.sealed) - 600_000, step):
        other = position + 400_000
        saved = salvage(chunks(flipped(flipped(large.sealed, position), other)))
        expected = touching(large, *sealed_chunk(large, position)) | touching(large, *sealed_chunk(large, other))
        assert check(large, saved) <= expected
        assert not saved.result.gaps


def test_the_new_archive_opens_with_stock_tools(large: Made, tmp_path: Path) -> None:
    sink = io.BytesIO()
    lock = EncryptWriter(sink, [IDENTITY.recipient()])
    damaged = chunks(flipped(large.sealed, 700_000))
    result = Salvage(damaged, Hints(), CLOCK, lambda _count: None).write(lock, WriterOptions())
    lock.close()
    (tmp_path / "key").write_text(f"{IDENTITY}\n")
    (tmp_path / "new.tar.zst.age").write_bytes(sink.getvalue())
    line = "age -d -i key new.tar.zst.age | zstd -d | tar --numeric-owner -tf -"
    listed = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, check=True)
    names = [name for name in listed.stdout.splitlines() if not name.startswith((b"index/", b"manifest", b"RECOVER"))]
    assert len(names) == len(large.entries) - result.lost
    assert result.lost


def test_what_never_was_an_archive_is_refused() -> None:
    for data in (b"", b"x", bytes(100_000), b"\x28\xb5\x2f\xfd" * 1000):
        with pytest.raises(Exception, match="nothing can be salvaged"):
            salvage(clear(data))


def test_an_archive_of_nothing_but_a_manifest_is_not_worth_a_file() -> None:
    made = make(tiny_tree(), sealed=False)
    end_of_recover = frame_spans(made.archive)[1][1]
    with pytest.raises(DamagedArchive, match="no member of the archive survives"):
        salvage(clear(made.archive[:end_of_recover]))
