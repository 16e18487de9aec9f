"""The sets of data by name, made when they are first asked for, and kept in a directory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import data

_GIB = 1 << 30


@dataclass(frozen=True)
class DataSet:
    """Some files below a directory. shape: how many regular files, and how many bytes, holes included."""

    name: str
    path: Path
    shape: tuple[int, int]


@dataclass(frozen=True)
class Recipe:
    """How a set is made. amount: bytes or files, which `make` takes. text: what it is, for a reader."""

    make: Callable[[Path, int], None]
    amount: int
    text: str


RECIPES = {
    "mixed": Recipe(data.mixed, _GIB, "1 GiB of programs, text and compressed media, a third each, and a sparse file"),
    "small": Recipe(data.small_files, 100_000, "100,000 files of text of 64 B to 16 KiB, in 1,000 folders"),
    "database": Recipe(data.database, 2 * _GIB, "one file of 2 GiB in pages of 8 KiB: rows of text, random, zero"),
    "tiny": Recipe(data.tiny_files, 500_000, "500,000 files of 0 to 31 bytes"),
    "volume-1": Recipe(data.sparse_volume, _GIB, "1 GiB of disk images, a sixteenth of it data, the rest holes"),
    "volume-20": Recipe(data.sparse_volume, 20 * _GIB, "20 GiB of the same: 1.25 GiB of data"),
}


class DataSets:
    """Sets of data in a directory, a `scale`-th of each."""

    def __init__(self, directory: Path, scale: int) -> None:
        # Sets that an earlier version of their maker has left are no longer the same.
        version = hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest()[:12]
        self._directory = directory / version
        self._scale = scale
        for old in directory.glob("*"):
            if old != self._directory:
                shutil.rmtree(old)
        self._directory.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> DataSet:
        """The set of this name."""
        recipe = RECIPES[name]
        path = self._directory / f"{name}-{self._scale}"
        if not path.exists():
            partial = path.with_name(f"{path.name}.partial")
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            recipe.make(partial, recipe.amount // self._scale)
            partial.rename(path)
        return DataSet(name, path, shape(path))


def shape(directory: Path) -> tuple[int, int]:
    """How many regular files are below a directory, and how many bytes they have."""
    sizes = [path.lstat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
    return len(sizes), sum(sizes)


def read_through(directory: Path) -> None:
    """Read all files below it, so that whoever comes next need not fetch them from the disk."""
    for path in directory.rglob("*"):
        if path.is_file() and path.stat().st_blocks:
            with path.open("rb", buffering=0) as stream:
                while stream.read(1 << 20):
                    pass
