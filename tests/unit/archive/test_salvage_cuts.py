"""Archives that are cut, and archives in which bytes have come or gone."""

from __future__ import annotations

import itertools

import pytest
from support.salvaging import (
    MANIFEST,
    Made,
    Saved,
    check,
    chunks,
    clear,
    cut_out,
    flipped,
    frame_spans,
    inserted,
    large_tree,
    make,
    noise,
    salvage,
    sealed_chunk,
    tiny_tree,
    touching,
)

from drunner_vault.age import CHUNK, SEALED_CHUNK
from drunner_vault.archive.salvage import TRIES, Hints
from drunner_vault.errors import ArchiveError


@pytest.fixture(scope="module")
def large() -> Made:
    return make(large_tree(10, 190_000))


def test_a_clear_archive_cut_at_every_length() -> None:
    """All before the cut is saved: a frame that is whole is saved whole."""
    made = make(tiny_tree(), sealed=False)
    spans = frame_spans(made.archive)
    refused = 0
    for length in range(len(made.archive)):
        try:
            saved = salvage(clear(made.archive[:length]))
        except ArchiveError:
            assert length < spans[2][1], length  # no frame with a member is whole
            refused += 1
            continue
        harmed = check(made, saved)
        assert harmed <= touching(made, length, len(made.archive)), length
        assert bool(saved.result.gaps) == (length < spans[5][1])  # with the first frame of the index, the end is known
    assert refused == spans[2][1]


