"""Where measuring happens: a directory with the data, our program and the others, and all figures so far."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from support.engines import working_directory

from bench.datasets import DataSet, DataSets, read_through, shape
from bench.measure import Measured, cold_is_possible, figure, measured, settle
from bench.ours import Ours, ours
from bench.programs import KeyPair, Program, make_key, peers, remove, written
from bench.table import Figure

_NEEDED, _NEEDED_A_RUN = 9_000_000_000, 2_400_000_000  # bytes on the disk; a tenth of the data needs a tenth of them
_MANY = 1000  # files whose removal would be felt
_LONGEST = 40  # characters of the directory's name: an engine's sockets lie below it
_NO_DISK = ("tmpfs", "ramfs", "overlay")


class CannotMeasureError(RuntimeError):
    """Something that all of it needs is not there."""


@dataclass(frozen=True)
class Choices:
    """What a person chose. runs: of each program. scale: which part of the data, 1 or 10. cold: drop the page cache
    before each run."""

    runs: int = 3
    scale: int = 1
    cold: bool = False


@dataclass
class Workbench:
    """directory: for what is written meanwhile. figures: one for each action, data and program that was measured."""

    directory: Path
    choices: Choices
    data: DataSets
    stack: ExitStack
    figures: list[Figure] = field(default_factory=list)

    @cached_property
    def key(self) -> KeyPair:
        """Whom everything is encrypted to."""
        return make_key(self.directory)

    @cached_property
    def ours(self) -> Ours:
        """Our program, whose engine starts when it is first asked for."""
        return self.stack.enter_context(ours(self.directory, self.key))

    @cached_property
    def programs(self) -> Sequence[Program]:
        """Ours, and then the others."""
        return self.ours, *peers(self.directory / "restored", self.key)

    def peer(self, name: str) -> Program:
        """One of the others."""
        return next(program for program in self.programs if program.name == name)

    def warm(self, name: str) -> DataSet:
        """A set of data that lies in the page cache, as far as there is room."""
        dataset = self.data.get(name)
        self.ready_for(dataset.path)
        return dataset

    def shelf(self, program: Program, name: str) -> Path:
        """Where the program's backup of that data is, or will be."""
        return self.directory / "backups" / f"{name}-{program.name.replace(' | ', '-')}"

    def empty_shelf(self, program: Program, dataset: DataSet) -> Path:
        """The same without what was there, ready for a first backup."""
        shelf = self.shelf(program, dataset.name)
        remove(shelf)
        shelf.mkdir(parents=True)
        program.prepare(dataset, shelf)
        return shelf

    def backup(self, program: Program, dataset: DataSet) -> Measured:
        """A first backup, which stays on its shelf."""
        shelf = self.empty_shelf(program, dataset)
        before = written(shelf)
        self.ready_for(dataset.path)
        taken = measured(program.backup(dataset, shelf))
        return replace(taken, size=written(shelf) - before)

    def backed_up(self, program: Program, dataset: DataSet) -> Path:
        """A shelf with a backup, made now if there is none yet."""
        shelf = self.shelf(program, dataset.name)
        if not shelf.exists():
            self.backup(program, dataset)
        return shelf

    def verify(self, program: Program, dataset: DataSet) -> Measured:
        """Reading and judging all of a backup."""
        shelf = self.backed_up(program, dataset)
        self.ready_for(shelf)
        return measured(program.verify(shelf))

    def restore(self, program: Program, dataset: DataSet) -> Measured:
        """Bringing all of a backup back; what came is counted, and removed."""
        shelf = self.backed_up(program, dataset)
        call = program.restore(shelf)
        self.ready_for(shelf)
        taken = measured(call)
        came = shape(program.restored())
        if came != dataset.shape:
            raise CannotMeasureError(f"{program.name} restored {came} of {dataset.name}, which is {dataset.shape}")
        if came[0] >= _MANY:
            _set_aside(program.restored(), program.attic())
        program.discard()
        return taken

    def ready_for(self, read: Path) -> None:
        """Before each run: what will be read is in the page cache, unless it is to be cold. Some programs push out of
        it what they have read."""
        if not self.choices.cold:
            read_through(read)
        settle(cold=self.choices.cold)

    def compare(self, action: str, data: str, runs: Mapping[str, Callable[[], Measured]]) -> dict[str, Figure]:
        """Measure each of `runs`, by program, as often as was chosen, all in turn; another one begins each time."""
        taken: dict[str, list[Measured]] = {name: [] for name in runs}
        names = list(runs)
        for number in range(self.choices.runs):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                taken[name].append(runs[name]())
        made = {name: figure(action, data, name, taken[name]) for name in names}
        self.figures += made.values()
        return made

    def once(self, action: str, data: str, run: Callable[[], Measured]) -> None:
        """Measure something of ours a single time, where only its memory is the question."""
        self.figures.append(figure(action, data, self.ours.name, [run()]))

    def forget(self, name: str) -> None:
        """Remove all backups of a set of data."""
        for shelf in (self.directory / "backups").glob(f"{name}-*"):
            remove(shelf)


@contextmanager
def workbench(choices: Choices) -> Iterator[Workbench]:
    """A workbench below BENCH_DIR, where data stays for the next time, or in a directory that goes afterwards.

    Raises CannotMeasureError if it cannot be there.
    """
    if os.geteuid() != 0:
        raise CannotMeasureError("run it as root: it starts a Docker engine of its own")
    if choices.cold and not cold_is_possible():
        raise CannotMeasureError("the page cache cannot be dropped here, so there is no --cold")
    with ExitStack() as stack:
        chosen = os.environ.get("BENCH_DIR")
        parent = _own_directory(Path(chosen)) if chosen else stack.enter_context(working_directory())
        _check_room(parent, (_NEEDED + _NEEDED_A_RUN * choices.runs) // choices.scale)
        directory = Path(tempfile.mkdtemp(prefix="r-", dir=parent))
        directory.chmod(0o755)  # a service's scripts may run as another user
        stack.callback(remove, directory)
        yield Workbench(directory, choices, DataSets(parent / "data", choices.scale), stack.enter_context(ExitStack()))


def _set_aside(restored: Path, attic: Path) -> None:
    """Put many files where they stay to the end, and leave an empty directory in their place.

    A file system may not use an inode again for minutes after its file was removed (ext4), and search long for one that
    it may use: who restores next would pay for that.
    """
    restored.rename(Path(tempfile.mkdtemp(prefix="aside-", dir=attic)) / "files")
    restored.mkdir()


def _own_directory(path: Path) -> Path:
    path = path.resolve()
    path.mkdir(parents=True, exist_ok=True)
    if len(str(path)) > _LONGEST:
        raise CannotMeasureError(f"BENCH_DIR={path} is too long a name: {_LONGEST} characters at most")
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()
    if kind.startswith(_NO_DISK):
        raise CannotMeasureError(f"BENCH_DIR={path} is on {kind}; choose a directory on a real disk")
    return path


def _check_room(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise CannotMeasureError(
            f"{directory} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed; "
            "BENCH_DIR names another directory"
        )
    print(f"{directory} has {free / 1e9:.0f} GB free; {needed / 1e9:.1f} GB may be needed", file=sys.stderr)
