"""Whatever is done to an archive: what salvaging gives is a valid archive, no byte in it is wrong, and all that is not
as it was is listed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.salvaging import (
    Made,
    check,
    chunks,
    clear,
    cut_out,
    flipped,
    inserted,
    large_tree,
    make,
    salvage,
    small_tree,
)

from drunner_vault.errors import ArchiveError

DAMAGES = st.lists(
    st.tuples(st.sampled_from(["flip", "zero", "cut out", "insert", "cut"]), st.floats(0, 1), st.integers(1, 70_000)),
    min_size=1,
    max_size=4,
)
SMALL = make(small_tree())
LARGE = make(large_tree(5, 190_000))


def damaged(data: bytes, damages: list[tuple[str, float, int]], scale: int) -> bytes:
    """The file after all this happened to it, in turn. scale: by what to divide sizes."""
    for kind, where, size in damages:
        position, length = int(where * (len(data) - 1)), size // scale + 1
        if kind == "flip":
            data = flipped(data, position, 1 << size % 8)
        elif kind == "zero":
            data = data[:position] + bytes(min(length, len(data) - position)) + data[position + length :]
        elif kind == "cut out":
            data = cut_out(data, position, length)
        elif kind == "insert":
            data = inserted(data, position, b"\xaa" * length)
        else:
            data = data[: max(1, len(data) - length)]
        data = data or b"\0"
    return data


@pytest.mark.parametrize(("made", "scale"), [(SMALL, 100), (LARGE, 1)], ids=["small", "large"])
@settings(deadline=None, max_examples=150)
@given(damages=DAMAGES)
def test_a_clear_archive(made: Made, scale: int, damages: list[tuple[str, float, int]]) -> None:
    try:
        saved = salvage(clear(damaged(made.archive, damages, scale)))
    except ArchiveError:
        return
    check(made, saved)


@settings(deadline=None, max_examples=150)
@given(damages=DAMAGES, with_sidecar=st.booleans())
def test_an_encrypted_archive(damages: list[tuple[str, float, int]], with_sidecar: bool) -> None:
    data = damaged(LARGE.sealed, damages, 1)
    try:
        saved = salvage(chunks(data, LARGE.head, len(LARGE.sealed)) if with_sidecar else chunks(data))
    except ArchiveError:
        return
    check(LARGE, saved)
