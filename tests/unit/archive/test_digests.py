"""The digest of data in memory is BLAKE3's, in however many pieces it is made."""

from __future__ import annotations

import pytest
from blake3 import blake3

from drunner_vault.archive.digests import data_digest, digest_of


@pytest.mark.parametrize("size", [0, 1, 2046, 2047, 2048, 2 * 2047, 2 * 2047 + 1, 4 * 2047, 4 * 2047 + 1, 100_000])
def test_data_of_any_size_has_the_digest_that_blake3_gives_it(size: int) -> None:
    data = bytes(range(251)) * 400
    assert digest_of(data[:size]) == data_digest([data[:size]]) == blake3(data[:size]).hexdigest()
