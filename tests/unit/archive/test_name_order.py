"""Which names an archive may hold, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drunner_vault.archive.names import NameOrder
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Entry, Kind


def accepted(*names: bytes, kind: Kind = Kind.DIRECTORY) -> None:
    order = NameOrder({b"v", b"w"})
    for name in names:
        order.accept(Entry(name, kind))


def test_a_walk_is_accepted() -> None:
    accepted(b"hook", b"volumes/v", b"volumes/v/a", b"volumes/v/a/b", b"volumes/v/a-b", b"volumes/w")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ((b"volumes/v", b"volumes/v/a", b"volumes/v/a"), "twice"),
        ((b"volumes/v", b"volumes/v/b", b"volumes/v/a"), "out of order"),
        ((b"volumes/v", b"volumes/w", b"volumes/v/a"), "out of order"),
        ((b"volumes/v", b"volumes/w", b"volumes/v"), "out of order"),
        ((b"volumes/v/a",), "out of order"),
        ((b"volumes/v", b"volumes/v/a/b"), "no directory"),
        ((b"volumes/x",), "does not list"),
        ((b"volumes",), "does not list"),
        ((b"volumes/v", b"volumes/v/../w"), "out of place"),
        ((b"volumes/v", b"volumes/v//a"), "out of place"),
        ((b"volumes/v", b"volumes/v/a\0b"), "out of place"),
        ((b"/etc",), "out of place"),
        ((b"../etc",), "out of place"),
        ((b"etc",), "out of place"),
        ((b"images/x", b"scripts/x"), "out of place"),
        ((b"images/x", b"images/x"), "twice"),
    ],
)
def test_a_name_that_no_archive_may_hold_is_refused(names: tuple[bytes, ...], why: str) -> None:
    with pytest.raises(DamagedArchive, match=why):
        accepted(*names)


def test_nothing_can_lie_below_a_symlink() -> None:
    order = NameOrder({b"v"})
    order.accept(Entry(b"volumes/v", Kind.DIRECTORY))
    order.accept(Entry(b"volumes/v/a", Kind.SYMLINK, link=b"/etc"))
    with pytest.raises(DamagedArchive, match="no directory"):
        order.accept(Entry(b"volumes/v/a/passwd", Kind.FILE))


@pytest.mark.parametrize("link", [b"volumes/v/b", b"volumes/w/a", b"volumes/v/../w/a", b"/etc/passwd", b"volumes/v/z"])
def test_a_hard_link_points_back_within_its_volume(link: bytes) -> None:
    order = NameOrder({b"v", b"w"})
    order.accept(Entry(b"volumes/v", Kind.DIRECTORY))
    with pytest.raises(DamagedArchive, match="further name"):
        order.accept(Entry(b"volumes/v/b", Kind.HARDLINK, link=link))


@given(st.sets(st.lists(st.sampled_from([b"a", b"a-", b"a.", b"b", b"\xff"]), min_size=1, max_size=4).map(tuple)))
def test_any_tree_in_walk_order_is_accepted(paths: set[tuple[bytes, ...]]) -> None:
    whole = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
    accepted(b"volumes/v", *(b"volumes/v/" + b"/".join(path) for path in sorted(whole)))
