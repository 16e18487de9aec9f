"""Our program beside the others: the same work on the same files, in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from support import s3servers

from bench.datasets import DataSet
from bench.measure import Call, Measured, measured
from bench.programs import Program, remove, written
from bench.table import Figure, Row
from bench.workbench import Workbench

PLAIN, RESTIC, BORG = "tar | zstd | age", "restic", "borg"
_TO_S3, _TO_DISK, _RCLONE = "drunner-vault, to S3", "drunner-vault, to disk", "rclone copy of the archive"
_MIB = 1 << 20
_MEMORY_LIMIT = 200  # MiB

# The most our wall time may be, over each other program's.
BACKUP_LIMITS: dict[str, dict[str, float | None]] = {
    "mixed": {PLAIN: 0.85, RESTIC: 0.40, BORG: 0.40},
    "small": {PLAIN: 1.25, RESTIC: 0.35, BORG: None},
    "database": {PLAIN: 0.85},
}
RESTORE_LIMITS: dict[str, dict[str, float | None]] = {
    "mixed": {PLAIN: 0.85, RESTIC: 0.60, BORG: 0.60},
    "small": {PLAIN: 0.85, RESTIC: 0.60, BORG: 0.60},
}
VERIFY_LIMITS: dict[str, dict[str, float | None]] = {"mixed": {PLAIN: 0.60, RESTIC: None, BORG: None}}


def backups(bench: Workbench, name: str) -> Iterator[Row]:
    """First backups of a set of data."""
    dataset = bench.warm(name)
    limits = BACKUP_LIMITS[name]
    made = bench.compare("backup", name, _each(bench, limits, dataset, bench.backup))
    yield from _ratios(bench, made, f"backup of {name}", limits)
    if name == "mixed" and PLAIN in made:
        ours, plain = made[bench.ours.name].size, made[PLAIN].size
        how = f"{ours / _MIB:.1f} / {plain / _MIB:.1f} MiB"
        yield Row(f"size of a backup of {name} / {PLAIN}", ours / plain, 1.05, "", how)


def restores(bench: Workbench, name: str) -> Iterator[Row]:
    """Restores of all of it, into an empty place."""
    dataset = bench.warm(name)
    limits = RESTORE_LIMITS[name]
    made = bench.compare("restore", name, _each(bench, limits, dataset, bench.restore))
    yield from _ratios(bench, made, f"restore of {name}", limits)


def verifying(bench: Workbench) -> Iterator[Row]:
    """Reading and judging a whole backup."""
    dataset = bench.warm("mixed")
    limits = VERIFY_LIMITS["mixed"]
    made = bench.compare("verify", "mixed", _each(bench, limits, dataset, bench.verify))
    yield from _ratios(bench, made, "verify of mixed", limits)


def extracting(bench: Workbench) -> Iterator[Row]:
    """One file of a few KiB out of an archive of a GiB."""
    dataset = bench.warm("mixed")
    archive = bench.ours.archive(bench.backed_up(bench.ours, dataset))
    file = min((dataset.path / "text").rglob("file*"), key=lambda path: (abs(path.stat().st_size - 4096), path))
    into = bench.directory / "extracted"
    words = ("extract", archive, f"volumes/*/{file.relative_to(dataset.path)}", "--to", into, "-i", bench.key.identity)

    def run() -> Measured:
        remove(into)
        into.mkdir()
        bench.ready_for(archive.parent)
        taken = measured(bench.ours.call(*words))
        if [path.read_bytes() for path in into.rglob("file*")] != [file.read_bytes()]:
            raise RuntimeError(f"what was extracted is not {file}")
        return taken

    made = bench.compare("extract one file", "mixed", {bench.ours.name: run})[bench.ours.name]
    yield Row("extract of one file from mixed", made.wall * 1000, None, "ms")


def to_s3(bench: Workbench) -> Iterator[Row]:
    """A backup to a server of S3 on the loopback, beside the same to a directory. The server shares our processors; how
    fast it can be, its own client shows, which has nothing to do but to send an archive that is there already."""
    what = "backup of mixed to S3 on loopback / to local disk"
    if lacking := s3servers.missing_parts():
        yield Row(what, None, 1.15, how=lacking)
        return
    dataset = bench.warm("mixed")
    bench.ours.prepare(dataset, bench.directory)
    served, local = bench.directory / "served", bench.directory / "local"
    served.mkdir()
    local.mkdir()
    with s3servers.rclone_server(served) as server:
        bucket = server.bucket("bench")
        url = f"s3://bench/run%d?endpoint={server.endpoint}"
        numbers = itertools.count()  # no name is ever written twice, and the server may remember what it had
        made = bench.compare(
            "backup",
            "mixed",
            {
                _TO_S3: lambda: _backup_to(bench, dataset, url % next(numbers), served / bucket.name),
                _TO_DISK: lambda: _backup_to(bench, dataset, f"{local}/", local),
                _RCLONE: lambda: _sent_by_rclone(bench, server, f"{bucket.name}/sent{next(numbers)}", dataset),
            },
        )
    remove(served)
    remove(local)
    there, here, sent = made[_TO_S3], made[_TO_DISK], made[_RCLONE]
    yield Row(what, there.wall / here.wall, 1.15, "", f"{there.wall:.2f} / {here.wall:.2f} s, rclone serve s3")
    how = f"{sent.wall:.2f} / {here.wall:.2f} s: the server is not faster"
    yield Row("rclone's upload of such an archive / to local disk", sent.wall / here.wall, None, "", how)


def _sent_by_rclone(bench: Workbench, server: s3servers.Server, to: str, dataset: DataSet) -> Measured:
    """An archive of the data that lies on the disk, sent by rclone in parts like ours."""
    archive = bench.ours.archive(bench.backed_up(bench.ours, dataset))
    bench.ready_for(archive.parent)
    parts = ("--s3-chunk-size", "8M", "--s3-upload-concurrency", "3")
    command = [s3servers.rclone(), "--config", "", "copyto", *parts, str(archive), f":s3:{to}"]
    return measured(Call(command, s3servers.rclone_environment(server)))


def _backup_to(bench: Workbench, dataset: DataSet, destination: str, directory: Path) -> Measured:
    """A backup that ends up below `directory`, where nothing else is kept."""
    directory.mkdir(exist_ok=True)
    for path in directory.iterdir():
        remove(path)
    bench.ready_for(dataset.path)
    call = bench.ours.backup_to(dataset, destination, s3servers.credentials())
    return replace(measured(call), size=written(directory))


def memory(bench: Workbench) -> Iterator[Row]:
    """Peak memory of our program where there is much to keep in mind, and where there is much to read."""
    for name in ("tiny", "volume-1", "volume-20"):
        dataset = bench.data.get(name)
        actions = {"backup": bench.backup, "verify": bench.verify, "restore": bench.restore}
        for action in actions if name == "tiny" else ("backup",):
            bench.once(action, name, partial(actions[action], bench.ours, dataset))
        bench.forget(name)
    small, large = (_peaks(bench)[name] for name in ("volume-1", "volume-20"))
    how = f"{large / _MIB:.0f} / {small / _MIB:.0f} MiB"
    yield Row("peak memory, backup of 20 GiB / of 1 GiB", large / small, 1.1, "", how)


def peaks(bench: Workbench) -> Iterator[Row]:
    """Peak memory of the largest process of ours, for each set of data that something was measured on."""
    for name, peak in _peaks(bench).items():
        yield Row(f"peak memory of any command, {name}", peak / _MIB, _MEMORY_LIMIT, "MiB")


def _peaks(bench: Workbench) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for figure in bench.figures:
        if figure.program.startswith(bench.ours.name):
            found[figure.data] = max(found.get(figure.data, 0), figure.peak)
    return found


def _each(
    bench: Workbench,
    limits: Mapping[str, float | None],
    dataset: DataSet,
    run: Callable[[Program, DataSet], Measured],
) -> dict[str, Callable[[], Measured]]:
    """`run` for ours, and for those others that are to be compared and are here."""
    others = [program for program in bench.programs if program.name in limits and not program.missing()]
    return {program.name: partial(run, program, dataset) for program in (bench.ours, *others)}


def _ratios(
    bench: Workbench, made: Mapping[str, Figure], what: str, limits: Mapping[str, float | None]
) -> Iterator[Row]:
    """Our median wall time over each other program's."""
    ours = made[bench.ours.name]
    for name, limit in limits.items():
        if name not in made:
            yield Row(f"{what} / {name}", None, limit, how=f"not installed: {bench.peer(name).missing()}")
            continue
        how = f"{ours.wall:.2f} / {made[name].wall:.2f} s"
        yield Row(f"{what} / {name}", ours.wall / made[name].wall, limit, "", how)
