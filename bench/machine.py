"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from bench.programs import said
from bench.workbench import Workbench

_LIBRARIES = ("zstandard", "cryptography", "blake3")


def machine(bench: Workbench) -> Iterator[tuple[str, str]]:
    """What it is and what runs on it, each with its name; nothing says whose it is."""
    yield "processor", f"{_field('/proc/cpuinfo', 'model name') or platform.machine()}, {_cores()}"
    yield "memory", f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.0f} GiB"
    yield "file system", _filesystem(bench.directory)
    yield "kernel", f"Linux {platform.release()}"
    yield "Python", f"{platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in _LIBRARIES)}"
    yield "Docker", said("docker", "--version").removeprefix("Docker version ").split(",")[0]
    for program in bench.programs:
        yield program.name, f"not installed: {program.missing()}" if program.missing() else program.version()


def _cores() -> str:
    count = len(os.sched_getaffinity(0))
    return f"{count} cores" if count > 1 else "1 core"


def _field(path: str, name: str) -> str:
    """The first value of that name in a file of lines `name: value`; empty if there is none."""
    lines = (line.partition(":") for line in Path(path).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _filesystem(directory: Path) -> str:
    command = ["findmnt", "-n", "-o", "FSTYPE", "-T", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
