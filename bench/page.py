"""docs/performance.md, from one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.datasets import RECIPES
from bench.machine import machine
from bench.picture import picture
from bench.stages import AGE, BLAKE3, READ, SERIAL, TAR, ZSTD, ZSTD_ALL, Profile
from bench.table import Figure, Row, markdown
from bench.workbench import Workbench

_MIB = 1 << 20


@dataclass(frozen=True)
class Findings:
    """All that a run has measured."""

    rows: Sequence[Row]
    profiles: Sequence[Profile]


def write_page(bench: Workbench, findings: Findings, directory: Path) -> None:
    """The page and its picture."""
    (directory / "performance.svg").write_text(picture(findings.profiles))
    (directory / "performance.md").write_text("\n\n".join(_page(bench, findings)) + "\n")


def _page(bench: Workbench, findings: Findings) -> Iterator[str]:
    yield "# Performance"
    yield _conditions(bench)
    yield (
        "`drunner-vault` is the whole command, on a real Docker engine: a backup pauses the service, takes its image "
        "along, signs, and is on the disk, synced, before it has a name; a restore installs the service and runs its "
        "hooks. The line of `tar`, `zstd` and `age` does none of this. What restic and borg do once for each "
        "repository is not counted. Every restore was counted, file by file."
    )
    yield _verdicts(findings.rows)
    yield "## Figures"
    yield (
        "Wall time, with the quickest and the slowest run; processor time of all processes, but not of the engine's; "
        "memory of the largest process, at its peak."
    )
    yield markdown(("", "program", " wall, s", " CPU, s", " memory, MiB", " size, MiB"), map(_figure, bench.figures))
    yield "The data, made from a seed:"
    yield "\n".join(f"* **{name}**: {recipe.text}" for name, recipe in RECIPES.items())
    yield "## Where the time goes"
    yield (
        "The stages of a backup, run one after the other on one core by the program's own parts, beside all of them at "
        "once as in a backup:"
    )
    yield "![Seconds for each stage of a backup](performance.svg)"
    yield from map(_explained, findings.profiles)
    yield from _beyond(findings.profiles, bench.figures)
    yield "## The machine"
    yield markdown(("", ""), machine(bench))
    yield "## Again"
    yield _AGAIN


def _conditions(bench: Workbench) -> str:
    choices = bench.choices
    part = "" if choices.scale == 1 else f" **This was a trial, with 1/{choices.scale} of the data named below.**"
    state = "had been dropped from" if choices.cold else "was in"
    times = "once" if choices.runs == 1 else f"{choices.runs} times"
    return (
        f"Measured by `make bench` in one go, on the machine below.{part} Each program did the same work on the same "
        f"files, {times}, all of them in turn, another one first each time; figures are medians. Before each run all "
        f"that waited to be written was written; the data {state} the page cache."
    )


_AGAIN = """\
```sh
make bench                                  # as root; installs the other programs; half an hour, and 17 GB of disk
BENCH_DIR=/srv/bench make bench             # there, and the data stays for the next time
make bench ARGS='--quick'                   # a tenth of the data
make bench ARGS='--only restore-small s3'   # some of it; --runs 5 for more runs, --cold without the page cache
make bench ARGS='stages'                    # the stages alone; `format`: what the archive format alone costs
make bench ARGS='--write'                   # all of it, into this page
```"""


def _verdicts(rows: Sequence[Row]) -> str:
    return markdown(("wall time, unless it says otherwise", " is", " at most", "", " of"), map(_verdict, rows))


def _verdict(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        f"{row.shown} {row.unit}".strip(),
        "" if row.limit is None else f"{row.limit:g}",
        row.verdict,
        row.how,
    )


def _figure(figure: Figure) -> tuple[str, ...]:
    wall = f"{figure.wall:.2f}"
    if figure.runs > 1:
        wall += f" ({figure.least:.2f} to {figure.most:.2f})"
    size = f"{figure.size / _MIB:,.0f}" if figure.size else ""
    return (
        f"{figure.action}, {figure.data}",
        figure.program,
        wall,
        f"{figure.cpu:.2f}",
        f"{figure.peak / _MIB:,.0f}",
        size,
    )


def _explained(profile: Profile) -> str:
    """What a profile says, in words."""
    order = sorted(SERIAL, key=profile.share, reverse=True)
    listed = ", ".join(f"{stage.removesuffix(', one core')} {profile.share(stage):.0%}" for stage in order)
    faster = profile.seconds[ZSTD] / profile.seconds[ZSTD_ALL]
    return (
        f"**{profile.data}**, {profile.members:,} files and folders: {profile.work:.2f} s of work if one thing is "
        f"done after the other, {profile.whole:.2f} s all at once on {profile.cores} cores. The work is {listed}. "
        f"zstd is {faster:.1f} times as fast on all cores as on one. {_bound(profile)}"
    )


def _bound(profile: Profile) -> str:
    """What the whole waits for."""
    seconds = profile.seconds
    in_order, beside = seconds[TAR] + seconds[AGE], seconds[ZSTD] + seconds[BLAKE3]
    if seconds[READ] + in_order > profile.work / profile.cores:
        return (
            f"So many small files are read by a process of its own ({seconds[READ]:.2f} s), while the main one makes "
            f"headers, rows and ciphertext in order ({in_order:.2f} s), and zstd and the digests ({beside:.2f} s) run "
            f"on threads. On {profile.cores} cores that is {profile.work / profile.cores:.2f} s at the least, on more "
            "the longest of these; what is above it is handing over."
        )
    return (
        f"zstd and the digests ({beside:.2f} s) are the longer part, and are spread over all cores; reading, tar and "
        f"age ({seconds[READ] + in_order:.2f} s) are done in order beside them, and writing by a thread of its own. "
        "More cores help until reading is what remains."
    )


def _beyond(profiles: Sequence[Profile], figures: Sequence[Figure]) -> Iterator[str]:
    """What the whole command takes beyond the stages."""
    walls = {(figure.action, figure.program, figure.data): figure.wall for figure in figures}
    parts = []
    for profile in profiles:
        wall = walls.get(("backup", "drunner-vault", profile.data))
        if wall is not None:
            parts.append(f"{profile.data} {wall:.2f} s instead of {profile.whole:.2f} s")
    if parts:
        yield (
            f"The command as a whole takes longer ({', '.join(parts)}): Python starts, the engine is asked, hooks "
            "pause and resume the service, and its image is taken along."
        )