def test_an_encrypted_archive_cut_anywhere(large: Made) -> None:
    lengths = range(len(large.head) + SEALED_CHUNK, len(large.sealed), SEALED_CHUNK * 2 // 5)
    assert len(lengths) > 70
    for length in lengths:
        saved = salvage(chunks(large.sealed[:length]))
        start = sealed_chunk(large, length)[0]
        assert check(large, saved) <= touching(large, start, len(large.archive)), length
        assert saved.result.saved + 1 >= len(large.entries) * (length - SEALED_CHUNK) // len(large.sealed) - 3
        assert saved.result.unnamed in (None, 0)


def test_a_cut_inside_the_first_chunk_leaves_nothing(large: Made) -> None:
    for length in (0, 1, len(large.head) - 1, len(large.head), len(large.head) + 40_000):
        with pytest.raises(ArchiveError):
            salvage(chunks(large.sealed[:length]) if length > 30 else clear(large.sealed[:length]))


def test_a_cut_and_a_wrong_byte(large: Made) -> None:
    for cut, position in itertools.product((900_000, 1_400_000), (150_000, 420_000, 800_000)):
        saved = salvage(chunks(flipped(large.sealed[:cut], position)))
        hit = touching(large, *sealed_chunk(large, position))
        gone = touching(large, sealed_chunk(large, cut)[0], len(large.archive))
        assert check(large, saved) <= hit | gone
        assert saved.result.gaps >= 1
        assert saved.result.unnamed is None


def test_a_head_that_is_overwritten(large: Made) -> None:
    for gone in (1, 100, len(large.head), 50_000, 300_000, 1_200_000):
        saved = _with_head_lost(large, bytes(gone) + large.sealed[gone:])
        assert check(large, saved) <= touching(large, 0, max(0, gone - len(large.head)) // CHUNK * CHUNK + CHUNK)
        assert saved.result.made_anew == (gone > len(large.head))


def test_a_head_that_is_cut_off(large: Made) -> None:
    for gone in (1, 100, len(large.head), 777, 50_000, 300_001, 1_200_000, len(large.sealed) - 150_000):
        saved = _with_head_lost(large, large.sealed[gone:])
        last = -(-max(0, gone - len(large.head)) // SEALED_CHUNK)
        assert check(large, saved) <= touching(large, 0, last * CHUNK)
        assert saved.result.made_anew == (gone > len(large.head))


def _with_head_lost(large: Made, damaged: bytes) -> Saved:
    hints = Hints("cd" * 16, "2026-01-02T03:04:05Z", "alpha", "notes")
    saved = salvage(chunks(damaged, large.head, len(large.sealed)), hints)
    if saved.result.made_anew:
        assert (saved.manifest.host, saved.manifest.service.name) == ("alpha", "notes")
        assert saved.manifest.created == "2026-01-02T03:04:05Z"
        assert "salvaged from archive cdcd" in saved.manifest.tool
        assert {volume.name for volume in saved.manifest.volumes} <= {volume.name for volume in MANIFEST.volumes}
    return saved


def test_head_and_tail_gone(large: Made) -> None:
    saved = salvage(chunks(large.sealed[400:-300_000], large.head, len(large.sealed), tries=TRIES))
    gone = touching(large, 0, CHUNK) | touching(large, len(large.archive) - 300_000 - CHUNK, len(large.archive))
    assert check(large, saved) <= gone
    assert saved.result.made_anew


@pytest.mark.parametrize("size", [1, 2, 200, 512, 4096, 65_536, SEALED_CHUNK, 204_800])
@pytest.mark.parametrize("position", [70_000, 800_000, 1_300_000])
def test_bytes_that_are_gone(large: Made, size: int, position: int) -> None:
    first, last = sealed_chunk(large, position)[0], sealed_chunk(large, position + size)[1]
    saved = salvage(chunks(cut_out(large.sealed, position, size), tries=300_000))
    assert check(large, saved) <= touching(large, first, last)
    assert not saved.result.gaps

    start = position - len(large.head)
    saved = salvage(clear(cut_out(large.archive, start, size)))
    assert check(large, saved) <= touching(large, start, start + size)
    assert not saved.result.gaps


@pytest.mark.parametrize("size", [1, 2, 200, 512, 4096, 65_536, SEALED_CHUNK, 204_800])
@pytest.mark.parametrize("position", [70_000, 800_000, 1_300_000])
def test_bytes_that_have_come(large: Made, size: int, position: int) -> None:
    saved = salvage(chunks(inserted(large.sealed, position, noise(size, size)), tries=300_000))
    assert check(large, saved) <= touching(large, *sealed_chunk(large, position))
    assert not saved.result.gaps

    start = position - len(large.head)
    saved = salvage(clear(inserted(large.archive, start, noise(size, size))))
    assert check(large, saved) <= touching(large, start, start + 1)
    assert not saved.result.gaps


def test_any_number_of_bytes_up_to_a_chunk(large: Made) -> None:
    """Sizes that are not likely take a search of seconds."""
    for damaged in (cut_out(large.sealed, 800_000, 12_345), inserted(large.sealed, 800_000, noise(1, 1_311))):
        saved = salvage(chunks(damaged, tries=TRIES))
        assert check(large, saved) <= touching(
            large,
            *sealed_chunk(large, 800_000),
        )
        assert not saved.result.gaps


def test_any_number_of_bytes_with_the_sidecar(large: Made) -> None:
    for size in (12_345, 700_001):
        damaged = cut_out(large.sealed, 800_000, size)
        saved = salvage(chunks(damaged, large.head, len(large.sealed)))
        end = sealed_chunk(large, 800_000 + size)[1]
        assert check(large, saved) <= touching(large, sealed_chunk(large, 800_000)[0], end)
        assert not saved.result.gaps


def test_bytes_gone_here_and_come_there(large: Made) -> None:
    damaged = inserted(cut_out(large.sealed, 500_000, 3), 1_200_000, noise(1, 3))
    saved = salvage(chunks(damaged, tries=20_000))
    hit = touching(large, *sealed_chunk(large, 500_000)) | touching(large, *sealed_chunk(large, 1_200_003))
    assert check(large, saved) <= hit
    assert not saved.result.gaps


@pytest.mark.parametrize("size", [1, 16, 17, 5000, 70_000])
def test_bytes_behind_the_end(large: Made, size: int) -> None:
    for saved in (
        salvage(chunks(large.sealed + noise(size, size), tries=TRIES)),
        salvage(chunks(large.sealed + noise(size, size), large.head, len(large.sealed))),
        salvage(clear(large.archive + noise(size, size))),
    ):
        assert check(large, saved) == set()
        assert saved.result.complete
