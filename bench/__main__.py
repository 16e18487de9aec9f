"""`python -m bench [--quick]`: measure everything, and print the table."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.archive_format import reads_of_a_large_archive, verifying
from bench.members import memory_of_many_members


def main() -> None:
    """Rows as they are measured. --quick takes a tenth of the data."""
    scale = 10 if "--quick" in sys.argv else 1
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        for row in reads_of_a_large_archive(directory, 10_000_000_000 // scale):
            print(row, flush=True)
        for row in verifying(directory, (1 << 30) // scale, runs=5):
            print(row, flush=True)
        for row in memory_of_many_members(directory, 1_000_000 // scale):
            print(row, flush=True)


main()
