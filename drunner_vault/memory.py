"""How this process gets its memory."""

from __future__ import annotations

import gc

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # malloc.h
_LARGE = 64 << 20
_SELDOM = 100_000  # objects more than before, until those in cycles are looked for


def collect_seldom() -> None:
    """Look for garbage in cycles seldom: there is next to none, and starting alone makes objects enough to look thirty
    times."""
    gc.set_threshold(_SELDOM)


def expect_bulk_work() -> None:
    """Have the C library reuse buffers of a MiB instead of asking the kernel for each anew, which costs a third of the
    time of bulk work, if it has such settings; all threads share them, so none keeps a heap of holes of its own."""
    import ctypes

    gc.freeze()
    collect_seldom()
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for setting in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        mallopt(setting, _LARGE)
    mallopt(_M_TOP_PAD, _LARGE // 16)
    mallopt(_M_ARENA_MAX, 1)
