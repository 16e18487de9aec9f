"""The data that is measured: made from a seed, the same every time, on any machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

_MIB = 1 << 20


def mixed(directory: Path, size: int, seed: int = 1) -> None:
    """About `size` bytes: a third text, a third records as in databases, a third that is compressed already;
    some in large files, some in small ones; and a file of `size` bytes that is nearly all hole."""
    generator = random.Random(seed)
    words = [_word(generator) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    kinds = (
        lambda count: " ".join(generator.choices(words, weights, k=count // 6)).encode()[:count],
        lambda count: b"".join(_record(generator, index) for index in range(count // 64)),
        generator.randbytes,
    )
    for number, make in enumerate(kinds):
        for index, count in enumerate(_sizes(generator, size // 3)):
            path = directory / f"kind{number}" / f"{index % 32:02d}" / f"file{index:05d}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make(count))
    with (directory / "sparse").open("wb") as stream:
        stream.truncate(size)
        stream.seek(size // 2)
        stream.write(generator.randbytes(_MIB))


def _sizes(generator: random.Random, total: int) -> Iterator[int]:
    """File sizes that add up to about `total`: mostly small, mostly in large files."""
    while total > 0:
        size = min(total, int(2 ** generator.uniform(9, 25)))
        total -= size
        yield max(size, 1)


def _word(generator: random.Random) -> str:
    return "".join(generator.choices("etaoinshrdlucmfwypvbgkjqxz", k=generator.randint(2, 9)))


def _record(generator: random.Random, index: int) -> bytes:
    fields = (index, generator.randrange(1000), generator.randrange(1 << 32), 0)
    return b"".join(field.to_bytes(8, "little") for field in fields) + b"active\0\0" + bytes(24)
