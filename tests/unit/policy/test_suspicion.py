"""Sizes that give reason to look before anything is deleted, and those that do not."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest

from drunner_vault.policy import Sized, Suspicion, suspicion

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
START = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def line(*sizes: int, accepted: tuple[int, ...] = (), flagged: tuple[int, ...] = ()) -> list[Sized]:
    """Daily archives of these sizes, named 0, 1, 2…"""
    return [
        Sized(str(place), START + dt.timedelta(days=place), size, place in accepted, place in flagged)
        for place, size in enumerate(sizes)
    ]


def suspect(history: list[Sized]) -> str | None:
    found = suspicion(history)
    return found.key if found else None


@pytest.mark.parametrize("history", [line(), line(MIB), line(0), line(MIB, accepted=(0,)), line(*[MIB] * 30)])
def test_what_has_no_history_or_an_even_one_is_not_suspicious(history: list[Sized]) -> None:
    assert suspicion(history) is None


@pytest.mark.parametrize(
    ("size", "found"),
    [
        (MIB // 2, None),
        (MIB // 2 - 1, "3"),
        (4 * MIB, None),
        (4 * MIB + 1, "3"),
        (0, "3"),
    ],
)
def test_less_than_half_and_more_than_four_times_are_suspicious(size: int, found: str | None) -> None:
    assert suspect(line(MIB, MIB, MIB, size)) == found


@pytest.mark.parametrize(
    ("usual", "size", "found"),
    [
        (20 * KIB, 4 * KIB, "1"),
        (20 * KIB, 4 * KIB + 1, None),
        (4 * KIB, 20 * KIB, "1"),
        (4 * KIB, 20 * KIB - 1, None),
        (0, 16 * KIB, "1"),
        (0, 16 * KIB - 1, None),
    ],
)
def test_differences_of_less_than_16_kib_are_not(usual: int, size: int, found: str | None) -> None:
    assert suspect(line(usual, size)) == found


@pytest.mark.parametrize(
    ("usual", "size", "reason"),
    [
        (10 * MIB, 6 * MIB // 5, "shrank to 11 % of its usual size (1.2 MiB, usually 10.0 MiB)"),
        (MIB, MIB // 2 - 1, "shrank to 49 % of its usual size (512.0 KiB, usually 1.0 MiB)"),
        (MIB, MIB // 100 + 1, "shrank to 1 % of its usual size (10.2 KiB, usually 1.0 MiB)"),
        (MIB, MIB // 100, "shrank to less than 1 % of its usual size (10.2 KiB, usually 1.0 MiB)"),
        (2 * GIB, 300, "shrank to less than 1 % of its usual size (300 B, usually 2.0 GiB)"),
        (MIB, 4 * MIB + 1, "grew to 401 % of its usual size (4.0 MiB, usually 1.0 MiB)"),
        (GIB, 5000 * GIB, "grew to 500000 % of its usual size (4.9 TiB, usually 1.0 GiB)"),
        (0, MIB, "grew from nothing (1.0 MiB, usually 0 B)"),
    ],
)
def test_the_reason_tells_both_sizes(usual: int, size: int, reason: str) -> None:
    assert suspicion(line(usual, size)) == Suspicion("1", size, usual, reason)


def test_usual_is_the_median_so_that_one_odd_archive_long_ago_changes_nothing() -> None:
    found = suspicion(line(100 * MIB, MIB, MIB, 3 * MIB, MIB, MIB, MIB, 0))
    assert found
    assert found.usual == MIB


def test_of_an_even_number_the_median_is_between() -> None:
    found = suspicion(line(MIB, 3 * MIB, 100))
    assert found
    assert found.usual == 2 * MIB


def test_only_the_ten_before_count() -> None:
    sizes = [GIB] * 20 + [MIB] * 10
    assert suspicion([*line(*sizes, 2 * MIB, MIB, MIB, MIB, MIB)]) is None
    found = suspicion(line(*[GIB] * 12, *[900 * MIB] * 10, 1, 1, 1, 1, 1))
    assert found
    assert found.usual == 900 * MIB


def test_only_the_newest_five_are_judged() -> None:
    assert suspect(line(*[MIB] * 10, 0, *[MIB] * 4)) == "10"
    assert suspect(line(*[MIB] * 10, 0, *[MIB] * 5)) is None


def test_of_several_the_oldest_is_told_and_judged_by_what_came_before() -> None:
    assert suspicion(line(*[MIB] * 4, 300 * KIB, 300 * KIB, 0)) == Suspicion(
        "4", 300 * KIB, MIB, "shrank to 29 % of its usual size (300.0 KiB, usually 1.0 MiB)"
    )


def test_a_slow_growth_is_not_suspicious() -> None:
    assert suspicion(line(*(MIB * 11**power // 10**power for power in range(60)))) is None


def test_an_accepted_archive_is_the_new_baseline() -> None:
    assert suspect(line(MIB, MIB, MIB, 10, 12)) == "3"
    assert suspect(line(MIB, MIB, MIB, 10, 12, accepted=(3,))) is None
    assert suspect(line(MIB, MIB, MIB, 10, MIB, accepted=(3,))) == "4"
    assert suspect(line(MIB, MIB, MIB, 10, 10, accepted=(1, 3))) is None


def test_accepting_an_older_archive_accepts_none_that_came_later() -> None:
    assert suspect(line(MIB, MIB, MIB, 10, 12, accepted=(2,))) == "3"


def test_what_was_flagged_stays_so_however_many_normal_ones_follow() -> None:
    found = suspicion(line(*[MIB] * 3, 0, *[MIB] * 40, flagged=(3,)))
    assert found == Suspicion("3", 0, MIB, "shrank to less than 1 % of its usual size (0 B, usually 1.0 MiB)")


@pytest.mark.parametrize(("accepted", "found"), [((2,), "3"), ((3,), None), ((20,), None)])
def test_what_was_flagged_is_free_once_it_or_a_newer_one_is_accepted(
    accepted: tuple[int, ...], found: str | None
) -> None:
    assert suspect(line(*[MIB] * 3, 0, *[MIB] * 40, flagged=(3,), accepted=accepted)) == found


@pytest.mark.parametrize("sizes", [(MIB,), (MIB, MIB, MIB)])
def test_what_was_flagged_stays_so_without_anything_to_compare_it_with(sizes: tuple[int, ...]) -> None:
    reason = "was found suspicious before, and not accepted since (1.0 MiB)"
    assert suspicion(line(*sizes, flagged=(0,))) == Suspicion("0", MIB, MIB, reason)


def test_the_order_in_which_archives_are_listed_does_not_matter() -> None:
    history = line(MIB, MIB, 10, MIB)
    assert {suspect(list(order)) for order in itertools.permutations(history)} == {"2"}


def test_archives_of_one_second_go_by_their_keys() -> None:
    history = [Sized(key, START, size) for key, size in (("b", 10), ("a", MIB))]
    assert suspect(history) == "b"
