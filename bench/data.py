"""The data that is measured: made from a seed, so its names and bytes are the same every time, on any machine.

Pieces are drawn from pools that are far larger than what a compressor sees at once. So what it finds is likeness, as in
real files, and not our having run out of ideas.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

_MIB = 1 << 20
_POOL = 1 << 18  # pieces in a pool
_PAGE = 8192
_SPARSE_FILE = 256 * _MIB
_SPARSE_STEP = 16 * _MIB  # in which a MiB is data

Make = Callable[[int], bytes]
_Item = TypeVar("_Item")


def mixed(directory: Path, size: int, seed: int = 1) -> None:
    """About `size` bytes: a third programs, a third text, a third media that are compressed already; most of it in
    large files, most files small; and a file of a quarter of `size` that is nearly all hole."""
    generator = random.Random(seed)
    kinds: dict[str, Make] = {
        "programs": _from_pool(generator, _code(generator)),
        "text": _from_pool(generator, _sentences(generator)),
        "media": generator.randbytes,
    }
    for kind, make in kinds.items():
        for index, count in enumerate(_sizes(generator, size // 3)):
            path = directory / kind / f"{index % 32:02d}" / f"file{index:05d}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make(count))
    with (directory / "sparse").open("wb") as stream:
        stream.truncate(size // 4)
        stream.seek(size // 8)
        stream.write(generator.randbytes(_MIB))


def small_files(directory: Path, count: int, seed: int = 2) -> None:
    """`count` files of text, 64 bytes to 16 KiB, as many of each order of size, a hundred in each folder."""
    generator = random.Random(seed)
    text = _from_pool(generator, _sentences(generator))
    for index, folder in _folders(directory, count):
        (folder / f"file{index:06d}.txt").write_bytes(text(int(2 ** generator.uniform(6, 14))))


def tiny_files(directory: Path, count: int, seed: int = 3) -> None:
    """`count` files of 0 to 31 bytes, a hundred in each folder."""
    generator = random.Random(seed)
    for index, folder in _folders(directory, count):
        data = generator.randbytes(generator.randrange(32))
        descriptor = os.open(folder / f"f{index:06d}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, data)
        os.close(descriptor)


def database(directory: Path, size: int, seed: int = 4) -> None:
    """One file of pages of 8 KiB, as a database has them: of five, three are rows of text, one is random, one zero."""
    generator = random.Random(seed)
    rows = _from_pool(generator, [b"%08x|%b\n" % (number, text) for number, text in enumerate(_sentences(generator))])
    with (directory / "table.db").open("wb") as stream:
        for number in range(size // _PAGE):
            kind = generator.randrange(5)
            if kind == 0:
                stream.write(bytes(_PAGE))
                continue
            head = struct.pack("<QQQ", number, generator.getrandbits(64), kind)
            room = _PAGE - len(head)
            stream.write(head + (generator.randbytes(room) if kind == 1 else rows(room)))


def sparse_volume(directory: Path, size: int, seed: int = 5) -> None:
    """Files of 256 MiB, `size` bytes together, a sixteenth of which is data, half of that random."""
    generator = random.Random(seed)
    text = _from_pool(generator, _sentences(generator))
    for start in range(0, size, _SPARSE_FILE):
        length = min(_SPARSE_FILE, size - start)
        with (directory / f"disk{start // _SPARSE_FILE:03d}.img").open("wb") as stream:
            stream.truncate(length)
            for number, at in enumerate(range(0, length - _MIB, _SPARSE_STEP)):
                stream.seek(at)
                stream.write(text(_MIB) if number % 2 else generator.randbytes(_MIB))


def _folders(directory: Path, count: int) -> Iterator[tuple[int, Path]]:
    """Numbers below `count`, each with the folder its file is to be in, which is there."""
    for index in range(count):
        folder = directory / f"part{index // 10_000:03d}" / f"folder{index // 100 % 100:02d}"
        if index % 100 == 0:
            folder.mkdir(parents=True)
        yield index, folder


def _sizes(generator: random.Random, total: int) -> Iterator[int]:
    """File sizes that add up to about `total`: as many of each order from 512 bytes to 32 MiB."""
    while total > 0:
        size = min(total, int(2 ** generator.uniform(9, 25)))
        total -= size
        yield max(size, 1)


def _from_pool(generator: random.Random, pool: Sequence[bytes]) -> Make:
    """Makes so many bytes, of pieces drawn from a pool."""
    mean = sum(map(len, pool)) // len(pool)

    def make(count: int) -> bytes:
        made = b"".join(generator.choices(pool, k=count // mean + 1))
        while len(made) < count:
            made += b"".join(generator.choices(pool, k=(count - len(made)) // mean + 1))
        return made[:count]

    return make


def _sentences(generator: random.Random) -> list[bytes]:
    """Sentences of words that are as unequally frequent as in a language."""
    words = [_word(generator) for _ in range(20_000)]
    return [" ".join(chosen).encode() + b". " for chosen in _drawn(generator, words, 14)]


def _code(generator: random.Random) -> list[bytes]:
    """Runs of instructions of 1 to 7 bytes, as unequally frequent as in machine code, each with an address."""
    instructions = [generator.randbytes(generator.randint(1, 7)) for _ in range(20_000)]
    return [b"".join(chosen) + generator.randbytes(4) for chosen in _drawn(generator, instructions, 20)]


def _drawn(generator: random.Random, items: Sequence[_Item], length: int) -> Iterator[Sequence[_Item]]:
    """_POOL runs of `length` items each; the n-th item is drawn a n-th as often as the first."""
    weights = list(accumulate(1 / rank for rank in range(1, len(items) + 1)))
    for _ in range(_POOL):
        yield generator.choices(items, cum_weights=weights, k=length)


def _word(generator: random.Random) -> str:
    return "".join(generator.choices("etaoinshrdlucmfwypvbgkjqxz", k=generator.randint(2, 9)))
