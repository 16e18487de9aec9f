"""`python launcher.py REPORT COMMAND…`: run a command, and write into REPORT what it took, as JSON.

A process of its own because a child's peak memory, as the kernel tells it, is at least that of whoever started it; so
that has to be small, and knows nothing of the rest.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> int:
    """wall, cpu: seconds, cpu of all processes that the command has waited for. peak: bytes, of the largest of them."""
    report, command = sys.argv[1], sys.argv[2:]
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    taken = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss << 10}
    with open(report, "w") as stream:  # noqa: PTH123 (pathlib would make this process larger)
        json.dump(taken, stream)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
