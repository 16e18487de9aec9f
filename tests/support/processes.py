"""What this process has open and running."""

from __future__ import annotations

import os
from pathlib import Path


def open_files() -> int:
    """How many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def children() -> set[int]:
    """Processes that this one started and that have not ended; servers of other tests among them."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
